#ifndef SB_SELECT_BONUS_CUH
#define SB_SELECT_BONUS_CUH

/*
 * The released value bonus (methods/score_value.c): logarithms of group norms standardised over a
 * kv head's whole groups, negative parts dropped, averaged over a block.
 */
#include "methods/kernels/cuda/select_stages.cuh"

namespace sb_select
{

/* Sum over the thread block, in the same order in every run. */
template <int THREADS> __device__ double block_total(double x)
{
    __shared__ double warp_sum[THREADS / 32];
    for (int width = 16; width > 0; width /= 2)
        x += __shfl_xor_sync(~0u, x, width);
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        warp_sum[threadIdx.x / 32] = x;
    __syncthreads();
    x = warp_sum[threadIdx.x % (THREADS / 32)];
    for (int width = THREADS / 64; width > 0; width /= 2)
        x += __shfl_xor_sync(~0u, x, width);
    return x;
}

/* The bonuses of kv head b_head, from the logarithms of its groups; by a whole thread block. */
template <int THREADS> __device__ void released_bonus(const stages &s, int64_t b_head)
{
    const double *group_log = s.group_log + b_head * s.n_value_groups;
    float *block_bonus = s.block_bonus + b_head * s.n_blocks;
    int n_whole = s.seq[b_head / s.n_kv_heads].kv_len / s.value_group;
    int per_block = s.block / s.value_group;
    double mean = 0, square = 0;
    for (int g = threadIdx.x; g < n_whole; g += THREADS)
        mean += group_log[g];
    mean = block_total<THREADS>(mean) / n_whole;
    for (int g = threadIdx.x; g < n_whole; g += THREADS)
        square += (group_log[g] - mean) * (group_log[g] - mean);
    square = block_total<THREADS>(square);
    /* Without a whole group there is no mean, and as on the CPU it counts as 0. */
    mean = n_whole > 0 ? mean : 0;
    double deviation = n_whole > 1 ? sqrt(square / (n_whole - 1)) : 0;
    float most = 0;
    for (int j = threadIdx.x; j < s.n_blocks; j += THREADS) {
        double sum = 0;
        for (int g = j * per_block; g < (j + 1) * per_block && g < s.n_value_groups; g++)
            sum += fmax(0.0, (group_log[g] - mean) / (deviation + 1e-6));
        float bonus = (float)(s.beta * sum / per_block);
        block_bonus[j] = bonus;
        most = fmaxf(most, bonus);
    }
    atomicMax(&s.bonus_most[b_head], __float_as_uint(most));
}

} // namespace sb_select

#endif
