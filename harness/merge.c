#include "harness/merge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/merge_source.h"
#include "harness/parts.h"
#include "harness/provenance.h"

/* Sources: those of the parts, and last the run directory's own. */
typedef struct merge {
    const char *path;
    sb_run_dir *dir;
    char *config;
    char **names; /* [n_parts] */
    int64_t n_parts;
    char *facts;        /* of all parts */
    sb_source *sources; /* [n_parts + 1] */
    int64_t n_sources;  /* opened */
    sb_choice *cells;   /* [n_cells] */
    int64_t n_cells;
} merge;

/* ---- do the parts agree? --------------------------------------------------------------------- */

static sb_status read_required(const char *path, char **text, sb_err *err)
{
    sb_status st = path ? sb_fs_read(path, text, err) : sb_no_memory(err, "a file name");
    return st == SB_OK && !*text
               ? sb_fail(err, SB_BAD_DATA, "%s: missing; expected a part of a run", path)
               : st;
}

static sb_status read_in_part(const merge *m, int64_t part, const char *file, char **text,
                              sb_err *err)
{
    char *path = sb_part_path(m->path, m->names[part], file);
    sb_status st = read_required(path, text, err);
    sb_free(path);
    return st;
}

static bool same_value(const char *a, const char *b, const char *name)
{
    int n, n_b;
    const char *x = sb_provenance_value(a, name, &n), *y = sb_provenance_value(b, name, &n_b);
    return n == n_b && memcmp(x, y, (size_t)n) == 0;
}

static sb_status check_part(const merge *m, int64_t part, sb_err *err)
{
    sb_status st = SB_OK;
    char *config = NULL, *facts = NULL;
    static const char *const names[] = {"build", "data", "cells"};
    static const char *const what[] = {"made by another build", "of other data",
                                       "of another number of cells"};
    SB_TRY(read_in_part(m, part, "config.yaml", &config, err));
    SB_TRY(read_in_part(m, part, SB_PART_FACTS, &facts, err));
    SB_CHECK(strcmp(config, m->config) == 0, err, SB_BAD_DATA,
             "%s/" SB_PARTS_DIR "/%s: of another config than %s/config.yaml; remove one of them",
             m->path, m->names[part], m->path);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        SB_CHECK(same_value(facts, m->facts, names[i]), err, SB_BAD_DATA,
                 "%s/" SB_PARTS_DIR "/%s: %s than part %s; run it again or remove it", m->path,
                 m->names[part], what[i], m->names[0]);
out:
    sb_free(facts);
    sb_free(config);
    return st;
}

static sb_status check_parts(merge *m, sb_err *err)
{
    int n;
    sb_status st = read_in_part(m, 0, SB_PART_FACTS, &m->facts, err);
    for (int64_t i = 0; i < m->n_parts && st == SB_OK; i++)
        st = check_part(m, i, err);
    if (st != SB_OK)
        return st;
    m->n_cells = strtoll(sb_provenance_value(m->facts, "cells", &n), NULL, 10);
    return m->n_cells > 0 ? SB_OK
                          : sb_fail(err, SB_BAD_DATA,
                                    "%s/" SB_PARTS_DIR "/%s/" SB_PART_FACTS
                                    ": damaged; expected a number of cells",
                                    m->path, m->names[0]);
}

/* ---- which record of a cell ------------------------------------------------------------------ */

static bool better(const sb_choice *a, const sb_choice *b)
{
    if (!b->stub || a->stub->failed != b->stub->failed)
        return !b->stub || b->stub->failed;
    return strcmp(a->utc, b->utc) > 0;
}

/* What the run directory holds from before may be of a build or of data that are no more. */
static bool is_current(const merge *m, const sb_stub *stub, const sb_origin *origin)
{
    int n;
    char digest[17];
    const char *build = sb_provenance_value(m->facts, "build", &n);
    (void)snprintf(digest, sizeof digest, "%016" PRIx64, stub->digest);
    const char *data = sb_provenance_value(m->facts, "data", &n);
    return origin && strtoull(build, NULL, 16) == origin->build && strstr(data, digest) != NULL;
}

static sb_status choose_from(merge *m, int64_t source, sb_err *err)
{
    const sb_source *s = &m->sources[source];
    for (int64_t i = 0; i < s->stubs.n; i++) {
        const sb_stub *stub = &s->stubs.items[i];
        const sb_origin *origin = sb_source_origin(s, stub);
        if (source == m->n_parts && !is_current(m, stub, origin))
            continue;
        if (!origin || stub->cell < 0 || stub->cell >= m->n_cells)
            return sb_fail(err, SB_BAD_DATA,
                           "%s: record %016" PRIx64 " is not of this sweep; expected a cell below "
                           "%" PRId64,
                           s->store, stub->key, m->n_cells);
        const sb_choice c = {stub, origin->utc, source};
        if (better(&c, &m->cells[stub->cell]))
            m->cells[stub->cell] = c;
    }
    return SB_OK;
}

static sb_status open_source(merge *m, int64_t i, sb_err *err)
{
    sb_status st = SB_OK;
    bool unfolded;
    bool is_part = i < m->n_parts;
    char *path = is_part ? sb_part_path(m->path, m->names[i], NULL) : sb_strdup(m->path);
    SB_CHECK(path, err, SB_NO_MEMORY, "out of memory for a file name");
    SB_TRY(sb_run_has_cells(path, &unfolded, err));
    if (unfolded)
        SB_TRY(is_part ? sb_source_fold(path, m->config, err)
                       : sb_run_dir_finish(m->dir, NULL, 0, err));
    st = sb_source_open(path, &m->sources[m->n_sources++], err);
out:
    sb_free(path);
    return st;
}

static sb_status choose(merge *m, sb_err *err)
{
    sb_status st = SB_OK;
    m->sources = sb_alloc(m->n_parts + 1, sizeof *m->sources);
    m->cells = sb_alloc(m->n_cells, sizeof *m->cells);
    SB_CHECK(m->sources && m->cells, err, SB_NO_MEMORY, "out of memory for the cells");
    for (int64_t i = 0; i <= m->n_parts; i++) {
        SB_TRY(open_source(m, i, err));
        SB_TRY(choose_from(m, i, err));
    }
out:
    return st;
}

static sb_status count_missing(const merge *m, bool force, int64_t *n_missing, sb_err *err)
{
    enum { NAMED = 8 };
    char some[NAMED * 24 + 8] = "";
    size_t at = 0;
    *n_missing = 0;
    for (int64_t i = 0; i < m->n_cells; i++) {
        if (m->cells[i].stub)
            continue;
        if (++*n_missing <= NAMED)
            at +=
                (size_t)snprintf(some + at, sizeof some - at, "%s%" PRId64, at > 0 ? ", " : "", i);
        else if (*n_missing == NAMED + 1)
            (void)snprintf(some + at, sizeof some - at, ", ...");
    }
    if (*n_missing == 0 || force)
        return SB_OK;
    return sb_fail(err, SB_REGRESSED,
                   "%s: %" PRId64 " of %" PRId64 " cells are missing: %s; run the shards that are "
                   "not done, or --force",
                   m->path, *n_missing, m->n_cells, some);
}

/* ---- merging ----------------------------------------------------------------------------------
 */

/* The parts go out of the way as one, and only then one by one. */
static sb_status remove_parts(const char *run_path, sb_err *err)
{
    sb_status st = SB_OK;
    char *parts = sb_sprintf("%s/" SB_PARTS_DIR, run_path);
    char *done = sb_sprintf("%s/" SB_PARTS_DONE, run_path);
    char *locks = sb_sprintf("%s/" SB_ALONE, run_path);
    SB_CHECK(parts && done && locks, err, SB_NO_MEMORY, "out of memory for a file name");
    SB_TRY(sb_fs_remove(done, err));
    if (rename(parts, done) < 0 && errno != ENOENT) {
        st = sb_fs_fail(err, parts, "rename");
        goto out;
    }
    SB_TRY(sb_fs_remove(done, err));
    st = sb_fs_remove(locks, err); /* nobody is left to time */
out:
    sb_free(locks);
    sb_free(done);
    sb_free(parts);
    return st;
}

static sb_status merge_parts(merge *m, bool force, sb_merge_summary *summary, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(check_parts(m, err));
    SB_TRY(choose(m, err));
    *summary = (sb_merge_summary){.n_parts = m->n_parts, .n_cells = m->n_cells};
    SB_TRY(count_missing(m, force, &summary->n_missing, err));
    SB_TRY(sb_merge_write(m->path, m->config, m->sources, m->n_parts, m->cells, m->n_cells, err));
    SB_TRY(sb_run_dir_reload(m->dir, err));
out:
    return st;
}

/* The run's config, else that of a part, as of parts that were copied together. */
static sb_status find_config(merge *m, sb_err *err)
{
    char *path = sb_sprintf("%s/config.yaml", m->path);
    sb_status st = path ? sb_fs_read(path, &m->config, err) : sb_no_memory(err, "a file name");
    sb_free(path);
    if (st == SB_OK && !m->config && m->n_parts > 0)
        st = read_in_part(m, 0, "config.yaml", &m->config, err);
    return st == SB_OK && !m->config
               ? sb_fail(err, SB_USAGE, "%s: neither a run nor parts of one", m->path)
               : st;
}

/* A kill may leave a part that has no facts yet, and so no records. */
static sb_status is_begun(const merge *m, const char *name, bool *begun, sb_err *err)
{
    sb_status st = SB_OK;
    char *path = sb_part_path(m->path, name, NULL),
         *facts = sb_part_path(m->path, name, SB_PART_FACTS);
    char *store = sb_part_path(m->path, name, SB_RESULTS_H5);
    SB_CHECK(path && facts && store, err, SB_NO_MEMORY, "out of memory for a file name");
    SB_TRY(sb_run_has_cells(path, begun, err));
    *begun = *begun || access(facts, F_OK) == 0 || access(store, F_OK) == 0;
out:
    sb_free(store);
    sb_free(facts);
    sb_free(path);
    return st;
}

static sb_status list_begun(merge *m, sb_err *err)
{
    int64_t n = 0, n_begun = 0;
    sb_parts_free(m->names, m->n_parts);
    sb_status st = sb_parts_list(m->path, &m->names, &n, err);
    m->n_parts = n;
    for (int64_t i = 0; i < n && st == SB_OK; i++) {
        bool begun = false;
        char *name = m->names[i];
        st = is_begun(m, name, &begun, err);
        m->names[i] = m->names[n_begun];
        m->names[n_begun] = name; /* those to drop gather behind */
        n_begun += begun;
    }
    if (st != SB_OK)
        return st;
    for (int64_t i = n_begun; i < n; i++)
        sb_free(m->names[i]);
    m->n_parts = n_begun;
    return SB_OK;
}

static void close_merge(merge *m)
{
    for (int64_t i = 0; i < m->n_sources; i++)
        sb_source_close(&m->sources[i]);
    sb_free(m->cells);
    sb_free(m->sources);
    sb_free(m->facts);
    sb_parts_free(m->names, m->n_parts);
    sb_free(m->config);
    sb_run_dir_close(m->dir);
}

sb_status sb_merge(const char *run_path, bool force, sb_merge_summary *summary, sb_err *err)
{
    sb_status st = SB_OK;
    merge m = {.path = run_path};
    *summary = (sb_merge_summary){0};
    SB_TRY(list_begun(&m, err));
    SB_TRY(find_config(&m, err));
    SB_TRY(sb_run_dir_open(run_path, m.config, false, &m.dir, err));
    /* Now that nobody writes: others may have come or gone. */
    SB_TRY(list_begun(&m, err));
    if (m.n_parts > 0)
        SB_TRY(merge_parts(&m, force, summary, err));
    st = remove_parts(run_path, err);
out:
    close_merge(&m);
    return st;
}
