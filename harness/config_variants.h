#ifndef SB_CONFIG_VARIANTS_H
#define SB_CONFIG_VARIANTS_H

#include "harness/config.h"
#include "harness/config_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Variants and, for messages, the entry of `methods:` that each came from. */
typedef struct sb_variants {
    int64_t n;
    sb_variant *list;
    const sb_node **from;
} sb_variants;

enum { SB_MAX_CELLS = 500000 }; /**< variants that a config may expand to */

/**
 * Expand the list `methods` into resolved, distinct variants: entries in the order of the file,
 * within an entry the first axis slowest and that of `block` (may be NULL) before it. Their list is
 * allocated from `into`.
 */
sb_status sb_variants_expand(const sb_scope *scope, const sb_node *methods, const sb_node *block,
                             const sb_override *overrides, int64_t n_overrides,
                             struct sb_arena *into, sb_variants *out, sb_err *err);

/**
 * Give each variant of another method that has a parameter to solve for, once for each variant of
 * method `to` (with the same block), that variant as its target, and leave the parameter to
 * solve as SB_VALUE_AUTO. Variants that differ in it alone, or in budgets that it overrides as a
 * budget itself, become one, the first. `node` is where the match stands, for messages.
 */
sb_status sb_variants_match(const sb_scope *scope, const sb_method *to, const sb_node *node,
                            sb_variants *variants, sb_err *err);

/** For each variant the index of the first equal one, which is its own if there is none before.
 *  Targets are not compared. NULL when memory runs out. */
int64_t *sb_variants_first(const sb_variants *variants, struct sb_arena *arena);

/** Fail when n is more than SB_MAX_CELLS; `node` is what makes so many. */
sb_status sb_variants_check_count(double n, const sb_node *node, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
