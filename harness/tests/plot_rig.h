#ifndef SB_PLOT_RIG_H
#define SB_PLOT_RIG_H

/* Made-up records for tests of plots, a folder for what is written, and gnuplot where it is. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/mem.h"
#include "harness/results.h"
#include "harness/tests/check.h"

/* ---- records ------------------------------------------------------------------------------- */

enum { MAX_RECORDS = 128 };

typedef struct set {
    sb_record records[MAX_RECORDS];
    int64_t n;
} set;

static inline void clear(set *s)
{
    for (int64_t i = 0; i < s->n; i++)
        sb_record_free(&s->records[i]);
    s->n = 0;
}

/* A finished record of one capture; blocks of 64, and no numbers yet. */
static inline void make_record(sb_record *r, int64_t cell, const char *method, const char *params)
{
    sb_record_init(r);
    r->key = (uint64_t)cell + 1;
    r->cell = cell;
    r->block = 64;
    (void)sb_record_set(&r->status, "ok", NULL);
    (void)sb_record_set(&r->capture, "data/tiny.h5", NULL);
    (void)sb_record_set(&r->dtype, "f32", NULL);
    (void)sb_record_set(&r->backend, "cpu", NULL);
    (void)sb_record_set(&r->kernel, "ref", NULL);
    (void)sb_record_set(&r->method, method, NULL);
    (void)sb_record_set(&r->params, params, NULL);
}

static inline sb_record *new_record(set *s, int64_t layer, int64_t tokens, const char *method,
                                    const char *params)
{
    sb_record *r = &s->records[s->n];
    make_record(r, s->n++, method, params);
    r->layer = layer;
    r->tokens = tokens;
    r->threads = 2;
    r->heads = 4;
    r->kv_heads = 2;
    r->head_dim = 64;
    return r;
}

/* ---- files --------------------------------------------------------------------------------- */

static char root[] = "/tmp/stembench-plot-XXXXXX";
static char *search_path;

/* A path in the test's folder; good for the next 63 calls. */
static inline char *path_of(const char *dir, const char *file)
{
    static char path[64][512];
    static int turn;
    char *p = path[turn++ % 64];
    (void)snprintf(p, sizeof path[0], "%s/%s%s%s", root, dir, *file ? "/" : "", file);
    return p;
}

static inline bool is_file(const char *path)
{
    return access(path, R_OK) == 0;
}

/* ---- the program ---------------------------------------------------------------------------- */

static inline bool rig_open(void)
{
    search_path = sb_strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
    return search_path && mkdtemp(root);
}

/* Tests without pictures hide gnuplot. */
static inline void hide_gnuplot(void)
{
    (void)setenv("PATH", "/nonexistent", 1);
}

static inline bool find_gnuplot(void)
{
    (void)setenv("PATH", search_path, 1);
    bool found = system("gnuplot --version >/dev/null 2>&1") == 0;
    if (!found)
        printf("no gnuplot: pictures not tested\n");
    return found;
}

static inline int rig_close(void)
{
    char command[64];
    sb_free(search_path);
    int failed = sb_tests_done();
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command) != 0 || failed;
}

#endif
