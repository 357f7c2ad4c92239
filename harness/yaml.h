#ifndef SB_YAML_H
#define SB_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sb_arena;

typedef enum sb_node_kind { SB_NODE_SCALAR, SB_NODE_LIST, SB_NODE_MAP } sb_node_kind;

/** A value of a YAML document. Aliased nodes are shared, so nodes are never changed once made. */
typedef struct sb_node {
    sb_node_kind kind;
    bool plain;         /**< a scalar without quotes: may be a number, a bool or null */
    int32_t line, col;  /**< 1-based; line 0: origin alone tells where */
    const char *origin; /**< file name, or "--set key=value" */
    const char *text;   /**< of a scalar, else "" */
    int64_t n;          /**< elements of a list, pairs of a map */
    const struct sb_node *const *items; /**< list [n]; map [n][2]: key (a scalar), value */
    int64_t size;                       /**< nodes in this tree, aliased ones counted each time */
    int32_t height;                     /**< 1 for a scalar or an empty collection */
} sb_node;

/**
 * Parse one YAML document into nodes owned by `arena`. `origin` must outlive them; `positions`
 * gives nodes a line and column. Refused as SB_USAGE: malformed YAML, bytes that are not UTF-8,
 * no or several documents, nesting deeper than 32, more than 256 anchors, more than 1e6 nodes once
 * aliases are followed. Tags are ignored.
 */
sb_status sb_yaml_parse(const char *text, size_t n_bytes, const char *origin, bool positions,
                        struct sb_arena *arena, const sb_node **root, sb_err *err);

/** Record "origin:line:col: ..." and return SB_USAGE. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
sb_status
sb_node_fail(const sb_node *node, sb_err *err, const char *fmt, ...);

/** As sb_node_fail: "unknown WHAT 'word'; did you mean 'x'?", or what is known. */
sb_status sb_node_unknown(const sb_node *node, const char *what, const char *word,
                          const char *const *known, int n_known, sb_err *err);

/**
 * Sort the values of a map by key: found[i] is the value of names[i], or NULL. A node that is no
 * map, unknown keys and duplicate keys are errors.
 */
sb_status sb_node_fields(const sb_node *node, const char *what, const char *const *names, int n,
                         const sb_node **found, sb_err *err);

/** "a list", "a mapping", "empty" or the quoted text, cut to fit. Returns buf. */
const char *sb_node_describe(const sb_node *node, char *buf, size_t bytes);

bool sb_node_is_null(const sb_node *node);

/** Whether it is the unquoted scalar `word`. */
bool sb_node_is(const sb_node *node, const char *word);

/** Whether it is true or false; *value tells which. */
bool sb_node_bool(const sb_node *node, bool *value);

/** Whether it is a finite decimal number; *x gets it. */
bool sb_node_number(const sb_node *node, double *x);

#ifdef __cplusplus
}
#endif
#endif
