/* Data of the figure of ablations: divergence over that of a baseline at nearly equal cost, paired
 * over texts. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "harness/mem.h"
#include "harness/plot_model.h"

enum { MOST_ROWS = 40, MOST_LEVELS = 6 };

/* What one picture shows. */
typedef struct frame {
    const sb_model_pick *all;    /* candidates: baselines too */
    const sb_model_pick *shown;  /* runs that have a baseline */
    const sb_model_pairs *pairs; /* [shown->n] */
    int place[MOST_ROWS];        /* of each curve's slot - 1; 0: nothing shown yet */
    int n_places, n_left_out;
    double lo[MOST_LEVELS], hi[MOST_LEVELS]; /* densities of each level */
    int64_t n_texts_lo, n_texts_hi;
} frame;

/* As it is told apart from baselines too. */
static const char *label_of(const frame *f, const sb_model_run *r)
{
    for (int64_t i = 0; i < f->all->n; i++)
        if (f->all->runs[i] == r)
            return f->all->curves[f->all->curve[i]].label;
    return "";
}

static void count(frame *f, int level, double density, int64_t n_texts)
{
    f->lo[level] = f->lo[level] > 0 ? fmin(f->lo[level], density) : density;
    f->hi[level] = fmax(f->hi[level], density);
    f->n_texts_lo = f->n_texts_lo == 0 || n_texts < f->n_texts_lo ? n_texts : f->n_texts_lo;
    f->n_texts_hi = n_texts > f->n_texts_hi ? n_texts : f->n_texts_hi;
}

static void put_pair(sb_sheet *s, frame *f, int64_t i)
{
    const sb_model_pair *pair = &f->pairs->pairs[i];
    const sb_plot_curve *curve = &f->shown->curves[f->shown->curve[i]];
    int level = sb_model_level(f->all, pair->base, pair->base->density);
    sb_ratio r = sb_model_pair_ratio(pair, SB_MODEL_KL);
    sb_model_panel panel;
    if (curve->slot == 0 || !sb_model_panel_of(f->shown, pair->run, &panel))
        return;
    if (level >= MOST_LEVELS || r.n == 0) {
        f->n_left_out++;
        return;
    }
    int *place = &f->place[curve->slot - 1];
    *place = *place > 0 ? *place : ++f->n_places;
    fprintf(s->csv, "%d,%d,%d,%d", level + 1, panel.row, panel.column, *place);
    sb_sheet_real(s->csv, r.ratio);
    sb_sheet_real(s->csv, r.lo);
    sb_sheet_real(s->csv, r.hi);
    fprintf(s->csv, ",%" PRId64, r.n);
    sb_sheet_real(s->csv, pair->base->density);
    sb_sheet_real(s->csv, pair->run->density);
    fputs(",,", s->csv);
    sb_sheet_quoted(s->csv, panel.title);
    fputc(',', s->csv);
    sb_sheet_quoted(s->csv, label_of(f, pair->run));
    fputc(',', s->csv);
    sb_sheet_quoted(s->csv, label_of(f, pair->base));
    fputc(',', s->csv);
    sb_sheet_quoted(s->csv, pair->run->first->params);
    fputc('\n', s->csv);
    s->n_rows++;
    count(f, level, pair->base->density, r.n);
}

static sb_status put_captions(sb_sheet *s, const frame *f, sb_err *err)
{
    sb_status st = SB_OK;
    char texts[48];
    for (int d = 0; d < MOST_LEVELS; d++)
        if (f->hi[d] > 0)
            SB_TRY(sb_model_level_key(s, d, f->lo[d], f->hi[d], err));
    (void)snprintf(texts, sizeof texts,
                   f->n_texts_lo < f->n_texts_hi ? "%" PRId64 " to %" PRId64 : "%" PRId64,
                   f->n_texts_lo, f->n_texts_hi);
    SB_TRY(sb_sheet_key(
        s, 0, err,
        SB_MODEL_KL_NOTE " over that of the baseline, %s, at equal block, length and cost, paired "
                         "over texts (%s): geometric mean, 95 %% t interval%s.",
        f->pairs->rule, texts, f->n_texts_hi < SB_PAIRED_MIN ? " (too few for one)" : ""));
    SB_TRY(sb_model_captions(s, f->shown, err));
    SB_TRY(sb_sheet_key(s, 0, err,
                        "Densities of a pair differ by 2 %% at most, by 5 %% where both were asked "
                        "for the same total; here by %.1f %%. Settings without such a baseline, "
                        "left out: %" PRId64 ". " SB_MODEL_DENSITY_NOTE,
                        100 * f->pairs->apart, f->pairs->n_alone));
    if (f->pairs->n_lines > 0)
        SB_TRY(sb_sheet_key(s, 0, err,
                            "%" PRId64 " pairs hold each text against the line through two "
                            "settings of the baseline, in log KL over log density.",
                            f->pairs->n_lines));
    if (f->n_left_out > 0)
        SB_TRY(sb_sheet_key(s, 0, err,
                            "Pairs of further densities, or without a common text, left "
                            "out: %d.",
                            f->n_left_out));
    SB_TRY(sb_model_omissions(s, f->shown, err));
out:
    return st;
}

/* Keep the pairs of the longest length, and the runs that they are of in runs [n]. */
static int64_t longest_only(const sb_model_pick *p, sb_model_pairs *pairs,
                            const sb_model_run **runs)
{
    int64_t n = 0;
    for (int64_t i = 0; i < pairs->n; i++)
        if (pairs->pairs[i].run->first->tokens == sb_model_longest(p)) {
            runs[n] = pairs->pairs[i].run;
            pairs->pairs[n++] = pairs->pairs[i];
        }
    pairs->n = n;
    return n;
}

sb_status sb_model_write_paired(const sb_model *m, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err)
{
    sb_sheet s = {0};
    sb_status st = SB_OK;
    sb_model_pick all = {0}, shown = {0};
    sb_model_pairs pairs = {0};
    frame f = {.all = &all, .shown = &shown, .pairs = &pairs};
    const sb_model_run **runs = sb_alloc(m->n_runs, sizeof *runs);
    SB_CHECK(runs, err, SB_NO_MEMORY, "out of memory for plot data");
    SB_TRY(sb_model_pick_where(m, sb_model_is_whole_text, false, 0, &all, err));
    SB_TRY(sb_model_pair_runs(&all, &pairs, err));
    SB_TRY(sb_model_pick_runs(m, runs, longest_only(&all, &pairs, runs), false, MOST_ROWS, &shown,
                              err));
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs("slot,row,column,place,x,lo,hi,texts,density,own_density,note,panel,curve,baseline,"
          "setting\n",
          s.csv);
    for (int64_t i = 0; i < shown.n; i++)
        put_pair(&s, &f, i);
    if (s.n_rows > 0)
        SB_TRY(put_captions(&s, &f, err));
out:
    *n_rows = s.n_rows;
    sb_model_pick_free(&shown);
    sb_model_pairs_free(&pairs);
    sb_model_pick_free(&all);
    sb_free(runs);
    return sb_sheet_close(&s, st, csv_path, err);
}
