#include <inttypes.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/nodes.h"
#include "harness/provenance.h"
#include "harness/runner.h"
#include "harness/timing.h"
#include "methods/kernels/cpu/attend.h"

static sb_status make_keys(sb_runner *run, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_sweep *sweep = run->sweep;
    run->keys = sb_alloc(sweep->n_cells, sizeof *run->keys);
    const sb_exec **execs = sb_alloc(sweep->n_shapes, sizeof *execs);
    SB_CHECK(run->keys && execs, err, SB_NO_MEMORY, "out of memory for cell keys");
    for (int64_t c = 0; c < sweep->cfg->n_captures; c++)
        if (!sweep->captures[c].digest)
            SB_TRY(sb_capture_digest(&sweep->captures[c], err));
    for (int64_t s = 0; s < sweep->n_shapes; s++)
        execs[s] = sb_runner_exec(run, s);
    st = sb_cell_keys(sweep, execs, sb_build_id(), run->keys, err);
out:
    sb_free(execs);
    return st;
}

/* Each layer that is needed once, as long as it is needed. */
sb_status sb_runner_check(const sb_runner *run, const sb_item *items, int64_t n, sb_err *err)
{
    const sb_shape_cell *shapes = run->sweep->shapes;
    sb_status st = SB_OK;
    for (int64_t i = 0, longest; i < n && st == SB_OK; i++) {
        for (longest = items[i].shape;
             i + 1 < n && sb_same_layer(&shapes[items[i + 1].shape], &shapes[longest]); i++)
            if (shapes[items[i + 1].shape].tokens > shapes[longest].tokens)
                longest = items[i + 1].shape;
        sb_tensors tensors = {0};
        st = sb_runner_read(run, longest, &tensors, err);
        sb_tensors_free(&tensors);
    }
    return st;
}

/* Only then threads are pinned: processes that compute at once would all have the first cores. */
static bool times_on_cpu(const sb_runner *run)
{
    bool any = false;
    for (int64_t s = 0; s < run->sweep->n_shapes; s++)
        any = any || sb_runner_exec(run, s)->backend == SB_CPU;
    return any && run->sweep->cfg->measure.latency.enabled;
}

static sb_status make_provenance(sb_runner *run, sb_err *err)
{
    int n_cores = sb_cores(); /* before pinning leaves this thread one */
    bool pinned = times_on_cpu(run) && sb_pin_threads(run->options->n_threads);
    const sb_problem problem = sb_sweep_problem(run->sweep, 0);
    char *device = sb_backends_provenance(run->options->backends);
    if (device)
        run->provenance = sb_provenance(sb_cpu_kernel_for(&problem, SB_DENSE_TILE)->name, n_cores,
                                        run->options->n_threads, pinned, device);
    sb_free(device);
    return run->provenance ? SB_OK : sb_no_memory(err, "provenance");
}

/* What the parts of a sweep must have in common. */
static char *facts_of(const sb_sweep *sweep)
{
    char *text = sb_sprintf("cells: %" PRId64 "\nbuild: %016" PRIx64 "\ndata:", sweep->n_cells,
                            sb_build_id());
    for (int64_t c = 0; text && c < sweep->cfg->n_captures; c++) {
        char *longer = sb_sprintf("%s %016" PRIx64 "%s", text, sweep->captures[c].digest,
                                  c + 1 < sweep->cfg->n_captures ? "" : "\n");
        sb_free(text);
        text = longer;
    }
    return text;
}

static sb_status number_node(sb_runner *run, sb_err *err)
{
    sb_nodes nodes;
    sb_status st = sb_nodes_open(run->options->out_dir, &nodes, err);
    if (st == SB_OK)
        st = sb_nodes_number(&nodes, run->node, &run->node, err);
    if (st == SB_OK)
        st = sb_nodes_save(&nodes, err);
    sb_nodes_close(&nodes);
    return st;
}

static sb_status open_part(sb_runner *run, sb_err *err)
{
    const sb_run_options *o = run->options;
    char *facts = facts_of(run->sweep);
    if (!facts)
        return sb_no_memory(err, "the part's facts");
    const sb_part_options part = {o->part, run->sweep->cfg->text, facts, o->fresh, o->retry};
    sb_status st = sb_part_open(o->out_dir, &part, &run->part, err);
    sb_free(facts);
    run->node = sb_host_id();
    return st == SB_OK && !o->part ? number_node(run, err) : st;
}

sb_status sb_runner_resume(sb_runner *run, const sb_item *items, int64_t n, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_sweep *sweep = run->sweep;
    int64_t n_todo = 0, n_cells = 0;
    double work = 0;
    uint8_t *known = sb_alloc(sweep->n_cells, sizeof *known);
    SB_CHECK(known, err, SB_NO_MEMORY, "out of memory for the cells' states");
    SB_TRY(sb_parts_states(run->options->out_dir, run->options->retry, run->keys, sweep->n_cells,
                           known, err));
    memset(run->states, SB_CELL_FINISHED, (size_t)sweep->n_cells); /* others' are none of ours */
    for (int64_t i = 0; i < n; i++)
        for (int64_t v = items[i].first; v < items[i].first + items[i].n; v++, n_cells++) {
            int64_t cell = items[i].shape * sweep->cfg->n_variants + v;
            run->states[cell] = known[cell];
            if (known[cell] == SB_CELL_FINISHED)
                continue;
            n_todo++;
            work += sb_estimate_cell(sweep, items[i].shape, v).work_flops;
        }
    run->summary->n_cells = n_cells;
    run->summary->n_reused = n_cells - n_todo;
    sb_progress_start(&run->progress, n_todo, work, run->options->quiet);
out:
    sb_free(known);
    return st;
}

sb_status sb_runner_init(const sb_sweep *sweep, const sb_run_options *options,
                         const volatile int *stop, sb_run_summary *summary, sb_runner *run,
                         sb_err *err)
{
    *run = (sb_runner){.sweep = sweep,
                       .options = options,
                       .stop = stop,
                       .summary = summary,
                       .part = {.shared = -1, .starts = {.fd = -1}},
                       .hold = {.shape = -1},
                       .progress = {.quiet = true}, /* until there is a whole to compare with */
                       .whole_of = -1,
                       .peaks = {.device = &options->backends->device}};
    for (int i = 0; i < 2; i++)
        run->exec[i] = (sb_exec){.backend = (sb_backend)i, .n_threads = options->n_threads};
    run->exec[SB_CUDA].device = options->backends->device.name;
    *summary = (sb_run_summary){0};
    run->states = sb_alloc(sweep->n_cells, sizeof *run->states);
    return run->states ? make_keys(run, err) : sb_no_memory(err, "the cells' states");
}

sb_status sb_runner_open(sb_runner *run, sb_err *err)
{
    sb_status st = SB_OK;
    if (run->options->backends->cuda)
        SB_TRY(sb_cuda_stream_create(&run->exec[SB_CUDA].stream, err));
    SB_TRY(make_provenance(run, err));
    SB_TRY(open_part(run, err));
out:
    return st;
}

sb_status sb_runner_finish(sb_runner *run, sb_err *err)
{
    sb_progress_end(&run->progress);
    return sb_run_dir_finish(run->part.dir, run->keys, run->sweep->n_cells, err);
}

void sb_runner_close(sb_runner *run)
{
    if (!run->sweep)
        return;
    sb_runner_release(run);
    sb_part_close(&run->part);
    sb_reference_free(&run->whole);
    sb_cuda_stream_destroy(run->exec[SB_CUDA].stream);
    sb_free(run->provenance);
    sb_free(run->states);
    sb_free(run->keys);
    *run = (sb_runner){0};
}
