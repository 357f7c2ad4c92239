/* What the ranks settle before they compute: who does, where, and that all mean the same cells. */
#include "harness/mpi/world.h"

#include <stdio.h>
#include <string.h>

#include "harness/hash.h"
#include "harness/mem.h"
#include "harness/nodes.h"
#include "harness/placement.h"

static int least(int mine)
{
    int all;
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    return all;
}

/* Rank 0 opened none, so that it touches no device. */
static void share_backends(const sb_ranks *ranks, sb_backends *backends)
{
    sb_backends theirs = *backends;
    int root = least(ranks->rank > 0 && backends->cuda ? ranks->rank : ranks->n);
    MPI_Bcast(&theirs, sizeof theirs, MPI_BYTE, root < ranks->n ? root : 1, MPI_COMM_WORLD);
    if (ranks->rank == 0)
        *backends = theirs;
}

/* Each file is read once a host; what it holds is compared with the cells' names. */
static sb_status share_digests(sb_sweep *sweep, sb_err *err)
{
    MPI_Comm host;
    MPI_Request request;
    int local;
    sb_status st = SB_OK;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &local);
    for (int64_t c = 0; c < sweep->cfg->n_captures; c++) {
        uint64_t *digest = &sweep->captures[c].digest;
        if (local == 0 && st == SB_OK)
            st = sb_capture_digest(&sweep->captures[c], err);
        MPI_Ibcast(digest, sizeof *digest, MPI_BYTE, 0, host, &request);
        sb_mpi_await(&request);
    }
    MPI_Comm_free(&host);
    return st;
}

static sb_rank_needs needs_of(const sb_sweep *sweep, const sb_backends *backends)
{
    sb_rank_needs needs = {false, false};
    for (int64_t s = 0; s < sweep->n_shapes; s++) {
        bool on_device = sb_backend_for(backends, sweep->shapes[s].dtype) == SB_CUDA;
        needs.device = needs.device || on_device;
        needs.alone = needs.alone || (!on_device && sweep->cfg->measure.latency.enabled);
    }
    return needs;
}

static sb_rank_facts facts_of(const sb_ranks *ranks, const sb_backends *backends)
{
    sb_rank_facts facts = {.host = sb_host_id()};
    if (ranks->rank > 0 && backends->cuda)
        facts.device = backends->device.id;
    CPU_ZERO(&facts.cores);
    (void)sched_getaffinity(0, sizeof facts.cores, &facts.cores);
    return facts;
}

static sb_status list_workers(const sb_ranks *ranks, const sb_place *places, sb_workers *workers,
                              sb_err *err)
{
    const char *idle = NULL;
    int n_idle = 0;
    for (int r = 0; r < ranks->n; r++) {
        workers->worker_of[r] = places[r].works ? workers->n : -1;
        if (places[r].works)
            workers->rank_of[workers->n++] = r;
        idle = places[r].idle ? places[r].idle : idle;
        n_idle += places[r].idle != NULL;
    }
    if (workers->n == 0)
        return sb_fail(err, SB_UNAVAILABLE, "none of %d ranks can compute: %s", ranks->n, idle);
    if (n_idle > 0 && ranks->rank == 0)
        (void)fprintf(stderr, "%d of %d ranks stay idle: %s\n", n_idle, ranks->n, idle);
    return SB_OK;
}

/* The fewest cores that a worker has, so that all name their cells alike. */
static int threads_for_all(const sb_place *mine)
{
    return least(mine->works ? CPU_COUNT(&mine->cores) : CPU_SETSIZE);
}

sb_status sb_workers_settle(const sb_ranks *ranks, sb_sweep *sweep, sb_backends *backends,
                            sb_run_options *options, sb_workers *workers, sb_err *err)
{
    sb_status st = SB_OK;
    *workers = (sb_workers){0};
    sb_rank_facts *facts = sb_alloc(ranks->n, sizeof *facts);
    sb_place *places = sb_alloc(ranks->n, sizeof *places);
    workers->worker_of = sb_alloc(ranks->n, sizeof *workers->worker_of);
    workers->rank_of = sb_alloc(ranks->n, sizeof *workers->rank_of);
    if (!facts || !places || !workers->worker_of || !workers->rank_of)
        st = sb_no_memory(err, "the ranks");
    SB_TRY(sb_ranks_agree(ranks, st, err));
    share_backends(ranks, backends);
    SB_TRY(sb_ranks_agree(ranks, share_digests(sweep, err), err));
    const sb_rank_facts own = facts_of(ranks, backends);
    MPI_Allgather(&own, sizeof own, MPI_BYTE, facts, sizeof own, MPI_BYTE, MPI_COMM_WORLD);
    const sb_rank_needs needs = needs_of(sweep, backends);
    sb_places(facts, ranks->n, &needs, places);
    SB_TRY(list_workers(ranks, places, workers, err));
    const sb_place *mine = &places[ranks->rank];
    if (mine->works)
        (void)sched_setaffinity(0, sizeof mine->cores, &mine->cores);
    int n_threads = threads_for_all(mine);
    if (options->n_threads == 0)
        options->n_threads = n_threads;
out:
    sb_free(places);
    sb_free(facts);
    return st;
}

void sb_workers_free(sb_workers *workers)
{
    sb_free(workers->rank_of);
    sb_free(workers->worker_of);
    *workers = (sb_workers){0};
}
