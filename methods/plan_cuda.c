#include "methods/plan_cuda.h"

#include <stdio.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cuda/attend.h"
#include "methods/kernels/cuda/device.h"
#include "methods/kernels/cuda/select.h"

enum { DENSE_BLOCK = 128 };

struct sb_plan_cuda {
    sb_cuda_attend_plan *attend;
    /* Of a method that selects on the CPU: its lists on either side, and room for the inputs. */
    sb_pattern host;
    sb_cuda_pattern lists;
    void *row_ptr, *col; /* device, behind lists */
    void *q, *k, *v;     /* host */
};

static bool selects_on_cpu(const sb_plan *plan)
{
    return plan->method->select && !plan->cuda_select && !plan->keep_all;
}

static int64_t n_bytes(const sb_problem *p, int64_t heads, int64_t tokens, int64_t dim)
{
    return p->n_batch * heads * tokens * dim * (int64_t)sb_dtype_bytes(p->dtype);
}

static sb_status make_lists(sb_plan *plan, sb_err *err)
{
    sb_status st = SB_OK;
    struct sb_plan_cuda *c = plan->cuda;
    const sb_problem *p = &plan->problem;
    SB_TRY(sb_pattern_alloc(p, plan->block, plan->pattern_capacity, &c->host, err));
    int64_t n_lists = p->n_batch * p->n_heads * c->host.n_rows;
    SB_TRY(sb_cuda_malloc((n_lists + 1) * (int64_t)sizeof(int64_t), "a pattern", &c->row_ptr, err));
    SB_TRY(sb_cuda_malloc(plan->pattern_capacity * (int64_t)sizeof(int32_t), "a pattern", &c->col,
                          err));
    c->lists = (sb_cuda_pattern){c->host.n_rows, plan->block, c->row_ptr, c->col};
    c->q = sb_alloc_uninit(n_bytes(p, p->n_heads, p->q_len, p->dim), 1);
    c->k = sb_alloc_uninit(n_bytes(p, p->n_kv_heads, p->kv_len, p->dim), 1);
    c->v = sb_alloc_uninit(n_bytes(p, p->n_kv_heads, p->kv_len, p->dim_v), 1);
    SB_CHECK(c->q && c->k && c->v, err, SB_NO_MEMORY, "out of memory for inputs");
out:
    return st;
}

sb_status sb_plan_cuda_open(sb_plan *plan, sb_err *err)
{
    sb_status st = SB_OK;
    SB_CHECK(!plan->tokens, err, SB_UNSUPPORTED,
             "token patterns attend on the CPU alone; expected form: blocks");
    plan->cuda = sb_alloc(1, sizeof *plan->cuda);
    SB_CHECK(plan->cuda, err, SB_NO_MEMORY, "out of memory for a plan");
    SB_TRY(sb_cuda_attend_plan_create(&plan->problem,
                                      plan->method->select ? plan->block : DENSE_BLOCK,
                                      plan->exec.stream, &plan->cuda->attend, err));
    if (selects_on_cpu(plan))
        SB_TRY(make_lists(plan, err));
    (void)snprintf(plan->kernel_name, sizeof plan->kernel_name, "%s%s",
                   sb_cuda_attend_kernel(plan->cuda->attend),
                   selects_on_cpu(plan) ? "+cpu-select" : "");
out:
    return st;
}

static sb_status select_on_cpu(sb_plan *plan, const sb_inputs *in, sb_err *err)
{
    sb_status st = SB_OK;
    struct sb_plan_cuda *c = plan->cuda;
    const sb_problem *p = &plan->problem;
    sb_stream stream = plan->exec.stream;
    const sb_inputs host = {c->q, c->k, c->v};
    SB_TRY(sb_cuda_to_host(c->q, in->q, n_bytes(p, p->n_heads, p->q_len, p->dim), stream, err));
    SB_TRY(sb_cuda_to_host(c->k, in->k, n_bytes(p, p->n_kv_heads, p->kv_len, p->dim), stream, err));
    SB_TRY(
        sb_cuda_to_host(c->v, in->v, n_bytes(p, p->n_kv_heads, p->kv_len, p->dim_v), stream, err));
    SB_TRY(sb_cuda_sync(stream, err));
    SB_TRY(plan->method->select(plan, &host, &c->host, err));
    int64_t n_lists = p->n_batch * p->n_heads * c->host.n_rows;
    SB_TRY(sb_cuda_to_device(c->row_ptr, c->host.row_ptr, (n_lists + 1) * (int64_t)sizeof(int64_t),
                             stream, err));
    SB_TRY(sb_cuda_to_device(c->col, c->host.col,
                             c->host.row_ptr[n_lists] * (int64_t)sizeof(int32_t), stream, err));
out:
    return st;
}

sb_status sb_plan_cuda_select(sb_plan *plan, const sb_inputs *in, sb_err *err)
{
    if (plan->cuda_select)
        return sb_cuda_select(plan->cuda_select, in, err);
    return selects_on_cpu(plan) ? select_on_cpu(plan, in, err) : SB_OK;
}

sb_status sb_plan_cuda_read(sb_plan *plan, sb_pattern *pat, sb_err *err)
{
    const sb_problem *p = &plan->problem;
    const sb_pattern *host = &plan->cuda->host;
    if (plan->cuda_select)
        return sb_cuda_select_read(plan->cuda_select, pat, err);
    if (plan->keep_all) {
        sb_pattern_fill_causal(p, pat);
        return SB_OK;
    }
    int64_t n_lists = p->n_batch * p->n_heads * host->n_rows;
    memcpy(pat->row_ptr, host->row_ptr, (size_t)(n_lists + 1) * sizeof *pat->row_ptr);
    memcpy(pat->col, host->col, (size_t)host->row_ptr[n_lists] * sizeof *pat->col);
    return SB_OK;
}

sb_status sb_plan_cuda_attend(sb_plan *plan, const sb_inputs *in, const sb_outputs *out,
                              sb_err *err)
{
    const sb_cuda_pattern *pat = plan->cuda_select      ? sb_cuda_select_pattern(plan->cuda_select)
                                 : selects_on_cpu(plan) ? &plan->cuda->lists
                                                        : NULL;
    return sb_cuda_attend(plan->cuda->attend, in, pat, out, err);
}

void sb_plan_cuda_close(sb_plan *plan)
{
    struct sb_plan_cuda *c = plan->cuda;
    if (c) {
        sb_free(c->v);
        sb_free(c->k);
        sb_free(c->q);
        sb_cuda_free(c->col);
        sb_cuda_free(c->row_ptr);
        sb_pattern_free(&c->host);
        sb_cuda_attend_plan_destroy(c->attend);
        sb_free(c);
    }
    sb_cuda_select_plan_destroy(plan->cuda_select);
    plan->cuda = NULL;
    plan->cuda_select = NULL;
}
