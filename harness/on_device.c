#include "harness/on_device.h"

#include "methods/kernels/cuda/device.h"
#include "methods/kernels/cuda/digest.h"

enum { GUARD = 256, POISON = 0xff /* all bits set is a NaN in every dtype */ };

static int64_t o_bytes(const sb_problem *p)
{
    return p->q_len * p->dim_v * (int64_t)sb_dtype_bytes(p->dtype);
}

static int64_t lse_bytes(const sb_problem *p)
{
    return p->q_len * (int64_t)sizeof(float);
}

static int64_t round_up(int64_t n)
{
    return sb_ceil_div(n, GUARD) * GUARD;
}

static int64_t set_bytes(const sb_problem *p)
{
    int64_t elem = (int64_t)sb_dtype_bytes(p->dtype);
    return (p->n_heads * p->q_len * p->dim + p->n_kv_heads * p->kv_len * (p->dim + p->dim_v)) *
           elem;
}

double sb_on_device_bytes(const sb_problem *p, bool rotated)
{
    return (double)set_bytes(p) * (rotated ? 2 : 1) +
           (double)(p->n_heads * (o_bytes(p) + lse_bytes(p)));
}

/* Upload [n_heads, head_bytes] with head h taken from head (h + shift) % n_heads. */
static sb_status upload(const sb_on_device *d, const void *host, int64_t n_heads,
                        int64_t head_bytes, int64_t shift, const void **block, sb_err *err)
{
    void *to = NULL;
    sb_status st = sb_cuda_malloc(n_heads * head_bytes, "inputs", &to, err);
    *block = to;
    for (int64_t h = 0, n = shift > 0 ? 1 : n_heads; st == SB_OK && h < n_heads; h += n)
        st = sb_cuda_to_device((char *)to + h * head_bytes,
                               (const char *)host + (h + shift) % n_heads * head_bytes,
                               n * head_bytes, d->stream, err);
    return st;
}

static sb_status upload_set(sb_on_device *d, const sb_inputs *host, int set, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_problem *p = &d->problem;
    sb_inputs *to = &d->sets[set];
    int64_t elem = (int64_t)sb_dtype_bytes(p->dtype), group = p->n_heads / p->n_kv_heads;
    SB_TRY(upload(d, host->q, p->n_heads, p->q_len * p->dim * elem, set * group, &to->q, err));
    SB_TRY(upload(d, host->k, p->n_kv_heads, p->kv_len * p->dim * elem, set, &to->k, err));
    SB_TRY(upload(d, host->v, p->n_kv_heads, p->kv_len * p->dim_v * elem, set, &to->v, err));
out:
    return st;
}

sb_status sb_on_device_open(const sb_problem *p, const sb_inputs *host, bool rotated,
                            sb_stream stream, sb_on_device *d, sb_err *err)
{
    sb_status st = SB_OK;
    void *block = NULL;
    *d = (sb_on_device){.problem = *p, .stream = stream};
    SB_TRY(sb_cuda_malloc(round_up(p->n_heads * o_bytes(p)) + GUARD, "outputs", &d->out.o, err));
    SB_TRY(sb_cuda_malloc(round_up(p->n_heads * lse_bytes(p)) + GUARD, "outputs", &block, err));
    d->out.lse = block;
    SB_TRY(sb_cuda_malloc(2 * p->n_heads * (int64_t)sizeof *d->digest, "digests", &block, err));
    d->digest = block;
    SB_TRY(upload_set(d, host, 0, err));
    if (rotated)
        SB_TRY(upload_set(d, host, 1, err));
    SB_TRY(sb_cuda_sync(stream, err));
out:
    if (st != SB_OK)
        sb_on_device_close(d);
    return st;
}

sb_status sb_on_device_poison(const sb_on_device *d, sb_err *err)
{
    const sb_problem *p = &d->problem;
    sb_status st =
        sb_cuda_fill(d->out.o, POISON, round_up(p->n_heads * o_bytes(p)) + GUARD, d->stream, err);
    return st != SB_OK ? st
                       : sb_cuda_fill(d->out.lse, POISON,
                                      round_up(p->n_heads * lse_bytes(p)) + GUARD, d->stream, err);
}

static sb_status fetch(const sb_on_device *d, const void *from, int64_t n_bytes, void *to,
                       const char *name, sb_err *err)
{
    unsigned char guard[2 * GUARD];
    int64_t n_guard = round_up(n_bytes) + GUARD - n_bytes;
    sb_status st = sb_cuda_to_host(to, from, n_bytes, d->stream, err);
    if (st == SB_OK)
        st = sb_cuda_to_host(guard, (const char *)from + n_bytes, n_guard, d->stream, err);
    if (st == SB_OK)
        st = sb_cuda_sync(d->stream, err);
    for (int64_t i = 0; st == SB_OK && i < n_guard; i++)
        if (guard[i] != POISON)
            st = sb_fail(err, SB_INTERNAL, "a kernel wrote %lld bytes past the end of %s",
                         (long long)i + 1, name);
    return st;
}

sb_status sb_on_device_fetch(const sb_on_device *d, const sb_outputs *host, sb_err *err)
{
    const sb_problem *p = &d->problem;
    sb_status st = fetch(d, d->out.o, p->n_heads * o_bytes(p), host->o, "o", err);
    return st != SB_OK ? st
                       : fetch(d, d->out.lse, p->n_heads * lse_bytes(p), host->lse, "lse", err);
}

sb_status sb_on_device_digest(const sb_on_device *d, uint64_t *heads, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_problem *p = &d->problem;
    int64_t n = p->n_heads;
    SB_TRY(sb_cuda_digest(d->out.o, n, o_bytes(p), d->digest, d->stream, err));
    SB_TRY(sb_cuda_digest(d->out.lse, n, lse_bytes(p), d->digest + n, d->stream, err));
    SB_TRY(sb_cuda_to_host(heads, d->digest, 2 * n * (int64_t)sizeof *d->digest, d->stream, err));
out:
    return st;
}

void sb_on_device_close(sb_on_device *d)
{
    for (int set = 0; set < 2; set++) {
        sb_cuda_free((void *)(uintptr_t)d->sets[set].v);
        sb_cuda_free((void *)(uintptr_t)d->sets[set].k);
        sb_cuda_free((void *)(uintptr_t)d->sets[set].q);
    }
    sb_cuda_free(d->digest);
    sb_cuda_free(d->out.lse);
    sb_cuda_free(d->out.o);
    *d = (sb_on_device){0};
}
