#include "methods/kernels/cpu/softmax.h"

#include <math.h>
#include <string.h>

#include "methods/kernels/cpu/clones.h"

enum { LANES = 16 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef float loose_lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
typedef int32_t words __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef uint32_t bits __attribute__((vector_size(LANES * sizeof(uint32_t))));

#define LOAD(x) (*(const loose_lanes *)(const void *)(x))

SB_CLONES
float sb_row_max(const float *x, int64_t n)
{
    float max = -INFINITY;
    int64_t i = 0;
    if (n >= LANES) {
        lanes top = LOAD(x);
        for (i = LANES; i + LANES <= n; i += LANES) {
            lanes y = LOAD(x + i);
            words greater = y > top;
            top = (lanes)(((words)y & greater) | ((words)top & ~greater));
        }
        for (int l = 0; l < LANES; l++)
            max = top[l] > max ? top[l] : max;
    }
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

/* exp(y), y <= 0, as 2^whole 2^f. ln 2 is split in two so that y - whole ln 2 stays exact; the
 * polynomial is the minimax fit of 2^f on [-1/2, 1/2], relative error 3e-9. */
SB_ALWAYS_INLINE void exp_lanes(lanes *x, float max)
{
    const lanes zero = {0};
    const float magic = 0x1.8p23f; /* adding it rounds to an integer, held in the low bits */
    lanes y = *x - max;
    lanes rounded = y * 0x1.715476p+0f + magic, whole = rounded - magic;
    lanes f = ((y - whole * 0x1.62e4p-1f) - whole * 0x1.7f7d1cp-20f) * 0x1.715476p+0f;
    lanes p = zero + 0x1.470b4ap-13f;
    p = p * f + 0x1.5f7276p-10f;
    p = p * f + 0x1.3b270ep-7f;
    p = p * f + 0x1.c6ae72p-5f;
    p = p * f + 0x1.ebfbe2p-3f;
    p = p * f + 0x1.62e432p-1f;
    p = p * f + 1.0f;
    *x = (lanes)(((bits)p + ((bits)rounded << 23)) & (bits)(y >= zero - 87.0f));
}

/* The sum of all lanes: the upper half added to the lower, then quarters, .... */
SB_ALWAYS_INLINE float tree_sum(const lanes *lane)
{
    lanes x = *lane;
    x += __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    return x[0] + x[1];
}

enum { AT_ONCE = 4 }; /* vectors whose chains of operations overlap */

SB_CLONES
float sb_row_exp(float *x, int64_t n, float max)
{
    lanes sum = {0};
    int64_t i = 0;
    if (max == -INFINITY) {
        memset(x, 0, (size_t)n * sizeof *x);
        return 0;
    }
    for (; i + AT_ONCE * LANES <= n; i += AT_ONCE * LANES) {
        lanes y[AT_ONCE];
        SB_UNROLL
        for (int v = 0; v < AT_ONCE; v++) {
            y[v] = LOAD(x + i + v * LANES);
            exp_lanes(&y[v], max);
            *(loose_lanes *)(void *)(x + i + v * LANES) = y[v];
            sum += y[v];
        }
    }
    for (; i < n; i += LANES) {
        float part[LANES];
        size_t bytes = (size_t)(n - i < LANES ? n - i : LANES) * sizeof *x;
        for (int l = 0; l < LANES; l++)
            part[l] = -INFINITY;
        memcpy(part, x + i, bytes);
        lanes y = LOAD(part);
        exp_lanes(&y, max);
        memcpy(x + i, &y, bytes);
        sum += y;
    }
    return tree_sum(&sum);
}
