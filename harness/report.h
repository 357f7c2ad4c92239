#ifndef SB_REPORT_H
#define SB_REPORT_H

#include <stdint.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Write all records of a run directory to `path` (replaced as a whole) as one HTML file that needs
 * nothing else: a summary, and for its scripts the records, curves and pattern maps. The patterns
 * of single heads are selected again on the CPU, from the captures that the records name; where
 * that cannot be done the stored mean over heads stands in, and the page says why. The same results
 * and captures give the same bytes, of which there are *n_bytes. Takes as long as selecting once
 * what is shown, and exact attention once for each layer and length. SB_BAD_DATA when run_dir holds
 * no results, SB_IO when the file cannot be written.
 */
sb_status sb_report_write(const char *run_dir, const char *path, int n_threads, int64_t *n_bytes,
                          sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
