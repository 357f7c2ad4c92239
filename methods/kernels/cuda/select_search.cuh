#ifndef SB_SELECT_SEARCH_CUH
#define SB_SELECT_SEARCH_CUH

/* Finds the threshold that keeps the k largest of the keys that threads hold in registers. */

#include "methods/kernels/cuda/select_stages.cuh"

namespace sb_select
{

/* As in methods/kernels/cpu/select.c: an unsigned key that orders as the float does. */
__device__ inline uint32_t key_of(float x)
{
    uint32_t bits = __float_as_uint(__fadd_rn(x, 0.0f));
    if (x != x)
        return 0;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ inline float value_of(uint32_t key)
{
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/* The threads of a list: one warp, or all warps of the thread block. */
template <int WARPS> struct team {
    uint32_t *room; /* [2][32] shared, when there are several warps */
    int turn;

    __device__ int warp() const
    {
        return WARPS == 1 ? 0 : (int)threadIdx.x / 32;
    }
    __device__ uint32_t sum(uint32_t x)
    {
        x = __reduce_add_sync(~0u, x);
        return WARPS == 1 ? x : __reduce_add_sync(~0u, of_warp(post(x), 0));
    }
    __device__ uint32_t most(uint32_t x)
    {
        x = __reduce_max_sync(~0u, x);
        return WARPS == 1 ? x : __reduce_max_sync(~0u, of_warp(post(x), 0));
    }
    __device__ uint32_t least(uint32_t x)
    {
        x = __reduce_min_sync(~0u, x);
        return WARPS == 1 ? x : __reduce_min_sync(~0u, of_warp(post(x), ~0u));
    }
    /* The sum over the warps before this one. */
    __device__ uint32_t before(uint32_t x)
    {
        x = __reduce_add_sync(~0u, x);
        if (WARPS == 1)
            return 0;
        uint32_t one = of_warp(post(x), 0);
        return __reduce_add_sync(~0u, threadIdx.x % 32 < threadIdx.x / 32 ? one : 0);
    }

  private:
    /* Two rooms in turn: who still reads one is past the barrier before it is written again. */
    __device__ const uint32_t *post(uint32_t x)
    {
        uint32_t *all = room + 32 * (turn ^= 1);
        if (threadIdx.x % 32 == 0)
            all[threadIdx.x / 32] = x;
        __syncthreads();
        return all;
    }
    __device__ uint32_t of_warp(const uint32_t *all, uint32_t neutral) const
    {
        return threadIdx.x % 32 < blockDim.x / 32 ? all[threadIdx.x % 32] : neutral;
    }
};

__device__ inline bool reaches(uint32_t key, uint32_t least)
{
    return key >= least;
}

__device__ inline bool reaches(float score, uint32_t least)
{
    return score >= value_of(least);
}

/* How many of x reach `least`. */
template <int ITEMS, int WARPS, typename T>
__device__ uint32_t count_from(team<WARPS> &t, const T *x, uint32_t least)
{
    uint32_t n[4] = {};
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
        n[i % 4] += reaches(x[i], least);
    return t.sum(n[0] + n[1] + n[2] + n[3]);
}

/* What to search, and where to look first. */
struct search {
    uint32_t least, most; /* of the keys */
    uint32_t n, wanted;   /* how many there are, and are to be kept: 1 <= wanted < n */
    float guess, step;    /* a value, and how far it may be off; NaN: none */
};

/* A threshold that exactly `wanted` of the keys, or scores without NaN, reach, when there is one.
 * Else some tie for the last place: more than `wanted` reach *cut, fewer reach *cut + 1. */
template <int ITEMS, int WARPS, typename T>
__device__ bool find_cut(team<WARPS> &t, const T *items, const search &x, uint32_t *cut)
{
    uint32_t low = x.least, high = x.most + 1; /* from_low > wanted keys reach low, ... */
    uint32_t from_low = x.n, from_high = 0;    /* ... from_high < wanted reach high */
    float guess = x.guess;
    for (int i = 0; high - low > 1; i++) {
        float a = value_of(low), b = value_of(high);
        if (i == 1)
            guess += from_low == x.n ? -x.step : x.step;
        else if (i % 3 == 2)
            guess = a + (b - a) * ((float)(from_low - x.wanted) / (float)(from_low - from_high));
        else if (i > 1)
            guess = .5f * a + .5f * b;
        uint32_t middle = key_of(guess);
        /* Values get to a score soonest; halving keys bounds the worst case. */
        if (i % 8 == 7 || middle <= low || middle >= high)
            middle = low + (high - low) / 2;
        uint32_t n = count_from<ITEMS>(t, items, middle);
        if (n == x.wanted) {
            *cut = middle;
            return true;
        }
        if (n > x.wanted)
            low = middle, from_low = n;
        else
            high = middle, from_high = n;
    }
    *cut = low;
    return false;
}

} // namespace sb_select

#endif
