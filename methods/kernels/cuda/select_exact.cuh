#ifndef SB_SELECT_EXACT_CUH
#define SB_SELECT_EXACT_CUH

/* Scores in the CPU's order of additions (methods/kernels/cpu/score.c), and choosing by them. */

#include "methods/kernels/cuda/select_search.cuh"

namespace sb_select
{

enum { SUMS_AT_ONCE = 512 };

/* The list at work. */
struct list {
    int64_t index; /* in masks and counts */
    int n, k;      /* causal blocks, budget */
    const float *product;
    float gain, diagonal; /* factor of all scores; of the diagonal block's besides */
    const float *bonus;   /* [n] or NULL */
    float error;          /* of a score, at most */
    const uint16_t *q_hi, *q_low, *k_hi, *k_low; /* sums; of block 0 */
};

/* From a product of sums to what is ranked, rounded as on the CPU. */
__device__ inline float finish(const list &x, float product, int j)
{
    float score = __fmul_rn(__fmul_rn(x.gain, product), j == x.n - 1 ? x.diagonal : 1);
    return x.bonus ? __fadd_rn(score, __ldg(x.bonus + j)) : score;
}

/* Eight of a list's sums from two of its parts. */
struct eight {
    uint4 hi, low;

    __device__ void load(const uint16_t *from_hi, const uint16_t *from_low, int64_t at)
    {
        hi = *(const uint4 *)(from_hi + at), low = *(const uint4 *)(from_low + at);
    }
    __device__ float operator[](int i) const
    {
        return join(((const uint16_t *)&hi)[i], ((const uint16_t *)&low)[i]);
    }
};

/* What a warp needs to score again. */
struct scratch {
    uint32_t queue[1024];           /* blocks, then their keys */
    float product[2][SUMS_AT_ONCE]; /* of two blocks */
    uint32_t word[32];              /* blocks chosen, a bit each */
};

/* The CPU's products of the list's sums with those of two blocks: lanes 0-15 return block j0's,
 * lanes 16-31 block j1's. All threads load and multiply; then thread i of 16 adds up what is the
 * CPU's lane i. */
__device__ inline float products_again(const list &x, int length, int j0, int j1,
                                       float (*product)[SUMS_AT_ONCE])
{
    int lane = threadIdx.x % 32;
    int64_t block[2] = {(int64_t)j0 * length, (int64_t)j1 * length};
    float sum = 0;
    for (int l0 = 0; l0 < length; l0 += SUMS_AT_ONCE) {
        enum { LOADS = SUMS_AT_ONCE / 256 };
        eight q[LOADS], k[2][LOADS];
#pragma unroll
        for (int u = 0; u < LOADS; u++) {
            int l = l0 + 8 * (lane + 32 * u);
            if (l >= length)
                continue;
            q[u].load(x.q_hi, x.q_low, l);
            k[0][u].load(x.k_hi, x.k_low, block[0] + l);
            k[1][u].load(x.k_hi, x.k_low, block[1] + l);
        }
        __syncwarp();
#pragma unroll
        for (int c = 0; c < 2; c++)
#pragma unroll
            for (int u = 0; u < LOADS; u++)
#pragma unroll
                for (int i = 0; i < 8; i += 4)
                    *(float4 *)&product[c][8 * (lane + 32 * u) + i] = make_float4(
                        __fmul_rn(q[u][i], k[c][u][i]), __fmul_rn(q[u][i + 1], k[c][u][i + 1]),
                        __fmul_rn(q[u][i + 2], k[c][u][i + 2]),
                        __fmul_rn(q[u][i + 3], k[c][u][i + 3]));
        __syncwarp();
        int n = min(length - l0, (int)SUMS_AT_ONCE);
#pragma unroll 16
        for (int l = lane % 16; l < n; l += 16)
            sum = __fadd_rn(sum, product[lane / 16][l]);
    }
#pragma unroll
    for (int width = 8; width > 0; width /= 2)
        sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, width));
    return sum;
}

/* Put exact keys in place of the queue's n blocks. */
__device__ inline void rescore(const stages &s, const list &x, int n, scratch *room)
{
    int lane = threadIdx.x % 32;
    uint32_t *queue = room->queue;
    for (int c = 0; c < n; c += 2) {
        int j0 = (int)queue[c], j1 = (int)queue[min(c + 1, n - 1)];
        float product = products_again(x, s.length, j0, j1, room->product);
        uint32_t exact = key_of(finish(x, product, lane < 16 ? j0 : j1));
        if (lane % 16 == 0 && c + lane / 16 < n)
            queue[c + lane / 16] = exact;
        __syncwarp();
    }
}

/* Of up to 32 blocks, those of one warp marked in `open`, the `wanted` best: each lane returns the
 * mask's word of item `lane`. */
static __device__ __noinline__ uint32_t choose_few(const stages &s, const list &x, uint32_t open,
                                                   int n, uint32_t wanted, scratch *room)
{
    int lane = threadIdx.x % 32, at = __popc(open), rank = 0;
    for (int width = 1; width < 32; width *= 2) {
        int left = __shfl_up_sync(~0u, at, width);
        at += lane >= width ? left : 0;
    }
    at -= __popc(open);
    for (; open; open &= open - 1)
        room->queue[at++] = (__ffs(open) - 1) * 32 + lane;
    room->word[lane] = 0;
    __syncwarp();
    uint32_t block = room->queue[min(lane, n - 1)];
    __syncwarp();
    rescore(s, x, n, room);
    uint32_t key = room->queue[min(lane, n - 1)];
    for (int c = 0; c < n; c++) {
        uint32_t other = __shfl_sync(~0u, key, c), its_block = __shfl_sync(~0u, block, c);
        rank += other > key || (other == key && its_block < block);
    }
    if (lane < n && rank < (int)wanted)
        atomicOr(&room->word[block / 32], 1u << block % 32);
    __syncwarp();
    return room->word[lane];
}

/* From a bit an item to a word of the mask a lane. */
__device__ inline uint32_t words_of(uint32_t bits)
{
    uint32_t word = 0;
#pragma unroll 1
    for (int i = 0; i < 32; i++) {
        uint32_t all = __ballot_sync(~0u, bits >> i & 1);
        word = threadIdx.x % 32 == i ? all : word;
    }
    return word;
}

/* Of any number of blocks marked in `open`, the `wanted` best, ties to the lower block: each lane
 * returns the mask's word of item `lane`. first: the warp's first block. */
template <int WARPS>
__device__ __noinline__ uint32_t choose_many(const stages &s, const list &x, team<WARPS> &t,
                                             int first, uint32_t open, uint32_t n_open,
                                             uint32_t wanted, scratch *room)
{
    enum { ITEMS = 32 };
    int lane = threadIdx.x % 32, n = 0;
    uint32_t key[ITEMS], least = ~0u, most = 0, cut, chosen = 0, ties = 0;
    if (n_open == wanted)
        return words_of(open);
#pragma unroll 1
    for (int i = 0; i < ITEMS; i++) {
        bool is_open = open >> i & 1;
        uint32_t all = __ballot_sync(~0u, is_open);
        if (is_open)
            room->queue[n + __popc(all & lanes_below())] = first + 32 * i + lane;
        n += __popc(all);
    }
    __syncwarp();
    rescore(s, x, n, room);
    n = 0;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        bool is_open = open >> i & 1;
        uint32_t all = __ballot_sync(~0u, is_open);
        key[i] = is_open ? room->queue[n + __popc(all & lanes_below())] : 0;
        least = is_open ? min(least, key[i]) : least;
        most = max(most, key[i]);
        n += __popc(all);
    }
    search all_open = {t.least(least), t.most(most), n_open, wanted, NAN, NAN};
    bool exact = find_cut<ITEMS>(t, key, all_open, &cut);
    uint32_t places = exact ? 0 : wanted - count_from<ITEMS>(t, key, cut + 1);
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        chosen |= (uint32_t)(key[i] >= cut + !exact) << i;
        ties |= (uint32_t)(!exact && key[i] == cut) << i;
    }
    ties &= open;
    uint32_t rank = t.before(__popc(ties));
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        uint32_t all = __ballot_sync(~0u, ties >> i & 1);
        if ((ties >> i & 1) && rank + __popc(all & lanes_below()) < places)
            chosen |= 1u << i;
        rank += __popc(all);
    }
    return words_of(chosen);
}

} // namespace sb_select

#endif
