#ifndef SB_PLAN_CUDA_H
#define SB_PLAN_CUDA_H

#include "methods/method.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The device's side of a plan, for registry.c. Pointers in inputs and outputs are device pointers.
 * Every method attends with the shared CUDA kernel. One that planned no selection on the device
 * selects on the CPU: its inputs are copied back and its lists up, all of it inside select. */

/** Plan attention and room for the pattern; names the kernel. SB_UNSUPPORTED, SB_UNAVAILABLE,
 *  SB_NO_MEMORY; sb_plan_cuda_close frees what was made. */
sb_status sb_plan_cuda_open(sb_plan *plan, sb_err *err);

sb_status sb_plan_cuda_select(sb_plan *plan, const sb_inputs *in, sb_err *err);
sb_status sb_plan_cuda_read(sb_plan *plan, sb_pattern *pat, sb_err *err);
sb_status sb_plan_cuda_attend(sb_plan *plan, const sb_inputs *in, const sb_outputs *out,
                              sb_err *err);

/** Free the device's side, cuda_select included; there may be none. */
void sb_plan_cuda_close(sb_plan *plan);

/** cuDNN's dense attention, a baseline: planned and timed like a method, but not in the table. */
extern const sb_method sb_cudnn_dense;

#ifdef __cplusplus
}
#endif
#endif
