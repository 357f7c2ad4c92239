/* Data of the figure of the residual stream: its relative error after each layer, at nearly equal
 * density. Reads RUN_DIR/residual.csv: cell,layer_0,layer_1,... */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/plot_model.h"

enum { MOST_CURVES = 6 };

/* Densities are near the target up to this share. */
static const double nearness = .15;

typedef struct residual {
    int64_t n, n_layers;
    int64_t *cells; /* [n] */
    double *errors; /* [n, n_layers] */
} residual;

/* ---- reading ----------------------------------------------------------------------------------
 */

/* The layers of a header "cell,layer_0,layer_1"; 0 where it is none. */
static int64_t header_layers(const char *at, const char *end)
{
    char name[32];
    int64_t n = 0;
    if (end - at < 4 || memcmp(at, "cell", 4) != 0)
        return 0;
    for (at += 4; at < end; n++) {
        int length = snprintf(name, sizeof name, ",layer_%" PRId64, n);
        if (end - at < length || memcmp(at, name, (size_t)length) != 0)
            return 0;
        at += length;
    }
    return n;
}

static bool parse(const char *at, residual *r)
{
    char *end;
    r->cells[r->n] = strtoll(at, &end, 10);
    if (end == at)
        return false;
    for (int64_t l = 0; l < r->n_layers; l++) {
        if (*end != ',')
            return false;
        at = end + 1;
        r->errors[r->n * r->n_layers + l] = *at == ',' || *at == '\n' ? NAN : strtod(at, &end);
        end = *at == ',' || *at == '\n' ? (char *)at : end;
    }
    r->n++;
    return *end == '\n';
}

static sb_status read_lines(const char *text, const char *path, residual *r, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n_lines = 0, line = 1;
    const char *at = text + strcspn(text, "\n");
    r->n_layers = header_layers(text, at);
    SB_CHECK(r->n_layers > 0 && *at, err, SB_BAD_DATA,
             "%s:1: '%.60s'; expected cell,layer_0,layer_1,...", path, text);
    for (const char *p = at; *p; p++)
        n_lines += *p == '\n';
    r->cells = sb_alloc(n_lines, sizeof *r->cells);
    r->errors = sb_alloc(n_lines, (size_t)r->n_layers * sizeof *r->errors);
    SB_CHECK(r->cells && r->errors, err, SB_NO_MEMORY, "out of memory for residual errors");
    for (at++; *at; at = strchr(at, '\n') + 1)
        SB_CHECK(++line <= n_lines && parse(at, r), err, SB_BAD_DATA,
                 "%s:%" PRId64 ": expected a cell's number, %" PRId64 " errors and a line's end",
                 path, line, r->n_layers);
out:
    return st;
}

/* No cells where there is no such file. */
static sb_status read_residual(const char *run_dir, residual *r, sb_err *err)
{
    sb_status st = SB_OK;
    char *text = NULL, *path = sb_sprintf("%s/residual.csv", run_dir);
    SB_CHECK(path, err, SB_NO_MEMORY, "out of memory for a path");
    SB_TRY(sb_fs_read(path, &text, err));
    if (text)
        SB_TRY(read_lines(text, path, r, err));
out:
    sb_free(text);
    sb_free(path);
    return st;
}

static double error_of(const residual *r, int64_t cell, int64_t layer)
{
    for (int64_t i = 0; i < r->n; i++)
        if (r->cells[i] == cell)
            return r->errors[i * r->n_layers + layer];
    return NAN;
}

/* ---- the figure -------------------------------------------------------------------------------
 */

static bool is_near(const sb_model_run *r, double target)
{
    return fabs(r->density / target - 1) <= nearness;
}

/* The density that most runs of the longest length are near; of several, the one nearest to a
 * quarter. */
static double find_target(const sb_model_pick *p)
{
    double best = NAN;
    int64_t most = 0, tokens = sb_model_longest(p);
    for (int64_t i = 0; i < p->n; i++) {
        int64_t n = 0;
        double density = p->runs[i]->density;
        for (int64_t k = 0; k < p->n; k++)
            n += p->runs[k]->first->tokens == tokens && is_near(p->runs[k], density);
        if (n > most || (n == most && fabs(log(density / .25)) < fabs(log(best / .25)))) {
            best = density;
            most = n;
        }
    }
    return best;
}

/* Whether no other run of the curve, block, setting and length is nearer to the target. */
static bool is_nearest(const sb_model_pick *p, int64_t i, double target)
{
    const sb_record *a = p->runs[i]->first;
    double own = fabs(log(p->runs[i]->density / target));
    if (a->tokens != sb_model_longest(p) || !is_near(p->runs[i], target))
        return false;
    for (int64_t k = 0; k < p->n; k++) {
        const sb_record *b = p->runs[k]->first;
        double other = fabs(log(p->runs[k]->density / target));
        if (p->curve[k] == p->curve[i] && a->block == b->block && a->tokens == b->tokens &&
            sb_model_same(a->setting, b->setting) && (other < own || (other == own && k < i)))
            return false;
    }
    return true;
}

static void put_run(sb_sheet *s, const sb_model_pick *p, int64_t i, const residual *errors)
{
    sb_model_panel panel;
    if (!sb_model_panel_of(p, p->runs[i], &panel))
        return;
    for (int64_t l = 0; l < errors->n_layers; l++) {
        sb_paired sum = {0};
        for (int64_t k = 0; k < p->runs[i]->n; k++)
            sb_paired_add(&sum, error_of(errors, p->runs[i]->rows[k]->cell, l), 1);
        sb_model_put(s, p, i, &panel, (double)l, sb_paired_ratio(&sum));
    }
}

static sb_status put_captions(sb_sheet *s, const sb_model_pick *p, double target, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(sb_model_labels(s, p, err));
    SB_TRY(
        sb_sheet_key(s, 0, err,
                     "Error of the residual stream after each layer, relative to that with dense "
                     "attention: geometric mean over texts (intervals in the data)."));
    SB_TRY(sb_model_captions(s, p, err));
    SB_TRY(sb_sheet_key(s, 0, err,
                        "Each curve's setting nearest to density %.3f (none within 15 %%: left "
                        "out). " SB_MODEL_DENSITY_NOTE,
                        target));
    SB_TRY(sb_model_omissions(s, p, err));
out:
    return st;
}

sb_status sb_model_write_residual(const sb_model *m, const char *csv_path, const char *key_path,
                                  int64_t *n_rows, sb_err *err)
{
    sb_sheet s = {0};
    sb_status st = SB_OK;
    sb_model_pick p = {0};
    residual errors = {0};
    SB_TRY(read_residual(m->run_dir, &errors, err));
    SB_TRY(sb_model_pick_where(m, sb_model_is_whole_text, false, MOST_CURVES, &p, err));
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs(SB_MODEL_XY_HEADER, s.csv);
    double target = find_target(&p);
    for (int64_t i = 0; i < p.n && errors.n > 0; i++)
        if (is_nearest(&p, i, target))
            put_run(&s, &p, i, &errors);
    if (s.n_rows > 0)
        SB_TRY(put_captions(&s, &p, target, err));
out:
    *n_rows = s.n_rows;
    sb_model_pick_free(&p);
    sb_free(errors.errors);
    sb_free(errors.cells);
    return sb_sheet_close(&s, st, csv_path, err);
}
