/*
 * MInference, two of its patterns.
 *
 * vertical_slash: the last 64 queries choose for all rows. Of their attention probabilities, summed
 * by key and by offset (query - key), the `vertical` largest keys and the `slash` largest offsets
 * are kept, with the first 30 keys and the nearest 100 offsets before all others.
 * block_sparse: each row keeps the `top_k` key blocks whose mean key has the largest product with
 * the row's mean query. The authors force neither the diagonal nor a sink; here the diagonal is
 * added where it lost.
 *
 * Source: arXiv:2407.02490; microsoft/MInference fb56c91 (minference_prefill_kernel,
 * csrc/vertical_slash_index.cu, block_sparse_flash_attention.py). Where the code differs from the
 * paper: its kernel attends more than the chosen columns and diagonals. In a tile of 64 queries a
 * diagonal becomes a run of 64 keys, not aligned to 64 and attended whole; a run grows by another
 * 64 when the next would start inside it or right after it. Form `tokens` keeps just those keys;
 * form `blocks` keeps whole blocks that hold any pair of the chosen columns and diagonals. In both
 * published_pairs counts these pairs alone. block_sparse has whole blocks in either form.
 * Deviation: ties go to the lower key, offset or block; the code leaves them open.
 *
 * Published for whole prompts: of a chunk, the last queries are its own. All keys as columns, or
 * all blocks in top_k, equals `dense`; block_sparse equals `uniform` with mean scores, no sinks and
 * a window of 1, but for the last block's mean, over `block` tokens here.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/select.h"
#include "methods/last_queries.h"
#include "methods/stages.h"
#include "methods/vertical_slash.h"

enum { VERTICAL_SLASH, BLOCK_SPARSE }; /* variant */
enum { TOKENS, BLOCKS };               /* form */
enum { TILE = SB_TOKEN_BLOCK, LAST_QUERIES = 64 };
enum { LEAST_VERTICAL = 30, LEAST_SLASH = 50, FORCED_COLUMNS = 30, FORCED_DIAGONALS = 100 };

static const sb_param params[] = {
    {.name = "variant",
     .type = SB_CHOICE,
     .choices = "vertical_slash|block_sparse",
     .fallback = {"vertical_slash"},
     .doc = "columns and diagonals that the last queries choose, or blocks by their means"},
    {.name = "block",
     .type = SB_INT,
     .min = 1,
     .max = 1024,
     .fallback = {"64"},
     .doc = "query and key block size, tokens; 64 in vertical_slash with form tokens"},
    {.name = "vertical",
     .type = SB_INT,
     .min = 1,
     .max = 1 << 27,
     .fallback = {"1000"},
     .doc = "vertical_slash: key columns, at least 30 (Llama-3.1-8B: 512 with slash 2048)"},
    {.name = "slash",
     .type = SB_INT,
     .min = 1,
     .max = 1 << 27,
     .fallback = {"6096"},
     .doc = "vertical_slash: diagonals, at least 50"},
    {.name = "top_k",
     .type = SB_INT,
     .min = 1,
     .max = 1 << 27,
     .fallback = {"100"},
     .doc = "block_sparse: key blocks in a row"},
    {.name = "scale",
     .type = SB_REAL,
     .min = 0,
     .max = 64,
     .min_open = true,
     .solve = 1,
     .fallback = {"1"},
     .doc = "multiplies vertical and slash, or top_k; rounded to whole numbers, at least 1"},
    {.name = "form",
     .type = SB_CHOICE,
     .choices = "tokens|blocks",
     .fallback = {"tokens"},
     .doc = "vertical_slash: the keys that the authors' kernel visits, or whole blocks with any "
            "pair of the columns and diagonals; block_sparse: no effect"},
};

typedef struct minference {
    sb_plan plan;
    /* block_sparse */
    sb_budget budget;
    sb_score score;
    sb_topk best;
    /* vertical_slash */
    int64_t n_vertical, n_slash; /* of the longest sequence */
    sb_last_queries last;
    int32_t *vertical; /* [B, H, n_vertical] keys, ascending */
    int32_t *slash;    /* [B, H, n_slash] offsets, ascending */
    uint32_t *key;     /* [n_threads, kv_len] */
    int64_t n_blocks;
    uint64_t *row; /* [n_threads, n_blocks] what a row keeps of each block: its tokens, or 0 or 1 */
} minference;

static int64_t scaled(const sb_value *values, const char *name, int64_t least, int64_t most)
{
    const sb_method *m = &sb_method_minference;
    double n = nearbyint(sb_real_of(m, values, name) * sb_real_of(m, values, "scale"));
    return (int64_t)fmin(fmax(n, (double)least), (double)most);
}

static bool is_block_sparse(const sb_value *values)
{
    return sb_int_of(&sb_method_minference, values, "variant") == BLOCK_SPARSE;
}

static bool in_tokens(const sb_value *values)
{
    return !is_block_sparse(values) && sb_int_of(&sb_method_minference, values, "form") == TOKENS;
}

static sb_status minference_check(const sb_value *values, sb_err *err)
{
    int64_t block = sb_int_of(&sb_method_minference, values, "block");
    if (in_tokens(values) && block != TILE)
        return sb_fail(err, SB_USAGE,
                       "block is %lld; expected %d in variant vertical_slash with form tokens",
                       (long long)block, TILE);
    return SB_OK;
}

/* The last queries choose for all rows. */
static bool minference_append_invariant(const sb_value *values)
{
    return is_block_sparse(values);
}

/* ---- vertical_slash ------------------------------------------------------------------------- */

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

static sb_lines lines_of(const minference *s, const sb_problem *p, int64_t b, int64_t h)
{
    int64_t head = b * p->n_heads + h, kv_len = sb_kv_len(p, b);
    return (sb_lines){s->vertical + head * s->n_vertical, s->slash + head * s->n_slash,
                      at_most(s->n_vertical, kv_len), at_most(s->n_slash, kv_len)};
}

/* The k indices of the largest of x [n], the first n_forced before all others. */
static void keep_largest(float *x, int64_t n, int64_t n_forced, int64_t k, uint32_t *key,
                         int32_t *index)
{
    for (int64_t j = 0; j < n && j < n_forced; j++)
        x[j] = INFINITY;
    sb_topk_row(x, n, k, 0, 0, key, index);
}

static int64_t choose_lines(const minference *s, const sb_problem *p, const sb_inputs *in,
                            int64_t b, int64_t h, int worker)
{
    int64_t kv_len = sb_kv_len(p, b), head = b * p->n_heads + h;
    sb_lines l = lines_of(s, p, b, h);
    uint32_t *key = s->key + worker * p->kv_len;
    sb_last_sums sums = sb_last_queries_sums(&s->last, p, in, b, h, worker);
    keep_largest(sums.column, kv_len, FORCED_COLUMNS, l.n_vertical, key,
                 s->vertical + head * s->n_vertical);
    keep_largest(sums.diagonal, kv_len, FORCED_DIAGONALS, l.n_slash, key,
                 s->slash + head * s->n_slash);
    return sb_lines_pairs(&l, kv_len - sb_q_len(p, b), kv_len);
}

static void fill(void *self, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                 sb_row_list *lists)
{
    (void)in;
    const minference *s = self;
    int64_t block = s->plan.block, kv_len = sb_kv_len(p, rows->b), from, to;
    uint64_t *row = s->row + rows->worker * s->n_blocks;
    sb_lines l = lines_of(s, p, rows->b, rows->h);
    memset(row, 0, (size_t)(rows->first + 1) * sizeof *row);
    sb_row_span(p, rows->b, block, rows->r, &from, &to);
    if (lists->tokens)
        sb_lines_mark_tokens(&l, (rows->first + 1) * TILE,
                             at_most((rows->first + 1) * TILE, kv_len), row);
    else
        sb_lines_mark_blocks(&l, block, kv_len - sb_q_len(p, rows->b) + from,
                             kv_len - sb_q_len(p, rows->b) + to, row);
    for (int64_t j = 0; j <= rows->first; j++) {
        if (!row[j])
            continue;
        if (lists->tokens)
            lists->tokens[lists->n] = row[j];
        lists->col[lists->n++] = (int32_t)j;
    }
}

/* ---- the method ----------------------------------------------------------------------------- */

static double vertical_slash_flops(const minference *s, const sb_problem *p)
{
    double flops = 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        /* Comparisons: quickselect, as sb_topk_flops counts it, then each line once a row. */
        double choose = 2 * 4 * (double)sb_kv_len(p, b);
        double mark = (double)(s->n_vertical + s->n_slash) * (double)sb_n_rows(p, b, s->plan.block);
        flops += sb_last_queries_flops(&s->last, p, b) + (choose + mark) * (double)p->n_heads;
    }
    return flops;
}

static sb_status plan_vertical_slash(minference *s, const sb_problem *p, const sb_exec *exec,
                                     const sb_value *values, sb_err *err)
{
    int64_t n_heads = p->n_batch * p->n_heads;
    if (s->plan.tokens && exec->backend == SB_CUDA)
        return sb_fail(err, SB_UNSUPPORTED,
                       "token patterns attend on the CPU alone; expected form: blocks");
    s->n_vertical = at_most(scaled(values, "vertical", LEAST_VERTICAL, INT32_MAX), p->kv_len);
    s->n_slash = at_most(scaled(values, "slash", LEAST_SLASH, INT32_MAX), p->kv_len);
    s->n_blocks = sb_ceil_div(p->kv_len, s->plan.block);
    s->plan.pattern_capacity = sb_causal_blocks(p, s->plan.block);
    s->vertical = sb_alloc(n_heads * s->n_vertical, sizeof *s->vertical);
    s->slash = sb_alloc(n_heads * s->n_slash, sizeof *s->slash);
    s->key = sb_alloc(exec->n_threads * p->kv_len, sizeof *s->key);
    s->row = sb_alloc(exec->n_threads * s->n_blocks, sizeof *s->row);
    if (!s->vertical || !s->slash || !s->key || !s->row)
        return sb_no_memory(err, "columns and diagonals");
    sb_status st = sb_last_queries_plan(p, LAST_QUERIES, exec->n_threads, &s->last, err);
    if (st == SB_OK)
        s->plan.select_flops = vertical_slash_flops(s, p);
    return st;
}

static sb_status plan_block_sparse(minference *s, const sb_problem *p, const sb_exec *exec,
                                   const sb_value *values, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_block_topk_spec spec = {
        .block = s->plan.block,
        .stride = 1, /* sums of whole blocks, zero-padded */
        .schedule = {.k_start = (double)scaled(values, "top_k", 1, INT32_MAX), .mu = 1},
        .window = 1};
    SB_TRY(sb_budget_plan(p, &spec, &s->budget, err));
    SB_TRY(sb_score_plan(p, &spec, exec->n_threads, &s->score, err));
    SB_TRY(sb_topk_plan(p, spec.block, exec->n_threads, &s->best, err));
    s->plan.pattern_capacity = s->budget.capacity;
    s->plan.select_flops =
        sb_score_flops(&s->score, p, &s->budget) + sb_topk_flops(p, spec.block, &s->budget);
out:
    return st;
}

static void minference_destroy(sb_plan *plan)
{
    minference *s = (minference *)plan;
    sb_free(s->row);
    sb_free(s->key);
    sb_free(s->slash);
    sb_free(s->vertical);
    sb_last_queries_free(&s->last);
    sb_topk_free(&s->best);
    sb_score_free(&s->score);
    sb_budget_free(&s->budget);
    sb_free(s);
}

static sb_status minference_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                                 sb_plan **plan, sb_err *err)
{
    minference *s = sb_alloc(1, sizeof *s);
    if (!s)
        return sb_no_memory(err, "a plan");
    s->plan.block = sb_int_of(&sb_method_minference, values, "block");
    s->plan.tokens = in_tokens(values);
    sb_status st = is_block_sparse(values) ? plan_block_sparse(s, p, exec, values, err)
                                           : plan_vertical_slash(s, p, exec, values, err);
    if (st == SB_OK)
        *plan = &s->plan;
    else
        minference_destroy(&s->plan);
    return st;
}

static sb_status minference_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)err;
    minference *s = (minference *)plan;
    const sb_problem *p = &plan->problem;
    if (s->budget.k) {
        sb_score_keys(&s->score, p, in);
        sb_select_topk(&s->best, &s->score, NULL, &s->budget, p, in, pat);
        return SB_OK;
    }
    int64_t pairs = 0;
#pragma omp parallel for num_threads(plan->exec.n_threads) schedule(dynamic, 1) reduction(+ : pairs)
    for (int64_t i = 0; i < p->n_batch * p->n_heads; i++)
        pairs += choose_lines(s, p, in, i / p->n_heads, i % p->n_heads, omp_get_thread_num());
    plan->published_pairs = (double)pairs;
    sb_row_job job = {.n_threads = plan->exec.n_threads, .n_at_once = 1, .fill = fill, .self = s};
    sb_select_rows(&job, p, in, pat);
    return SB_OK;
}

const sb_method sb_method_minference = {
    .name = "minference",
    .doc = "key columns and diagonals that the last queries choose, or blocks by their means",
    .source = "MInference, arXiv:2407.02490; microsoft/MInference fb56c91",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .append_invariant = minference_append_invariant,
    .check = minference_check,
    .plan = minference_plan,
    .select = minference_select,
    .destroy = minference_destroy,
};
