/* Panels, points and captions of the pictures of runs with a model in the loop. */
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "harness/fs.h"
#include "harness/plot_caption.h"
#include "harness/plot_model.h"
#include "harness/provenance.h"

enum { MOST_FILES = 4 };

/* ---- panels ---------------------------------------------------------------------------------- */

void sb_model_place_text(const sb_model_pick *p, const sb_model_run *r, char *buf, size_t bytes)
{
    char block[32] = "";
    const char *setting = !sb_model_is_all(r) ? "decoding"
                          : p->n_settings > 1 ? "all rows sparse"
                                              : "";
    if (p->n_blocks > 1)
        (void)snprintf(block, sizeof block, "block %" PRId64 "%s", r->first->block,
                       *setting ? "; " : "");
    (void)snprintf(buf, bytes, "%s%s", block, setting);
}

bool sb_model_panel_of(const sb_model_pick *p, const sb_model_run *r, sb_model_panel *panel)
{
    int block = sb_model_block(p, r);
    int setting = p->n_settings > 1 && !sb_model_is_all(r);
    if (p->n_blocks > 1)
        *panel = (sb_model_panel){.row = setting + 1, .column = block + 1};
    else
        *panel = (sb_model_panel){.row = 1, .column = setting + 1};
    sb_model_place_text(p, r, panel->title, sizeof panel->title);
    return block >= 0;
}

void sb_model_put(sb_sheet *s, const sb_model_pick *p, int64_t i, const sb_model_panel *panel,
                  double x, sb_ratio y)
{
    const sb_plot_curve *curve = &p->curves[p->curve[i]];
    if (curve->slot == 0 || y.n == 0)
        return;
    fprintf(s->csv, "%d,%d,%d", curve->slot, panel->row, panel->column);
    sb_sheet_real(s->csv, x);
    sb_sheet_real(s->csv, y.ratio);
    sb_sheet_real(s->csv, y.lo);
    sb_sheet_real(s->csv, y.hi);
    fprintf(s->csv, ",%" PRId64, y.n);
    sb_sheet_real(s->csv, p->runs[i]->density);
    fputc(',', s->csv);
    sb_sheet_quoted(s->csv, panel->title);
    fputc(',', s->csv);
    sb_sheet_quoted(s->csv, curve->label);
    fputc(',', s->csv);
    sb_sheet_quoted(s->csv, p->runs[i]->first->params);
    fputc('\n', s->csv);
    s->n_rows++;
}

sb_status sb_model_level_key(sb_sheet *s, int level, double lo, double hi, sb_err *err)
{
    if (hi - lo < .0095)
        return sb_sheet_key(s, level + 1, err, "%.3f", (lo + hi) / 2);
    return sb_sheet_key(s, level + 1, err, "%.2f to %.2f", lo, hi);
}

/* ---- captions -------------------------------------------------------------------------------- */

/* Whether a row before row i of run k has the same text, or, of `files`, the same file. */
static bool seen(const sb_model_pick *p, int64_t k, int64_t i, bool files)
{
    const sb_record *r = p->runs[k]->rows[i];
    for (int64_t run = 0; run <= k; run++)
        for (int64_t j = 0; j < (run == k ? i : p->runs[run]->n); j++) {
            const sb_record *other = p->runs[run]->rows[j];
            if (files ? sb_model_same(other->capture, r->capture)
                      : sb_model_same(other->text, r->text))
                return true;
        }
    return false;
}

static void add_text(char *buf, size_t bytes, const char *piece)
{
    size_t used = strlen(buf);
    (void)snprintf(buf + used, bytes - used, "%s%s", used > 0 ? ", " : "", piece);
}

/* "8 texts of jargon.txt.gz, kjv.txt"; of tasks samples. */
static void texts_text(const sb_model_pick *p, char *buf, size_t bytes)
{
    char files[200] = "";
    int64_t n_texts = 0, n_files = 0;
    for (int64_t k = 0; k < p->n; k++)
        for (int64_t i = 0; i < p->runs[k]->n; i++) {
            const char *name = sb_base_name(p->runs[k]->rows[i]->capture);
            n_texts += !seen(p, k, i, false);
            if (seen(p, k, i, true))
                continue;
            if (n_files++ < MOST_FILES)
                add_text(files, sizeof files, name);
        }
    (void)snprintf(buf, bytes, "%" PRId64 " %s%s of %s%s", n_texts,
                   sb_model_is_text(p->runs[0]) ? "text" : "sample", n_texts == 1 ? "" : "s", files,
                   n_files > MOST_FILES ? " and other files" : "");
}

static void range_text(const sb_model_pick *p, bool tokens, char *buf, size_t bytes)
{
    int64_t lo = INT64_MAX, hi = 0;
    for (int64_t i = 0; i < p->n; i++) {
        int64_t x = tokens ? p->runs[i]->first->tokens : p->runs[i]->first->block;
        lo = x < lo ? x : lo;
        hi = x > hi ? x : hi;
    }
    if (lo == hi)
        (void)snprintf(buf, bytes, "%" PRId64, lo);
    else
        (void)snprintf(buf, bytes, "%" PRId64 " to %" PRId64, lo, hi);
}

/* Whether rows differ in the machine, or in the value of a line of their provenance. */
static bool others(const sb_model_pick *p, const char *name)
{
    int n, n_other;
    const char *own = p->model->first->provenance;
    const char *value = name ? sb_provenance_value(own, name, &n) : NULL;
    for (int64_t k = 0; k < p->n; k++)
        for (int64_t i = 0; i < p->runs[k]->n; i++) {
            const char *theirs = p->runs[k]->rows[i]->provenance;
            if (!name) {
                if (!sb_provenance_same_machine(own, theirs))
                    return true;
                continue;
            }
            const char *other = sb_provenance_value(theirs, name, &n_other);
            if (n != n_other || memcmp(value, other, (size_t)n) != 0)
                return true;
        }
    return false;
}

static sb_status put_source(sb_sheet *s, const sb_model_pick *p, sb_err *err)
{
    const sb_record *r = p->model->first;
    char texts[320], tokens[48], block[48], commit[96] = "";
    int n;
    const char *at = sb_provenance_value(r->provenance, "commit", &n);
    texts_text(p, texts, sizeof texts);
    range_text(p, true, tokens, sizeof tokens);
    range_text(p, false, block, sizeof block);
    if (n > 0)
        (void)snprintf(commit, sizeof commit, "; commit %.*s%s", n, at,
                       others(p, "commit") ? " and others" : "");
    return sb_sheet_key(s, 0, err, "%s; %s on %s; %s tokens; block%s %s; %s%s.",
                        r->model ? r->model : "", r->dtype ? r->dtype : "",
                        r->backend ? r->backend : "", tokens, p->n_blocks > 1 ? "s" : "", block,
                        texts, commit);
}

static sb_status put_positions(sb_sheet *s, const sb_model_pick *p, sb_err *err)
{
    bool decode = false;
    char where[64] = "all positions of each text";
    for (int64_t i = 0; i < p->n; i++)
        decode |= !sb_model_is_all(p->runs[i]);
    if (!sb_model_is_text(p->runs[0]))
        (void)snprintf(where, sizeof where, "the answer's tokens");
    else if (p->model->positions > 0)
        (void)snprintf(where, sizeof where, "up to %" PRId64 " positions of each text",
                       p->model->positions);
    return sb_sheet_key(s, 0, err, "Measured at %s%s.", where,
                        decode ? "; decoding: the method prefills 7/8 of a text, the rest attends "
                                 "densely, and it alone is measured"
                               : "");
}

sb_status sb_model_captions(sb_sheet *s, const sb_model_pick *p, sb_err *err)
{
    sb_status st = SB_OK;
    char machine[SB_PLOT_MACHINE_CHARS];
    sb_plot_record_machine(p->model->first, others(p, NULL), machine);
    SB_TRY(put_source(s, p, err));
    SB_TRY(sb_sheet_key(s, 0, err, "%s.", machine));
    SB_TRY(put_positions(s, p, err));
out:
    return st;
}

sb_status sb_model_labels(sb_sheet *s, const sb_model_pick *p, sb_err *err)
{
    sb_status st = SB_OK;
    for (int64_t c = 0; c < p->n_curves; c++)
        if (p->curves[c].slot > 0)
            SB_TRY(sb_sheet_key(s, p->curves[c].slot, err, "%s", p->curves[c].label));
out:
    return st;
}

sb_status sb_model_omissions(sb_sheet *s, const sb_model_pick *p, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n_shown = 0, n_runs = 0;
    for (int64_t c = 0; c < p->n_curves; c++)
        n_shown += p->curves[c].slot > 0;
    for (int64_t i = 0; i < p->n; i++)
        n_runs += sb_model_block(p, p->runs[i]) < 0;
    if (n_shown < p->n_curves)
        SB_TRY(sb_sheet_key(s, 0, err, "%" PRId64 " of %" PRId64 " curves shown.", n_shown,
                            p->n_curves));
    if (n_runs > 0)
        SB_TRY(
            sb_sheet_key(s, 0, err, "Settings of further blocks, not shown: %" PRId64 ".", n_runs));
out:
    return st;
}
