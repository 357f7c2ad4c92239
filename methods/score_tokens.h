#ifndef SB_SCORE_TOKENS_H
#define SB_SCORE_TOKENS_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Floats that one thread's scoring needs as room. */
int64_t sb_token_room(const sb_problem *p);

/**
 * out[r n_out + j] = gain[r] <x[r], k[j]> for r < n_rows and the first n_keys keys of a kv head of
 * sequence b; x [n_rows, sb_pad_lanes(D)] with zero pads. Many rows at once share the conversion of
 * the keys.
 */
void sb_score_tokens(const sb_problem *p, const sb_inputs *in, int64_t b, int64_t kv_head,
                     const float *x, int64_t n_rows, const float *gain, int64_t n_keys, float *room,
                     int64_t n_out, float *out);

/** The address of token t of head `head` (over all sequences) in x [.., n_tokens, D]. */
static inline const void *sb_token_at(const sb_problem *p, const void *x, int64_t head,
                                      int64_t n_tokens, int64_t t)
{
    return (const char *)x + (size_t)((head * n_tokens + t) * p->dim) * sb_dtype_bytes(p->dtype);
}

#ifdef __cplusplus
}
#endif
#endif
