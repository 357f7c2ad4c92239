/*
 * The k largest scores of each list, ties to the lower block, and the forced blocks, as bit masks.
 *
 * A score s from the tensor cores is within e of the CPU's. With s_k and s_k+1 the k-th and next
 * largest, a block with s > s_k+1 + 2 e is in the CPU's choice, one with s < s_k - 2 e is not. What
 * is between is scored again in the CPU's order of additions, and ranks by that.
 *
 * A warp has up to 1024 blocks of a list, 32 consecutive ones an item, so that a ballot is a word
 * of the mask; longer lists take all warps of a thread block.
 */
#include "methods/kernels/cuda/select_exact.cuh"

namespace sb_select
{
namespace
{

/* Where the k-th of n scores is if they are normal, from their mean and deviation about `origin`.
 */
__device__ void guess_cut(const list &x, float origin, float sum, float square, search *all)
{
    for (int width = 16; width > 0; width /= 2) {
        sum += __shfl_xor_sync(~0u, sum, width);
        square += __shfl_xor_sync(~0u, square, width);
    }
    float n = (float)x.n, mean = sum / n, deviation = sqrtf(fmaxf(square / n - mean * mean, 0));
    all->step = .15f * deviation;
    all->guess = origin + mean - deviation * normcdfinvf((float)x.k / n) - .5f * all->step;
}

/* A list's scores: item i is block first + 32 i + lane's, minus infinity where there is none. Loads
 * go past the end, where there is room, and come before their first use, since too few lists run at
 * a time to hide one load after another. */
template <int ITEMS> __device__ void load_scores(const list &x, int first, float *score)
{
    int at = first + (int)threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
        score[i] = __ldg(x.product + at + 32 * i);
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
        score[i] = __fmul_rn(x.gain, score[i]);
    if (x.diagonal != 1)
#pragma unroll
        for (int i = 0; i < ITEMS; i++)
            score[i] = at + 32 * i == x.n - 1 ? __fmul_rn(score[i], x.diagonal) : score[i];
    if (x.bonus)
#pragma unroll
        for (int i = 0; i < ITEMS; i++)
            score[i] = __fadd_rn(score[i], __ldg(x.bonus + at + 32 * i));
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
        score[i] = at + 32 * i < x.n ? score[i] : -INFINITY;
}

template <int WARPS>
__device__ void count_rescored(const stages &s, const list &x, const team<WARPS> &t, int n)
{
    if (threadIdx.x % 32 == 0 && t.warp() == 0)
        atomicAdd(&s.segment[x.index / SEGMENT].n_rescored, n);
}

/* The k best of a list: each lane returns the mask's word of item `lane`. */
template <int ITEMS, int WARPS>
__device__ uint32_t choose(const stages &s, const list &x, team<WARPS> &t, scratch *room)
{
    int first = t.warp() * ITEMS * 32, lane = threadIdx.x % 32;
    uint32_t cut, word = 0, open = 0;
    float score[ITEMS], least = INFINITY, most = -INFINITY, sum = 0, square = 0;
    if (!(x.error < 1e30f)) {
        /* Sums, or their squares, beyond float32: nothing is known but what is computed again. */
        int n = min(max((x.n - first - lane + 31) / 32, 0), 32);
        open = n < 32 ? (1u << n) - 1 : ~0u;
        count_rescored(s, x, t, x.n);
        return choose_many(s, x, t, first, open, x.n, x.k, room);
    }
    load_scores<ITEMS>(x, first, score);
    float origin = __shfl_sync(~0u, score[0], 0);
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        bool inside = score[i] > -INFINITY;
        float off = inside ? score[i] - origin : 0;
        sum += off, square += off * off;
        least = fminf(least, inside ? score[i] : INFINITY);
        most = fmaxf(most, score[i]);
    }
    search all = {
        t.least(key_of(least)), t.most(key_of(most)), (uint32_t)x.n, (uint32_t)x.k, NAN, NAN};
    /* Warps that search together must look in one place, so they do without. */
    if (WARPS == 1)
        guess_cut(x, origin, sum, square, &all);

    bool split = find_cut<ITEMS>(t, score, all, &cut);
    float at = value_of(cut), last = at, next = at;
    if (split) {
        last = INFINITY, next = -INFINITY;
#pragma unroll
        for (int i = 0; i < ITEMS; i++) {
            bool in = score[i] >= at;
            uint32_t kept = __ballot_sync(~0u, in);
            last = fminf(last, in ? score[i] : INFINITY);
            next = fmaxf(next, in ? -INFINITY : score[i]);
            word = lane == i ? kept : word;
        }
        last = value_of(t.least(key_of(last))), next = value_of(t.most(key_of(next)));
    }
    float above = next + 2 * x.error, below = last - 2 * x.error;
    if (split && last > above)
        return word;

    word = 0;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        bool in = score[i] > above;
        uint32_t kept = __ballot_sync(~0u, in);
        word = lane == i ? kept : word;
        open |= (uint32_t)(!in && score[i] >= below) << i;
    }
    uint32_t n_open = t.sum(__popc(open)), wanted = x.k - t.sum(__popc(word));
    count_rescored(s, x, t, (int)n_open);
    return word |
           (WARPS == 1 && n_open <= 32 ? choose_few(s, x, open, (int)n_open, wanted, room)
                                       : choose_many(s, x, t, first, open, n_open, wanted, room));
}

/* The bound that select_plan.cu derives. */
__device__ float product_error(const squares &q, const squares &k, float share)
{
    /* Squares of less than this can vanish in float32. */
    const float least = 1e-18f;
    float q_norm = sqrtf(q.sum) + least, k_norm = sqrtf(k.sum) + least;
    float split = (sqrtf(q.rest) + least) * k_norm + q_norm * (sqrtf(k.rest) + least) +
                  (sqrtf(q.mid) + least) * (sqrtf(k.mid) + least);
    return 1.01f * (split + share * q_norm * k_norm);
}

__device__ list list_of(const stages &s, int from, int bh, int r)
{
    list x = {};
    int b = bh / s.n_heads, kv_head = bh / (s.n_heads / s.n_kv_heads);
    const sequence seq = s.seq[b];
    x.index = (int64_t)bh * s.n_rows + r;
    if (r >= seq.n_rows)
        return x;
    x.n = seq.first_block + r + 1;
    x.k = s.budget[b * s.n_rows + r];
    x.product = s.scores + ((int64_t)(bh - from) * s.n_rows + r) * s.score_line;
    if (s.bonus != SB_CUDA_BONUS_NONE)
        x.bonus = s.block_bonus + (int64_t)kv_head * s.n_blocks;
    int64_t key_at = (int64_t)kv_head * s.n_blocks * s.length;
    x.q_hi = s.q.hi + x.index * s.length, x.q_low = s.q.low + x.index * s.length;
    x.k_hi = s.k.hi + key_at, x.k_low = s.k.low + key_at;

    /* score_blocks.c: row_gain and the diagonal's correction. */
    int position = (x.n - 1) * s.block, end = min(seq.kv_len, position + s.block);
    int n_queries = end - max(position, seq.kv_len - seq.q_len);
    x.gain = s.gain;
    if (s.mean && n_queries < s.block)
        x.gain = (float)(s.scale / ((double)n_queries * s.block));
    x.diagonal = 1;
    if (s.mean && end - position < s.block)
        x.diagonal = (float)((double)s.block / (double)(end - position));

    x.error = x.gain * x.diagonal *
                  product_error(s.q_squares[x.index], s.k_most[kv_head], s.error_share) +
              0x1p-21f * __uint_as_float(s.bonus_most[kv_head]) + 1e-30f;
    return x;
}

/* The mask's word of blocks from..from + 31 that are kept whatever their score. */
__device__ uint32_t forced(const stages &s, const list &x, int from)
{
    auto before = [=](int end) {
        return end <= from ? 0 : end >= from + 32 ? ~0u : (1u << (end - from)) - 1;
    };
    uint32_t kept = x.k >= x.n ? ~0u : before(s.sinks) | ~before(x.n - s.window);
    return before(x.n) & kept;
}

template <int ITEMS, int WARPS>
__device__ void fill(const stages &s, const list &x, team<WARPS> &t, scratch *room)
{
    int w = t.warp() * 32 + (int)threadIdx.x % 32;
    uint32_t word = forced(s, x, 32 * w);
    if (x.k < x.n)
        word |= choose<ITEMS>(s, x, t, room);
    int n = (int)t.sum(__popc(word));
    if (w < s.mask_words)
        s.mask[x.index * s.mask_words + w] = word;
    if (w == 0) {
        s.count[x.index] = n;
        atomicAdd(&s.segment[x.index / SEGMENT].n_kept, n);
    }
}

enum { LISTS = 2 }; /* of a thread block, when a warp does one */

__global__ void __launch_bounds__(32 * LISTS, 8)
    short_lists(const __grid_constant__ stages s, int from)
{
    __shared__ scratch rooms[LISTS];
    /* The longest first. */
    int r = s.n_rows - 1 - (int)(blockIdx.x * LISTS + threadIdx.x / 32);
    if (r < 0)
        return;
    list x = list_of(s, from, from + (int)blockIdx.y, r);
    scratch *room = &rooms[threadIdx.x / 32];
    team<1> t = {};
    if (x.n <= 256)
        fill<8>(s, x, t, room);
    else if (x.n <= 512)
        fill<16>(s, x, t, room);
    else
        fill<32>(s, x, t, room);
}

__global__ void __launch_bounds__(MOST_BLOCKS / 32)
    long_lists(const __grid_constant__ stages s, int from)
{
    extern __shared__ scratch rooms[];
    __shared__ uint32_t team_room[64];
    list x = list_of(s, from, from + (int)blockIdx.y, s.n_rows - 1 - (int)blockIdx.x);
    team<32> t = {team_room, 0};
    fill<32>(s, x, t, &rooms[threadIdx.x / 32]);
}

} // namespace

cudaError_t prepare_topk(void)
{
    return cudaFuncSetAttribute(long_lists, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                (int)(MOST_BLOCKS / 1024 * sizeof(scratch)));
}

void launch_topk(const stages &s, int from, int n, cudaStream_t stream)
{
    int warps = (s.n_blocks + 1023) / 1024;
    dim3 short_grid((unsigned)(s.n_rows + LISTS - 1) / LISTS, (unsigned)n);
    dim3 long_grid((unsigned)s.n_rows, (unsigned)n);
    if (warps == 1)
        short_lists<<<short_grid, 32 * LISTS, 0, stream>>>(s, from);
    else
        long_lists<<<long_grid, 32 * warps, warps * sizeof(scratch), stream>>>(s, from);
}

} // namespace sb_select
