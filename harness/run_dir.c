#include <fcntl.h>
#include <stdio.h>
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
    int lock;           /* holds a flock while open */
    int csv;            /* open for appending */
    sb_key_set keys;    /* all records */
    sb_key_set pending; /* those not yet in results.h5 */
};

static char *join(const char *folder, const char *name)
{
    return sb_sprintf("%s/%s", folder, name);
}

/* Rewrites results.csv from records, which heals a line that a kill left unfinished. */
static sb_status rewrite_csv(sb_run_dir *dir, sb_record *records, int64_t n, sb_err *err)
{
    sb_records_sort(records, n);
    sb_status st = sb_csv_write(dir->csv_path, records, n, err);
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
    sb_record_list list = {0};
    int64_t n_cells = 0;
    SB_TRY(sb_run_load(dir->path, false, &list, &n_cells, err));
    dir->keys.n = dir->pending.n = 0;
    for (int64_t i = 0; i < list.n; i++) {
        SB_TRY(sb_key_add(&dir->keys, list.items[i].key, err));
        if (i < n_cells)
            SB_TRY(sb_key_add(&dir->pending, list.items[i].key, err));
    }
    SB_TRY(rewrite_csv(dir, list.items, list.n, err));
out:
    sb_records_free(list.items, list.n);
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
    return sb_key_has(&dir->keys, key);
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
    sb_key_set kept = {0};
    for (int64_t i = 0; i < keep->n && st == SB_OK; i++)
        if (sb_key_has(&dir->keys, keep->keys[i]))
            st = sb_key_add(&kept, keep->keys[i], err);
    *n_kept = keep->keys ? kept.n : dir->keys.n;
    sb_free(kept.keys);
    return st;
}

static sb_status fold(sb_run_dir *dir, const sb_keep *keep, sb_err *err)
{
    int64_t n_kept = 0;
    sb_status st = count_kept(dir, keep, &n_kept, err);
    if (st == SB_OK)
        st = sb_store_fold(dir->path, dir->config, &dir->pending, keep, n_kept < dir->keys.n, err);
    for (int64_t i = 0; i < dir->pending.n && st == SB_OK; i++) {
        char *cell = sb_cell_path(dir->path, dir->pending.keys[i]);
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
    SB_TRY(sb_key_add(&dir->pending, r->key, err));
    SB_TRY(sb_key_add(&dir->keys, r->key, err));
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
    return st == SB_OK ? load(dir, err) : st;
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
    sb_free(dir->keys.keys);
    sb_free(dir->pending.keys);
    sb_free(dir->csv_path);
    sb_free(dir->config);
    sb_free(dir->path);
    sb_free(dir);
}
