/* Attention in bfloat16 on AMX tiles: memory, packing, and the walk over the pattern. KERNELS.md
 * tells how it came to be. */

#include "methods/kernels/cpu/attend_amx.h"

#include <cpuid.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* N_STRIPS rows may be on their way at once: N_ITEMS items, each of another row. */
enum { MAX_CHUNK = 128, N_STRIPS = N_ITEMS, BATCH_KEYS = 512 };

static int64_t round_up(int64_t n, int64_t step)
{
    return sb_ceil_div(n, step) * step;
}

/* Keys from here on are read from k_copy: all where channels need padding, else the last chunk,
 * whose tiles may reach past the end. */
static int64_t first_copied(const sb_amx_shape *x, int64_t b)
{
    if (x->p->dim != x->dim)
        return 0;
    int64_t n = sb_kv_len(x->p, b), start = (n - 1) / x->block * x->block;
    return start + (n - 1 - start) / x->chunk * x->chunk;
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

static bf16 *v_tiles_of(const sb_amx_shape *x, int64_t kv_row, int64_t block)
{
    return x->v_tiles + (kv_row * x->n_blocks + block) * x->block_groups * GROUP * x->dim_v;
}

static void pack_v(const sb_amx_shape *x, int64_t b, int64_t kv_row, int64_t block)
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

static void copy_k(const sb_amx_shape *x, int64_t b, int64_t kv_row, int64_t block)
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

static void start_column(const sb_amx_shape *x, sb_amx_column *col)
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
    for (int half = 0; half < 2; half++) {
        col->max[half] = _mm512_set1_ps(-INFINITY);
        col->sum[half] = _mm512_setzero_ps();
    }
}

/* ---- units: the queries of one row of one head -------------------------------------------- */

static void prefetch_block(sb_amx_pipeline *w, int64_t kv_row, int64_t block)
{
    const sb_amx_shape *x = w->x;
    int64_t key = block * x->block, left = x->p->kv_len - key;
    const bf16 *k = (const bf16 *)x->in->k + (kv_row * x->p->kv_len + key) * x->p->dim;
    const bf16 *v = v_tiles_of(x, kv_row, block);
    w->k = (sb_amx_ahead){(const char *)k,
                          (const char *)(k + (left < x->block ? left : x->block) * x->p->dim)};
    w->v = (sb_amx_ahead){(const char *)v, (const char *)(v + x->block_groups * GROUP * x->dim_v)};
}

/* One column against one kept block. */
static void push_block(sb_amx_pipeline *w, sb_amx_column *col, int64_t b, int64_t kv_row,
                       int64_t block, bool first, bool last)
{
    const sb_amx_shape *x = w->x;
    const bf16 *k = (const bf16 *)x->in->k + kv_row * x->p->kv_len * x->p->dim;
    const bf16 *copy = x->k_copy + kv_row * x->k_rows * x->dim;
    int64_t copied = first_copied(x, b), start = block * x->block, end = start + x->block;
    int64_t seen = col->position + col->n_queries;
    end = seen < end ? seen : end;
    for (int64_t key = start; key < end; key += x->chunk) {
        sb_amx_item it = {.col = col, .key = key, .k_step = x->dim};
        it.k = key < copied ? k + key * x->dim : copy + (key - copied) * x->dim;
        it.v = v_tiles_of(x, kv_row, block) + (key - start) * x->dim_v;
        it.n_keys = end - key < x->chunk ? end - key : x->chunk;
        it.n_groups = sb_ceil_div(it.n_keys, GROUP);
        it.first = first && key == start;
        it.last = last && key + x->chunk >= end;
        sb_amx_push(w, &it);
    }
}

/* Row `row` of head `h` of sequence `b`; nothing where the sequence has no such row. */
static void attend_row(sb_amx_pipeline *w, int64_t b, int64_t row, int64_t h)
{
    const sb_amx_shape *x = w->x;
    const sb_problem *p = x->p;
    if (row >= sb_n_rows(p, b, x->block))
        return;
    int64_t t0, t1, kv_row = b * p->n_kv_heads + h / (p->n_heads / p->n_kv_heads);
    sb_row_span(p, b, x->block, row, &t0, &t1);
    /* The columns of the two rows before may still be on their way. */
    sb_amx_column *cols = w->strips + w->n_units++ % N_STRIPS * x->n_columns;
    int64_t n_columns = sb_ceil_div(t1 - t0, COLUMN);
    for (int64_t i = 0; i < n_columns; i++) {
        int64_t t = t0 + i * COLUMN;
        cols[i].position = sb_kv_len(p, b) - sb_q_len(p, b) + t;
        cols[i].n_queries = t1 - t < COLUMN ? t1 - t : COLUMN;
        cols[i].at = (b * p->n_heads + h) * p->q_len + t;
        start_column(x, &cols[i]);
    }
    const int32_t *kept = NULL;
    int64_t n = sb_first_block(p, b, x->block) + row + 1;
    if (x->pat) {
        const int64_t *list = x->pat->row_ptr + sb_pattern_row(x->pat, b, h, row);
        kept = x->pat->col + list[0];
        n = list[1] - list[0];
    }
    /* A batch of keys stays in the L2 cache while the columns take turns. */
    int64_t batch = BATCH_KEYS > x->block ? BATCH_KEYS / x->block : 1;
    for (int64_t j = 0; j < n; j += batch)
        for (int64_t c = 0; c < n_columns; c++)
            for (int64_t i = j; i < j + batch && i < n; i++) {
                if (c == 0 && i + 1 < n)
                    prefetch_block(w, kv_row, kept ? kept[i + 1] : i + 1);
                push_block(w, &cols[c], b, kv_row, kept ? kept[i] : i, i == 0, i == n - 1);
            }
}

/* ---- the kernel -------------------------------------------------------------------------- */

static int64_t strip_bytes(const sb_amx_shape *x)
{
    int64_t column_bytes = (int64_t)sizeof(sb_amx_column) + COLUMN * (2 * x->dim + 4 * x->dim_v);
    return x->n_columns * column_bytes;
}

static int64_t thread_bytes(const sb_amx_shape *x)
{
    return N_STRIPS * strip_bytes(x) + MAX_CHUNK * COLUMN * (4 + 2 * 2);
}

static int64_t v_bytes(const sb_amx_shape *x)
{
    return x->p->n_batch * x->p->n_kv_heads * x->n_blocks * x->block_groups * GROUP * x->dim_v * 2;
}

static int64_t k_bytes(const sb_amx_shape *x)
{
    return x->p->n_batch * x->p->n_kv_heads * x->k_rows * x->dim * 2;
}

static sb_amx_shape shape_of(const sb_problem *p, int64_t block)
{
    sb_amx_shape x = {.p = p, .block = block};
    x.dim = round_up(p->dim, GROUP);
    x.dim_v = round_up(p->dim_v, GROUP);
    /* What one column works on should fit the L1 cache; wide heads gain more from fewer passes over
     * O. */
    x.chunk = x.dim + x.dim_v > MAX_CHUNK ? MAX_CHUNK : MAX_CHUNK / 2;
    x.n_blocks = sb_ceil_div(p->kv_len, block);
    x.block_groups = sb_ceil_div(block, GROUP);
    x.k_rows = (p->dim == x.dim ? x.chunk : p->kv_len) + GROUP;
    x.n_columns = sb_ceil_div(block < p->q_len ? block : p->q_len, COLUMN);
    x.gain = (float)(p->scale * 1.4426950408889634);
    return x;
}

static size_t scratch_bytes(const sb_problem *p, int64_t block, int n_threads)
{
    sb_amx_shape x = shape_of(p, block);
    return (size_t)(v_bytes(&x) + k_bytes(&x) + n_threads * thread_bytes(&x));
}

/* Lay one thread's memory out; what is never computed must still be finite. */
static sb_amx_pipeline pipeline_of(const sb_amx_shape *x, char *at)
{
    sb_amx_pipeline w = {.x = x};
    memset(at, 0, (size_t)thread_bytes(x));
    w.strips = (sb_amx_column *)(void *)at;
    at += N_STRIPS * x->n_columns * (int64_t)sizeof(sb_amx_column);
    for (int i = 0; i < N_STRIPS * x->n_columns; i++, at += COLUMN * (2 * x->dim + 4 * x->dim_v)) {
        w.strips[i].q = (bf16 *)(void *)at;
        w.strips[i].o = (float *)(void *)(at + 2 * COLUMN * x->dim);
    }
    w.s = (float *)(void *)at;
    for (int i = 0; i < 2; i++)
        w.pt[i] = (bf16 *)(void *)(at + MAX_CHUNK * COLUMN * (4 + 2 * i));
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
    sb_amx_shape x = shape_of(p, block);
    x.in = in;
    x.pat = pat;
    x.out = out;
    x.v_tiles = scratch;
    x.k_copy = x.v_tiles + v_bytes(&x) / 2;
    char *threads = (char *)(x.k_copy + k_bytes(&x) / 2);
    int64_t n_rows = sb_max_rows(p, block), per_row = p->n_batch * p->n_heads;
#pragma omp parallel num_threads(n_threads)
    {
        sb_amx_pipeline w = pipeline_of(&x, threads + omp_get_thread_num() * thread_bytes(&x));
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
            sb_amx_push(&w, &(sb_amx_item){0});
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

static bool supports(const sb_problem *p, int64_t block)
{
    return p->dtype == SB_BF16 && block % GROUP == 0;
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
