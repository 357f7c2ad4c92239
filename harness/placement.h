#ifndef SB_PLACEMENT_H
#define SB_PLACEMENT_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a rank says of where it runs. */
typedef struct sb_rank_facts {
    int64_t host;    /**< sb_host_id() */
    uint64_t device; /**< the CUDA device that it would compute on (sb_cuda_device.id); 0: none */
    cpu_set_t cores; /**< that it may use */
} sb_rank_facts;

/** What the ranks of a sweep need. */
typedef struct sb_rank_needs {
    bool device; /**< some cells run on CUDA */
    bool alone;  /**< cells on the CPU are timed: one worker of a host at a time */
} sb_rank_needs;

/** What becomes of a rank. */
typedef struct sb_place {
    bool works;
    const char *idle; /**< why it does not; NULL where it works, and of rank 0 */
    cpu_set_t cores;  /**< that it computes on; where it does not work, all that it may use */
} sb_place;

/**
 * Rank 0 hands out, the others (all, where there is one) compute: places [n]. A worker without a
 * device where one is needed, with one that an earlier worker of its host has, or beside an earlier
 * worker of its host where one computes alone, stays idle. Workers of a host that may use the same
 * cores divide them, neighbours together, each having one at least; those that the launcher gave
 * different ones keep them. Time: n^2.
 */
void sb_places(const sb_rank_facts *facts, int n, const sb_rank_needs *needs, sb_place *places);

#ifdef __cplusplus
}
#endif
#endif
