/*
 * FlexPrefill: the last block of queries decides, head by head, between two patterns.
 *
 * Their attention probabilities, summed by key block, are compared with an estimate from their mean
 * query and mean-pooled keys. Where the square root of the Jensen-Shannon divergence is below tau
 * the head is query-aware: the least budget of column and diagonal blocks, and the largest pooled
 * scores of all rows together, softmaxed in each, up to gamma of their sum. Else it is
 * vertical-slash: as many column and diagonal blocks as reach gamma. Block column 0 and block
 * offset 0 are kept before all others.
 *
 * Source: arXiv:2502.20766; ByteDance-Seed/FlexPrefill a24b27b (flex_prefill_attention.py). Where
 * the code differs from the paper: budgets are counted in keys and offsets and divided by 128,
 * whatever the block, plus 1; a diagonal block (I - J = s) is kept alone, though its offsets also
 * touch the next one, and diagonals are pooled from the far end; the block that crosses gamma is
 * not kept in query-aware heads and counts in vertical-slash ones; prompts of at most two blocks or
 * min_budget are dense; a mass that underflows to 0 makes the head vertical-slash. min_budget is
 * 512 in its README, 1024 in its experiments and RULER runs (with gamma 0.95), and 0 in AngelSlim.
 * Deviation: ties go to the lower index.
 *
 * Published for whole prompts: of a chunk, the last queries are its own, at most a block, and the
 * rows of a query-aware head are the chunk's. min_budget beyond the prompt equals `dense`.
 */
#include <omp.h>

#include "harness/mem.h"
#include "methods/flexprefill_heads.h"

static const sb_param params[] = {
    SB_PARAM_BLOCK,
    {.name = "gamma",
     .type = SB_REAL,
     .min = 0,
     .max = 1,
     .min_open = true,
     .solve = 1,
     .fallback = {"0.9"},
     .doc = "share of the attention mass that budgets reach for"},
    {.name = "tau",
     .type = SB_REAL,
     .min = 0,
     .max = 1,
     .fallback = {"0.1"},
     .doc = "a head is query-aware when its root Jensen-Shannon divergence is below; 0: none"},
    {.name = "min_budget",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 27,
     .fallback = {"512"},
     .doc = "least budget of columns and of diagonals, tokens; rounded up to blocks, at least 1"},
};

typedef struct flexprefill {
    sb_plan plan;
    sb_flex_heads heads;
    bool *keep; /* [B, H, heads.head_room]: row by row, its causal blocks */
} flexprefill;

static bool flexprefill_append_invariant(const sb_value *values)
{
    (void)values;
    return false; /* the last queries choose for all rows */
}

static void fill(void *self, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                 sb_row_list *lists)
{
    (void)in;
    const flexprefill *s = self;
    const bool *keep = s->keep + (rows->b * p->n_heads + rows->h) * s->heads.head_room +
                       sb_flex_room(rows->first - rows->r, rows->r);
    for (int64_t j = 0; j <= rows->first; j++)
        if (keep[j])
            lists->col[lists->n++] = (int32_t)j;
}

static sb_status flexprefill_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat,
                                    sb_err *err)
{
    (void)err;
    flexprefill *s = (flexprefill *)plan;
    const sb_problem *p = &plan->problem;
    double flops = 0;
    sb_score_keys(&s->heads.score, p, in);
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t n_aware = 0;
#pragma omp parallel for num_threads(plan->exec.n_threads) schedule(dynamic, 1) reduction(+ : n_aware)
        for (int64_t h = 0; h < p->n_heads; h++) {
            bool *keep = s->keep + (b * p->n_heads + h) * s->heads.head_room;
            n_aware += sb_flex_choose(&s->heads, p, in, b, h, omp_get_thread_num(), keep);
        }
        flops += sb_flex_flops(&s->heads, p, b, n_aware);
    }
    plan->select_flops = flops;
    sb_row_job job = {.n_threads = plan->exec.n_threads, .n_at_once = 1, .fill = fill, .self = s};
    sb_select_rows(&job, p, in, pat);
    return SB_OK;
}

static void flexprefill_destroy(sb_plan *plan)
{
    flexprefill *s = (flexprefill *)plan;
    sb_free(s->keep);
    sb_flex_free(&s->heads);
    sb_free(s);
}

static sb_status flexprefill_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                                  sb_plan **plan, sb_err *err)
{
    const sb_method *m = &sb_method_flexprefill;
    const int64_t block = sb_int_of(m, values, "block");
    int64_t min_blocks = sb_ceil_div(sb_int_of(m, values, "min_budget"), block);
    sb_status st = SB_OK;
    flexprefill *s = sb_alloc(1, sizeof *s);
    if (!s)
        return sb_no_memory(err, "a plan");
    s->plan.block = block;
    s->plan.pattern_capacity = sb_causal_blocks(p, block);
    s->heads = (sb_flex_heads){.block = block,
                               .min_blocks = min_blocks > 1 ? min_blocks : 1,
                               .gamma = sb_real_of(m, values, "gamma"),
                               .tau = sb_real_of(m, values, "tau")};
    SB_TRY(sb_flex_plan(p, exec->n_threads, &s->heads, err));
    s->keep = sb_alloc(p->n_batch * p->n_heads * s->heads.head_room, sizeof *s->keep);
    SB_CHECK(s->keep, err, SB_NO_MEMORY, "out of memory for a block map");
    for (int64_t b = 0; b < p->n_batch; b++) /* until some heads are found to be query-aware */
        s->plan.select_flops += sb_flex_flops(&s->heads, p, b, 0);
    *plan = &s->plan;
out:
    if (st != SB_OK)
        flexprefill_destroy(&s->plan);
    return st;
}

const sb_method sb_method_flexprefill = {
    .name = "flexprefill",
    .doc = "columns and diagonals by mass, or a head's largest pooled scores, as its last queries "
           "decide",
    .source = "FlexPrefill, arXiv:2502.20766; ByteDance-Seed/FlexPrefill a24b27b",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .append_invariant = flexprefill_append_invariant,
    .plan = flexprefill_plan,
    .select = flexprefill_select,
    .destroy = flexprefill_destroy,
};
