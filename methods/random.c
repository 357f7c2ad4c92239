/*
 * The floor: every row keeps the sinks, the window and blocks drawn at random, together as many as
 * its budget allows. A budget of all blocks equals `dense`.
 *
 * Source: none, a definition. The score of a block is a hash (the finaliser of SplitMix64) of the
 * seed, the layer, the row and the block: the same in every run, chunk, batch and head, so that a
 * head's output does not change when heads change places.
 */
#include <math.h>

#include "harness/mem.h"
#include "methods/stages.h"

static const sb_param params[] = {
    SB_PARAM_BLOCK,
    {.name = "k",
     .type = SB_BUDGET,
     .fallback = {"0.1"},
     .doc = "blocks kept in each row, or a share of n, rounded up"},
    SB_PARAM_TOTAL,
    {.name = "sinks",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 20,
     .fallback = {"1"},
     .doc = "first blocks always kept"},
    {.name = "window",
     .type = SB_INT,
     .min = 1,
     .max = 1 << 20,
     .fallback = {"1"},
     .doc = "last blocks always kept, the diagonal block among them"},
    {.name = "seed",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 30,
     .fallback = {"1"},
     .doc = "of the random scores"},
};

typedef struct random_blocks {
    sb_plan plan;
    sb_budget budget;
    sb_topk topk;
    uint64_t seed;
} random_blocks;

static sb_block_topk_spec spec_of(const sb_value *values)
{
    return sb_constant_spec(&sb_method_random, values);
}

static sb_status random_supports(const sb_problem *p, const sb_value *values, sb_err *err)
{
    sb_block_topk_spec spec = spec_of(values);
    return sb_block_topk_supports(&spec, p, err);
}

static double random_expected_blocks(const sb_problem *p, const sb_value *values)
{
    sb_block_topk_spec spec = spec_of(values);
    return sb_block_topk_expected(&spec, p);
}

static void random_destroy(sb_plan *plan)
{
    random_blocks *x = (random_blocks *)plan;
    sb_topk_free(&x->topk);
    sb_budget_free(&x->budget);
    sb_free(x);
}

/* Each row compares its budget with its blocks; a row that keeps fewer scales a hash for each. */
static double flops_of(const sb_problem *p, int64_t block, const sb_budget *budget)
{
    double flops = 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t first = sb_first_block(p, b, block), rows = sb_n_rows(p, b, block);
        for (int64_t r = 0; r < rows; r++)
            flops += budget->k[b * budget->n_rows + r] <= first + r ? (double)(first + r + 2) : 1;
    }
    return flops * (double)p->n_heads + sb_topk_flops(p, block, budget);
}

static sb_status random_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                             sb_plan **plan, sb_err *err)
{
    sb_status st = SB_OK;
    sb_block_topk_spec spec = spec_of(values);
    random_blocks *x = sb_alloc(1, sizeof *x);
    if (!x)
        return sb_no_memory(err, "a plan");
    x->seed = (uint64_t)sb_int_of(&sb_method_random, values, "seed");
    SB_TRY(sb_budget_plan(p, &spec, &x->budget, err));
    SB_TRY(sb_topk_plan(p, spec.block, exec->n_threads, &x->topk, err));
    x->plan.block = spec.block;
    x->plan.pattern_capacity = x->budget.capacity;
    x->plan.select_flops = flops_of(p, spec.block, &x->budget);
    *plan = &x->plan;
    return SB_OK;
out:
    random_destroy(&x->plan);
    return st;
}

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* Numbers in [0, 1) of 24 random bits. Forced blocks win, and so count within the budget. */
static void draw_scores(const void *self, const sb_problem *p, const sb_inputs *in,
                        const sb_rows *rows, float *out)
{
    (void)in;
    const random_blocks *x = self;
    uint64_t layer = mix(mix(x->seed) + (uint64_t)p->layer);
    for (int64_t i = 0; i < rows->n; i++, out += x->topk.n_blocks) {
        int64_t row = rows->first + i;
        uint64_t stream = mix(layer + (uint64_t)row);
        for (int64_t j = 0; j <= row; j++) {
            bool forced = j < x->budget.sinks || j + x->budget.window > row;
            out[j] = forced ? INFINITY : (float)(mix(stream + (uint64_t)j) >> 40) * 0x1p-24f;
        }
    }
}

static sb_status random_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)err;
    random_blocks *x = (random_blocks *)plan;
    sb_select_best(&x->topk, draw_scores, x, &x->budget, &plan->problem, in, pat);
    return SB_OK;
}

const sb_method sb_method_random = {
    .name = "random",
    .doc = "blocks at random, besides sinks and a window: the floor",
    .source = "a definition",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .supports = random_supports,
    .expected_blocks = random_expected_blocks,
    .plan = random_plan,
    .select = random_select,
    .destroy = random_destroy,
};
