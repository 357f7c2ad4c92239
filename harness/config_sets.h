#ifndef SB_CONFIG_SETS_H
#define SB_CONFIG_SETS_H

#include "harness/config_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One "--set key=value", parsed. */
typedef struct sb_set {
    const char *key;
    const sb_node *value;
} sb_set;

/** Parse `text`; everything is owned by `arena`, and errors start with option ("--set ") and text.
 */
sb_status sb_set_parse(const char *option, const char *text, struct sb_arena *arena, sb_set *set,
                       sb_err *err);

/**
 * Apply `sets` to a config. Those whose key starts with one of `keys` replace or add that value in
 * *root, which becomes a new tree; those whose key starts with a method's name go to `overrides`
 * [at least n_sets], *n_overrides of them.
 */
sb_status sb_sets_apply(const sb_set *sets, int64_t n_sets, const char *const *keys, int n_keys,
                        struct sb_arena *arena, const sb_node **root, sb_override *overrides,
                        int64_t *n_overrides, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
