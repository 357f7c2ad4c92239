#include "methods/kernels/cpu/score.h"

#include <math.h>
#include <string.h>

#include "methods/kernels/cpu/clones.h"

typedef float lanes __attribute__((vector_size(SB_LANES * sizeof(float))));
typedef float loose_lanes __attribute__((vector_size(SB_LANES * sizeof(float)), aligned(4)));
typedef uint16_t halves __attribute__((vector_size(SB_LANES * sizeof(uint16_t)), aligned(2)));
typedef uint32_t words __attribute__((vector_size(SB_LANES * sizeof(uint32_t))));

/* Macros, since a function that returns a vector has no ABI without the instructions for it. */
#define LOAD(x) (*(const loose_lanes *)(const void *)(x))
#define LOAD_BF16(x)                                                                               \
    ((lanes)(__builtin_convertvector(*(const halves *)(const void *)(x), words) << 16))

/* One step of the tree for two vectors at once: their halves, quarters, ... side by side. */
#define FOLD_8(a, b)                                                                               \
    (__builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +       \
     __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#define FOLD_4(a, b)                                                                               \
    (__builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +     \
     __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31))
#define FOLD_2(a, b)                                                                               \
    (__builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +     \
     __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31))
#define FOLD_1(a, b)                                                                               \
    (__builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +    \
     __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31))

/* Lane i of all: the sum of v[i], by a tree that adds the upper half to the lower. */
SB_ALWAYS_INLINE void tree_sums(const lanes v[SB_LANES], lanes *all)
{
    lanes x[SB_LANES];
    SB_UNROLL
    for (int i = 0; i < 8; i++)
        x[i] = FOLD_8(v[2 * i], v[2 * i + 1]);
    SB_UNROLL
    for (int i = 0; i < 4; i++)
        x[i] = FOLD_4(x[2 * i], x[2 * i + 1]);
    SB_UNROLL
    for (int i = 0; i < 2; i++)
        x[i] = FOLD_2(x[2 * i], x[2 * i + 1]);
    *all = FOLD_1(x[0], x[1]);
}

enum { COLUMNS = SB_LANES / SB_SCORE_ROWS };

SB_CLONES
void sb_score_rows(const float *a, int64_t n_rows, const float *b, int64_t n, int64_t length,
                   const float *gain, int64_t n_out, float *out)
{
    const float *row[SB_SCORE_ROWS], *column[COLUMNS];
    /* Rows and columns that are missing repeat the last: the same instructions for every shape. */
    for (int r = 0; r < SB_SCORE_ROWS; r++)
        row[r] = a + (r < n_rows ? r : n_rows - 1) * length;
    for (int64_t j = 0; j < n; j += COLUMNS) {
        lanes sum[SB_LANES];
        for (int c = 0; c < COLUMNS; c++)
            column[c] = b + (j + c < n ? j + c : n - 1) * length;
        SB_UNROLL
        for (int i = 0; i < SB_LANES; i++)
            sum[i] = (lanes){0};
        for (int64_t i = 0; i < length; i += SB_LANES)
            SB_UNROLL
        for (int r = 0; r < SB_SCORE_ROWS; r++)
            SB_UNROLL
        for (int c = 0; c < COLUMNS; c++)
            sum[r * COLUMNS + c] += LOAD(row[r] + i) * LOAD(column[c] + i);
        lanes all;
        tree_sums(sum, &all);
        for (int r = 0; r < n_rows; r++)
            for (int c = 0; c < COLUMNS && j + c < n; c++)
                out[r * n_out + j + c] = gain[r] * all[r * COLUMNS + c];
    }
}

/* sum [dim] += x [dim], widened on the way in: this pass reads all of Q and K. */
SB_ALWAYS_INLINE void add_token(float *sum, const float *x, const uint16_t *bf16, int64_t dim)
{
    int64_t c = 0;
    for (; c + SB_LANES <= dim; c += SB_LANES)
        *(loose_lanes *)(void *)(sum + c) =
            LOAD(sum + c) + (bf16 ? LOAD_BF16(bf16 + c) : LOAD(x + c));
    for (; c < dim; c++) {
        float wide;
        if (bf16)
            sb_to_f32(SB_BF16, bf16 + c, &wide, 1);
        else
            wide = x[c];
        sum[c] += wide;
    }
}

SB_CLONES
void sb_group_sums(sb_dtype dtype, const void *x, int64_t n, int64_t dim, int64_t first,
                   int64_t n_groups, bool reversed, float *line, float *sum)
{
    int64_t stride = sb_pad_lanes(dim), g = first % n_groups;
    memset(sum, 0, (size_t)(n_groups * stride) * sizeof *sum);
    for (int64_t t = 0; t < n; t++, g = g + 1 < n_groups ? g + 1 : 0) {
        float *to = sum + (reversed ? n_groups - 1 - g : g) * stride;
        if (dtype == SB_BF16) {
            add_token(to, NULL, (const uint16_t *)x + t * dim, dim);
        } else if (dtype == SB_F32) {
            add_token(to, (const float *)x + t * dim, NULL, dim);
        } else {
            sb_to_f32(dtype, (const uint16_t *)x + t * dim, line, dim);
            add_token(to, line, NULL, dim);
        }
    }
}

/* The squares of one token's numbers, summed by lane. */
SB_ALWAYS_INLINE void add_squares(sb_dtype dtype, const void *x, int64_t dim, float *line,
                                  lanes *sum)
{
    if (dtype == SB_BF16 && dim % SB_LANES == 0) {
        for (int64_t c = 0; c < dim; c += SB_LANES) {
            lanes wide = LOAD_BF16((const uint16_t *)x + c);
            *sum += wide * wide;
        }
        return;
    }
    sb_to_f32(dtype, x, line, dim);
    for (int64_t c = 0; c < dim; c += SB_LANES)
        *sum += LOAD(line + c) * LOAD(line + c);
}

SB_CLONES
void sb_row_norms(sb_dtype dtype, const void *x, int64_t n, int64_t dim, float *line, float *norm)
{
    size_t token_bytes = (size_t)dim * sb_dtype_bytes(dtype);
    memset(line, 0, (size_t)sb_pad_lanes(dim) * sizeof *line);
    for (int64_t t = 0; t < n; t += SB_LANES) {
        lanes sum[SB_LANES];
        for (int i = 0; i < SB_LANES; i++) {
            int64_t at = t + i < n ? t + i : n - 1;
            sum[i] = (lanes){0};
            add_squares(dtype, (const char *)x + (size_t)at * token_bytes, dim, line, &sum[i]);
        }
        lanes square;
        tree_sums(sum, &square);
        for (int i = 0; i < SB_LANES && t + i < n; i++)
            norm[t + i] = sqrtf(square[i]);
    }
}
