#ifndef SB_MATCH_H
#define SB_MATCH_H

#include "harness/evaluate.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Where a parameter's value is looked for. */
typedef struct sb_match_range {
    bool whole;       /**< whole numbers only */
    double low, high; /**< both ends can be found, but for a real number's low when low_open */
    bool low_open;
    int direction; /**< +1: the quantity grows with the parameter; -1: it falls */
    double guess;  /**< tried first */
} sb_match_range;

typedef struct sb_match_found {
    double x, y; /**< of all values tried the one whose quantity is nearest to the wanted one */
    int n_tried;
} sb_match_found;

enum { SB_MATCH_TRIES = 24 };

/** The quantity, above 0, at x to *y. An error ends the search. */
typedef sb_status sb_match_curve(void *self, double x, double *y, sb_err *err);

/**
 * Find where a monotone quantity, which may have steps and plateaus, comes nearest to `wanted`
 * (above 0): false position (Illinois) between the nearest values on either side, with bisection
 * where that is slow. Ends within the relative `tolerance`, after eight tries within 5 times that,
 * where no value is left between the two sides or four tries in a row found nothing new, or after
 * SB_MATCH_TRIES. Out of reach, a
 * value that gives as much as the nearer end is found. Real numbers have 9 digits, so that what is
 * printed is what was tried, and both of their ends are resolved to 1e-7 of the range.
 */
sb_status sb_match_find(const sb_match_range *range, double wanted, double tolerance,
                        sb_match_curve *curve, void *self, sb_match_found *found, sb_err *err);

/** What a matched variant is matched by and to, "density: stem mu=1 ...", for sb_free; parameters
 *  are joined by `sep`. NULL when memory runs out. */
char *sb_match_text(const sb_config *cfg, const sb_variant *v, const char *sep);

/**
 * Set the cell's parameter that is solved for (sb_param.solve) so that what it realises on the
 * shape at hand comes nearest to what its target realises there; match_target and match_residual
 * of its record too. SB_INTERRUPTED when asked to stop; what planning and selecting return.
 */
sb_status sb_match_solve(const sb_sweep *sweep, const sb_shape_data *data, sb_cell *cell,
                         sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
