/* Data of the figure of ablations over lengths: the ratio of plot_model_paired.c against tokens. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "harness/mem.h"
#include "harness/plot_model.h"

enum { MOST_CURVES = 9, MOST_LEVELS = 3 };

/* Keep all pairs where there are several lengths, else none; their runs in runs [n]. */
static int64_t several_only(const sb_model_pick *p, sb_model_pairs *pairs,
                            const sb_model_run **runs)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n; i++)
        if (p->runs[i]->first->tokens != p->runs[0]->first->tokens)
            n = pairs->n;
    for (int64_t i = 0; i < n; i++)
        runs[i] = pairs->pairs[i].run;
    pairs->n = n;
    return n;
}

/* What one picture shows. */
typedef struct frame {
    const sb_model_pick *all;   /* candidates: baselines too */
    const sb_model_pick *shown; /* runs that have a baseline */
    const sb_model_pairs *pairs;
    int *levels; /* [pairs->n] of density */
} frame;

/* "density 0.13 to 0.17": of the baselines of a pair's level, block and setting at all lengths. */
static void density_text(const frame *f, int64_t i, char *buf, size_t bytes)
{
    double lo = INFINITY, hi = 0;
    const sb_record *own = f->pairs->pairs[i].run->first;
    for (int64_t k = 0; k < f->pairs->n; k++) {
        const sb_model_run *base = f->pairs->pairs[k].base;
        if (f->levels[k] != f->levels[i] || base->first->block != own->block ||
            !sb_model_same(base->first->setting, own->setting))
            continue;
        lo = fmin(lo, base->density);
        hi = fmax(hi, base->density);
    }
    if (hi - lo < .0095)
        (void)snprintf(buf, bytes, "density %.3f", (lo + hi) / 2);
    else
        (void)snprintf(buf, bytes, "density %.2f to %.2f", lo, hi);
}

/* A row of panels for each level of density, a column for each block, or for each setting where
 * there is one block. */
static bool panel_of(const frame *f, int64_t i, sb_model_panel *panel)
{
    char place[64], density[48];
    const sb_model_run *r = f->pairs->pairs[i].run;
    int block = sb_model_block(f->shown, r), n_settings = f->shown->n_settings;
    int setting = n_settings > 1 && !sb_model_is_all(r);
    if (block < 0 || f->levels[i] >= MOST_LEVELS)
        return false;
    sb_model_place_text(f->shown, r, place, sizeof place);
    density_text(f, i, density, sizeof density);
    *panel = (sb_model_panel){.row = f->levels[i] * n_settings + setting + 1, .column = block + 1};
    if (f->shown->n_blocks == 1)
        *panel = (sb_model_panel){.row = f->levels[i] + 1, .column = setting + 1};
    (void)snprintf(panel->title, sizeof panel->title, "%s%s%s", place, *place ? "; " : "", density);
    return true;
}

static sb_status put_captions(sb_sheet *s, const sb_model_pick *shown, const sb_model_pairs *pairs,
                              int n_left_out, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(sb_model_labels(s, shown, err));
    SB_TRY(sb_sheet_key(
        s, 0, err,
        SB_MODEL_KL_NOTE
        " over that of the baseline, %s, at equal block, length and cost, paired over texts: "
        "geometric mean, " SB_MODEL_INTERVAL_NOTE,
        pairs->rule));
    SB_TRY(sb_model_captions(s, shown, err));
    SB_TRY(sb_sheet_key(s, 0, err,
                        "Densities of a pair differ by %.1f %% at most. Settings without such a "
                        "baseline, left out: %" PRId64 ". " SB_MODEL_DENSITY_NOTE,
                        100 * pairs->apart, pairs->n_alone));
    if (n_left_out > 0)
        SB_TRY(sb_sheet_key(s, 0, err, "Pairs of further densities, left out: %d.", n_left_out));
    SB_TRY(sb_model_omissions(s, shown, err));
out:
    return st;
}

sb_status sb_model_write_length(const sb_model *m, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err)
{
    sb_sheet s = {0};
    sb_status st = SB_OK;
    sb_model_pick all = {0}, shown = {0};
    sb_model_pairs pairs = {0};
    sb_model_panel panel;
    frame f = {.all = &all, .shown = &shown, .pairs = &pairs};
    int n_left_out = 0;
    const sb_model_run **runs = sb_alloc(m->n_runs, sizeof *runs);
    f.levels = sb_alloc(m->n_runs, sizeof *f.levels);
    SB_CHECK(runs && f.levels, err, SB_NO_MEMORY, "out of memory for plot data");
    SB_TRY(sb_model_pick_where(m, sb_model_is_whole_text, false, 0, &all, err));
    SB_TRY(sb_model_pair_runs(&all, &pairs, err));
    SB_TRY(sb_model_pick_runs(m, runs, several_only(&all, &pairs, runs), false, MOST_CURVES, &shown,
                              err));
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs(SB_MODEL_XY_HEADER, s.csv);
    for (int64_t i = 0; i < shown.n; i++)
        f.levels[i] = sb_model_level(&all, pairs.pairs[i].base, pairs.pairs[i].base->density);
    for (int64_t i = 0; i < shown.n; i++) {
        const sb_model_pair *pair = &pairs.pairs[i];
        if (panel_of(&f, i, &panel))
            sb_model_put(&s, &shown, i, &panel, (double)pair->run->first->tokens,
                         sb_model_pair_ratio(pair, SB_MODEL_KL));
        else
            n_left_out++;
    }
    if (s.n_rows > 0)
        SB_TRY(put_captions(&s, &shown, &pairs, n_left_out, err));
out:
    *n_rows = s.n_rows;
    sb_model_pick_free(&shown);
    sb_model_pairs_free(&pairs);
    sb_model_pick_free(&all);
    sb_free(f.levels);
    sb_free(runs);
    return sb_sheet_close(&s, st, csv_path, err);
}
