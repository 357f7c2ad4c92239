/* Block-sparse attention with mma.sync, for every GPU since compute capability 8.0: one CTA of four
 * warps takes 64 query tokens of one head and walks the kept blocks in ascending order, K and V
 * double-buffered by cp.async. The tiling follows FlashAttention-2 (arXiv:2307.08691). */

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "methods/kernels/cuda/attend_kernels.cuh"

namespace
{

constexpr int QUERIES = 64, THREADS = 128;

struct mma_args {
    sb_cuda_shape shape;
    const uint16_t *q, *k, *v; /* [B, H, T, D], [B, Hkv, S, D], [B, Hkv, S, Dv] */
    uint16_t *o;               /* [B, H, T, Dv] */
    float *lse;                /* [B, H, T] or NULL */
    const int64_t *row_ptr;    /* NULL: dense */
    const int32_t *col;
    int block, tiles_per_row;
};

__device__ uint32_t smem_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* Element offset of 16-byte chunk c of a row: chunks are permuted so that ldmatrix meets no bank
 * conflict. */
template <int DP> __device__ int chunk_at(int row, int c)
{
    return row * DP + ((c ^ (row & 7)) * 8);
}

/* Rows [0, rows) of a tile from src + row * dim for row in [lo, hi), zero elsewhere. */
template <int DP>
__device__ void load_tile(uint16_t *tile, const uint16_t *src, int rows, int lo, int hi, int dim)
{
    constexpr int CHUNKS = DP / 8;
    for (int i = threadIdx.x; i < rows * CHUNKS; i += THREADS) {
        int row = i / CHUNKS, c = i % CHUNKS;
        uint16_t *to = tile + chunk_at<DP>(row, c);
        bool inside = row >= lo && row < hi;
        if (dim % 8 == 0) {
            int bytes = inside && c * 8 < dim ? 16 : 0;
            const uint16_t *from = bytes ? src + (int64_t)row * dim + c * 8 : src;
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(smem_address(to)),
                         "l"(from), "r"(bytes)
                         : "memory");
        } else {
            for (int e = 0; e < 8; e++)
                to[e] = inside && c * 8 + e < dim ? src[(int64_t)row * dim + c * 8 + e] : 0;
        }
    }
}

__device__ void ldmatrix(uint32_t (&r)[4], const uint16_t *at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(smem_address(at)));
}

__device__ void ldmatrix_transposed(uint32_t (&r)[4], const uint16_t *at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(smem_address(at)));
}

template <bool HALF>
__device__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    if constexpr (HALF)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
                     "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
                     "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <bool HALF> __device__ uint32_t pack(float lo, float hi)
{
    uint32_t r;
    if constexpr (HALF)
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    else
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

/* Walks the keys of a list in steps of KT: [key, end) is the part of the current block still to
 * come, cut at `limit`. */
template <int KT> struct key_walk {
    const int32_t *col, *col_end;
    int block, limit, key, end;

    __device__ void enter()
    {
        key = col < col_end ? *col * block : limit;
        end = min(key + block, limit);
    }
    __device__ bool done() const
    {
        return key >= end;
    }
    __device__ void step()
    {
        key += KT;
        if (key >= end && col < col_end) {
            col++;
            enter();
        }
    }
};

template <bool HALF, int DP, int KT>
__global__ void __launch_bounds__(THREADS) attend(const __grid_constant__ mma_args a)
{
    constexpr int NS = KT / 8, NO = DP / 8;
    extern __shared__ __align__(128) uint16_t smem[];
    uint16_t *q_s = smem, *k_s = q_s + QUERIES * DP, *v_s = k_s + 2 * KT * DP;

    const sb_cuda_shape &s = a.shape;
    const int b = blockIdx.z, h = blockIdx.y, bh = b * s.n_heads + h;
    const int bkv = b * s.n_kv_heads + h / (s.n_heads / s.n_kv_heads);
    const int q_len = s.seqs[b].q_len, kv_len = s.seqs[b].kv_len, start = kv_len - q_len;
    /* Late rows are the long ones: they go first. */
    const int tile = gridDim.x - 1 - blockIdx.x;
    const int row = tile / a.tiles_per_row, first_block = start / a.block;
    const int row_end = min((first_block + row + 1) * a.block, kv_len);
    const int pos0 = (first_block + row) * a.block + tile % a.tiles_per_row * QUERIES;
    const int pos_end = min(pos0 + QUERIES, row_end);
    if (pos_end <= max(pos0, start))
        return;

    key_walk<KT> walk;
    walk.limit = pos_end;
    if (a.row_ptr) {
        int64_t list = (int64_t)bh * s.n_rows + row;
        walk.block = a.block;
        walk.col = a.col + a.row_ptr[list];
        walk.col_end = a.col + a.row_ptr[list + 1];
        walk.enter();
    } else {
        walk.col = walk.col_end = nullptr;
        walk.key = 0;
        walk.end = pos_end;
    }

    const int t0 = pos0 - start, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    load_tile<DP>(q_s, a.q + ((int64_t)bh * s.q_len + t0) * s.dim, QUERIES, max(0, -t0),
                  pos_end - pos0, s.dim);
    const uint16_t *k_base = a.k + (int64_t)bkv * s.kv_len * s.dim;
    const uint16_t *v_base = a.v + (int64_t)bkv * s.kv_len * s.dim_v;
    auto load_keys = [&](const key_walk<KT> &w, int stage) {
        int n = min(KT, w.end - w.key);
        load_tile<DP>(k_s + stage * KT * DP, k_base + (int64_t)w.key * s.dim, KT, 0, n, s.dim);
        load_tile<DP>(v_s + stage * KT * DP, v_base + (int64_t)w.key * s.dim_v, KT, 0, n, s.dim_v);
        asm volatile("cp.async.commit_group;" ::: "memory");
    };

    float o[NO][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    const float scale = s.scale * 1.4426950408889634f;
    const int row_lo = pos0 + warp * 16 + lane / 4;
    load_keys(walk, 0);
    for (int stage = 0; !walk.done(); stage ^= 1) {
        const int key = walk.key, end = walk.end;
        walk.step();
        if (!walk.done()) {
            load_keys(walk, stage ^ 1);
            asm volatile("cp.async.wait_group 1;" ::: "memory");
        } else {
            asm volatile("cp.async.wait_group 0;" ::: "memory");
        }
        __syncthreads();

        float p[NS][4] = {};
        const uint16_t *k_t = k_s + stage * KT * DP, *v_t = v_s + stage * KT * DP;
#pragma unroll
        for (int kk = 0; kk < DP / 16; kk++) {
            uint32_t qa[4], kb[4];
            ldmatrix(qa, q_s + chunk_at<DP>(warp * 16 + lane % 16, kk * 2 + lane / 16));
#pragma unroll
            for (int n = 0; n < NS; n += 2) {
                ldmatrix(kb, k_t + chunk_at<DP>(n * 8 + lane / 16 * 8 + lane % 8,
                                                kk * 2 + lane / 8 % 2));
                mma<HALF>(p[n], qa, kb[0], kb[1]);
                mma<HALF>(p[n + 1], qa, kb[2], kb[3]);
            }
        }
        if (key + KT > end || key + KT - 1 > pos0 + warp * 16) {
#pragma unroll
            for (int n = 0; n < NS; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int at = key + n * 8 + lane % 4 * 2 + e % 2;
                    if (at > row_lo + e / 2 * 8 || at >= end)
                        p[n][e] = -INFINITY;
                }
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float most = top[i];
#pragma unroll
            for (int n = 0; n < NS; n++)
                most = fmaxf(most, fmaxf(p[n][2 * i], p[n][2 * i + 1]));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
            float shrink = exp2f((top[i] - most) * scale), offset = most * scale, part = 0;
            top[i] = most;
#pragma unroll
            for (int n = 0; n < NS; n++)
#pragma unroll
                for (int e = 2 * i; e < 2 * i + 2; e++) {
                    p[n][e] = exp2f(fmaf(p[n][e], scale, -offset));
                    part += p[n][e];
                }
            sum[i] = sum[i] * shrink + part;
#pragma unroll
            for (int n = 0; n < NO; n++) {
                o[n][2 * i] *= shrink;
                o[n][2 * i + 1] *= shrink;
            }
        }
#pragma unroll
        for (int kk = 0; kk < KT / 16; kk++) {
            const float(&even)[4] = p[2 * kk], (&odd)[4] = p[2 * kk + 1];
            uint32_t pa[4] = {pack<HALF>(even[0], even[1]), pack<HALF>(even[2], even[3]),
                              pack<HALF>(odd[0], odd[1]), pack<HALF>(odd[2], odd[3])},
                     vb[4];
#pragma unroll
            for (int n = 0; n < NO; n += 2) {
                ldmatrix_transposed(vb, v_t + chunk_at<DP>(kk * 16 + lane % 16, n + lane / 16));
                mma<HALF>(o[n], pa, vb[0], vb[1]);
                mma<HALF>(o[n + 1], pa, vb[2], vb[3]);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int i = 0; i < 2; i++) {
        sum[i] += __shfl_xor_sync(~0u, sum[i], 1);
        sum[i] += __shfl_xor_sync(~0u, sum[i], 2);
        int pos = row_lo + 8 * i;
        if (pos < start || pos >= pos_end)
            continue;
        int64_t at = (int64_t)bh * s.q_len + pos - start;
        float inverse = 1 / sum[i];
        if (a.lse && lane % 4 == 0)
            a.lse[at] = top[i] * s.scale + logf(sum[i]);
#pragma unroll
        for (int n = 0; n < NO; n++) {
            int c = n * 8 + lane % 4 * 2;
            uint32_t two = pack<HALF>(o[n][2 * i] * inverse, o[n][2 * i + 1] * inverse);
            uint16_t *to = a.o + at * s.dim_v + c;
            if (s.dim_v % 2 == 0 && c < s.dim_v) {
                *(uint32_t *)to = two;
            } else {
                if (c < s.dim_v)
                    to[0] = (uint16_t)two;
                if (c + 1 < s.dim_v)
                    to[1] = (uint16_t)(two >> 16);
            }
        }
    }
}

template <bool HALF, int DP, int KT>
cudaError_t launch(const mma_args &a, dim3 grid, cudaStream_t stream)
{
    int bytes = (QUERIES + 4 * KT) * DP * 2;
    cudaError_t e = cudaFuncSetAttribute(attend<HALF, DP, KT>,
                                         cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (e != cudaSuccess)
        return e;
    attend<HALF, DP, KT><<<grid, THREADS, bytes, stream>>>(a);
    return cudaGetLastError();
}

template <bool HALF> cudaError_t launch_dims(const mma_args &a, dim3 grid, cudaStream_t stream)
{
    int dim = a.shape.dim > a.shape.dim_v ? a.shape.dim : a.shape.dim_v;
    if (dim <= 64)
        return launch<HALF, 64, 64>(a, grid, stream);
    if (dim <= 128)
        return launch<HALF, 128, 64>(a, grid, stream);
    return launch<HALF, 256, 32>(a, grid, stream);
}

} // namespace

cudaError_t sb_mma_attend(const sb_cuda_shape &shape, const sb_inputs &in,
                          const sb_cuda_pattern *pat, const sb_outputs &out, cudaStream_t stream)
{
    mma_args a = {};
    a.shape = shape;
    a.q = (const uint16_t *)in.q;
    a.k = (const uint16_t *)in.k;
    a.v = (const uint16_t *)in.v;
    a.o = (uint16_t *)out.o;
    a.lse = out.lse;
    a.row_ptr = pat ? pat->row_ptr : nullptr;
    a.col = pat ? pat->col : nullptr;
    a.block = pat ? shape.block : QUERIES;
    a.tiles_per_row = (a.block + QUERIES - 1) / QUERIES;
    unsigned tiles = (unsigned)(pat ? shape.n_rows * a.tiles_per_row : shape.tiles_64);
    dim3 grid(tiles, (unsigned)shape.n_heads, (unsigned)shape.n_batch);
    return shape.half ? launch_dims<true>(a, grid, stream) : launch_dims<false>(a, grid, stream);
}
