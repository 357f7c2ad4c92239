/*
 * Block scores on the tensor cores: one product of group sums for each causal pair of blocks.
 *
 *   scores[r, J] = sum_l q[r, l] k[J, l],   q ~ q_hi + q_mid, k ~ k_hi + k_mid (bf16 each)
 *
 * as hi hi + hi mid + mid hi, with every accumulator added to a float32 sum after PART elements of
 * l, so that the error stays within select.cu's bound. mma.sync: the same code on every GPU from
 * sm_80.
 */
#include "methods/kernels/cuda/select_stages.cuh"

namespace sb_select
{
namespace
{

enum {
    TILE = SCORE_TILE,
    DEPTH = 32,    /* elements of l in a pipeline stage */
    STAGES = 4,    /* of the pipeline */
    THREADS = 256, /* 2 x 4 warps of 64 rows x 32 blocks */
    WARP_M = 64,
    WARP_N = 32,
    LINE_BYTES = 2 * DEPTH,
    PLANE_BYTES = TILE * LINE_BYTES,
    STAGE_BYTES = 4 * PLANE_BYTES /* q_hi, q_mid, k_hi, k_mid */
};

/* Byte of 16-byte column c of a line: columns are permuted so that ldmatrix meets no bank twice. */
__device__ uint32_t place(int line, int c)
{
    return (uint32_t)(line * LINE_BYTES + ((c ^ ((line >> 1) & 3)) << 4));
}

__device__ void copy_async(uint32_t to, const void *from, bool wanted)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(wanted ? 16 : 0));
}

__device__ void load_matrices(uint32_t *x, uint32_t from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(from));
}

__device__ void multiply(float *c, const uint32_t *a, const uint32_t *b)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* One thread block's tile: its lists, and how much of it exists. */
struct tile {
    const uint16_t *plane[4]; /* of the tile's first list */
    int lists[2];             /* rows, blocks */
    int length;
};

/* Stage `step` into shared memory; lines and elements that do not exist become zeros. */
__device__ void load_stage(const tile &t, uint32_t to, int step)
{
    enum { COLUMNS = DEPTH / 8, PER_PLANE = TILE * COLUMNS / THREADS };
#pragma unroll
    for (int plane = 0; plane < 4; plane++)
#pragma unroll
        for (int i = 0; i < PER_PLANE; i++) {
            int at = threadIdx.x + i * THREADS, line = at / COLUMNS, c = at % COLUMNS;
            int l = step * DEPTH + c * 8;
            bool wanted = line < t.lists[plane / 2] && l < t.length;
            copy_async(to + plane * PLANE_BYTES + place(line, c),
                       t.plane[plane] + (wanted ? (int64_t)line * t.length + l : 0), wanted);
        }
    asm volatile("cp.async.commit_group;");
}

__device__ void multiply_stage(uint32_t from, int m0, int n0, float (&sum)[4][4][4])
{
    int lane = threadIdx.x % 32;
    float part[4][4][4] = {};
    uint32_t hi_a[DEPTH / 16][4][4], hi_b[DEPTH / 16][4][2];
#pragma unroll
    for (int k16 = 0; k16 < DEPTH / 16; k16++) {
        uint32_t mid_a[4][4], mid_b[4][2];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t at = from + place(m0 + 16 * i + lane % 16, 2 * k16 + lane / 16);
            load_matrices(hi_a[k16][i], at);
            load_matrices(mid_a[i], at + PLANE_BYTES);
        }
#pragma unroll
        for (int j = 0; j < 4; j += 2) {
            uint32_t at = from + 2 * PLANE_BYTES +
                          place(n0 + 8 * j + lane % 8 + lane / 16 * 8, 2 * k16 + lane / 8 % 2);
            load_matrices(hi_b[k16][j], at);
            load_matrices(mid_b[j], at + PLANE_BYTES);
        }
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                multiply(part[i][j], mid_a[i], hi_b[k16][j]);
                multiply(part[i][j], hi_a[k16][i], mid_b[j]);
            }
    }
#pragma unroll
    for (int k16 = 0; k16 < DEPTH / 16; k16++)
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                multiply(part[i][j], hi_a[k16][i], hi_b[k16][j]);
#pragma unroll
    for (int i = 0; i < 64; i++)
        (&sum[0][0][0])[i] += (&part[0][0][0])[i];
}

__global__ void __launch_bounds__(THREADS, 1)
    scores_kernel(const __grid_constant__ stages s, int from)
{
    extern __shared__ __align__(128) unsigned char shared[];
    int n0 = blockIdx.x * TILE, r0 = blockIdx.y * TILE, bh = from + blockIdx.z;
    int b = bh / s.n_heads, kv_head = bh / (s.n_heads / s.n_kv_heads);
    if (!tile_wanted(s, b, r0, n0))
        return;

    tile t;
    int64_t q_at = ((int64_t)bh * s.n_rows + r0) * s.length;
    int64_t k_at = ((int64_t)kv_head * s.n_blocks + n0) * s.length;
    t.plane[0] = s.q.hi + q_at, t.plane[1] = s.q.mid + q_at;
    t.plane[2] = s.k.hi + k_at, t.plane[3] = s.k.mid + k_at;
    t.lists[0] = min(TILE, s.n_rows - r0), t.lists[1] = min(TILE, s.n_blocks - n0);
    t.length = s.length;

    uint32_t base = (uint32_t)__cvta_generic_to_shared(shared);
    int n_steps = (s.length + DEPTH - 1) / DEPTH, warp = threadIdx.x / 32;
    int warp_m = warp % 2 * WARP_M, warp_n = warp / 2 * WARP_N;
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++)
        load_stage(t, base + step * STAGE_BYTES, step);

    float sum[4][4][4] = {};
    for (int step = 0; step < n_steps; step++) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
        __syncthreads();
        /* The stage that all warps left before this barrier is free. */
        load_stage(t, base + (step + STAGES - 1) % STAGES * STAGE_BYTES, step + STAGES - 1);
        multiply_stage(base + step % STAGES * STAGE_BYTES, warp_m, warp_n, sum);
    }
    asm volatile("cp.async.wait_all;");

    float *scores = s.scores + (int64_t)blockIdx.z * s.n_rows * s.score_line;
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int row = r0 + warp_m + 16 * i + 8 * half + lane / 4;
                int block = n0 + warp_n + 8 * j + lane % 4 * 2;
                /* A line has room for whole pairs. */
                if (row < s.n_rows && block < s.n_blocks)
                    *(float2 *)(scores + (int64_t)row * s.score_line + block) =
                        make_float2(sum[i][j][2 * half], sum[i][j][2 * half + 1]);
            }
}

} // namespace

cudaError_t prepare_scores(void)
{
    return cudaFuncSetAttribute(scores_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                STAGES * STAGE_BYTES);
}

void launch_scores(const stages &s, int from, int n, cudaStream_t stream)
{
    dim3 grid((unsigned)sb_ceil_div(s.n_blocks, TILE), (unsigned)sb_ceil_div(s.n_rows, TILE),
              (unsigned)n);
    scores_kernel<<<grid, THREADS, STAGES * STAGE_BYTES, stream>>>(s, from);
}

} // namespace sb_select
