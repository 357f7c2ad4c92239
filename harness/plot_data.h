#ifndef SB_PLOT_DATA_H
#define SB_PLOT_DATA_H

#include "harness/results.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SB_PLOT_COLOURS = 9,
    SB_PLOT_CURVES = 2 * SB_PLOT_COLOURS, /**< curves shown at most: solid ones, then dashed ones */
    SB_PLOT_DENSE = SB_PLOT_CURVES + 1    /**< slot of the dense baseline */
};

/** A method with every parameter fixed but its budget. */
typedef struct sb_plot_curve {
    const sb_record *first; /**< names the method and the parameters */
    char *label;            /**< the method and what tells the curve from the method's others */
    int slot;               /**< 1..SB_PLOT_CURVES: colour and place in the key; 0: not shown */
} sb_plot_curve;

/** One setting of a curve at one length, over all layers of the group. */
typedef struct sb_plot_point {
    int64_t curve;
    int64_t tokens;
    const sb_record **cells; /**< [n_layers] its record of each layer */
    double budget;           /**< sum of (flops_attend + flops_select) / sum of flops_dense */
    double density;          /**< mean over layers, as all times are */
    double rel_l2;           /**< geometric mean over layers */
    double select_ms, attend_ms, total_ms, total_ms_lo, total_ms_hi;
    bool pareto; /**< no other point of its length has as little budget and as little error */
} sb_plot_point;

/** The records of one capture, dtype and backend: what one set of pictures shows. */
typedef struct sb_plot_group {
    const sb_record *first;
    int64_t n_layers, n_lengths, n_curves, n_points;
    int64_t *layers;  /**< ascending */
    int64_t *lengths; /**< ascending, tokens */
    sb_plot_curve *curves;
    sb_plot_point *points; /**< by curve, then tokens, then density */
    const sb_record **cells;
    double *dense_ms;     /**< [n_lengths] dense baseline, mean over layers of the median over
                               records; NaN where not measured */
    double *dense_rel_l2; /**< [n_lengths] of the dense method, geometric mean; NaN where none */
    int64_t n_incomplete; /**< points left out because a layer is missing */
} sb_plot_group;

/** Whether two records belong to the same group. */
bool sb_plot_same_group(const sb_record *a, const sb_record *b);

/** Whether a record is finished: its numbers may be shown. */
bool sb_plot_usable(const sb_record *r);

/** Whether records[i] is the first finished one of its group. */
bool sb_plot_opens_group(const sb_record *records, int64_t i);

/**
 * Gather the finished records of the group of `first` into curves and points. Curves and slots
 * come in the order of the records, which must outlive the group. SB_NO_MEMORY.
 */
sb_status sb_plot_group_build(const sb_record *records, int64_t n, const sb_record *first,
                              sb_plot_group *g, sb_err *err);
void sb_plot_group_free(sb_plot_group *g);

/** Whether two records differ at most in layer, length and budget. */
bool sb_plot_same_curve(const sb_record *a, const sb_record *b);

/** Give every curve its label: the method and the fewest parameters that tell the method's curves
 *  apart. SB_NO_MEMORY. */
sb_status sb_plot_label(sb_plot_curve *curves, int64_t n, sb_err *err);

/** Choose the curves to show: methods take turns, each spread over its curves. Sets the slots. */
void sb_plot_choose(sb_plot_curve *curves, int64_t n);

/** Point of a curve at `tokens` whose density is nearest to `density` and within a factor of 1.5,
 *  or NULL. */
const sb_plot_point *sb_plot_nearest(const sb_plot_group *g, int64_t curve, int64_t tokens,
                                     double density);

/**
 * The density at which the shown curves compare best over lengths[from_length] and up: of those at
 * the longest length, one with the most curves nearby at the most lengths, and among equals the one
 * nearest to a quarter. NaN when there is none.
 */
double sb_plot_density(const sb_plot_group *g, int64_t from_length);

/** A picture of a group: the name of its script and the writer of its data. */
typedef struct sb_figure {
    const char *name;
    const char *needs; /**< what the results must hold for it */
    /** Write rows for gnuplot, and captions and key; *n_rows = 0 when there is nothing to show.
     *  NULL: the picture is of the whole run (sb_plot_write_throughput). */
    sb_status (*write)(const sb_plot_group *g, const char *csv_path, const char *key_path,
                       int64_t *n_rows, sb_err *err);
} sb_figure;

enum { SB_N_FIGURES = 9 };
extern const sb_figure sb_figures[SB_N_FIGURES];

/** Write the data of the picture `throughput`: what attention reaches at each density, against the
 *  machine's peak and against RUN_DIR/peers.csv. SB_IO; SB_BAD_DATA for a wrong peers.csv. */
sb_status sb_plot_write_throughput(const sb_record *records, int64_t n, const char *run_dir,
                                   const char *csv_path, const char *key_path, int64_t *n_rows,
                                   sb_err *err);

/** Write the data of the picture `speedup_length`: speedup over dense, selection's share of the
 * time and the length from which a curve is ahead of dense, at nearly equal density. SB_IO. */
sb_status sb_plot_write_speedup(const sb_plot_group *g, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err);

/** sb_plot_run on records at hand. `run_dir` must exist. */
sb_status sb_plot_records(const sb_record *records, int64_t n, const char *run_dir,
                          const char *format, int quiet, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
