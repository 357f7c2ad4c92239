#ifndef SB_CPU_ATTEND_H
#define SB_CPU_ATTEND_H

#include "harness/pattern.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * One CPU attention kernel. The table sb_cpu_kernels() lists them best first.
 *
 * attend: exact softmax(scale q k^T) v over the kept blocks of `pat`, or the kept tokens of those,
 * token-level causal mask on the diagonal block; pat == NULL means every causal block. Online
 * softmax with float32 accumulation; O rounded to problem.dtype, LSE float32. The result does not
 * depend on n_threads. Allocates nothing: `scratch` holds scratch_bytes(p, block, n_threads) bytes,
 * aligned to 64. block is pat->block, or any tile size for dense.
 */
typedef struct sb_attend_kernel {
    const char *name;   /**< recorded in results: "portable-avx512" */
    const char *isa;    /**< "x86-64", "avx2", "avx512", "amx" */
    bool tokens;        /**< takes patterns of tokens too */
    int64_t dense_tile; /**< block with which dense attention runs best */
    bool (*available)(void);
    bool (*supports)(const sb_problem *p, int64_t block); /**< NULL: every problem and block */
    size_t (*scratch_bytes)(const sb_problem *p, int64_t block, int n_threads);
    void (*attend)(const sb_problem *p, const sb_inputs *in, const sb_pattern *pat, int64_t block,
                   const sb_outputs *out, void *scratch, int n_threads);
} sb_attend_kernel;

/** Whether this machine can run the kernel on the problem with this block. */
static inline bool sb_attend_runs(const sb_attend_kernel *kernel, const sb_problem *p,
                                  int64_t block)
{
    return kernel->available() && (!kernel->supports || kernel->supports(p, block));
}

enum { SB_DENSE_TILE = 64 }; /**< tile size in which dense attention is counted and binned */

/** All kernels of this build, best first. */
const sb_attend_kernel *const *sb_cpu_kernels(int *n);

/** Whether a kernel of this build has that ISA name. */
bool sb_isa_known(const char *isa);

/**
 * Let dispatch use no ISA level above `isa` from now on ("x86-64", "avx2", "avx512", "amx"),
 * whatever STEMBENCH_ISA_MAX says. SB_USAGE for an unknown name; SB_UNAVAILABLE, and no change,
 * where this build or this machine has not got that level. Not while another thread dispatches.
 */
sb_status sb_isa_limit(const char *isa, sb_err *err);

/** The best kernel that this machine can run for the problem and block, within the level given to
 *  sb_isa_limit, else within that of the environment's STEMBENCH_ISA_MAX. Never NULL: the portable
 *  kernel runs everything anywhere. */
const sb_attend_kernel *sb_cpu_kernel_for(const sb_problem *p, int64_t block);

/** The same for patterns of tokens. */
const sb_attend_kernel *sb_cpu_token_kernel_for(const sb_problem *p);

#ifdef __cplusplus
}
#endif
#endif
