/* Products of rows with columns that lie side by side: no sum crosses the lanes of a vector, so the
 * vector may be as wide as the machine's, and the bits stay those of sb_score_rows. */
#include <string.h>

#include "methods/kernels/cpu/clones.h"
#include "methods/kernels/cpu/score.h"

/* The lanes of sb_score_rows in an order in which a stack adds up its tree: of two neighbours that
 * are n subtrees, one is as far from the other as the halves that the tree adds. */
static const int lane_order[SB_LANES] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};

enum { TREE_DEPTH = 4 };

#if defined(__x86_64__)
#define WIDTH 16
#define TILE_VECTORS 4
#define TARGET __attribute__((target("avx512f")))
#include "methods/kernels/cpu/score_columns.def"
#define WIDTH 8
#define TILE_VECTORS 2
#define TARGET __attribute__((target("avx2")))
#include "methods/kernels/cpu/score_columns.def"
#endif
#define WIDTH 4
#define TILE_VECTORS 2
#define TARGET
#include "methods/kernels/cpu/score_columns.def"

int sb_columns_width(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return 16;
    if (__builtin_cpu_supports("avx2"))
        return 8;
#endif
    return 4;
}

void sb_score_columns(int width, const float *a, int64_t n_rows, const float *b, int64_t n,
                      int64_t length, int64_t b_row, const float *gain, int64_t n_out, float *out)
{
#if defined(__x86_64__)
    if (width == 16)
        score_columns_16(a, n_rows, b, n, length, b_row, gain, n_out, out);
    else if (width == 8)
        score_columns_8(a, n_rows, b, n, length, b_row, gain, n_out, out);
    else
#endif
        score_columns_4(a, n_rows, b, n, length, b_row, gain, n_out, out);
    (void)width;
}
