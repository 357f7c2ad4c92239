/* Attention in plain C with vector extensions, built once for each instruction set (SB_ISA names
 * it). The lanes of a vector are queries: a strip of up to STRIP queries keeps Q^T and O^T, takes
 * S^T = K Q^T tile by tile, and every softmax step is lane-wise, without horizontal reductions. */

#include "methods/kernels/cpu/attend.h"

#include <omp.h>

#include "methods/kernels/cpu/strips.h"

#ifndef SB_ISA
#define SB_ISA generic
#endif

/* ---- tiles of keys ------------------------------------------------------------------------ */

/* Keys and values, n_keys rows that stand at position `key` and after, for all queries. */
static void attend_keys(const unit *u, workspace *w, const float *k, const float *v, int64_t key,
                        int64_t n_keys, ahead *next_k, ahead *next_v)
{
    const sb_problem *p = u->p;
    float gain = (float)(p->scale * 1.4426950408889634);
    for (int64_t i = 0; i * STRIP < u->n_queries; i++) {
        strip x = strip_at(p, w, i, u->position, u->n_queries);
        int64_t seen = x.position + x.n_queries - key, visible = x.position - key + 1;
        int64_t n = at_most(seen, n_keys);
        if (n <= 0)
            continue;
        score_tile(p, k, n, &x, w->s, next_k);
        if (visible < n)
            mask_keys(w->s, n, x.n_vec, visible);
        softmax_tile(w->s, n, x.n_vec, gain, x.max, x.sum, w->keep);
        multiply(v, 1, p->dim_v, p->dim_v, w->s, n, w->keep, x.o, x.n_vec, next_v);
    }
}

/* Rows [key, key + n) of the unit's K or V: `dim` elements each. */
static ahead rows_ahead(const unit *u, const void *x, int64_t dim, int64_t key, int64_t n)
{
    int64_t bytes = (int64_t)sb_dtype_bytes(u->p->dtype) * dim;
    const char *at = (const char *)x + (u->kv_at + key) * bytes;
    return (ahead){at, at + n * bytes};
}

/* Keys [key, key + n_keys); those wanted next are [then, then + n_then). */
static void attend_tile(const unit *u, workspace *w, int64_t key, int64_t n_keys, int64_t then,
                        int64_t n_then)
{
    const sb_problem *p = u->p;
    int64_t at = u->kv_at + key;
    const float *k = as_f32(p->dtype, u->in->k, at * p->dim, n_keys * p->dim, w->k);
    const float *v = as_f32(p->dtype, u->in->v, at * p->dim_v, n_keys * p->dim_v, w->v);
    ahead next_k = rows_ahead(u, u->in->k, p->dim, then, n_then);
    ahead next_v = rows_ahead(u, u->in->v, p->dim_v, then, n_then);
    attend_keys(u, w, k, v, key, n_keys, &next_k, &next_v);
}

/* ---- the list of one unit ------------------------------------------------------------------- */

static int64_t kept_block(const unit *u, int64_t n)
{
    return u->kept ? u->kept[n] : n;
}

/* Tokens of kept block n before the first query, whom all queries see; behind it, in the diagonal
 * block, are the queries' own, which are kept. */
static uint64_t before_queries(const unit *u, int64_t n)
{
    return n + 1 < u->n_kept ? UINT64_MAX : sb_first_tokens(u->position % SB_TOKEN_BLOCK);
}

static bool is_whole(const unit *u, int64_t n)
{
    return !u->tokens || (before_queries(u, n) & ~u->tokens[n]) == 0;
}

/* Blocks that are kept whole, and the queries' own tokens. */
static void attend_in_place(const unit *u, workspace *w)
{
    int64_t end = u->position + u->n_queries;
    for (int64_t n = 0; n < u->n_kept; n++) {
        bool whole = is_whole(u, n), last = n + 1 == u->n_kept;
        if (!whole && !last)
            continue;
        int64_t start = kept_block(u, n) * u->block, from = whole ? start : u->position;
        int64_t to = at_most(start + u->block, end),
                next = last ? to : kept_block(u, n + 1) * u->block;
        for (int64_t key = from; key < to; key += KEY_TILE) {
            int64_t then = key + KEY_TILE < to ? key + KEY_TILE : next;
            attend_tile(u, w, key, at_most(to - key, KEY_TILE), then,
                        at_most(end - then, KEY_TILE));
        }
    }
}

/* The gathered keys, which all queries see. */
static void attend_gathered(const unit *u, workspace *w, int64_t n_keys)
{
    ahead none = {0};
    attend_keys(u, w, w->k, w->v, u->position - n_keys, n_keys, &none, &none);
}

/* Append keys [key, key + n) and their values to the `gathered` ones. */
static void gather(const unit *u, workspace *w, int64_t key, int64_t n, int64_t gathered)
{
    const sb_problem *p = u->p;
    int64_t bytes = (int64_t)sb_dtype_bytes(p->dtype), at = u->kv_at + key;
    widen(p->dtype, (const char *)u->in->k + at * p->dim * bytes, w->k + gathered * p->dim,
          n * p->dim);
    widen(p->dtype, (const char *)u->in->v + at * p->dim_v * bytes, w->v + gathered * p->dim_v,
          n * p->dim_v);
}

/* The kept tokens of all other blocks, gathered run by run into tiles. */
static void attend_tokens(const unit *u, workspace *w)
{
    int64_t gathered = 0;
    for (int64_t n = 0; n < u->n_kept; n++) {
        uint64_t left = is_whole(u, n) ? 0 : u->tokens[n] & before_queries(u, n);
        while (left) {
            int from = __builtin_ctzll(left);
            int64_t run = at_most(__builtin_ctzll(~(left >> from)), KEY_TILE - gathered);
            gather(u, w, kept_block(u, n) * SB_TOKEN_BLOCK + from, run, gathered);
            left &= ~(sb_first_tokens(run) << from);
            gathered += run;
            if (gathered == KEY_TILE) {
                attend_gathered(u, w, gathered);
                gathered = 0;
            }
        }
    }
    if (gathered > 0)
        attend_gathered(u, w, gathered);
}

/* Row `row` of head `h` of sequence `b`; nothing where the sequence has no such row. */
static void attend_unit(const sb_problem *p, const sb_inputs *in, const sb_pattern *pat,
                        int64_t block, const sb_outputs *out, workspace *w, int64_t b, int64_t row,
                        int64_t h)
{
    if (row >= sb_n_rows(p, b, block))
        return;
    int64_t t0, t1, kv_head = h / (p->n_heads / p->n_kv_heads);
    sb_row_span(p, b, block, row, &t0, &t1);
    unit u = {.p = p, .in = in, .out = out, .block = block};
    u.q_at = (b * p->n_heads + h) * p->q_len + t0;
    u.kv_at = (b * p->n_kv_heads + kv_head) * p->kv_len;
    u.position = sb_kv_len(p, b) - sb_q_len(p, b) + t0;
    u.n_queries = t1 - t0;
    u.n_kept = sb_first_block(p, b, block) + row + 1;
    if (pat) {
        int64_t list = sb_pattern_row(pat, b, h, row), from = pat->row_ptr[list];
        u.kept = pat->col + from;
        u.tokens = pat->tokens ? pat->tokens + from : NULL;
        u.n_kept = pat->row_ptr[list + 1] - from;
    }
    for (int64_t i = 0; i * STRIP < u.n_queries; i++) {
        strip x = strip_at(p, w, i, u.position, u.n_queries);
        start_strip(&u, w, &x, i * STRIP);
    }
    attend_in_place(&u, w);
    if (u.tokens)
        attend_tokens(&u, w);
    for (int64_t i = 0; i * STRIP < u.n_queries; i++) {
        strip x = strip_at(p, w, i, u.position, u.n_queries);
        finish_strip(&u, w, &x, i * STRIP);
    }
}

/* ---- the kernel -------------------------------------------------------------------------- */

static bool available(void)
{
#if defined(__AVX512F__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return true;
#endif
}

static size_t scratch_bytes(const sb_problem *p, int64_t block, int n_threads)
{
    return (size_t)lay_out(p, block, NULL, NULL) * (size_t)n_threads * sizeof(float);
}

static void attend(const sb_problem *p, const sb_inputs *in, const sb_pattern *pat, int64_t block,
                   const sb_outputs *out, void *scratch, int n_threads)
{
    int64_t n_rows = sb_max_rows(p, block), group = p->n_heads / p->n_kv_heads;
    int64_t floats = lay_out(p, block, NULL, NULL);
#pragma omp parallel num_threads(n_threads)
    {
        workspace w;
        (void)lay_out(p, block, (float *)scratch + omp_get_thread_num() * floats, &w);
        /* One kv head at a time keeps its K and V in cache; its long rows go first, so that the
         * last units, over which threads wait for each other, are short. */
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < p->n_batch * p->n_heads * n_rows; i++) {
            int64_t kv = i / (n_rows * group), row = n_rows - 1 - i / group % n_rows;
            attend_unit(p, in, pat, block, out, &w, kv / p->n_kv_heads, row,
                        kv % p->n_kv_heads * group + i % group);
        }
    }
}

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

extern const sb_attend_kernel JOIN(sb_cpu_portable_, SB_ISA);
const sb_attend_kernel JOIN(sb_cpu_portable_, SB_ISA) = {
    .name = "portable-" ISA_NAME,
    .isa = ISA_NAME,
    .tokens = true,
    .dense_tile = 4 * SB_DENSE_TILE, /* its strips share each tile of K and V in cache */
    .available = available,
    .scratch_bytes = scratch_bytes,
    .attend = attend,
};
