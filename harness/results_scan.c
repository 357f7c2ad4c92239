/* The records of a run directory: those under .cells, each in a file, and those of results.h5. A
 * running process moves them from there to here, so they are read in that order: one that moves
 * meanwhile is met at least once. */

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

sb_status sb_record_take(void *list, sb_record *r, sb_err *err)
{
    sb_record *mine = NULL;
    sb_status st = sb_record_push(list, &mine, err);
    if (st != SB_OK)
        return st;
    *mine = *r;
    sb_record_init(r);
    return SB_OK;
}

/* ---- under .cells --------------------------------------------------------------------------- */

/* A record's file that cannot be read is as good as none: its cell is computed again. */
static sb_status visit_cell(const char *run_path, uint64_t key, sb_extent extent,
                            sb_record_visit visit, void *user, sb_err *err)
{
    sb_err ignored = {0};
    sb_record_list list = {0};
    char *path = sb_cell_path(run_path, key);
    if (!path)
        return sb_no_memory(err, "a file name");
    sb_status st = sb_file_visit(path, extent, sb_record_take, &list, &ignored);
    sb_free(path);
    if (st == SB_NO_MEMORY)
        (void)sb_fail(err, st, "%s", ignored.msg);
    else
        st = st == SB_OK && list.n == 1 && list.items[0].key == key
                 ? visit(user, &list.items[0], err)
                 : SB_OK;
    sb_records_free(list.items, list.n);
    return st;
}

sb_status sb_cells_visit(const char *run_path, sb_extent extent, sb_record_visit visit, void *user,
                         sb_err *err)
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
            st = visit_cell(run_path, key, extent, visit, user, err);
    }
    if (folder)
        (void)closedir(folder);
    sb_free(path);
    return st;
}

sb_status sb_run_has_cells(const char *run_path, bool *has, sb_err *err)
{
    *has = false;
    char *path = sb_sprintf("%s/" SB_CELLS_DIR, run_path);
    if (!path)
        return sb_no_memory(err, "a file name");
    DIR *folder = opendir(path);
    for (struct dirent *e; folder && !*has && (e = readdir(folder));)
        *has = e->d_name[0] != '.';
    if (folder)
        (void)closedir(folder);
    sb_free(path);
    return SB_OK;
}

/* ---- all records ---------------------------------------------------------------------------- */

struct loading {
    sb_record_list *list;
    sb_keys cells; /* those met under .cells */
};

static sb_status take_new(void *user, sb_record *r, sb_err *err)
{
    struct loading *l = user;
    return sb_keys_has(&l->cells, r->key) ? SB_OK : sb_record_take(l->list, r, err);
}

sb_status sb_run_load(const char *run_path, sb_extent extent, sb_record_list *list, sb_err *err)
{
    sb_status st = SB_OK;
    struct loading l = {.list = list};
    char *store = sb_sprintf("%s/" SB_RESULTS_H5, run_path);
    char *folder = sb_sprintf("%s/" SB_CELLS_DIR, run_path);
    char *csv = sb_sprintf("%s/" SB_RESULTS_CSV, run_path);
    SB_CHECK(store && folder && csv, err, SB_NO_MEMORY, "out of memory for a file name");
    sb_h5_quiet();
    SB_TRY(sb_cells_visit(run_path, extent, sb_record_take, list, err));
    for (int64_t i = 0; i < list->n; i++)
        SB_TRY(sb_keys_push(&l.cells, list->items[i].key, err));
    sb_keys_sort(&l.cells);
    bool ours = access(folder, F_OK) == 0;
    if (access(store, F_OK) == 0 || (!ours && access(csv, F_OK) != 0))
        st = sb_file_visit(store, extent, take_new, &l, err);
    else if (!ours)
        st = sb_csv_load(run_path, list, err);
out:
    sb_free(l.cells.list);
    sb_free(csv);
    sb_free(folder);
    sb_free(store);
    return st;
}

/* ---- without reading them whole ------------------------------------------------------------- */

static sb_status push(sb_stub_list *list, const sb_stub *stub, sb_err *err)
{
    void *grown = sb_grow(list->items, list->n, &list->capacity, sizeof *list->items);
    if (!grown)
        return sb_no_memory(err, "the records");
    list->items = grown;
    list->items[list->n++] = *stub;
    return SB_OK;
}

/* Of a resolved cell's text. */
static uint64_t digest_of(const char *config)
{
    const char *line = strstr(config, "digest: ");
    return line ? strtoull(line + strlen("digest: "), NULL, 16) : 0;
}

static sb_status add_stub(void *list, sb_record *r, sb_err *err)
{
    sb_stub stub = {.key = r->key,
                    .cell = r->cell,
                    .node = r->node,
                    .digest = digest_of(r->config),
                    .failed = strcmp(r->status, "failed") == 0};
    (void)snprintf(stub.provenance, sizeof stub.provenance, "%s", r->provenance);
    return push(list, &stub, err);
}

struct naming {
    sb_stub_list *list;
    sb_err *err;
    sb_status st;
};

static herr_t add_name(hid_t records, const char *name, const H5L_info_t *link, void *user)
{
    struct naming *n = user;
    sb_stub stub = {0};
    (void)link;
    n->st = sb_key_parse(name, &stub.key)
                ? push(n->list, &stub, n->err)
                : sb_h5_bad(n->err, records, name, "not a record; expected 16 hexadecimal digits");
    return n->st == SB_OK ? 0 : -1;
}

static sb_status add_names(const char *path, sb_stub_list *list, sb_err *err)
{
    hid_t file = -1, records = -1;
    struct naming n = {list, err, SB_OK};
    sb_status st = SB_OK;
    SB_TRY(sb_store_open(path, &file, err));
    SB_TRY(sb_h5_open_group(file, "records", &records, err));
    if (H5Literate(records, H5_INDEX_NAME, H5_ITER_INC, NULL, add_name, &n) < 0)
        st = n.st != SB_OK ? n.st : sb_h5_bad(err, records, NULL, "damaged; expected records");
out:
    sb_h5_close(records);
    sb_h5_close(file);
    return st;
}

sb_status sb_run_scan(const char *run_path, bool keys, sb_stub_list *list, sb_err *err)
{
    char *store = sb_sprintf("%s/" SB_RESULTS_H5, run_path);
    if (!store)
        return sb_no_memory(err, "a file name");
    sb_h5_quiet();
    sb_status st = sb_cells_visit(run_path, SB_COLUMNS, add_stub, list, err);
    if (st == SB_OK && access(store, F_OK) == 0)
        st = keys ? add_names(store, list, err)
                  : sb_file_visit(store, SB_COLUMNS, add_stub, list, err);
    sb_free(store);
    return st;
}
