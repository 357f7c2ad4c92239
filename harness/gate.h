#ifndef SB_GATE_H
#define SB_GATE_H

#include "harness/compare.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a gate can ask of a metric; a relative limit is a share of the baseline's value. */
enum sb_limit_kind {
    SB_LIMIT_MAX,
    SB_LIMIT_MIN,
    SB_LIMIT_INCREASE,
    SB_LIMIT_DECREASE,
    SB_LIMIT_ABS_INCREASE,
    SB_LIMIT_ABS_DECREASE,
    SB_N_LIMITS
};
extern const char *const sb_limit_names[SB_N_LIMITS];

/** One condition on every cell of a scope. */
typedef struct sb_gate {
    const char *name;
    int32_t line;
    const sb_column *column; /**< a real number; NULL: the mask hash equals the baseline's */
    sb_where where;
    double limits[SB_N_LIMITS]; /**< NaN: none */
    int64_t min_cells;          /**< fewer cells than these fail the gate */
} sb_gate;

/** A gate file. */
typedef struct sb_gates {
    const char *path;
    struct sb_arena *arena; /**< owns the rest */
    int64_t n;
    sb_gate *list;
} sb_gates;

/**
 * Read a gate file: {gates: [{metric: rel_l2, where: {method: stem}, max_increase: 0.02}, ...]}.
 * SB_USAGE "file:line:col: what; expected what", or when there is no such file; SB_IO when it
 * cannot be read. End with sb_gates_free, on errors too.
 */
sb_status sb_gates_load(const char *path, sb_gates *gates, sb_err *err);
sb_status sb_gates_parse(const char *text, size_t n_bytes, const char *path, sb_gates *gates,
                         sb_err *err);
void sb_gates_free(sb_gates *gates);

enum { SB_GATE_SHOWN = 5 };

/** A cell that does not pass a gate. */
typedef struct sb_gate_miss {
    int64_t pair;
    double excess; /**< beyond the limit, in its units; infinite where there is no value */
    char why[200];
} sb_gate_miss;

/** How a gate ended. */
typedef struct sb_gate_result {
    bool failed;
    int64_t n_cells;     /**< looked at */
    int64_t n_missed;    /**< that do not pass */
    int64_t n_ambiguous; /**< whose interval holds the limit: neither passed nor missed */
    int n_shown;
    sb_gate_miss shown[SB_GATE_SHOWN]; /**< the worst ones, worst first */
} sb_gate_result;

/**
 * Hold a comparison against a gate. Cells that are missing, resolved differently, failed or without
 * a value do not pass; those unsupported in both runs are not looked at, nor are extra ones by a
 * gate that needs a baseline. total_ms is judged by its interval, and a cell whose interval holds
 * the limit is counted as ambiguous. Changes of times between machines do not pass, unless the
 * comparison was forced.
 */
void sb_gate_judge(const sb_gate *gate, const sb_comparison *c, sb_gate_result *result);

#ifdef __cplusplus
}
#endif
#endif
