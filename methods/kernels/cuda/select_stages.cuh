#ifndef SB_SELECT_STAGES_CUH
#define SB_SELECT_STAGES_CUH

/* The stages of selection, which select.cu runs in order, and the plan's arrays that they share. */

#include <cuda_runtime.h>

#include "methods/kernels/cuda/select.h"

namespace sb_select
{

/** One sequence of the batch. */
struct sequence {
    int q_len, kv_len;
    int first_block; /**< absolute block of row 0 */
    int n_rows;
};

/**
 * Group sums of float32, in three parts of 16 bits that together are the float32 bit for bit.
 * hi is the value rounded to bf16 (halves away from zero), mid is what is left rounded to bf16: the
 * operands of the tensor cores. low is what hi leaves of the value's bits, as a signed integer.
 */
struct split_sums {
    uint16_t *hi, *mid, *low; /**< [lists, length] */
};

__device__ inline float join(uint16_t hi, uint16_t low)
{
    return __uint_as_float(((uint32_t)hi << 16) + (uint32_t)(int32_t)(int16_t)low);
}

/** Euclidean norms, squared: of a list's sums, of their mid parts, and of what hi and mid leave. */
struct squares {
    float sum, mid, rest;
};

/** What SEGMENT consecutive lists amount to. */
struct segment {
    int32_t n_kept;     /**< blocks */
    int32_t n_rescored; /**< scores computed twice */
};

enum { SEGMENT = 32 };

struct stages {
    int64_t q_len, kv_len; /**< padded lengths */
    int n_batch, n_heads, n_kv_heads, dim, dim_v;
    sb_dtype dtype;
    int block, stride, n_rows, n_blocks;
    int dim_padded; /**< of the score, to 16 */
    int length;     /**< stride x dim_padded: floats in a block's groups */
    bool mean;
    double scale; /**< of a product of means */
    float gain;   /**< from a product of sums over whole blocks to a score */
    sb_cuda_bonus bonus;
    double beta;
    int value_group, n_value_groups; /**< tokens whose largest value norm counts */
    int sinks, window;
    float error_share; /**< bound of a product's error over ||q|| ||k||, the split's apart */

    const sequence *seq;   /**< [B] */
    const int32_t *budget; /**< [B, n_rows] */

    split_sums q;       /**< lists (b, h, row) */
    split_sums k;       /**< lists (b, kv head, block), groups in reverse */
    squares *q_squares; /**< [B, H, n_rows] */
    double *group_log;  /**< [B, Hkv, n_value_groups], released bonus */
    float *block_bonus; /**< [B, Hkv, n_blocks] */
    float *scores;      /**< [heads_at_once, n_rows, score_line] products of sums */
    int heads_at_once;  /**< (b, h) pairs whose scores fit */
    int score_line;
    uint32_t *mask; /**< [B, H, n_rows, mask_words] kept blocks, a bit each */
    int mask_words;
    int32_t *count; /**< [B, H, n_rows] bits set */

    /* Zeroed before each selection. */
    squares *k_most;         /**< [B, Hkv] the largest of any block, each apart */
    uint32_t *bonus_most;    /**< [B, Hkv] largest bonus, as bits */
    uint32_t *norms_done;    /**< [B, Hkv] thread blocks that have left their norms */
    struct segment *segment; /**< [segments], of SEGMENT lists each */

    int64_t *row_ptr; /**< [B H n_rows + 1] */
    int32_t *col;
};

/** Bits of the lanes below this one. */
__device__ inline uint32_t lanes_below(void)
{
    return (1u << threadIdx.x % 32) - 1;
}

/** Whether list (b, r) is chosen by score: it exists and its budget leaves something out. */
__device__ inline bool scored(const stages &s, int b, int r)
{
    const sequence &seq = s.seq[b];
    return r < seq.n_rows && s.budget[b * s.n_rows + r] <= seq.first_block + r;
}

/** Sums and squared norms of Q and K, bonuses from V: one pass over all three. */
void launch_sums(const stages &s, const sb_inputs &in, cudaStream_t stream);

/** Products of the sums for (b, h) pairs from..from + n - 1 into scores. */
void launch_scores(const stages &s, int from, int n, cudaStream_t stream);
/** To be called once on a device before launch_scores. */
cudaError_t prepare_scores(void);

/** The same with WGMMA, for compute capability 9.0 alone. */
void launch_scores_sm90(const stages &s, int from, int n, cudaStream_t stream);
cudaError_t prepare_scores_sm90(void);

enum { SCORE_TILE = 128 }; /**< rows and blocks of a thread block's tile of scores */

/** Whether a tile that starts at row r0 and block n0 has scores that anybody needs. For all threads
 *  of a block of at least SCORE_TILE. */
__device__ inline bool tile_wanted(const stages &s, int b, int r0, int n0)
{
    int r = r0 + (int)threadIdx.x;
    return __syncthreads_or(threadIdx.x < SCORE_TILE && r < s.n_rows && scored(s, b, r) &&
                            n0 <= s.seq[b].first_block + r);
}

/** Masks and counts for these pairs, from their scores. */
void launch_topk(const stages &s, int from, int n, cudaStream_t stream);
/** To be called once on a device before launch_topk. */
cudaError_t prepare_topk(void);
enum {
    MOST_BLOCKS = 24576,
    LIST_ROOM = 1024 /**< floats past the end of scores and bonuses that may be read */
};

/** Lists from the masks. */
void launch_lists(const stages &s, cudaStream_t stream);

} // namespace sb_select

#endif
