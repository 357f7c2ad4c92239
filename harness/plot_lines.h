#ifndef SB_PLOT_LINES_H
#define SB_PLOT_LINES_H

#include "harness/plot_data.h"
#include "harness/plot_params.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SB_SWEEP_VALUES = 3 }; /**< values that a line has at least */

/** A setting on a line: a parameter's value there. */
typedef struct sb_sweep_stop {
    const sb_plot_point *point;
    double x;
    double target; /**< density of the first setting found of its line */
    int64_t line;
} sb_sweep_stop;

/** A numeric parameter, and the lines along it: settings of the longest length that differ in
 *  nothing else and have the same target of density. */
typedef struct sb_sweep_panel {
    sb_span name;
    const char *scale; /**< of its values: "log2" for powers of two, "log" where that spaces them
                            better over a factor of ten or more, else "linear" */
    int64_t n_stops, n_lines;
    sb_sweep_stop *stops; /**< by target, line and x */
} sb_sweep_panel;

/**
 * Find the lines along `name`; n_lines = 0 where there is none. Settings have the same target where
 * both were matched to the same one (but for the parameter), where their `schedule.total` is equal
 * to 2 %, or where either has none and their densities are. The panel's stops are sb_free's, on
 * failure too. SB_NO_MEMORY.
 */
sb_status sb_sweep_find(const sb_plot_group *g, sb_span name, sb_sweep_panel *p, sb_err *err);

/** Keep at most so many lines, spread over all. */
void sb_sweep_thin(sb_sweep_panel *p, int64_t most);

#ifdef __cplusplus
}
#endif
#endif
