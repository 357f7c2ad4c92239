#ifndef SB_CPU_MASS_H
#define SB_CPU_MASS_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Exact attention over every causal pair, by key block. Float32 in the fixed order of score.h and
 * softmax.h, sums over queries in float64: the same bits with every instruction set. */

typedef struct sb_mass {
    sb_dtype dtype; /**< of q, k and v */
    int64_t block, dim, dim_v;
    int64_t n_blocks; /**< key blocks of the longest sequence */
    float scale;
    bool output; /**< norms of what each block adds to the output, in place of its mass */
} sb_mass;

/** Floats of one block's keys, and of its values (0 without `output`), once loaded. */
int64_t sb_mass_key_floats(const sb_mass *m);
int64_t sb_mass_value_floats(const sb_mass *m);

/** Floats of scratch that one thread needs; a multiple of 16. Grows as 3 n_blocks block. */
int64_t sb_mass_room(const sb_mass *m);

/** Load a block of n tokens, k [n, dim] and v [n, dim_v], to keys and values, which held zeros or
 *  the same number of tokens before. */
void sb_mass_load(const sb_mass *m, const void *k, const void *v, int64_t n, float *room,
                  float *keys, float *values);

/**
 * out[j], j = 0..I: the sum over the queries q [n, dim], at positions `first` .. first + n - 1 in
 * block I, of sum_i p_i over the keys i of block j, or with `output` of ||sum_i p_i v_i||_2; p is
 * the softmax of the query over all keys up to its position. keys and values hold blocks 0..I.
 */
void sb_mass_row(const sb_mass *m, const void *q, int64_t n, int64_t first, const float *keys,
                 const float *values, float *room, float *out);

#ifdef __cplusplus
}
#endif
#endif
