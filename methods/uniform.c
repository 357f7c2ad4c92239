/*
 * Uniform top-k block attention: every query-block row keeps the same number of key blocks, the
 * best by a block score, besides the sinks and the window. Equals Stem with mu = 1 and no value
 * bonus.
 *
 * Source: the baseline of Stem, arXiv:2603.06274; score `antidiagonal` after XAttention,
 * arXiv:2503.16428, `mean` as in MInference's block-sparse mode, arXiv:2407.02490, `mass` a
 * definition: with sinks = 0 and window = 1 the blocks of `oracle` by mass with scope row, but for
 * a diagonal block that loses, which is kept beyond the budget here and within it there.
 */
#include "methods/stages.h"

static const sb_param params[] = {
    SB_PARAM_BLOCK,
    {.name = "stride",
     .type = SB_INT,
     .min = 1,
     .max = 1024,
     .fallback = {"8"},
     .doc = "sampling stride S of the anti-diagonal score; divides block"},
    SB_PARAM_SCORE,
    {.name = "k",
     .type = SB_BUDGET,
     .fallback = {"0.1"},
     .doc = "blocks kept in each row, or a share of n, rounded up"},
    SB_PARAM_TOTAL,
    SB_PARAM_SINKS,
    SB_PARAM_WINDOW,
    SB_PARAM_DENSE_LAYERS,
};

static sb_block_topk_spec spec_of(const sb_value *values)
{
    const sb_method *m = &sb_method_uniform;
    sb_block_topk_spec spec = sb_constant_spec(m, values);
    spec.stride = sb_int_of(m, values, "stride");
    spec.mean_score = sb_int_of(m, values, "score") == SB_SCORE_MEAN;
    spec.mass_score = sb_int_of(m, values, "score") == SB_SCORE_MASS;
    spec.dense_layers = sb_int_of(m, values, "dense_layers");
    return spec;
}

static sb_status uniform_check(const sb_value *values, sb_err *err)
{
    return sb_check_stride(&sb_method_uniform, values, err);
}

static sb_status uniform_supports(const sb_problem *p, const sb_value *values, sb_err *err)
{
    sb_block_topk_spec spec = spec_of(values);
    return sb_block_topk_supports(&spec, p, err);
}

static double uniform_expected_blocks(const sb_problem *p, const sb_value *values)
{
    sb_block_topk_spec spec = spec_of(values);
    return sb_block_topk_expected(&spec, p);
}

static sb_status uniform_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                              sb_plan **plan, sb_err *err)
{
    sb_block_topk_spec spec = spec_of(values);
    return sb_block_topk_plan(&spec, p, exec, plan, err);
}

static sb_status uniform_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)err;
    sb_block_topk *s = (sb_block_topk *)plan;
    if (plan->keep_all) {
        sb_pattern_fill_causal(&plan->problem, pat);
        return SB_OK;
    }
    sb_score_keys(&s->score, &plan->problem, in);
    sb_select_topk(&s->topk, &s->score, NULL, &s->budget, &plan->problem, in, pat);
    return SB_OK;
}

const sb_method sb_method_uniform = {
    .name = "uniform",
    .doc = "the same number of best-scored blocks in every row",
    .source = "baseline of Stem, arXiv:2603.06274; scores of arXiv:2503.16428 and arXiv:2407.02490",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .check = uniform_check,
    .supports = uniform_supports,
    .expected_blocks = uniform_expected_blocks,
    .plan = uniform_plan,
    .select = uniform_select,
    .destroy = sb_block_topk_destroy,
};
