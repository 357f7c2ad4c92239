#ifndef SB_MPI_WORLD_H
#define SB_MPI_WORLD_H

#include <mpi.h>

#include "harness/handout.h"
#include "harness/ranks.h"
#include "harness/runner.h"

/** What a worker says to rank 0. */
typedef enum sb_word {
    SB_WORD_READY, /**< it has no item: the one it had, if any, has ended */
    SB_WORD_HELD,  /**< it holds the inputs and the reference of its item */
    SB_WORD_LEFT   /**< it is done, its part is closed */
} sb_word;

typedef struct sb_message {
    int32_t word;
    int64_t item; /**< of SB_WORD_READY: that has ended, or -1 */
    /* Of SB_WORD_LEFT: how it ended, its cells in all, and its seconds within items and before the
     * answers that gave it one. */
    int32_t status;
    int64_t n_failed, n_unsupported;
    double computed_s, waited_s;
} sb_message;

enum { SB_TAG_WORD = 1, SB_TAG_ITEM };

/** Wait without using the core: it belongs to whoever computes. */
void sb_mpi_await(MPI_Request *request);
/** A word of any worker; false after a doze without one. The last came at since_ms (sb_now_ms). */
bool sb_mpi_receive(double since_ms, sb_message *message, int *from);

/** Who computes, as the ranks decided together. */
typedef struct sb_workers {
    int n;
    int *worker_of; /**< [ranks] the how manieth worker a rank is, or -1 */
    int *rank_of;   /**< [n] */
} sb_workers;

/** Called by all: who computes where, and with what; sets threads, backends and digests that are to
 *  be the same everywhere. */
sb_status sb_workers_settle(const sb_ranks *ranks, sb_sweep *sweep, sb_backends *backends,
                            sb_run_options *options, sb_workers *workers, sb_err *err);
void sb_workers_free(sb_workers *workers);

/** Hand the items out until all workers have left, which they are all told to do when one fails.
 *  SB_INTERRUPTED when asked to stop. */
sb_status sb_mpi_lead(const sb_workers *workers, sb_runner *run, const sb_item *items, int64_t n,
                      sb_err *err);

/** Compute what is handed out, finish and close the part, and leave. */
sb_status sb_mpi_work(sb_runner *run, const sb_item *items, sb_err *err);

#endif
