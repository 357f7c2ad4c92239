#ifndef SB_SCORE_MASS_H
#define SB_SCORE_MASS_H

#include "methods/kernels/cpu/mass.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Exact scores: what every causal block really has of the attention of its row. */

/** Memory: 4 bytes a causal block of every head, a float32 copy of K (by output, of V too), and 8
 *  (12) bytes a key token for each thread. */
typedef struct sb_block_mass {
    sb_mass mass;
    int n_threads;
    int64_t n_rows;  /**< of the longest sequence */
    int64_t n_lists; /**< B H n_rows, as in a pattern */
    int64_t *list;   /**< [n_lists + 1] where each row's scores start */
    float *score;    /**< [list[n_lists]] of each row's blocks 0..I, lists one after the other */
    float *keys;     /**< [B, Hkv, n_blocks, sb_mass_key_floats] */
    float *values;   /**< [B, Hkv, n_blocks, sb_mass_value_floats] */
    float *room;     /**< [n_threads, n_room] */
    int64_t n_room;
} sb_block_mass;

/** Plan masses, or with `output` the norms of what blocks add to the output (kernels/cpu/mass.h).
 */
sb_status sb_block_mass_plan(const sb_problem *p, int64_t block, bool output, int n_threads,
                             sb_block_mass *s, sb_err *err);
void sb_block_mass_free(sb_block_mass *s);

/** Score every causal block. */
void sb_block_mass_fill(const sb_block_mass *s, const sb_problem *p, const sb_inputs *in);

/** What masses are as scores, where bonuses add to logarithms: ln of the mean over the row's
 * queries of the probability that falls on the block. A mass below the smallest normal float,
 * 2^-126, or one that float32 loses, counts as that. Rows r .. r + n_rows - 1 of head h, sequence
 * b, to out [n_rows, n_blocks]: blocks 0..I; what follows in a line is unspecified. */
void sb_block_mass_logs(const sb_block_mass *s, const sb_problem *p, int64_t b, int64_t h,
                        int64_t r, int64_t n_rows, float *out);

double sb_block_mass_flops(const sb_block_mass *s, const sb_problem *p);

#ifdef __cplusplus
}
#endif
#endif
