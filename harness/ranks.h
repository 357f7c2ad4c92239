#ifndef SB_RANKS_H
#define SB_RANKS_H

#include "harness/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The processes of one sweep that an MPI launcher started together. harness/mpi holds what an MPI
 * build does; any other build has ranks_absent.c in its place.
 */

typedef struct sb_ranks {
    int rank, n; /**< n == 1: alone, MPI is not in use */
    int local;   /**< which worker of its host this is, from 0; rank 0 is no worker */
} sb_ranks;

/** The number of processes that Open MPI's, MPICH's or Slurm's launcher says it started; 1 without
 *  one. */
int sb_ranks_launched(void);

/** Start MPI where a launcher started this process; SB_UNAVAILABLE when it started several and this
 *  build has no MPI. Leave in any case. */
sb_status sb_ranks_join(sb_ranks *ranks, sb_err *err);
void sb_ranks_leave(void);

/** Called by all: SB_OK on all ranks when it is on all, else on all the error of the first rank
 *  that has one. */
sb_status sb_ranks_agree(const sb_ranks *ranks, sb_status mine, sb_err *err);

/**
 * Called by all: compute a sweep, as sb_run does. Rank 0 hands out cells; each other rank that has
 * a place (sb_places) computes them into a part of its own, "rank-K", with options->n_threads or,
 * where that is 0, as many threads as it has cores. In the end rank 0 merges the parts, if all went
 * well, and knows the summary. Rank 0's backends become those of the ranks that compute.
 */
sb_status sb_ranks_run(const sb_ranks *ranks, sb_sweep *sweep, sb_backends *backends,
                       sb_run_options *options, const volatile int *stop, sb_run_summary *summary,
                       sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
