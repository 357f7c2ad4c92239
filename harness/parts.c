#include "harness/parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/results_store.h"

/* ---- names ---------------------------------------------------------------------------------- */

char *sb_part_path(const char *run_path, const char *name, const char *file)
{
    return sb_sprintf("%s/" SB_PARTS_DIR "/%s%s%s", run_path, name, file ? "/" : "",
                      file ? file : "");
}

void sb_parts_free(char **names, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sb_free(names[i]);
    sb_free(names);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static sb_status add_name(const char *name, char ***names, int64_t *n, sb_err *err)
{
    char **grown = sb_realloc(*names, *n + 1, sizeof *grown);
    if (!grown)
        return sb_no_memory(err, "the parts");
    *names = grown;
    grown[*n] = sb_strdup(name);
    if (!grown[*n])
        return sb_no_memory(err, "the parts");
    ++*n;
    return SB_OK;
}

sb_status sb_parts_list(const char *run_path, char ***names, int64_t *n, sb_err *err)
{
    sb_status st = SB_OK;
    *names = NULL;
    *n = 0;
    char *path = sb_sprintf("%s/" SB_PARTS_DIR, run_path);
    if (!path)
        return sb_no_memory(err, "a file name");
    DIR *folder = opendir(path);
    for (struct dirent *e; folder && st == SB_OK && (e = readdir(folder));)
        if (e->d_name[0] != '.')
            st = add_name(e->d_name, names, n, err);
    if (folder)
        (void)closedir(folder);
    sb_free(path);
    if (*n > 1)
        qsort(*names, (size_t)*n, sizeof **names, by_name);
    return st;
}

/* ---- what is known -------------------------------------------------------------------------- */

typedef struct all_known {
    sb_keys finished, died; /* of `died` a key for each death */
} all_known;

static sb_status add_known(const char *path, bool retry, all_known *all, sb_err *err)
{
    sb_stub_list stubs = {0};
    sb_status st = sb_run_scan(path, !retry, &stubs, err);
    for (int64_t i = 0; i < stubs.n && st == SB_OK; i++)
        if (!stubs.items[i].failed || !retry)
            st = sb_keys_push(&all->finished, stubs.items[i].key, err);
    sb_free(stubs.items);
    return st == SB_OK && !retry ? sb_starts_read(path, &all->died, err) : st;
}

static sb_status load_known(const char *run_path, bool retry, all_known *all, sb_err *err)
{
    char **names = NULL;
    int64_t n = 0;
    sb_status st = sb_parts_list(run_path, &names, &n, err);
    if (st == SB_OK)
        st = add_known(run_path, retry, all, err);
    for (int64_t i = 0; i < n && st == SB_OK; i++) {
        char *path = sb_part_path(run_path, names[i], NULL);
        st = path ? add_known(path, retry, all, err) : sb_no_memory(err, "a file name");
        sb_free(path);
    }
    sb_parts_free(names, n);
    sb_keys_sort(&all->finished);
    sb_keys_sort(&all->died);
    return st;
}

sb_status sb_parts_states(const char *run_path, bool retry, const uint64_t *keys, int64_t n,
                          uint8_t *states, sb_err *err)
{
    all_known all = {0};
    sb_status st = load_known(run_path, retry, &all, err);
    for (int64_t i = 0; i < n && st == SB_OK; i++) {
        int64_t n_died = sb_keys_count(&all.died, keys[i]);
        bool finished = sb_keys_count(&all.finished, keys[i]) > 0;
        states[i] = finished                    ? SB_CELL_FINISHED
                    : n_died < SB_CELL_COMPUTED ? (uint8_t)n_died
                                                : SB_CELL_COMPUTED - 1;
    }
    sb_free(all.died.list);
    sb_free(all.finished.list);
    return st;
}

/* ---- opening -------------------------------------------------------------------------------- */

/* SB_USAGE when RUN holds another config than ours. */
static sb_status check_config(const char *run_path, const char *config_path, const char *text,
                              sb_err *err)
{
    char *there = NULL;
    sb_status st = sb_fs_read(config_path, &there, err);
    if (st == SB_OK && there && strcmp(there, text) != 0)
        st = sb_fail(err, SB_USAGE,
                     "%s: holds a run of another config; expected the same for every part",
                     run_path);
    sb_free(there);
    return st;
}

/* The first part to come gives its config to the run: as a link, which cannot replace another's. */
static sb_status give_config(const char *run_path, const char *part_path,
                             const sb_part_options *options, sb_err *err)
{
    sb_status st = SB_OK;
    char *ours = sb_sprintf("%s/config.yaml", part_path);
    char *theirs = sb_sprintf("%s/config.yaml", run_path);
    SB_CHECK(ours && theirs, err, SB_NO_MEMORY, "out of memory for a file name");
    if (link(ours, theirs) == 0)
        goto out;
    if (errno == EEXIST) /* another part was faster */
        st = check_config(run_path, theirs, options->config_text, err);
    else
        st = sb_fs_write(theirs, options->config_text, strlen(options->config_text), err);
out:
    sb_free(theirs);
    sb_free(ours);
    return st;
}

static sb_status open_below(const char *run_path, const sb_part_options *options,
                            const char *part_path, sb_part *part, sb_err *err)
{
    sb_status st = SB_OK;
    char *known = NULL, *config = sb_sprintf("%s/config.yaml", run_path);
    char *facts = sb_sprintf("%s/" SB_PART_FACTS, part_path);
    SB_CHECK(config && facts, err, SB_NO_MEMORY, "out of memory for a file name");
    SB_TRY(sb_run_dir_share(run_path, &part->shared, err));
    SB_TRY(check_config(run_path, config, options->config_text, err));
    SB_TRY(sb_fs_read(facts, &known, err));
    bool same = known && strcmp(known, options->facts) == 0;
    SB_TRY(sb_run_dir_open(part_path, options->config_text, known && !same, &part->dir, err));
    if (!same)
        SB_TRY(sb_fs_write(facts, options->facts, strlen(options->facts), err));
    SB_TRY(give_config(run_path, part_path, options, err));
    SB_TRY(sb_starts_open(part_path, options->retry, &part->starts, err));
out:
    sb_free(known);
    sb_free(facts);
    sb_free(config);
    return st;
}

static sb_status open_whole(const char *run_path, const sb_part_options *options, sb_part *part,
                            sb_err *err)
{
    sb_status st = sb_run_dir_open(run_path, options->config_text, options->fresh, &part->dir, err);
    return st == SB_OK ? sb_starts_open(run_path, options->retry, &part->starts, err) : st;
}

sb_status sb_part_open(const char *run_path, const sb_part_options *options, sb_part *part,
                       sb_err *err)
{
    *part = (sb_part){.shared = -1, .starts = {.fd = -1}};
    char *path = options->name ? sb_part_path(run_path, options->name, NULL) : NULL;
    if (options->name && !path)
        return sb_no_memory(err, "a file name");
    sb_status st = options->name ? open_below(run_path, options, path, part, err)
                                 : open_whole(run_path, options, part, err);
    sb_free(path);
    return st;
}

void sb_part_close(sb_part *part)
{
    sb_starts_close(&part->starts);
    sb_run_dir_close(part->dir);
    if (part->shared >= 0)
        (void)close(part->shared);
    *part = (sb_part){.shared = -1, .starts = {.fd = -1}};
}
