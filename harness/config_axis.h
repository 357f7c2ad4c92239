#ifndef SB_CONFIG_AXIS_H
#define SB_CONFIG_AXIS_H

#include "harness/yaml.h"
#include "methods/method.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SB_MAX_AXIS = 100000 };

/** What reading values needs to know about the config they stand in. */
typedef struct sb_scope {
    const char *path;      /**< of the config; CSV files may lie beside it */
    struct sb_arena *keep; /**< lives as long as the config: lists */
    struct sb_arena *temp; /**< lives until the config is expanded: axes */
} sb_scope;

/** The values that one parameter takes in turn. */
typedef struct sb_axis {
    int64_t n; /**< at least 1, at most SB_MAX_AXIS */
    const sb_value *values;
} sb_axis;

/**
 * Read what stands for a parameter: one value; a list of values; {range: [start, stop, step]},
 * stop included; {logspace: [first, last, count]}, geometric, both ends included, rounded to
 * distinct whole numbers for SB_INT and for an SB_BUDGET in blocks. For SB_LIST one value is a list
 * of numbers or the path of a CSV file, and an axis a list of those. Values are checked against
 * the parameter's type and range. Errors carry the node's position.
 */
sb_status sb_axis_read(const sb_scope *scope, const sb_param *param, const sb_node *node,
                       sb_axis *axis, sb_err *err);

/** Read exactly one value. */
sb_status sb_axis_read_one(const sb_scope *scope, const sb_param *param, const sb_node *node,
                           sb_value *value, sb_err *err);

/** The node that value i of the axis was read from. */
const sb_node *sb_axis_node(const sb_axis *axis, const sb_node *node, int64_t i);

#ifdef __cplusplus
}
#endif
#endif
