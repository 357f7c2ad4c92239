#ifndef SB_MERGE_H
#define SB_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sb_merge_summary {
    int64_t n_parts;
    int64_t n_cells;   /**< of the whole sweep */
    int64_t n_missing; /**< of these */
} sb_merge_summary;

/**
 * Take the records of all parts of a run directory, and those that it holds itself, into its
 * results.h5 and results.csv, one for each cell, in order; then remove the parts. Until the merged
 * results are durable the parts stay as they are, so a kill at any moment loses nothing and the
 * same call continues. Hosts become numbers from 0 in the column `node`. Without parts left, it
 * does nothing.
 *
 * Of two records of a cell one that did not fail is taken, then the later one. Records of RUN
 * itself that are of another build or other data than the parts go.
 *
 * SB_USAGE when it is no run directory; SB_BAD_DATA naming a part whose config, data or build is
 * not that of the others; SB_REGRESSED (exit 1) naming cells that are missing, unless `force`;
 * SB_IO, also while a process still writes there.
 */
sb_status sb_merge(const char *run_path, bool force, sb_merge_summary *summary, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
