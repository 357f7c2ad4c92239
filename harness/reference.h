#ifndef SB_REFERENCE_H
#define SB_REFERENCE_H

#include "harness/pattern.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Attention accumulated in float64, for chosen query tokens of every head (B = 1). */
typedef struct sb_reference {
    int64_t n_heads, dim_v;
    int64_t n_rows;
    int64_t *rows; /**< [n_rows] query tokens, ascending, the same for every head */
    float *o;      /**< [H, n_rows, Dv] rounded once from float64 */
    double *lse;   /**< [H, n_rows] */
} sb_reference;

/**
 * softmax(scale q k^T) v in float64 by the definition: two passes over each row, no tiling, no code
 * shared with the kernels. pat == NULL: dense causal; otherwise only keys of the kept blocks.
 * `stop`, where not NULL, is polled: SB_INTERRUPTED when it becomes non-zero. Deterministic for any
 * n_threads. Cost: 2 (D + Dv) FLOPs a pair.
 */
sb_status sb_reference_compute(const sb_problem *p, const sb_inputs *in, const sb_pattern *pat,
                               const int64_t *rows, int64_t n_rows, int n_threads,
                               const volatile int *stop, sb_reference *out, sb_err *err);
/** Allocate a reference of n_rows query tokens, contents unspecified; SB_NO_MEMORY. */
sb_status sb_reference_alloc(int64_t n_heads, int64_t dim_v, int64_t n_rows, sb_reference *ref,
                             sb_err *err);
void sb_reference_free(sb_reference *ref);

/** Save to / load from a cache file. Loading answers SB_OK and *found = false when the file is
 *  absent, foreign, of another key or damaged (its checksum fails). Saving is atomic (rename). */
sb_status sb_reference_save(const sb_reference *ref, const char *path, uint64_t key, sb_err *err);
sb_status sb_reference_load(sb_reference *ref, const char *path, uint64_t key, bool *found,
                            sb_err *err);

/** The first n_rows' part of a reference whose rows are ascending: rows below `limit`, deep copy.
 *  Causality makes it the reference of the shorter prefix. */
sb_status sb_reference_prefix(const sb_reference *ref, int64_t limit, sb_reference *out,
                              sb_err *err);

/** Choose n of `total` query tokens, ascending and distinct, evenly spread with a seeded jitter;
 *  the first and last are always in (n == 1: the last). n == 0 or n >= total: all. Returns the
 * number written; `rows` holds min(n, total), or total when n == 0. */
int64_t sb_sample_rows(int64_t total, int64_t n, uint64_t seed, int64_t *rows);

#ifdef __cplusplus
}
#endif
#endif
