#ifndef SB_STRIDED_H
#define SB_STRIDED_H

#include "harness/problem.h"
#include "harness/stembench.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tensors of a caller's layout: the kernels take contiguous ones. */

/** A tensor [B, heads, tokens, dim] and, where it is not contiguous, room for a copy that is. */
typedef struct sb_strided {
    int64_t n_batch, heads, tokens, dim;
    sb_dtype dtype;
    sb_exec exec;
    sb_attention_strides strides; /**< contiguous ones filled in */
    void *packed;                 /**< NULL: the caller's is contiguous */
} sb_strided;

/** Memory where exec computes: on the host, or on the device. */
sb_status sb_exec_alloc(const sb_exec *exec, int64_t n_bytes, const char *what, void **block,
                        sb_err *err);
void sb_exec_free(const sb_exec *exec, void *block);

/** Check strides and allocate the copy. `name` and n_batch and dtype of p serve; SB_USAGE,
 *  SB_NO_MEMORY, SB_UNSUPPORTED where it does not fit on the device. */
sb_status sb_strided_open(sb_strided *t, const char *name, const sb_problem *p, const sb_exec *exec,
                          int64_t heads, int64_t tokens, int64_t dim, sb_attention_strides strides,
                          sb_err *err);
void sb_strided_close(sb_strided *t);

/** *own: `theirs`, or the copy filled from it. On the device enqueued. */
sb_status sb_strided_pack(const sb_strided *t, const void *theirs, const void **own, sb_err *err);

/** Write the copy, where there is one, to `theirs`. */
sb_status sb_strided_unpack(const sb_strided *t, void *theirs, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
