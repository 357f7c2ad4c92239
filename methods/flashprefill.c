/*
 * FlashPrefill: a block's score is the sum, over the row's queries, of exp(scale <q, mean key of
 * the block>). Every row keeps the blocks that score at least `alpha` of its best, the sink and the
 * window; the last rows keep all. Equals dense at alpha 0; at alpha 1 only the best block is added.
 *
 * Source: FlashPrefill, arXiv:2603.06199; qhfan/FlashPrefill 74e42f3, whose masks equal those of
 * the rewrite in Tencent/AngelSlim 67394ce. As in the code: a query counts for a key block only at
 * or past the block's last token, so for the diagonal block the row's last query alone; queries
 * past the last token count as zero vectors; sink and window are rounded down to whole blocks, at
 * least one.
 *
 * In a chunk of a prompt the last rows are the whole prompt's. A row keeps what it keeps in the
 * whole prompt if all its queries are there; queries before the chunk do not count.
 */
#include <omp.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/score.h"
#include "methods/kernels/cpu/softmax.h"
#include "methods/stages.h"

static const sb_param params[] = {
    SB_PARAM_BLOCK,
    {.name = "alpha",
     .type = SB_REAL,
     .min = 0,
     .max = 1,
     .solve = -1,
     .fallback = {"0.2"},
     .doc = "share of a row's largest score that a block must reach; published: 0.2 by AngelSlim, "
            "0.18 (Llama), 0.08 (Qwen2), 0.12 (Qwen3-MoE) by the authors"},
    {.name = "sink",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 30,
     .fallback = {"256"},
     .doc = "first tokens always kept, rounded down to blocks, at least one"},
    {.name = "window",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 30,
     .fallback = {"512"},
     .doc = "last tokens always kept, rounded down to blocks, at least the diagonal block"},
    {.name = "last_full",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 30,
     .fallback = {"2"},
     .doc = "last rows of the prompt that keep every block"},
};

typedef struct flashprefill {
    sb_plan plan;
    double alpha;
    int64_t sinks, window, last_full; /* blocks */
    int64_t n_blocks, length;         /* key blocks of the longest sequence; floats of a token */
    float *means;                     /* [B, Hkv, n_blocks, length] of the keys */
    /* Each thread's room for a row of blocks. */
    float *queries; /* [n_threads, block, length] */
    float *score;   /* [n_threads, n_blocks, block] */
    float *sum;     /* [n_threads, n_blocks] */
} flashprefill;

static void flashprefill_destroy(sb_plan *plan)
{
    flashprefill *f = (flashprefill *)plan;
    sb_free(f->sum);
    sb_free(f->score);
    sb_free(f->queries);
    sb_free(f->means);
    sb_free(f);
}

static bool keeps_all(const flashprefill *f, const sb_problem *p, int64_t b, int64_t I)
{
    return I >= sb_ceil_div(sb_prompt_len(p, b), f->plan.block) - f->last_full;
}

/* The means; then of each query and block before its own a product, scaled, compared, subtracted,
 * exponentiated and added, as of the last query and its own block; then a comparison and a product
 * for the row's maximum and its threshold. */
static double flops_of(const flashprefill *f, const sb_problem *p)
{
    double flops = 0, d = (double)p->dim, block = (double)f->plan.block;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t first = sb_first_block(p, b, f->plan.block), rows = sb_n_rows(p, b, f->plan.block);
        flops += (double)(sb_kv_len(p, b) * p->n_kv_heads) * d;
        for (int64_t I = first; I < first + rows; I++)
            if (!keeps_all(f, p, b, I))
                flops += (double)p->n_heads *
                         ((block * (double)I + 1) * (2 * d + 5) + 2 * (double)(I + 1));
    }
    return flops;
}

static sb_status flashprefill_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                                   sb_plan **plan, sb_err *err)
{
    const sb_method *m = &sb_method_flashprefill;
    sb_status st = SB_OK;
    flashprefill *f = sb_alloc(1, sizeof *f);
    if (!f)
        return sb_no_memory(err, "a plan");
    int64_t block = sb_int_of(m, values, "block");
    int64_t sinks = sb_int_of(m, values, "sink") / block;
    int64_t window = sb_int_of(m, values, "window") / block;
    f->plan.block = block;
    f->alpha = sb_real_of(m, values, "alpha");
    f->sinks = sinks > 1 ? sinks : 1;
    f->window = window > 1 ? window : 1;
    f->last_full = sb_int_of(m, values, "last_full");
    f->n_blocks = sb_ceil_div(p->kv_len, block);
    f->length = sb_pad_lanes(p->dim);
    f->means = sb_alloc(p->n_batch * p->n_kv_heads * f->n_blocks * f->length, sizeof *f->means);
    f->queries = sb_alloc(exec->n_threads * block * f->length, sizeof *f->queries);
    f->score = sb_alloc(exec->n_threads * block * f->n_blocks, sizeof *f->score);
    f->sum = sb_alloc(exec->n_threads * f->n_blocks, sizeof *f->sum);
    SB_CHECK(f->means && f->queries && f->score && f->sum, err, SB_NO_MEMORY,
             "out of memory for block scores");
    f->plan.pattern_capacity = sb_causal_blocks(p, block);
    f->plan.select_flops = flops_of(f, p);
    *plan = &f->plan;
    return SB_OK;
out:
    flashprefill_destroy(&f->plan);
    return st;
}

static const void *token_at(const void *x, sb_dtype dtype, int64_t token, int64_t dim)
{
    return (const char *)x + (size_t)(token * dim) * sb_dtype_bytes(dtype);
}

static void average_keys(flashprefill *f, const sb_problem *p, const sb_inputs *in)
{
    int64_t block = f->plan.block, n = p->n_batch * p->n_kv_heads * f->n_blocks;
#pragma omp parallel for num_threads(f->plan.exec.n_threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        int64_t head = i / f->n_blocks, from = i % f->n_blocks * block;
        int64_t left = sb_kv_len(p, head / p->n_kv_heads) - from;
        if (left <= 0)
            continue;
        int64_t n_tokens = left < block ? left : block;
        float *mean = f->means + i * f->length;
        float *line = f->queries + omp_get_thread_num() * block * f->length;
        sb_group_sums(p->dtype, token_at(in->k, p->dtype, head * p->kv_len + from, p->dim),
                      n_tokens, p->dim, 0, 1, false, line, mean);
        for (int64_t c = 0; c < p->dim; c++)
            mean[c] /= (float)n_tokens;
    }
}

/* Queries of the row to the thread's room, and zero vectors for those past the last token; how
 * many there are. */
static int64_t gather_queries(const flashprefill *f, const sb_problem *p, const sb_inputs *in,
                              const sb_rows *rows, float *queries)
{
    int64_t t0, t1, start = sb_kv_len(p, rows->b) - sb_q_len(p, rows->b);
    sb_row_span(p, rows->b, f->plan.block, rows->r, &t0, &t1);
    int64_t n = (rows->first + 1) * f->plan.block - (start + t0);
    memset(queries, 0, (size_t)(n * f->length) * sizeof *queries);
    for (int64_t t = t0; t < t1; t++) {
        int64_t at = (rows->b * p->n_heads + rows->h) * p->q_len + t;
        sb_to_f32(p->dtype, token_at(in->q, p->dtype, at, p->dim), queries + (t - t0) * f->length,
                  p->dim);
    }
    return n;
}

/* sum [I + 1] = the score of each key block, over a common factor. */
static void score_blocks(const flashprefill *f, const sb_problem *p, const sb_inputs *in,
                         const sb_rows *rows, float *sum)
{
    int64_t block = f->plan.block, I = rows->first;
    int64_t kv_head = rows->b * p->n_kv_heads + rows->h / (p->n_heads / p->n_kv_heads);
    const float *means = f->means + kv_head * f->n_blocks * f->length;
    float *queries = f->queries + rows->worker * block * f->length, gain[SB_SCORE_ROWS];
    float *score = f->score + rows->worker * f->n_blocks * block;
    int64_t n = gather_queries(f, p, in, rows, queries);
    for (int r = 0; r < SB_SCORE_ROWS; r++)
        gain[r] = (float)p->scale;
    for (int64_t j = 0; j <= I; j += SB_SCORE_ROWS)
        sb_score_rows(means + j * f->length, I + 1 - j < SB_SCORE_ROWS ? I + 1 - j : SB_SCORE_ROWS,
                      queries, n, f->length, gain, block, score + j * block);
    float *diagonal = score + I * block + n - 1, max = *diagonal;
    for (int64_t j = 0; j < I; j++) {
        float own = sb_row_max(score + j * block, n);
        max = own > max ? own : max;
    }
    for (int64_t j = 0; j < I; j++)
        sum[j] = sb_row_exp(score + j * block, n, max);
    sum[I] = sb_row_exp(diagonal, 1, max);
}

static void fill(void *self, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                 sb_row_list *list)
{
    const flashprefill *f = self;
    int64_t I = rows->first;
    float *sum = f->sum + rows->worker * f->n_blocks;
    bool all = keeps_all(f, p, rows->b, I);
    double least = 0;
    if (!all) {
        score_blocks(f, p, in, rows, sum);
        least = f->alpha * (double)sb_row_max(sum, I + 1);
    }
    for (int64_t j = 0; j <= I; j++)
        if (all || j < f->sinks || I - j < f->window || (double)sum[j] >= least)
            list->col[list->n++] = (int32_t)j;
}

static sb_status flashprefill_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat,
                                     sb_err *err)
{
    (void)err;
    flashprefill *f = (flashprefill *)plan;
    sb_row_job job = {.n_threads = plan->exec.n_threads, .n_at_once = 1, .fill = fill, .self = f};
    average_keys(f, &plan->problem, in);
    sb_select_rows(&job, &plan->problem, in, pat);
    return SB_OK;
}

const sb_method sb_method_flashprefill = {
    .name = "flashprefill",
    .doc = "blocks whose mean key scores within a factor of the row's best, sinks and a window",
    .source = "FlashPrefill, arXiv:2603.06199; code qhfan/FlashPrefill 74e42f3",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .plan = flashprefill_plan,
    .select = flashprefill_select,
    .destroy = flashprefill_destroy,
};
