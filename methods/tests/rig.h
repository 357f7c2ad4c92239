#ifndef SB_TESTS_RIG_H
#define SB_TESTS_RIG_H

/* What the method tests share: seeded inputs, parameters as text, one selection in one call. */

#include "harness/pattern.h"
#include "methods/method.h"
#include "methods/tests/oracle.h"

enum { SB_RIG_BATCH = 2 };

/** A shape; zero lengths mean: q_len = kv_len, prompt_len = kv_len. */
typedef struct sb_rig_shape {
    int64_t n_batch, n_heads, n_kv_heads, dim, dim_v;
    int64_t kv_len[SB_RIG_BATCH], q_len[SB_RIG_BATCH], prompt_len[SB_RIG_BATCH];
    sb_dtype dtype;
    uint64_t seed;
} sb_rig_shape;

/** A problem with its inputs. Tokens past a sequence's length are NaN. */
typedef struct sb_rig {
    sb_problem problem;
    sb_inputs in;
    void *q, *k, *v;
    int64_t q_lens[SB_RIG_BATCH], kv_lens[SB_RIG_BATCH], prompt_lens[SB_RIG_BATCH];
} sb_rig;

/**
 * Fill a rig: q and k follow topics that change along the sequence, value norms vary by a factor
 * of 8 between spans, about 1. Token j of a kv head depends on the seed and j alone, so a shorter
 * rig of the same seed holds a prefix of a longer one's keys. The rig must stay where it is.
 */
void sb_rig_make(sb_rig *rig, const sb_rig_shape *shape);

/** As sb_rig_make, but key token j is (j / block) in its first channel, queries are 1 there, the
 *  rest is 0: the score grows with the block index. Dtype float32. */
void sb_rig_make_rising(sb_rig *rig, int64_t kv_len, int64_t q_len, int64_t prompt_len,
                        int64_t block);
void sb_rig_free(sb_rig *rig);

/**
 * Parse "name=value name=value" (a list as [1,2]) and resolve. Lists live in a static buffer
 * until the next call.
 */
sb_status sb_rig_values(const sb_method *m, const char *text, sb_value *values, sb_err *err);

/** Plan and select with n_threads. The pattern is the caller's; NULL plan: destroyed here. */
sb_status sb_rig_select(const sb_method *m, const char *text, const sb_rig *rig, int n_threads,
                        sb_pattern *pat, sb_plan **plan, sb_err *err);

/** Kept blocks of one list, and whether J is among them. */
int64_t sb_rig_count(const sb_pattern *pat, int64_t b, int64_t h, int64_t r);
bool sb_rig_keeps(const sb_pattern *pat, int64_t b, int64_t h, int64_t r, int64_t J);

/** Tokens kept of key block J in one list: all bits in a pattern of whole blocks, 0 where J is not
 *  among the list. */
uint64_t sb_rig_tokens(const sb_pattern *pat, int64_t b, int64_t h, int64_t r, int64_t J);

/** Same lists and tokens, bit for bit. */
bool sb_rig_same(const sb_pattern *a, const sb_pattern *b);

#endif
