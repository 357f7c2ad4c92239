#include "methods/kernels/cpu/order.h"

#include <string.h>

enum { DIGIT_BITS = 8, N_DIGITS = 4, RADIX = 1 << DIGIT_BITS, INDEX_BITS = 32 };

/* An unsigned key that falls as the float rises. Adding +0 makes -0 equal to +0. */
static uint64_t falling_key(float x)
{
    float positive_zero = x + 0.0f;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    if (x != x)
        return UINT32_MAX;
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}

static unsigned digit_of(uint64_t item, int d)
{
    return (unsigned)(item >> (INDEX_BITS + d * DIGIT_BITS)) & (RADIX - 1);
}

/* A radix sort from the lowest digit: it allocates nothing, and being stable it leaves equal keys
 * in the order of their indices. */
void sb_order_descending(const float *x, int64_t n, uint64_t *room, int32_t *order)
{
    uint64_t *from = room, *to = room + n;
    int64_t start[N_DIGITS][RADIX] = {{0}};
    for (int64_t i = 0; i < n; i++) {
        from[i] = falling_key(x[i]) << INDEX_BITS | (uint64_t)i;
        for (int d = 0; d < N_DIGITS; d++)
            start[d][digit_of(from[i], d)]++;
    }
    for (int d = 0; d < N_DIGITS; d++) {
        for (int64_t digit = 0, sum = 0; digit < RADIX; digit++) {
            int64_t count = start[d][digit];
            start[d][digit] = sum;
            sum += count;
        }
        for (int64_t i = 0; i < n; i++)
            to[start[d][digit_of(from[i], d)]++] = from[i];
        uint64_t *sorted = to;
        to = from;
        from = sorted;
    }
    for (int64_t i = 0; i < n; i++)
        order[i] = (int32_t)(uint32_t)from[i];
}
