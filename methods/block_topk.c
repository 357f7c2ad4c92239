/* Plans the shared stages for the methods made of block scores, row budgets and forced blocks. */
#include <math.h>

#include "harness/mem.h"
#include "methods/kernels/cuda/select.h"
#include "methods/stages.h"

sb_status sb_check_stride(const sb_method *m, const sb_value *values, sb_err *err)
{
    int64_t block = sb_int_of(m, values, "block"), stride = sb_int_of(m, values, "stride");
    if (block % stride != 0)
        return sb_fail(err, SB_USAGE, "stride is %lld; expected a divisor of block %lld",
                       (long long)stride, (long long)block);
    return SB_OK;
}

sb_block_topk_spec sb_constant_spec(const sb_method *m, const sb_value *values)
{
    return (sb_block_topk_spec){
        .block = sb_int_of(m, values, "block"),
        .schedule = {.shape = SB_SHAPE_CONSTANT,
                     .k_start = sb_real_of(m, values, "k"),
                     .mu = 1,
                     .total = sb_real_of(m, values, "schedule.total")},
        .sinks = sb_int_of(m, values, "sinks"),
        .window = sb_int_of(m, values, "window"),
    };
}

static int64_t n_prompt_blocks(const sb_block_topk_spec *spec, const sb_problem *p, int64_t b)
{
    return sb_ceil_div(sb_prompt_len(p, b), spec->block);
}

sb_status sb_block_topk_supports(const sb_block_topk_spec *spec, const sb_problem *p, sb_err *err)
{
    for (int64_t b = 0; b < p->n_batch; b++) {
        sb_status st = sb_schedule_check(&spec->schedule, n_prompt_blocks(spec, p, b), err);
        if (st != SB_OK)
            return st;
    }
    return SB_OK;
}

double sb_block_topk_expected(const sb_block_topk_spec *spec, const sb_problem *p)
{
    int64_t n = sb_ceil_div(p->kv_len, spec->block);
    double kept = 0, causal = (double)n * (double)(n + 1) / 2;
    if (p->layer < spec->dense_layers)
        return causal;
    int32_t *k = sb_alloc(n, sizeof *k);
    if (!k)
        return causal;
    sb_schedule_fill(&spec->schedule, n, p->kv_len, k);
    for (int64_t row = 0; row < n; row++)
        kept += fmin((double)(row + 1), fmax(k[row], (double)(spec->sinks + spec->window)));
    sb_free(k);
    return kept;
}

/* The CPU's rooms served to count the FLOPs, which are those of the definition on either side. */
static sb_status plan_on_device(const sb_block_topk_spec *spec, const sb_problem *p,
                                const sb_exec *exec, sb_block_topk *s, sb_err *err)
{
    static const sb_cuda_bonus bonuses[] = {[SB_BONUS_NONE] = SB_CUDA_BONUS_NONE,
                                            [SB_BONUS_PAPER] = SB_CUDA_BONUS_PAPER,
                                            [SB_BONUS_RELEASED] = SB_CUDA_BONUS_RELEASED};
    const sb_cuda_select_spec on_device = {.block = spec->block,
                                           .stride = spec->stride,
                                           .mean_score = spec->mean_score,
                                           .unscaled_score = spec->unscaled_score,
                                           .bonus = bonuses[spec->bonus],
                                           .beta = spec->beta,
                                           .sinks = spec->sinks,
                                           .window = spec->window,
                                           .budget = s->budget.k};
    sb_bonus_free(&s->bonus);
    sb_score_free(&s->score);
    return sb_cuda_select_plan_create(p, &on_device, exec->stream, &s->plan.cuda_select, err);
}

sb_status sb_block_topk_plan(const sb_block_topk_spec *spec, const sb_problem *p,
                             const sb_exec *exec, sb_plan **plan, sb_err *err)
{
    sb_status st = SB_OK;
    bool on_device = exec->backend == SB_CUDA && !spec->mass_score;
    sb_block_topk *s = sb_alloc(1, sizeof *s);
    if (!s)
        return sb_no_memory(err, "a plan");
    s->plan.block = spec->block;
    s->plan.keep_all = p->layer < spec->dense_layers;
    if (s->plan.keep_all) {
        s->plan.pattern_capacity = sb_causal_blocks(p, spec->block);
        *plan = &s->plan;
        return SB_OK;
    }
    SB_TRY(sb_budget_plan(p, spec, &s->budget, err));
    SB_TRY(sb_score_plan(p, spec, exec->n_threads, &s->score, err));
    SB_TRY(sb_bonus_plan(p, spec, exec->n_threads, &s->bonus, err));
    s->plan.pattern_capacity = s->budget.capacity;
    s->plan.select_flops = sb_score_flops(&s->score, p, &s->budget) + sb_bonus_flops(&s->bonus, p) +
                           sb_topk_flops(p, spec->block, &s->budget);
    SB_TRY(on_device ? plan_on_device(spec, p, exec, s, err)
                     : sb_topk_plan(p, spec->block, exec->n_threads, &s->topk, err));
    *plan = &s->plan;
    return SB_OK;
out:
    sb_block_topk_destroy(&s->plan);
    return st;
}

void sb_block_topk_destroy(sb_plan *plan)
{
    sb_block_topk *s = (sb_block_topk *)plan;
    sb_topk_free(&s->topk);
    sb_bonus_free(&s->bonus);
    sb_score_free(&s->score);
    sb_budget_free(&s->budget);
    sb_free(s);
}
