#ifndef SB_RUN_H
#define SB_RUN_H

#include "harness/backend.h"
#include "harness/cells.h"
#include "harness/shard.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sb_run_options {
    const char *out_dir;
    const sb_backends *backends;
    int n_threads;
    bool fresh;
    bool quiet;
    bool retry;       /**< failed cells again */
    const char *part; /**< write to this part of the run directory; NULL: to all of it */
} sb_run_options;

/** What a run did. */
typedef struct sb_run_summary {
    int64_t n_cells, n_reused, n_failed, n_unsupported;
} sb_run_summary;

/**
 * Compute every cell that neither the run directory nor a part of it holds yet, in order, and make
 * each durable when it is done; of a shard (shard.n > 0) its own cells, into the part that
 * options->part names. Progress goes to stderr unless quiet: a bar with the time left on a
 * terminal, plain lines elsewhere. `stop` (set by a signal handler) ends the run with
 * SB_INTERRUPTED, resumable.
 */
sb_status sb_run(const sb_sweep *sweep, const sb_run_options *options, sb_shard shard,
                 const volatile int *stop, sb_run_summary *summary, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
