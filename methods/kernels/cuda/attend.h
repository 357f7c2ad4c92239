#ifndef SB_CUDA_ATTEND_H
#define SB_CUDA_ATTEND_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A pattern on the device: the same CSR lists as sb_pattern, with the same obligations (causal,
 *  ascending, unique, diagonal block kept). Both arrays are device pointers. */
typedef struct sb_cuda_pattern {
    int64_t n_rows;         /**< rows of the longest sequence */
    int64_t block;          /**< query and key block size, tokens */
    const int64_t *row_ptr; /**< [B H n_rows + 1] */
    const int32_t *col;     /**< [row_ptr[B H n_rows]] */
} sb_cuda_pattern;

/** Everything that attention of one shape needs besides its inputs. Not to be used by two calls
 *  that may run at the same time. */
typedef struct sb_cuda_attend_plan sb_cuda_attend_plan;

/**
 * Plan exact attention over kept blocks, softmax(scale q k^T) v, for bf16 and f16 and dimensions
 * up to 256 on the current device.
 *
 * There are two kernels: "cuda-sm90" (TMA and WGMMA; compute capability 9.0, D == Dv of 64 or 128,
 * blocks of a multiple of 64) and "cuda-mma" (compute capability 8.0 and later, any block). The
 * environment variable STEMBENCH_CUDA_KERNEL=mma forces the latter. `block` is that of the patterns
 * to come, 0 for none; every plan also attends densely.
 *
 * SB_UNSUPPORTED: no kernel takes the shape, or the device's memory does not hold the plan;
 * SB_UNAVAILABLE: the device is too old or failed.
 */
sb_status sb_cuda_attend_plan_create(const sb_problem *p, int64_t block, sb_stream stream,
                                     sb_cuda_attend_plan **plan, sb_err *err);

/** Name of the kernel that attends the plan's patterns (densely, when its block is 0). */
const char *sb_cuda_attend_kernel(const sb_cuda_attend_plan *plan);

/**
 * Attend on the plan's stream; returns once the work is enqueued, and allocates nothing.
 *
 * `in` and `out` hold device pointers, 16-byte aligned, laid out as in sb_inputs and sb_outputs.
 * `pat` NULL means every causal block. Scores, sums and O are accumulated in float32, P is rounded
 * to the dtype before P V. out->lse may be NULL. The result is the same, bit for bit, in every run.
 * Elements past a sequence's lengths are neither used nor written.
 *
 * SB_USAGE: misaligned pointers or a pattern of another block; SB_UNAVAILABLE: the launch failed.
 */
sb_status sb_cuda_attend(sb_cuda_attend_plan *plan, const sb_inputs *in, const sb_cuda_pattern *pat,
                         const sb_outputs *out, sb_err *err);

/** Free a plan; NULL is allowed. Waits for its work on the device. */
void sb_cuda_attend_plan_destroy(sb_cuda_attend_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
