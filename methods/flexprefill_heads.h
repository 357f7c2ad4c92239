#ifndef SB_FLEXPREFILL_HEADS_H
#define SB_FLEXPREFILL_HEADS_H

#include "methods/last_queries.h"
#include "methods/stages.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What FlexPrefill decides a head's blocks with: flexprefill.c says how. */
typedef struct sb_flex_heads {
    int64_t block, min_blocks;
    double gamma, tau;
    int64_t n_blocks;  /**< key blocks of the longest sequence */
    int64_t head_room; /**< causal blocks of a head, at most */
    int64_t n_sorted;  /**< values sorted at once, at most */
    int64_t n_pooled;  /**< floats of one thread in `pooled` */
    sb_score score;    /**< of mean-pooled blocks */
    sb_last_queries last;
    /* Each thread's room. */
    float *pooled;  /**< [n_threads, n_pooled] */
    float *value;   /**< [n_threads, head_room] */
    uint64_t *sort; /**< [n_threads, 2 n_sorted] */
    int32_t *order; /**< [n_threads, n_sorted] */
} sb_flex_heads;

/** Allocate; block, min_blocks, gamma and tau are set. */
sb_status sb_flex_plan(const sb_problem *p, int n_threads, sb_flex_heads *s, sb_err *err);
void sb_flex_free(sb_flex_heads *s);

/** Causal blocks of rows 0 .. n_rows - 1 of a head whose first row is query block `first`. */
static inline int64_t sb_flex_room(int64_t first, int64_t n_rows)
{
    return n_rows * first + n_rows * (n_rows + 1) / 2;
}

/** Mark the blocks that head h of sequence b keeps in keep [head_room], row by row the causal ones,
 *  after sb_score_keys. Returns whether the head is query-aware. */
bool sb_flex_choose(const sb_flex_heads *s, const sb_problem *p, const sb_inputs *in, int64_t b,
                    int64_t h, int worker, bool *keep);

/** FLOPs of sequence b, of whose heads n_aware are query-aware. */
double sb_flex_flops(const sb_flex_heads *s, const sb_problem *p, int64_t b, int64_t n_aware);

#ifdef __cplusplus
}
#endif
#endif
