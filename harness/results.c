#include "harness/results.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/hash.h"
#include "harness/mem.h"
#include "harness/results_store.h"

const char *const sb_series_names[SB_N_SERIES] = {
    [SB_SERIES_SELECT_MS] = "select_ms",
    [SB_SERIES_ATTEND_MS] = "attend_ms",
    [SB_SERIES_TOTAL_MS] = "total_ms",
    [SB_SERIES_DENSE_MS] = "dense_ms",
    [SB_SERIES_OWN_DENSE_MS] = "own_dense_ms",
    [SB_SERIES_CUDNN_MS] = "cudnn_ms",
    [SB_SERIES_SM_MHZ] = "sm_mhz",
    [SB_SERIES_WATTS] = "watts",
    [SB_SERIES_CELSIUS] = "celsius",
    [SB_SERIES_HEAD_REL_L2] = "head_rel_l2",
    [SB_SERIES_HEAD_MASS_RECALL] = "head_mass_recall",
    [SB_SERIES_POS_REL_L2] = "pos_rel_l2",
    [SB_SERIES_POS_MASS_RECALL] = "pos_mass_recall",
    [SB_SERIES_BUDGET] = "budget",
    [SB_SERIES_PATTERN_MAP] = "pattern_map",
};

const sb_column sb_columns[] = {
#define SB_COLUMN(kind, name) {#name, SB_KIND_##kind, offsetof(sb_record, name)},
#include "harness/results.def"
#undef SB_COLUMN
};
const int sb_n_columns = (int)(sizeof sb_columns / sizeof sb_columns[0]);

const char *const sb_identity_names[SB_N_IDENTITY] = {
    "capture",   "model",     "layer",   "tokens",       "heads",   "kv_heads",
    "head_dim",  "dtype",     "backend", "kernel",       "threads", "method",
    "variant",   "params",    "block",   "match_target", "task",    "text",
    "layer_set", "row_range", "setting", "head_set"};

const sb_column *sb_column_find(const char *name)
{
    for (int i = 0; i < sb_n_columns; i++)
        if (strcmp(sb_columns[i].name, name) == 0)
            return &sb_columns[i];
    return NULL;
}

uint64_t sb_identity_hash(const sb_record *r)
{
    uint64_t hash = 0;
    for (int i = 0; i < SB_N_IDENTITY; i++) {
        char number[32];
        const sb_column *c = sb_column_find(sb_identity_names[i]);
        const void *field = sb_column_of(c, r);
        const char *text = number;
        if (c->kind == SB_KIND_INT)
            (void)snprintf(number, sizeof number, "%" PRId64, *(const int64_t *)field);
        else
            text = *(char *const *)field ? *(char *const *)field : "";
        hash = sb_hash64(text, strlen(text) + 1, hash);
    }
    return hash ? hash : 1;
}

void sb_record_init(sb_record *r)
{
    memset(r, 0, sizeof *r);
    for (int i = 0; i < sb_n_columns; i++)
        if (sb_columns[i].kind == SB_KIND_REAL)
            *(double *)sb_column_at(&sb_columns[i], r) = NAN;
    for (int i = 0; i < SB_N_SERIES; i++)
        r->series[i].name = sb_series_names[i];
}

void sb_record_free(sb_record *r)
{
    for (int i = 0; i < sb_n_columns; i++)
        if (sb_columns[i].kind == SB_KIND_TEXT)
            sb_free(*(char **)sb_column_at(&sb_columns[i], r));
    for (int i = 0; i < SB_N_SERIES; i++)
        sb_free(r->series[i].data);
    sb_free(r->config);
    sb_free(r->provenance);
    sb_record_init(r);
}

sb_status sb_record_set(char **field, const char *text, sb_err *err)
{
    char *copy = NULL;
    if (text && !(copy = sb_strdup(text)))
        return sb_no_memory(err, "a record's text");
    sb_free(*field);
    *field = copy;
    return SB_OK;
}

sb_status sb_record_series(sb_record *r, enum sb_series_id id, const double *data, int64_t n,
                           sb_err *err)
{
    double *copy = sb_alloc_uninit(n, sizeof *copy);
    if (!copy)
        return sb_no_memory(err, sb_series_names[id]);
    if (n > 0)
        memcpy(copy, data, (size_t)n * sizeof *copy);
    sb_free(r->series[id].data);
    r->series[id].data = copy;
    r->series[id].n = n;
    return SB_OK;
}

sb_status sb_record_push(sb_record_list *list, sb_record **r, sb_err *err)
{
    void *grown = sb_grow(list->items, list->n, &list->capacity, sizeof *list->items);
    if (!grown)
        return sb_no_memory(err, "the records");
    list->items = grown;
    *r = &list->items[list->n++];
    sb_record_init(*r);
    return SB_OK;
}

static int by_cell(const void *a, const void *b)
{
    const sb_record *x = a, *y = b;
    if (x->cell != y->cell)
        return x->cell < y->cell ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

void sb_records_sort(sb_record *records, int64_t n)
{
    if (n > 1)
        qsort(records, (size_t)n, sizeof *records, by_cell);
}

static sb_status read_sorted(const char *path, sb_extent extent, sb_record **records, int64_t *n,
                             sb_err *err)
{
    sb_record_list list = {0};
    *records = NULL;
    *n = 0;
    sb_status st = sb_run_load(path, extent, &list, err);
    if (st != SB_OK) {
        sb_records_free(list.items, list.n);
        return st;
    }
    sb_records_sort(list.items, list.n);
    *records = list.items;
    *n = list.n;
    return SB_OK;
}

sb_status sb_results_read(const char *path, sb_record **records, int64_t *n, sb_err *err)
{
    return read_sorted(path, SB_WHOLE, records, n, err);
}

sb_status sb_results_columns(const char *path, sb_record **records, int64_t *n, sb_err *err)
{
    return read_sorted(path, SB_COLUMNS, records, n, err);
}

void sb_records_free(sb_record *records, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sb_record_free(&records[i]);
    sb_free(records);
}
