#include <stdio.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/attend.h"
#include "methods/method.h"
#include "methods/plan_cuda.h"

static const sb_method *const table[] = {
#define SB_METHOD(name) &sb_method_##name,
#include "methods/methods.def"
#undef SB_METHOD
};

const sb_method *const *sb_methods(int *n)
{
    *n = (int)(sizeof table / sizeof table[0]);
    return table;
}

const sb_method *sb_method_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    return NULL;
}

static sb_status copy_lengths(const int64_t **lens, int64_t n, sb_err *err)
{
    if (!*lens)
        return SB_OK;
    int64_t *copy = sb_alloc_uninit(n, sizeof *copy);
    if (copy)
        memcpy(copy, *lens, (size_t)n * sizeof *copy);
    *lens = copy;
    return copy ? SB_OK : sb_no_memory(err, "sequence lengths");
}

static sb_status adopt_problem(sb_plan *plan, const sb_problem *p, sb_err *err)
{
    const int64_t *q_lens = p->q_lens, *kv_lens = p->kv_lens, *prompt_lens = p->prompt_lens;
    sb_status st = copy_lengths(&q_lens, p->n_batch, err);
    sb_status st_kv = copy_lengths(&kv_lens, p->n_batch, err);
    sb_status st_prompt = copy_lengths(&prompt_lens, p->n_batch, err);
    plan->problem = *p;
    plan->problem.q_lens = q_lens;
    plan->problem.kv_lens = kv_lens;
    plan->problem.prompt_lens = prompt_lens;
    return st != SB_OK ? st : st_kv != SB_OK ? st_kv : st_prompt;
}

static sb_status plan_kernel(sb_plan *plan, sb_err *err)
{
    const sb_problem *p = &plan->problem;
    bool dense = !plan->method->select;
    plan->kernel = plan->tokens ? sb_cpu_token_kernel_for(p)
                                : sb_cpu_kernel_for(p, dense ? SB_DENSE_TILE : plan->block);
    size_t bytes = plan->kernel->scratch_bytes(p, dense ? plan->kernel->dense_tile : plan->block,
                                               plan->exec.n_threads);
    plan->kernel_scratch = sb_alloc((int64_t)bytes, 1);
    if (!plan->kernel_scratch)
        return sb_fail(err, SB_NO_MEMORY, "out of memory for %zu bytes of scratch", bytes);
    (void)snprintf(plan->kernel_name, sizeof plan->kernel_name, "%s%s", plan->kernel->name,
                   plan->tokens ? "-tokens" : "");
    return SB_OK;
}

sb_status sb_plan_create(const sb_method *m, const sb_problem *p, const sb_exec *exec,
                         const sb_value *values, sb_plan **out, sb_err *err)
{
    sb_status st = SB_OK;
    sb_plan *plan = NULL;
    *out = NULL;

    SB_TRY(sb_problem_check(p, err));
    SB_CHECK(exec->n_threads >= 1, err, SB_USAGE, "%d threads; expected at least 1",
             exec->n_threads);
    SB_CHECK(!m->attend || m->attends_on_device == (exec->backend == SB_CUDA), err, SB_UNSUPPORTED,
             "%s attends on %s alone", m->name, m->attends_on_device ? "CUDA" : "the CPU");
    if (m->supports)
        SB_TRY(m->supports(p, values, err));
    SB_TRY(m->plan(p, exec, values, &plan, err));
    plan->method = m;
    plan->exec = *exec;
    SB_TRY(adopt_problem(plan, p, err));
    if (!m->attend)
        SB_TRY(exec->backend == SB_CUDA ? sb_plan_cuda_open(plan, err) : plan_kernel(plan, err));
    *out = plan;
    return SB_OK;
out:
    if (plan) {
        plan->method = m;
        sb_plan_destroy(plan);
    }
    return st;
}

sb_status sb_plan_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    if (plan->cuda)
        return sb_plan_cuda_select(plan, in, err);
    return plan->method->select ? plan->method->select(plan, in, pat, err) : SB_OK;
}

sb_status sb_plan_read_pattern(sb_plan *plan, sb_pattern *pat, sb_err *err)
{
    return plan->cuda && plan->method->select ? sb_plan_cuda_read(plan, pat, err) : SB_OK;
}

sb_status sb_plan_attend(sb_plan *plan, const sb_inputs *in, const sb_pattern *pat,
                         const sb_outputs *out, sb_err *err)
{
    if (plan->method->attend)
        return plan->method->attend(plan, in, pat, out, err);
    if (plan->cuda)
        return sb_plan_cuda_attend(plan, in, out, err);
    bool dense = !plan->method->select;
    plan->kernel->attend(&plan->problem, in, dense ? NULL : pat,
                         dense ? plan->kernel->dense_tile : plan->block, out, plan->kernel_scratch,
                         plan->exec.n_threads);
    return SB_OK;
}

void sb_plan_destroy(sb_plan *plan)
{
    if (!plan)
        return;
    sb_plan_cuda_close(plan);
    sb_free(plan->kernel_scratch);
    sb_free((void *)(uintptr_t)plan->problem.prompt_lens);
    sb_free((void *)(uintptr_t)plan->problem.kv_lens);
    sb_free((void *)(uintptr_t)plan->problem.q_lens);
    plan->method->destroy(plan);
}
