/*
 * The ceiling: blocks chosen by the attention they really have. It attends densely first, so it is
 * no way to save time; other methods are measured against it.
 *
 * `by` mass: a block counts by its exact softmax mass, summed over the row's queries. `by` output:
 * by what it adds to the output, the sum over the row's queries of ||sum_j p_j v_j||_2.
 *
 * `scope` layer: all rows and heads of the problem share one budget, as many blocks as their rows'
 * budgets add up to; diagonal blocks are kept and counted, the rest goes to the largest. By mass no
 * other block pattern with as many blocks has a greater mean mass recall. `scope` row: every row
 * has its own budget, as in `uniform`; sinks and window count within it. A budget of all blocks
 * equals `dense`.
 *
 * Source: none, a definition. Exact means float32 scores over every causal pair with the full
 * softmax, so the cost is that of dense attention. Memory: score_mass.h. Ties go to the lower
 * sequence, head, row, block.
 */
#include <math.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/stages.h"

enum { BY_MASS, BY_OUTPUT };
enum { SCOPE_LAYER, SCOPE_ROW };

static const sb_param params[] = {
    SB_PARAM_BLOCK,
    {.name = "by",
     .type = SB_CHOICE,
     .choices = "mass|output",
     .fallback = {"mass"},
     .doc = "what a block counts by: its exact softmax mass, or the norm of what it adds to the "
            "output"},
    {.name = "scope",
     .type = SB_CHOICE,
     .choices = "layer|row",
     .fallback = {"layer"},
     .doc = "what shares a budget: all rows and heads together, or each row alone"},
    {.name = "k",
     .type = SB_BUDGET,
     .fallback = {"0.1"},
     .doc = "blocks kept in each row (scope layer: on average), or a share of n, rounded up"},
    SB_PARAM_TOTAL,
    {.name = "sinks",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 20,
     .fallback = {"0"},
     .doc = "first blocks always kept; with scope row alone"},
    {.name = "window",
     .type = SB_INT,
     .min = 1,
     .max = 1 << 20,
     .fallback = {"1"},
     .doc = "last blocks always kept, the diagonal block among them; above 1 with scope row alone"},
};

typedef struct oracle {
    sb_plan plan;
    bool by_layer;
    sb_budget budget;
    sb_topk topk; /* of scope row */
    sb_block_mass masses;
} oracle;

static sb_block_topk_spec spec_of(const sb_value *values)
{
    return sb_constant_spec(&sb_method_oracle, values);
}

static bool is_by_layer(const sb_value *values)
{
    return sb_int_of(&sb_method_oracle, values, "scope") == SCOPE_LAYER;
}

static sb_status oracle_check(const sb_value *values, sb_err *err)
{
    sb_block_topk_spec spec = spec_of(values);
    if (is_by_layer(values) && (spec.sinks != 0 || spec.window != 1))
        return sb_fail(err, SB_USAGE,
                       "expected sinks above 0 or window above 1 only with scope row");
    return SB_OK;
}

static bool oracle_append_invariant(const sb_value *values)
{
    return !is_by_layer(values);
}

static sb_status oracle_supports(const sb_problem *p, const sb_value *values, sb_err *err)
{
    sb_block_topk_spec spec = spec_of(values);
    return sb_block_topk_supports(&spec, p, err);
}

static double oracle_expected_blocks(const sb_problem *p, const sb_value *values)
{
    sb_block_topk_spec spec = spec_of(values);
    return sb_block_topk_expected(&spec, p);
}

/* ---- plan ---------------------------------------------------------------------------------- */

static void oracle_destroy(sb_plan *plan)
{
    oracle *o = (oracle *)plan;
    sb_block_mass_free(&o->masses);
    sb_topk_free(&o->topk);
    sb_budget_free(&o->budget);
    sb_free(o);
}

/* Blocks that the budgets of all rows and heads add up to. */
static int64_t sum_budgets(const sb_budget *budget, const sb_problem *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n_batch * budget->n_rows; i++)
        n += budget->k[i];
    return n * p->n_heads;
}

static sb_status oracle_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                             sb_plan **plan, sb_err *err)
{
    sb_status st = SB_OK;
    sb_block_topk_spec spec = spec_of(values);
    bool by_output = sb_int_of(&sb_method_oracle, values, "by") == BY_OUTPUT;
    oracle *o = sb_alloc(1, sizeof *o);
    if (!o)
        return sb_no_memory(err, "a plan");
    o->by_layer = is_by_layer(values);
    o->plan.block = spec.block;
    SB_TRY(sb_budget_plan(p, &spec, &o->budget, err));
    SB_TRY(sb_block_mass_plan(p, spec.block, by_output, exec->n_threads, &o->masses, err));
    o->plan.select_flops = sb_block_mass_flops(&o->masses, p);
    if (o->by_layer) {
        o->plan.pattern_capacity = sum_budgets(&o->budget, p);
        /* One comparison for each bit of the threshold, one more to mark. */
        o->plan.select_flops += 32 * (double)sb_causal_blocks(p, spec.block);
    } else {
        SB_TRY(sb_topk_plan(p, spec.block, exec->n_threads, &o->topk, err));
        o->plan.pattern_capacity = o->budget.capacity;
        o->plan.select_flops += sb_topk_flops(p, spec.block, &o->budget);
    }
    *plan = &o->plan;
    return SB_OK;
out:
    oracle_destroy(&o->plan);
    return st;
}

/* ---- selection ----------------------------------------------------------------------------- */

static int64_t count_from(const float *score, int64_t n, float least, int n_threads)
{
    int64_t count = 0;
#pragma omp parallel for num_threads(n_threads) reduction(+ : count)
    for (int64_t i = 0; i < n; i++)
        count += score[i] >= least;
    return count;
}

/* The k-th largest of score [n] that are not negative, bit by bit from the top: such floats are
 * ordered as their bits are. */
static float kth_largest(const float *score, int64_t n, int64_t k, int n_threads)
{
    uint32_t found = 0;
    float least;
    for (uint32_t bit = UINT32_C(1) << 30; bit; bit >>= 1) {
        uint32_t candidate = found | bit;
        memcpy(&least, &candidate, sizeof least);
        if (count_from(score, n, least, n_threads) >= k)
            found = candidate;
    }
    memcpy(&least, &found, sizeof least);
    return least;
}

/* The pattern holds as many blocks as the budgets add up to. */
static void select_layer(const oracle *o, sb_pattern *pat)
{
    const int64_t *list = o->masses.list, n_lists = o->masses.n_lists, n = list[n_lists];
    int n_threads = o->plan.exec.n_threads;
    float *score = o->masses.score;
    int64_t n_rest = o->plan.pattern_capacity, n_col = 0;
    for (int64_t i = 0; i < n_lists; i++)
        if (list[i + 1] > list[i]) {
            score[list[i + 1] - 1] = -1; /* the diagonal block does not compete */
            n_rest--;
        }
    float least = n_rest > 0 ? kth_largest(score, n, n_rest, n_threads) : INFINITY;
    int64_t n_ties = n_rest - count_from(score, n, nextafterf(least, INFINITY), n_threads);
    pat->row_ptr[0] = 0;
    for (int64_t i = 0; i < n_lists; i++) {
        for (int64_t at = list[i]; at < list[i + 1]; at++) {
            bool tie = score[at] == least && n_ties > 0;
            n_ties -= tie;
            if (tie || score[at] > least || at == list[i + 1] - 1)
                pat->col[n_col++] = (int32_t)(at - list[i]);
        }
        pat->row_ptr[i + 1] = n_col;
    }
}

/* Forced blocks win, and so count within the budget. */
static void copy_scores(const void *self, const sb_problem *p, const sb_inputs *in,
                        const sb_rows *rows, float *out)
{
    (void)in;
    const oracle *o = self;
    const sb_block_mass *m = &o->masses;
    const int64_t *list = m->list + (rows->b * p->n_heads + rows->h) * m->n_rows + rows->r;
    for (int64_t i = 0; i < rows->n; i++, out += o->topk.n_blocks)
        for (int64_t j = 0, row = rows->first + i; j <= row; j++)
            out[j] = j < o->budget.sinks || j + o->budget.window > row ? INFINITY
                                                                       : m->score[list[i] + j];
}

static sb_status oracle_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)err;
    oracle *o = (oracle *)plan;
    sb_block_mass_fill(&o->masses, &plan->problem, in);
    if (o->by_layer)
        select_layer(o, pat);
    else
        sb_select_best(&o->topk, copy_scores, o, &o->budget, &plan->problem, in, pat);
    return SB_OK;
}

const sb_method sb_method_oracle = {
    .name = "oracle",
    .doc = "the blocks with the most exact attention: the ceiling",
    .source = "a definition; costs as much as dense attention",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .append_invariant = oracle_append_invariant,
    .check = oracle_check,
    .supports = oracle_supports,
    .expected_blocks = oracle_expected_blocks,
    .plan = oracle_plan,
    .select = oracle_select,
    .destroy = oracle_destroy,
};
