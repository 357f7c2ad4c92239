#ifndef SB_SHARD_H
#define SB_SHARD_H

#include "harness/items.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SB_MAX_SHARDS = 100000 };

/** One of the n processes, i from 1 to n, that share a sweep without talking to each other. */
typedef struct sb_shard {
    int64_t i, n; /**< n == 0: no shards */
} sb_shard;

/** Parse "i/n". SB_USAGE. */
sb_status sb_shard_parse(const char *text, sb_shard *shard, sb_err *err);

/**
 * Divide items in run order among shards: of_item[i], 0-based, for items[i]. Two ways are tried and
 * the one is taken whose slowest shard ends first, float64 references included: runs of neighbours,
 * so that few shards need the same reference, and dearest first onto the least loaded. The same for
 * the same items. SB_NO_MEMORY.
 */
sb_status sb_shard_assign(const sb_item *items, int64_t n, int64_t n_shards, int32_t *of_item,
                          sb_err *err);

/** Seconds that each shard needs for its items: seconds[n_shards]. SB_NO_MEMORY. */
sb_status sb_shard_seconds(const sb_item *items, int64_t n, const int32_t *of_item,
                           int64_t n_shards, double *seconds, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
