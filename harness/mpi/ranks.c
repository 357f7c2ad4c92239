/* A sweep by all ranks, from the data's check to the merged results. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "harness/hash.h"
#include "harness/mem.h"
#include "harness/merge.h"
#include "harness/mpi/world.h"
#include "harness/results_store.h"

/* What one rank holds of a sweep. */
typedef struct sweeping {
    const sb_ranks *ranks;
    sb_workers workers;
    int me; /* the how manieth worker this is, or -1 */
    sb_item *items;
    int64_t n_items;
    char *part;
    sb_runner run;
} sweeping;

/* The layers are dealt among the workers: each is read once. */
static sb_status check_share(const sweeping *s, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_shape_cell *shapes = s->run.sweep->shapes;
    int64_t layer = 0;
    for (int64_t i = 0, end; i < s->n_items && st == SB_OK; i = end, layer++) {
        for (end = i + 1; end < s->n_items &&
                          sb_same_layer(&shapes[s->items[end].shape], &shapes[s->items[i].shape]);)
            end++;
        if (layer % s->workers.n == s->me)
            st = sb_runner_check(&s->run, s->items + i, end - i, err);
    }
    return st;
}

/* By their names the cells tell another build, kernel, device, config or capture. */
static sb_status same_cells(const sweeping *s, sb_err *err)
{
    const sb_runner *run = &s->run;
    uint64_t mine = sb_hash64(run->keys, (size_t)run->sweep->n_cells * sizeof *run->keys, 0);
    uint64_t theirs = mine;
    MPI_Bcast(&theirs, sizeof theirs, MPI_BYTE, 0, MPI_COMM_WORLD);
    return theirs == mine || s->me < 0
               ? SB_OK
               : sb_fail(err, SB_USAGE,
                         "rank %d would compute other cells than rank 0: another build, capture, "
                         "CPU kernel or GPU; give --isa or --backend, or nodes that are alike",
                         s->ranks->rank);
}

static sb_status name_cells(sweeping *s, const sb_sweep *sweep, sb_run_options *options,
                            const volatile int *stop, sb_run_summary *summary, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_rates rates = sb_rates_nominal();
    SB_TRY(sb_items_make(sweep, options->backends, &rates, &s->items, &s->n_items, err));
    if (s->me >= 0) {
        s->part = sb_sprintf("rank-%d", s->ranks->rank);
        SB_CHECK(s->part, err, SB_NO_MEMORY, "out of memory for a name");
        options->part = s->part;
    }
    options->quiet = options->quiet || s->ranks->rank > 0;
    SB_TRY(sb_runner_init(sweep, options, stop, summary, &s->run, err));
    if (s->me >= 0)
        SB_TRY(check_share(s, err));
out:
    return st;
}

/* Alone for a moment: so nobody else writes there, and it is ours to write to. */
static sb_status claim(const sweeping *s, sb_err *err)
{
    int lock;
    const sb_run_options *o = s->run.options;
    if (s->ranks->rank > 0)
        return SB_OK;
    sb_status st = sb_run_claim(o->out_dir, s->run.sweep->cfg->text, o->fresh, &lock, err);
    if (lock >= 0)
        (void)close(lock);
    return st;
}

/* Rank 0 reads what is finished, once for all. */
static sb_status resume(sweeping *s, sb_err *err)
{
    sb_runner *run = &s->run;
    sb_status st = s->ranks->rank == 0 ? sb_runner_resume(run, s->items, s->n_items, err) : SB_OK;
    st = sb_ranks_agree(s->ranks, st, err);
    if (st == SB_OK)
        MPI_Bcast(run->states, (int)run->sweep->n_cells, MPI_BYTE, 0, MPI_COMM_WORLD);
    return st;
}

static sb_status merge(const sweeping *s, sb_err *err)
{
    sb_merge_summary merged;
    return s->ranks->rank == 0 ? sb_merge(s->run.options->out_dir, false, &merged, err) : SB_OK;
}

sb_status sb_ranks_run(const sb_ranks *ranks, sb_sweep *sweep, sb_backends *backends,
                       sb_run_options *options, const volatile int *stop, sb_run_summary *summary,
                       sb_err *err)
{
    sb_status st = SB_OK;
    sweeping s = {.ranks = ranks};
    options->backends = backends;
    SB_TRY(sb_workers_settle(ranks, sweep, backends, options, &s.workers, err));
    s.me = s.workers.worker_of[ranks->rank];
    SB_TRY(sb_ranks_agree(ranks, name_cells(&s, sweep, options, stop, summary, err), err));
    SB_TRY(sb_ranks_agree(ranks, same_cells(&s, err), err));
    SB_TRY(sb_ranks_agree(ranks, claim(&s, err), err));
    SB_TRY(sb_ranks_agree(ranks, s.me >= 0 ? sb_runner_open(&s.run, err) : SB_OK, err));
    SB_TRY(resume(&s, err));
    if (ranks->rank == 0)
        st = sb_mpi_lead(&s.workers, &s.run, s.items, s.n_items, err);
    else if (s.me >= 0)
        st = sb_mpi_work(&s.run, s.items, err);
    SB_TRY(sb_ranks_agree(ranks, st, err));
    st = sb_ranks_agree(ranks, merge(&s, err), err);
out:
    sb_runner_close(&s.run);
    sb_free(s.part);
    sb_free(s.items);
    sb_workers_free(&s.workers);
    return st;
}
