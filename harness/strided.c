#include "harness/strided.h"

#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cuda/device.h"

sb_status sb_exec_alloc(const sb_exec *exec, int64_t n_bytes, const char *what, void **block,
                        sb_err *err)
{
    if (exec->backend == SB_CUDA)
        return sb_cuda_malloc(n_bytes, what, block, err);
    *block = sb_alloc_uninit(n_bytes, 1);
    return *block ? SB_OK : sb_no_memory(err, what);
}

void sb_exec_free(const sb_exec *exec, void *block)
{
    if (exec->backend == SB_CUDA)
        sb_cuda_free(block);
    else
        sb_free(block);
}

/* Strides along a dimension of one element are never used. */
static bool is_contiguous(const sb_strided *t)
{
    const sb_attention_strides *s = &t->strides;
    return (t->n_batch == 1 || s->batch == t->heads * t->tokens * t->dim) &&
           (t->heads == 1 || s->head == t->tokens * t->dim) &&
           (t->tokens == 1 || s->token == t->dim);
}

sb_status sb_strided_open(sb_strided *t, const char *name, const sb_problem *p, const sb_exec *exec,
                          int64_t heads, int64_t tokens, int64_t dim, sb_attention_strides strides,
                          sb_err *err)
{
    bool given = strides.batch != 0 || strides.head != 0 || strides.token != 0;
    *t = (sb_strided){p->n_batch, heads, tokens, dim, p->dtype, *exec, strides, NULL};
    if (!given)
        t->strides = (sb_attention_strides){heads * tokens * dim, tokens * dim, dim};
    if (t->strides.batch < 0 || t->strides.head < 0 || (tokens > 1 && t->strides.token < dim))
        return sb_fail(err, SB_USAGE,
                       "strides of %s are %lld, %lld, %lld; expected none below zero, and at least "
                       "%lld between tokens",
                       name, (long long)strides.batch, (long long)strides.head,
                       (long long)strides.token, (long long)dim);
    if (is_contiguous(t))
        return SB_OK;
    int64_t n = p->n_batch * heads * tokens * dim;
    return sb_exec_alloc(exec, n * (int64_t)sb_dtype_bytes(p->dtype), "a contiguous copy",
                         &t->packed, err);
}

void sb_strided_close(sb_strided *t)
{
    sb_exec_free(&t->exec, t->packed);
    t->packed = NULL;
}

static sb_status copy_rows(const sb_exec *exec, char *to, int64_t to_step, const char *from,
                           int64_t from_step, int64_t row_bytes, int64_t n_rows, sb_err *err)
{
    if (exec->backend == SB_CUDA)
        return sb_cuda_copy_rows(to, to_step, from, from_step, row_bytes, n_rows, exec->stream,
                                 err);
#pragma omp parallel for num_threads(exec->n_threads)
    for (int64_t i = 0; i < n_rows; i++)
        memcpy(to + i * to_step, from + i * from_step, (size_t)row_bytes);
    return SB_OK;
}

/* Head by head between the caller's tensor and the copy. */
static sb_status copy(const sb_strided *t, char *theirs, bool pack, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t bytes = (int64_t)sb_dtype_bytes(t->dtype), row = t->dim * bytes;
    int64_t step = t->strides.token * bytes;
    for (int64_t b = 0; b < t->n_batch; b++)
        for (int64_t h = 0; h < t->heads; h++) {
            char *at = theirs + (b * t->strides.batch + h * t->strides.head) * bytes;
            char *own = (char *)t->packed + (b * t->heads + h) * t->tokens * row;
            SB_TRY(pack ? copy_rows(&t->exec, own, row, at, step, row, t->tokens, err)
                        : copy_rows(&t->exec, at, step, own, row, row, t->tokens, err));
        }
out:
    return st;
}

sb_status sb_strided_pack(const sb_strided *t, const void *theirs, const void **own, sb_err *err)
{
    *own = t->packed ? t->packed : theirs;
    return t->packed ? copy(t, (char *)(uintptr_t)theirs, true, err) : SB_OK;
}

sb_status sb_strided_unpack(const sb_strided *t, void *theirs, sb_err *err)
{
    return t->packed ? copy(t, theirs, false, err) : SB_OK;
}
