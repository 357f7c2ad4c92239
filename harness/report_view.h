#ifndef SB_REPORT_VIEW_H
#define SB_REPORT_VIEW_H

/* What the files of harness/report*.c share. */

#include <stdio.h>

#include "harness/plot_data.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A run as its report sees it. */
typedef struct sb_report_view {
    const char *name;
    const char *config; /**< the text of config.yaml, or NULL */
    const sb_record *records;
    int64_t n;
    const sb_plot_group *groups; /**< of the records, and of stand-ins with the same indices */
    int64_t n_groups;
} sb_report_view;

/* ---- report_run.c ----------------------------------------------------------------------- */

enum { SB_NAME_BYTES = 512 };

/** Writes to buf [SB_NAME_BYTES] how a record names one of its properties. Returns buf. */
typedef const char *sb_report_name(const sb_record *r, char *buf);

sb_report_name sb_report_machine; /**< "2 threads, CPU, GPU" */
sb_report_name sb_report_kernel;
sb_report_name sb_report_version; /**< of what wrote it: "stembench 0.1.0 (commit abc)" */

/** Write a text into a file in some form: sb_html_text, or into a JSON string. */
typedef void sb_report_put(FILE *out, const char *text);

/** Write the distinct names that the records have, in their order. SB_NO_MEMORY. */
sb_status sb_report_each_name(const sb_report_view *v, sb_report_name *name, const char *separator,
                              sb_report_put *put, FILE *out, sb_err *err);

/** HTML: what was run, and what of it failed. SB_NO_MEMORY. */
sb_status sb_report_write_run(FILE *out, const sb_report_view *v, sb_err *err);

/** HTML: the distinct provenance texts, and the config. SB_NO_MEMORY. */
sb_status sb_report_write_provenance(FILE *out, const sb_report_view *v, sb_err *err);

/* ---- report_curves.c -------------------------------------------------------------------- */

/** Whether a curve is a bound of the others, as exact attention's blocks are a ceiling and random
 *  ones a floor: it is shown, and never the best. */
bool sb_report_is_bound(const sb_plot_curve *c);

/** Title of a group, "capture.h5 (model), bf16, cpu", or "model: text, all rows sparse, bf16, cpu",
 *  to buf [SB_NAME_BYTES]. Returns buf. */
const char *sb_report_title(const sb_plot_group *g, char *buf);

/** Begin a table: a caption of its title, a note and what the numbers are of, then its column
 * heads, the first that of the rows' heads. Title and heads are HTML. */
void sb_report_open_table(FILE *out, const sb_plot_group *g, int64_t tokens, const char *title,
                          const char *note, const char *const *heads, int n_heads);
void sb_report_close_table(FILE *out);

/** A cell of a table with a text, or with a number and what follows it; a dash where the number is
 *  not finite. */
void sb_report_text_cell(FILE *out, const char *text);
void sb_report_real_cell(FILE *out, double x, const char *unit);

/** The head of a row: a curve's label. */
void sb_report_label(FILE *out, const char *label);

/* ---- report_model.c --------------------------------------------------------------------- */

/** Whether a record is finished and of a model in the loop. */
bool sb_report_of_model(const sb_record *r);

/** Whether a group is of a model in the loop: of stand-ins. */
bool sb_report_is_model(const sb_plot_group *g);

/** Whether a curve's method attends in some layers, heads or rows of a model alone. */
bool sb_report_is_partial(const sb_plot_curve *c);

/** Make stand-ins [n] of records, empty but for those of a model in the loop: for groups in which
 *  layers are texts, rel_l2 is logit_kl, and where a method attends is one of its parameters. Group
 *  by task and setting. They share all else with the records. Free them on failure too. */
sb_status sb_report_stand_ins(const sb_record *records, int64_t n, sb_record **stand_ins,
                              sb_err *err);
void sb_report_stand_ins_free(sb_record *stand_ins, int64_t n);

/** HTML: what the tables of such a group are of, and what is left out. */
void sb_report_write_model_note(FILE *out, const sb_plot_group *g);

/* ---- tables of one group, as HTML; nothing where there is nothing to say ---------------- */

/** report_best.c: at each cost that curves share, which has the least error. SB_NO_MEMORY. */
sb_status sb_report_write_best(FILE *out, const sb_plot_group *g, sb_err *err);

/** report_speed.c: the fastest at an error, and from where on curves are faster than dense. */
void sb_report_write_speed(FILE *out, const sb_plot_group *g);

/** report_worst.c: where each curve errs most. */
void sb_report_write_worst(FILE *out, const sb_plot_group *g);

#ifdef __cplusplus
}
#endif
#endif
