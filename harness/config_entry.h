#ifndef SB_CONFIG_ENTRY_H
#define SB_CONFIG_ENTRY_H

#include "harness/config_axis.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a config gives for one parameter of a method. */
typedef struct sb_assignment {
    int param; /**< index in the method's table */
    int zip;   /**< the group it is paired with, or -1 */
    const sb_node *node;
    sb_axis axis;
    int64_t stride; /**< variants of the entry until the axis moves on */
} sb_assignment;

/** One element of `methods:`, its parameters in the order of the file. */
typedef struct sb_entry {
    const sb_method *method;
    const sb_node *node;
    int n;
    sb_assignment *list; /**< each parameter at most once */
    double n_variants;   /**< the product of its axes; exact while it matters */
} sb_entry;

/** A parameter, or a mapping of them, that --set gives to every entry of a method. */
typedef struct sb_override {
    const sb_method *method;
    const char *name; /**< as in the table, or the mapping's prefix; "" for a whole mapping */
    const sb_node *node;
} sb_override;

/** The method that a node names; an unknown one is an error with the nearest name. */
sb_status sb_method_from_node(const sb_node *name, const sb_method **method, sb_err *err);

/**
 * Read an element of `methods:`, with `block` (may be NULL) for a method that has a parameter of
 * that name and no value for it, and the overrides of its method applied.
 */
sb_status sb_entry_read(const sb_scope *scope, const sb_node *node, const sb_node *block,
                        const sb_override *overrides, int64_t n_overrides, sb_entry *entry,
                        sb_err *err);

/** Set the values [n_params] that overrides of method m give, one value each; the others stay as
 *  they are. */
sb_status sb_values_from_overrides(const sb_scope *scope, const sb_method *m,
                                   const sb_override *overrides, int64_t n_overrides,
                                   sb_value *values, sb_err *err);

/** Set the values [n_params] of variant i of the entry; the others stay as they are. */
void sb_entry_values(const sb_entry *entry, int64_t i, sb_value *values);

#ifdef __cplusplus
}
#endif
#endif
