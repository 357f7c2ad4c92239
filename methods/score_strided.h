#ifndef SB_SCORE_STRIDED_H
#define SB_SCORE_STRIDED_H

#include "methods/stages.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Strided scores. Tokens are cut, at absolute positions, into groups of S = stride, and query group
 * i has with key group j <= i the score
 *
 *     A[i, j] = scale / S * sum_{t<S} <q[S i + S-1-t], k[S j + t]>
 *
 * which samples one anti-diagonal of the S x S tile. Tokens that a group lacks, past the end or
 * before a chunk's first query, are zero vectors; a group without any is left out.
 *
 * Source: XAttention, arXiv:2503.16428.
 */
typedef struct sb_strided {
    int64_t block, stride;
    int64_t n_blocks, n_groups; /**< of the longest sequence's keys */
    int64_t length;             /**< floats in a group: `stride` tokens, padded to lanes */
    float gain;                 /**< scale / S */
    int n_threads;
    float *keys; /**< [B, Hkv, n_groups, length] */
    /* Each thread's room for a row of blocks. */
    float *queries; /**< [n_threads, block / stride, length] */
    float *score;   /**< [n_threads, block / stride, n_groups] */
    float *mass;    /**< [n_threads, n_blocks] */
    bool *keep;     /**< [n_threads, n_blocks] */
    int32_t *order; /**< [n_threads, n_blocks] */
    uint64_t *sort; /**< [n_threads, 2 n_blocks] */
} sb_strided;

/** One row of blocks of one query head, in the room of the thread that works on it. */
typedef struct sb_strided_row {
    int64_t I;      /**< query block; sees key blocks 0..I */
    int64_t per;    /**< groups in a block */
    int64_t first;  /**< first query group, counted from the prompt's start */
    int64_t n;      /**< query groups, >= 1 */
    int64_t stride; /**< floats from one line of `score` to the next */
    float *score;   /**< [n, stride]: line r holds A[first + r, 0 .. first + r] */
    float *mass;    /**< [I + 1] of each key block, for the method to fill */
    bool *keep;     /**< [I + 1] all false, for the method to set */
    int32_t *order; /**< [I + 1] */
    uint64_t *sort; /**< scratch */
} sb_strided_row;

sb_status sb_strided_plan(const sb_problem *p, int64_t block, int64_t stride, int n_threads,
                          sb_strided *s, sb_err *err);
void sb_strided_free(sb_strided *s);

/** Lay out the key groups in float32. */
void sb_strided_keys(sb_strided *s, const sb_problem *p, const sb_inputs *in);

/** Score row rows->r, in the room of rows->worker. */
sb_strided_row sb_strided_score(const sb_strided *s, const sb_problem *p, const sb_inputs *in,
                                const sb_rows *rows);

/** Number of key groups that line r sees. */
static inline int64_t sb_strided_seen(const sb_strided_row *row, int64_t r)
{
    return row->first + r + 1;
}

/** row->order = the key blocks by descending mass, ties to the lower block. */
void sb_strided_sort(const sb_strided_row *row);

/** Write the blocks to keep to the list. */
void sb_strided_emit(const sb_strided_row *row, sb_row_list *list);

/** FLOPs of one selection: the scores, `per_score` more for each, `per_pair` more for each query
 *  group and key block, and for each row of blocks a sort and `per_block` for each block. */
double sb_strided_flops(const sb_strided *s, const sb_problem *p, double per_score, double per_pair,
                        double per_block);

#ifdef __cplusplus
}
#endif
#endif
