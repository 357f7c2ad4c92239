/* Stands in for the CUDA objects in builds made without nvcc: nothing is there, and says so. */
#include "methods/kernels/cuda/attend.h"
#include "methods/kernels/cuda/device.h"
#include "methods/kernels/cuda/digest.h"
#include "methods/kernels/cuda/select.h"

static sb_status absent(sb_err *err)
{
    return sb_fail(err, SB_UNAVAILABLE, "this build has no CUDA backend");
}

/* ---- device ------------------------------------------------------------------------------- */

bool sb_cuda_available(sb_err *why)
{
    (void)absent(why);
    return false;
}

sb_status sb_cuda_describe(sb_cuda_device *device, sb_err *err)
{
    *device = (sb_cuda_device){.ecc = -1};
    return absent(err);
}

sb_status sb_cuda_malloc(int64_t n_bytes, const char *what, void **block, sb_err *err)
{
    (void)n_bytes, (void)what;
    *block = NULL;
    return absent(err);
}

void sb_cuda_free(void *block)
{
    (void)block;
}

sb_status sb_cuda_to_device(void *dst, const void *src, int64_t n_bytes, sb_stream stream,
                            sb_err *err)
{
    (void)dst, (void)src, (void)n_bytes, (void)stream;
    return absent(err);
}

sb_status sb_cuda_to_host(void *dst, const void *src, int64_t n_bytes, sb_stream stream,
                          sb_err *err)
{
    (void)dst, (void)src, (void)n_bytes, (void)stream;
    return absent(err);
}

sb_status sb_cuda_copy_rows(void *to, int64_t to_step, const void *from, int64_t from_step,
                            int64_t row_bytes, int64_t n_rows, sb_stream stream, sb_err *err)
{
    (void)to, (void)to_step, (void)from, (void)from_step, (void)row_bytes, (void)n_rows;
    (void)stream;
    return absent(err);
}

sb_status sb_cuda_fill(void *dst, uint8_t byte, int64_t n_bytes, sb_stream stream, sb_err *err)
{
    (void)dst, (void)byte, (void)n_bytes, (void)stream;
    return absent(err);
}

sb_status sb_cuda_stream_create(sb_stream *stream, sb_err *err)
{
    *stream = NULL;
    return absent(err);
}

void sb_cuda_stream_destroy(sb_stream stream)
{
    (void)stream;
}

sb_status sb_cuda_sync(sb_stream stream, sb_err *err)
{
    (void)stream;
    return absent(err);
}

sb_status sb_cuda_event_create(sb_event *event, sb_err *err)
{
    *event = NULL;
    return absent(err);
}

void sb_cuda_event_destroy(sb_event event)
{
    (void)event;
}

sb_status sb_cuda_event_record(sb_event event, sb_stream stream, sb_err *err)
{
    (void)event, (void)stream;
    return absent(err);
}

sb_status sb_cuda_event_ms(sb_event from, sb_event to, double *ms, sb_err *err)
{
    (void)from, (void)to;
    *ms = 0;
    return absent(err);
}

sb_status sb_cuda_delay(double microseconds, sb_stream stream, sb_err *err)
{
    (void)microseconds, (void)stream;
    return absent(err);
}

sb_status sb_cuda_flush_create(sb_cuda_flush *flush, sb_err *err)
{
    *flush = (sb_cuda_flush){0};
    return absent(err);
}

void sb_cuda_flush_destroy(sb_cuda_flush *flush)
{
    (void)flush;
}

sb_status sb_cuda_flush_l2(const sb_cuda_flush *flush, sb_stream stream, sb_err *err)
{
    (void)flush, (void)stream;
    return absent(err);
}

sb_cuda_state sb_cuda_read_state(void)
{
    return (sb_cuda_state){0};
}

sb_status sb_cuda_digest(const void *x, int64_t n_parts, int64_t part_bytes, uint64_t *digest,
                         sb_stream stream, sb_err *err)
{
    (void)x, (void)n_parts, (void)part_bytes, (void)digest, (void)stream;
    return absent(err);
}

/* ---- attend ------------------------------------------------------------------------------- */

sb_status sb_cuda_attend_plan_create(const sb_problem *p, int64_t block, sb_stream stream,
                                     sb_cuda_attend_plan **plan, sb_err *err)
{
    (void)p, (void)block, (void)stream;
    *plan = NULL;
    return absent(err);
}

const char *sb_cuda_attend_kernel(const sb_cuda_attend_plan *plan)
{
    (void)plan;
    return "";
}

sb_status sb_cuda_attend(sb_cuda_attend_plan *plan, const sb_inputs *in, const sb_cuda_pattern *pat,
                         const sb_outputs *out, sb_err *err)
{
    (void)plan, (void)in, (void)pat, (void)out;
    return absent(err);
}

void sb_cuda_attend_plan_destroy(sb_cuda_attend_plan *plan)
{
    (void)plan;
}

/* ---- select ------------------------------------------------------------------------------- */

sb_status sb_cuda_select_plan_create(const sb_problem *p, const sb_cuda_select_spec *spec,
                                     sb_stream stream, sb_cuda_select_plan **plan, sb_err *err)
{
    (void)p, (void)spec, (void)stream;
    *plan = NULL;
    return absent(err);
}

sb_status sb_cuda_select(sb_cuda_select_plan *plan, const sb_inputs *in, sb_err *err)
{
    (void)plan, (void)in;
    return absent(err);
}

const sb_cuda_pattern *sb_cuda_select_pattern(const sb_cuda_select_plan *plan)
{
    (void)plan;
    return NULL;
}

int64_t sb_cuda_select_capacity(const sb_cuda_select_plan *plan)
{
    (void)plan;
    return 0;
}

int64_t sb_cuda_select_bytes(const sb_cuda_select_plan *plan)
{
    (void)plan;
    return 0;
}

sb_status sb_cuda_select_read(const sb_cuda_select_plan *plan, sb_pattern *pat, sb_err *err)
{
    (void)plan, (void)pat;
    return absent(err);
}

sb_status sb_cuda_select_rescored(const sb_cuda_select_plan *plan, int64_t *n, sb_err *err)
{
    (void)plan;
    *n = 0;
    return absent(err);
}

void sb_cuda_select_plan_destroy(sb_cuda_select_plan *plan)
{
    (void)plan;
}
