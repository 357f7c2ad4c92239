#ifndef SB_PLOT_DATA_H
#define SB_PLOT_DATA_H

#include <stddef.h>

#include "harness/results.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SB_PLOT_COLOURS = 9,
    SB_PLOT_CURVES = 2 * SB_PLOT_COLOURS, /**< curves shown at most: solid ones, then dashed ones */
    SB_PLOT_DENSE = SB_PLOT_CURVES + 1,   /**< slot of the dense baseline; the next: of run 1's */
    SB_PLOT_RUNS = 2                      /**< runs in one picture at most */
};

/** Records of a run that enter a group: those of the group of `first`. */
typedef struct sb_plot_source {
    const sb_record *records;
    int64_t n;
    const sb_record *first;
    const char *name; /**< of the run, where a picture shows two */
} sb_plot_source;

/** A method with every parameter fixed but its budget. */
typedef struct sb_plot_curve {
    const sb_record *first; /**< names the method and the parameters */
    char *label;            /**< the method and what tells the curve from the method's others */
    int slot;               /**< 1..SB_PLOT_CURVES: colour and place in the key; 0: not shown */
    int run;                /**< which of the group's runs it is of */
    int64_t twin;           /**< of run 1: the curve of run 0 with its setting; -1: none */
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

/**
 * The records of one capture, dtype and backend: what one set of pictures shows. With two runs
 * those of a group of each, at the layers and lengths that both have; a method with the same
 * parameters is a curve of each run, in slots that are SB_PLOT_COLOURS apart.
 */
typedef struct sb_plot_group {
    const sb_record *first; /**< that of runs[0] */
    sb_plot_source runs[SB_PLOT_RUNS];
    int n_runs;
    int64_t n_layers, n_lengths, n_curves, n_points;
    int64_t *layers;  /**< ascending */
    int64_t *lengths; /**< ascending, tokens */
    sb_plot_curve *curves;
    sb_plot_point *points; /**< by curve, then tokens, then density */
    const sb_record **cells;
    double *dense_ms;     /**< [n_runs, n_lengths] dense baseline, mean over layers of the median
                               over records; NaN where not measured */
    double *dense_rel_l2; /**< [n_runs, n_lengths] of the dense method, geometric mean; NaN where
                               none */
    int64_t n_incomplete; /**< points left out because a layer is missing */
    int64_t n_mixed;      /**< lengths of runs whose times were taken on unlike machines */
} sb_plot_group;

/** Make the curves and points of a group of its records own [ends[n_runs - 1]], run by run, run k's
 *  up to ends[k]. SB_NO_MEMORY. */
sb_status sb_plot_make_points(sb_plot_group *g, const sb_record *const *own, const int64_t *ends,
                              sb_err *err);

/** Make the times of each length NaN, that of dense too, at which the records of a run in the
 * group, own [n_own], were timed on unlike machines (sb_provenance_same_machine). */
void sb_plot_drop_mixed_times(sb_plot_group *g, const sb_record *const *own, int64_t n_own,
                              int run);

/** Whether two records belong to the same group. */
bool sb_plot_same_group(const sb_record *a, const sb_record *b);

/** Whether a record is finished and of attention alone, not of a model in the loop: its numbers may
 *  be shown. */
bool sb_plot_usable(const sb_record *r);

/** Whether a record is of a method without a pattern: dense attention. */
bool sb_plot_is_dense(const sb_record *r);

/** Whether records[i] is the first finished one of its group. */
bool sb_plot_opens_group(const sb_record *records, int64_t i);

/**
 * Gather the finished records of the group of `first` into curves and points. Curves and slots
 * come in the order of the records, which must outlive the group. SB_NO_MEMORY.
 */
sb_status sb_plot_group_build(const sb_record *records, int64_t n, const sb_record *first,
                              sb_plot_group *g, sb_err *err);
void sb_plot_group_free(sb_plot_group *g);

/** sb_plot_group_build of 1 or 2 runs. A group without curves where the runs share no layer at an
 *  equal length. */
sb_status sb_plot_group_gather(const sb_plot_source *runs, int n_runs, sb_plot_group *g,
                               sb_err *err);

/** Median time of dense at lengths[i] in the run of a curve; NaN where not measured. */
double sb_plot_dense_ms(const sb_plot_group *g, int64_t curve, int64_t i);

/** Give the curves of a group of two runs their labels and slots. SB_NO_MEMORY. */
sb_status sb_plot_pair_curves(sb_plot_group *g, sb_err *err);

/**
 * Whether a curve of run 1 would hide its twin: same patterns and FLOPs at every point and, with
 * `errors`, the same errors to the bit. Such a curve is drawn once, as that of run 0.
 */
bool sb_plot_repeats(const sb_plot_group *g, int64_t curve, bool errors);

/** Whether two records differ at most in layer, length and budget. */
bool sb_plot_same_curve(const sb_record *a, const sb_record *b);

/** Give every curve its label, none of which has one: the method and the fewest parameters that
 * tell the method's curves apart. SB_NO_MEMORY. */
sb_status sb_plot_label(sb_plot_curve *curves, int64_t n, sb_err *err);

/** Parameters that a reader looks for first. */
enum { SB_PLOT_LEADING = 6 };
extern const char *const sb_plot_leading[SB_PLOT_LEADING];

/** Choose `most` curves to show: methods take turns, each spread over its curves. Sets the slots.
 *  SB_NO_MEMORY. */
sb_status sb_plot_choose(sb_plot_curve *curves, int64_t n, int64_t most, sb_err *err);

/** The points of a curve, n of them, at `tokens` or, where that is 0, at all lengths. */
const sb_plot_point *sb_plot_points_of(const sb_plot_group *g, int64_t curve, int64_t tokens,
                                       int64_t *n);

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

/** The longest length, tokens; 0 where there is none. */
int64_t sb_plot_longest(const sb_plot_group *g);

typedef struct sb_model sb_model;

/** A picture: the name of its script and the writer of its data, of a group or of a model in the
 *  loop (plot_model.h). With neither it is of the whole run (sb_plot_write_throughput). */
typedef struct sb_figure {
    const char *name;
    const char *needs; /**< what the results must hold for it */
    /** Write rows for gnuplot, and captions and key; *n_rows = 0 when there is nothing to show. */
    sb_status (*write)(const sb_plot_group *g, const char *csv_path, const char *key_path,
                       int64_t *n_rows, sb_err *err);
    bool overlays; /**< whether two runs can be in one */
    sb_status (*write_model)(const sb_model *m, const char *csv_path, const char *key_path,
                             int64_t *n_rows, sb_err *err);
} sb_figure;

enum { SB_N_FIGURES = 21 };
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

/** Write the data of the pictures over query positions at nearly equal density: errors, kept blocks
 *  of each row, and pattern maps. SB_IO. */
sb_status sb_plot_write_position(const sb_plot_group *g, const char *csv_path, const char *key_path,
                                 int64_t *n_rows, sb_err *err);
sb_status sb_plot_write_schedules(const sb_plot_group *g, const char *csv_path,
                                  const char *key_path, int64_t *n_rows, sb_err *err);
sb_status sb_plot_write_maps(const sb_plot_group *g, const char *csv_path, const char *key_path,
                             int64_t *n_rows, sb_err *err);

/** From which length, in tokens, a curve is faster than dense at nearly that density: "3000",
 *  "< 2048" where it is at the shortest length, "> 8192" where it is not at the longest. */
void sb_plot_break_even(const sb_plot_group *g, int64_t curve, double density, char *buf,
                        size_t bytes);

/** Write the data of the picture `paired`: errors over those of the first curve at equal density,
 *  head by head: geometric means with 95 % intervals. SB_IO. */
sb_status sb_plot_write_paired(const sb_plot_group *g, const char *csv_path, const char *key_path,
                               int64_t *n_rows, sb_err *err);

/** Write the data of the picture `sweep`: error and cost of selecting against each parameter of
 *  which settings alike in all else have three values or more. SB_IO, SB_NO_MEMORY. */
sb_status sb_plot_write_sweep(const sb_plot_group *g, const char *csv_path, const char *key_path,
                              int64_t *n_rows, sb_err *err);

/** Write the data of the picture `error_layer`: error by layer at nearly equal density, and its
 *  ratio to the first curve's. SB_IO. */
sb_status sb_plot_write_layers(const sb_plot_group *g, const char *csv_path, const char *key_path,
                               int64_t *n_rows, sb_err *err);

/** Write the data of the picture `schedule_length`: density, fullest row and error of settings over
 *  six lengths or more. SB_IO, SB_NO_MEMORY. */
sb_status sb_plot_write_lengths(const sb_plot_group *g, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err);

/** sb_plot_run on records at hand. `run_dir` must exist. */
sb_status sb_plot_records(const sb_record *records, int64_t n, const char *run_dir,
                          const char *format, int quiet, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
