#ifndef SB_PLOT_PARAMS_H
#define SB_PLOT_PARAMS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A piece of a record's params text, "name=value name=value ...". */
typedef struct sb_span {
    const char *at;
    int n;
} sb_span;

bool sb_span_same(sb_span a, sb_span b);
sb_span sb_span_of(const char *text);

/** Whether all of it is one finite number: *x. */
bool sb_span_number(sb_span s, double *x);

/** Step through a params text from *at: false at its end. Commas within the brackets of a list do
 *  not separate. */
bool sb_param_next(const char **at, sb_span *name, sb_span *value);

/** The value of that name; at == NULL where there is none. */
sb_span sb_param_value(const char *params, sb_span name);

/** Whether a method's parameter is a number of blocks, or what `match` solves for. */
bool sb_param_is_budget(const char *method, sb_span name);

/** A params text without one of its parameters, for sb_free; NULL when memory runs out. */
char *sb_param_without(const char *params, sb_span skip);

/**
 * The parameters that have a value, but `skip` and the method's budgets, in one order whatever that
 * of the text: equal for records that differ in those alone. The method, which may be NULL, leads.
 * For sb_free; NULL when memory runs out.
 */
char *sb_params_key(const char *method, const char *params, sb_span skip);

#ifdef __cplusplus
}
#endif
#endif
