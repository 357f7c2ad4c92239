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

SB_CLONES
float sb_row_exp(float *x, int64_t n, float max)
{
    lanes sum = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        lanes y;
        float part[LANES];
        int64_t m = n - i < LANES ? n - i : LANES;
        if (m < LANES) {
            for (int64_t l = 0; l < LANES; l++)
                part[l] = l < m ? x[i + l] : -INFINITY;
            y = LOAD(part);
        } else {
            y = LOAD(x + i);
        }
        if (max == -INFINITY)
            y = (lanes){0};
        else
            exp_lanes(&y, max);
        sum += y;
        memcpy(x + i, &y, (size_t)m * sizeof *x);
    }
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            sum[l] += sum[l + half];
    return sum[0];
}
