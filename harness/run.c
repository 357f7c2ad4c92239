#include "harness/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/evaluate.h"
#include "harness/hash.h"
#include "harness/latency.h"
#include "harness/mem.h"
#include "harness/progress.h"
#include "harness/provenance.h"
#include "harness/timing.h"
#include "methods/kernels/cpu/attend.h"

typedef struct runner {
    const sb_sweep *sweep;
    const sb_run_options *options;
    const volatile int *stop;
    sb_run_dir *dir;
    sb_exec exec[2]; /* by backend */
    uint64_t *keys;  /* [n_cells] */
    char *provenance;
    sb_progress progress;
    sb_run_summary *summary;
    /* References of the layer at hand, one over all rows or one for each length. */
    sb_reference whole;
    int64_t whole_of; /* first shape of the layer that `whole` belongs to, or -1 */
    sb_peaks peaks;
} runner;

static const sb_exec *exec_of(const runner *run, int64_t shape)
{
    return &run->exec[sb_backend_for(run->options->backends, run->sweep->shapes[shape].dtype)];
}

static bool pending(const runner *run, int64_t cell)
{
    return !sb_run_dir_has(run->dir, run->keys[cell]);
}

static bool shape_pending(const runner *run, int64_t shape)
{
    int64_t n = run->sweep->cfg->n_variants;
    for (int64_t v = 0; v < n; v++)
        if (pending(run, shape * n + v))
            return true;
    return false;
}

/* ---- references ---------------------------------------------------------------------------- */

static bool same_layer(const sb_shape_cell *a, const sb_shape_cell *b)
{
    return a->capture == b->capture && a->dtype == b->dtype && a->layer == b->layer;
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
static sb_status load_or_compute(runner *run, int64_t shape, const sb_inputs *in, sb_reference *ref,
                                 sb_err *err)
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
static sb_status shape_reference(runner *run, int64_t shape, const sb_inputs *in, sb_reference *ref,
                                 sb_err *err)
{
    sb_status st = SB_OK;
    sb_tensors longest_in = {0};
    const sb_shape_cell *shapes = run->sweep->shapes;
    if (run->sweep->cfg->measure.fidelity_rows > 0)
        return load_or_compute(run, shape, in, ref, err);
    int64_t first = shape, longest = shape;
    while (first > 0 && same_layer(&shapes[first - 1], &shapes[shape]))
        first--;
    for (int64_t s = first; s < run->sweep->n_shapes && same_layer(&shapes[s], &shapes[shape]); s++)
        if (shapes[s].tokens > shapes[longest].tokens && shape_pending(run, s))
            longest = s;
    if (run->whole_of != first) {
        sb_reference_free(&run->whole);
        run->whole_of = -1;
        const sb_shape_cell *l = &shapes[longest];
        if (longest != shape)
            SB_TRY(sb_capture_read(&run->sweep->captures[l->capture], l->layer, l->tokens, l->dtype,
                                   &longest_in, err));
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

/* ---- the loop ------------------------------------------------------------------------------ */

static sb_status finish_cell(runner *run, sb_cell *cell, sb_err *err)
{
    sb_record *r = &cell->record;
    r->key = run->keys[r->cell];
    run->summary->n_failed += strcmp(r->status, "failed") == 0;
    run->summary->n_unsupported += strcmp(r->status, "unsupported") == 0;
    sb_status st = sb_record_set(&r->provenance, run->provenance, err);
    if (st == SB_OK)
        st = sb_run_dir_append(run->dir, r, err);
    if (st == SB_OK)
        sb_progress_done(&run->progress,
                         sb_estimate_cell(run->sweep, cell->shape, cell->variant).work_flops);
    return st;
}

static void announce(runner *run, int64_t shape, const char *what)
{
    char text[128];
    const sb_shape_cell *s = &run->sweep->shapes[shape];
    (void)snprintf(text, sizeof text, "layer %" PRId64 ", %" PRId64 " tokens: %s", s->layer,
                   s->tokens, what);
    sb_progress_doing(&run->progress, text);
}

/* Compute a bundle of pending cells of a shape from variant *next on. */
static sb_status run_bundle(runner *run, int64_t shape, int64_t *next, const sb_shape_data *data,
                            sb_err *err)
{
    sb_status st = SB_OK;
    const sb_config *cfg = run->sweep->cfg;
    sb_cell cells[SB_MAX_BUNDLE];
    int64_t n = 0;
    double work = 0;
    bool timed = cfg->measure.latency.enabled;
    for (; *next < cfg->n_variants && sb_bundle_takes(n, work, data->exec.backend); ++*next) {
        if (!pending(run, shape * cfg->n_variants + *next))
            continue;
        announce(run, shape, cfg->variants[*next].method->name);
        work += sb_estimate_cell(run->sweep, shape, *next).work_flops;
        SB_CHECK(!run->stop || !*run->stop, err, SB_INTERRUPTED, "interrupted");
        st = sb_cell_evaluate(run->sweep, shape, *next, data, &cells[n], err);
        n++;
        if (st == SB_OK && !timed) {
            st = finish_cell(run, &cells[n - 1], err);
            sb_cell_free(&cells[--n]);
        }
        if (st != SB_OK)
            goto out;
    }
    if (timed) {
        announce(run, shape, "timing");
        SB_TRY(sb_bundle_time(cells, n, data, &cfg->measure.latency, &run->peaks, err));
        for (int64_t i = 0; i < n; i++)
            SB_TRY(finish_cell(run, &cells[i], err));
    }
out:
    for (int64_t i = 0; i < n; i++)
        sb_cell_free(&cells[i]);
    return st;
}

static sb_status run_shape(runner *run, int64_t shape, const sb_tensors *tensors, sb_err *err)
{
    sb_status st = SB_OK;
    sb_reference reference = {0};
    sb_on_device device = {0};
    sb_err refused = {0};
    sb_problem p = sb_sweep_problem(run->sweep, shape);
    sb_shape_data data = {.problem = p,
                          .exec = *exec_of(run, shape),
                          .inputs = {tensors->q, tensors->k, tensors->v},
                          .stop = run->stop};
    data.outputs.o = sb_alloc(p.n_heads * p.q_len * p.dim_v, sb_dtype_bytes(p.dtype));
    data.outputs.lse = sb_alloc(p.n_heads * p.q_len, sizeof(float));
    data.realised = sb_alloc(run->sweep->cfg->n_variants, sizeof *data.realised);
    SB_CHECK(data.outputs.o && data.outputs.lse && data.realised, err, SB_NO_MEMORY,
             "out of memory for outputs");
    if (data.exec.backend == SB_CUDA) {
        announce(run, shape, "upload");
        data.device = &device;
        if (sb_on_device_open(&p, &data.inputs, run->sweep->cfg->measure.latency.enabled,
                              data.exec.stream, &device, &refused) != SB_OK)
            data.refused = &refused;
    }
    if (run->sweep->cfg->measure.fidelity && !data.refused) {
        SB_TRY(shape_reference(run, shape, &data.inputs, &reference, err));
        data.reference = &reference;
    }
    for (int64_t next = 0; next < run->sweep->cfg->n_variants;)
        SB_TRY(run_bundle(run, shape, &next, &data, err));
out:
    sb_reference_free(&reference);
    sb_on_device_close(&device);
    sb_free(data.realised);
    sb_free(data.outputs.lse);
    sb_free(data.outputs.o);
    return st;
}

static sb_status read_shape(const runner *run, int64_t shape, sb_tensors *tensors, sb_err *err)
{
    const sb_shape_cell *s = &run->sweep->shapes[shape];
    return sb_capture_read(&run->sweep->captures[s->capture], s->layer, s->tokens, s->dtype,
                           tensors, err);
}

static sb_status make_keys(runner *run, sb_err *err)
{
    const sb_sweep *sweep = run->sweep;
    uint64_t build_id = sb_build_id();
    run->keys = sb_alloc(sweep->n_cells, sizeof *run->keys);
    if (!run->keys)
        return sb_no_memory(err, "cell keys");
    for (int64_t c = 0; c < sweep->cfg->n_captures; c++) {
        sb_status st = sb_capture_digest(&sweep->captures[c], err);
        if (st != SB_OK)
            return st;
    }
    for (int64_t i = 0; i < sweep->n_cells; i++) {
        run->keys[i] = sb_cell_key(sweep, i / sweep->cfg->n_variants, i % sweep->cfg->n_variants,
                                   exec_of(run, i / sweep->cfg->n_variants), build_id, err);
        if (run->keys[i] == 0)
            return SB_NO_MEMORY;
    }
    return SB_OK;
}

static void start_progress(runner *run)
{
    const sb_sweep *sweep = run->sweep;
    double work = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < sweep->n_cells; i++)
        if (pending(run, i)) {
            n++;
            work += sb_estimate_cell(sweep, i / sweep->cfg->n_variants, i % sweep->cfg->n_variants)
                        .work_flops;
        }
    run->summary->n_cells = sweep->n_cells;
    run->summary->n_reused = sweep->n_cells - n;
    sb_progress_start(&run->progress, n, work, run->options->quiet);
}

static sb_status run_shapes(runner *run, sb_err *err)
{
    for (int64_t shape = 0; shape < run->sweep->n_shapes; shape++) {
        sb_tensors tensors = {0};
        if (!shape_pending(run, shape))
            continue;
        announce(run, shape, "reading");
        sb_status st = read_shape(run, shape, &tensors, err);
        if (st == SB_OK)
            st = run_shape(run, shape, &tensors, err);
        sb_tensors_free(&tensors);
        if (st != SB_OK)
            return st;
    }
    return SB_OK;
}

/* Bad tensors should be found before anything is written: read each layer of each capture once. */
static sb_status check_data(runner *run, sb_err *err)
{
    const sb_sweep *sweep = run->sweep;
    for (int64_t shape = 0; shape < sweep->n_shapes; shape++) {
        sb_tensors tensors = {0};
        const sb_shape_cell *next = shape + 1 < sweep->n_shapes ? &sweep->shapes[shape + 1] : NULL;
        if (next && same_layer(next, &sweep->shapes[shape]) &&
            next->tokens >= sweep->shapes[shape].tokens)
            continue;
        sb_status st = read_shape(run, shape, &tensors, err);
        sb_tensors_free(&tensors);
        if (st != SB_OK)
            return st;
    }
    return SB_OK;
}

sb_status sb_run(const sb_sweep *sweep, const sb_run_options *options, const volatile int *stop,
                 sb_run_summary *summary, sb_err *err)
{
    sb_status st = SB_OK, ended;
    sb_err closing = {0};
    runner run = {.sweep = sweep, .options = options, .stop = stop, .summary = summary};
    for (int i = 0; i < 2; i++)
        run.exec[i] = (sb_exec){.backend = (sb_backend)i, .n_threads = options->n_threads};
    run.exec[SB_CUDA].device = options->backends->device.name;
    run.peaks = (sb_peaks){.device = &options->backends->device};
    run.whole_of = -1;
    char *device = NULL;
    *summary = (sb_run_summary){0};

    if (options->backends->cuda)
        SB_TRY(sb_cuda_stream_create(&run.exec[SB_CUDA].stream, err));
    SB_TRY(check_data(&run, err));
    SB_TRY(make_keys(&run, err));
    int n_cores = sb_cores(); /* before pinning leaves this thread one */
    bool pinned = sb_pin_threads(options->n_threads);
    const sb_problem problem = sb_sweep_problem(sweep, 0);
    device = sb_backends_provenance(options->backends);
    SB_CHECK(device, err, SB_NO_MEMORY, "out of memory for provenance");
    run.provenance = sb_provenance(sb_cpu_kernel_for(&problem, SB_DENSE_TILE)->name, n_cores,
                                   options->n_threads, pinned, device);
    SB_CHECK(run.provenance, err, SB_NO_MEMORY, "out of memory for provenance");
    SB_TRY(sb_run_dir_open(options->out_dir, sweep->cfg->text, options->fresh, &run.dir, err));
    start_progress(&run);
    st = run_shapes(&run, err);
    sb_progress_end(&run.progress);
    /* Whatever ended the run, what is finished goes into results.h5. */
    ended = sb_run_dir_finish(run.dir, run.keys, sweep->n_cells, &closing);
    if (st == SB_OK && ended != SB_OK)
        st = sb_fail(err, ended, "%s", closing.msg);
out:
    sb_run_dir_close(run.dir);
    sb_reference_free(&run.whole);
    sb_cuda_stream_destroy(run.exec[SB_CUDA].stream);
    sb_free(run.provenance);
    sb_free(device);
    sb_free(run.keys);
    return st;
}
