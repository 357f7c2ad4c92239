#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/results_store.h"

static sb_status push(sb_stub_list *list, const sb_stub *stub, sb_err *err)
{
    if (list->n == list->capacity) {
        int64_t room = list->capacity > 0 ? 2 * list->capacity : 64;
        void *grown = sb_realloc(list->items, room, sizeof *list->items);
        if (!grown)
            return sb_no_memory(err, "the records");
        list->items = grown;
        list->capacity = room;
    }
    list->items[list->n++] = *stub;
    return SB_OK;
}

/* Of a resolved cell's text. */
static uint64_t digest_of(const char *config)
{
    const char *line = strstr(config, "digest: ");
    return line ? strtoull(line + strlen("digest: "), NULL, 16) : 0;
}

static sb_status scan_cells(const char *run_path, sb_stub_list *list, sb_err *err)
{
    sb_record_list cells = {0};
    sb_status st = sb_cells_load(run_path, false, &cells, err);
    for (int64_t i = 0; i < cells.n && st == SB_OK; i++) {
        const sb_record *r = &cells.items[i];
        sb_stub stub = {.key = r->key,
                        .cell = r->cell,
                        .node = r->node,
                        .digest = digest_of(r->config),
                        .failed = strcmp(r->status, "failed") == 0};
        (void)snprintf(stub.provenance, sizeof stub.provenance, "%s", r->provenance);
        st = push(list, &stub, err);
    }
    sb_records_free(cells.items, cells.n);
    return st;
}

struct scan {
    bool keys;
    sb_stub_list *list;
    sb_err *err;
    sb_status st;
};

/* A file of an earlier version lacks `node`. */
static sb_status read_stub(hid_t group, sb_stub *stub, sb_err *err)
{
    sb_status st = SB_OK;
    char *status = NULL, *config = NULL, *provenance = NULL;
    SB_TRY(sb_h5_get_int(group, "cell", &stub->cell, err));
    if (H5Aexists(group, "node") > 0)
        SB_TRY(sb_h5_get_int(group, "node", &stub->node, err));
    SB_TRY(sb_h5_get_text(group, "status", &status, err));
    SB_TRY(sb_h5_get_text(group, "config", &config, err));
    SB_TRY(sb_h5_get_text(group, "provenance", &provenance, err));
    stub->failed = strcmp(status, "failed") == 0;
    stub->digest = digest_of(config);
    (void)snprintf(stub->provenance, sizeof stub->provenance, "%s", provenance);
out:
    sb_free(provenance);
    sb_free(config);
    sb_free(status);
    return st;
}

static herr_t scan_one(hid_t records, const char *name, const H5L_info_t *link, void *user)
{
    struct scan *s = user;
    sb_stub stub = {0};
    hid_t group = -1;
    (void)link;
    s->st = sb_key_parse(name, &stub.key)
                ? SB_OK
                : sb_h5_bad(s->err, records, name, "not a record; expected 16 hexadecimal digits");
    if (s->st == SB_OK && !s->keys)
        s->st = sb_h5_open_group(records, name, &group, s->err);
    if (s->st == SB_OK && !s->keys)
        s->st = read_stub(group, &stub, s->err);
    if (s->st == SB_OK)
        s->st = push(s->list, &stub, s->err);
    sb_h5_close(group);
    return s->st == SB_OK ? 0 : -1;
}

static sb_status scan_store(const char *path, struct scan *s)
{
    hid_t file = -1, records = -1;
    sb_status st = SB_OK;
    SB_TRY(sb_store_open(path, &file, s->err));
    SB_TRY(sb_h5_open_group(file, "records", &records, s->err));
    if (H5Literate(records, H5_INDEX_NAME, H5_ITER_INC, NULL, scan_one, s) < 0)
        st = s->st != SB_OK ? s->st : sb_h5_bad(s->err, records, NULL, "damaged; expected records");
out:
    sb_h5_close(records);
    sb_h5_close(file);
    return st;
}

sb_status sb_run_scan(const char *run_path, bool keys, sb_stub_list *list, sb_err *err)
{
    struct scan s = {keys, list, err, SB_OK};
    char *store = sb_sprintf("%s/" SB_RESULTS_H5, run_path);
    if (!store)
        return sb_no_memory(err, "a file name");
    sb_h5_quiet();
    /* In the order in which a running process moves records. */
    sb_status st = scan_cells(run_path, list, err);
    if (st == SB_OK && access(store, F_OK) == 0)
        st = scan_store(store, &s);
    sb_free(store);
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
