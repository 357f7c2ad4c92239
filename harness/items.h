#ifndef SB_ITEMS_H
#define SB_ITEMS_H

#include "harness/backend.h"
#include "harness/cells.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What turns work into seconds. */
typedef struct sb_rates {
    double flops[2];        /**< FLOP/s of attention, by backend */
    double reference_flops; /**< of float64 references */
} sb_rates;

/** The same on every machine, so that all shards of a sweep divide it alike. */
sb_rates sb_rates_nominal(void);

/** What this machine may be expected to reach. */
sb_rates sb_rates_here(const sb_sweep *sweep, const sb_backends *backends, int n_threads);

/** A piece of work that is done as a whole by one process: cells of a shape that are timed against
 *  each other, or else a single cell. */
typedef struct sb_item {
    int64_t shape, first, n; /**< variants [first, first + n) */
    double seconds;          /**< estimated, reference excluded */
    int64_t layer;           /**< first shape of those that share its reference */
    double reference_s;      /**< to compute the reference of its shape */
} sb_item;

/**
 * List the work of a sweep in run order: *items, for sb_free. It depends on the config, the
 * captures and the backends alone, not on what is finished. SB_NO_MEMORY.
 */
sb_status sb_items_make(const sb_sweep *sweep, const sb_backends *backends, const sb_rates *rates,
                        sb_item **items, int64_t *n, sb_err *err);

/** Seconds that one process needs for items in run order: each reference is computed once, at the
 *  longest of the shapes that share it. */
double sb_items_seconds(const sb_item *items, int64_t n);

/** What a process has met of items in run order. */
typedef struct sb_load {
    double seconds;
    int64_t layer; /**< of the last item; -1 before the first */
    double reference_s;
} sb_load;

/** Seconds that one more item adds to a load, with what it adds to its reference. */
double sb_load_added(const sb_load *load, const sb_item *item);
void sb_load_add(sb_load *load, const sb_item *item);

#ifdef __cplusplus
}
#endif
#endif
