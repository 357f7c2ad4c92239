/* Stands in for cudnn.c in builds made without cuDNN's headers. */
#include "methods/kernels/cuda/cudnn.h"

sb_status sb_cudnn_open(int64_t *version, sb_err *err)
{
    *version = 0;
    return sb_fail(err, SB_UNAVAILABLE, "cuDNN: this build was made without its headers");
}

sb_status sb_cudnn_plan_create(const sb_problem *p, sb_stream stream, sb_cudnn_plan **plan,
                               sb_err *err)
{
    int64_t version;
    (void)p;
    (void)stream;
    *plan = NULL;
    return sb_cudnn_open(&version, err);
}

sb_status sb_cudnn_attend(sb_cudnn_plan *plan, const sb_inputs *in, const sb_outputs *out,
                          sb_err *err)
{
    int64_t version;
    (void)plan;
    (void)in;
    (void)out;
    return sb_cudnn_open(&version, err);
}

void sb_cudnn_plan_destroy(sb_cudnn_plan *plan)
{
    (void)plan;
}
