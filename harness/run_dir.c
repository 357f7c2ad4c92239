#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/results_store.h"

/* A fold copies all of results.h5, so it waits until there is half as much to add: over a run each
 * record is then copied about three times. */
enum { MIN_FOLD = 64 };

struct sb_run_dir {
    char *path;
    char *config;
    char *csv_path;
    int lock;        /* holds a flock while open */
    int csv;         /* open for appending */
    bool in_order;   /* results.csv is as it would be written anew */
    sb_keys keys;    /* all records */
    sb_keys pending; /* those not yet in results.h5 */
};

static char *join(const char *folder, const char *name)
{
    return sb_sprintf("%s/%s", folder, name);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct loading {
    sb_run_dir *dir;
    sb_csv_row *rows; /* [n] */
    int64_t n, capacity;
};

static sb_status load_record(struct loading *l, const sb_record *r, sb_err *err)
{
    sb_csv_row *grown = sb_grow(l->rows, l->n, &l->capacity, sizeof *grown);
    if (!grown)
        return sb_no_memory(err, "the lines of results.csv");
    l->rows = grown;
    sb_csv_row row = {.cell = r->cell, .key = r->key};
    sb_status st = sb_csv_line(r, &row.line, err);
    if (st != SB_OK)
        return st;
    l->rows[l->n++] = row;
    return sb_keys_push(&l->dir->keys, r->key, err);
}

static sb_status load_pending(void *user, sb_record *r, sb_err *err)
{
    struct loading *l = user;
    sb_status st = sb_keys_add(&l->dir->pending, r->key, err);
    return st == SB_OK ? load_record(l, r, err) : st;
}

static sb_status load_folded(void *user, sb_record *r, sb_err *err)
{
    struct loading *l = user;
    return sb_keys_has(&l->dir->pending, r->key) ? SB_OK : load_record(l, r, err);
}

static int by_cell(const void *a, const void *b)
{
    const sb_csv_row *x = a, *y = b;
    if (x->cell != y->cell)
        return x->cell < y->cell ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* Writes results.csv anew, which heals a line that a kill left unfinished. */
static sb_status rewrite_csv(sb_run_dir *dir, struct loading *l, sb_err *err)
{
    if (l->n > 1)
        qsort(l->rows, (size_t)l->n, sizeof *l->rows, by_cell);
    sb_status st = sb_csv_save(dir->csv_path, l->rows, l->n, err);
    if (st != SB_OK)
        return st;
    if (dir->csv >= 0)
        (void)close(dir->csv);
    dir->csv = open(dir->csv_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    return dir->csv >= 0 ? SB_OK : sb_fs_fail(err, dir->csv_path, "open");
}

static sb_status load(sb_run_dir *dir, sb_err *err)
{
    sb_status st = SB_OK;
    struct loading l = {.dir = dir};
    char *store = join(dir->path, SB_RESULTS_H5);
    SB_CHECK(store, err, SB_NO_MEMORY, "out of memory for a file name");
    dir->keys.n = dir->pending.n = 0;
    SB_TRY(sb_cells_visit(dir->path, SB_COLUMNS, load_pending, &l, err));
    if (access(store, F_OK) == 0)
        SB_TRY(sb_file_visit(store, SB_COLUMNS, load_folded, &l, err));
    sb_keys_sort(&dir->keys);
    SB_TRY(rewrite_csv(dir, &l, err));
    dir->in_order = true;
out:
    for (int64_t i = 0; i < l.n; i++)
        sb_free(l.rows[i].line);
    sb_free(l.rows);
    sb_free(store);
    return st;
}

sb_status sb_run_dir_open(const char *path, const char *config_text, bool fresh, sb_run_dir **out,
                          sb_err *err)
{
    sb_status st = SB_OK;
    sb_run_dir *dir = NULL;
    char *cells = NULL;
    *out = NULL;
    sb_h5_quiet();
    dir = sb_alloc(1, sizeof *dir);
    if (!dir) {
        st = sb_no_memory(err, "the run directory");
        goto out;
    }
    dir->lock = dir->csv = -1;
    dir->path = sb_strdup(path);
    dir->config = sb_strdup(config_text);
    dir->csv_path = join(path, SB_RESULTS_CSV);
    cells = join(path, SB_CELLS_DIR);
    if (!dir->path || !dir->config || !dir->csv_path || !cells) {
        st = sb_no_memory(err, "the run directory");
        goto out;
    }
    SB_TRY(sb_run_claim(path, config_text, fresh, &dir->lock, err));
    SB_TRY(sb_fs_make_dirs(cells, err));
    SB_TRY(load(dir, err));
    *out = dir;
    dir = NULL;
out:
    sb_free(cells);
    sb_run_dir_close(dir);
    return st;
}

bool sb_run_dir_has(const sb_run_dir *dir, uint64_t key)
{
    return sb_keys_has(&dir->keys, key);
}

/* All or nothing, so that the file stays readable after a full disk. */
static sb_status append_line(const sb_run_dir *dir, const sb_record *r, sb_err *err)
{
    char *line = NULL;
    off_t end = lseek(dir->csv, 0, SEEK_END);
    sb_status st = sb_csv_line(r, &line, err);
    if (st == SB_OK)
        st = sb_fs_write_all(dir->csv, dir->csv_path, line, strlen(line), err);
    if (st != SB_OK && end >= 0 && ftruncate(dir->csv, end) < 0)
        st = SB_IO; /* the first error stands; the next open rewrites the file */
    sb_free(line);
    return st;
}

static sb_status count_kept(const sb_run_dir *dir, const sb_keep *keep, int64_t *n_kept,
                            sb_err *err)
{
    sb_status st = SB_OK;
    sb_keys kept = {0};
    for (int64_t i = 0; i < keep->n && st == SB_OK; i++)
        st = sb_keys_push(&kept, keep->keys[i], err);
    sb_keys_sort(&kept);
    *n_kept = keep->keys ? 0 : dir->keys.n;
    for (int64_t i = 0; i < dir->keys.n && keep->keys; i++)
        *n_kept += sb_keys_has(&kept, dir->keys.list[i]);
    sb_free(kept.list);
    return st;
}

static sb_status fold(sb_run_dir *dir, const sb_keep *keep, sb_err *err)
{
    int64_t n_kept = 0;
    bool changed = true;
    sb_status st = count_kept(dir, keep, &n_kept, err);
    if (st == SB_OK)
        st = sb_store_fold(dir->path, dir->config, &dir->pending, keep, n_kept < dir->keys.n,
                           &changed, err);
    dir->in_order &= !changed;
    for (int64_t i = 0; i < dir->pending.n && st == SB_OK; i++) {
        char *cell = sb_cell_path(dir->path, dir->pending.list[i]);
        if (!cell)
            st = sb_no_memory(err, "a file name");
        else
            (void)unlink(cell); /* one left behind is read again and changes nothing */
        sb_free(cell);
    }
    if (st == SB_OK)
        dir->pending.n = 0;
    return st;
}

sb_status sb_run_dir_append(sb_run_dir *dir, const sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
    sb_h5_quiet();
    char *cell = sb_cell_path(dir->path, r->key);
    if (!cell)
        return sb_no_memory(err, "a file name");
    SB_TRY(sb_cell_write(cell, r, err));
    dir->in_order = false;
    SB_TRY(sb_keys_add(&dir->pending, r->key, err));
    SB_TRY(sb_keys_add(&dir->keys, r->key, err));
    SB_TRY(append_line(dir, r, err));
    int64_t n_folded = dir->keys.n - dir->pending.n;
    if (dir->pending.n >= MIN_FOLD && dir->pending.n >= n_folded / 2)
        SB_TRY(fold(dir, &(sb_keep){0}, err));
out:
    sb_free(cell);
    return st;
}

sb_status sb_run_dir_finish(sb_run_dir *dir, const uint64_t *keys, int64_t n, sb_err *err)
{
    sb_h5_quiet();
    sb_status st = fold(dir, &(sb_keep){keys, n}, err);
    return st == SB_OK && !dir->in_order ? load(dir, err) : st;
}

sb_status sb_run_dir_reload(sb_run_dir *dir, sb_err *err)
{
    sb_h5_quiet();
    return load(dir, err);
}

void sb_run_dir_close(sb_run_dir *dir)
{
    if (!dir)
        return;
    if (dir->csv >= 0)
        (void)close(dir->csv);
    if (dir->lock >= 0)
        (void)close(dir->lock);
    sb_free(dir->keys.list);
    sb_free(dir->pending.list);
    sb_free(dir->csv_path);
    sb_free(dir->config);
    sb_free(dir->path);
    sb_free(dir);
}
