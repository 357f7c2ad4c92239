/* Attention in bfloat16 on AMX tiles: one column of queries against one chunk of keys. The lanes of
 * a vector are keys: S = Q K^T reads Q where it lies, the softmax rounds each row of P into a row
 * of an A operand, and O = P V comes out in the layout of the output. */

#include "methods/kernels/cpu/attend_amx.h"

#include <math.h>

enum { LINE = 64, SLOTS = 4, AHEAD_LINES = 16 };

#define INLINE static inline __attribute__((always_inline))

/* A running maximum is renewed only when a sum of exponentials exceeds this. Floats of either width
 * are as precise there as near one. */
static const float HEADROOM = 0x1p60f;

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

/* log2 of 16 positive numbers, relative error 2e-7: 2 atanh((m - 1) / (m + 1)) of the mantissa m in
 * [0.75, 1.5). */
static __m512 log_two(__m512 x)
{
    __m512 e = _mm512_getexp_ps(_mm512_mul_ps(x, _mm512_set1_ps(4.0f / 3.0f)));
    __m512 m = _mm512_scalef_ps(x, _mm512_sub_ps(_mm512_setzero_ps(), e));
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 t = _mm512_div_ps(_mm512_sub_ps(m, one), _mm512_add_ps(m, one)),
           t2 = _mm512_mul_ps(t, t);
    __m512 y = _mm512_set1_ps(1.0f / 9);
    y = _mm512_fmadd_ps(y, t2, _mm512_set1_ps(1.0f / 7));
    y = _mm512_fmadd_ps(y, t2, _mm512_set1_ps(1.0f / 5));
    y = _mm512_fmadd_ps(y, t2, _mm512_set1_ps(1.0f / 3));
    y = _mm512_fmadd_ps(y, t2, one);
    return _mm512_fmadd_ps(_mm512_mul_ps(y, t), _mm512_set1_ps(2.8853900817779268f), e);
}

/* The sums of 16 vectors. */
static __m512 add_across(const __m512 *x)
{
    __m512 a[8], b[4];
    for (int i = 0; i < 8; i++)
        a[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x[i], x[i + 8], 0x44),
                             _mm512_shuffle_f32x4(x[i], x[i + 8], 0xee));
    for (int i = 0; i < 4; i++)
        b[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a[i], a[i + 4], 0x88),
                             _mm512_shuffle_f32x4(a[i], a[i + 4], 0xdd));
    /* b[i]: four partial sums of each of x[i], x[i + 8], x[i + 4], x[i + 12]. */
    __m512 c = _mm512_add_ps(_mm512_unpacklo_ps(b[0], b[1]), _mm512_unpackhi_ps(b[0], b[1]));
    __m512 d = _mm512_add_ps(_mm512_unpacklo_ps(b[2], b[3]), _mm512_unpackhi_ps(b[2], b[3]));
    c = _mm512_add_ps((__m512)_mm512_unpacklo_pd((__m512d)c, (__m512d)d),
                      (__m512)_mm512_unpackhi_pd((__m512d)c, (__m512d)d));
    return _mm512_shuffle_f32x4(c, c, 0xd8);
}

/* ---- the end of a column ------------------------------------------------------------------ */

static void finish_column(const sb_amx_shape *x, const sb_amx_column *col)
{
    const sb_problem *p = x->p;
    bf16 *o = (bf16 *)x->out->o + col->at * p->dim_v;
    float sum[COLUMN], share[COLUMN];
    for (int i = 0; i < COLUMN; i += TILE)
        _mm512_storeu_ps(sum + i, add_across(col->sum[col->turn] + i));
    for (int half = 0; half < 2; half++) {
        __m512 y = _mm512_loadu_ps(sum + half * TILE);
        _mm512_storeu_ps(share + half * TILE, _mm512_div_ps(_mm512_set1_ps(1.0f), y));
        y = _mm512_add_ps(_mm512_loadu_ps(col->max + half * TILE), log_two(y));
        _mm512_mask_storeu_ps(x->out->lse + col->at + half * TILE,
                              (__mmask16)first_bits(col->n_queries - half * TILE),
                              _mm512_mul_ps(y, _mm512_set1_ps(0.6931471805599453f)));
    }
    /* Lines written whole need not be read before. */
    bool whole = p->dim_v == x->dim_v && (uintptr_t)o % LINE == 0;
    for (int64_t i = 0; i < col->n_queries; i++, o += p->dim_v) {
        const float *from = col->o + i * TILE;
        __m512 scale = _mm512_set1_ps(share[i]);
        for (int64_t c = 0; c < p->dim_v; c += GROUP) {
            __m512 lo = _mm512_mul_ps(_mm512_load_ps(from + c * COLUMN), scale);
            __m512 hi = _mm512_mul_ps(_mm512_load_ps(from + (c + TILE) * COLUMN), scale);
            __m512i both = (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
            if (whole)
                _mm512_stream_si512((__m512i *)(void *)(o + c), both);
            else
                _mm512_mask_storeu_epi16(o + c, first_bits(p->dim_v - c), both);
        }
    }
}

/* ---- softmax ----------------------------------------------------------------------------- */

/* The softmax of one group of keys, cut into units of one query that are done between the tile
 * products of the neighbouring items: the two then run side by side. */
typedef struct softmax {
    const float *s, *max; /* of the next unit */
    bf16 *p;
    const __m512 *before; /* sums without this group */
    __m512 *sum;          /* and with it */
    int64_t left;         /* units to do */
    __m512 gain;
    __m512i top; /* the largest sum, as bits */
} softmax;

INLINE void softmax_units(softmax *y, int64_t n)
{
    if (y->left < n)
        return;
    for (int64_t i = 0; i < n; i++) {
        __m512 max = _mm512_set1_ps(y->max[i]);
        __m512 a = _mm512_load_ps(y->s + i * GROUP), b = _mm512_load_ps(y->s + i * GROUP + TILE);
        a = power_of_two(_mm512_fmsub_ps(a, y->gain, max));
        b = power_of_two(_mm512_fmsub_ps(b, y->gain, max));
        __m512 sum = _mm512_add_ps(y->before[i], _mm512_add_ps(a, b));
        y->top = _mm512_max_epi32(y->top, (__m512i)sum);
        y->sum[i] = sum;
        _mm512_store_si512(y->p + i * GROUP, interleave(a, b));
    }
    y->s += n * GROUP;
    y->max += n;
    y->p += n * GROUP;
    y->before += n;
    y->sum += n;
    y->left -= n;
}

INLINE void softmax_rest(softmax *y)
{
    while (y->left)
        softmax_units(y, 1);
}

/* Where to prefetch next; from `hot`, in the L1 cache and therefore cheap, when nothing is left. */
INLINE const char *next_ahead(const sb_amx_shape *x, sb_amx_ahead *ahead, const float *hot)
{
    if (ahead->at >= ahead->end) {
        if (ahead->i == ahead->n)
            return (const char *)hot;
        ahead->at =
            ahead->tiles + (ahead->kept ? ahead->kept[ahead->i] : ahead->i) * x->block_bytes;
        ahead->end = ahead->at + x->block_bytes;
        ahead->i++;
    }
    const char *at = ahead->at;
    ahead->at += AHEAD_LINES * LINE;
    return at;
}

/* What is done after each of SLOTS tile products: few prefetches at a time, since the tile loads
 * wait for the same buffers. */
INLINE void slot(softmax *y, int units, const char *ahead, int i)
{
    const int lines = AHEAD_LINES / SLOTS;
    for (int j = 0; j < lines; j++)
        _mm_prefetch(ahead + (i * lines + j) * LINE, _MM_HINT_T1);
    softmax_units(y, units);
}

/* The compiler does not know that tile loads read memory. */
INLINE void order_tiles(void)
{
    __asm__ volatile("" ::: "memory");
}

/* ---- tile products ------------------------------------------------------------------------ */

/* S of an item, two tiles of queries by two of keys at a time, in the place of the scores that the
 * softmax has read. K is not kept in the L1 cache, which is full of what comes back. */
INLINE void score(sb_amx_pipeline *w, const sb_amx_item *it, float *s, softmax *y, int units)
{
    const sb_amx_shape *x = w->x;
    const bf16 *q0 = it->col->q, *q1 = q0 + TILE * it->col->q_step, *k = it->k;
    int64_t q_bytes = it->col->q_step * (int64_t)sizeof *q0, n_steps = x->dim / GROUP;
    for (int64_t g = 0; g < it->n_groups; g++, s += COLUMN * GROUP, k += 2 * n_steps * TILE_ELEMS) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t i = 0; i < n_steps; i++) {
            const char *ahead = next_ahead(x, &w->ahead, w->s);
            _tile_loadd(4, q0 + i * GROUP, q_bytes);
            _tile_stream_loadd(6, k + i * TILE_ELEMS, LINE);
            _tile_dpbf16ps(0, 4, 6);
            slot(y, units, ahead, 0);
            _tile_stream_loadd(7, k + (n_steps + i) * TILE_ELEMS, LINE);
            _tile_dpbf16ps(1, 4, 7);
            slot(y, units, ahead, 1);
            _tile_loadd(5, q1 + i * GROUP, q_bytes);
            _tile_dpbf16ps(2, 5, 6);
            slot(y, units, ahead, 2);
            _tile_dpbf16ps(3, 5, 7);
            slot(y, units, ahead, 3);
        }
        if (g == 1)
            softmax_rest(y);
        _tile_stored(0, s, GROUP * sizeof *s);
        _tile_stored(1, s + TILE, GROUP * sizeof *s);
        _tile_stored(2, s + TILE * GROUP, GROUP * sizeof *s);
        _tile_stored(3, s + TILE * GROUP + TILE, GROUP * sizeof *s);
    }
}

/* O += P V over the item's keys, with P in tiles 4 to 7: its memory is free for the next item. A
 * sum is stored as soon as it is complete: tile stores in a row hold the products up, single ones
 * do not. */
INLINE void output(sb_amx_pipeline *w, const sb_amx_item *it, softmax *y, int units)
{
    const sb_amx_shape *x = w->x;
    const bf16 *p = w->p;
    bool two = it->n_groups == 2;
    _tile_loadd(4, p, LINE);
    _tile_loadd(6, p + TILE_ELEMS, LINE);
    if (two) {
        _tile_loadd(5, p + 2 * TILE_ELEMS, LINE);
        _tile_loadd(7, p + 3 * TILE_ELEMS, LINE);
    }
    order_tiles();
    const bf16 *v = it->v;
    float *o = it->col->o;
    for (int64_t c = 0; c < x->dim_v; c += TILE, v += TILE_ELEMS, o += TILE * COLUMN) {
        const char *ahead = next_ahead(x, &w->ahead, w->s);
        _tile_stream_loadd(2, v, LINE);
        if (it->first)
            _tile_zero(0);
        else
            _tile_loadd(0, o, LINE);
        _tile_dpbf16ps(0, 4, 2);
        slot(y, units, ahead, 0);
        if (two) {
            _tile_stream_loadd(3, v + x->dim_v * GROUP, LINE);
            _tile_dpbf16ps(0, 5, 3);
        }
        slot(y, units, ahead, 1);
        _tile_stored(0, o, LINE);
        if (it->first)
            _tile_zero(1);
        else
            _tile_loadd(1, o + TILE * TILE, LINE);
        _tile_dpbf16ps(1, 6, 2);
        slot(y, units, ahead, 2);
        if (two)
            _tile_dpbf16ps(1, 7, 3);
        slot(y, units, ahead, 3);
        _tile_stored(1, o + TILE * TILE, LINE);
    }
}

/* ---- the pipeline ------------------------------------------------------------------------- */

/* Hide from each query the keys after it, and from all the rows past the last key. */
static void mask_keys(const sb_amx_item *it, float *s)
{
    const __m512 minus_inf = _mm512_set1_ps(-INFINITY);
    for (int64_t g = 0; g < it->n_groups; g++, s += COLUMN * GROUP) {
        int64_t visible = it->col->position - it->key - g * GROUP + 1, n = it->n_keys - g * GROUP;
        if (visible >= GROUP && n >= GROUP)
            continue;
        for (int64_t i = 0; i < COLUMN; i++, visible++) {
            __mmask32 hidden = ~first_bits(visible < n ? visible : n);
            _mm512_mask_store_ps(s + i * GROUP, (__mmask16)hidden, minus_inf);
            _mm512_mask_store_ps(s + i * GROUP + TILE, (__mmask16)(hidden >> TILE), minus_inf);
        }
    }
}

static void mask_if_needed(const sb_amx_item *it, float *s)
{
    if (it->n_keys % GROUP || it->key + it->n_keys - 1 > it->col->position)
        mask_keys(it, s);
}

/* Any score that a query sees will do to start with, such as its first. */
static void guess_max(const sb_amx_shape *x, sb_amx_column *col, const float *s)
{
    for (int64_t i = 0; i < COLUMN; i++)
        col->max[i] = s[i * GROUP] * x->gain;
}

/* Take the maxima of a column from the scores of an item. */
static void raise_max(const sb_amx_shape *x, const sb_amx_item *it, const float *s)
{
    sb_amx_column *col = it->col;
    float keep[COLUMN];
    for (int64_t i = 0; i < COLUMN; i++, s += GROUP) {
        __m512 top = _mm512_max_ps(_mm512_load_ps(s), _mm512_load_ps(s + TILE));
        if (it->n_groups == 2) {
            top = _mm512_max_ps(top, _mm512_load_ps(s + COLUMN * GROUP));
            top = _mm512_max_ps(top, _mm512_load_ps(s + COLUMN * GROUP + TILE));
        }
        float max = _mm512_reduce_max_ps(top) * x->gain;
        keep[i] = col->max[i] - max;
        if (max > col->max[i])
            col->max[i] = max;
    }
    for (int64_t i = 0; i < COLUMN && !it->first; i++) {
        if (!(keep[i] < 0))
            continue;
        __m512 scale = power_of_two(_mm512_set1_ps(keep[i]));
        col->sum[col->turn][i] = _mm512_mul_ps(col->sum[col->turn][i], scale);
        for (int64_t c = 0; c < x->dim_v; c += TILE) {
            float *o = col->o + c * COLUMN + i * TILE;
            _mm512_store_ps(o, _mm512_mul_ps(_mm512_load_ps(o), scale));
        }
    }
}

static softmax softmax_of(const sb_amx_pipeline *w, const sb_amx_item *it)
{
    softmax y = {.s = w->s, .p = w->p, .gain = _mm512_set1_ps(w->x->gain)};
    if (it->n_groups) {
        sb_amx_column *col = it->col;
        y.max = col->max;
        y.before = col->sum[col->turn];
        y.sum = col->sum[!col->turn];
        y.left = COLUMN;
    }
    return y;
}

/* On to the second group of keys, where there is one. */
INLINE void softmax_turn(softmax *y, const sb_amx_item *it)
{
    softmax_rest(y);
    if (it->n_groups < 2)
        return;
    y->max -= COLUMN;
    y->sum -= COLUMN;
    y->before = y->sum;
    y->left = COLUMN;
}

static bool overflows(const softmax *y)
{
    return _mm512_cmpgt_epi32_mask(y->top, (__m512i)_mm512_set1_ps(HEADROOM)) != 0;
}

static void score_alone(sb_amx_pipeline *w, const sb_amx_item *it)
{
    softmax none = {0};
    if (it->n_groups)
        score(w, it, w->s, &none, 1);
}

/* Redo the softmax of an item under new maxima; its scores have been overwritten. */
static void renew(sb_amx_pipeline *w, const sb_amx_item *now, const sb_amx_item *next)
{
    score_alone(w, now);
    mask_if_needed(now, w->s);
    raise_max(w->x, now, w->s);
    softmax y = softmax_of(w, now);
    softmax_turn(&y, now);
    softmax_rest(&y);
    score_alone(w, next);
}

/* The scores of the new item, the softmax of the one before, and the output of the one before that
 * run together: half of the softmax beside the scores, half beside the output. */
INLINE bool step(sb_amx_pipeline *w, const sb_amx_item *next, const sb_amx_item *now,
                 const sb_amx_item *done, int units)
{
    softmax y = softmax_of(w, now);
    order_tiles();
    if (done->n_groups)
        output(w, done, &y, units);
    softmax_turn(&y, now);
    if (next->n_groups)
        score(w, next, w->s, &y, units);
    softmax_rest(&y);
    return now->n_groups && overflows(&y);
}

void sb_amx_push(sb_amx_pipeline *w, const sb_amx_item *it)
{
    const sb_amx_shape *x = w->x;
    int64_t n = w->n_items++;
    w->items[n % N_ITEMS] = *it;
    const sb_amx_item *next = &w->items[n % N_ITEMS], *now = &w->items[(n + 2) % N_ITEMS];
    const sb_amx_item *done = &w->items[(n + 1) % N_ITEMS];
    if (now->n_groups)
        mask_if_needed(now, w->s);
    if (now->first)
        guess_max(x, now->col, w->s);
    bool again =
        x->dim + x->dim_v > 4 * GROUP ? step(w, next, now, done, 1) : step(w, next, now, done, 2);
    if (again)
        renew(w, now, next);
    if (now->n_groups)
        now->col->turn = !now->col->turn;
    if (done->last)
        finish_column(x, done->col);
}
