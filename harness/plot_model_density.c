/* Data of the figure of divergence against density. */
#include "harness/plot_model.h"

enum { MOST_CURVES = 12 };

sb_status sb_model_write_density(const sb_model *m, const char *csv_path, const char *key_path,
                                 int64_t *n_rows, sb_err *err)
{
    sb_sheet s = {0};
    sb_status st = SB_OK;
    sb_model_pick p;
    sb_model_panel panel;
    SB_TRY(sb_model_pick_where(m, sb_model_is_whole_text, false, MOST_CURVES, &p, err));
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs(SB_MODEL_XY_HEADER, s.csv);
    for (int64_t i = 0; i < p.n; i++)
        if (p.runs[i]->first->tokens == sb_model_longest(&p) &&
            sb_model_panel_of(&p, p.runs[i], &panel))
            sb_model_put(&s, &p, i, &panel, p.runs[i]->density,
                         sb_model_mean(p.runs[i], SB_MODEL_KL));
    if (s.n_rows == 0)
        goto out;
    SB_TRY(sb_model_labels(&s, &p, err));
    SB_TRY(sb_sheet_key(&s, 0, err,
                        SB_MODEL_KL_NOTE ": geometric mean over texts, " SB_MODEL_INTERVAL_NOTE));
    SB_TRY(sb_model_captions(&s, &p, err));
    SB_TRY(sb_sheet_key(&s, 0, err, SB_MODEL_DENSITY_NOTE));
    SB_TRY(sb_model_omissions(&s, &p, err));
out:
    *n_rows = s.n_rows;
    sb_model_pick_free(&p);
    return sb_sheet_close(&s, st, csv_path, err);
}
