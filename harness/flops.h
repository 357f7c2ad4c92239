#ifndef SB_FLOPS_H
#define SB_FLOPS_H

#include "harness/pattern.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Floating-point operations of one attention call: a token pair costs 2 (D + Dv). */
typedef struct sb_flops {
    double dense;  /**< every causal pair */
    double attend; /**< the pairs that the pattern attends, causal mask applied: the useful work */
    double tile;   /**< whole executed tiles, masked parts included: what the kernel issues */
} sb_flops;

/** `pat` NULL means dense, run in square tiles of dense_tile tokens. */
sb_flops sb_flops_count(const sb_problem *p, const sb_pattern *pat, int64_t dense_tile);

#ifdef __cplusplus
}
#endif
#endif
