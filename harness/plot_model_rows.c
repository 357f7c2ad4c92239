/* Data of the figure of row sensitivity: what a sparse part of the rows costs, over what the last
 * part costs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/plot_model.h"

enum { MOST_CURVES = 9, MOST_WIDTHS = 3 };

/* "0.25-0.5": the share of the rows at which a part begins and ends. */
static bool range_of(const sb_model_run *r, double *from, double *to)
{
    char *end;
    const char *text = r->first->row_range ? r->first->row_range : "";
    *from = strtod(text, &end);
    if (end == text || *end != '-')
        return false;
    text = end + 1;
    *to = strtod(text, &end);
    return end != text && *end == '\0' && *from >= 0 && *to > *from && *to <= 1;
}

static bool is_wanted(const sb_model_run *r)
{
    double from, to;
    return sb_model_is_text(r) && !sb_model_is_dense(r) && sb_model_is_all(r) &&
           range_of(r, &from, &to) && to - from < 1 && sb_model_same(r->first->layer_set, "all") &&
           sb_model_same(r->first->head_set, "all");
}

static double width_of(const sb_model_run *r)
{
    double from = 0, to = 0;
    (void)range_of(r, &from, &to);
    return to - from;
}

static bool same_width(double a, double b)
{
    return fabs(a - b) < 1e-6;
}

/* The run of the same curve, block and length in the last part, or NULL. */
static const sb_model_run *last_part(const sb_model_pick *p, int64_t i)
{
    for (int64_t k = 0; k < p->n; k++) {
        double from, to;
        const sb_record *a = p->runs[k]->first, *b = p->runs[i]->first;
        if (p->curve[k] == p->curve[i] && a->block == b->block && a->tokens == b->tokens &&
            same_width(width_of(p->runs[k]), width_of(p->runs[i])) &&
            range_of(p->runs[k], &from, &to) && same_width(to, 1))
            return p->runs[k];
    }
    return NULL;
}

/* How many widths there are above that of a run: 0 for quarters where those are the widest. */
static int rank_of(const sb_model_pick *p, const sb_model_run *r)
{
    int rank = 0;
    double width = width_of(r), below = 2;
    for (;;) {
        double widest = 0;
        for (int64_t i = 0; i < p->n; i++) {
            double w = width_of(p->runs[i]);
            widest = w < below - 1e-6 ? fmax(widest, w) : widest;
        }
        if (same_width(widest, width) || !(widest > width))
            return rank;
        below = widest;
        rank++;
    }
}

/* A column of panels for each block, or where there is one, for each measure. */
static bool panel_of(const sb_model_pick *p, const sb_model_run *r, enum sb_model_measure measure,
                     sb_model_panel *panel)
{
    int block = sb_model_block(p, r), rank = rank_of(p, r);
    const char *name = measure == SB_MODEL_MSE ? "logit MSE" : "KL divergence";
    int n = (int)lround(1 / width_of(r));
    int which = measure == SB_MODEL_KL;
    if (p->n_blocks > 1) {
        *panel = (sb_model_panel){.row = 2 * rank + which + 1, .column = block + 1};
        (void)snprintf(panel->title, sizeof panel->title, "%s; 1/%d of the rows; block %d", name, n,
                       (int)r->first->block);
    } else {
        *panel = (sb_model_panel){.row = rank + 1, .column = which + 1};
        (void)snprintf(panel->title, sizeof panel->title, "%s; 1/%d of the rows", name, n);
    }
    return block >= 0 && rank < MOST_WIDTHS;
}

/* Returns whether the run has a last part to be held against. */
static bool put_run(sb_sheet *s, const sb_model_pick *p, int64_t i)
{
    double from = 0, to = 0;
    sb_model_panel panel;
    const sb_model_run *r = p->runs[i], *last = last_part(p, i);
    if (!last)
        return false;
    (void)range_of(r, &from, &to);
    for (int measure = 0; measure < 2; measure++) {
        if (!panel_of(p, r, (enum sb_model_measure)measure, &panel))
            continue;
        sb_ratio y = sb_model_ratio(r, last, (enum sb_model_measure)measure);
        if (r == last)
            y.lo = y.hi = NAN;
        sb_model_put(s, p, i, &panel, (from + to) / 2, y);
    }
    return true;
}

sb_status sb_model_write_rows(const sb_model *m, const char *csv_path, const char *key_path,
                              int64_t *n_rows, sb_err *err)
{
    sb_sheet s = {0};
    sb_status st = SB_OK;
    sb_model_pick p;
    int n_left_out = 0;
    SB_TRY(sb_model_pick_where(m, is_wanted, true, MOST_CURVES, &p, err));
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs(SB_MODEL_XY_HEADER, s.csv);
    for (int64_t i = 0; i < p.n; i++)
        if (p.runs[i]->first->tokens == sb_model_longest(&p))
            n_left_out += !put_run(&s, &p, i);
    if (s.n_rows == 0)
        goto out;
    SB_TRY(sb_model_labels(&s, &p, err));
    SB_TRY(sb_sheet_key(&s, 0, err,
                        "Only the rows of one part are sparse, in every layer and head: error "
                        "of the logits over that with the last part sparse, paired over texts: "
                        "geometric mean, " SB_MODEL_INTERVAL_NOTE));
    SB_TRY(sb_model_captions(&s, &p, err));
    SB_TRY(sb_sheet_key(&s, 0, err,
                        "Parts are not of equal density: an early row has few blocks to drop "
                        "(column density of the data). " SB_MODEL_DENSITY_NOTE));
    if (n_left_out > 0)
        SB_TRY(sb_sheet_key(&s, 0, err, "Left out, without a last part: %d.", n_left_out));
    SB_TRY(sb_model_omissions(&s, &p, err));
out:
    *n_rows = s.n_rows;
    sb_model_pick_free(&p);
    return sb_sheet_close(&s, st, csv_path, err);
}
