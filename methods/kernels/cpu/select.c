#include "methods/kernels/cpu/select.h"

#include <string.h>

#include "methods/kernels/cpu/clones.h"

/* An unsigned key that orders as the float does. Adding +0 makes -0 equal to +0. */
SB_ALWAYS_INLINE uint32_t key_of(float x)
{
    float positive_zero = x + 0.0f;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    if (x != x)
        return 0;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

SB_CLONES
static void fill_keys(const float *score, int64_t n, uint32_t *key)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++)
        key[j] = key_of(score[j]);
}

/* The k-th largest of key [n], 1 <= k <= n, or a smaller number above all that follow it. Bit by
 * bit from the top: passes without a branch on the keys are faster than a quickselect, which
 * guesses wrong at every other key. */
SB_CLONES
static uint32_t kth_largest(const uint32_t *key, int64_t n, int64_t k)
{
    uint32_t found = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        uint32_t least = found | bit, count = 0;
#pragma omp simd reduction(+ : count)
        for (int64_t j = 0; j < n; j++)
            count += key[j] >= least;
        if (count == k)
            return least;
        if (count > k)
            found = least;
    }
    return found;
}

int64_t sb_topk_row(const float *score, int64_t n, int64_t k, int64_t sinks, int64_t window,
                    uint32_t *key, int32_t *col)
{
    uint32_t threshold = 0;
    int64_t n_ties = k; /* how many keys equal to the threshold still fit */
    if (k < n) {
        fill_keys(score, n, key);
        threshold = k > 0 ? kth_largest(key, n, k) : UINT32_MAX;
        for (int64_t j = 0; j < n; j++)
            n_ties -= key[j] > threshold;
    }
    int64_t n_kept = 0;
    for (int64_t j = 0; j < n; j++) {
        int keep = k >= n || j < sinks || j >= n - window;
        if (k < n) {
            uint32_t x = key[j];
            int tie = (x == threshold && n_ties > 0);
            n_ties -= tie;
            keep |= tie | (x > threshold);
        }
        key[n_kept] = (uint32_t)j;
        n_kept += keep;
    }
    memcpy(col, key, (size_t)n_kept * sizeof *col);
    return n_kept;
}
