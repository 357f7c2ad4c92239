#ifndef SB_PLOT_MODEL_H
#define SB_PLOT_MODEL_H

#include "harness/paired.h"
#include "harness/plot_data.h"
#include "harness/plot_sheet.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the pictures of runs with a model in the loop share. */

#define SB_MODEL_DENSITY_NOTE                                                                      \
    "Density = kept / all causal blocks of all layers and heads, forced blocks included; in "      \
    "decoding, of the prefill alone."
#define SB_MODEL_KL_NOTE "KL(dense || method) of next-token distributions"
/* of a format */
#define SB_MODEL_INTERVAL_NOTE "95 %% t intervals over texts (none below four texts)."

/** One method with all its parameters in one place of a model, over the texts it was run on. */
typedef struct sb_model_run {
    const sb_record *first; /**< names all but the text */
    const sb_record **rows; /**< [n] one a text, ascending by text */
    int64_t n;
    double density; /**< mean over texts */
} sb_model_run;

/** The records with a model in the loop of one model, dtype and backend. */
struct sb_model {
    const char *run_dir;
    const sb_record *first;
    sb_model_run *runs; /**< in order of the records */
    int64_t n_runs;
    const sb_record **rows;
    int64_t positions; /**< at which logits are compared in a text; 0: not known */
};

/** Whether a record is finished and of a model in the loop. */
bool sb_model_usable(const sb_record *r);

/** Whether records[i] is the first such one of its model, dtype and backend. */
bool sb_model_opens(const sb_record *records, int64_t i);

/** Gather the records of the model of `first`, which must outlive it. Of two records of one run and
 *  text the first counts. SB_NO_MEMORY, SB_IO. */
sb_status sb_model_build(const sb_record *records, int64_t n, const sb_record *first,
                         const char *run_dir, sb_model *m, sb_err *err);
void sb_model_free(sb_model *m);

/* ---- runs ---------------------------------------------------------------------------------- */

/** Whether two texts of records are equal; NULL is "". */
bool sb_model_same(const char *a, const char *b);

bool sb_model_is_text(const sb_model_run *r);

/** Whether the method is in every layer, head and row, and is not dense. */
bool sb_model_is_whole(const sb_model_run *r);

/** sb_model_is_text and sb_model_is_whole. */
bool sb_model_is_whole_text(const sb_model_run *r);

bool sb_model_is_dense(const sb_model_run *r);

/** Whether all rows are sparse: setting `all`, not `decode`. */
bool sb_model_is_all(const sb_model_run *r);

/** The row of that text, or NULL. */
const sb_record *sb_model_row(const sb_model_run *r, const char *text);

enum sb_model_measure { SB_MODEL_KL, SB_MODEL_MSE };
double sb_model_value(const sb_record *row, enum sb_model_measure measure);

/** Geometric mean of a measure over texts. */
sb_ratio sb_model_mean(const sb_model_run *r, enum sb_model_measure measure);

/** The ratio of a measure to that of another run, paired over the texts that both have. */
sb_ratio sb_model_ratio(const sb_model_run *r, const sb_model_run *base,
                        enum sb_model_measure measure);

/** The ratio of a pair's run to its baseline, each text at its own density. */
struct sb_model_pair;
sb_ratio sb_model_pair_ratio(const struct sb_model_pair *pair, enum sb_model_measure measure);

/* ---- runs picked for a picture -------------------------------------------------------------- */

enum { SB_MODEL_BLOCKS = 4 };

/** Runs of a picture, and their curves: a method with every parameter fixed but the block and, but
 *  for `by_budget`, its budget. */
typedef struct sb_model_pick {
    const sb_model *model;
    const sb_model_run **runs; /**< [n] */
    int64_t *curve;            /**< [n] index of each run's curve */
    sb_plot_curve *curves;     /**< slot 0: not shown */
    sb_record *stubs;          /**< of the curves: method and params without the block */
    int64_t n, n_curves;
    int64_t blocks[SB_MODEL_BLOCKS]; /**< ascending; further ones are left out */
    int n_blocks, n_settings;
    bool by_budget;
} sb_model_pick;

/** Pick the runs of a model that are `wanted`. SB_NO_MEMORY. Free it on failure too. */
sb_status sb_model_pick_where(const sb_model *m, bool (*wanted)(const sb_model_run *r),
                              bool by_budget, int64_t most_curves, sb_model_pick *p, sb_err *err);

/** The same of n runs at hand. */
sb_status sb_model_pick_runs(const sb_model *m, const sb_model_run *const *runs, int64_t n,
                             bool by_budget, int64_t most_curves, sb_model_pick *p, sb_err *err);
void sb_model_pick_free(sb_model_pick *p);

/** Index of the run's block, or -1 where it is left out. */
int sb_model_block(const sb_model_pick *p, const sb_model_run *r);

/** The longest length of the runs, tokens. */
int64_t sb_model_longest(const sb_model_pick *p);

/** How many densities, about equal ones being one, the picked runs of the block, setting, task and
 *  length of `r` have below `density`. */
int sb_model_level(const sb_model_pick *p, const sb_model_run *r, double density);

/* ---- pairs ---------------------------------------------------------------------------------- */

/** A run and what it is held against at equal cost: a run of nearly the same density, or between
 *  two of one setting, the straight line through both in log measure over log density. */
typedef struct sb_model_pair {
    const sb_model_run *run, *base; /**< base NULL: none */
    const sb_model_run *other;      /**< the second end of the line, or NULL */
} sb_model_pair;

typedef struct sb_model_pairs {
    sb_model_pair *pairs; /**< [n] in order of the runs */
    int64_t n;
    int64_t n_alone;  /**< runs left out: no baseline at equal density */
    int64_t n_lines;  /**< pairs with a line as their baseline */
    double apart;     /**< most that two densities differ by in the other pairs, as a share */
    const char *rule; /**< what the baseline is, for a caption */
} sb_model_pairs;

/**
 * Pair the runs of a pick with their baselines, which have the same block, setting and length: with
 * `uniform` where the pick has it, else with the same setting without value bonus, else with the
 * same at mu = 1. Densities differ by 2 % at most, or by 5 % where both were asked for the same
 * schedule.total; of several the one with most parameters in common. Where there is none, a line
 * through two settings of the baseline, the nearer one within 15 %. Baselines themselves are in no
 * pair. SB_NO_MEMORY.
 */
sb_status sb_model_pair_runs(const sb_model_pick *p, sb_model_pairs *out, sb_err *err);
void sb_model_pairs_free(sb_model_pairs *p);

/* ---- panels and captions ----------------------------------------------------------------------
 */

/** One of a picture's panels, which stand in a grid. */
typedef struct sb_model_panel {
    int row, column; /**< from 1 */
    char title[160]; /**< without commas, where gnuplot 5.4 ends it */
} sb_model_panel;

/** The panel of a run where blocks and settings are panels: false where it is left out. */
bool sb_model_panel_of(const sb_model_pick *p, const sb_model_run *r, sb_model_panel *panel);

/** "block 64; all rows sparse", or what of it differs in the pick: "" where nothing does. */
void sb_model_place_text(const sb_model_pick *p, const sb_model_run *r, char *buf, size_t bytes);

/** The columns that sb_model_put writes. */
#define SB_MODEL_XY_HEADER "slot,row,column,x,y,lo,hi,texts,density,panel,curve,setting\n"

/** Write a point of a curve. */
void sb_model_put(sb_sheet *s, const sb_model_pick *p, int64_t i, const sb_model_panel *panel,
                  double x, sb_ratio y);

/** Write the key's text of a level of density: the range of what is shown of it. */
sb_status sb_model_level_key(sb_sheet *s, int level, double lo, double hi, sb_err *err);

/** What was computed on which texts, by which machine and build, measured where. */
sb_status sb_model_captions(sb_sheet *s, const sb_model_pick *p, sb_err *err);

/** The labels of the curves that are shown. */
sb_status sb_model_labels(sb_sheet *s, const sb_model_pick *p, sb_err *err);

/** How many curves and blocks are not shown, where any are. */
sb_status sb_model_omissions(sb_sheet *s, const sb_model_pick *p, sb_err *err);

/* ---- pictures ---------------------------------------------------------------------------------
 */

/* Each writes the data of the picture of its name: sb_figures. */
sb_status sb_model_write_density(const sb_model *m, const char *csv_path, const char *key_path,
                                 int64_t *n_rows, sb_err *err);
sb_status sb_model_write_paired(const sb_model *m, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err);
sb_status sb_model_write_rows(const sb_model *m, const char *csv_path, const char *key_path,
                              int64_t *n_rows, sb_err *err);
sb_status sb_model_write_layers(const sb_model *m, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err);
sb_status sb_model_write_tasks(const sb_model *m, const char *csv_path, const char *key_path,
                               int64_t *n_rows, sb_err *err);
sb_status sb_model_write_length(const sb_model *m, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err);
/** These two also SB_BAD_DATA for a wrong residual.csv or positions.csv. */
sb_status sb_model_write_residual(const sb_model *m, const char *csv_path, const char *key_path,
                                  int64_t *n_rows, sb_err *err);
sb_status sb_model_write_position(const sb_model *m, const char *csv_path, const char *key_path,
                                  int64_t *n_rows, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
