/*
 * One memory-bound pass over Q, K and V: group sums of Q and K, and the norms of V.
 *
 * Every sum is made in the order of methods/kernels/cpu/score.c: tokens ascending within a group,
 * squares in 16 lanes and then a tree, without fused multiply-add, so that all bits are the CPU's.
 */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "methods/kernels/cuda/select_bonus.cuh"

namespace sb_select
{
namespace
{

enum { THREADS = 256, TOKENS = THREADS / 2, IN_FLIGHT = 8 };

__device__ float widen(uint16_t x, __nv_bfloat16)
{
    return __uint_as_float((uint32_t)x << 16);
}

__device__ float widen(uint16_t x, __half)
{
    return __half2float(__ushort_as_half(x));
}

/* N elements of T from device memory, widened on the way: in one access, when N > 1. */
template <typename T, int N> struct pack {
    using bits = uint16_t;
    union {
        uint4 whole;
        uint16_t x[8];
    };
    __device__ void load(const void *from)
    {
        if (N == 8)
            whole = __ldcs(static_cast<const uint4 *>(from));
        else
            x[0] = __ldcs(static_cast<const uint16_t *>(from));
    }
    __device__ float operator[](int i) const
    {
        return widen(x[i], T());
    }
};

template <int N> struct pack<float, N> {
    using bits = float;
    union {
        float4 whole;
        float x[4];
    };
    __device__ void load(const void *from)
    {
        if (N == 4)
            whole = __ldcs(static_cast<const float4 *>(from));
        else
            x[0] = __ldcs(static_cast<const float *>(from));
    }
    __device__ float operator[](int i) const
    {
        return x[i];
    }
};

/* sum[i] of the tokens p = g, g + stride, ... of a block that lie in [from, to); x is where the
 * block's token 0, column of interest, is or would be. */
template <typename T, int N>
__device__ void sum_group(const typename pack<T, N>::bits *x, int64_t dim, int g, int stride,
                          int from, int to, float *sum)
{
    int p = g < from ? g + (from - g + stride - 1) / stride * stride : g;
#pragma unroll
    for (int i = 0; i < N; i++)
        sum[i] = 0;
    while (p < to) {
        pack<T, N> token[IN_FLIGHT];
#pragma unroll
        for (int u = 0; u < IN_FLIGHT; u++)
            if (p + u * stride < to)
                token[u].load(x + (p + u * stride) * dim);
#pragma unroll
        for (int u = 0; u < IN_FLIGHT; u++)
            if (p + u * stride < to)
#pragma unroll
                for (int i = 0; i < N; i++)
                    sum[i] = __fadd_rn(sum[i], token[u][i]);
        p += IN_FLIGHT * stride;
    }
}

/* Splits sums, and adds up the squares of their parts. */
template <int N>
__device__ void store_split(const split_sums &to, int64_t at, const float *sum, squares *total)
{
    __align__(16) uint16_t hi[N], mid[N], low[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
        uint32_t bits = __float_as_uint(sum[i]);
        hi[i] = (uint16_t)((bits + 0x8000u) >> 16);
        float left = __fsub_rn(sum[i], __uint_as_float((uint32_t)hi[i] << 16));
        __nv_bfloat16 middle = __float2bfloat16_rn(left);
        float rest = __fsub_rn(left, __bfloat162float(middle));
        mid[i] = __bfloat16_as_ushort(middle);
        low[i] = (uint16_t)bits;
        total->sum += sum[i] * sum[i];
        total->mid += left * left;
        total->rest += rest * rest;
    }
    if (N == 8) {
        *(uint4 *)(to.hi + at) = *(const uint4 *)hi;
        *(uint4 *)(to.mid + at) = *(const uint4 *)mid;
        *(uint4 *)(to.low + at) = *(const uint4 *)low;
    } else if (N == 4) {
        *(uint2 *)(to.hi + at) = *(const uint2 *)hi;
        *(uint2 *)(to.mid + at) = *(const uint2 *)mid;
        *(uint2 *)(to.low + at) = *(const uint2 *)low;
    } else {
        to.hi[at] = hi[0], to.mid[at] = mid[0], to.low[at] = low[0];
    }
}

/* A warp sums part[0..n-1] in a fixed order. */
__device__ float warp_total(const float *part, int n)
{
    float sum = 0;
    for (int i = threadIdx.x % 32; i < n; i += 32)
        sum += part[i];
    for (int width = 16; width > 0; width /= 2)
        sum += __shfl_xor_sync(~0u, sum, width);
    return sum;
}

__device__ void raise(squares *most, const squares &x)
{
    /* Floats that are not negative order as their bits do. */
    atomicMax((uint32_t *)&most->sum, __float_as_uint(x.sum));
    atomicMax((uint32_t *)&most->mid, __float_as_uint(x.mid));
    atomicMax((uint32_t *)&most->rest, __float_as_uint(x.rest));
}

/* Where a list's tokens are. */
struct span {
    bool wanted;
    int64_t token; /* of the block's first token, counted over all sequences and heads */
    int from, to;  /* the block's tokens that exist */
};

__device__ span q_span(const stages &s, int64_t list)
{
    int r = (int)(list % s.n_rows);
    int64_t bh = list / s.n_rows;
    int b = (int)(bh / s.n_heads);
    const sequence seq = s.seq[b];
    if (!scored(s, b, r))
        return {};
    /* Query t stands at kv_len - q_len + t; a chunk can start within its first block. */
    int position = (seq.first_block + r) * s.block, past = seq.kv_len - seq.q_len;
    int from = max(past - position, 0), to = min(seq.kv_len - position, s.block);
    return {true, bh * s.q_len + position - past, from, to};
}

__device__ span k_span(const stages &s, int64_t list)
{
    int j = (int)(list % s.n_blocks);
    int64_t b_head = list / s.n_blocks;
    int kv_len = s.seq[b_head / s.n_kv_heads].kv_len, to = min(kv_len - j * s.block, s.block);
    return {to > 0, b_head * s.kv_len + (int64_t)j * s.block, 0, to};
}

template <typename T, int N>
__device__ void sum_lists(const stages &s, const void *x, int64_t cta, bool keys)
{
    __shared__ float part[3][THREADS];
    const auto *tokens = static_cast<const typename pack<T, N>::bits *>(x);
    const split_sums &to = keys ? s.k : s.q;
    int per_line = s.dim_padded / N, items = s.stride * per_line;
    int lists = items < THREADS ? THREADS / items : 1;
    int64_t n_lists = (int64_t)s.n_batch *
                      (keys ? (int64_t)s.n_kv_heads * s.n_blocks : (int64_t)s.n_heads * s.n_rows);
    squares total = {};
    for (int item = threadIdx.x; item < lists * items; item += THREADS) {
        int64_t list = cta * lists + item / items;
        int g = item % items / per_line, c = item % per_line * N;
        span at = {};
        if (list < n_lists)
            at = keys ? k_span(s, list) : q_span(s, list);
        if (!at.wanted)
            continue;
        float sum[N] = {};
        if (c < s.dim)
            sum_group<T, N>(tokens + at.token * s.dim + c, s.dim, g, s.stride, at.from, at.to, sum);
        int place = keys ? s.stride - 1 - g : g;
        store_split<N>(to, list * s.length + place * s.dim_padded + c, sum, &total);
    }
    part[0][threadIdx.x] = total.sum;
    part[1][threadIdx.x] = total.mid;
    part[2][threadIdx.x] = total.rest;
    __syncthreads();
    for (int i = threadIdx.x / 32; i < lists; i += THREADS / 32) {
        int64_t list = cta * lists + i;
        int n = min(items, (int)THREADS);
        total.sum = warp_total(part[0] + i * items, n);
        total.mid = warp_total(part[1] + i * items, n);
        total.rest = warp_total(part[2] + i * items, n);
        if (threadIdx.x % 32 != 0 || list >= n_lists)
            continue;
        if (keys)
            raise(s.k_most + list / s.n_blocks, total);
        else
            s.q_squares[list] = total;
    }
}

/* Squares of one token in two threads, 8 lanes each; both return the norm. */
template <typename T, int N>
__device__ float token_norm(const typename pack<T, N>::bits *x, int dim, int half)
{
    float lane[8] = {};
#pragma unroll 4
    for (int c = 8 * half; c < dim; c += 16)
#pragma unroll
        for (int e = 0; e < 8; e += N) {
            pack<T, N> columns;
            if (c + e >= dim)
                continue;
            columns.load(x + c + e);
#pragma unroll
            for (int i = 0; i < N; i++)
                lane[e + i] = __fadd_rn(lane[e + i], __fmul_rn(columns[i], columns[i]));
        }
#pragma unroll
    for (int i = 0; i < 8; i++)
        lane[i] = __fadd_rn(lane[i], __shfl_xor_sync(~0u, lane[i], 1));
#pragma unroll
    for (int width = 4; width > 0; width /= 2)
#pragma unroll
        for (int i = 0; i < width; i++)
            lane[i] = __fadd_rn(lane[i], lane[i + width]);
    return __fsqrt_rn(lane[0]);
}

__device__ int groups_per_cta(const stages &s)
{
    return s.value_group < TOKENS ? TOKENS / s.value_group : 1;
}

template <typename T, int N>
__device__ void value_norms(const stages &s, const void *v, int64_t cta, int64_t ctas_per_head)
{
    __shared__ float norm[1024]; /* the largest block; more than TOKENS */
    const auto *tokens = static_cast<const typename pack<T, N>::bits *>(v);
    int64_t b_head = cta / ctas_per_head;
    int groups = groups_per_cta(s), first_group = (int)(cta % ctas_per_head) * groups;
    int kv_len = s.seq[b_head / s.n_kv_heads].kv_len, first = first_group * s.value_group;
    int n = min(groups * s.value_group, kv_len - first);
    for (int t0 = 0; t0 < n; t0 += TOKENS) {
        int t = t0 + threadIdx.x / 2;
        int64_t at = (b_head * s.kv_len + first + min(t, n - 1)) * s.dim_v;
        float x = token_norm<T, N>(tokens + at, s.dim_v, threadIdx.x % 2);
        if (t < n)
            norm[t] = x;
    }
    __syncthreads();
    for (int i = threadIdx.x / 32; i < groups; i += THREADS / 32) {
        int64_t g = first_group + i;
        float most = 0;
        for (int t = threadIdx.x % 32; t < s.value_group && i * s.value_group + t < n; t += 32)
            most = fmaxf(most, norm[i * s.value_group + t]);
        for (int width = 16; width > 0; width /= 2)
            most = fmaxf(most, __shfl_xor_sync(~0u, most, width));
        if (threadIdx.x % 32 != 0 || g >= s.n_value_groups)
            continue;
        if (s.bonus == SB_CUDA_BONUS_RELEASED) {
            s.group_log[b_head * s.n_value_groups + g] = log((double)most + 1e-6);
        } else {
            float bonus = (float)(s.beta * fmax(0.0, log((double)most)));
            s.block_bonus[b_head * s.n_blocks + g] = bonus;
            atomicMax(&s.bonus_most[b_head], __float_as_uint(bonus));
        }
    }
    if (s.bonus != SB_CUDA_BONUS_RELEASED)
        return;
    /* Whoever leaves a head's last logarithms goes on with all of them, while others read Q. */
    __shared__ bool is_last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        is_last = atomicAdd(&s.norms_done[b_head], 1) == ctas_per_head - 1;
    __syncthreads();
    if (!is_last)
        return;
    __threadfence();
    released_bonus<THREADS>(s, b_head);
}

/* Thread blocks of each input, in the order in which they start. */
struct parts {
    int64_t k, v, q;
    int64_t v_per_head;
};

template <typename T, int N>
__global__ void __launch_bounds__(THREADS)
    sums_kernel(const __grid_constant__ stages s, const __grid_constant__ sb_inputs in, parts n)
{
    int64_t cta = blockIdx.x;
    if (cta < n.k)
        sum_lists<T, N>(s, in.k, cta, true);
    else if (cta < n.k + n.v)
        value_norms<T, N>(s, in.v, cta - n.k, n.v_per_head);
    else
        sum_lists<T, N>(s, in.q, cta - n.k - n.v, false);
}

template <typename T, int N> void launch(const stages &s, const sb_inputs &in, cudaStream_t stream)
{
    int items = s.stride * s.dim_padded / N, lists = items < THREADS ? THREADS / items : 1;
    int groups = s.value_group < TOKENS ? TOKENS / s.value_group : 1;
    int64_t b_kv = (int64_t)s.n_batch * s.n_kv_heads;
    parts n = {};
    n.k = sb_ceil_div(b_kv * s.n_blocks, lists);
    n.q = sb_ceil_div((int64_t)s.n_batch * s.n_heads * s.n_rows, lists);
    if (s.bonus != SB_CUDA_BONUS_NONE) {
        n.v_per_head = sb_ceil_div(s.n_value_groups, groups);
        n.v = b_kv * n.v_per_head;
    }
    sums_kernel<T, N><<<(unsigned)(n.k + n.v + n.q), THREADS, 0, stream>>>(s, in, n);
}

template <typename T, int WIDE>
void launch_wide(const stages &s, const sb_inputs &in, cudaStream_t stream)
{
    uintptr_t addresses = (uintptr_t)in.q | (uintptr_t)in.k | (uintptr_t)in.v;
    if (s.dim % WIDE == 0 && s.dim_v % WIDE == 0 && addresses % 16 == 0)
        launch<T, WIDE>(s, in, stream);
    else
        launch<T, 1>(s, in, stream);
}

} // namespace

void launch_sums(const stages &s, const sb_inputs &in, cudaStream_t stream)
{
    if (s.dtype == SB_BF16)
        launch_wide<__nv_bfloat16, 8>(s, in, stream);
    else if (s.dtype == SB_F16)
        launch_wide<__half, 8>(s, in, stream);
    else
        launch_wide<float, 4>(s, in, stream);
}

} // namespace sb_select
