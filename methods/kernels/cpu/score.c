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
        for (int64_t i = 0; i < length; i += SB_LANES) {
            SB_UNROLL
            for (int r = 0; r < SB_SCORE_ROWS; r++) {
                SB_UNROLL
                for (int c = 0; c < COLUMNS; c++)
                    sum[r * COLUMNS + c] += LOAD(row[r] + i) * LOAD(column[c] + i);
            }
        }
        lanes all;
        tree_sums(sum, &all);
        for (int r = 0; r < n_rows; r++)
            for (int c = 0; c < COLUMNS && j + c < n; c++)
                out[r * n_out + j + c] = gain[r] * all[r * COLUMNS + c];
    }
}

/* Ask for memory that the same thread is likely to want soon; it may lie past the end. */
SB_ALWAYS_INLINE void fetch(const void *x, size_t from, size_t n_bytes)
{
    for (size_t at = from; at < from + n_bytes; at += 64)
        __builtin_prefetch((const void *)((uintptr_t)x + at), 0, 2);
}

enum { SUM_VECTORS = 4, BYTES_AHEAD = 2048 };

/* sum [n_vec SB_LANES] = the sum of n rows of x, `step` elements apart. Sums stay in registers:
 * added in memory they took twice as long. */
SB_ALWAYS_INLINE void sum_columns(const uint16_t *bf16, const float *f32, int64_t n, int64_t step,
                                  int n_vec, float *sum)
{
    lanes all[SUM_VECTORS];
    SB_UNROLL
    for (int v = 0; v < n_vec; v++)
        all[v] = (lanes){0};
    for (int64_t t = 0; t < n; t++) {
        SB_UNROLL
        for (int v = 0; v < n_vec; v++)
            all[v] += bf16 ? LOAD_BF16(bf16 + t * step + v * SB_LANES)
                           : LOAD(f32 + t * step + v * SB_LANES);
    }
    SB_UNROLL
    for (int v = 0; v < n_vec; v++)
        *(loose_lanes *)(void *)(sum + v * SB_LANES) = all[v];
}

/* One group whose dim is a whole number of lanes: n tokens, `step` elements apart. */
SB_ALWAYS_INLINE void sum_group(const uint16_t *bf16, const float *f32, int64_t n, int64_t step,
                                int64_t dim, float *sum)
{
    int64_t c = 0;
    for (; c + SUM_VECTORS * SB_LANES <= dim; c += SUM_VECTORS * SB_LANES)
        sum_columns(bf16 ? bf16 + c : NULL, bf16 ? NULL : f32 + c, n, step, SUM_VECTORS, sum + c);
    for (; c < dim; c += SB_LANES)
        sum_columns(bf16 ? bf16 + c : NULL, bf16 ? NULL : f32 + c, n, step, 1, sum + c);
}

SB_CLONES
void sb_group_sums(sb_dtype dtype, const void *x, int64_t n, int64_t dim, int64_t first,
                   int64_t n_groups, bool reversed, float *line, float *sum)
{
    int64_t stride = sb_pad_lanes(dim), step = n_groups * dim;
    size_t token_bytes = (size_t)dim * sb_dtype_bytes(dtype);
    memset(sum, 0, (size_t)(n_groups * stride) * sizeof *sum);
    for (int64_t t0 = 0; t0 < n_groups && t0 < n; t0++) {
        int64_t g = (first + t0) % n_groups, members = sb_ceil_div(n - t0, n_groups);
        fetch(x, (size_t)(n + t0 * members) * token_bytes, (size_t)members * token_bytes);
        float *to = sum + (reversed ? n_groups - 1 - g : g) * stride;
        if (dtype == SB_BF16 && stride == dim) {
            sum_group((const uint16_t *)x + t0 * dim, NULL, members, step, dim, to);
        } else if (dtype == SB_F32 && stride == dim) {
            sum_group(NULL, (const float *)x + t0 * dim, members, step, dim, to);
        } else {
            for (int64_t t = t0; t < n; t += n_groups) {
                sb_to_f32(dtype, (const char *)x + (size_t)t * token_bytes, line, dim);
                for (int64_t c = 0; c < dim; c++)
                    to[c] += line[c];
            }
        }
    }
}

/* The squares of one token's numbers, summed by lane. */
SB_ALWAYS_INLINE void sum_squares(sb_dtype dtype, const void *x, int64_t dim, float *line,
                                  lanes *sum)
{
    lanes all = {0};
    if (dtype == SB_BF16 && dim % SB_LANES == 0) {
        for (int64_t c = 0; c < dim; c += SB_LANES) {
            lanes wide = LOAD_BF16((const uint16_t *)x + c);
            all += wide * wide;
        }
    } else {
        sb_to_f32(dtype, x, line, dim);
        for (int64_t c = 0; c < dim; c += SB_LANES)
            all += LOAD(line + c) * LOAD(line + c);
    }
    *sum = all;
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
            fetch(x, (size_t)at * token_bytes + BYTES_AHEAD, token_bytes);
            sum_squares(dtype, (const char *)x + (size_t)at * token_bytes, dim, line, &sum[i]);
        }
        lanes square;
        tree_sums(sum, &square);
        for (int i = 0; i < SB_LANES && t + i < n; i++)
            norm[t + i] = sqrtf(square[i]);
    }
}
