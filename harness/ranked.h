#ifndef SB_RANKED_H
#define SB_RANKED_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** An item by its cost; `item` is its place in run order. */
typedef struct sb_ranked {
    double seconds;
    int64_t item;
} sb_ranked;

/** Order by seconds, dearest first; where equal, in run order. */
void sb_rank_dearest_first(sb_ranked *ranked, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
