#ifndef SB_CUDA_SM90_SOFTMAX_CUH
#define SB_CUDA_SM90_SOFTMAX_CUH

#include "methods/kernels/cuda/sm90.cuh"

/* Online softmax of one consumer thread: two rows (r, r + 8) of scores in the layout of wgmma.cuh.
 */

namespace sm90
{

__device__ inline float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

__device__ inline float quad_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}

template <int N> struct softmax {
    float offset[2]; /* of log2 P: about the largest score so far, in units of log2 */
    float sum[2];    /* of P in this thread's columns */

    /* P may grow to 2^8 before O and the sums are rescaled, after FlashAttention-4. */
    static constexpr float TOLERANCE = 8.0f;

    /* Largest s of each row, over all columns of the tile. */
    __device__ static void row_max(const float (&s)[N], float (&most)[2])
    {
        float a[4] = {s[0], s[1], s[2], s[3]};
#pragma unroll
        for (int i = 4; i < N; i++)
            a[i % 4] = fmaxf(a[i % 4], s[i]);
        most[0] = quad_max(fmaxf(a[0], a[1]));
        most[1] = quad_max(fmaxf(a[2], a[3]));
    }

    /* Whether some s exceeds the tolerance. Bits of floats order like integers where positive, and
     * integers have a maximum of three. */
    __device__ static bool exceeds(const float (&s)[N])
    {
        int a[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            a[i] = __float_as_int(s[i]);
#pragma unroll
            for (int j = i + 4; j + 4 < N; j += 8)
                a[i] = __vimax3_s32(a[i], __float_as_int(s[j]), __float_as_int(s[j + 4]));
            a[i] = max(a[i], __float_as_int(s[N - 4 + i]));
        }
        return max(__vimax3_s32(a[0], a[1], a[2]), a[3]) > __float_as_int(TOLERANCE);
    }

    /* Scores to log2 P. */
    __device__ void scale_down(float (&s)[N], float scale) const
    {
#pragma unroll
        for (int i = 0; i < N; i++)
            s[i] = fmaf(s[i], scale, -offset[i / 2 % 2]);
    }

    __device__ void exponentials(float (&s)[N])
    {
        float part[4] = {0, 0, 0, 0};
#pragma unroll
        for (int i = 0; i < N; i++) {
            s[i] = exp2_fast(s[i]);
            part[i % 4] += s[i];
        }
        sum[0] += part[0] + part[1];
        sum[1] += part[2] + part[3];
    }

    /* ptxas would hoist the wait for P V over the exponentials, which are to run under it; an
     * instruction predicated on their sum, never negative, keeps it below. */
    __device__ void settle() const
    {
        if (sum[0] + sum[1] < 0)
            asm volatile("nanosleep.u32 20;");
    }

    /* First tile of an item: query rows `row` and row + 8 of the tile see columns 0..row. The rows
     * of a group lie within 64 columns: those before them are seen, those after them are not. */
    __device__ void first(float (&s)[N], int group, int row, int column, float scale)
    {
#pragma unroll
        for (int half = 0; half < N / 32; half++) {
            if (half < group)
                continue;
            const int last = half == group ? row - column : -9;
#pragma unroll
            for (int i = 0; i < 32; i++)
                if (i / 4 * 8 + i % 2 - i / 2 % 2 * 8 > last)
                    s[32 * half + i] = -INFINITY;
        }
        row_max(s, offset);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            offset[r] *= scale;
            sum[r] = 0;
        }
        scale_down(s, scale);
        exponentials(s);
    }

    /* A further tile. True when O must be multiplied by `shrink`. */
    __device__ bool next(float (&s)[N], float scale, float (&shrink)[2])
    {
        scale_down(s, scale);
        const bool rescale = __any_sync(~0u, exceeds(s));
        if (rescale) {
            float most[2], down[2];
            row_max(s, most);
#pragma unroll
            for (int r = 0; r < 2; r++) {
                const float higher = offset[r] + fmaxf(most[r], 0);
                down[r] = higher - offset[r];
                offset[r] = higher;
                shrink[r] = exp2_fast(-down[r]);
                sum[r] *= shrink[r];
            }
#pragma unroll
            for (int i = 0; i < N; i++)
                s[i] -= down[i / 2 % 2];
        }
        exponentials(s);
        return rescale;
    }

    /* Natural logarithm of the softmax denominator of a row; `total` is its sum over the quad. */
    __device__ float lse(int r, float total) const
    {
        return (offset[r] + __log2f(total)) * 0.6931471805599453f;
    }
};

} // namespace sm90

#endif
