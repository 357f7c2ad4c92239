#ifndef SB_COMPARE_RIG_H
#define SB_COMPARE_RIG_H

/* Runs of a few known cells, each changed in one way, for the tests of comparing. */

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/compare_report.h"
#include "harness/tests/folder_rig.h"

#define MU_PARAMS "variant=paper; block=64; stride=8; mu=%g; sinks=1"

/* Cells 0 to 5 are layers 0 to 2 of dense, then of stem; those after them are stem with another mu
 * on layer 0. */
static inline void make_cell(sb_record *r, int64_t cell)
{
    char text[1000], params[200] = "";
    bool stem = cell >= 3;
    double mu = cell < 6 ? 0.7 : 0.7 + 0.001 * (double)(cell - 5);
    sb_record_init(r);
    r->key = (uint64_t)(1000 + cell);
    r->cell = cell;
    r->layer = cell < 6 ? cell % 3 : 0;
    r->tokens = 2048;
    r->threads = 2;
    r->block = stem ? 64 : 0;
    if (stem)
        (void)snprintf(params, sizeof params, MU_PARAMS, mu);
    (void)snprintf(text, sizeof text,
                   "data: \"a.h5\"\ndigest: 0123456789abcdef\nlayer: %" PRId64
                   "\ntokens: 2048\ndtype: bf16\nbackend: cpu\nkernel: amx\nthreads: 2\n"
                   "method: %s\nparams: \"%s\"\nmatch: \"none\"\nmeasure: {fidelity: 1, rows: 0, "
                   "impl_rows: 64, seed: 1, latency: {warmup: 0}}\n",
                   r->layer, stem ? "stem" : "dense", params);
    (void)sb_record_set(&r->config, text, NULL);
    for (char *at = params; (at = strstr(at, "; "));)
        memmove(at, at + 1, strlen(at));
    (void)sb_record_set(&r->params, params, NULL);
    (void)sb_record_set(&r->status, "ok", NULL);
    (void)sb_record_set(&r->capture, "a.h5", NULL);
    (void)sb_record_set(&r->dtype, "bf16", NULL);
    (void)sb_record_set(&r->backend, "cpu", NULL);
    (void)sb_record_set(&r->method, stem ? "stem" : "dense", NULL);
    (void)sb_record_set(&r->variant, stem ? "paper" : "", NULL);
    (void)sb_record_set(&r->mask_hash, stem ? "00000000deadbeef" : "", NULL);
    (void)sb_record_set(&r->provenance, "cpu: \"X\"\ncores: 2\nthreads: 2\n", NULL);
    r->density = stem ? 0.25 : 1;
    r->rel_l2 = r->rel_l2_p50 = r->rel_l2_p95 = r->rel_l2_max = 0.1;
    r->cosine_mean = r->cosine_min = r->mass_recall = 0.9;
    r->lse_err = 0.1;
    r->impl_rel_l2 = 0.002;
    r->select_ms = 1;
    r->total_ms = 10;
    r->total_ms_lo = 9.9;
    r->total_ms_hi = 10.1;
    r->speedup = 2;
    r->conversion = 0.5;
    r->pos_bin = 64;
    (void)sb_record_series(r, SB_SERIES_HEAD_REL_L2, (double[]){.1, .1, .1}, 3, NULL);
    (void)sb_record_series(r, SB_SERIES_POS_REL_L2, (double[]){.1, .1, NAN, .1}, 4, NULL);
}

/* Changes a record on its way into the run, or leaves it out by returning false. */
typedef bool change(sb_record *r);

static inline bool as_is(sb_record *r)
{
    (void)r;
    return true;
}

/* Puts one word in place of another in the resolved cell and its parameters. */
static inline void reword(sb_record *r, const char *from, const char *to)
{
    char **texts[] = {&r->config, &r->params};
    for (int i = 0; i < 2; i++) {
        const char *text = *texts[i], *at = strstr(text, from);
        char *changed =
            at ? sb_sprintf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) : NULL;
        if (changed)
            (void)sb_record_set(texts[i], changed, NULL);
        sb_free(changed);
    }
}

static inline const char *run_path(const char *name)
{
    static char path[4][400];
    static int turn;
    char *p = path[turn++ % 4];
    (void)snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

/* Writes cells 0 to n - 1, changed; folded, or left in .cells. */
static inline void write_run(const char *name, int64_t n, change *edit, bool folded)
{
    sb_run_dir *dir = NULL;
    EXPECT(sb_run_dir_open(run_path(name), "name: x\n", true, &dir, NULL) == SB_OK);
    for (int64_t i = 0; i < n; i++) {
        sb_record r;
        make_cell(&r, i);
        if (edit(&r))
            EXPECT(sb_run_dir_append(dir, &r, NULL) == SB_OK);
        sb_record_free(&r);
    }
    if (folded)
        EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    sb_run_dir_close(dir);
}

#endif
