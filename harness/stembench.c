#include "harness/stembench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/arena.h"
#include "harness/backend.h"
#include "harness/config_sets.h"
#include "harness/evaluate.h"
#include "harness/flops.h"
#include "harness/mem.h"
#include "harness/provenance.h"
#include "harness/strided.h"
#include "methods/kernels/cpu/attend.h"

struct sb_attention {
    sb_problem problem;
    sb_value values[SB_MAX_PARAMS];
    struct sb_arena *arena; /* owns lists among the values */
    char *params;
    sb_plan *plan;
    sb_pattern pattern;
    sb_strided q, k, v, o;
    float *lse; /* where the caller wants none */
    bool has_run;
};

int32_t sb_attention_version(void)
{
    return 1;
}

/* What a call of this interface returns; the message is the error's. */
static int32_t answer(sb_status st, const sb_err *err, char *message)
{
    if (message)
        (void)snprintf(message, SB_ATTENTION_MESSAGE, "%s", st == SB_OK ? "" : err->msg);
    switch (st) {
    case SB_OK:
        return SB_ATTENTION_OK;
    case SB_USAGE:
        return SB_ATTENTION_USAGE;
    case SB_UNAVAILABLE:
        return SB_ATTENTION_UNAVAILABLE;
    case SB_NO_MEMORY:
        return SB_ATTENTION_NO_MEMORY;
    case SB_UNSUPPORTED:
        return SB_ATTENTION_UNSUPPORTED;
    default:
        return SB_ATTENTION_INTERNAL;
    }
}

/* ---- plans --------------------------------------------------------------------------------- */

static sb_status read_spec(const sb_attention_spec *s, sb_problem *p, sb_exec *exec, sb_err *err)
{
    static const sb_dtype dtypes[] = {
        [SB_ATTENTION_F32] = SB_F32, [SB_ATTENTION_BF16] = SB_BF16, [SB_ATTENTION_F16] = SB_F16};
    if (s->struct_bytes != sizeof *s)
        return sb_fail(err, SB_USAGE, "struct_bytes is %zu; expected %zu, as in version 1",
                       s->struct_bytes, sizeof *s);
    if (s->dtype < SB_ATTENTION_F32 || s->dtype > SB_ATTENTION_F16)
        return sb_fail(err, SB_USAGE, "dtype is %d; expected 0, 1 or 2", s->dtype);
    if (s->backend != SB_ATTENTION_CPU && s->backend != SB_ATTENTION_CUDA)
        return sb_fail(err, SB_USAGE, "backend is %d; expected 0 or 1", s->backend);
    if (s->n_threads < 0 || s->n_threads > 1024)
        return sb_fail(err, SB_USAGE, "%d threads; expected 0 to 1024", s->n_threads);
    *p = (sb_problem){.n_batch = s->n_batch,
                      .n_heads = s->n_heads,
                      .n_kv_heads = s->n_kv_heads,
                      .q_len = s->q_len,
                      .kv_len = s->kv_len,
                      .dim = s->dim,
                      .dim_v = s->dim_v,
                      .dtype = dtypes[s->dtype],
                      .layer = s->layer};
    p->scale = s->scale != 0 ? s->scale : s->dim > 0 ? 1 / sqrt((double)s->dim) : 0;
    *exec = (sb_exec){.backend = s->backend == SB_ATTENTION_CUDA ? SB_CUDA : SB_CPU,
                      .n_threads = s->n_threads > 0 ? s->n_threads : sb_cores(),
                      .stream = s->stream};
    return sb_problem_check(p, err);
}

/* Sequences are of one length here, but each may be a chunk of a longer prompt. */
static sb_status create_plan(sb_attention *a, const sb_method *m, const sb_exec *exec,
                             int64_t prompt_len, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t *prompts = NULL;
    if (prompt_len != 0) {
        prompts = sb_alloc_uninit(a->problem.n_batch, sizeof *prompts);
        SB_CHECK(prompts, err, SB_NO_MEMORY, "out of memory for prompt lengths");
        for (int64_t b = 0; b < a->problem.n_batch; b++)
            prompts[b] = prompt_len;
        a->problem.prompt_lens = prompts;
    }
    SB_TRY(sb_plan_create(m, &a->problem, exec, a->values, &a->plan, err));
    if (m->select)
        SB_TRY(sb_pattern_alloc(&a->problem, a->plan->block, a->plan->pattern_capacity, &a->pattern,
                                err));
    if (a->plan->tokens)
        SB_TRY(sb_pattern_add_tokens(&a->pattern, err));
out:
    a->problem.prompt_lens = NULL;
    sb_free(prompts);
    return st;
}

static sb_status place_all(sb_attention *a, const sb_attention_spec *s, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_problem *p = &a->problem;
    const sb_exec *exec = &a->plan->exec;
    void *lse = NULL;
    SB_TRY(sb_strided_open(&a->q, "q", p, exec, p->n_heads, p->q_len, p->dim, s->q, err));
    SB_TRY(sb_strided_open(&a->k, "k", p, exec, p->n_kv_heads, p->kv_len, p->dim, s->k, err));
    SB_TRY(sb_strided_open(&a->v, "v", p, exec, p->n_kv_heads, p->kv_len, p->dim_v, s->v, err));
    SB_TRY(sb_strided_open(&a->o, "o", p, exec, p->n_heads, p->q_len, p->dim_v, s->o, err));
    SB_TRY(sb_exec_alloc(exec, p->n_batch * p->n_heads * p->q_len * (int64_t)sizeof(float), "lse",
                         &lse, err));
    a->lse = lse;
out:
    return st;
}

static sb_status create(const sb_attention_spec *spec, const char *method, const char *params,
                        sb_attention *a, sb_err *err)
{
    sb_status st = SB_OK;
    sb_exec exec;
    sb_backends backends;
    SB_CHECK(spec && method, err, SB_USAGE, "no spec or no method; expected both");
    SB_TRY(read_spec(spec, &a->problem, &exec, err));
    const sb_method *m = sb_method_find(method);
    SB_CHECK(m, err, SB_USAGE, "no method '%.60s'", method);
    SB_TRY(sb_values_from_text(m, params ? params : "", a->values, &a->arena, err));
    a->params = sb_values_text(m, a->values, " ");
    SB_CHECK(a->params, err, SB_NO_MEMORY, "out of memory for parameters");
    if (exec.backend == SB_CUDA)
        SB_TRY(sb_backends_open("cuda", SB_BACKEND_CUDA, &backends, err));
    SB_TRY(create_plan(a, m, &exec, spec->prompt_len, err));
    SB_TRY(place_all(a, spec, err));
out:
    return st;
}

int32_t sb_attention_create(const sb_attention_spec *spec, const char *method, const char *params,
                            sb_attention **plan, char *message)
{
    sb_err err = {0};
    sb_attention *a = sb_alloc(1, sizeof *a);
    *plan = NULL;
    sb_status st =
        a ? create(spec, method, params, a, &err) : sb_no_memory(&err, "a plan of attention");
    if (st == SB_OK)
        *plan = a;
    else
        sb_attention_destroy(a);
    return answer(st, &err, message);
}

void sb_attention_destroy(sb_attention *a)
{
    if (!a)
        return;
    sb_strided *tensors[] = {&a->q, &a->k, &a->v, &a->o};
    for (int i = 0; i < 4; i++)
        sb_strided_close(tensors[i]);
    if (a->plan)
        sb_exec_free(&a->plan->exec, a->lse);
    sb_plan_destroy(a->plan);
    sb_pattern_free(&a->pattern);
    sb_free(a->params);
    sb_arena_free(a->arena);
    sb_free(a);
}

const char *sb_attention_kernel(const sb_attention *a)
{
    return a->plan->kernel_name;
}

const char *sb_attention_params(const sb_attention *a)
{
    return a->params;
}

/* ---- runs ---------------------------------------------------------------------------------- */

static sb_status run(sb_attention *a, const sb_attention_tensors *x, sb_err *err)
{
    sb_status st = SB_OK;
    sb_inputs in = {0};
    SB_CHECK(x && x->q && x->k && x->v && x->o, err, SB_USAGE,
             "q, k, v or o is NULL; expected all four");
    sb_outputs out = {a->o.packed ? a->o.packed : x->o, x->lse ? x->lse : a->lse};
    SB_TRY(sb_strided_pack(&a->q, x->q, &in.q, err));
    SB_TRY(sb_strided_pack(&a->k, x->k, &in.k, err));
    SB_TRY(sb_strided_pack(&a->v, x->v, &in.v, err));
    SB_TRY(sb_plan_select(a->plan, &in, &a->pattern, err));
    SB_TRY(sb_plan_attend(a->plan, &in, &a->pattern, &out, err));
    SB_TRY(sb_strided_unpack(&a->o, x->o, err));
    a->has_run = true;
out:
    return st;
}

int32_t sb_attention_run(sb_attention *plan, const sb_attention_tensors *tensors, char *message)
{
    sb_err err = {0};
    return answer(run(plan, tensors, &err), &err, message);
}

static sb_status describe(sb_attention *a, sb_attention_stats *s, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_plan *plan = a->plan;
    SB_CHECK(s->struct_bytes == sizeof *s, err, SB_USAGE,
             "struct_bytes is %zu; expected %zu, as in version 1", s->struct_bytes, sizeof *s);
    SB_CHECK(a->has_run, err, SB_USAGE, "no run yet; expected one");
    SB_TRY(sb_plan_read_pattern(a->plan, &a->pattern, err));
    const sb_pattern *pat = plan->method->select ? &a->pattern : NULL;
    sb_flops flops = sb_flops_count(&plan->problem, pat, SB_DENSE_TILE);
    *s = (sb_attention_stats){.struct_bytes = sizeof *s,
                              .density = 1,
                              .pair_density = 1,
                              .flops_dense = flops.dense,
                              .flops_attend = flops.attend,
                              .flops_tile = flops.tile,
                              .flops_select = plan->select_flops};
    if (!pat)
        return SB_OK;
    sb_pattern_stats kept = sb_pattern_measure(&plan->problem, pat);
    s->density = kept.density;
    s->pair_density = kept.pair_density;
    s->mask_hash = sb_pattern_hash(pat);
    s->block = pat->block;
    s->n_rows = pat->n_rows;
    s->row_ptr = pat->row_ptr;
    s->col = pat->col;
    s->tokens = pat->tokens;
out:
    return st;
}

int32_t sb_attention_read_stats(sb_attention *plan, sb_attention_stats *stats, char *message)
{
    sb_err err = {0};
    return answer(describe(plan, stats, &err), &err, message);
}
