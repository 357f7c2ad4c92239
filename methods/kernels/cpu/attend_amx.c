/* Attention in bfloat16 on AMX tiles. The lanes of a vector are queries, as in attend_portable.c:
 * S^T = K Q^T and O^T = V^T P^T, so K is an A operand where it lies, P^T leaves the softmax as a B
 * operand, and every softmax step is lane-wise. KERNELS.md tells how it came to be. */

#include "methods/kernels/cpu/attend.h"

#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A tile is 16 rows of 64 bytes. Work is cut into items: one column of queries against one chunk
 * of keys, in groups of two tiles by two. */
enum { TILE = 16, GROUP = 2 * TILE, COLUMN = GROUP, CHUNK = 64, ALIGN_BYTES = 64 };
enum { TILE_BYTES = 1024, N_STRIPS = 3 };

typedef uint16_t bf16;

/* A running maximum is renewed only when a score exceeds it by this much in base 2: until then
 * the exponentials stay below 2^HEADROOM, and O and the sum need no rescaling. */
static const float HEADROOM = 8.0f;

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

/* Transpose 16 x 16 words of 32 bits. */
static inline __attribute__((always_inline)) void transpose(__m512i *x)
{
    __m512i y[TILE];
    for (int i = 0; i < TILE; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < TILE; i += 4)
        for (int j = 0; j < 2; j++) {
            x[i + 2 * j] = _mm512_unpacklo_epi64(y[i + j], y[i + j + 2]);
            x[i + 2 * j + 1] = _mm512_unpackhi_epi64(y[i + j], y[i + j + 2]);
        }
    for (int i = 0; i < TILE; i += 8)
        for (int j = 0; j < 4; j++) {
            y[i + j] = _mm512_shuffle_i32x4(x[i + j], x[i + j + 4], 0x88);
            y[i + j + 4] = _mm512_shuffle_i32x4(x[i + j], x[i + j + 4], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        x[j] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0x88);
        x[j + 8] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0xdd);
    }
}

/* Round two rows to bfloat16 and put a[i], b[i] side by side. */
static inline __m512i interleave(__m512 a, __m512 b)
{
    const __m512i order =
        _mm512_set_epi32(0x001f000f, 0x001e000e, 0x001d000d, 0x001c000c, 0x001b000b, 0x001a000a,
                         0x00190009, 0x00180008, 0x00170007, 0x00160006, 0x00150005, 0x00140004,
                         0x00130003, 0x00120002, 0x00110001, 0x00100000);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

static inline __mmask32 first_bits(int64_t n)
{
    return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (1u << n) - 1;
}

/* ---- what a call works on ---------------------------------------------------------------- */

typedef struct shape {
    const sb_problem *p;
    const sb_inputs *in;
    const sb_pattern *pat;
    const sb_outputs *out;
    int64_t block;
    int64_t dim, dim_v;   /* padded to GROUP */
    int64_t n_blocks;     /* of the keys */
    int64_t block_groups; /* groups of GROUP keys in a block */
    int64_t k_rows;       /* rows of k_copy for one head */
    int64_t n_columns;    /* columns of the longest row */
    float gain;           /* scores to powers of two */
    bf16 *v_tiles;        /* [B Hkv][n_blocks][block_groups][dim_v / TILE][TILE][GROUP] */
    bf16 *k_copy;         /* [B Hkv][k_rows][dim]: the rows from first_copied() on */
} shape;

/* COLUMN queries of one row of one head, and their state. */
typedef struct column {
    __m512 max[2], sum[2]; /* scores times gain, in base 2 */
    int64_t position;      /* of lane 0 */
    int64_t n_queries;
    int64_t at; /* row of lane 0 in q, o and lse */
    bf16 *q;    /* [dim / GROUP][2] tiles: pairs of channels, queries */
    float *o;   /* [dim_v][COLUMN] */
    int64_t padding;
} column;

typedef struct item {
    column *col;
    const bf16 *k, *v; /* rows of k, k_step apart; tiles of v */
    int64_t k_step;
    int64_t key;      /* position of the first key */
    int64_t n_keys;   /* at most CHUNK */
    int64_t n_groups; /* of keys */
    bool first, last; /* of the column */
} item;

/* One thread: items pass through scores, softmax and output, one item apart. */
typedef struct pipeline {
    const shape *x;
    column *strips; /* [N_STRIPS][n_columns] */
    int64_t n_units, n_items;
    item items[3];
    float *s[2]; /* [CHUNK][COLUMN] */
    bf16 *pt[2]; /* [CHUNK / GROUP][2] tiles: pairs of keys, queries */
} pipeline;

static int64_t round_up(int64_t n, int64_t step)
{
    return sb_ceil_div(n, step) * step;
}

/* Keys from here on are read from k_copy: all where channels need padding, else the last chunk,
 * whose tiles may reach past the end. */
static int64_t first_copied(const shape *x, int64_t b)
{
    if (x->p->dim != x->dim)
        return 0;
    int64_t n = sb_kv_len(x->p, b), start = (n - 1) / x->block * x->block;
    return start + (n - 1 - start) / CHUNK * CHUNK;
}

/* ---- packing K and V --------------------------------------------------------------------- */

/* V [n keys][dim_v] to tiles of V^T: GROUP keys by GROUP values at `v`, n_keys and n_values of them
 * there, the others zero. */
static void pack_v_group(const bf16 *v, int64_t step, int64_t n_keys, int64_t n_values, bf16 *tiles)
{
    __m512i lo[TILE], hi[TILE];
    for (int j = 0; j < TILE; j++) {
        __m512i a =
            _mm512_maskz_loadu_epi16(2 * j < n_keys ? first_bits(n_values) : 0, v + 2 * j * step);
        __m512i b = _mm512_maskz_loadu_epi16(2 * j + 1 < n_keys ? first_bits(n_values) : 0,
                                             v + (2 * j + 1) * step);
        lo[j] = _mm512_unpacklo_epi16(a, b);
        hi[j] = _mm512_unpackhi_epi16(a, b);
    }
    transpose(lo);
    transpose(hi);
    /* Unpacking works within 128 bits: `lo` holds values 0-3 of each 8, `hi` values 4-7. */
    for (int i = 0; i < TILE; i++) {
        int value = i / 4 * 8 + i % 4;
        _mm512_store_si512(tiles + value * GROUP, lo[i]);
        _mm512_store_si512(tiles + (value + 4) * GROUP, hi[i]);
    }
}

static bf16 *v_tiles_of(const shape *x, int64_t kv_row, int64_t block)
{
    return x->v_tiles + (kv_row * x->n_blocks + block) * x->block_groups * GROUP * x->dim_v;
}

static void pack_v(const shape *x, int64_t b, int64_t kv_row, int64_t block)
{
    const sb_problem *p = x->p;
    int64_t key = block * x->block, left = sb_kv_len(p, b) - key;
    int64_t n = left < x->block ? left : x->block;
    const bf16 *v = (const bf16 *)x->in->v + (kv_row * p->kv_len + key) * p->dim_v;
    bf16 *tiles = v_tiles_of(x, kv_row, block);
    for (int64_t k = 0; k < n; k += GROUP)
        for (int64_t c = 0; c < x->dim_v; c += GROUP)
            pack_v_group(v + k * p->dim_v + c, p->dim_v, n - k, p->dim_v - c,
                         tiles + k * x->dim_v + c * GROUP);
}

static void copy_k(const shape *x, int64_t b, int64_t kv_row, int64_t block)
{
    const sb_problem *p = x->p;
    int64_t n = sb_kv_len(p, b), from = first_copied(x, b), start = block * x->block;
    int64_t end = start + x->block < n ? start + x->block : n;
    const bf16 *k = (const bf16 *)x->in->k + kv_row * p->kv_len * p->dim;
    bf16 *copy = x->k_copy + kv_row * x->k_rows * x->dim;
    for (int64_t j = from > start ? from : start; j < end; j++) {
        memcpy(copy + (j - from) * x->dim, k + j * p->dim, (size_t)p->dim * sizeof *k);
        memset(copy + (j - from) * x->dim + p->dim, 0, (size_t)(x->dim - p->dim) * sizeof *k);
    }
    if (end == n)
        memset(copy + (n - from) * x->dim, 0, (size_t)(GROUP * x->dim) * sizeof *k);
}

/* ---- columns ----------------------------------------------------------------------------- */

static void start_column(const shape *x, column *col)
{
    const sb_problem *p = x->p;
    const bf16 *q = (const bf16 *)x->in->q + col->at * p->dim;
    for (int64_t c = 0; c < x->dim; c += GROUP)
        for (int half = 0; half < 2; half++) {
            __m512i tile[TILE];
            for (int i = 0; i < TILE; i++) {
                int64_t query = half * TILE + i;
                __mmask32 there = query < col->n_queries ? first_bits(p->dim - c) : 0;
                tile[i] = _mm512_maskz_loadu_epi16(there, q + query * p->dim + c);
            }
            transpose(tile);
            for (int i = 0; i < TILE; i++)
                _mm512_store_si512(col->q + c * COLUMN + half * TILE * GROUP + i * GROUP, tile[i]);
        }
    for (int v = 0; v < 2; v++)
        col->sum[v] = _mm512_setzero_ps();
}

static void store_lse(const shape *x, const column *col, int half)
{
    int64_t left = col->n_queries - half * TILE;
    float max[TILE], sum[TILE];
    _mm512_storeu_ps(max, col->max[half]);
    _mm512_storeu_ps(sum, col->sum[half]);
    for (int64_t i = 0; i < left && i < TILE; i++)
        x->out->lse[col->at + half * TILE + i] =
            (float)((max[i] + log2((double)sum[i])) * 0.6931471805599453);
}

static void finish_column(const shape *x, const column *col)
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

/* ---- the three stages of an item ---------------------------------------------------------- */

/* S^T of one group of keys: [GROUP][COLUMN]. */
static inline void score_group(const shape *x, const item *it, int64_t group, float *s)
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
    }
    s += group * GROUP * COLUMN;
    _tile_stored(0, s, COLUMN * sizeof *s);
    _tile_stored(1, s + TILE, COLUMN * sizeof *s);
    _tile_stored(2, s + TILE * COLUMN, COLUMN * sizeof *s);
    _tile_stored(3, s + TILE * COLUMN + TILE, COLUMN * sizeof *s);
}

/* O^T of GROUP values += V^T P^T over the item's keys. */
static inline void output_group(const shape *x, const item *it, int64_t group, const bf16 *pt)
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
    }
    _tile_stored(0, o, COLUMN * sizeof *o);
    _tile_stored(1, o + TILE, COLUMN * sizeof *o);
    _tile_stored(2, o + TILE * COLUMN, COLUMN * sizeof *o);
    _tile_stored(3, o + TILE * COLUMN + TILE, COLUMN * sizeof *o);
}

typedef struct softmax {
    __m512 gain, top[2], sum[2]; /* of the item: largest score, sum of the exponentials */
} softmax;

/* P^T of TILE queries and one group of keys, under the column's maximum as it stands. */
static inline void softmax_group(const item *it, int64_t group, int half, const float *s, bf16 *pt,
                                 softmax *y)
{
    __m512 gain = y->gain, max = it->col->max[half];
    __m512 top = y->top[half], sum = y->sum[half];
    s += group * GROUP * COLUMN + half * TILE;
    pt += group * GROUP * COLUMN + half * GROUP * TILE;
#pragma GCC unroll 4
    for (int j = 0; j < GROUP; j += 2) {
        __m512 a = _mm512_load_ps(s + j * COLUMN), b = _mm512_load_ps(s + (j + 1) * COLUMN);
        top = _mm512_max_ps(top, _mm512_max_ps(a, b));
        a = power_of_two(_mm512_fmsub_ps(a, gain, max));
        b = power_of_two(_mm512_fmsub_ps(b, gain, max));
        sum = _mm512_add_ps(sum, _mm512_add_ps(a, b));
        _mm512_store_si512(pt + j * TILE, interleave(a, b));
    }
    y->top[half] = top;
    y->sum[half] = sum;
}

static softmax softmax_start(const shape *x)
{
    __m512 lowest = _mm512_set1_ps(-INFINITY), zero = _mm512_setzero_ps();
    return (softmax){_mm512_set1_ps(x->gain), {lowest, lowest}, {zero, zero}};
}

/* Hide from each lane the keys after its query, and from all lanes the rows past the last key. */
static void mask_keys(const item *it, float *s)
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

/* Scores of a column's first item: its maximum is the column's, so nothing is exponentiated
 * twice. */
static void first_max(const shape *x, const item *it, const float *s)
{
    for (int half = 0; half < 2; half++) {
        __m512 top = _mm512_load_ps(s + half * TILE);
        for (int64_t j = 1; j < it->n_groups * GROUP; j++)
            top = _mm512_max_ps(top, _mm512_load_ps(s + j * COLUMN + half * TILE));
        it->col->max[half] = _mm512_mul_ps(top, _mm512_set1_ps(x->gain));
    }
}

/* Renew the maximum of a column and rescale what it has summed. */
static void raise_max(const shape *x, column *col, const softmax *y)
{
    __m512 keep[2];
    for (int half = 0; half < 2; half++) {
        __m512 max = _mm512_max_ps(col->max[half], _mm512_mul_ps(y->top[half], y->gain));
        keep[half] = power_of_two(_mm512_sub_ps(col->max[half], max));
        col->max[half] = max;
        col->sum[half] = _mm512_mul_ps(col->sum[half], keep[half]);
    }
    for (int64_t i = 0; i < 2 * x->dim_v; i++) {
        float *o = col->o + i * TILE;
        _mm512_store_ps(o, _mm512_mul_ps(_mm512_load_ps(o), keep[i % 2]));
    }
}

static bool exceeds(const item *it, const softmax *y)
{
    __mmask16 above = 0;
    for (int half = 0; half < 2; half++)
        above |= _mm512_cmp_ps_mask(_mm512_fmsub_ps(y->top[half], y->gain, it->col->max[half]),
                                    _mm512_set1_ps(HEADROOM), _CMP_GT_OQ);
    return above != 0;
}

/* Take the next item in: its scores, the softmax of the item before, and the output of the one
 * before that, piece by piece, so that tile products and vector arithmetic run side by side. */
static void push(pipeline *w, const item *it)
{
    const shape *x = w->x;
    int64_t n = w->n_items++;
    w->items[n % 3] = *it;
    const item *next = &w->items[n % 3], *now = &w->items[(n + 2) % 3];
    const item *done = &w->items[(n + 1) % 3];
    float *s_next = w->s[n % 2], *s = w->s[(n + 1) % 2];
    bf16 *pt = w->pt[n % 2], *pt_done = w->pt[(n + 1) % 2];
    int64_t n_scores = next->n_groups, n_out = done->n_groups ? x->dim_v / GROUP : 0;
    int64_t n_soft = 2 * now->n_groups;
    if (now->n_groups && (now->n_keys % GROUP || now->key + now->n_keys - 1 > now->col->position))
        mask_keys(now, s);
    if (now->first)
        first_max(x, now, s);
    softmax y = softmax_start(x);
    /* Tiles are read by instructions that the compiler does not know to read memory. */
    __asm__ volatile("" ::: "memory");
    for (int64_t i = 0; i < n_scores || i < n_out || 2 * i < n_soft; i++) {
        if (i < n_scores)
            score_group(x, next, i, s_next);
        if (2 * i < n_soft)
            softmax_group(now, i, 0, s, pt, &y);
        if (i < n_out)
            output_group(x, done, i, pt_done);
        if (2 * i < n_soft)
            softmax_group(now, i, 1, s, pt, &y);
    }
    if (now->n_groups && exceeds(now, &y)) {
        raise_max(x, now->col, &y);
        y = softmax_start(x);
        for (int64_t i = 0; i < n_soft; i++)
            softmax_group(now, i / 2, (int)(i % 2), s, pt, &y);
    }
    if (now->n_groups)
        for (int half = 0; half < 2; half++)
            now->col->sum[half] = _mm512_add_ps(now->col->sum[half], y.sum[half]);
    if (done->last)
        finish_column(x, done->col);
}

/* ---- units: the queries of one row of one head -------------------------------------------- */

static void push_block(pipeline *w, column *cols, int64_t n_columns, int64_t b, int64_t kv_row,
                       int64_t block, bool first, bool last)
{
    const shape *x = w->x;
    const bf16 *k = (const bf16 *)x->in->k + kv_row * x->p->kv_len * x->p->dim;
    const bf16 *copy = x->k_copy + kv_row * x->k_rows * x->dim;
    int64_t copied = first_copied(x, b), start = block * x->block;
    for (int64_t key = start; key < start + x->block; key += CHUNK)
        for (int64_t i = 0; i < n_columns; i++) {
            column *col = &cols[i];
            int64_t seen = col->position + col->n_queries, end = start + x->block;
            end = seen < end ? seen : end;
            if (key >= end)
                continue;
            item it = {.col = col, .key = key, .k_step = x->dim};
            it.k = key < copied ? k + key * x->dim : copy + (key - copied) * x->dim;
            it.v = v_tiles_of(x, kv_row, block) + (key - start) * x->dim_v;
            it.n_keys = end - key < CHUNK ? end - key : CHUNK;
            it.n_groups = sb_ceil_div(it.n_keys, GROUP);
            it.first = first && key == start;
            it.last = last && key + CHUNK >= end;
            push(w, &it);
        }
}

/* Row `row` of head `h` of sequence `b`; nothing where the sequence has no such row. */
static void attend_row(pipeline *w, int64_t b, int64_t row, int64_t h)
{
    const shape *x = w->x;
    const sb_problem *p = x->p;
    if (row >= sb_n_rows(p, b, x->block))
        return;
    int64_t t0, t1, kv_row = b * p->n_kv_heads + h / (p->n_heads / p->n_kv_heads);
    sb_row_span(p, b, x->block, row, &t0, &t1);
    /* The columns of the two rows before may still be on their way. */
    column *cols = w->strips + w->n_units++ % N_STRIPS * x->n_columns;
    int64_t n_columns = sb_ceil_div(t1 - t0, COLUMN);
    for (int64_t i = 0; i < n_columns; i++) {
        int64_t t = t0 + i * COLUMN;
        cols[i].position = sb_kv_len(p, b) - sb_q_len(p, b) + t;
        cols[i].n_queries = t1 - t < COLUMN ? t1 - t : COLUMN;
        cols[i].at = (b * p->n_heads + h) * p->q_len + t;
        start_column(x, &cols[i]);
    }
    int64_t from = 0, n = sb_first_block(p, b, x->block) + row + 1;
    if (x->pat) {
        int64_t list = sb_pattern_row(x->pat, b, h, row);
        from = x->pat->row_ptr[list];
        n = x->pat->row_ptr[list + 1] - from;
    }
    for (int64_t i = 0; i < n; i++)
        push_block(w, cols, n_columns, b, kv_row, x->pat ? x->pat->col[from + i] : i, i == 0,
                   i == n - 1);
}

/* ---- the kernel -------------------------------------------------------------------------- */

static int64_t strip_bytes(const shape *x)
{
    int64_t column_bytes = (int64_t)sizeof(column) + COLUMN * (2 * x->dim + 4 * x->dim_v);
    return x->n_columns * column_bytes;
}

static int64_t thread_bytes(const shape *x)
{
    return N_STRIPS * strip_bytes(x) + 2 * CHUNK * COLUMN * (4 + 2);
}

static int64_t v_bytes(const shape *x)
{
    return x->p->n_batch * x->p->n_kv_heads * x->n_blocks * x->block_groups * GROUP * x->dim_v * 2;
}

static int64_t k_bytes(const shape *x)
{
    return x->p->n_batch * x->p->n_kv_heads * x->k_rows * x->dim * 2;
}

static shape shape_of(const sb_problem *p, int64_t block)
{
    shape x = {.p = p, .block = block};
    x.dim = round_up(p->dim, GROUP);
    x.dim_v = round_up(p->dim_v, GROUP);
    x.n_blocks = sb_ceil_div(p->kv_len, block);
    x.block_groups = sb_ceil_div(block, GROUP);
    x.k_rows = (p->dim == x.dim ? CHUNK : p->kv_len) + GROUP;
    x.n_columns = sb_ceil_div(block < p->q_len ? block : p->q_len, COLUMN);
    x.gain = (float)(p->scale * 1.4426950408889634);
    return x;
}

static size_t scratch_bytes(const sb_problem *p, int64_t block, int n_threads)
{
    shape x = shape_of(p, block);
    return (size_t)(v_bytes(&x) + k_bytes(&x) + n_threads * thread_bytes(&x));
}

/* Lay one thread's memory out; what is never computed must still be finite. */
static pipeline pipeline_of(const shape *x, char *at)
{
    pipeline w = {.x = x};
    memset(at, 0, (size_t)thread_bytes(x));
    w.strips = (column *)(void *)at;
    at += N_STRIPS * x->n_columns * (int64_t)sizeof(column);
    for (int i = 0; i < N_STRIPS * x->n_columns; i++, at += COLUMN * (2 * x->dim + 4 * x->dim_v)) {
        w.strips[i].q = (bf16 *)(void *)at;
        w.strips[i].o = (float *)(void *)(at + 2 * COLUMN * x->dim);
    }
    for (int i = 0; i < 2; i++, at += CHUNK * COLUMN * (4 + 2)) {
        w.s[i] = (float *)(void *)at;
        w.pt[i] = (bf16 *)(void *)(at + CHUNK * COLUMN * 4);
    }
    return w;
}

static void configure_tiles(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t n_rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.n_rows[i] = TILE;
    }
    _tile_loadconfig(&config);
}

static void attend(const sb_problem *p, const sb_inputs *in, const sb_pattern *pat, int64_t block,
                   const sb_outputs *out, void *scratch, int n_threads)
{
    shape x = shape_of(p, block);
    x.in = in;
    x.pat = pat;
    x.out = out;
    x.v_tiles = scratch;
    x.k_copy = x.v_tiles + v_bytes(&x) / 2;
    char *threads = (char *)(x.k_copy + k_bytes(&x) / 2);
    int64_t n_rows = sb_max_rows(p, block), per_row = p->n_batch * p->n_heads;
#pragma omp parallel num_threads(n_threads)
    {
        pipeline w = pipeline_of(&x, threads + omp_get_thread_num() * thread_bytes(&x));
        configure_tiles();
#pragma omp for schedule(static)
        for (int64_t i = 0; i < p->n_batch * p->n_kv_heads * x.n_blocks; i++) {
            int64_t kv_row = i / x.n_blocks, b = kv_row / p->n_kv_heads;
            pack_v(&x, b, kv_row, i % x.n_blocks);
            copy_k(&x, b, kv_row, i % x.n_blocks);
        }
        /* Long rows first: the short ones then fill the threads' last moments. */
#pragma omp for schedule(dynamic, 1) nowait
        for (int64_t i = 0; i < n_rows * per_row; i++)
            attend_row(&w, i % per_row / p->n_heads, n_rows - 1 - i / per_row, i % p->n_heads);
        for (int i = 0; i < 2; i++)
            push(&w, &(item){0});
        _tile_release();
    }
}

/* Linux lends the tile registers to a process that asks. */
static bool tiles_granted(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static bool available(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(edx >> 22 & 1) || !(edx >> 24 & 1))
        return false;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bf16") && tiles_granted();
}

extern const sb_attend_kernel sb_cpu_amx;
const sb_attend_kernel sb_cpu_amx = {"amx", "amx", available, scratch_bytes, attend};
