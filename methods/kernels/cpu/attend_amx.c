/* Attention in bfloat16 on AMX tiles: memory, packing, and the walk over the pattern. KERNELS.md
 * tells how it came to be. */

#include "methods/kernels/cpu/attend_amx.h"

#include <cpuid.h>
#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "methods/kernels/cpu/tiles.h"

/* N_STRIPS rows may be on their way at once: N_ITEMS items, each of another row. */
enum { N_STRIPS = N_ITEMS, BATCH_KEYS = 512, BATCH_BYTES = 512 << 10, ROWS_PER_THREAD = 16 };

static int64_t round_up(int64_t n, int64_t step)
{
    return sb_ceil_div(n, step) * step;
}

/* ---- packing K and V --------------------------------------------------------------------- */

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

/* Row i of n rows of n_values, zeros past their ends. */
static inline __m512i load_row(const bf16 *rows, int64_t step, int64_t i, int64_t n,
                               int64_t n_values)
{
    return _mm512_maskz_loadu_epi16(i < n ? first_bits(n_values) : 0, rows + i * step);
}

/* TILE keys to one tile of K^T: pairs of channels by keys. */
static void pack_k_tile(const bf16 *k, int64_t step, int64_t n_keys, int64_t n_channels, bf16 *tile)
{
    __m512i x[TILE];
    if (n_keys >= TILE && n_channels >= GROUP)
        for (int i = 0; i < TILE; i++)
            x[i] = _mm512_loadu_si512(k + i * step);
    else
        for (int i = 0; i < TILE; i++)
            x[i] = load_row(k, step, i, n_keys, n_channels);
    transpose(x);
    for (int i = 0; i < TILE; i++)
        _mm512_store_si512(tile + i * GROUP, x[i]);
}

/* GROUP keys by GROUP values to two tiles of V: keys i and TILE + i side by side, as in P. */
static void pack_v_tiles(const bf16 *v, int64_t step, int64_t n_keys, int64_t n_values, bf16 *tiles)
{
    static const uint16_t first[GROUP] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                          37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                          11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    __m512i lo = _mm512_loadu_si512(first), hi = _mm512_add_epi16(lo, _mm512_set1_epi16(TILE));
    bool whole = n_keys >= GROUP && n_values >= GROUP;
    for (int i = 0; i < TILE; i++, tiles += GROUP) {
        __m512i a =
            whole ? _mm512_loadu_si512(v + i * step) : load_row(v, step, i, n_keys, n_values);
        __m512i b = whole ? _mm512_loadu_si512(v + (TILE + i) * step)
                          : load_row(v, step, TILE + i, n_keys, n_values);
        _mm512_store_si512(tiles, _mm512_permutex2var_epi16(a, lo, b));
        _mm512_store_si512(tiles + TILE_ELEMS, _mm512_permutex2var_epi16(a, hi, b));
    }
}

/* The tiles of a block: of K, then of V. */
static bf16 *k_tiles_of(const sb_amx_shape *x, int64_t kv_row, int64_t block)
{
    int64_t slot = kv_row % x->n_slots;
    return x->tiles + (slot * x->n_blocks + block) * (x->block_bytes / 2);
}

static bf16 *v_tiles_of(const sb_amx_shape *x, int64_t kv_row, int64_t block)
{
    return k_tiles_of(x, kv_row, block) + x->block_groups * GROUP * x->dim;
}

/* Fetch n_lines of K or V that lie some lines after those being packed. (Of the tiles that will be
 * written too, and two threads wait for each other.) */
static void fetch_ahead(const bf16 *rows, int64_t n_lines)
{
    enum { BYTES_AHEAD = 4096, LINE = 64 };
    for (int64_t i = 0; i < n_lines * LINE; i += LINE)
        _mm_prefetch((const char *)rows + BYTES_AHEAD + i, _MM_HINT_T0);
}

static void pack_block(const sb_amx_shape *x, int64_t b, int64_t kv_row, int64_t block)
{
    const sb_problem *p = x->p;
    int64_t key = block * x->block, left = sb_kv_len(p, b) - key;
    int64_t n = left < x->block ? left : x->block;
    const bf16 *k = (const bf16 *)x->in->k + (kv_row * p->kv_len + key) * p->dim;
    const bf16 *v = (const bf16 *)x->in->v + (kv_row * p->kv_len + key) * p->dim_v;
    bf16 *k_tile = k_tiles_of(x, kv_row, block), *v_tile = v_tiles_of(x, kv_row, block);
    for (int64_t j = 0; j < n; j += GROUP) {
        for (int64_t i = j; i < j + GROUP; i += TILE)
            for (int64_t c = 0; c < x->dim; c += GROUP, k_tile += TILE_ELEMS) {
                fetch_ahead(k + i * p->dim + c * TILE, TILE);
                pack_k_tile(k + i * p->dim + c, p->dim, n - i, p->dim - c, k_tile);
            }
        for (int64_t c = 0; c < x->dim_v; c += GROUP, v_tile += 2 * TILE_ELEMS) {
            fetch_ahead(v + j * p->dim_v + c * GROUP, GROUP);
            pack_v_tiles(v + j * p->dim_v + c, p->dim_v, n - j, p->dim_v - c, v_tile);
        }
    }
}

/* ---- columns ----------------------------------------------------------------------------- */

static void start_column(const sb_amx_shape *x, sb_amx_column *col)
{
    const int64_t dim = x->p->dim;
    col->q = (const bf16 *)x->in->q + col->at * dim;
    col->q_step = dim;
    col->turn = 0;
    for (int i = 0; i < COLUMN; i++) {
        col->sum[0][i] = _mm512_setzero_ps();
        col->max[i] = -INFINITY;
    }
    if (dim == x->dim && col->n_queries == COLUMN)
        return;
    for (int64_t i = 0; i < col->n_queries; i++)
        memcpy(col->q_copy + i * x->dim, col->q + i * dim, (size_t)dim * sizeof *col->q);
    for (int64_t i = col->n_queries; i < COLUMN; i++)
        memset(col->q_copy + i * x->dim, 0, (size_t)x->dim * sizeof *col->q);
    col->q = col->q_copy;
    col->q_step = x->dim;
}

/* ---- units: the queries of one row of one head -------------------------------------------- */

/* The kept blocks of one row of one head. */
typedef struct row {
    int64_t b, h, row, kv_row;
    const int32_t *kept; /* NULL: every block */
    int64_t n;
} row;

/* Unit i of the kv heads [kv_row, kv_end): long rows first, so that the short ones fill the
 * threads' last moments. Empty where the sequence has no such row. */
static row row_of(const sb_amx_shape *x, int64_t kv_row, int64_t kv_end, int64_t i)
{
    const sb_problem *p = x->p;
    int64_t group = p->n_heads / p->n_kv_heads, across = (kv_end - kv_row) * group;
    row r = {.row = sb_max_rows(p, x->block) - 1 - i / across};
    r.kv_row = kv_row + i % across / group;
    r.b = r.kv_row / p->n_kv_heads;
    r.h = r.kv_row % p->n_kv_heads * group + i % group;
    if (r.row < 0 || r.row >= sb_n_rows(p, r.b, x->block))
        return r;
    r.n = sb_first_block(p, r.b, x->block) + r.row + 1;
    if (x->pat) {
        const int64_t *list = x->pat->row_ptr + sb_pattern_row(x->pat, r.b, r.h, r.row);
        r.kept = x->pat->col + list[0];
        r.n = list[1] - list[0];
    }
    return r;
}

/* Blocks [i, end) of a row are next; before them, for a new row, its queries. */
static sb_amx_ahead ahead_of(const sb_amx_shape *x, const row *r, int64_t i, int64_t end)
{
    sb_amx_ahead a = {.kept = r->kept, .i = i, .n = end < r->n ? end : r->n};
    a.tiles = (const char *)k_tiles_of(x, r->kv_row, 0);
    if (i == 0 && r->n) {
        int64_t t0, t1, dim = x->p->dim;
        sb_row_span(x->p, r->b, x->block, r->row, &t0, &t1);
        const bf16 *q = (const bf16 *)x->in->q + (r->b * x->p->n_heads + r->h) * x->p->q_len * dim;
        a.at = (const char *)(q + t0 * dim);
        a.end = (const char *)(q + t1 * dim);
    }
    return a;
}

/* One column against one kept block. */
static void push_block(sb_amx_pipeline *w, sb_amx_column *col, int64_t kv_row, int64_t block,
                       bool first, bool last)
{
    const sb_amx_shape *x = w->x;
    int64_t start = block * x->block, end = start + x->block;
    int64_t seen = col->position + col->n_queries;
    end = seen < end ? seen : end;
    for (int64_t key = start; key < end; key += CHUNK) {
        sb_amx_item it = {.col = col, .key = key};
        it.k = k_tiles_of(x, kv_row, block) + (key - start) * x->dim;
        it.v = v_tiles_of(x, kv_row, block) + (key - start) * x->dim_v;
        it.n_keys = end - key < CHUNK ? end - key : CHUNK;
        it.n_groups = sb_ceil_div(it.n_keys, GROUP);
        it.first = first && key == start;
        it.last = last && key + CHUNK >= end;
        sb_amx_push(w, &it);
    }
}

static void attend_row(sb_amx_pipeline *w, const row *r, const row *after)
{
    const sb_amx_shape *x = w->x;
    const sb_problem *p = x->p;
    if (!r->n)
        return;
    int64_t t0, t1;
    sb_row_span(p, r->b, x->block, r->row, &t0, &t1);
    /* The columns of the two rows before may still be on their way. */
    sb_amx_column *cols = w->strips + w->n_units++ % N_STRIPS * x->n_columns;
    int64_t n_columns = sb_ceil_div(t1 - t0, COLUMN);
    for (int64_t i = 0; i < n_columns; i++) {
        int64_t t = t0 + i * COLUMN;
        cols[i].position = sb_kv_len(p, r->b) - sb_q_len(p, r->b) + t;
        cols[i].n_queries = t1 - t < COLUMN ? t1 - t : COLUMN;
        cols[i].at = (r->b * p->n_heads + r->h) * p->q_len + t;
        start_column(x, &cols[i]);
    }
    /* A batch of keys stays in the L2 cache while the columns take turns, and the next one comes.
     * Larger ones leave less room for that, but a row that is one batch swaps no columns. */
    int64_t batch = BATCH_KEYS > x->block ? BATCH_KEYS / x->block : 1;
    if (r->n * x->block_bytes <= BATCH_BYTES)
        batch = r->n;
    for (int64_t j = 0; j < r->n; j += batch) {
        w->ahead = j + batch < r->n ? ahead_of(x, r, j + batch, j + 2 * batch)
                                    : ahead_of(x, after, 0, batch);
        for (int64_t c = 0; c < n_columns; c++)
            for (int64_t i = j; i < j + batch && i < r->n; i++)
                push_block(w, &cols[c], r->kv_row, r->kept ? r->kept[i] : i, i == 0, i == r->n - 1);
    }
}

/* ---- the kernel -------------------------------------------------------------------------- */

static int64_t column_bytes(const sb_amx_shape *x)
{
    return COLUMN * (2 * x->dim + 4 * x->dim_v);
}

static int64_t thread_bytes(const sb_amx_shape *x)
{
    return N_STRIPS * x->n_columns * ((int64_t)sizeof(sb_amx_column) + column_bytes(x)) +
           CHUNK * COLUMN * (4 + 2);
}

static int64_t tile_bytes(const sb_amx_shape *x)
{
    return x->n_slots * x->n_blocks * x->block_bytes;
}

static sb_amx_shape shape_of(const sb_problem *p, int64_t block, int n_threads)
{
    sb_amx_shape x = {.p = p, .block = block};
    x.dim = round_up(p->dim, GROUP);
    x.dim_v = round_up(p->dim_v, GROUP);
    x.n_blocks = sb_ceil_div(p->kv_len, block);
    x.block_groups = sb_ceil_div(block, GROUP);
    x.block_bytes = x.block_groups * GROUP * (x.dim + x.dim_v) * 2;
    x.n_columns = sb_ceil_div(block < p->q_len ? block : p->q_len, COLUMN);
    int64_t n_kv = p->n_batch * p->n_kv_heads;
    int64_t rows = sb_max_rows(p, block) * (p->n_heads / p->n_kv_heads);
    x.wave = sb_ceil_div(ROWS_PER_THREAD * n_threads, rows);
    x.wave = x.wave < n_kv ? x.wave : n_kv;
    x.n_slots = x.wave < n_kv ? 2 * x.wave : n_kv;
    x.gain = (float)(p->scale * 1.4426950408889634);
    return x;
}

static size_t scratch_bytes(const sb_problem *p, int64_t block, int n_threads)
{
    sb_amx_shape x = shape_of(p, block, n_threads);
    return (size_t)(tile_bytes(&x) + n_threads * thread_bytes(&x));
}

/* Lay one thread's memory out; what is never computed must still be finite. */
static sb_amx_pipeline pipeline_of(const sb_amx_shape *x, char *at)
{
    sb_amx_pipeline w = {.x = x};
    memset(at, 0, (size_t)thread_bytes(x));
    w.s = (float *)(void *)at;
    at += CHUNK * COLUMN * 4;
    w.p = (bf16 *)(void *)at;
    at += CHUNK * COLUMN * 2;
    w.strips = (sb_amx_column *)(void *)at;
    at += N_STRIPS * x->n_columns * (int64_t)sizeof(sb_amx_column);
    for (int i = 0; i < N_STRIPS * x->n_columns; i++, at += column_bytes(x)) {
        w.strips[i].q_copy = (bf16 *)(void *)at;
        w.strips[i].o = (float *)(void *)(at + COLUMN * 2 * x->dim);
    }
    return w;
}

static void attend(const sb_problem *p, const sb_inputs *in, const sb_pattern *pat, int64_t block,
                   const sb_outputs *out, void *scratch, int n_threads)
{
    sb_amx_shape x = shape_of(p, block, n_threads);
    x.in = in;
    x.pat = pat;
    x.out = out;
    x.tiles = scratch;
    char *threads = (char *)scratch + tile_bytes(&x);
    int64_t n_kv = p->n_batch * p->n_kv_heads, n_rows = sb_max_rows(p, block);
#pragma omp parallel num_threads(n_threads)
    {
        sb_amx_pipeline w = pipeline_of(&x, threads + omp_get_thread_num() * thread_bytes(&x));
        sb_configure_tiles();
        for (int64_t kv = 0; kv < n_kv; kv += x.wave) {
            int64_t end = kv + x.wave < n_kv ? kv + x.wave : n_kv;
            /* Other threads may still be at the wave before, but at none before that. */
#pragma omp for schedule(static)
            for (int64_t i = kv * x.n_blocks; i < end * x.n_blocks; i++)
                pack_block(&x, i / x.n_blocks / p->n_kv_heads, i / x.n_blocks, i % x.n_blocks);
            int64_t n_units = n_rows * (end - kv) * (p->n_heads / p->n_kv_heads);
#pragma omp for schedule(dynamic, 1) nowait
            for (int64_t i = 0; i < n_units; i++) {
                row r = row_of(&x, kv, end, i), after = row_of(&x, kv, end, i + n_threads);
                attend_row(&w, &r, &after);
            }
            for (int i = 0; i < 2; i++)
                sb_amx_push(&w, &(sb_amx_item){0});
        }
        _mm_sfence();
        _tile_release();
    }
}

/* Linux lends the tile registers to a process that asks. */
static bool tiles_granted(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static bool has_tiles(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(edx >> 22 & 1) || !(edx >> 24 & 1))
        return false;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bf16") && tiles_granted();
}

/* Asked for every cell of a sweep; in a virtual machine each look takes microseconds. */
static bool available(void)
{
    enum { UNKNOWN, NO, YES };
    static atomic_int known;
    if (known == UNKNOWN)
        known = has_tiles() ? YES : NO;
    return known == YES;
}

static bool supports(const sb_problem *p, int64_t block)
{
    return p->dtype == SB_BF16 && block % TILE == 0;
}

extern const sb_attend_kernel sb_cpu_amx;
const sb_attend_kernel sb_cpu_amx = {
    .name = "amx",
    .isa = "amx",
    .dense_tile = 256,
    .available = available,
    .supports = supports,
    .scratch_bytes = scratch_bytes,
    .attend = attend,
};
