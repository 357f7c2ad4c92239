/* Plans of CUDA attention: which kernel takes a shape, and what it needs on the device. */

#include <cstdlib>
#include <cstring>

#include "harness/mem.h"
#include "methods/kernels/cuda/attend_kernels.cuh"
#include "methods/kernels/cuda/device.h"
#include "methods/kernels/cuda/device_check.cuh"

struct sb_cuda_attend_plan {
    sb_cuda_shape shape;
    sb_stream stream;
    bool sm90_dense, sm90_sparse; /* else mma */
    sb_cuda_seq *seqs;            /* [B], device */
    uint32_t *counter;            /* device, zero between calls */
};

namespace
{

constexpr int64_t MAX_DIM = 256, DENSE_BLOCK = 128;

sb_status check_shape(const sb_problem *p, int64_t block, int major, sb_err *err)
{
    if (major < 8)
        return sb_fail(err, SB_UNAVAILABLE,
                       "the device has compute capability %d.x; expected 8.0 or later", major);
    if (p->dtype != SB_BF16 && p->dtype != SB_F16)
        return sb_fail(err, SB_UNSUPPORTED, "CUDA attention takes bf16 and f16, not %s",
                       sb_dtype_name(p->dtype));
    if (p->dim > MAX_DIM || p->dim_v > MAX_DIM)
        return sb_fail(err, SB_UNSUPPORTED,
                       "head dimensions %lld and %lld; CUDA attention takes up to %lld",
                       (long long)p->dim, (long long)p->dim_v, (long long)MAX_DIM);
    if (block < 0 || block > 1 << 20)
        return sb_fail(err, SB_UNSUPPORTED, "block of %lld tokens", (long long)block);
    if (p->n_heads > 65535 || p->n_batch > 65535)
        return sb_fail(err, SB_UNSUPPORTED, "%lld heads and %lld sequences; expected up to 65535",
                       (long long)p->n_heads, (long long)p->n_batch);
    return SB_OK;
}

sb_cuda_shape shape_of(const sb_problem *p, int64_t block)
{
    sb_cuda_shape s = {};
    s.n_batch = (int32_t)p->n_batch;
    s.n_heads = (int32_t)p->n_heads;
    s.n_kv_heads = (int32_t)p->n_kv_heads;
    s.q_len = (int32_t)p->q_len;
    s.kv_len = (int32_t)p->kv_len;
    s.dim = (int32_t)p->dim;
    s.dim_v = (int32_t)p->dim_v;
    s.half = p->dtype == SB_F16;
    s.scale = (float)p->scale;
    s.block = (int32_t)block;
    s.n_rows = (int32_t)sb_max_rows(p, block);
    s.tiles_64 = (int32_t)sb_max_rows(p, 64);
    s.tiles_128 = (int32_t)sb_max_rows(p, 128);
    return s;
}

sb_status upload_lengths(const sb_problem *p, sb_cuda_attend_plan *plan, sb_err *err)
{
    sb_status st;
    const int64_t bytes = p->n_batch * (int64_t)sizeof(sb_cuda_seq);
    void *device = nullptr;
    sb_cuda_seq *host = (sb_cuda_seq *)sb_alloc(p->n_batch, sizeof *host);
    if (!host)
        return sb_no_memory(err, "sequence lengths");
    for (int64_t b = 0; b < p->n_batch; b++)
        host[b] = {(int32_t)sb_q_len(p, b), (int32_t)sb_kv_len(p, b)};
    SB_TRY(sb_cuda_malloc(bytes, "sequence lengths", &device, err));
    plan->shape.seqs = plan->seqs = (sb_cuda_seq *)device;
    SB_CUDA_TRY(cudaMemcpy(device, host, (size_t)bytes, cudaMemcpyHostToDevice));
out:
    sb_free(host);
    return st;
}

sb_status make_counter(sb_cuda_attend_plan *plan, sb_err *err)
{
    sb_status st;
    void *counter = nullptr;
    SB_TRY(sb_cuda_malloc(sizeof *plan->counter, "work counter", &counter, err));
    plan->counter = (uint32_t *)counter;
    SB_CUDA_TRY(cudaMemset(counter, 0, sizeof *plan->counter));
out:
    return st;
}

} // namespace

sb_status sb_cuda_attend_plan_create(const sb_problem *p, int64_t block, sb_stream stream,
                                     sb_cuda_attend_plan **plan_out, sb_err *err)
{
    *plan_out = nullptr;
    sb_cuda_attend_plan *plan = nullptr;
    const char *force = getenv("STEMBENCH_CUDA_KERNEL");
    int device = 0, major = 0, minor = 0, l2 = 0;
    sb_status st;
    SB_TRY(sb_problem_check(p, err));
    SB_CUDA_TRY(cudaGetDevice(&device));
    SB_CUDA_TRY(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    SB_CUDA_TRY(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    SB_CUDA_TRY(cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, device));
    SB_TRY(check_shape(p, block, major, err));
    plan = (sb_cuda_attend_plan *)sb_alloc(1, sizeof *plan);
    if (!plan) {
        st = sb_no_memory(err, "CUDA attention plan");
        goto out;
    }
    plan->stream = stream;
    plan->shape = shape_of(p, block ? block : DENSE_BLOCK);
    plan->shape.l2_bytes = l2;
    SB_CUDA_TRY(cudaDeviceGetAttribute(&plan->shape.n_sm, cudaDevAttrMultiProcessorCount, device));
    plan->sm90_dense = major == 9 && minor == 0 && !(force && strcmp(force, "mma") == 0) &&
                       sb_sm90_supports(plan->shape);
    plan->sm90_sparse = plan->sm90_dense && plan->shape.block % 64 == 0;
    SB_TRY(upload_lengths(p, plan, err));
    SB_TRY(make_counter(plan, err));
    /* The plan's stream does not wait for the default stream. */
    SB_CUDA_TRY(cudaDeviceSynchronize());
    *plan_out = plan;
    plan = nullptr;
out:
    sb_cuda_attend_plan_destroy(plan);
    return st;
}

const char *sb_cuda_attend_kernel(const sb_cuda_attend_plan *plan)
{
    return plan->sm90_sparse ? "cuda-sm90" : "cuda-mma";
}

sb_status sb_cuda_attend(sb_cuda_attend_plan *plan, const sb_inputs *in, const sb_cuda_pattern *pat,
                         const sb_outputs *out, sb_err *err)
{
    const uintptr_t bits =
        (uintptr_t)in->q | (uintptr_t)in->k | (uintptr_t)in->v | (uintptr_t)out->o;
    if (bits % 16)
        return sb_fail(err, SB_USAGE, "q, k, v and o on the device; expected 16-byte alignment");
    if (pat && (pat->block != plan->shape.block || pat->n_rows != plan->shape.n_rows))
        return sb_fail(
            err, SB_USAGE, "a pattern of %lld rows of block %lld in a plan of %d rows of block %d",
            (long long)pat->n_rows, (long long)pat->block, plan->shape.n_rows, plan->shape.block);
    if (pat ? plan->sm90_sparse : plan->sm90_dense)
        return sb_cuda_status(
            sb_sm90_attend(plan->shape, *in, pat, *out, plan->counter, plan->stream),
            "attention (sm90)", err);
    return sb_cuda_status(sb_mma_attend(plan->shape, *in, pat, *out, plan->stream),
                          "attention (mma)", err);
}

void sb_cuda_attend_plan_destroy(sb_cuda_attend_plan *plan)
{
    if (!plan)
        return;
    sb_cuda_free(plan->counter);
    sb_cuda_free(plan->seqs);
    sb_free(plan);
}
