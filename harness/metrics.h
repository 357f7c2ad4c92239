#ifndef SB_METRICS_H
#define SB_METRICS_H

#include "harness/reference.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * How near an output is to the reference. Rows are (query token, head) pairs. rel_l2 aggregates are
 * Frobenius: ||O - R|| / ||R|| over the rows in question.
 */
typedef struct sb_fidelity {
    double rel_l2, rel_l2_p50, rel_l2_p95, rel_l2_max; /**< all rows; percentiles of row errors */
    double cosine_mean, cosine_min;
    double max_abs;
    double mass_recall; /**< mean over rows of exp(LSE - LSE_ref) */
    double lse_err;     /**< mean over rows of |LSE - LSE_ref|, nats */
    int64_t n_heads;
    double *head_rel_l2;      /**< [H] */
    double *head_mass_recall; /**< [H] */
    int64_t n_bins;           /**< position bins of bin_tokens query tokens each */
    int64_t bin_tokens;
    double *pos_rel_l2;      /**< [n_bins]; NaN where no row was sampled */
    double *pos_mass_recall; /**< [n_bins] */
} sb_fidelity;

/**
 * Compare outputs (B = 1) with the reference at its rows. SB_INTERNAL with the first place when an
 * output or LSE is NaN or infinite. Deterministic for any n_threads.
 */
sb_status sb_fidelity_measure(const sb_problem *p, const sb_outputs *out, const sb_reference *ref,
                              int64_t bin_tokens, int n_threads, sb_fidelity *fid, sb_err *err);
void sb_fidelity_free(sb_fidelity *fid);

#ifdef __cplusplus
}
#endif
#endif
