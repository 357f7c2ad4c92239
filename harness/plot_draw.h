#ifndef SB_PLOT_DRAW_H
#define SB_PLOT_DRAW_H

#include "harness/plot_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A group or a model that is drawn, and what its files' names end with. */
typedef struct sb_plot_set {
    sb_plot_group group;
    sb_model model;
    bool of_model;
    char *suffix; /**< sb_free's */
} sb_plot_set;

/** Where pictures go and what they show. */
typedef struct sb_plot_job {
    const char *plots_dir, *format;
    int quiet;
    sb_plot_set *sets;
    int64_t n_sets;
    /* The run of the pictures that are of a whole run; no records: none of those. */
    const char *run_dir;
    const sb_record *records;
    int64_t n;
    char date[16]; /**< of the newest record, "20260131235959": what a PDF is dated */
} sb_plot_job;

/** Refuse an unknown format with SB_USAGE. */
sb_status sb_plot_format(const char *format, sb_err *err);

/** Date a job by its newest record; call it for the records of each run. */
void sb_plot_date(sb_plot_job *j, const sb_record *records, int64_t n);

/** "_capture_dtype_backend", or nothing where there is one set only. NULL: no memory. */
char *sb_plot_suffix(const sb_record *first, bool alone);

/** "_model_dtype_backend", likewise. */
char *sb_model_suffix(const sb_record *first, bool alone);

/** Write PLOTS_DIR/data and draw every picture that the sets allow. PLOTS_DIR is made where it is
 *  not there, its parent is. As sb_plot_run. */
sb_status sb_plot_draw(const sb_plot_job *j, sb_err *err);

/** Free what sb_plot_draw was given sets of. */
void sb_plot_sets_free(sb_plot_set *sets, int64_t n);

/**
 * Run gnuplot -c SCRIPT NAME FORMAT in plots_dir and, where it wrote a PDF, date that `date`
 * (sb_plot_job), so that the same results give the same bytes; with cairo 1.18 and later a PDF
 * keeps the time of drawing. SB_UNAVAILABLE when there is no gnuplot; SB_INTERNAL with what it
 * said; SB_IO.
 */
sb_status sb_gnuplot(const char *script, const char *plots_dir, const char *name,
                     const char *format, const char *date, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
