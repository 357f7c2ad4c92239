/*
 * Block scores by WGMMA: select_scores.cu's products and bound.
 *
 * A 128 x 128 tile in two warpgroups of 64 rows. Each stage of 64 elements of l takes 64 KB (hi and
 * mid of rows and blocks) for 12 products a warpgroup: the tile is as large as shared memory allows
 * with three stages, since L2 bandwidth is what it meets first.
 */
#include "methods/kernels/cuda/select_stages.cuh"
#include "methods/kernels/cuda/sm90.cuh"
#include "methods/kernels/cuda/wgmma.cuh"

namespace sb_select
{
namespace
{

enum {
    DEPTH = 64, /* elements of l in a stage: a line of 128 bytes */
    STAGES = 3,
    THREADS = 256,
    LINE_BYTES = 2 * DEPTH,
    PLANE_BYTES = SCORE_TILE * LINE_BYTES,
    STAGE_BYTES = 4 * PLANE_BYTES, /* q_hi, q_mid, k_hi, k_mid */
    SWIZZLE_BYTES = 1024,          /* a plane's alignment */
    SHARED_BYTES = STAGES * STAGE_BYTES + SWIZZLE_BYTES
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/* One thread's 16-byte column of lines tid / 8, tid / 8 + 32, ... of each plane. */
struct loader {
    const uint16_t *plane[4];
    int lists[2]; /* rows, blocks that exist */
    int length;
    int line, column;

    /* Stage `step` into shared memory; what does not exist becomes zeros. */
    __device__ void load(uint32_t to, int step) const
    {
        int l = step * DEPTH + column * 8;
#pragma unroll
        for (int p = 0; p < 4; p++)
#pragma unroll
            for (int i = 0; i < SCORE_TILE; i += THREADS / 8) {
                bool wanted = line + i < lists[p / 2] && l < length;
                const uint16_t *from = plane[p] + (wanted ? (int64_t)(line + i) * length + l : 0);
                uint32_t at =
                    to + p * PLANE_BYTES + (line + i) * LINE_BYTES + ((column ^ (line & 7)) << 4);
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
                             "r"(wanted ? 16 : 0));
            }
        asm volatile("cp.async.commit_group;");
    }
};

/* part = this warpgroup's rows of the stage times all of its blocks. */
__device__ void multiply_stage(uint32_t from, int warpgroup, float (&part)[64])
{
    uint64_t a[2], b[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        a[half] = wgmma::descriptor(from + half * PLANE_BYTES + warpgroup * 64 * LINE_BYTES, 0);
        b[half] = wgmma::descriptor(from + (2 + half) * PLANE_BYTES, 0);
    }
    wgmma::fence();
    /* The small terms first: what they lose in an empty accumulator is next to nothing. */
#pragma unroll
    for (int term = 0; term < 3; term++)
#pragma unroll
        for (int k16 = 0; k16 < DEPTH / 16; k16++) {
            uint64_t x = wgmma::advance(a[term == 0], 32 * k16);
            uint64_t y = wgmma::advance(b[term == 1], 32 * k16);
            if (term + k16 == 0)
                wgmma::mma<false, false>(part, x, y);
            else
                wgmma::mma<false, true>(part, x, y);
        }
    wgmma::commit();
    wgmma::wait<0>();
    wgmma::hold(part);
}

#endif

__global__ void __launch_bounds__(THREADS, 1)
    scores_kernel(const __grid_constant__ stages s, int from)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ unsigned char shared[];
    int n0 = blockIdx.x * SCORE_TILE, r0 = blockIdx.y * SCORE_TILE, bh = from + blockIdx.z;
    int b = bh / s.n_heads, kv_head = bh / (s.n_heads / s.n_kv_heads);
    if (!tile_wanted(s, b, r0, n0))
        return;

    loader t;
    int64_t q_at = ((int64_t)bh * s.n_rows + r0) * s.length;
    int64_t k_at = ((int64_t)kv_head * s.n_blocks + n0) * s.length;
    t.plane[0] = s.q.hi + q_at, t.plane[1] = s.q.mid + q_at;
    t.plane[2] = s.k.hi + k_at, t.plane[3] = s.k.mid + k_at;
    t.lists[0] = min((int)SCORE_TILE, s.n_rows - r0);
    t.lists[1] = min((int)SCORE_TILE, s.n_blocks - n0);
    t.length = s.length;
    t.line = threadIdx.x / 8, t.column = threadIdx.x % 8;

    uint32_t base = (sm90::smem(shared) + SWIZZLE_BYTES - 1) / SWIZZLE_BYTES * SWIZZLE_BYTES;
    int n_steps = (s.length + DEPTH - 1) / DEPTH, warpgroup = threadIdx.x / 128;
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++)
        t.load(base + step * STAGE_BYTES, step);

    float sum[64] = {}, part[64];
    for (int step = 0; step < n_steps; step++) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
        sm90::proxy_fence();
        __syncthreads();
        /* Both warpgroups have left the stage before this one. */
        t.load(base + (step + STAGES - 1) % STAGES * STAGE_BYTES, step + STAGES - 1);
        multiply_stage(base + step % STAGES * STAGE_BYTES, warpgroup, part);
#pragma unroll
        for (int i = 0; i < 64; i++)
            sum[i] += part[i];
    }
    asm volatile("cp.async.wait_all;");

    float *scores = s.scores + (int64_t)blockIdx.z * s.n_rows * s.score_line;
    int lane = threadIdx.x % 32, row0 = r0 + threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
    for (int j = 0; j < 16; j++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = row0 + 8 * half, block = n0 + 8 * j + lane % 4 * 2;
            /* A line has room for whole pairs. */
            if (row < s.n_rows && block < s.n_blocks)
                *(float2 *)(scores + (int64_t)row * s.score_line + block) =
                    make_float2(sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1]);
        }
#endif
}

} // namespace

cudaError_t prepare_scores_sm90(void)
{
    return cudaFuncSetAttribute(scores_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                SHARED_BYTES);
}

void launch_scores_sm90(const stages &s, int from, int n, cudaStream_t stream)
{
    dim3 grid((unsigned)sb_ceil_div(s.n_blocks, SCORE_TILE),
              (unsigned)sb_ceil_div(s.n_rows, SCORE_TILE), (unsigned)n);
    scores_kernel<<<grid, THREADS, SHARED_BYTES, stream>>>(s, from);
}

} // namespace sb_select
