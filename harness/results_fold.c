#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/results_store.h"

bool sb_key_parse(const char *name, uint64_t *key)
{
    if (strspn(name, "0123456789abcdef") != 16 || name[16] != '\0')
        return false;
    *key = strtoull(name, NULL, 16);
    return true;
}

char *sb_cell_path(const char *run_path, uint64_t key)
{
    return sb_sprintf("%s/" SB_CELLS_DIR "/%016" PRIx64 ".h5", run_path, key);
}

/* A record's file that cannot be read is as good as none: its cell is computed again. */
static sb_status load_cell(const char *run_path, uint64_t key, bool whole, sb_record_list *list,
                           sb_err *err)
{
    sb_err ignored = {0};
    int64_t before = list->n;
    char *path = sb_cell_path(run_path, key);
    if (!path)
        return sb_no_memory(err, "a file name");
    sb_status st = sb_store_load(path, whole, NULL, list, &ignored);
    sb_free(path);
    bool sound = st == SB_OK && list->n == before + 1 && list->items[before].key == key;
    for (; !sound && list->n > before; list->n--)
        sb_record_free(&list->items[list->n - 1]);
    return st == SB_NO_MEMORY ? sb_fail(err, st, "%s", ignored.msg) : SB_OK;
}

sb_status sb_cells_load(const char *run_path, bool whole, sb_record_list *list, sb_err *err)
{
    sb_status st = SB_OK;
    char *path = sb_sprintf("%s/" SB_CELLS_DIR, run_path);
    if (!path)
        return sb_no_memory(err, "a file name");
    DIR *folder = opendir(path);
    for (struct dirent *e; folder && st == SB_OK && (e = readdir(folder));) {
        char name[17];
        uint64_t key;
        if (strlen(e->d_name) != 19 || strcmp(e->d_name + 16, ".h5") != 0)
            continue;
        (void)snprintf(name, sizeof name, "%.16s", e->d_name);
        if (sb_key_parse(name, &key))
            st = load_cell(run_path, key, whole, list, err);
    }
    if (folder)
        (void)closedir(folder);
    sb_free(path);
    return st;
}

sb_status sb_run_load(const char *run_path, bool whole, sb_record_list *list, int64_t *n_cells,
                      sb_err *err)
{
    sb_status st = SB_OK;
    sb_key_set cells = {0};
    char *store = sb_sprintf("%s/" SB_RESULTS_H5, run_path);
    char *folder = sb_sprintf("%s/" SB_CELLS_DIR, run_path);
    char *csv = sb_sprintf("%s/" SB_RESULTS_CSV, run_path);
    if (!store || !folder || !csv) {
        st = sb_no_memory(err, "a file name");
        goto out;
    }
    /* A running process moves records from .cells to results.h5: read in that order, one that moves
     * meanwhile is met at least once. */
    SB_TRY(sb_cells_load(run_path, whole, list, err));
    *n_cells = list->n;
    for (int64_t i = 0; i < list->n; i++)
        SB_TRY(sb_key_add(&cells, list->items[i].key, err));
    bool ours = access(folder, F_OK) == 0;
    if (access(store, F_OK) == 0 || (!ours && access(csv, F_OK) != 0))
        st = sb_store_load(store, whole, &cells, list, err);
    else if (!ours)
        st = sb_csv_load(run_path, list, err);
out:
    sb_free(cells.keys);
    sb_free(csv);
    sb_free(folder);
    sb_free(store);
    return st;
}

struct number {
    uint64_t key;
    int64_t cell;
};

struct fold {
    sb_h5_out to;
    hid_t from;
    bool keep_all;
    struct number *numbers; /* by key */
    int64_t n_numbers;
    sb_err *err;
    sb_status st;
};

static int by_key(const void *a, const void *b)
{
    const struct number *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static const struct number *number_of(const struct fold *f, const char *name)
{
    struct number wanted = {0};
    if (f->n_numbers == 0 || !sb_key_parse(name, &wanted.key))
        return NULL;
    return bsearch(&wanted, f->numbers, (size_t)f->n_numbers, sizeof wanted, by_key);
}

static sb_status number_cells(struct fold *f, const sb_keep *keep)
{
    f->keep_all = !keep->keys;
    if (f->keep_all)
        return SB_OK;
    f->numbers = sb_alloc_uninit(keep->n, sizeof *f->numbers);
    if (!f->numbers)
        return sb_no_memory(f->err, "the cells' keys");
    f->n_numbers = keep->n;
    for (int64_t i = 0; i < keep->n; i++)
        f->numbers[i] = (struct number){keep->keys[i], i};
    if (keep->n > 1)
        qsort(f->numbers, (size_t)keep->n, sizeof *f->numbers, by_key);
    return SB_OK;
}

/* Copies an object, in place of one of that name. */
static sb_status copy_object(hid_t from, const sb_h5_out *to, const char *at, sb_err *err)
{
    if (H5Lexists(to->file, at, H5P_DEFAULT) > 0)
        (void)H5Ldelete(to->file, at, H5P_DEFAULT);
    return sb_h5_wrote(to, H5Ocopy(from, at, to->file, at, H5P_DEFAULT, H5P_DEFAULT), err);
}

static sb_status copy_provenance(hid_t from, hid_t group, const sb_h5_out *to, sb_err *err)
{
    char at[32], *name = NULL;
    sb_status st = sb_h5_get_text(group, "provenance", &name, err);
    if (st == SB_OK && name[0]) {
        (void)snprintf(at, sizeof at, "/provenance/%.16s", name);
        if (H5Lexists(to->file, at, H5P_DEFAULT) == 0)
            st = copy_object(from, to, at, err);
    }
    sb_free(name);
    return st;
}

sb_status sb_record_copy(hid_t from, const sb_h5_out *to, uint64_t key, sb_err *err)
{
    char at[32];
    (void)snprintf(at, sizeof at, "/records/%016" PRIx64, key);
    hid_t group = H5Gopen2(from, at, H5P_DEFAULT);
    sb_status st = group < 0 ? sb_h5_bad(err, from, at + 1, "damaged; expected a record")
                             : copy_provenance(from, group, to, err);
    sb_h5_close(group);
    return st == SB_OK ? copy_object(from, to, at, err) : st;
}

sb_status sb_record_renumber(const sb_h5_out *to, hid_t group, const char *column, int64_t number,
                             sb_err *err)
{
    sb_status st = sb_h5_wrote(to, H5Adelete(group, column), err);
    return st == SB_OK ? sb_h5_put_int(to, group, column, number, err) : st;
}

static herr_t copy_one(hid_t records, const char *name, const H5L_info_t *link, void *user)
{
    struct fold *f = user;
    uint64_t key;
    (void)link;
    if (!f->keep_all && !number_of(f, name))
        return 0;
    f->st = sb_key_parse(name, &key)
                ? sb_record_copy(f->from, &f->to, key, f->err)
                : sb_h5_bad(f->err, records, name, "damaged; expected a record");
    return f->st == SB_OK ? 0 : -1;
}

static herr_t renumber_one(hid_t records, const char *name, const H5L_info_t *link, void *user)
{
    struct fold *f = user;
    const struct number *number = number_of(f, name);
    int64_t cell = 0;
    (void)link;
    if (!number)
        return 0;
    hid_t group = H5Gopen2(records, name, H5P_DEFAULT);
    f->st = sb_h5_get_int(group, "cell", &cell, f->err);
    if (f->st == SB_OK && cell != number->cell)
        f->st = sb_record_renumber(&f->to, group, "cell", number->cell, f->err);
    sb_h5_close(group);
    return f->st == SB_OK ? 0 : -1;
}

static sb_status each_record(struct fold *f, hid_t file, H5L_iterate_t visit)
{
    hid_t records = -1;
    sb_status st = sb_h5_open_group(file, "records", &records, f->err);
    f->st = SB_OK;
    if (st == SB_OK && H5Literate(records, H5_INDEX_NAME, H5_ITER_INC, NULL, visit, f) < 0)
        st = f->st != SB_OK ? f->st : sb_h5_bad(f->err, records, NULL, "damaged; expected records");
    sb_h5_close(records);
    return st;
}

static sb_status copy_records(struct fold *f, const char *path)
{
    sb_status st = sb_store_open(path, &f->from, f->err);
    if (st == SB_OK)
        st = each_record(f, f->from, copy_one);
    sb_h5_close(f->from);
    return st;
}

sb_status sb_store_fold(const char *run_path, const char *config_text, const sb_key_set *pending,
                        const sb_keep *keep, bool drops, sb_err *err)
{
    sb_status st = SB_OK;
    char *store = sb_sprintf("%s/" SB_RESULTS_H5, run_path);
    struct fold f = {.from = -1, .err = err};
    if (!store) {
        st = sb_no_memory(err, "a file name");
        goto out;
    }
    bool exists = access(store, F_OK) == 0;
    SB_TRY(number_cells(&f, keep));
    /* Copying the bytes is much faster than object by object, but keeps the room of what goes. */
    if (exists && !drops)
        SB_TRY(sb_h5_modify(store, SB_H5_CHECKED, &f.to, err));
    else
        SB_TRY(sb_store_create(store, config_text, &f.to, err));
    if (exists && drops)
        SB_TRY(copy_records(&f, store));
    for (int64_t i = 0; i < pending->n; i++) {
        char *cell = sb_cell_path(run_path, pending->keys[i]);
        st = cell ? copy_records(&f, cell) : sb_no_memory(err, "a file name");
        sb_free(cell);
        if (st != SB_OK)
            goto out;
    }
    if (keep->keys)
        SB_TRY(each_record(&f, f.to.file, renumber_one));
    SB_TRY(sb_h5_commit(&f.to, err));
out:
    sb_h5_discard(&f.to);
    sb_free(f.numbers);
    sb_free(store);
    return st;
}
