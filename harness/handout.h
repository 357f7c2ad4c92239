#ifndef SB_HANDOUT_H
#define SB_HANDOUT_H

#include "harness/items.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Who computes what next, where one process hands items out to workers that ask for them. A worker
 * stays with the shape whose inputs it holds, dearest item first. When that is exhausted it begins
 * a reference that nobody has begun, or else goes where most is left for each worker. While a
 * reference is computed its shapes are for that worker alone: others go elsewhere, or wait.
 *
 * It knows no clock and no transport: it decides in the order of the calls alone. Nobody is idle
 * while there is something for him, so that without costs of the hand-out m workers need at most
 * (all seconds) / m + (1 - 1/m) * (the longest reference and item after it); the best order needs
 * at least either. An answer takes O(log shapes), but for what begins or ends a reference, which
 * takes that for each shape that shares it.
 */
typedef struct sb_handout sb_handout;

enum {
    SB_HANDOUT_WAIT = -1, /**< nothing for this worker or any that waits, until one holds or ends */
    SB_HANDOUT_DONE = -2  /**< nothing any more: all are handed out */
};

/** Items in run order, which it does not keep; workers are 0 to n_workers - 1. SB_NO_MEMORY. */
sb_status sb_handout_open(const sb_item *items, int64_t n, int64_t n_workers, sb_handout **handout,
                          sb_err *err);
void sb_handout_close(sb_handout *handout);

/** The next item of a worker that has none: its index, SB_HANDOUT_WAIT or SB_HANDOUT_DONE. */
int64_t sb_handout_next(sb_handout *handout, int64_t worker);

/** The worker, which has an item, holds the inputs and the reference of its shape; so others can.
 */
void sb_handout_held(sb_handout *handout, int64_t worker);

/** The worker, which had an item, has none any more; what it held it holds. A reference that it was
 * to compute and did not hold counts as not begun. */
void sb_handout_ended(sb_handout *handout, int64_t worker);

#ifdef __cplusplus
}
#endif
#endif
