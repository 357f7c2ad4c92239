#include "harness/plot_published.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/plot_data.h"
#include "harness/plot_inset.h"
#include "harness/plot_sheet.h"

static const char header[] = "figure,kind,x,y,label,source";
static const char *const kinds[SB_PUBLISHED_KINDS] = {"point", "vline",      "hline",
                                                      "inset", "inset-axis", "note"};

/* Figures whose scripts load published.gp. */
static const char *const marked[] = {
    "error_flops",  "error_density", "latency_length",  "speedup_length", "paired",
    "sweep",        "error_layer",   "schedule_length", "model_density",  "model_rows",
    "model_layers", "model_length",  "model_residual",  "model_position"};

enum { N_FIELDS = 6, N_MARKED = sizeof marked / sizeof marked[0] };

/* ---- reading -------------------------------------------------------------------------------- */

/* Split a line in place; false unless it has exactly N_FIELDS fields. */
static bool split(char *at, char *fields[N_FIELDS])
{
    for (int i = 0; i < N_FIELDS; i++) {
        bool quoted = *at == '"';
        char *to = at += quoted;
        fields[i] = to;
        for (; *at && (quoted || *at != ','); at++) {
            if (quoted && *at == '"' && *++at != '"') {
                quoted = false;
                break;
            }
            *to++ = *at;
        }
        bool ends = *at == (i < N_FIELDS - 1 ? ',' : '\0');
        if (quoted || !ends)
            return false;
        at++;
        *to = '\0';
    }
    return true;
}

/* A finite number where one is `needed`, else nothing. */
static bool number(const char *field, bool needed, double *x)
{
    char *end;
    *x = NAN;
    if (!needed)
        return *field == '\0';
    *x = strtod(field, &end);
    return end != field && *end == '\0' && isfinite(*x);
}

static bool is_figure(const char *name)
{
    for (int i = 0; i < SB_N_FIGURES; i++)
        if (strcmp(sb_figures[i].name, name) == 0)
            return true;
    return false;
}

static bool takes_marks(const char *name)
{
    for (int i = 0; i < N_MARKED; i++)
        if (strcmp(marked[i], name) == 0)
            return true;
    return false;
}

/* Returns what is wrong with a line, or NULL. */
static const char *parse(char *line, sb_published *row)
{
    char *fields[N_FIELDS];
    int kind = 0;
    if (!split(line, fields))
        return "not six fields";
    while (kind < SB_PUBLISHED_KINDS && strcmp(fields[1], kinds[kind]) != 0)
        kind++;
    if (kind == SB_PUBLISHED_KINDS)
        return "kind is none of point, vline, hline, inset, inset-axis, note";
    char *slash = strchr(fields[0], '/'), *end = fields[0] + strlen(fields[0]);
    if (slash)
        *slash = '\0';
    *row = (sb_published){
        fields[0], slash ? slash + 1 : end, (sb_published_kind)kind, NAN, NAN, fields[4],
        fields[5]};
    bool both = kind == SB_PUBLISHED_POINT || kind == SB_PUBLISHED_INSET;
    if (!is_figure(row->figure))
        return "no such figure";
    if (kind != SB_PUBLISHED_NOTE && !takes_marks(row->figure))
        return "a figure that takes notes alone";
    if (!number(fields[2], both || kind == SB_PUBLISHED_VLINE, &row->x))
        return "x is not what its kind has";
    if (!number(fields[3], both || kind == SB_PUBLISHED_HLINE, &row->y))
        return "y is not what its kind has";
    if (kind != SB_PUBLISHED_NOTE && strchr(row->label, ','))
        return "a comma in a mark's label, where gnuplot 5.4 ends it";
    return !*row->label ? "no label" : !*row->source ? "no source" : NULL;
}

static sb_status read_rows(sb_published_file *file, const char *path, sb_err *err)
{
    int64_t line = 0;
    for (char *at = file->text, *next; at; at = next) {
        next = strchr(at, '\n');
        if (next)
            *next++ = '\0';
        size_t n = strlen(at);
        if (n > 0 && at[n - 1] == '\r')
            at[n - 1] = '\0';
        if (line++ == 0) {
            if (strcmp(at, header) != 0)
                return sb_fail(err, SB_BAD_DATA, "%s:1: '%.60s'; expected %s", path, at, header);
        } else if (*at) {
            const char *wrong = parse(at, &file->rows[file->n]);
            if (wrong)
                return sb_fail(err, SB_BAD_DATA, "%s:%" PRId64 ": %s; expected a row of %s", path,
                               line, wrong, header);
            file->n++;
        }
    }
    return SB_OK;
}

sb_status sb_published_read(const char *run_dir, sb_published_file *file, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n_lines = 1;
    char *path = sb_sprintf("%s/published.csv", run_dir);
    *file = (sb_published_file){0};
    SB_CHECK(path, err, SB_NO_MEMORY, "out of memory for a path");
    SB_TRY(sb_fs_read(path, &file->text, err));
    if (!file->text)
        goto out;
    for (const char *at = file->text; *at; at++)
        n_lines += *at == '\n';
    file->rows = sb_alloc(n_lines, sizeof *file->rows);
    SB_CHECK(file->rows, err, SB_NO_MEMORY, "out of memory for published values");
    SB_TRY(read_rows(file, path, err));
out:
    sb_free(path);
    if (st != SB_OK)
        sb_published_free(file);
    return st;
}

void sb_published_free(sb_published_file *file)
{
    sb_free(file->rows);
    sb_free(file->text);
    *file = (sb_published_file){0};
}

/* ---- what a figure shows --------------------------------------------------------------------- */

static bool is_mark(const sb_published *row)
{
    return row->kind <= SB_PUBLISHED_HLINE;
}

static bool is_drawn(const sb_published *row)
{
    return row->kind != SB_PUBLISHED_NOTE;
}

/* Rows for the script, and one row of the key for each; chosen [file->n] is room. */
static sb_status put_rows(sb_sheet *s, const sb_published_file *file, const char *figure,
                          sb_inset_side *chosen, sb_err *err)
{
    sb_status st = SB_OK;
    fputs("kind,panel,x,y,label,h,v\n", s->csv);
    for (int64_t i = 0; i < file->n; i++) {
        const sb_published *row = &file->rows[i];
        if (!is_drawn(row) || strcmp(row->figure, figure) != 0)
            continue;
        fprintf(s->csv, "%s,", kinds[row->kind]);
        /* gnuplot reads on behind an empty text in quotes */
        if (*row->panel)
            sb_sheet_quoted(s->csv, row->panel);
        sb_sheet_real(s->csv, row->x);
        sb_sheet_real(s->csv, row->y);
        fputc(',', s->csv);
        sb_sheet_quoted(s->csv, row->label);
        if (row->kind == SB_PUBLISHED_INSET)
            chosen[i] = sb_inset_place(file, i, chosen);
        fprintf(s->csv, ",%d,%d\n", chosen[i].h, chosen[i].v);
        s->n_rows++;
        if (row->kind != SB_PUBLISHED_AXIS)
            SB_TRY(sb_sheet_key(s, is_mark(row) ? -1 : -2, err, "%s", row->label));
    }
out:
    return st;
}

/* Whether an earlier row that is drawn has the same source. */
static bool is_named(const sb_published_file *file, int64_t i, const char *figure)
{
    for (int64_t k = 0; k < i; k++)
        if (is_drawn(&file->rows[k]) && strcmp(file->rows[k].figure, figure) == 0 &&
            strcmp(file->rows[k].source, file->rows[i].source) == 0)
            return true;
    return false;
}

static sb_status put_sources(sb_sheet *s, const sb_published_file *file, const char *figure,
                             sb_err *err)
{
    sb_status st = SB_OK;
    char *sources = sb_strdup("");
    for (int64_t i = 0; i < file->n && sources; i++) {
        const sb_published *row = &file->rows[i];
        if (strcmp(row->figure, figure) != 0)
            continue;
        if (!is_drawn(row)) {
            SB_TRY(sb_sheet_key(s, 0, err, "Published: %s (%s).", row->label, row->source));
        } else if (!is_named(file, i, figure)) {
            char *longer = sb_sprintf("%s%s%s", sources, *sources ? "; " : "", row->source);
            sb_free(sources);
            sources = longer;
        }
    }
    SB_CHECK(sources, err, SB_NO_MEMORY, "out of memory for sources");
    if (*sources)
        SB_TRY(sb_sheet_key(s, 0, err, "In grey: published values, %s.", sources));
out:
    sb_free(sources);
    return st;
}

sb_status sb_published_write(const char *run_dir, const char *figure, const char *path,
                             const char *key_path, sb_err *err)
{
    sb_status st = SB_OK;
    sb_published_file file = {0};
    sb_sheet s = {0};
    sb_inset_side *chosen = NULL;
    SB_TRY(sb_published_read(run_dir, &file, err));
    s.csv = fopen(path, "w");
    SB_CHECK(s.csv, err, SB_IO, "%s: %s", path, strerror(errno));
    s.key = fopen(key_path, "a");
    SB_CHECK(s.key, err, SB_IO, "%s: %s", key_path, strerror(errno));
    chosen = sb_alloc(file.n, sizeof *chosen);
    SB_CHECK(chosen, err, SB_NO_MEMORY, "out of memory for published values");
    SB_TRY(put_rows(&s, &file, figure, chosen, err));
    SB_TRY(put_sources(&s, &file, figure, err));
out:
    st = sb_sheet_close(&s, st, path, err);
    if (s.n_rows == 0)
        (void)unlink(path);
    sb_free(chosen);
    sb_published_free(&file);
    return st;
}
