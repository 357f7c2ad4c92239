#ifndef SB_LAST_QUERIES_H
#define SB_LAST_QUERIES_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * What the last queries of a sequence attend to: the stage that vertical-slash methods share. The
 * last n_queries of the call, or all if there are fewer, so a chunk of a prompt has its own.
 *
 * Source: MInference, arXiv:2407.02490.
 */
typedef struct sb_last_queries {
    int64_t n_queries;
    int64_t n_keys; /**< of the longest sequence */
    int64_t room;   /**< floats of one thread */
    float *thread_room;
} sb_last_queries;

/** Sums over those queries of their causal attention probabilities, in a thread's room until its
 *  next call. */
typedef struct sb_last_sums {
    int64_t n_queries;
    float *column;   /**< [kv_len] by key token */
    float *diagonal; /**< [kv_len] by offset, query - key in tokens */
} sb_last_sums;

sb_status sb_last_queries_plan(const sb_problem *p, int64_t n_queries, int n_threads,
                               sb_last_queries *last, sb_err *err);
void sb_last_queries_free(sb_last_queries *last);

/** Sums of query head h, sequence b. Probabilities below exp(-87) of the row's largest are 0. */
sb_last_sums sb_last_queries_sums(const sb_last_queries *last, const sb_problem *p,
                                  const sb_inputs *in, int64_t b, int64_t h, int worker);

/** FLOPs of the sums of sequence b, all heads. */
double sb_last_queries_flops(const sb_last_queries *last, const sb_problem *p, int64_t b);

#ifdef __cplusplus
}
#endif
#endif
