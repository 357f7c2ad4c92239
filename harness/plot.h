#ifndef SB_PLOT_H
#define SB_PLOT_H

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Draw every plot that the results of a run directory allow into RUN_DIR/plots/, with gnuplot.
 * format: "svg", "png" or "pdf". First writes plots/data (CSV files that gnuplot reads: all a plot
 * shows comes from them), then runs scripts/plots/NAME.gp for each. SB_UNAVAILABLE when gnuplot is
 * not installed; SB_USAGE for an unknown format; SB_BAD_DATA when RUN_DIR holds no results.
 */
sb_status sb_plot_run(const char *run_dir, const char *format, int quiet, sb_err *err);

/**
 * Draw the results of two runs over each other into RUN_DIR/plots/vs-NAME/, NAME being other_dir's
 * base name: every figure of curves, at the layers and lengths that both runs have. A setting has
 * one colour; the second run's curves are dashed with open markers. Groups of capture and dtype are
 * put over the other run's of the same capture file and dtype, or, where each run has one alone,
 * over that. As sb_plot_run; SB_BAD_DATA when the runs share nothing.
 */
sb_status sb_plot_versus(const char *run_dir, const char *other_dir, const char *format, int quiet,
                         sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
