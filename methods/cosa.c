/*
 * CoSA: of the strided scores (score_strided.h), a query group gives each block
 * exp(best in the block - best of all); their sum over the row's query groups is the block's mass,
 * and a block is flagged if one of them is at least 0.999. Every row keeps block 0, the diagonal
 * block, then flagged blocks, then others, both by falling mass, ties to the lower block, while the
 * mass before them is below `top_p` of the row's. Equals dense at top_p 1.
 *
 * Source: CoSA, arXiv:2607.25291; Tencent/AngelSlim 67394ce. Its attention kernel may stop early in
 * that order; here all that is selected is attended.
 *
 * In a chunk of a prompt a row keeps what it keeps in the whole prompt if all its queries are
 * there; else the query groups with a token in the chunk decide.
 */
#include <math.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/softmax.h"
#include "methods/score_strided.h"

static const sb_param params[] = {
    SB_PARAM_BLOCK,
    {.name = "stride",
     .type = SB_INT,
     .min = 1,
     .max = 1024,
     .fallback = {"8"},
     .doc = "sampling stride S of the anti-diagonal score; divides block"},
    {.name = "top_p",
     .type = SB_REAL,
     .min = 0,
     .max = 1,
     .min_open = true,
     .solve = 1,
     .fallback = {"0.8"},
     .doc = "share of a row's mass to reach; published: 0.8 in the code, 0.95 in its configs"},
};

typedef struct cosa {
    sb_plan plan;
    sb_strided strided;
    double top_p;
    float *best; /* [n_threads, n_blocks] of one query group */
    bool *flag;  /* [n_threads, n_blocks] */
} cosa;

static sb_status cosa_check(const sb_value *values, sb_err *err)
{
    return sb_check_stride(&sb_method_cosa, values, err);
}

static void cosa_destroy(sb_plan *plan)
{
    cosa *c = (cosa *)plan;
    sb_free(c->flag);
    sb_free(c->best);
    sb_strided_free(&c->strided);
    sb_free(c);
}

static sb_status cosa_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                           sb_plan **plan, sb_err *err)
{
    const sb_method *m = &sb_method_cosa;
    sb_status st = SB_OK;
    cosa *c = sb_alloc(1, sizeof *c);
    if (!c)
        return sb_no_memory(err, "a plan");
    c->top_p = sb_real_of(m, values, "top_p");
    SB_TRY(sb_strided_plan(p, sb_int_of(m, values, "block"), sb_int_of(m, values, "stride"),
                           exec->n_threads, &c->strided, err));
    c->best = sb_alloc(exec->n_threads * c->strided.n_blocks, sizeof *c->best);
    c->flag = sb_alloc(exec->n_threads * c->strided.n_blocks, sizeof *c->flag);
    SB_CHECK(c->best && c->flag, err, SB_NO_MEMORY, "out of memory for block masses");
    c->plan.block = c->strided.block;
    c->plan.pattern_capacity = sb_causal_blocks(p, c->plan.block);
    /* A score is compared once; a block's best of a query group is compared, subtracted,
     * exponentiated, added and compared; a mass is added twice. */
    c->plan.select_flops = sb_strided_flops(&c->strided, p, 1, 5, 2);
    *plan = &c->plan;
    return SB_OK;
out:
    cosa_destroy(&c->plan);
    return st;
}

static void sum_masses(const sb_strided_row *row, float *best, bool *flag)
{
    const float flagged = 1 - 1e-3f;
    int64_t n = row->I + 1;
    for (int64_t j = 0; j < n; j++) {
        row->mass[j] = 0;
        flag[j] = false;
    }
    for (int64_t r = 0; r < row->n; r++) {
        const float *line = row->score + r * row->stride;
        int64_t seen = sb_strided_seen(row, r);
        for (int64_t j = 0; j < n; j++) {
            int64_t left = seen - j * row->per;
            best[j] = sb_row_max(line + j * row->per, left < row->per ? left : row->per);
        }
        sb_row_exp(best, n, sb_row_max(best, n));
        for (int64_t j = 0; j < n; j++) {
            row->mass[j] += best[j];
            flag[j] |= best[j] >= flagged;
        }
    }
}

static void keep_by_priority(const sb_strided_row *row, const bool *flag, double top_p)
{
    int64_t I = row->I;
    double total = 0, before = (double)row->mass[0] + (I > 0 ? (double)row->mass[I] : 0);
    for (int64_t j = 0; j <= I; j++)
        total += (double)row->mass[j];
    /* As published: rounding must not drop the last blocks of a share of 1. */
    double needed = top_p < 1 ? top_p * total : INFINITY;
    sb_strided_sort(row);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i <= I; i++) {
            int64_t j = row->order[i];
            if (j == 0 || j == I || flag[j] != (pass == 0))
                continue;
            row->keep[j] = before < needed;
            before += (double)row->mass[j];
        }
    }
    row->keep[0] = row->keep[I] = true;
}

static void fill(void *self, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                 sb_row_list *lists)
{
    const cosa *c = self;
    const sb_strided *s = &c->strided;
    bool *flag = c->flag + rows->worker * s->n_blocks;
    sb_strided_row row = sb_strided_score(s, p, in, rows);
    sum_masses(&row, c->best + rows->worker * s->n_blocks, flag);
    keep_by_priority(&row, flag, c->top_p);
    sb_strided_emit(&row, lists);
}

static sb_status cosa_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)err;
    cosa *c = (cosa *)plan;
    sb_row_job job = {.n_threads = plan->exec.n_threads, .n_at_once = 1, .fill = fill, .self = c};
    sb_strided_keys(&c->strided, &plan->problem, in);
    sb_select_rows(&job, &plan->problem, in, pat);
    return SB_OK;
}

const sb_method sb_method_cosa = {
    .name = "cosa",
    .doc = "blocks where a sampled query group has its best keys, then by mass, up to a share",
    .source = "CoSA, arXiv:2607.25291; code Tencent/AngelSlim 67394ce",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .check = cosa_check,
    .plan = cosa_plan,
    .select = cosa_select,
    .destroy = cosa_destroy,
};
