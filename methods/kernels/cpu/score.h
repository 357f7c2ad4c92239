#ifndef SB_CPU_SCORE_H
#define SB_CPU_SCORE_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Selection arithmetic. Everything here is float32 in one fixed order (16 lanes, then a tree),
 * without fused multiply-add, so every instruction set selects the same blocks, bit for bit. */

enum { SB_LANES = 16 };

/** Round up to a whole number of lanes. */
static inline int64_t sb_pad_lanes(int64_t n)
{
    return sb_ceil_div(n, SB_LANES) * SB_LANES;
}

/**
 * Sum tokens by their residue: sum[g] = sum of x[t] over t = 0..n-1 with (first + t) % n_groups ==
 * g, in ascending t. x [n, dim] of dtype; sum [n_groups, sb_pad_lanes(dim)] float32, pads zero;
 * with `reversed`, group g is stored at n_groups - 1 - g. line [dim] is scratch.
 */
void sb_group_sums(sb_dtype dtype, const void *x, int64_t n, int64_t dim, int64_t first,
                   int64_t n_groups, bool reversed, float *line, float *sum);

enum { SB_SCORE_ROWS = 4 }; /**< rows that sb_score_rows takes at once */

/**
 * out[r n_out + j] = gain[r] <a[r], b[j]> for r < n_rows <= SB_SCORE_ROWS and j < n; a [n_rows,
 * length], b [n, length], length a multiple of 16.
 */
void sb_score_rows(const float *a, int64_t n_rows, const float *b, int64_t n, int64_t length,
                   const float *gain, int64_t n_out, float *out);

/** Floats in the widest vectors that this machine has for sb_score_columns: 16, 8 or 4. */
int sb_columns_width(void);

/**
 * The same of columns, b [length, b_row], n <= b_row, b_row a multiple of 16: the same bits as
 * sb_score_rows of b transposed, at any width that the machine has, and faster, as no sum crosses
 * lanes.
 */
void sb_score_columns(int width, const float *a, int64_t n_rows, const float *b, int64_t n,
                      int64_t length, int64_t b_row, const float *gain, int64_t n_out, float *out);

/** norm[t] = ||x[t]||_2 for x [n, dim] of dtype; line [sb_pad_lanes(dim)] is scratch. */
void sb_row_norms(sb_dtype dtype, const void *x, int64_t n, int64_t dim, float *line, float *norm);

#ifdef __cplusplus
}
#endif
#endif
