#ifndef SB_TABLE_H
#define SB_TABLE_H

#include "harness/results.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Print the finished records to stdout as one table for each capture, dtype and length, layers
 * combined: errors by geometric mean, the rest by mean. Of more than 128 settings those on the
 * Pareto front of FLOPs and error. The first failed and unsupported cells follow with their
 * reasons.
 */
sb_status sb_table_print(const sb_record *records, int64_t n, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
