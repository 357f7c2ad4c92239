#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/hash.h"
#include "harness/mem.h"
#include "harness/runner.h"
#include "harness/timing.h"

/* Also when its cells are computed by now: the same of a layer's references is to be used to the
 * end. */
static bool was_wanted(const sb_runner *run, int64_t shape)
{
    int64_t n = run->sweep->cfg->n_variants;
    for (int64_t v = 0; v < n; v++)
        if (run->states[shape * n + v] != SB_CELL_FINISHED)
            return true;
    return false;
}

static uint64_t reference_key(uint64_t digest, const sb_problem *p, const int64_t *rows, int64_t n)
{
    const int64_t shape[] = {(int64_t)digest, p->layer, p->dtype, p->kv_len};
    return sb_hash64(rows, (size_t)n * sizeof *rows, sb_hash64(shape, sizeof shape, 0));
}

/* Beside the capture, so that every run on it finds the reference again. */
static char *reference_path(const sb_capture *cap, uint64_t key)
{
    const char *slash = strrchr(cap->path, '/');
    int directory = slash ? (int)(slash - cap->path) + 1 : 0;
    return sb_sprintf("%.*s.cache/reference-%016" PRIx64, directory, cap->path, key);
}

/* The reference of one shape over all of its sampled rows, from the cache where it is there. */
static sb_status load_or_compute(sb_runner *run, int64_t shape, const sb_inputs *in,
                                 sb_reference *ref, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_measure_options *m = &run->sweep->cfg->measure;
    const sb_capture *cap = &run->sweep->captures[run->sweep->shapes[shape].capture];
    sb_problem p = sb_sweep_problem(run->sweep, shape);
    bool found = false;
    char *path = NULL;
    int64_t *rows = sb_alloc(p.q_len, sizeof *rows);
    SB_CHECK(rows, err, SB_NO_MEMORY, "out of memory for sampled rows");
    int64_t n = sb_sample_rows(p.q_len, m->fidelity_rows, m->seed, rows);
    uint64_t key = reference_key(cap->digest, &p, rows, n);
    path = reference_path(cap, key);
    SB_CHECK(path, err, SB_NO_MEMORY, "out of memory for a path");
    SB_TRY(sb_reference_load(ref, path, key, &found, err));
    if (!found) {
        sb_err unwritable = {0};
        char what[128];
        (void)snprintf(what, sizeof what,
                       "layer %" PRId64 ", %" PRId64 " tokens: float64 reference", p.layer,
                       p.q_len);
        sb_progress_doing(&run->progress, what);
        double start = sb_now_ms();
        SB_TRY(sb_reference_compute(&p, in, NULL, rows, n, run->options->n_threads, run->stop, ref,
                                    err));
        run->progress.start_ms += sb_now_ms() - start; /* not part of the cells' pace */
        /* A read-only data folder only means computing it again next time. */
        (void)sb_reference_save(ref, path, key, &unwritable);
    }
out:
    sb_free(path);
    sb_free(rows);
    return st;
}

/*
 * By causality a prefix has the longer reference's rows, so with all rows compared one reference at
 * the longest length serves every length of a layer.
 */
sb_status sb_runner_reference(sb_runner *run, int64_t shape, const sb_inputs *in, sb_reference *ref,
                              sb_err *err)
{
    sb_status st = SB_OK;
    sb_tensors longest_in = {0};
    const sb_shape_cell *shapes = run->sweep->shapes;
    if (run->sweep->cfg->measure.fidelity_rows > 0)
        return load_or_compute(run, shape, in, ref, err);
    int64_t first = shape, longest = shape;
    while (first > 0 && sb_same_layer(&shapes[first - 1], &shapes[shape]))
        first--;
    for (int64_t s = first; s < run->sweep->n_shapes && sb_same_layer(&shapes[s], &shapes[shape]);
         s++)
        if (shapes[s].tokens > shapes[longest].tokens && was_wanted(run, s))
            longest = s;
    if (run->whole_of != first) {
        sb_reference_free(&run->whole);
        run->whole_of = -1;
        if (longest != shape)
            SB_TRY(sb_runner_read(run, longest, &longest_in, err));
        sb_inputs longest_inputs = {longest_in.q, longest_in.k, longest_in.v};
        SB_TRY(load_or_compute(run, longest, longest != shape ? &longest_inputs : in, &run->whole,
                               err));
        run->whole_of = first;
    }
    SB_TRY(sb_reference_prefix(&run->whole, shapes[shape].tokens, ref, err));
out:
    sb_tensors_free(&longest_in);
    return st;
}
