#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/results_store.h"

/* Marks a directory as ours, also when nothing else has been written yet. */
static const char mark[] = "stembench run directory\n";

static char *join(const char *folder, const char *name)
{
    return sb_sprintf("%s/%s", folder, name);
}

static bool is_empty(const char *path)
{
    DIR *folder = opendir(path);
    bool empty = folder != NULL;
    for (struct dirent *e; empty && (e = readdir(folder));)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
                strcmp(e->d_name, ".lock") == 0;
    if (folder)
        (void)closedir(folder);
    return empty;
}

/* Only a directory that bears the mark or results of ours may be written to. */
static sb_status check_ours(const char *path, sb_err *err)
{
    sb_status st = SB_OK;
    char *text = NULL, *lock = join(path, ".lock"), *store = join(path, SB_RESULTS_H5);
    char *csv = join(path, SB_RESULTS_CSV), *cells = join(path, SB_CELLS_DIR);
    hid_t file = -1;
    if (!lock || !store || !csv || !cells) {
        st = sb_no_memory(err, "a file name");
        goto out;
    }
    /* First this: whoever is about to fill a new directory has left the mark by then. */
    bool empty = is_empty(path);
    SB_TRY(sb_fs_read(lock, &text, err));
    /* Results of which nothing but the CSV is there, as other programs leave them, stay as they
     * are. */
    bool csv_alone = access(csv, F_OK) == 0 && access(store, F_OK) != 0 && access(cells, F_OK) != 0;
    if (!csv_alone && ((text && strcmp(text, mark) == 0) || empty))
        goto out;
    st = csv_alone ? SB_BAD_DATA : sb_store_open(store, &file, NULL);
    sb_h5_close(file);
    if (st == SB_BAD_DATA)
        st = sb_fail(err, SB_USAGE,
                     "%s: holds files that are not of a run; expected a new or empty directory, "
                     "or one of an earlier run",
                     path);
out:
    sb_free(text);
    sb_free(cells);
    sb_free(csv);
    sb_free(store);
    sb_free(lock);
    return st;
}

/* Several processes that share a directory may leave the mark at once: it is never absent again. */
static sb_status leave_mark(int lock, const char *path, sb_err *err)
{
    struct stat info;
    off_t size = (off_t)strlen(mark);
    if (fstat(lock, &info) == 0 && info.st_size == size)
        return SB_OK;
    if (pwrite(lock, mark, (size_t)size, 0) != size || ftruncate(lock, size) < 0)
        return sb_fs_fail(err, path, "write");
    return fsync(lock) < 0 ? sb_fs_fail(err, path, "sync") : SB_OK;
}

static sb_status take_lock(const char *run_path, int how, int *lock, sb_err *err)
{
    sb_status st = SB_OK;
    char *path = join(run_path, ".lock");
    if (!path)
        return sb_no_memory(err, "a file name");
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*lock < 0)
        st = sb_fs_fail(err, path, "create");
    else if (flock(*lock, how | LOCK_NB) < 0)
        st = errno == EWOULDBLOCK ? sb_fail(err, SB_IO, "%s: in use by another process", run_path)
                                  : sb_fs_fail(err, path, "lock");
    else
        st = leave_mark(*lock, path, err);
    sb_free(path);
    return st;
}

/* config.yaml goes last: while it is there, results left over are guarded by it. results.csv goes
 * first: alone it would be taken for another program's. */
static sb_status remove_ours(const char *path, sb_err *err)
{
    static const char *const ours[] = {
        SB_RESULTS_CSV, SB_CELLS_DIR, SB_RESULTS_H5, SB_RESULTS_H5 ".tmp", SB_RESULTS_CSV ".tmp",
        "plots",        "peers.csv",  "report.html", SB_PARTS_DIR,         SB_PARTS_DONE,
        SB_STARTED,     SB_ALONE,     SB_NODES,      SB_NODES ".tmp",      "config.yaml.tmp",
        "config.yaml"};
    sb_status st = SB_OK;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0] && st == SB_OK; i++) {
        char *name = join(path, ours[i]);
        st = name ? sb_fs_remove(name, err) : sb_no_memory(err, "a file name");
        sb_free(name);
    }
    return st;
}

static sb_status settle_config(const char *run_path, const char *config, sb_err *err)
{
    sb_status st = SB_OK;
    char *text = NULL, *path = join(run_path, "config.yaml");
    if (!path)
        return sb_no_memory(err, "a file name");
    SB_TRY(sb_fs_read(path, &text, err));
    if (!text)
        st = sb_fs_write(path, config, strlen(config), err);
    else if (strcmp(text, config) != 0)
        st = sb_fail(err, SB_USAGE,
                     "%s: holds a run of another config; --fresh starts over, --out picks another "
                     "place",
                     run_path);
out:
    sb_free(text);
    sb_free(path);
    return st;
}

/* Make the directory, ours or new, and lock it; *lock is to be closed in any case. */
static sb_status take(const char *path, int how, int *lock, sb_err *err)
{
    *lock = -1;
    sb_h5_quiet();
    if (path[0] == '\0')
        return sb_fail(err, SB_USAGE, "the run directory has no name");
    sb_status st = sb_fs_make_dirs(path, err);
    if (st == SB_OK)
        st = check_ours(path, err);
    return st == SB_OK ? take_lock(path, how, lock, err) : st;
}

sb_status sb_run_claim(const char *path, const char *config_text, bool fresh, int *lock,
                       sb_err *err)
{
    sb_status st = take(path, LOCK_EX, lock, err);
    if (st == SB_OK && fresh)
        st = remove_ours(path, err);
    return st == SB_OK ? settle_config(path, config_text, err) : st;
}

sb_status sb_run_dir_share(const char *path, int *lock, sb_err *err)
{
    return take(path, LOCK_SH, lock, err);
}
