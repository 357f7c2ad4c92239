/*
 * Stem: causal block-sparse attention in two ideas.
 *
 * 1. Token position-decay (TPD). Early query rows are read again by every later row of every later
 * layer, so they keep more key blocks: row I keeps k(I), from k_start at the first row towards mu *
 * k_start at the last. (budget_schedule.c)
 * 2. Output-aware metric (OAM). What a dropped block costs is exp(q.k) ||v||, so its importance is,
 * in logarithms, a sampled score of the block plus a bonus for large values. (score_blocks.c,
 *    score_value.c) Score `mass` is the exact logarithm of the block's softmax mass in place of the
 * sample (score_mass.c): in no published code, to judge the bonus apart from the sampling.
 *
 * Each row keeps its k(I) most important blocks, then the first `sinks` and the last `window`
 * blocks are forced (select_topk.c); attention over the kept blocks is exact.
 *
 * mu = 1 without value bonus equals `uniform`; a budget of all blocks equals `dense`.
 *
 * Source: arXiv:2603.06274 (variant `paper`: Eq. 3 and 7), and the authors' two public code bases,
 * which differ from it and from each other: Tencent/AngelSlim 67394ce (`angelslim`) and
 * Tencent/hpc-ops (`hpc`). Deviations: ties go to the lower block, which the released code leaves
 * open; the bonus of `hpc` is added to scores scaled as its kernels scale them.
 */
#include "methods/stages.h"

enum { PAPER, ANGELSLIM, HPC };                               /* variant */
enum { VALUE_NONE, VALUE_PAPER, VALUE_ANGELSLIM, VALUE_HPC }; /* value */

static const sb_param params[] = {
    {.name = "variant",
     .type = SB_CHOICE,
     .choices = "paper|angelslim|hpc",
     .fallback = {"paper"},
     .doc = "whose Stem: sets the defaults of all other parameters, and how budgets are rounded"},
    SB_PARAM_BLOCK,
    {.name = "stride",
     .type = SB_INT,
     .min = 1,
     .max = 1024,
     .fallback = {"8", "8", "16"},
     .doc = "sampling stride S of the anti-diagonal score and of the value bonus; divides block"},
    SB_PARAM_SCORE,
    {.name = "k_start",
     .type = SB_BUDGET,
     .fallback = {"auto"},
     .doc =
         "first row's budget: blocks, or a share of n; auto: paper 0.2 up to 16384 tokens and 0.1 "
         "above, angelslim and hpc by their code's function of n"},
    {.name = "mu",
     .type = SB_REAL,
     .min = 0,
     .max = 4,
     .min_open = true,
     .fallback = {"0.7"},
     .doc = "last row's budget over the first's; above 1 it grows (angelslim, hpc: at most 1)"},
    {.name = "value",
     .type = SB_CHOICE,
     .choices = "none|paper|angelslim|hpc",
     .fallback = {"paper", "angelslim", "hpc"},
     .doc = "value bonus: logarithm of the block's largest value norm (paper), standardised group "
            "logarithms (angelslim), the same against unscaled scores (hpc); masses have no scale, "
            "so there hpc is as angelslim"},
    {.name = "beta",
     .type = SB_REAL,
     .min = 0,
     .max = 100,
     .fallback = {"0.2", "0.2", "0.3"},
     .doc = "weight of the value bonus"},
    {.name = "schedule.shape",
     .type = SB_CHOICE,
     .choices = "constant|linear|cosine|exponential|power|step|table",
     .fallback = {"linear"},
     .doc = "how the budget goes from k_start to mu k_start"},
    {.name = "schedule.hold",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 30,
     .fallback = {"0", "auto", "auto"},
     .doc = "rows before the decay starts; auto: k_start of them"},
    {.name = "schedule.exponent",
     .type = SB_REAL,
     .min = 0,
     .max = 64,
     .min_open = true,
     .fallback = {"2"},
     .doc = "of shape power"},
    {.name = "schedule.breakpoints",
     .type = SB_LIST,
     .min = 0,
     .max = 1,
     .min_open = true,
     .optional = true,
     .fallback = {"none"},
     .doc = "of shape step: ascending shares of the decaying rows at which it drops; none: 0.5"},
    {.name = "schedule.table",
     .type = SB_LIST,
     .min = 0,
     .max = 1e9,
     .min_open = true,
     .optional = true,
     .fallback = {"none"},
     .doc =
         "of shape table: budgets (blocks, or shares below 1), one a row, or fewer or more spread "
         "evenly and interpolated; a list or a CSV file"},
    SB_PARAM_TOTAL,
    SB_PARAM_SINKS,
    SB_PARAM_WINDOW,
    SB_PARAM_DENSE_LAYERS,
};

static const double half = 0.5;

static sb_schedule schedule_of(const sb_value *values)
{
    const sb_method *m = &sb_method_stem;
    const sb_value *hold = sb_value_of(m, values, "schedule.hold");
    const sb_value *breakpoints = sb_value_of(m, values, "schedule.breakpoints");
    const sb_value *table = sb_value_of(m, values, "schedule.table");
    bool default_step = breakpoints->state != SB_VALUE_SET;
    return (sb_schedule){
        .shape = (sb_shape)sb_int_of(m, values, "schedule.shape"),
        .k_start = sb_real_of(m, values, "k_start"),
        .mu = sb_real_of(m, values, "mu"),
        .released = sb_int_of(m, values, "variant") != PAPER,
        .hold = hold->state == SB_VALUE_AUTO ? -1 : (int64_t)hold->num,
        .exponent = sb_real_of(m, values, "schedule.exponent"),
        .breakpoints = default_step ? &half : breakpoints->list,
        .n_breakpoints = default_step ? 1 : breakpoints->n_list,
        .table = table->list,
        .n_table = table->n_list,
        .total = sb_real_of(m, values, "schedule.total"),
    };
}

static sb_block_topk_spec spec_of(const sb_value *values)
{
    static const sb_bonus_kind bonuses[] = {
        [VALUE_NONE] = SB_BONUS_NONE,
        [VALUE_PAPER] = SB_BONUS_PAPER,
        [VALUE_ANGELSLIM] = SB_BONUS_RELEASED,
        [VALUE_HPC] = SB_BONUS_RELEASED,
    };
    const sb_method *m = &sb_method_stem;
    int64_t value = sb_int_of(m, values, "value");
    return (sb_block_topk_spec){
        .block = sb_int_of(m, values, "block"),
        .stride = sb_int_of(m, values, "stride"),
        .mean_score = sb_int_of(m, values, "score") == SB_SCORE_MEAN,
        .mass_score = sb_int_of(m, values, "score") == SB_SCORE_MASS,
        .unscaled_score = value == VALUE_HPC,
        .bonus = bonuses[value],
        .beta = sb_real_of(m, values, "beta"),
        .schedule = schedule_of(values),
        .sinks = sb_int_of(m, values, "sinks"),
        .window = sb_int_of(m, values, "window"),
        .dense_layers = sb_int_of(m, values, "dense_layers"),
    };
}

static sb_status check_breakpoints(const sb_value *breakpoints, sb_err *err)
{
    for (int32_t i = 0; i < breakpoints->n_list; i++)
        if (breakpoints->list[i] >= 1 ||
            (i > 0 && breakpoints->list[i] <= breakpoints->list[i - 1]))
            return sb_fail(err, SB_USAGE,
                           "schedule.breakpoints has %g; expected ascending numbers below 1",
                           breakpoints->list[i]);
    return SB_OK;
}

static sb_status stem_check(const sb_value *values, sb_err *err)
{
    const sb_method *m = &sb_method_stem;
    int64_t variant = sb_int_of(m, values, "variant"),
            shape = sb_int_of(m, values, "schedule.shape");
    if (variant != PAPER && sb_real_of(m, values, "mu") > 1)
        return sb_fail(err, SB_USAGE, "mu is %g; expected at most 1 with variant angelslim or hpc",
                       sb_real_of(m, values, "mu"));
    if ((shape == SB_SHAPE_TABLE) != (sb_value_of(m, values, "schedule.table")->n_list > 0))
        return sb_fail(err, SB_USAGE,
                       "expected schedule.table with schedule.shape table, and only then");
    if (shape != SB_SHAPE_STEP && sb_value_of(m, values, "schedule.breakpoints")->n_list > 0)
        return sb_fail(err, SB_USAGE,
                       "expected schedule.breakpoints only with schedule.shape step");
    sb_status st = check_breakpoints(sb_value_of(m, values, "schedule.breakpoints"), err);
    return st != SB_OK ? st : sb_check_stride(m, values, err);
}

/* The released bonus is standardised over all the keys there are, so new ones change old bonuses.
 */
static bool stem_append_invariant(const sb_value *values)
{
    int64_t value = sb_int_of(&sb_method_stem, values, "value");
    return value == VALUE_NONE || value == VALUE_PAPER;
}

static sb_status stem_supports(const sb_problem *p, const sb_value *values, sb_err *err)
{
    sb_block_topk_spec spec = spec_of(values);
    return sb_block_topk_supports(&spec, p, err);
}

static double stem_expected_blocks(const sb_problem *p, const sb_value *values)
{
    sb_block_topk_spec spec = spec_of(values);
    return sb_block_topk_expected(&spec, p);
}

static sb_status stem_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                           sb_plan **plan, sb_err *err)
{
    sb_block_topk_spec spec = spec_of(values);
    return sb_block_topk_plan(&spec, p, exec, plan, err);
}

static sb_status stem_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)err;
    const sb_problem *p = &plan->problem;
    sb_block_topk *s = (sb_block_topk *)plan;
    if (plan->keep_all) {
        sb_pattern_fill_causal(p, pat);
        return SB_OK;
    }
    sb_score_keys(&s->score, p, in);
    sb_bonus_values(&s->bonus, p, in, plan->exec.n_threads);
    sb_select_topk(&s->topk, &s->score, &s->bonus, &s->budget, p, in, pat);
    return SB_OK;
}

const sb_method sb_method_stem = {
    .name = "stem",
    .doc = "budgets that decay with position, blocks chosen by score and value",
    .source = "Stem, arXiv:2603.06274; Tencent/AngelSlim 67394ce; Tencent/hpc-ops",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .append_invariant = stem_append_invariant,
    .check = stem_check,
    .supports = stem_supports,
    .expected_blocks = stem_expected_blocks,
    .plan = stem_plan,
    .select = stem_select,
    .destroy = sb_block_topk_destroy,
};
