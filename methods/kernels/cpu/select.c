#include "methods/kernels/cpu/select.h"

#include <string.h>

/* An unsigned key that orders as the float does. Adding +0 makes -0 equal to +0. */
static uint32_t key_of(float x)
{
    float positive_zero = x + 0.0f;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    if (x != x)
        return 0;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static uint32_t median_of_three(uint32_t a, uint32_t b, uint32_t c)
{
    if (a > b) {
        uint32_t t = a;
        a = b;
        b = t;
    }
    return c <= a ? a : c >= b ? b : c;
}

static void swap_keys(uint32_t *a, uint32_t *b)
{
    uint32_t t = *a;
    *a = *b;
    *b = t;
}

/* The k-th largest of key [n], 1 <= k <= n, by three-way quickselect: equal keys cannot make it
 * quadratic. Permutes key. */
static uint32_t kth_largest(uint32_t *key, int64_t n, int64_t k)
{
    int64_t from = 0, to = n;
    for (;;) {
        uint32_t pivot = median_of_three(key[from], key[from + (to - from) / 2], key[to - 1]);
        int64_t above = from, at = from,
                below = to; /* [from, above) > pivot, [below, to) < pivot */
        while (at < below) {
            if (key[at] > pivot)
                swap_keys(&key[at++], &key[above++]);
            else if (key[at] < pivot)
                swap_keys(&key[at], &key[--below]);
            else
                at++;
        }
        if (k <= above - from) {
            to = above;
        } else if (k <= below - from) {
            return pivot;
        } else {
            k -= below - from;
            from = below;
        }
    }
}

int64_t sb_topk_row(const float *score, int64_t n, int64_t k, int64_t sinks, int64_t window,
                    uint32_t *key, int32_t *col)
{
    uint32_t threshold = 0;
    int64_t n_ties = k; /* how many keys equal to the threshold still fit */
    if (k < n) {
        for (int64_t j = 0; j < n; j++)
            key[j] = key_of(score[j]);
        threshold = k > 0 ? kth_largest(key, n, k) : UINT32_MAX;
        for (int64_t j = 0; j < n; j++)
            n_ties -= key_of(score[j]) > threshold;
    }
    int64_t n_kept = 0;
    for (int64_t j = 0; j < n; j++) {
        int keep = k >= n || j < sinks || j >= n - window;
        if (k < n) {
            uint32_t x = key_of(score[j]);
            if (x > threshold)
                keep = 1;
            else if (x == threshold && n_ties > 0) {
                n_ties--;
                keep = 1;
            }
        }
        if (keep)
            col[n_kept++] = (int32_t)j;
    }
    return n_kept;
}
