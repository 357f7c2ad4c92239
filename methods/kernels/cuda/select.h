#ifndef SB_CUDA_SELECT_H
#define SB_CUDA_SELECT_H

#include "harness/pattern.h"
#include "methods/kernels/cuda/attend.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Value bonus of a key block, as in methods/score_value.c. */
typedef enum sb_cuda_bonus {
    SB_CUDA_BONUS_NONE,
    SB_CUDA_BONUS_PAPER,
    SB_CUDA_BONUS_RELEASED
} sb_cuda_bonus;

/** What selects: block scores, a value bonus, a budget a row, forced blocks. */
typedef struct sb_cuda_select_spec {
    int64_t block;
    int64_t stride;      /**< S of the anti-diagonal score and of the released bonus */
    bool mean_score;     /**< mean-pooled blocks in place of anti-diagonal sampling */
    bool unscaled_score; /**< without 1 / (S sqrt(D)) */
    sb_cuda_bonus bonus;
    double beta; /**< weight of the bonus, >= 0 */
    int64_t sinks, window;
    const int32_t *budget; /**< [B, sb_max_rows] blocks of each row, on the host; copied. A row
                                whose budget is all of its causal blocks keeps them unscored */
} sb_cuda_select_spec;

/** Everything that selection for one shape needs besides its inputs, the pattern among it. */
typedef struct sb_cuda_select_plan sb_cuda_select_plan;

/**
 * Plan block top-k selection on the current device; waits for the stream. Any dtype and dimension.
 *
 * SB_USAGE: stride does not divide block; SB_UNSUPPORTED: the shape does not fit into the device's
 * memory, or has more than 24576 key blocks; SB_NO_MEMORY; SB_UNAVAILABLE: the device failed.
 */
sb_status sb_cuda_select_plan_create(const sb_problem *p, const sb_cuda_select_spec *spec,
                                     sb_stream stream, sb_cuda_select_plan **plan, sb_err *err);

/**
 * Select from q, k and v (device pointers, laid out as in sb_inputs) into the plan's pattern.
 * Returns once the work is enqueued on the plan's stream; allocates nothing.
 *
 * The pattern equals that of the CPU (methods/select_topk.c), ties included: tensor cores score all
 * blocks within a proven bound, and what they cannot rank with certainty is scored again in the
 * CPU's own order of float32 additions. The one thing not equal by construction is the last bit of
 * a value bonus, which passes through the logarithm and, when released, sums of the C library in
 * float64; KERNELS.md says how rarely that can show.
 */
sb_status sb_cuda_select(sb_cuda_select_plan *plan, const sb_inputs *in, sb_err *err);

/** The plan's pattern; its arrays are filled by each sb_cuda_select. */
const sb_cuda_pattern *sb_cuda_select_pattern(const sb_cuda_select_plan *plan);

/** Blocks that the pattern has room for, over all sequences and heads. */
int64_t sb_cuda_select_capacity(const sb_cuda_select_plan *plan);

/** Bytes of device memory that the plan holds. */
int64_t sb_cuda_select_bytes(const sb_cuda_select_plan *plan);

/** Copy the pattern to a host pattern of at least that capacity; waits for the stream. */
sb_status sb_cuda_select_read(const sb_cuda_select_plan *plan, sb_pattern *pat, sb_err *err);

/** List entries whose scores were computed twice in the last selection, over all rows; waits for
 * the stream. A measure of how often the bound decides. */
sb_status sb_cuda_select_rescored(const sb_cuda_select_plan *plan, int64_t *n, sb_err *err);

/** Free a plan; NULL is allowed. Waits for its work on the device. */
void sb_cuda_select_plan_destroy(sb_cuda_select_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
