#include "harness/runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/alone.h"
#include "harness/mem.h"

enum { MAX_DEATHS = 2 }; /* of a process, before a cell is given up */

const sb_exec *sb_runner_exec(const sb_runner *run, int64_t shape)
{
    return &run->exec[sb_backend_for(run->options->backends, run->sweep->shapes[shape].dtype)];
}

static void announce(sb_runner *run, int64_t shape, const char *what)
{
    char text[128];
    const sb_shape_cell *s = &run->sweep->shapes[shape];
    (void)snprintf(text, sizeof text, "layer %" PRId64 ", %" PRId64 " tokens: %s", s->layer,
                   s->tokens, what);
    sb_progress_doing(&run->progress, text);
}

/* ---- the shape at hand ---------------------------------------------------------------------- */

sb_status sb_runner_read(const sb_runner *run, int64_t shape, sb_tensors *tensors, sb_err *err)
{
    const sb_shape_cell *s = &run->sweep->shapes[shape];
    return sb_capture_read(&run->sweep->captures[s->capture], s->layer, s->tokens, s->dtype,
                           tensors, err);
}

void sb_runner_release(sb_runner *run)
{
    sb_shape_hold *h = &run->hold;
    sb_reference_free(&h->reference);
    sb_on_device_close(&h->device);
    sb_free(h->data.realised);
    sb_free(h->data.outputs.lse);
    sb_free(h->data.outputs.o);
    sb_tensors_free(&h->tensors);
    *h = (sb_shape_hold){.shape = -1};
}

static sb_status alloc_outputs(const sb_runner *run, sb_shape_data *data, sb_err *err)
{
    const sb_problem *p = &data->problem;
    data->outputs.o = sb_alloc(p->n_heads * p->q_len * p->dim_v, sb_dtype_bytes(p->dtype));
    data->outputs.lse = sb_alloc(p->n_heads * p->q_len, sizeof(float));
    data->realised = sb_alloc(run->sweep->cfg->n_variants, sizeof *data->realised);
    bool all = data->outputs.o && data->outputs.lse && data->realised;
    return all ? SB_OK : sb_no_memory(err, "outputs");
}

static sb_status fill_hold(sb_runner *run, int64_t shape, sb_shape_hold *h, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_measure_options *m = &run->sweep->cfg->measure;
    announce(run, shape, "reading");
    SB_TRY(sb_runner_read(run, shape, &h->tensors, err));
    h->data = (sb_shape_data){.problem = sb_sweep_problem(run->sweep, shape),
                              .exec = *sb_runner_exec(run, shape),
                              .inputs = {h->tensors.q, h->tensors.k, h->tensors.v},
                              .stop = run->stop};
    SB_TRY(alloc_outputs(run, &h->data, err));
    if (h->data.exec.backend == SB_CUDA) {
        announce(run, shape, "upload");
        h->data.device = &h->device;
        if (sb_on_device_open(&h->data.problem, &h->data.inputs, m->latency.enabled,
                              h->data.exec.stream, &h->device, &h->refused) != SB_OK)
            h->data.refused = &h->refused;
    }
    if (m->fidelity && !h->data.refused) {
        SB_TRY(sb_runner_reference(run, shape, &h->data.inputs, &h->reference, err));
        h->data.reference = &h->reference;
    }
    h->shape = shape;
out:
    return st;
}

/* Read a shape's inputs and have its reference computed; it replaces the shape at hand. */
static sb_status hold(sb_runner *run, int64_t shape, sb_err *err)
{
    if (run->hold.shape == shape)
        return SB_OK;
    sb_runner_release(run);
    sb_status st = fill_hold(run, shape, &run->hold, err);
    if (st != SB_OK)
        sb_runner_release(run);
    else if (run->held)
        run->held();
    return st;
}

/* ---- items ---------------------------------------------------------------------------------- */

static sb_status finish_cell(sb_runner *run, sb_cell *cell, sb_err *err)
{
    sb_record *r = &cell->record;
    r->key = run->keys[r->cell];
    r->node = run->node;
    run->summary->n_failed += strcmp(r->status, "failed") == 0;
    run->summary->n_unsupported += strcmp(r->status, "unsupported") == 0;
    sb_status st = sb_record_set(&r->provenance, run->provenance, err);
    if (st == SB_OK)
        st = sb_run_dir_append(run->part.dir, r, err);
    if (st != SB_OK)
        return st;
    run->states[r->cell] = SB_CELL_COMPUTED;
    sb_progress_done(&run->progress,
                     sb_estimate_cell(run->sweep, cell->shape, cell->variant).work_flops);
    return SB_OK;
}

/* Without touching what may kill this process too. */
static sb_status give_up(sb_runner *run, int64_t shape, int64_t variant, sb_err *err)
{
    sb_cell cell;
    const sb_err why = {SB_INTERNAL, "its process died twice while it ran; --retry runs it again"};
    const sb_shape_data data = {.problem = sb_sweep_problem(run->sweep, shape),
                                .exec = *sb_runner_exec(run, shape),
                                .refused = &why};
    sb_status st = sb_cell_evaluate(run->sweep, shape, variant, &data, &cell, err);
    if (st == SB_OK)
        st = finish_cell(run, &cell, err);
    sb_cell_free(&cell);
    return st;
}

static sb_status compute_bundle(sb_runner *run, int64_t shape, const int64_t *variants,
                                int64_t n_wanted, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_config *cfg = run->sweep->cfg;
    sb_cell cells[SB_MAX_BUNDLE];
    int64_t n = 0;
    SB_TRY(hold(run, shape, err));
    for (; n < n_wanted && st == SB_OK; n++) {
        announce(run, shape, cfg->variants[variants[n]].method->name);
        st = run->stop && *run->stop ? sb_fail(err, SB_INTERRUPTED, "interrupted") : SB_OK;
        if (st != SB_OK)
            goto out;
        st = sb_cell_evaluate(run->sweep, shape, variants[n], &run->hold.data, &cells[n], err);
    }
    if (st == SB_OK && cfg->measure.latency.enabled) {
        announce(run, shape, "timing");
        st = sb_bundle_time(cells, n, &run->hold.data, &cfg->measure.latency, &run->peaks, err);
    }
    for (int64_t i = 0; i < n && st == SB_OK; i++)
        st = finish_cell(run, &cells[i], err);
out:
    for (int64_t i = 0; i < n; i++)
        sb_cell_free(&cells[i]);
    return st;
}

/* Processes that share a timed sweep compute in turn where they would disturb each other. */
static sb_status take_turn(sb_runner *run, int64_t shape, sb_alone *alone, sb_err *err)
{
    const sb_run_options *o = run->options;
    bool on_device = sb_runner_exec(run, shape)->backend == SB_CUDA;
    *alone = (sb_alone){-1, -1};
    if (!o->part || !run->sweep->cfg->measure.latency.enabled)
        return SB_OK;
    return sb_alone_take(o->out_dir, on_device ? o->backends->device.id : 0, run->stop,
                         &run->progress, alone, err);
}

/* What dies between the two notes may have been killed by these cells. */
static sb_status run_bundle(sb_runner *run, int64_t shape, const int64_t *variants, int64_t n,
                            sb_err *err)
{
    uint64_t keys[SB_MAX_BUNDLE];
    sb_alone alone;
    if (n == 0)
        return SB_OK;
    if (run->stop && *run->stop)
        return sb_fail(err, SB_INTERRUPTED, "interrupted");
    for (int64_t i = 0; i < n; i++)
        keys[i] = run->keys[shape * run->sweep->cfg->n_variants + variants[i]];
    sb_status st = take_turn(run, shape, &alone, err);
    if (st == SB_OK)
        st = sb_starts_note(&run->part.starts, keys, n, err);
    if (st == SB_OK) {
        st = compute_bundle(run, shape, variants, n, err);
        sb_starts_settle(&run->part.starts);
    }
    sb_alone_give(&alone);
    return st;
}

/* Whether a cell of an item is in a state of [low, high). */
static bool any_state(const sb_runner *run, const sb_item *item, int low, int high)
{
    const uint8_t *states = &run->states[item->shape * run->sweep->cfg->n_variants + item->first];
    for (int64_t i = 0; i < item->n; i++)
        if (states[i] >= low && states[i] < high)
            return true;
    return false;
}

bool sb_runner_wants(const sb_runner *run, const sb_item *item)
{
    return any_state(run, item, 0, SB_CELL_COMPUTED);
}

bool sb_runner_suspects(const sb_runner *run, const sb_item *item)
{
    return any_state(run, item, 1, MAX_DEATHS);
}

sb_status sb_runner_item(sb_runner *run, const sb_item *item, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t together[SB_MAX_BUNDLE] = {0}, alone[SB_MAX_BUNDLE] = {0};
    int64_t n_together = 0, n_alone = 0;
    for (int64_t v = item->first; v < item->first + item->n; v++) {
        int state = run->states[item->shape * run->sweep->cfg->n_variants + v];
        if (state >= SB_CELL_COMPUTED)
            continue;
        if (state >= MAX_DEATHS)
            SB_TRY(give_up(run, item->shape, v, err));
        else if (state > 0)
            alone[n_alone++] = v;
        else
            together[n_together++] = v;
    }
    SB_TRY(run_bundle(run, item->shape, together, n_together, err));
    /* Of cells that a death found together, one is to blame: alone, the others can finish. */
    for (int64_t i = 0; i < n_alone; i++)
        SB_TRY(run_bundle(run, item->shape, &alone[i], 1, err));
out:
    return st;
}
