#ifndef SB_CPU_STRIPS_H
#define SB_CPU_STRIPS_H

/* What attend_portable.c does to one strip of queries: a thread's memory, Q in, scores, softmax, O
 * out. Built for each instruction set, as vectors.h. */

#include <math.h>
#include <string.h>

#include "harness/problem.h"
#include "methods/kernels/cpu/vectors.h"

enum { STRIP = LANES * VECTORS, KEY_TILE = 64, CHAIN = 64, ALIGN_FLOATS = 16 };

/* Hide from each lane the keys after its query: lane 0 sees the first `visible` keys, lane i the
 * first visible + i. */
static void mask_keys(vf *s, int64_t n_keys, int n_vec, int64_t visible)
{
    vi lane;
    for (int i = 0; i < LANES; i++)
        lane[i] = i;
    for (int64_t j = visible > 0 ? visible : 0; j < n_keys; j++)
        for (int v = 0; v < n_vec; v++) {
            vi hidden = lane + (int32_t)(v * LANES) < (vi){0} + (int32_t)(j - visible + 1);
            vf minus_inf = (vf){0} - INFINITY;
            vf *x = &s[j * n_vec + v];
            *x = (vf)(((vi)*x & ~hidden) | ((vi)minus_inf & hidden));
        }
}

/* Turn scores into exponentials under the new running maximum, and update maximum and sum. */
static void softmax_tile(vf *s, int64_t n_keys, int n_vec, float gain, vf *max, vf *sum, vf *keep)
{
    const float floor = -125.0f / gain;
    for (int v = 0; v < n_vec; v++) {
        vf top = max[v], other = top, total = {0};
        for (int64_t j = 0; j + 1 < n_keys; j += 2) { /* two chains hide the latency */
            top = max_of(top, s[j * n_vec + v]);
            other = max_of(other, s[(j + 1) * n_vec + v]);
        }
        top = max_of(max_of(top, other), s[(n_keys - 1) * n_vec + v]);
        for (int64_t j = 0; j < n_keys; j++) {
            vf p = power_of_two(s[j * n_vec + v] - top, gain, floor);
            s[j * n_vec + v] = p;
            total += p;
        }
        keep[v] = power_of_two(max[v] - top, gain, floor);
        sum[v] = sum[v] * keep[v] + total;
        max[v] = top;
    }
}

/* ---- conversion ------------------------------------------------------------------------- */

static void widen(sb_dtype dtype, const void *src, float *dst, int64_t n)
{
    int64_t i = 0;
    const uint16_t *half = src;
    if (dtype == SB_BF16) {
        for (; i < n; i++) {
            uint32_t bits = (uint32_t)half[i] << 16;
            memcpy(dst + i, &bits, sizeof bits);
        }
        return;
    }
#if defined(__F16C__)
    if (dtype == SB_F16)
        for (; i + 8 <= n; i += 8)
            _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128(
                                          (const __m128i *)(const void *)(half + i))));
#endif
    sb_to_f32(dtype, (const char *)src + i * (int64_t)sb_dtype_bytes(dtype), dst + i, n - i);
}

static void narrow(sb_dtype dtype, const float *src, void *dst, int64_t n)
{
    int64_t i = 0;
    uint16_t *half = dst;
    if (dtype == SB_BF16) {
        for (; i < n; i++) {
            uint32_t bits, rounded;
            memcpy(&bits, src + i, sizeof bits);
            rounded = bits + 0x7fffu + (bits >> 16 & 1u);
            half[i] = (uint16_t)((src[i] == src[i] ? rounded : bits | 0x400000u) >> 16);
        }
        return;
    }
#if defined(__F16C__)
    if (dtype == SB_F16)
        for (; i + 8 <= n; i += 8)
            _mm_storeu_si128((__m128i *)(void *)(half + i),
                             _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    sb_from_f32(dtype, src + i, (char *)dst + i * (int64_t)sb_dtype_bytes(dtype), n - i);
}

/* n elements from element `at` of an input tensor as float32: in place where they are. */
static const float *as_f32(sb_dtype dtype, const void *tensor, int64_t at, int64_t n, float *buffer)
{
    if (dtype == SB_F32)
        return (const float *)tensor + at;
    widen(dtype, (const uint16_t *)tensor + at, buffer, n);
    return buffer;
}

/* ---- one thread's memory ---------------------------------------------------------------- */

typedef struct strip {
    vf *q, *o;        /* [D][n_vec], [Dv][n_vec] */
    vf *max, *sum;    /* [n_vec] */
    int64_t position; /* of lane 0 */
    int64_t n_queries;
    int n_vec;
} strip;

typedef struct workspace {
    float *k, *v; /* [KEY_TILE][D], [KEY_TILE][Dv]; rows of Q and of O on their way in and out */
    vf *s, *keep; /* [KEY_TILE][VECTORS], [VECTORS] */
    float *strips;
} workspace;

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

static int64_t aligned(int64_t n_floats)
{
    return sb_ceil_div(n_floats, ALIGN_FLOATS) * ALIGN_FLOATS;
}

static int64_t strip_floats(const sb_problem *p)
{
    return aligned((p->dim + p->dim_v + 2) * STRIP);
}

/* Lay a thread's workspace out from `base` (NULL to measure only); returns its length. */
static int64_t lay_out(const sb_problem *p, int64_t block, float *base, workspace *w)
{
    int64_t rows = block < p->q_len ? block : p->q_len;
    int64_t k = 0, v = k + aligned(KEY_TILE * p->dim), s = v + aligned(KEY_TILE * p->dim_v);
    int64_t keep = s + KEY_TILE * STRIP, strips = keep + aligned(STRIP);
    if (base)
        *w = (workspace){base + k, base + v, (vf *)(void *)(base + s), (vf *)(void *)(base + keep),
                         base + strips};
    return strips + sb_ceil_div(rows, STRIP) * strip_floats(p);
}

static strip strip_at(const sb_problem *p, const workspace *w, int64_t i, int64_t position,
                      int64_t n_queries)
{
    float *base = w->strips + i * strip_floats(p);
    int64_t left = n_queries - i * STRIP;
    strip x = {.position = position + i * STRIP, .n_queries = left < STRIP ? left : STRIP};
    x.n_vec = (int)sb_ceil_div(x.n_queries, LANES);
    x.q = (vf *)(void *)base;
    x.o = x.q + p->dim * x.n_vec;
    x.max = x.o + p->dim_v * x.n_vec;
    x.sum = x.max + x.n_vec;
    return x;
}

/* ---- one unit: the queries of one row of one head ---------------------------------------- */

typedef struct unit {
    const sb_problem *p;
    const sb_inputs *in;
    const sb_outputs *out;
    int64_t q_at;     /* row of the first query in q, o and lse */
    int64_t kv_at;    /* row of key 0 in k and v */
    int64_t position; /* of the first query */
    int64_t n_queries;
    const int32_t *kept;    /* [n_kept] its list; NULL: every block */
    const uint64_t *tokens; /* [n_kept] tokens kept of each; NULL: all */
    int64_t n_kept, block;
} unit;

static void start_strip(const unit *u, workspace *w, const strip *x, int64_t first)
{
    const sb_problem *p = u->p;
    int64_t width = (int64_t)x->n_vec * LANES, n = x->n_queries;
    int64_t bytes = p->dim * (int64_t)sb_dtype_bytes(p->dtype);
    const char *from = (const char *)u->in->q + (u->q_at + first) * bytes;
    for (ahead rows = {from, from + n * bytes}; rows.at < rows.end;)
        fetch_ahead(&rows);
    const float *q_ic = as_f32(p->dtype, u->in->q, (u->q_at + first) * p->dim, n * p->dim, w->k);
    memset(x->q, 0, (size_t)((p->dim + p->dim_v) * width) * sizeof(float));
    transpose(q_ic, p->dim, n, p->dim, (float *)(void *)x->q, width);
    for (int v = 0; v < x->n_vec; v++) {
        x->max[v] = (vf){0} - INFINITY;
        x->sum[v] = (vf){0};
    }
}

/* s [n_keys][n_vec] = k q. Float32 dot products are summed in two parts or more, of up to CHAIN
 * terms: one chain of 128 alone would cost 1e-6 of the output where scores spread over 10 nats. */
static void score_tile(const sb_problem *p, const float *k, int64_t n_keys, const strip *x, vf *s,
                       ahead *next)
{
    vf add[VECTORS];
    for (int v = 0; v < VECTORS; v++)
        add[v] = (vf){0} + 1.0f;
    int64_t part = p->dtype == SB_F32 ? at_most(sb_ceil_div(p->dim, 2), CHAIN) : p->dim;
    for (int64_t c = 0; c < p->dim; c += part)
        multiply(k + c, p->dim, 1, n_keys, x->q + c * x->n_vec, at_most(p->dim - c, part),
                 c ? add : NULL, s, x->n_vec, next);
}

static void finish_strip(const unit *u, workspace *w, const strip *x, int64_t first)
{
    const sb_problem *p = u->p;
    int64_t at = u->q_at + first, n = x->n_queries;
    char *out = (char *)u->out->o + at * p->dim_v * (int64_t)sb_dtype_bytes(p->dtype);
    for (int v = 0; v < x->n_vec; v++) {
        vf inverse = 1.0f / x->sum[v];
        for (int64_t c = 0; c < p->dim_v; c++)
            x->o[c * x->n_vec + v] *= inverse;
    }
    transpose((float *)(void *)x->o, (int64_t)x->n_vec * LANES, p->dim_v, n, w->v, p->dim_v);
    narrow(p->dtype, w->v, out, n * p->dim_v);
#if defined(__AVX__)
    _mm256_zeroupper(); /* else the SSE code of log takes 20 times as long */
#endif
    for (int64_t i = 0; i < x->n_queries; i++) {
        float sum = x->sum[i / LANES][i % LANES], max = x->max[i / LANES][i % LANES];
        u->out->lse[at + i] = (float)(max * p->scale + log((double)sum));
    }
}

#endif
