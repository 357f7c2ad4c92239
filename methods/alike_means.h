#ifndef SB_ALIKE_MEANS_H
#define SB_ALIKE_MEANS_H

#include "methods/method.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The estimate of SpargeAttention, arXiv:2502.18137: means of blocks, and whether the tokens of a
 * block are alike, so that its mean tells something. Keys are centred first: less the mean of all
 * the keys of their head. */

typedef struct sb_alike_means {
    int64_t block_k;
    double similarity; /**< mean cosine of all pairs of its tokens above which a block is alike */
    int n_threads;
    int64_t length;  /**< padded dim */
    int64_t n_keys;  /**< key blocks of the longest sequence */
    int64_t n_most;  /**< tokens of the larger of a query block and a key block */
    float *key_mean; /**< [B, Hkv, n_keys, length] of centred keys */
    bool *key_alike; /**< [B, Hkv, n_keys] */
    float *centre;   /**< [B, Hkv, length] mean key */
    float *tokens;   /**< [n_threads, n_most, length] */
    uint16_t *half;  /**< [n_threads, n_most, length] */
    float *norm;     /**< [n_threads, n_most] */
    float *line;     /**< [n_threads, 2, length] */
} sb_alike_means;

sb_status sb_alike_means_plan(const sb_problem *p, int64_t block_q, int64_t block_k,
                              double similarity, int n_threads, sb_alike_means *s, sb_err *err);
void sb_alike_means_free(sb_alike_means *s);

/** Means of all key blocks, and which are alike; a partial one never is. */
void sb_alike_means_keys(const sb_alike_means *s, const sb_problem *p, const sb_inputs *in);

/** The mean of a whole block of n queries x [n, dim] to mean [length]; returns whether they are
 *  alike. Uses thread `worker`'s room. */
bool sb_alike_means_query(const sb_alike_means *s, const sb_problem *p, const void *x, int64_t n,
                          int worker, float *mean);

#ifdef __cplusplus
}
#endif
#endif
