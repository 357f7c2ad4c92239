/* Starting, agreeing and talking. Nobody spins while it waits: ranks share cores with those that
 * compute. */
#include "harness/mpi/world.h"

#include <math.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "harness/timing.h"

/* ---- waiting --------------------------------------------------------------------------------- */

static const double shortest_ms = 0.01, longest_ms = 5;

/* For a sixteenth of the time waited so far: that much may be lost at most when what is waited for
 * comes. */
static void doze(double since_ms)
{
    double ms = fmin(fmax((sb_now_ms() - since_ms) / 16, shortest_ms), longest_ms);
    const struct timespec pause = {.tv_nsec = (long)(ms * 1e6)};
    (void)nanosleep(&pause, NULL);
}

void sb_mpi_await(MPI_Request *request)
{
    int done = 0;
    for (double since_ms = sb_now_ms(); MPI_Test(request, &done, MPI_STATUS_IGNORE), !done;)
        doze(since_ms);
}

bool sb_mpi_receive(double since_ms, sb_message *message, int *from)
{
    MPI_Status status;
    int there = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, SB_TAG_WORD, MPI_COMM_WORLD, &there, &status);
    if (!there) {
        doze(since_ms);
        return false;
    }
    *from = status.MPI_SOURCE;
    MPI_Recv(message, sizeof *message, MPI_BYTE, *from, SB_TAG_WORD, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    return true;
}

/* ---- starting -------------------------------------------------------------------------------- */

/* Without one of these MPI would start each process alone. */
static bool has_manager(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMIX_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (getenv(names[i]))
            return true;
    return false;
}

sb_status sb_ranks_join(sb_ranks *ranks, sb_err *err)
{
    MPI_Comm host;
    int granted;
    *ranks = (sb_ranks){.n = 1};
    if (!has_manager())
        return sb_ranks_launched() == 1
                   ? SB_OK
                   : sb_fail(
                         err, SB_UNAVAILABLE,
                         "one of %d tasks of srun, which do not know of each other; give srun "
                         "--mpi=pmix or what `srun --mpi=list` has, or give each task its --shard",
                         sb_ranks_launched());
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &granted) != MPI_SUCCESS)
        return sb_fail(err, SB_UNAVAILABLE, "MPI does not start");
    (void)prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL); /* ns: a doze is not to last longer */
    MPI_Comm_rank(MPI_COMM_WORLD, &ranks->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks->n);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, ranks->rank, MPI_INFO_NULL, &host);
    int mine = ranks->rank != 0, up_to_mine;
    MPI_Scan(&mine, &up_to_mine, 1, MPI_INT, MPI_SUM, host);
    ranks->local = up_to_mine - mine;
    MPI_Comm_free(&host);
    return SB_OK;
}

void sb_ranks_leave(void)
{
    int begun, ended;
    MPI_Initialized(&begun);
    MPI_Finalized(&ended);
    if (begun && !ended)
        MPI_Finalize();
}

sb_status sb_ranks_agree(const sb_ranks *ranks, sb_status mine, sb_err *err)
{
    MPI_Request request;
    if (ranks->n == 1)
        return mine;
    int failed = mine == SB_OK ? ranks->n : ranks->rank, first;
    MPI_Iallreduce(&failed, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD, &request);
    sb_mpi_await(&request);
    if (first == ranks->n)
        return SB_OK;
    sb_err theirs = *err;
    theirs.status = mine;
    MPI_Ibcast(&theirs, sizeof theirs, MPI_BYTE, first, MPI_COMM_WORLD, &request);
    sb_mpi_await(&request);
    *err = (sb_err){0};
    if (first == 0 || theirs.status == SB_USAGE)
        return sb_fail(err, theirs.status, "%s", theirs.msg);
    return sb_fail(err, theirs.status, "rank %d: %.480s", first, theirs.msg);
}
