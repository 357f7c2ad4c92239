#ifndef SB_CUDA_CUDNN_H
#define SB_CUDA_CUDNN_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cuDNN's fused attention as a dense baseline, through its C graph API. libcudnn.so.9 is loaded at
 * run time, and nothing needs it. */

typedef struct sb_cudnn_plan sb_cudnn_plan;

/** Load cuDNN; its version as 10000 x major + 100 x minor + patch. SB_UNAVAILABLE with the reason
 *  when the library is not there or this build was made without its headers. */
sb_status sb_cudnn_open(int64_t *version, sb_err *err);

/**
 * Plan dense causal attention of one shape with cuDNN's own heuristics: the first engine they list
 * that takes it. bf16 and f16; GQA without expansion; q_len <= kv_len aligned to the end.
 *
 * SB_UNSUPPORTED with the reason: float32, ragged batches, or a shape that no engine takes;
 * SB_UNAVAILABLE: no cuDNN.
 */
sb_status sb_cudnn_plan_create(const sb_problem *p, sb_stream stream, sb_cudnn_plan **plan,
                               sb_err *err);

/** Attend on the plan's stream; `in` and `out` hold device pointers, out->lse may not be NULL.
 *  Returns once the work is enqueued. */
sb_status sb_cudnn_attend(sb_cudnn_plan *plan, const sb_inputs *in, const sb_outputs *out,
                          sb_err *err);

/** Free a plan; NULL is allowed. */
void sb_cudnn_plan_destroy(sb_cudnn_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
