#ifndef SB_CUDA_ATTEND_KERNELS_CUH
#define SB_CUDA_ATTEND_KERNELS_CUH

#include <cuda_runtime.h>

#include "methods/kernels/cuda/attend.h"

/** Lengths of one sequence, on the device. */
struct sb_cuda_seq {
    int32_t q_len, kv_len;
};

/** What both attention kernels read besides their tensors. */
struct sb_cuda_shape {
    int32_t n_batch, n_heads, n_kv_heads, q_len, kv_len, dim, dim_v;
    bool half;                   /**< f16, else bf16 */
    float scale;                 /**< softmax scale */
    int32_t block;               /**< of the patterns */
    int32_t n_rows;              /**< pattern rows of the longest sequence */
    int32_t tiles_64, tiles_128; /**< query tiles of that many tokens, longest sequence */
    int32_t n_sm;                /**< multiprocessors of the device */
    int64_t l2_bytes;            /**< L2 cache of the device */
    const sb_cuda_seq *seqs;     /**< [B], device */
};

/** Attend with mma.sync. Any block, any dimensions up to 256. */
cudaError_t sb_mma_attend(const sb_cuda_shape &shape, const sb_inputs &in,
                          const sb_cuda_pattern *pat, const sb_outputs &out, cudaStream_t stream);

/** Whether the sm_90a kernel takes the shape; patterns also need a block of a multiple of 64. */
bool sb_sm90_supports(const sb_cuda_shape &shape);

/** Attend with TMA and WGMMA. counter: one zeroed word of device memory, left zeroed. */
cudaError_t sb_sm90_attend(const sb_cuda_shape &shape, const sb_inputs &in,
                           const sb_cuda_pattern *pat, const sb_outputs &out, uint32_t *counter,
                           cudaStream_t stream);

#endif
