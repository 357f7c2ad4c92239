#ifndef SB_RESULTS_RIG_H
#define SB_RESULTS_RIG_H

/* A run directory and records that are known in every field, for the tests of results. */

#include <hdf5.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/h5util.h"
#include "harness/results_rows.h"
#include "harness/tests/folder_rig.h"

static char run[300];
static const char config[] = "name: test\n";

static inline const char *at(const char *name)
{
    static char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", run, name);
    return path;
}

static inline const char *folder_file(const char *name)
{
    static char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline bool there(const char *name)
{
    return access(at(name), F_OK) == 0;
}

static inline void clear(void)
{
    EXPECT(sb_fs_remove(run, NULL) == SB_OK);
}

static inline sb_run_dir *open_run(void)
{
    sb_run_dir *dir = NULL;
    sb_err err = {0};
    EXPECT_MSG(sb_run_dir_open(run, config, false, &dir, &err) == SB_OK, "%s", err.msg);
    return dir;
}

/* Distinct values in every field, made from the key. */
static inline void fill(sb_record *r, uint64_t key, int64_t cell)
{
    double data[400];
    char text[64];
    sb_record_init(r);
    for (int i = 0; i < sb_n_columns; i++) {
        void *field = sb_column_at(&sb_columns[i], r);
        (void)snprintf(text, sizeof text, "%s, \"%" PRIu64 "\"\n", sb_columns[i].name, key);
        if (sb_columns[i].kind == SB_KIND_TEXT)
            (void)sb_record_set(field, text, NULL);
        else if (sb_columns[i].kind == SB_KIND_INT)
            *(int64_t *)field = i * 1000 + (int64_t)(key % 1000);
        else
            *(double *)field = 1.0 / (double)(i + 3) + (double)(key % 1000);
    }
    r->key = key;
    r->cell = cell;
    r->density = NAN;
    r->speedup = -INFINITY;
    r->layer = INT64_MIN;
    r->pos_bin = 64;
    r->map_side = 20;
    for (int i = 0; i < 400; i++)
        data[i] = i % 21 == 0 ? -1 : 1.0 / (i + 1 + (double)(key % 1000));
    for (int s = 0; s < SB_N_SERIES; s++)
        (void)sb_record_series(r, (enum sb_series_id)s, data + (s == SB_SERIES_PATTERN_MAP ? 0 : s),
                               s == SB_SERIES_PATTERN_MAP ? 400 : 3 + s, NULL);
    (void)sb_record_set(&r->config, "method: stem\nlayer: 2\n", NULL);
    (void)sb_record_set(&r->provenance, "compiler: gcc\nflags: -O2\n", NULL);
}

static inline sb_status append(sb_run_dir *dir, uint64_t key, int64_t cell, sb_err *err)
{
    sb_record r;
    fill(&r, key, cell);
    sb_status st = sb_run_dir_append(dir, &r, err);
    sb_record_free(&r);
    return st;
}

static inline bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static inline bool same(const sb_record *a, const sb_record *b)
{
    bool same = a->key == b->key && a->pos_bin == b->pos_bin && a->map_side == b->map_side &&
                same_text(a->config, b->config) && same_text(a->provenance, b->provenance);
    for (int i = 0; i < sb_n_columns; i++) {
        const void *x = sb_column_of(&sb_columns[i], a), *y = sb_column_of(&sb_columns[i], b);
        if (sb_columns[i].kind == SB_KIND_TEXT)
            same &= same_text(*(char *const *)x, *(char *const *)y);
        else
            same &= memcmp(x, y, 8) == 0;
    }
    for (int i = 0; i < SB_N_SERIES; i++)
        same &= a->series[i].n == b->series[i].n &&
                strcmp(a->series[i].name, b->series[i].name) == 0 &&
                (a->series[i].n == 0 || memcmp(a->series[i].data, b->series[i].data,
                                               (size_t)a->series[i].n * sizeof(double)) == 0);
    return same;
}

/* Reads the run and checks that it has these n keys, in this order, each as it was made. */
static inline void expect_records(const uint64_t *keys, const int64_t *cells, int64_t n)
{
    sb_record *records = NULL;
    int64_t n_read = -1;
    sb_err err = {0};
    EXPECT_MSG(sb_results_read(run, &records, &n_read, &err) == SB_OK, "%s", err.msg);
    EXPECT_MSG(n_read == n, "%" PRId64 " records; expected %" PRId64, n_read, n);
    for (int64_t i = 0; i < n && i < n_read; i++) {
        sb_record wanted;
        fill(&wanted, keys[i], cells[i]);
        EXPECT_MSG(same(&records[i], &wanted), "record %" PRId64, i);
        sb_record_free(&wanted);
    }
    sb_records_free(records, n_read);
}

/* A copy of results.h5 as programs before rows wrote it. */
static inline const char *without_rows(void)
{
    const char *path = folder_file("plain.h5");
    EXPECT(sb_fs_copy(at("results.h5"), path, NULL) == SB_OK);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    EXPECT(file >= 0 && H5Ldelete(file, "rows", H5P_DEFAULT) >= 0 && H5Fclose(file) >= 0);
    return path;
}

static inline void sorted_columns(const char *path, bool has_rows, sb_record_list *list)
{
    hid_t file = -1;
    EXPECT(sb_store_open(path, &file, NULL) == SB_OK && sb_rows_usable(file) == has_rows);
    EXPECT(sb_store_visit(file, SB_COLUMNS, sb_record_take, list, NULL) == SB_OK);
    sb_h5_close(file);
    sb_records_sort(list->items, list->n);
}

/* The rows of results.h5 say what its groups say. */
static inline void expect_rows(void)
{
    sb_record_list rows = {0}, groups = {0};
    sorted_columns(at("results.h5"), true, &rows);
    sorted_columns(without_rows(), false, &groups);
    EXPECT_MSG(rows.n == groups.n, "%" PRId64 " rows, %" PRId64 " groups", rows.n, groups.n);
    for (int64_t i = 0; i < rows.n && i < groups.n; i++)
        EXPECT_MSG(same(&rows.items[i], &groups.items[i]), "row of cell %" PRId64,
                   rows.items[i].cell);
    sb_records_free(rows.items, rows.n);
    sb_records_free(groups.items, groups.n);
}

/* Lines of results.csv that begin a record: those of the records here start with a digit. */
static inline int64_t csv_records(void)
{
    char *text = NULL;
    int64_t n = 0;
    EXPECT(sb_fs_read(at("results.csv"), &text, NULL) == SB_OK && text);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        n += *line >= '0' && *line <= '9';
    }
    sb_free(text);
    return n;
}

static inline sb_status try_open(const char *path, const char *text, bool fresh, const char *says)
{
    sb_err err = {0};
    sb_run_dir *dir = NULL;
    sb_status st = sb_run_dir_open(path, text, fresh, &dir, &err);
    EXPECT_MSG(!says || strstr(err.msg, says), "%s", err.msg);
    EXPECT((st == SB_OK) == (dir != NULL));
    sb_run_dir_close(dir);
    return st;
}

static inline bool rig_open(void)
{
    if (!folder_open())
        return false;
    (void)snprintf(run, sizeof run, "%s/run", folder);
    return true;
}

#endif
