#include "harness/reference.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>

#include "harness/mem.h"

/* Wider instructions where the CPU has them; the lanes, and so the bits, stay the same. */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

enum { LANES = 8, BATCH = 4 }; /* doubles to a vector; query tokens that share a pass over K, V */

typedef double vd __attribute__((vector_size(LANES * sizeof(double))));

/* By pointer: passing vectors by value has an ABI of its own for each instruction set. */
static inline double sum_lanes(const vd *v)
{
    double x[LANES];
    memcpy(x, v, sizeof x);
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

/* s[r][j] = scale q[r] . k[j] for keys j0 <= j < j1; q and k rows are n_vec vectors. */
CLONES
static void score_keys(const vd *q, const vd *k, int64_t n_vec, int64_t n_queries, int64_t j0,
                       int64_t j1, double scale, double *s, int64_t s_row)
{
    for (int64_t j = j0; j < j1; j++)
        for (int64_t r = 0; r < n_queries; r++) {
            vd sum = {0};
            for (int64_t c = 0; c < n_vec; c++)
                sum += q[r * n_vec + c] * k[j * n_vec + c];
            s[r * s_row + j] = scale * sum_lanes(&sum);
        }
}

/* o[r] += sum_j p[r][j] v[j] for keys j0 <= j < j1. */
CLONES
static void add_values(const double *p, int64_t p_row, const vd *v, int64_t n_vec,
                       int64_t n_queries, int64_t j0, int64_t j1, vd *o)
{
    for (int64_t j = j0; j < j1; j++)
        for (int64_t r = 0; r < n_queries; r++) {
            double weight = p[r * p_row + j];
            for (int64_t c = 0; c < n_vec; c++)
                o[r * n_vec + c] += weight * v[j * n_vec + c];
        }
}

static int64_t vectors(int64_t n)
{
    return sb_ceil_div(n, LANES);
}

/* Row `at` of a tensor [.., dim] as float64, padded with zeros to whole vectors. */
static void widen_row(sb_dtype dtype, const void *tensor, int64_t at, int64_t dim, float *buffer,
                      double *dst)
{
    sb_to_f32(dtype, (const char *)tensor + at * dim * (int64_t)sb_dtype_bytes(dtype), buffer, dim);
    for (int64_t c = 0; c < vectors(dim) * LANES; c++)
        dst[c] = c < dim ? (double)buffer[c] : 0.0;
}

/* ---- one batch of query tokens of one head ------------------------------------------------ */

typedef struct span {
    int64_t from, to;
} span;

/* One thread's memory. */
typedef struct workspace {
    float *row;  /* [max(D, Dv)] */
    double *q;   /* [BATCH][D], padded */
    double *o;   /* [BATCH][Dv], padded */
    double *s;   /* [BATCH][S] */
    span *spans; /* key ranges that all queries of the batch attend */
} workspace;

typedef struct task {
    const sb_problem *p;
    const sb_inputs *in;
    const sb_pattern *pat;
    const double *k, *v; /* [S][D], [S][Dv] of the kv head at hand, padded */
    int64_t first_position;
    sb_reference *ref;
} task;

/* Append the runs of kept tokens of keys [from, to) to n spans; returns their new number. */
static int64_t add_runs(uint64_t tokens, int64_t from, int64_t to, span *spans, int64_t n)
{
    bool inside = false;
    for (int64_t j = from; j < to; j++) {
        bool keeps = tokens >> (j - from) & 1;
        if (keeps && !inside)
            spans[n++].from = j;
        if (keeps)
            spans[n - 1].to = j + 1;
        inside = keeps;
    }
    return n;
}

/* Key ranges below `limit` of head h's list for the query token at position limit - 1. */
static int64_t list_spans(const task *t, int64_t h, int64_t limit, span *spans)
{
    if (!t->pat) {
        spans[0] = (span){0, limit};
        return 1;
    }
    int64_t block = t->pat->block, row = (limit - 1) / block - t->first_position / block, n = 0;
    int64_t list = sb_pattern_row(t->pat, 0, h, row);
    for (int64_t i = t->pat->row_ptr[list]; i < t->pat->row_ptr[list + 1]; i++) {
        int64_t from = t->pat->col[i] * block, to = from + block;
        to = to < limit ? to : limit;
        if (t->pat->tokens)
            n = add_runs(t->pat->tokens[i], from, to, spans, n);
        else
            spans[n++] = (span){from, to};
    }
    return n;
}

/* Softmax of one row in place over its spans and the keys [tail.from, tail.to); returns its LSE. */
static double normalise(double *s, const span *spans, int64_t n_spans, span tail)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i <= n_spans; i++) {
        span x = i < n_spans ? spans[i] : tail;
        for (int64_t j = x.from; j < x.to; j++)
            max = s[j] > max ? s[j] : max;
    }
    for (int64_t i = 0; i <= n_spans; i++) {
        span x = i < n_spans ? spans[i] : tail;
        for (int64_t j = x.from; j < x.to; j++)
            sum += s[j] = exp(s[j] - max);
    }
    for (int64_t i = 0; i <= n_spans; i++) {
        span x = i < n_spans ? spans[i] : tail;
        for (int64_t j = x.from; j < x.to; j++)
            s[j] /= sum;
    }
    return max + log(sum);
}

/* Reference rows [i, i + n) of head h; with a pattern they are of one block row, and the keys that
 * only the later of them see are kept: a pattern keeps its queries' own tokens. */
static void attend_batch(const task *t, const workspace *w, int64_t h, int64_t i, int64_t n)
{
    const sb_problem *p = t->p;
    sb_reference *ref = t->ref;
    int64_t dim = vectors(p->dim), dim_v = vectors(p->dim_v), s_row = p->kv_len;
    const int64_t *rows = ref->rows + i;
    vd *q = (vd *)(void *)w->q, *o = (vd *)(void *)w->o;
    const vd *k = (const vd *)(const void *)t->k, *v = (const vd *)(const void *)t->v;

    int64_t common = t->first_position + rows[0] + 1;
    int64_t n_spans = list_spans(t, h, common, w->spans);
    for (int64_t r = 0; r < n; r++)
        widen_row(p->dtype, t->in->q, h * p->q_len + rows[r], p->dim, w->row,
                  w->q + r * dim * LANES);
    for (int64_t x = 0; x < n_spans; x++)
        score_keys(q, k, dim, n, w->spans[x].from, w->spans[x].to, p->scale, w->s, s_row);
    for (int64_t r = 0; r < n; r++) {
        span tail = {common, t->first_position + rows[r] + 1};
        score_keys(q + r * dim, k, dim, 1, tail.from, tail.to, p->scale, w->s + r * s_row, s_row);
        ref->lse[h * ref->n_rows + i + r] = normalise(w->s + r * s_row, w->spans, n_spans, tail);
    }
    memset(w->o, 0, (size_t)(n * dim_v) * sizeof *o);
    for (int64_t x = 0; x < n_spans; x++)
        add_values(w->s, s_row, v, dim_v, n, w->spans[x].from, w->spans[x].to, o);
    for (int64_t r = 0; r < n; r++) {
        span tail = {common, t->first_position + rows[r] + 1};
        add_values(w->s + r * s_row, s_row, v, dim_v, 1, tail.from, tail.to, o + r * dim_v);
        float *dst = ref->o + (h * ref->n_rows + i + r) * p->dim_v;
        for (int64_t c = 0; c < p->dim_v; c++)
            dst[c] = (float)w->o[r * dim_v * LANES + c];
    }
}

/* ---- all of them -------------------------------------------------------------------------- */

/* Starts of the batches, [n_batches + 1]: up to BATCH rows, of one block row under a pattern. */
static int64_t cut_batches(const task *t, int64_t *starts)
{
    const int64_t *rows = t->ref->rows;
    int64_t n = 0;
    for (int64_t i = 0; i < t->ref->n_rows; i++) {
        bool full = n == 0 || i - starts[n - 1] == BATCH;
        if (!full && t->pat)
            full = (t->first_position + rows[i]) / t->pat->block !=
                   (t->first_position + rows[i - 1]) / t->pat->block;
        if (full)
            starts[n++] = i;
    }
    starts[n] = t->ref->n_rows;
    return n;
}

static void attend_kv_head(task *t, double *k, double *v, int64_t kv_head, const int64_t *starts,
                           int64_t n_batches, const workspace *ws, int n_threads,
                           const volatile int *stop, atomic_bool *stopped)
{
    const sb_problem *p = t->p;
    int64_t n_keys = sb_kv_len(p, 0), group = p->n_heads / p->n_kv_heads;
    t->k = k;
    t->v = v;
#pragma omp parallel num_threads(n_threads)
    {
        const workspace *w = &ws[omp_get_thread_num()];
#pragma omp for
        for (int64_t j = 0; j < n_keys; j++) {
            int64_t at = kv_head * p->kv_len + j;
            widen_row(p->dtype, t->in->k, at, p->dim, w->row, k + j * vectors(p->dim) * LANES);
            widen_row(p->dtype, t->in->v, at, p->dim_v, w->row, v + j * vectors(p->dim_v) * LANES);
        }
        /* Later rows cost more: they go first. */
#pragma omp for schedule(dynamic, 1)
        for (int64_t u = 0; u < n_batches * group; u++) {
            int64_t n = n_batches - 1 - u / group;
            if (stop && *stop)
                atomic_store(stopped, true);
            if (!atomic_load_explicit(stopped, memory_order_relaxed))
                attend_batch(t, w, kv_head * group + u % group, starts[n],
                             starts[n + 1] - starts[n]);
        }
    }
}

static sb_status make_workspaces(const sb_problem *p, const sb_pattern *pat, int n_threads,
                                 workspace *ws, sb_err *err)
{
    int64_t wide = p->dim > p->dim_v ? p->dim : p->dim_v;
    /* Keys that a range takes at least, with the gap behind it. */
    int64_t span_keys = !pat ? p->kv_len : pat->tokens ? 2 : pat->block;
    int64_t n_spans = sb_ceil_div(p->kv_len, span_keys);
    for (int i = 0; i < n_threads; i++) {
        workspace *w = &ws[i];
        w->row = sb_alloc(wide, sizeof *w->row);
        w->q = sb_alloc(BATCH * vectors(p->dim) * LANES, sizeof *w->q);
        w->o = sb_alloc(BATCH * vectors(p->dim_v) * LANES, sizeof *w->o);
        w->s = sb_alloc_uninit(BATCH * p->kv_len, sizeof *w->s);
        w->spans = sb_alloc(n_spans, sizeof *w->spans);
        if (!w->row || !w->q || !w->o || !w->s || !w->spans)
            return sb_no_memory(err, "the reference's workspace");
    }
    return SB_OK;
}

static void free_workspaces(workspace *ws, int n_threads)
{
    for (int i = 0; ws && i < n_threads; i++) {
        sb_free(ws[i].spans);
        sb_free(ws[i].s);
        sb_free(ws[i].o);
        sb_free(ws[i].q);
        sb_free(ws[i].row);
    }
    sb_free(ws);
}

sb_status sb_reference_alloc(int64_t n_heads, int64_t dim_v, int64_t n_rows, sb_reference *ref,
                             sb_err *err)
{
    *ref = (sb_reference){.n_heads = n_heads, .dim_v = dim_v, .n_rows = n_rows};
    ref->rows = sb_alloc_uninit(n_rows, sizeof *ref->rows);
    ref->o = sb_alloc_uninit(n_heads * n_rows * dim_v, sizeof *ref->o);
    ref->lse = sb_alloc_uninit(n_heads * n_rows, sizeof *ref->lse);
    if (ref->rows && ref->o && ref->lse)
        return SB_OK;
    sb_reference_free(ref);
    return sb_no_memory(err, "a reference");
}

void sb_reference_free(sb_reference *ref)
{
    sb_free(ref->lse);
    sb_free(ref->o);
    sb_free(ref->rows);
    *ref = (sb_reference){0};
}

sb_status sb_reference_compute(const sb_problem *p, const sb_inputs *in, const sb_pattern *pat,
                               const int64_t *rows, int64_t n_rows, int n_threads,
                               const volatile int *stop, sb_reference *out, sb_err *err)
{
    sb_status st = SB_OK;
    double *k = NULL, *v = NULL;
    int64_t *starts = NULL;
    workspace *ws = NULL;
    atomic_bool stopped = false;
    task t = {.p = p, .in = in, .pat = pat, .ref = out};
    t.first_position = sb_kv_len(p, 0) - sb_q_len(p, 0);
    *out = (sb_reference){0};

    SB_CHECK(p->n_batch == 1, err, SB_USAGE,
             "the reference takes one sequence; got a batch of %lld", (long long)p->n_batch);
    for (int64_t i = 0; i < n_rows; i++)
        SB_CHECK(rows[i] > (i ? rows[i - 1] : -1) && rows[i] < sb_q_len(p, 0), err, SB_USAGE,
                 "reference row %lld is query %lld; expected ascending queries below %lld",
                 (long long)i, (long long)rows[i], (long long)sb_q_len(p, 0));
    SB_TRY(sb_reference_alloc(p->n_heads, p->dim_v, n_rows, out, err));
    memcpy(out->rows, rows, (size_t)n_rows * sizeof *rows);
    k = sb_alloc_uninit(p->kv_len * vectors(p->dim) * LANES, sizeof *k);
    v = sb_alloc_uninit(p->kv_len * vectors(p->dim_v) * LANES, sizeof *v);
    starts = sb_alloc(n_rows + 1, sizeof *starts);
    ws = sb_alloc(n_threads, sizeof *ws);
    if (!k || !v || !starts || !ws)
        SB_TRY(sb_no_memory(err, "the reference's workspace"));
    SB_TRY(make_workspaces(p, pat, n_threads, ws, err));

    int64_t n_batches = cut_batches(&t, starts);
    for (int64_t kv_head = 0; kv_head < p->n_kv_heads; kv_head++)
        attend_kv_head(&t, k, v, kv_head, starts, n_batches, ws, n_threads, stop, &stopped);
    SB_CHECK(!stopped, err, SB_INTERRUPTED, "interrupted while computing the reference");
out:
    free_workspaces(ws, n_threads);
    sb_free(starts);
    sb_free(v);
    sb_free(k);
    if (st != SB_OK)
        sb_reference_free(out);
    return st;
}

/* ---- parts and samples -------------------------------------------------------------------- */

sb_status sb_reference_prefix(const sb_reference *ref, int64_t limit, sb_reference *out,
                              sb_err *err)
{
    int64_t n = 0;
    while (n < ref->n_rows && ref->rows[n] < limit)
        n++;
    sb_status st = sb_reference_alloc(ref->n_heads, ref->dim_v, n, out, err);
    if (st != SB_OK)
        return st;
    memcpy(out->rows, ref->rows, (size_t)n * sizeof *ref->rows);
    for (int64_t h = 0; h < ref->n_heads; h++) {
        memcpy(out->o + h * n * ref->dim_v, ref->o + h * ref->n_rows * ref->dim_v,
               (size_t)(n * ref->dim_v) * sizeof *ref->o);
        memcpy(out->lse + h * n, ref->lse + h * ref->n_rows, (size_t)n * sizeof *ref->lse);
    }
    return SB_OK;
}

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

int64_t sb_sample_rows(int64_t total, int64_t n, uint64_t seed, int64_t *rows)
{
    if (n == 0 || n >= total) {
        for (int64_t i = 0; i < total; i++)
            rows[i] = i;
        return total;
    }
    /* One row from each of n - 2 equal cells between the first and the last. */
    for (int64_t i = 0; i + 2 < n; i++) {
        int64_t from = 1 + i * (total - 2) / (n - 2), to = 1 + (i + 1) * (total - 2) / (n - 2);
        rows[i + 1] = from + (int64_t)(mix(mix(seed) + (uint64_t)i) % (uint64_t)(to - from));
    }
    rows[0] = 0; /* overwritten when n == 1 */
    rows[n - 1] = total - 1;
    return n;
}
