#ifndef SB_CPU_VECTORS_H
#define SB_CPU_VECTORS_H

/* The arithmetic of attend_portable.c, on the vectors of the instruction set it is built for. Lanes
 * are queries: nothing here reduces across them. */

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* LANES floats to a vector; VECTORS x ROWS accumulators must fit the register file. */
#if defined(__AVX512F__)
enum { LANES = 16, VECTORS = 4, ROWS = 6 };
#define ISA_NAME "avx512"
#elif defined(__AVX2__)
enum { LANES = 8, VECTORS = 2, ROWS = 6 };
#define ISA_NAME "avx2"
#else
enum { LANES = 4, VECTORS = 2, ROWS = 4 };
#if defined(__x86_64__)
#define ISA_NAME "x86-64"
#else
#define ISA_NAME "generic"
#endif
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t vi __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef uint32_t vu __attribute__((vector_size(LANES * sizeof(uint32_t))));
typedef float v4 __attribute__((vector_size(16), aligned(4)));

ALWAYS_INLINE vf max_of(vf a, vf b)
{
#if defined(__AVX512F__)
    return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_max_ps(a, b);
#elif defined(__x86_64__)
    return _mm_max_ps(a, b);
#else
    vi greater = a > b;
    return (vf)(((vi)a & greater) | ((vi)b & ~greater));
#endif
}

/* 2^t, t = gain y <= 0, within 2 ulp, after rounding t (only with AVX-512 or without FMA); 0 below
 * 2^-125. `floor` is -125 / gain. The polynomial is the minimax fit on [-1/2, 1/2],
 * relative error 3e-9. */
ALWAYS_INLINE vf power_of_two(vf y, float gain, float floor)
{
    vf z = {0};
#if defined(__AVX512F__)
    vf t = y * gain, f = _mm512_reduce_ps(t, _MM_FROUND_TO_NEAREST_INT);
#else
    const float magic = 0x1.8p23f; /* adding it rounds to an integer, held in the low bits */
    vf rounded = y * gain + magic, f = y * gain - (rounded - magic);
#endif
    vf p = z + 0x1.470b4ap-13f;
    p = p * f + 0x1.5f7276p-10f;
    p = p * f + 0x1.3b270ep-7f;
    p = p * f + 0x1.c6ae72p-5f;
    p = p * f + 0x1.ebfbe2p-3f;
    p = p * f + 0x1.62e432p-1f;
    p = p * f + 1.0f;
#if defined(__AVX512F__)
    /* The mask also keeps the scaling out of denormal numbers, at 240 clocks each. */
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(y, z + floor, _CMP_GE_OQ), p, t - f);
#else
    vu scaled = (vu)p + ((vu)rounded << 23); /* wraps below the floor */
    return (vf)((vi)scaled & (y >= z + floor));
#endif
}

/* to[c to_row + i] = from[i from_row + c] for n_rows x n_cols numbers. */
static void transpose(const float *from, int64_t from_row, int64_t n_rows, int64_t n_cols,
                      float *to, int64_t to_row)
{
    for (int64_t i = 0; i + 4 <= n_rows; i += 4)
        for (int64_t c = 0; c + 4 <= n_cols; c += 4) {
            v4 r[4], *out[4];
            for (int x = 0; x < 4; x++) {
                r[x] = *(const v4 *)(const void *)(from + (i + x) * from_row + c);
                out[x] = (v4 *)(void *)(to + (c + x) * to_row + i);
            }
            v4 low01 = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
            v4 low23 = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
            v4 high01 = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
            v4 high23 = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
            *out[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
            *out[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
            *out[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
            *out[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
        }
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t c = i < n_rows / 4 * 4 ? n_cols / 4 * 4 : 0; c < n_cols; c++)
            to[c * to_row + i] = from[i * from_row + c];
}

/* ---- products ------------------------------------------------------------------------------ */

/* Memory that will be wanted soon: products ask for it on the way. */
typedef struct ahead {
    const char *at, *end;
} ahead;

enum { LINE_BYTES = 64, LINES_A_GROUP = 24 };

ALWAYS_INLINE void fetch_ahead(ahead *next)
{
    for (int i = 0; i < LINES_A_GROUP && next->at < next->end; i++, next->at += LINE_BYTES)
        __builtin_prefetch(next->at);
}

/* c[r][v] = keep[v] c[r][v] + sum_k a[r a_row + k a_step] b[k][v] for n_rows x n_vec vectors; keep
 * NULL overwrites c. The sum starts from zero, not from c: partial sums of a tile stay accurate. */
ALWAYS_INLINE void multiply_rows(const float *a, int64_t a_row, int64_t a_step, const vf *b,
                                 int64_t n_k, const vf *keep, vf *c, int n_vec, int n_rows)
{
    vf sum[ROWS][VECTORS];
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < n_vec; v++)
            sum[r][v] = (vf){0};
    for (int64_t k = 0; k < n_k; k++)
        for (int r = 0; r < n_rows; r++)
            for (int v = 0; v < n_vec; v++)
                sum[r][v] += a[r * a_row + k * a_step] * b[k * n_vec + v];
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < n_vec; v++)
            c[r * n_vec + v] = keep ? c[r * n_vec + v] * keep[v] + sum[r][v] : sum[r][v];
}

ALWAYS_INLINE void multiply_wide(const float *a, int64_t a_row, int64_t a_step, int64_t n,
                                 const vf *b, int64_t n_k, const vf *keep, vf *c, int n_vec,
                                 ahead *next)
{
    int64_t r = 0;
    for (; r + ROWS <= n; r += ROWS) {
        fetch_ahead(next);
        multiply_rows(a + r * a_row, a_row, a_step, b, n_k, keep, c + r * n_vec, n_vec, ROWS);
    }
    if (ROWS > 4 && r + 4 <= n) {
        multiply_rows(a + r * a_row, a_row, a_step, b, n_k, keep, c + r * n_vec, n_vec, 4);
        r += 4;
    }
    if (r + 2 <= n) {
        multiply_rows(a + r * a_row, a_row, a_step, b, n_k, keep, c + r * n_vec, n_vec, 2);
        r += 2;
    }
    if (r < n)
        multiply_rows(a + r * a_row, a_row, a_step, b, n_k, keep, c + r * n_vec, n_vec, 1);
}

/* multiply_rows for any number n of rows. */
static void multiply(const float *a, int64_t a_row, int64_t a_step, int64_t n, const vf *b,
                     int64_t n_k, const vf *keep, vf *c, int n_vec, ahead *next)
{
    if (n_vec == 1)
        multiply_wide(a, a_row, a_step, n, b, n_k, keep, c, 1, next);
    else if (n_vec == 2)
        multiply_wide(a, a_row, a_step, n, b, n_k, keep, c, 2, next);
#if defined(__AVX512F__)
    else if (n_vec == 3)
        multiply_wide(a, a_row, a_step, n, b, n_k, keep, c, 3, next);
    else
        multiply_wide(a, a_row, a_step, n, b, n_k, keep, c, 4, next);
#endif
}

#endif
