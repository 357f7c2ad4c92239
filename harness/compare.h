#ifndef SB_COMPARE_H
#define SB_COMPARE_H

#include "harness/compare_run.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A fidelity column and how far it may get worse. Patterns being equal, two builds differ by the
 * rounding of their kernels alone, and impl_rel_l2 of the baseline's cell measures just that: so
 * tolerances are multiples of it. They are at least twice the largest change seen between the
 * kernels for x86-64, AVX2, AVX-512 and AMX in f32, f16 and bf16. One build on one instruction set
 * gives equal bits. max_abs is not judged: it has the scale of the model's values.
 *
 * Records with a model in the loop have no impl_rel_l2: what a kernel rounds otherwise changes what
 * later layers select. Their tolerance is a share of the baseline's value, and a floor for settings
 * so near to dense that rounding is most of it, again at least twice the largest change seen:
 * between AVX2 and AMX, of SmolLM2-135M in bf16 at 2048 tokens. `exact` is not judged: score says
 * more.
 */
typedef struct sb_judged_column {
    const char *name;
    int worse;        /**< +1: a larger value is worse; -1: a smaller one */
    double tolerance; /**< in units of the baseline's impl_rel_l2 */
    double share;     /**< with a model in the loop: of the baseline's value, */
    double floor;     /**< and added to that */
} sb_judged_column;

enum { SB_N_JUDGED = 14 };
extern const sb_judged_column sb_judged[SB_N_JUDGED];

/** What became of a cell, worst last. */
typedef enum sb_outcome {
    SB_CELL_SAME,
    SB_CELL_IMPROVED,  /**< a fidelity column is better beyond its tolerance, and none is worse */
    SB_CELL_RECOVERED, /**< computed now, and not in the baseline */
    SB_CELL_EXTRA,     /**< in the candidate alone */
    SB_CELL_STILL,     /**< failed or unsupported in both, nothing to compare */
    SB_CELL_REGRESSED, /**< another pattern, or a fidelity column worse beyond its tolerance */
    SB_CELL_RESOLVED,  /**< resolved to other parameters than in the baseline */
    SB_CELL_FAILED,    /**< computed in the baseline; failed or unsupported now */
    SB_CELL_MISSING,   /**< in the baseline alone */
    SB_N_OUTCOMES
} sb_outcome;

/** How the times of a cell compare: by intervals, with AMBG where they do not tell. */
typedef enum sb_speed {
    SB_SPEED_NONE,    /**< not timed on both sides */
    SB_SPEED_REFUSED, /**< timed on different machines */
    SB_SPEED_SAME,    /**< surely within SB_SAME_TIME of each other */
    SB_SPEED_FAST,    /**< the candidate's interval lies below the baseline's */
    SB_SPEED_SLOW,    /**< above it */
    SB_SPEED_AMBG,
    SB_N_SPEEDS
} sb_speed;
#define SB_SAME_TIME 0.02

/** A cell of the baseline, of the candidate, or of both. */
typedef struct sb_pair {
    int64_t base, cand; /**< indices into the runs' records, or -1 */
    sb_outcome outcome;
    bool mask_differs;
    uint32_t worse, better; /**< bit i: sb_judged[i], beyond its tolerance */
    double severity;        /**< largest worsening in units of its tolerance; infinite for a cell or
                                 a column that is gone */
    sb_speed speed;
    double time_lo, time_hi; /**< candidate / baseline of total_ms lies between these; or NaN */
} sb_pair;

/** Mean of candidate / baseline over cells, and its extremes. */
typedef struct sb_ratio {
    int64_t n;
    double mean, min, max; /**< geometric */
} sb_ratio;

typedef struct sb_comparison {
    sb_compare_run base, cand;
    int64_t n;
    sb_pair *pairs; /**< [n] in order of the baseline's cells, then extra ones */
    int64_t n_outcomes[SB_N_OUTCOMES];
    int64_t n_speeds[SB_N_SPEEDS];
    int64_t n_masks, n_masks_differ; /**< of pairs that have one */
    int64_t n_solved;                /**< matched budgets solved to another value */
    int64_t n_failed, n_unsupported; /**< of the candidate's cells */
    sb_ratio speedup, conversion;
    int64_t other_machine; /**< index of the first pair made on different machines, or -1 */
} sb_comparison;

/**
 * Compare two run directories, those cells that `where` names. Cells are paired by what identifies
 * them across builds (sb_cell_id). Where a shape and method has as many cells left in the one run
 * as in the other, these are paired in their order, as resolved differently: the build changed a
 * parameter. `force` compares times across machines. SB_BAD_DATA when a run cannot be read or holds
 * a cell twice, or the baseline holds none. Ends as sb_comparison_free wants it, on errors too.
 */
sb_status sb_compare(const char *baseline, const char *candidate, const sb_where *where, bool force,
                     sb_comparison *c, sb_err *err);
void sb_comparison_free(sb_comparison *c);

/** The record of a pair to name it by: the baseline's where there is one. */
const sb_record *sb_pair_record(const sb_comparison *c, const sb_pair *p);

/** The worst cells: those that are worse than SB_CELL_STILL, worst first, at most `most`, as
 *  indices of pairs. Returns how many. */
int64_t sb_compare_worst(const sb_comparison *c, int64_t *worst, int64_t most);

/** Tolerance of a judged column in a pair, or NaN. */
double sb_pair_tolerance(const sb_comparison *c, const sb_pair *p, int judged);

/** Value of a judged column in a record. */
double sb_judged_of(int judged, const sb_record *r);

#ifdef __cplusplus
}
#endif
#endif
