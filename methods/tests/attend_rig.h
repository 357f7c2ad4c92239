#ifndef SB_ATTEND_RIG_H
#define SB_ATTEND_RIG_H

/* Attention written by the definition, and one run of a kernel on guarded buffers, for the tests of
 * the CPU kernels. */

#include <math.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/tests/check.h"
#include "methods/kernels/cpu/attend.h"

enum { GUARD = 64, POISON = 0xff /* 0xff bytes are a NaN in every dtype */ };

typedef struct shape {
    int64_t n_batch, n_heads, n_kv_heads, q_len, kv_len, dim, dim_v, block;
    int64_t q_lens[3], kv_lens[3]; /* ragged when q_lens[0] > 0 */
} shape;

/* ---- data -------------------------------------------------------------------------------- */

static uint64_t random_state;

static inline double uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

static inline double normal(void)
{
    return sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform());
}

typedef struct setup {
    sb_problem p;
    int64_t block;
    void *tensor[3];  /* q, k, v in dtype */
    float *exact[3];  /* the same values */
    double *o, *lse;  /* oracle */
    sb_pattern pat;   /* random */
    sb_pattern whole; /* every causal block */
} setup;

static inline int64_t tensor_rows(const sb_problem *p, int i)
{
    return i == 0 ? p->n_batch * p->n_heads * p->q_len : p->n_batch * p->n_kv_heads * p->kv_len;
}

/* Rows past a sequence's length hold NaN: whoever reads them shows it. */
static inline bool row_is_valid(const sb_problem *p, int i, int64_t row)
{
    if (i == 0)
        return row % p->q_len < sb_q_len(p, row / p->q_len / p->n_heads);
    return row % p->kv_len < sb_kv_len(p, row / p->kv_len / p->n_kv_heads);
}

static inline void fill_tensor(setup *s, int i, double mean)
{
    const sb_problem *p = &s->p;
    int64_t dim = i == 2 ? p->dim_v : p->dim, n = tensor_rows(p, i) * dim;
    s->tensor[i] = sb_alloc(n, 4);
    s->exact[i] = sb_alloc(n, 4);
    for (int64_t j = 0; j < n; j++)
        s->exact[i][j] = row_is_valid(p, i, j / dim) ? (float)(mean + normal()) : (float)NAN;
    sb_from_f32(p->dtype, s->exact[i], s->tensor[i], n);
    sb_to_f32(p->dtype, s->tensor[i], s->exact[i], n);
}

/* Each block below the diagonal kept with probability `share`. */
static inline void random_pattern(const sb_problem *p, double share, sb_pattern *pat)
{
    int64_t n = 0;
    for (int64_t b = 0; b < p->n_batch; b++)
        for (int64_t h = 0; h < p->n_heads; h++)
            for (int64_t r = 0; r < pat->n_rows; r++) {
                int64_t last = sb_first_block(p, b, pat->block) + r;
                if (r < sb_n_rows(p, b, pat->block))
                    for (int64_t j = 0; j <= last; j++)
                        if (j == last || uniform() < share)
                            pat->col[n++] = (int32_t)j;
                pat->row_ptr[sb_pattern_row(pat, b, h, r) + 1] = n;
            }
}

static inline bool make_setup(setup *s, const shape *x, sb_dtype dtype)
{
    sb_problem p = {.n_batch = x->n_batch,
                    .n_heads = x->n_heads,
                    .n_kv_heads = x->n_kv_heads,
                    .q_len = x->q_len,
                    .kv_len = x->kv_len,
                    .dim = x->dim,
                    .dim_v = x->dim_v,
                    .dtype = dtype,
                    .scale = 1 / sqrt((double)x->dim),
                    .q_lens = x->q_lens[0] ? x->q_lens : NULL,
                    .kv_lens = x->q_lens[0] ? x->kv_lens : NULL};
    *s = (setup){.p = p, .block = x->block};
    random_state = (uint64_t)(x->q_len * 1000 + x->dim);
    for (int i = 0; i < 3; i++)
        fill_tensor(s, i, 0);
    s->o = sb_alloc(tensor_rows(&p, 0) * p.dim_v, sizeof *s->o);
    s->lse = sb_alloc(tensor_rows(&p, 0), sizeof *s->lse);
    int64_t all = sb_causal_blocks(&p, x->block);
    if (sb_pattern_alloc(&p, x->block, all, &s->pat, NULL) != SB_OK ||
        sb_pattern_alloc(&p, x->block, all, &s->whole, NULL) != SB_OK)
        return false;
    random_pattern(&p, .4, &s->pat);
    sb_pattern_fill_causal(&p, &s->whole);
    return true;
}

static inline void free_setup(setup *s)
{
    sb_pattern_free(&s->whole);
    sb_pattern_free(&s->pat);
    sb_free(s->lse);
    sb_free(s->o);
    for (int i = 0; i < 3; i++) {
        sb_free(s->exact[i]);
        sb_free(s->tensor[i]);
    }
}

/* ---- the oracle: the definition, in double ----------------------------------------------- */

static inline bool kept(const sb_pattern *pat, int64_t list, int64_t key)
{
    for (int64_t i = pat->row_ptr[list]; i < pat->row_ptr[list + 1]; i++)
        if (pat->col[i] == key / pat->block)
            return !pat->tokens || pat->tokens[i] >> (key % pat->block) & 1;
    return false;
}

static inline void oracle_row(setup *s, const sb_pattern *pat, int64_t b, int64_t h, int64_t t,
                              double *w)
{
    const sb_problem *p = &s->p;
    int64_t n_q = p->q_lens ? p->q_lens[b] : p->q_len, n_k = p->kv_lens ? p->kv_lens[b] : p->kv_len;
    int64_t position = n_k - n_q + t, kv_head = h * p->n_kv_heads / p->n_heads;
    int64_t at = (b * p->n_heads + h) * p->q_len + t;
    const float *q = s->exact[0] + at * p->dim;
    const float *k = s->exact[1] + (b * p->n_kv_heads + kv_head) * p->kv_len * p->dim;
    const float *v = s->exact[2] + (b * p->n_kv_heads + kv_head) * p->kv_len * p->dim_v;
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j <= position; j++) {
        w[j] = 0;
        for (int64_t c = 0; c < p->dim; c++)
            w[j] += (double)q[c] * (double)k[j * p->dim + c];
        w[j] *= p->scale;
        if (pat) {
            int64_t row = position / pat->block - (n_k - n_q) / pat->block;
            if (!kept(pat, (b * p->n_heads + h) * pat->n_rows + row, j))
                w[j] = -INFINITY;
        }
        max = fmax(max, w[j]);
    }
    for (int64_t j = 0; j <= position; j++)
        sum += w[j] = exp(w[j] - max);
    for (int64_t c = 0; c < p->dim_v; c++)
        s->o[at * p->dim_v + c] = 0;
    for (int64_t j = 0; j <= position; j++)
        for (int64_t c = 0; c < p->dim_v; c++)
            s->o[at * p->dim_v + c] += w[j] / sum * (double)v[j * p->dim_v + c];
    s->lse[at] = max + log(sum);
}

static inline void oracle(setup *s, const sb_pattern *pat)
{
    double *w = sb_alloc(s->p.kv_len, sizeof *w);
    for (int64_t b = 0; b < s->p.n_batch; b++)
        for (int64_t h = 0; h < s->p.n_heads; h++)
            for (int64_t t = 0; t < (s->p.q_lens ? s->p.q_lens[b] : s->p.q_len); t++)
                oracle_row(s, pat, b, h, t, w);
    sb_free(w);
}

/* ---- running a kernel on guarded buffers ------------------------------------------------- */

typedef struct result {
    int64_t o_bytes, lse_bytes;
    unsigned char *o, *lse; /* GUARD bytes before and after */
} result;

static inline unsigned char *poisoned(int64_t n_bytes)
{
    unsigned char *block = sb_alloc(n_bytes + 2 * GUARD, 1);
    memset(block, POISON, (size_t)n_bytes + 2 * GUARD);
    return block;
}

static inline bool untouched(const unsigned char *x, int64_t n_bytes)
{
    for (int64_t i = 0; i < n_bytes; i++)
        if (x[i] != POISON)
            return false;
    return true;
}

static inline bool guards_hold(const unsigned char *block, int64_t n_bytes)
{
    return untouched(block, GUARD) && untouched(block + GUARD + n_bytes, GUARD);
}

static inline result run(const sb_attend_kernel *kernel, const setup *s, const sb_pattern *pat,
                         int n_threads)
{
    const sb_problem *p = &s->p;
    int64_t rows = tensor_rows(p, 0);
    result x = {.o_bytes = rows * p->dim_v * (int64_t)sb_dtype_bytes(p->dtype),
                .lse_bytes = rows * (int64_t)sizeof(float)};
    x.o = poisoned(x.o_bytes);
    x.lse = poisoned(x.lse_bytes);
    int64_t scratch_bytes = (int64_t)kernel->scratch_bytes(p, s->block, n_threads);
    unsigned char *scratch = poisoned(scratch_bytes);
    sb_inputs in = {s->tensor[0], s->tensor[1], s->tensor[2]};
    sb_outputs out = {x.o + GUARD, (float *)(void *)(x.lse + GUARD)};
    kernel->attend(p, &in, pat, s->block, &out, scratch + GUARD, n_threads);
    EXPECT(guards_hold(x.o, x.o_bytes));
    EXPECT(guards_hold(x.lse, x.lse_bytes));
    EXPECT(guards_hold(scratch, scratch_bytes));
    sb_free(scratch);
    return x;
}

static inline void free_result(result *x)
{
    sb_free(x->lse);
    sb_free(x->o);
}

static inline bool same_bits(const result *a, const result *b)
{
    return memcmp(a->o, b->o, (size_t)a->o_bytes + 2 * GUARD) == 0 &&
           memcmp(a->lse, b->lse, (size_t)a->lse_bytes + 2 * GUARD) == 0;
}

/* Relative L2 error over all rows, worst row, worst LSE; infinite where a value is not finite. */
typedef struct error {
    double all, row, lse;
} error;

static inline error compare(const setup *s, const result *x)
{
    const sb_problem *p = &s->p;
    int64_t dim = p->dim_v, bytes = (int64_t)sb_dtype_bytes(p->dtype);
    double err2 = 0, ref2 = 0;
    error e = {0};
    float *o = sb_alloc(dim, sizeof *o);
    for (int64_t i = 0; i < tensor_rows(p, 0); i++) {
        const unsigned char *o_row = x->o + GUARD + i * dim * bytes,
                            *lse_at = x->lse + GUARD + 4 * i;
        if (!row_is_valid(p, 0, i)) {
            EXPECT(untouched(o_row, dim * bytes) && untouched(lse_at, 4));
            continue;
        }
        double row_err2 = 0, row_ref2 = 0;
        sb_to_f32(p->dtype, o_row, o, dim);
        for (int64_t c = 0; c < dim; c++) {
            row_err2 += pow((double)o[c] - s->o[i * dim + c], 2);
            row_ref2 += pow(s->o[i * dim + c], 2);
        }
        float lse;
        memcpy(&lse, lse_at, sizeof lse);
        double lse_err = fabs((double)lse - s->lse[i]) / fmax(1, fabs(s->lse[i]));
        if (!isfinite(row_err2) || !isfinite(lse_err))
            row_err2 = lse_err = INFINITY;
        err2 += row_err2;
        ref2 += row_ref2;
        e.row = fmax(e.row, sqrt(row_err2 / row_ref2));
        e.lse = fmax(e.lse, lse_err);
    }
    sb_free(o);
    e.all = sqrt(err2 / ref2);
    return e;
}

/* ---- a kernel against the oracle --------------------------------------------------------- */

static inline double limit_of(sb_dtype dtype)
{
    return dtype == SB_F32 ? 1e-6 : dtype == SB_BF16 ? 4e-3 : 5e-4;
}

/* In bfloat16 a kernel may take exponentials that are exact to 1.1e-4 only. */
static inline double lse_limit_of(sb_dtype dtype)
{
    return dtype == SB_BF16 ? 1.1e-4 : 2e-6;
}

static const char *asked_isa; /* NULL: every level */
static int n_checked;

static inline bool is_asked(const sb_attend_kernel *kernel, bool tokens)
{
    return (!asked_isa || strcmp(kernel->isa, asked_isa) == 0) && (kernel->tokens || !tokens);
}

static inline void check_kernel(const sb_attend_kernel *kernel, const setup *s,
                                const sb_pattern *pat)
{
    n_checked++;
    result one = run(kernel, s, pat, 1), two = run(kernel, s, pat, 2);
    error e = compare(s, &one);
    const sb_problem *p = &s->p;
    /* One row may cancel more than the whole; the floor of one is still rounding. */
    EXPECT_MSG(e.all <= limit_of(p->dtype) && e.row <= 8 * limit_of(p->dtype) &&
                   e.lse <= lse_limit_of(p->dtype),
               "%s %s %s T %d S %d D %d block %d: rel L2 %.2e, row %.2e, LSE %.2e", kernel->name,
               sb_dtype_name(p->dtype),
               !pat          ? "dense"
               : pat->tokens ? "tokens"
                             : "blocks",
               (int)p->q_len, (int)p->kv_len, (int)p->dim, (int)s->block, e.all, e.row, e.lse);
    EXPECT(same_bits(&one, &two));
    if (!pat) {
        result all = run(kernel, s, &s->whole, 2);
        EXPECT(same_bits(&one, &all));
        free_result(&all);
    }
    free_result(&two);
    free_result(&one);
}

static inline void check_kernels(const setup *s, const sb_pattern *pat)
{
    int n;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n);
    bool tokens = pat && pat->tokens;
    for (int i = 0; i < n; i++)
        if (is_asked(kernels[i], tokens) && sb_attend_runs(kernels[i], &s->p, s->block))
            check_kernel(kernels[i], s, pat);
}

#endif
