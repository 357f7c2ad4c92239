/* Data of the figure of depth: divergence when one layer, or one head of every layer, is sparse. */
#include <stdio.h>
#include <stdlib.h>

#include "harness/plot_model.h"

enum { MOST_CURVES = 6 };

/* A set of one: its number. */
static bool single(const char *set, double *x)
{
    char *end;
    const char *text = set ? set : "";
    *x = (double)strtol(text, &end, 10);
    return end != text && *end == '\0';
}

static bool is_wanted(const sb_model_run *r)
{
    double x;
    const sb_record *a = r->first;
    bool layer = single(a->layer_set, &x) && sb_model_same(a->head_set, "all");
    bool head = single(a->head_set, &x) && sb_model_same(a->layer_set, "all");
    return sb_model_is_text(r) && !sb_model_is_dense(r) && sb_model_same(a->row_range, "0-1") &&
           (layer || head);
}

/* A row of panels for each block and setting; layers left of heads. */
static bool panel_of(const sb_model_pick *p, const sb_model_run *r, bool layers, bool both,
                     sb_model_panel *panel)
{
    char place[64];
    int block = sb_model_block(p, r), setting = p->n_settings > 1 && !sb_model_is_all(r);
    sb_model_place_text(p, r, place, sizeof place);
    *panel = (sb_model_panel){.row = setting * p->n_blocks + block + 1,
                              .column = both && !layers ? 2 : 1};
    (void)snprintf(panel->title, sizeof panel->title, "one %s sparse%s%s",
                   layers ? "layer" : "head of every layer", *place ? "; " : "", place);
    return block >= 0;
}

static sb_status put_captions(sb_sheet *s, const sb_model_pick *p, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(sb_model_labels(s, p, err));
    SB_TRY(sb_sheet_key(
        s, 0, err,
        SB_MODEL_KL_NOTE
        " when one layer alone is sparse, or one head of every layer: geometric mean over "
        "texts, " SB_MODEL_INTERVAL_NOTE));
    SB_TRY(sb_model_captions(s, p, err));
    SB_TRY(sb_sheet_key(s, 0, err, SB_MODEL_DENSITY_NOTE));
    SB_TRY(sb_model_omissions(s, p, err));
out:
    return st;
}

sb_status sb_model_write_layers(const sb_model *m, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err)
{
    sb_sheet s = {0};
    sb_status st = SB_OK;
    sb_model_pick p;
    sb_model_panel panel;
    bool layers = false, heads = false;
    double x;
    SB_TRY(sb_model_pick_where(m, is_wanted, true, MOST_CURVES, &p, err));
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs(SB_MODEL_XY_HEADER, s.csv);
    for (int64_t i = 0; i < p.n; i++) {
        bool layer = single(p.runs[i]->first->layer_set, &x);
        layers |= layer;
        heads |= !layer;
    }
    for (int64_t i = 0; i < p.n; i++) {
        const sb_record *r = p.runs[i]->first;
        bool layer = single(r->layer_set, &x);
        if (!layer)
            (void)single(r->head_set, &x);
        if (r->tokens == sb_model_longest(&p) &&
            panel_of(&p, p.runs[i], layer, layers && heads, &panel))
            sb_model_put(&s, &p, i, &panel, x, sb_model_mean(p.runs[i], SB_MODEL_KL));
    }
    if (s.n_rows > 0)
        SB_TRY(put_captions(&s, &p, err));
out:
    *n_rows = s.n_rows;
    sb_model_pick_free(&p);
    return sb_sheet_close(&s, st, csv_path, err);
}
