/*
 * Dense causal attention: every key up to the query's own position. The case that every other
 * method equals once it keeps all blocks.
 *
 * Source: Vaswani et al., arXiv:1706.03762; computed block by block as in FlashAttention,
 * arXiv:2205.14135.
 */
#include "harness/mem.h"
#include "methods/method.h"

static sb_status dense_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                            sb_plan **plan, sb_err *err)
{
    (void)p, (void)exec, (void)values;
    *plan = sb_alloc(1, sizeof **plan);
    return *plan ? SB_OK : sb_no_memory(err, "a plan");
}

static void dense_destroy(sb_plan *plan)
{
    sb_free(plan);
}

const sb_method sb_method_dense = {
    .name = "dense",
    .doc = "every causal key",
    .source = "Vaswani et al., arXiv:1706.03762",
    .plan = dense_plan,
    .destroy = dense_destroy,
};
