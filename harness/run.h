#ifndef SB_RUN_H
#define SB_RUN_H

#include "harness/backend.h"
#include "harness/cells.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sb_run_options {
    const char *out_dir;
    const sb_backends *backends;
    int n_threads;
    bool fresh;
    bool quiet;
} sb_run_options;

/** What a run did. */
typedef struct sb_run_summary {
    int64_t n_cells, n_reused, n_failed, n_unsupported;
} sb_run_summary;

/**
 * Compute every cell that the run directory does not hold yet, in order, and make each durable when
 * it is done. Progress goes to stderr unless quiet: a bar with the time left on a terminal, plain
 * lines elsewhere. `stop` (set by a signal handler) ends the run with SB_INTERRUPTED, resumable.
 */
sb_status sb_run(const sb_sweep *sweep, const sb_run_options *options, const volatile int *stop,
                 sb_run_summary *summary, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
