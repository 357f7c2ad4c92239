/* Attention in bfloat16 on AMX tiles: one column of queries against one chunk of keys. The lanes of
 * a vector are queries, as in attend_portable.c: S^T = K Q^T and O^T = V^T P^T, so K is an A
 * operand where it lies, P^T leaves the softmax as a B operand, and every softmax step is
 * lane-wise. */

#include "methods/kernels/cpu/attend_amx.h"

#include <math.h>

/* Pieces of softmax in a group of keys; lines of the next block to prefetch at each step. */
enum { PIECES = 4, LINE = 64, PREFETCH_LINES = 16 };

/* A running maximum is renewed only when an exponential exceeds this: O and the sum then need
 * hardly any rescaling, and float32 has room for it. */
static const float HEADROOM = 256.0f;

/* ---- vectors ----------------------------------------------------------------------------- */

/* 2^y as the minimax cubic of 2^f on [0, 1) that is exact at both ends, relative error 1.1e-4 (a
 * twentieth of the rounding of P to bfloat16), times 2^floor(y). 0 for -inf. */
static inline __m512 power_of_two(__m512 y)
{
    __m512 f = _mm512_reduce_ps(y, 0x09); /* y - floor(y) */
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.078267967f), f, _mm512_set1_ps(0.22630769f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69542435f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, y);
}

/* Round two rows to bfloat16, halves away from zero, and put a[i], b[i] side by side. In integers:
 * beside tile products only one port takes floats of 512 bits, and it is the busy one. */
static inline __m512i interleave(__m512 a, __m512 b)
{
    const __m512i half = _mm512_set1_epi32(0x8000);
    const __m512i high_to_low = _mm512_set4_epi32(0x0f0e0f0e, 0x0b0a0b0a, 0x07060706, 0x03020302);
    return _mm512_mask_shuffle_epi8(_mm512_add_epi32((__m512i)b, half), 0x3333333333333333u,
                                    _mm512_add_epi32((__m512i)a, half), high_to_low);
}

/* ---- the end of a column ------------------------------------------------------------------ */

static void store_lse(const sb_amx_shape *x, const sb_amx_column *col, int half)
{
    int64_t left = col->n_queries - half * TILE;
    float max[TILE], sum[TILE];
    _mm512_storeu_ps(max, col->max[half]);
    _mm512_storeu_ps(sum, col->sum[half]);
    for (int64_t i = 0; i < left && i < TILE; i++)
        x->out->lse[col->at + half * TILE + i] =
            (float)(((double)max[i] + (double)log2f(sum[i])) * 0.6931471805599453);
}

static void finish_column(const sb_amx_shape *x, const sb_amx_column *col)
{
    const sb_problem *p = x->p;
    bf16 *o = (bf16 *)x->out->o + col->at * p->dim_v;
    for (int half = 0; half < 2 && half * TILE < col->n_queries; half++) {
        __m512 share = _mm512_div_ps(_mm512_set1_ps(1.0f), col->sum[half]);
        const float *from = col->o + half * TILE;
        for (int64_t c = 0; c < p->dim_v; c += GROUP) {
            __m512i tile[TILE];
            for (int i = 0; i < TILE; i++, from += 2 * COLUMN)
                tile[i] = interleave(_mm512_mul_ps(_mm512_load_ps(from), share),
                                     _mm512_mul_ps(_mm512_load_ps(from + COLUMN), share));
            transpose(tile);
            for (int i = 0; i < TILE && half * TILE + i < col->n_queries; i++)
                _mm512_mask_storeu_epi16(o + (half * TILE + i) * p->dim_v + c,
                                         first_bits(p->dim_v - c), tile[i]);
        }
        store_lse(x, col, half);
    }
}

/* ---- softmax ----------------------------------------------------------------------------- */

/* The softmax of one item, cut into pieces of TILE keys by TILE queries that are done between the
 * steps of the tile products of its neighbours: the two then run side by side. */
typedef struct softmax {
    sb_amx_pipeline *w;
    const sb_amx_item *it;
    const float *s;
    bf16 *pt;
    __m512 gain;
    __m512 sum[2];            /* of the exponentials */
    __m512i top[2];           /* the largest of them, as bits */
    int64_t n, n_done, n_due; /* pieces */
    int64_t steps, share;     /* steps of the tile products; n / steps pieces are due at each */
} softmax;

static inline void softmax_piece(softmax *y)
{
    int64_t half = y->n_done % 2, key = y->n_done++ / 2 * TILE;
    __m512 gain = y->gain, max = y->it->col->max[half], sum = y->sum[half];
    __m512i top = y->top[half];
    const float *s = y->s + key * COLUMN + half * TILE;
    bf16 *pt = y->pt + key / GROUP * GROUP * COLUMN + half * GROUP * TILE + key % GROUP * TILE;
#pragma GCC unroll 4
    for (int j = 0; j < TILE; j += 2) {
        __m512 a = _mm512_load_ps(s + j * COLUMN), b = _mm512_load_ps(s + (j + 1) * COLUMN);
        a = power_of_two(_mm512_fmsub_ps(a, gain, max));
        b = power_of_two(_mm512_fmsub_ps(b, gain, max));
        top = _mm512_max_epi32(top, _mm512_max_epi32((__m512i)a, (__m512i)b));
        sum = _mm512_add_ps(sum, a);
        sum = _mm512_add_ps(sum, b);
        _mm512_store_si512(pt + j * TILE, interleave(a, b));
    }
    y->top[half] = top;
    y->sum[half] = sum;
}

static inline void softmax_until(softmax *y, int64_t n)
{
    while (y->n_done < n && y->n_done < y->n)
        softmax_piece(y);
}

static inline void prefetch_lines(sb_amx_ahead *ahead)
{
    for (int i = 0; i < PREFETCH_LINES && ahead->at < ahead->end; i++, ahead->at += LINE)
        _mm_prefetch(ahead->at, _MM_HINT_T1);
}

static inline void softmax_step(softmax *y)
{
    prefetch_lines(&y->w->k);
    prefetch_lines(&y->w->v);
    y->share += y->n;
    for (; y->share >= y->steps; y->share -= y->steps)
        y->n_due++;
    softmax_until(y, y->n_due);
}

/* ---- tile products ------------------------------------------------------------------------ */

/* S^T of one group of keys: [GROUP][COLUMN], in the place of the scores that the softmax has read.
 */
static inline void score_group(const sb_amx_shape *x, const sb_amx_item *it, int64_t group,
                               float *s, softmax *y)
{
    const bf16 *k = it->k + group * GROUP * it->k_step, *q = it->col->q;
    int64_t k_bytes = it->k_step * (int64_t)sizeof *k;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t c = 0; c < x->dim; c += GROUP) {
        _tile_loadd(4, k + c, k_bytes);
        _tile_loadd(6, q + c * COLUMN, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, q + c * COLUMN + TILE * GROUP, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, k + TILE * it->k_step + c, k_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        softmax_step(y);
    }
    softmax_until(y, (group + 1) * PIECES);
    s += group * GROUP * COLUMN;
    _tile_stored(0, s, COLUMN * sizeof *s);
    _tile_stored(1, s + TILE, COLUMN * sizeof *s);
    _tile_stored(2, s + TILE * COLUMN, COLUMN * sizeof *s);
    _tile_stored(3, s + TILE * COLUMN + TILE, COLUMN * sizeof *s);
}

/* O^T of GROUP values += V^T P^T over the item's keys. */
static inline void output_group(const sb_amx_shape *x, const sb_amx_item *it, int64_t group,
                                const bf16 *pt, softmax *y)
{
    float *o = it->col->o + group * GROUP * COLUMN;
    const bf16 *v = it->v + group * GROUP * GROUP;
    if (it->first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, o, COLUMN * sizeof *o);
        _tile_loadd(1, o + TILE, COLUMN * sizeof *o);
        _tile_loadd(2, o + TILE * COLUMN, COLUMN * sizeof *o);
        _tile_loadd(3, o + TILE * COLUMN + TILE, COLUMN * sizeof *o);
    }
    for (int64_t g = 0; g < it->n_groups; g++) {
        _tile_loadd(4, v + g * GROUP * x->dim_v, 64);
        _tile_loadd(6, pt + g * GROUP * COLUMN, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, pt + g * GROUP * COLUMN + GROUP * TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, v + g * GROUP * x->dim_v + TILE * GROUP, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        softmax_step(y);
    }
    _tile_stored(0, o, COLUMN * sizeof *o);
    _tile_stored(1, o + TILE, COLUMN * sizeof *o);
    _tile_stored(2, o + TILE * COLUMN, COLUMN * sizeof *o);
    _tile_stored(3, o + TILE * COLUMN + TILE, COLUMN * sizeof *o);
}

/* ---- the pipeline ------------------------------------------------------------------------- */

/* Hide from each lane the keys after its query, and from all lanes the rows past the last key. */
static void mask_keys(const sb_amx_item *it, float *s)
{
    const __m512 minus_inf = _mm512_set1_ps(-INFINITY);
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    int64_t visible = it->col->position - it->key + 1;
    for (int64_t j = visible < it->n_keys ? (visible > 0 ? visible : 0) : it->n_keys;
         j < it->n_groups * GROUP; j++)
        for (int half = 0; half < 2; half++) {
            __m512i after = _mm512_set1_epi32((int32_t)(j - visible + 1 - half * TILE));
            __mmask16 hidden = j < it->n_keys ? _mm512_cmplt_epi32_mask(lane, after) : 0xffff;
            _mm512_mask_store_ps(s + j * COLUMN + half * TILE, hidden, minus_inf);
        }
}

/* Take the maximum of a column from the scores of an item. */
static void raise_max(const sb_amx_shape *x, const sb_amx_item *it, const float *s)
{
    sb_amx_column *col = it->col;
    __m512 keep[2];
    for (int half = 0; half < 2; half++) {
        __m512 top = _mm512_load_ps(s + half * TILE);
        for (int64_t j = 1; j < it->n_groups * GROUP; j++)
            top = _mm512_max_ps(top, _mm512_load_ps(s + j * COLUMN + half * TILE));
        top = _mm512_max_ps(_mm512_mul_ps(top, _mm512_set1_ps(x->gain)), col->max[half]);
        keep[half] = power_of_two(_mm512_sub_ps(col->max[half], top));
        col->max[half] = top;
        col->sum[half] = _mm512_mul_ps(col->sum[half], keep[half]);
    }
    for (int64_t i = 0; i < 2 * x->dim_v && !it->first; i++) {
        float *o = col->o + i * TILE;
        _mm512_store_ps(o, _mm512_mul_ps(_mm512_load_ps(o), keep[i % 2]));
    }
}

static softmax softmax_of(sb_amx_pipeline *w, const sb_amx_item *it, bf16 *pt)
{
    softmax y = {.w = w, .it = it, .s = w->s, .pt = pt, .gain = _mm512_set1_ps(w->x->gain)};
    y.n = it->n_groups * PIECES;
    return y;
}

static void mask_if_needed(const sb_amx_item *it, float *s)
{
    if (it->n_keys % GROUP || it->key + it->n_keys - 1 > it->col->position)
        mask_keys(it, s);
}

static bool overflows(const softmax *y)
{
    const __m512i limit = (__m512i)_mm512_set1_ps(HEADROOM);
    return _mm512_cmpgt_epi32_mask(_mm512_max_epi32(y->top[0], y->top[1]), limit) != 0;
}

static void score_item(sb_amx_pipeline *w, const sb_amx_item *it)
{
    softmax none = {.w = w, .steps = 1};
    for (int64_t g = 0; g < it->n_groups; g++)
        score_group(w->x, it, g, w->s, &none);
}

/* Redo the softmax of an item under a new maximum; its scores have been overwritten. */
static softmax renew(sb_amx_pipeline *w, const sb_amx_item *now, const sb_amx_item *next, bf16 *pt)
{
    score_item(w, now);
    mask_if_needed(now, w->s);
    raise_max(w->x, now, w->s);
    softmax y = softmax_of(w, now, pt);
    softmax_until(&y, y.n);
    score_item(w, next);
    return y;
}

/* The scores of the new item, the softmax of the one before, and the output of the one before that
 * run together. */
void sb_amx_push(sb_amx_pipeline *w, const sb_amx_item *it)
{
    const sb_amx_shape *x = w->x;
    int64_t n = w->n_items++;
    w->items[n % N_ITEMS] = *it;
    const sb_amx_item *next = &w->items[n % N_ITEMS], *now = &w->items[(n + 2) % N_ITEMS];
    const sb_amx_item *done = &w->items[(n + 1) % N_ITEMS];
    bf16 *pt = w->pt[n % 2], *pt_done = w->pt[(n + 1) % 2];
    if (now->n_groups)
        mask_if_needed(now, w->s);
    if (now->first)
        raise_max(x, now, w->s);
    softmax y = softmax_of(w, now, pt);
    int64_t n_out = done->n_groups ? x->dim_v / GROUP : 0;
    int64_t n_turns = next->n_groups ? next->n_groups : 1;
    y.steps = next->n_groups * x->dim / GROUP + done->n_groups * n_out;
    /* Tiles are read by instructions that the compiler does not know to read memory. */
    __asm__ volatile("" ::: "memory");
    for (int64_t i = 0, out = 0; i < n_turns; i++) {
        for (; out * n_turns < (i + 1) * n_out; out++)
            output_group(x, done, out, pt_done, &y);
        if (i < next->n_groups)
            score_group(x, next, i, w->s, &y);
    }
    softmax_until(&y, y.n);
    if (now->n_groups) {
        if (overflows(&y))
            y = renew(w, now, next, pt);
        for (int half = 0; half < 2; half++)
            now->col->sum[half] = _mm512_add_ps(now->col->sum[half], y.sum[half]);
    }
    if (done->last)
        finish_column(x, done->col);
}
