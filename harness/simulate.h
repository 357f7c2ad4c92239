#ifndef SB_SIMULATE_H
#define SB_SIMULATE_H

#include "harness/items.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What handing out costs, beside the work. */
typedef struct sb_handout_costs {
    double hand_out_s;    /**< that the one who hands out is occupied by a message, one at a time */
    double reply_s;       /**< that a worker waits besides, from asking to having the item */
    const double *hold_s; /**< [shape] to read its inputs; NULL: nothing */
} sb_handout_costs;

/** How a sweep went on a simulated clock. */
typedef struct sb_simulated {
    double wall_s;
    double busy;          /**< share of the workers' time that went into items and references */
    double hand_out_busy; /**< share of the time of the one who hands out */
    int64_t n_holds;      /**< shapes read, each as often as a worker took it up */
} sb_simulated;

/**
 * Play a sweep's hand-out (harness/handout.h) with n_workers >= 1, event by event: items in run
 * order, each as long as estimated, each reference as long as that of the longest shape.
 * O((items + workers) log workers). SB_NO_MEMORY.
 */
sb_status sb_simulate(const sb_item *items, int64_t n, int64_t n_workers,
                      const sb_handout_costs *costs, sb_simulated *result, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
