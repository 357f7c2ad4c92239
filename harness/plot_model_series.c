/* Data of two figures at nearly equal density: the residual stream's relative error after each
 * layer, and the divergence by position. Read RUN_DIR/residual.csv, cell,layer_0,layer_1,..., and
 * RUN_DIR/positions.csv, cell,kl_0,kl_1,... for equal parts of the positions, and more columns. */
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

/* A table by cell. */
typedef struct source {
    const char *file, *column; /* its columns are cell, <column>_0, ... */
    bool more;                 /* others may follow */
    const char *note;          /* what they are */
} source;

static const source residual = {
    "residual.csv", "layer", false,
    "Error of the residual stream after each layer, relative to that with dense attention: "
    "geometric mean over texts (intervals in the data)."};

static const source positions = {
    "positions.csv", "kl", true,
    SB_MODEL_KL_NOTE ", by equal parts of the measured positions: geometric mean over texts "
                     "(intervals in the data)."};

typedef struct table {
    const source *of;
    int64_t n, n_columns;
    int64_t *cells; /* [n] */
    double *values; /* [n, n_columns] */
} table;

/* ---- reading ----------------------------------------------------------------------------------
 */

/* The columns of a header "cell,layer_0,layer_1"; 0 where it is none. */
static int64_t header_columns(const source *of, const char *at, const char *end)
{
    char name[32];
    int64_t n = 0;
    if (end - at < 4 || memcmp(at, "cell", 4) != 0)
        return 0;
    for (at += 4; at < end; n++) {
        int length = snprintf(name, sizeof name, ",%s_%" PRId64, of->column, n);
        if (end - at < length || memcmp(at, name, (size_t)length) != 0)
            return of->more ? n : 0;
        at += length;
    }
    return n;
}

static bool parse(const char *at, table *t)
{
    char *end;
    t->cells[t->n] = strtoll(at, &end, 10);
    if (end == at)
        return false;
    for (int64_t l = 0; l < t->n_columns; l++) {
        if (*end != ',')
            return false;
        at = end + 1;
        t->values[t->n * t->n_columns + l] = *at == ',' || *at == '\n' ? NAN : strtod(at, &end);
        end = *at == ',' || *at == '\n' ? (char *)at : end;
    }
    t->n++;
    return *end == '\n' || (t->of->more && *end == ',' && strchr(end, '\n'));
}

static sb_status read_lines(const char *text, const char *path, table *t, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n_lines = 0, line = 1;
    const char *at = text + strcspn(text, "\n");
    t->n_columns = header_columns(t->of, text, at);
    SB_CHECK(t->n_columns > 0 && *at, err, SB_BAD_DATA,
             "%s:1: '%.60s'; expected cell,%s_0,%s_1,...", path, text, t->of->column,
             t->of->column);
    for (const char *p = at; *p; p++)
        n_lines += *p == '\n';
    t->cells = sb_alloc(n_lines, sizeof *t->cells);
    t->values = sb_alloc(n_lines, (size_t)t->n_columns * sizeof *t->values);
    SB_CHECK(t->cells && t->values, err, SB_NO_MEMORY, "out of memory for a table");
    for (at++; *at; at = strchr(at, '\n') + 1)
        SB_CHECK(++line <= n_lines && parse(at, t), err, SB_BAD_DATA,
                 "%s:%" PRId64 ": expected a cell's number, %" PRId64 " numbers and a line's end",
                 path, line, t->n_columns);
out:
    return st;
}

/* No cells where there is no such file. */
static sb_status read_table(const char *run_dir, table *t, sb_err *err)
{
    sb_status st = SB_OK;
    char *text = NULL, *path = sb_sprintf("%s/%s", run_dir, t->of->file);
    SB_CHECK(path, err, SB_NO_MEMORY, "out of memory for a path");
    SB_TRY(sb_fs_read(path, &text, err));
    if (text)
        SB_TRY(read_lines(text, path, t, err));
out:
    sb_free(text);
    sb_free(path);
    return st;
}

static double value_of(const table *t, int64_t cell, int64_t column)
{
    for (int64_t i = 0; i < t->n; i++)
        if (t->cells[i] == cell)
            return t->values[i * t->n_columns + column];
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

/* Layers are numbered; positions are the middle of their part. */
static double place_of(const table *t, int64_t column)
{
    return t->of == &residual ? (double)column : ((double)column + .5) / (double)t->n_columns;
}

static void put_run(sb_sheet *s, const sb_model_pick *p, int64_t i, const table *t)
{
    sb_model_panel panel;
    if (!sb_model_panel_of(p, p->runs[i], &panel))
        return;
    for (int64_t l = 0; l < t->n_columns; l++) {
        sb_paired sum = {0};
        for (int64_t k = 0; k < p->runs[i]->n; k++)
            sb_paired_add(&sum, value_of(t, p->runs[i]->rows[k]->cell, l), 1);
        sb_model_put(s, p, i, &panel, place_of(t, l), sb_paired_ratio(&sum));
    }
}

static sb_status put_captions(sb_sheet *s, const sb_model_pick *p, const source *of, double target,
                              sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(sb_model_labels(s, p, err));
    SB_TRY(sb_sheet_key(s, 0, err, "%s", of->note));
    SB_TRY(sb_model_captions(s, p, err));
    SB_TRY(sb_sheet_key(s, 0, err,
                        "Each curve's setting nearest to density %.3f (none within 15 %%: left "
                        "out). " SB_MODEL_DENSITY_NOTE,
                        target));
    SB_TRY(sb_model_omissions(s, p, err));
out:
    return st;
}

static sb_status write_figure(const sb_model *m, const source *of, const char *csv_path,
                              const char *key_path, int64_t *n_rows, sb_err *err)
{
    sb_sheet s = {0};
    sb_status st = SB_OK;
    sb_model_pick p = {0};
    table t = {.of = of};
    SB_TRY(read_table(m->run_dir, &t, err));
    SB_TRY(sb_model_pick_where(m, sb_model_is_whole_text, false, MOST_CURVES, &p, err));
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs(SB_MODEL_XY_HEADER, s.csv);
    double target = find_target(&p);
    for (int64_t i = 0; i < p.n && t.n > 0; i++)
        if (is_nearest(&p, i, target))
            put_run(&s, &p, i, &t);
    if (s.n_rows > 0)
        SB_TRY(put_captions(&s, &p, of, target, err));
out:
    *n_rows = s.n_rows;
    sb_model_pick_free(&p);
    sb_free(t.values);
    sb_free(t.cells);
    return sb_sheet_close(&s, st, csv_path, err);
}

sb_status sb_model_write_residual(const sb_model *m, const char *csv_path, const char *key_path,
                                  int64_t *n_rows, sb_err *err)
{
    return write_figure(m, &residual, csv_path, key_path, n_rows, err);
}

sb_status sb_model_write_position(const sb_model *m, const char *csv_path, const char *key_path,
                                  int64_t *n_rows, sb_err *err)
{
    return write_figure(m, &positions, csv_path, key_path, n_rows, err);
}
