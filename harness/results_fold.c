#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/results_rows.h"

/* ---- copying -------------------------------------------------------------------------------- */

static sb_status copy_object(hid_t from, const sb_h5_out *to, const char *at, sb_err *err)
{
    return sb_h5_wrote(to, H5Ocopy(from, at, to->file, at, H5P_DEFAULT, H5P_DEFAULT), err);
}

sb_status sb_record_copy(hid_t from, const sb_h5_out *to, const sb_record *r, sb_err *err)
{
    char at[32];
    sb_status st = SB_OK;
    (void)snprintf(at, sizeof at, "/provenance/%.16s", r->provenance);
    if (r->provenance[0] && H5Lexists(to->file, at, H5P_DEFAULT) == 0)
        st = copy_object(from, to, at, err);
    (void)snprintf(at, sizeof at, "/records/%016" PRIx64, r->key);
    return st == SB_OK ? copy_object(from, to, at, err) : st;
}

sb_status sb_record_renumber(const sb_h5_out *to, uint64_t key, const char *column, int64_t number,
                             sb_err *err)
{
    char at[32];
    (void)snprintf(at, sizeof at, "/records/%016" PRIx64, key);
    hid_t group = H5Gopen2(to->file, at, H5P_DEFAULT);
    hid_t attr = H5Aexists(group, column) > 0 ? H5Aopen(group, column, H5P_DEFAULT) : -1;
    sb_status st = attr < 0 ? sb_h5_put_int(to, group, column, number, err)
                            : sb_h5_wrote(to, H5Awrite(attr, H5T_NATIVE_INT64, &number), err);
    sb_h5_close(attr);
    sb_h5_close(group);
    return st;
}

void sb_store_pass_once(hid_t file)
{
    enum { CACHE = 1 << 16 };
    H5AC_cache_config_t cache = {.version = H5AC__CURR_CACHE_CONFIG_VERSION};
    (void)H5Fget_mdc_config(file, &cache);
    cache.set_initial_size = true;
    cache.initial_size = cache.min_size = cache.max_size = CACHE;
    cache.incr_mode = H5C_incr__off;
    cache.flash_incr_mode = H5C_flash_incr__off;
    cache.decr_mode = H5C_decr__off;
    (void)H5Fset_mdc_config(file, &cache);
}

/* ---- folding -------------------------------------------------------------------------------- */

struct number {
    uint64_t key;
    int64_t cell;
};

typedef struct folding {
    hid_t from;  /* the store that is read */
    bool copies; /* its records are to be copied; else they are there */
    sb_h5_out to;
    sb_rows rows;
    const sb_keys *pending;
    bool keep_all;
    struct number *numbers; /* [n_numbers] by key */
    int64_t n_numbers;
} folding;

static int by_key(const void *a, const void *b)
{
    const struct number *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static const struct number *number_of(const folding *f, uint64_t key)
{
    const struct number wanted = {.key = key};
    return f->n_numbers == 0
               ? NULL
               : bsearch(&wanted, f->numbers, (size_t)f->n_numbers, sizeof wanted, by_key);
}

static sb_status number_cells(folding *f, const sb_keep *keep, sb_err *err)
{
    f->keep_all = !keep->keys;
    if (f->keep_all)
        return SB_OK;
    f->numbers = sb_alloc_uninit(keep->n, sizeof *f->numbers);
    if (!f->numbers)
        return sb_no_memory(err, "the cells' keys");
    f->n_numbers = keep->n;
    for (int64_t i = 0; i < keep->n; i++)
        f->numbers[i] = (struct number){keep->keys[i], i};
    if (keep->n > 1)
        qsort(f->numbers, (size_t)keep->n, sizeof *f->numbers, by_key);
    return SB_OK;
}

/* A visit of what is to be in the new store. */
static sb_status keep_record(void *user, sb_record *r, sb_err *err)
{
    folding *f = user;
    sb_status st = SB_OK;
    const struct number *number = number_of(f, r->key);
    if (!f->keep_all && !number)
        return SB_OK;
    if (f->copies)
        st = sb_record_copy(f->from, &f->to, r, err);
    if (st == SB_OK && number && number->cell != r->cell) {
        r->cell = number->cell;
        st = sb_record_renumber(&f->to, r->key, "cell", r->cell, err);
    }
    return st == SB_OK ? sb_rows_put(&f->rows, r, err) : st;
}

/* The same of a record of the old store, which one that is pending may replace. */
static sb_status keep_stored(void *user, sb_record *r, sb_err *err)
{
    folding *f = user;
    char at[32];
    if (!sb_keys_has(f->pending, r->key))
        return keep_record(f, r, err);
    (void)snprintf(at, sizeof at, "/records/%016" PRIx64, r->key);
    return f->copies ? SB_OK : sb_h5_wrote(&f->to, H5Ldelete(f->to.file, at, H5P_DEFAULT), err);
}

static sb_status keep_all_of(folding *f, const char *path, sb_record_visit visit, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(sb_store_open(path, &f->from, err));
    sb_store_pass_once(f->from);
    st = sb_store_visit(f->from, SB_COLUMNS, visit, f, err);
out:
    sb_h5_close(f->from);
    return st;
}

struct checking {
    const folding *f;
    bool differs;
};

static sb_status check_number(void *user, sb_record *r, sb_err *err)
{
    struct checking *c = user;
    const struct number *number = number_of(c->f, r->key);
    (void)err;
    c->differs |= number && number->cell != r->cell;
    return SB_OK;
}

static sb_status needs_numbers(const folding *f, const char *store, bool *needed, sb_err *err)
{
    struct checking c = {.f = f};
    sb_status st = f->keep_all ? SB_OK : sb_file_visit(store, SB_COLUMNS, check_number, &c, err);
    *needed = c.differs;
    return st;
}

/* Copying the bytes is much faster than object by object, but keeps the room of what goes. */
static sb_status start(folding *f, const char *store, const char *config_text, bool exists,
                       bool drops, sb_err *err)
{
    f->copies = drops;
    f->rows.out = &f->to;
    sb_status st = exists && !drops ? sb_h5_modify(store, SB_H5_CHECKED, &f->to, err)
                                    : sb_store_create(store, config_text, &f->to, err);
    if (st != SB_OK)
        return st;
    sb_store_pass_once(f->to.file);
    sb_rows_remove(&f->to);
    return SB_OK;
}

static sb_status add_pending(folding *f, const char *run_path, sb_err *err)
{
    sb_status st = SB_OK;
    f->copies = true;
    for (int64_t i = 0; i < f->pending->n && st == SB_OK; i++) {
        char *cell = sb_cell_path(run_path, f->pending->list[i]);
        st = cell ? keep_all_of(f, cell, keep_record, err) : sb_no_memory(err, "a file name");
        sb_free(cell);
    }
    return st;
}

sb_status sb_store_fold(const char *run_path, const char *config_text, const sb_keys *pending,
                        const sb_keep *keep, bool drops, bool *changed, sb_err *err)
{
    sb_status st = SB_OK;
    char *store = sb_sprintf("%s/" SB_RESULTS_H5, run_path);
    folding f = {.from = -1, .pending = pending};
    SB_CHECK(store, err, SB_NO_MEMORY, "out of memory for a file name");
    bool exists = access(store, F_OK) == 0;
    SB_TRY(number_cells(&f, keep, err));
    *changed = true;
    if (exists && !drops && pending->n == 0)
        SB_TRY(needs_numbers(&f, store, changed, err));
    if (!*changed)
        goto out;
    SB_TRY(start(&f, store, config_text, exists, drops, err));
    if (exists)
        SB_TRY(keep_all_of(&f, store, keep_stored, err));
    SB_TRY(add_pending(&f, run_path, err));
    SB_TRY(sb_rows_finish(&f.rows, err));
    sb_rows_close(&f.rows);
    SB_TRY(sb_h5_commit(&f.to, err));
out:
    sb_rows_close(&f.rows);
    sb_h5_discard(&f.to);
    sb_free(f.numbers);
    sb_free(store);
    return st;
}
