/* Dense attention by cuDNN, in the shape of a method so that it is timed in turns with methods. */
#include <inttypes.h>
#include <stdio.h>

#include "harness/mem.h"
#include "methods/kernels/cuda/cudnn.h"
#include "methods/plan_cuda.h"

typedef struct cudnn_dense {
    sb_plan plan;
    sb_cudnn_plan *cudnn;
} cudnn_dense;

static void cudnn_destroy(sb_plan *plan)
{
    cudnn_dense *c = (cudnn_dense *)plan;
    sb_cudnn_plan_destroy(c->cudnn);
    sb_free(c);
}

static sb_status cudnn_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                            sb_plan **plan, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t version = 0;
    (void)values;
    cudnn_dense *c = sb_alloc(1, sizeof *c);
    if (!c)
        return sb_no_memory(err, "a plan");
    SB_TRY(sb_cudnn_open(&version, err));
    SB_TRY(sb_cudnn_plan_create(p, exec->stream, &c->cudnn, err));
    (void)snprintf(c->plan.kernel_name, sizeof c->plan.kernel_name,
                   "cudnn-%" PRId64 ".%" PRId64 ".%" PRId64, version / 10000, version / 100 % 100,
                   version % 100);
    *plan = &c->plan;
    return SB_OK;
out:
    cudnn_destroy(&c->plan);
    return st;
}

static sb_status cudnn_attend(sb_plan *plan, const sb_inputs *in, const sb_pattern *pat,
                              const sb_outputs *out, sb_err *err)
{
    (void)pat;
    return sb_cudnn_attend(((cudnn_dense *)plan)->cudnn, in, out, err);
}

const sb_method sb_cudnn_dense = {
    .name = "cudnn",
    .doc = "dense attention by cuDNN",
    .source = "NVIDIA cuDNN 9",
    .plan = cudnn_plan,
    .attend = cudnn_attend,
    .attends_on_device = true,
    .destroy = cudnn_destroy,
};
