#ifndef SB_METHOD_H
#define SB_METHOD_H

#include "harness/pattern.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- parameters ------------------------------------------------------------------------- */

typedef enum sb_param_type {
    SB_INT,    /**< a whole number in [min, max] */
    SB_REAL,   /**< a number in [min, max], or in (min, max] when min_open */
    SB_BUDGET, /**< a whole number >= 1 (blocks) or a number in (0, 1) (a share of n blocks) */
    SB_CHOICE, /**< one of `choices` */
    SB_LIST    /**< a list of numbers, each in [min, max] */
} sb_param_type;

enum { SB_MAX_VARIANTS = 4, SB_MAX_PARAMS = 24 };

/** One row of a method's parameter table: help, docs, parsing and tests all read it. */
typedef struct sb_param {
    const char *name; /**< as in YAML and --set; a dot descends into a YAML mapping */
    sb_param_type type;
    double min, max;     /**< of a number, or of each list element */
    bool min_open;       /**< min itself is excluded */
    bool optional;       /**< "none" (unset) is allowed */
    int solve;           /**< the one that `match` solves for: +1 where a larger value keeps more,
                              -1 where it keeps less, never the other way round; else 0 */
    const char *choices; /**< SB_CHOICE: "a|b|c" */
    /** Default as text, "auto" where the method derives it from the shape, "none" where unset.
     *  One entry for all variants, or one for each choice of the parameter `variant`, in order. */
    const char *fallback[SB_MAX_VARIANTS];
    const char *doc;
} sb_param;

typedef enum sb_value_state {
    SB_VALUE_DEFAULT = 0, /**< not given: to be resolved */
    SB_VALUE_SET,
    SB_VALUE_AUTO, /**< the method decides */
    SB_VALUE_NONE  /**< explicitly absent */
} sb_value_state;

/** The value of one parameter. */
typedef struct sb_value {
    sb_value_state state;
    int32_t n_list;
    double num;         /**< number, or index of the choice */
    const double *list; /**< SB_LIST: n_list numbers, owned by whoever made the value */
} sb_value;

/* ---- methods ---------------------------------------------------------------------------- */

typedef struct sb_method sb_method;
struct sb_attend_kernel;

/** What every method's plan starts with. */
typedef struct sb_plan {
    const sb_method *method;
    sb_problem problem; /**< lengths arrays copied */
    sb_exec exec;
    int64_t block;            /**< of the pattern; 0 for a method without one (dense) */
    int64_t pattern_capacity; /**< blocks that select() can emit at most, over all heads */
    double select_flops;      /**< spent by one select(), set by plan or select; comparisons
                                   count as 1 */
    bool keep_all;            /**< the pattern is every causal block, whatever the inputs */
    bool tokens;              /**< the pattern is one of tokens: sb_pattern_add_tokens */
    /** Token pairs that the selection as published attends, where that is not what runs (a form in
     *  whole blocks): set by select, over all heads. Else 0. */
    double published_pairs;
    const struct sb_attend_kernel *kernel; /**< the shared CPU kernel that attends, or NULL */
    void *kernel_scratch;
    struct sb_cuda_select_plan *cuda_select; /**< set by a method that selects on the device */
    struct sb_plan_cuda *cuda;               /**< what attends on the device; NULL on the CPU */
    char kernel_name[48];                    /**< what attends, as recorded in results */
} sb_plan;

/**
 * A way to attend: it selects a pattern, then attends over it. `plan` allocates everything for a
 * shape; `select` and `attend` allocate nothing and are timed apart.
 */
struct sb_method {
    const char *name;
    const char *doc;    /**< one line */
    const char *source; /**< citation */
    const sb_param *params;
    int n_params;
    /** Whether a longer prompt leaves the patterns of earlier rows as they are, with the budget's
     *  prompt length held fixed; NULL-able: NULL means yes for all parameters. */
    bool (*append_invariant)(const sb_value *values);
    /** Check what concerns several values together; SB_USAGE. May be NULL. */
    sb_status (*check)(const sb_value *values, sb_err *err);
    /** SB_UNSUPPORTED with a reason where the shape cannot be served. May be NULL: all shapes. */
    sb_status (*supports)(const sb_problem *p, const sb_value *values, sb_err *err);
    /** Kept causal blocks of one head, predicted without data, for estimates. NULL: all. */
    double (*expected_blocks)(const sb_problem *p, const sb_value *values);
    /** Allocate the method's plan. Sets block, pattern_capacity and, where known, select_flops. On
     *  CUDA it may set cuda_select, and then `select` is not called; else `select` runs on the CPU.
     */
    sb_status (*plan)(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                      sb_plan **plan, sb_err *err);
    /** Inputs -> pattern. NULL means dense: every causal block, no pattern. */
    sb_status (*select)(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err);
    /** Inputs and pattern -> outputs. NULL: the shared block kernel. */
    sb_status (*attend)(sb_plan *plan, const sb_inputs *in, const sb_pattern *pat,
                        const sb_outputs *out, sb_err *err);
    bool attends_on_device; /**< `attend` takes device pointers: CUDA alone; else the CPU alone */
    void (*destroy)(sb_plan *plan);
};

#define SB_METHOD(name) extern const sb_method sb_method_##name;
#include "methods/methods.def"
#undef SB_METHOD

/** The registered methods, in the order of methods.def. */
const sb_method *const *sb_methods(int *n);

/** The method of that name, or NULL. */
const sb_method *sb_method_find(const char *name);

/* ---- values ----------------------------------------------------------------------------- */

/** Index of a parameter in the method's table, or -1. */
int sb_param_index(const sb_method *m, const char *name);

/** Default text of a parameter under a variant (an index into `variant`'s choices). */
const char *sb_param_default(const sb_param *param, int variant);

/**
 * Parse one scalar ("8", "0.5", "paper", "auto", "none") into a value. Lists are not parsed here.
 * SB_USAGE with what was expected when the type, range or choice is wrong.
 */
sb_status sb_value_parse(const sb_param *param, const char *text, sb_value *value, sb_err *err);

/** Check a list value against its parameter's range. */
sb_status sb_value_check_list(const sb_param *param, const double *list, int64_t n, sb_err *err);

/** Describe what a parameter takes: "a number in (0, 4]". */
void sb_param_expected(const sb_param *param, char *buf, size_t bytes);

/**
 * Replace every SB_VALUE_DEFAULT of values [n_params] by its default under the variant chosen,
 * then check what concerns several parameters together (such as: stride divides block).
 */
sb_status sb_values_resolve(const sb_method *m, sb_value *values, sb_err *err);

/** Format resolved values as "name=value" joined by `sep`, in table order, to [bytes]. Returns the
 *  length that was needed, as snprintf does. */
int sb_values_format(const sb_method *m, const sb_value *values, const char *sep, char *buf,
                     size_t bytes);

/* By name, from resolved values; the name must be in the table. */
const sb_value *sb_value_of(const sb_method *m, const sb_value *values, const char *name);
double sb_real_of(const sb_method *m, const sb_value *values, const char *name);
int64_t sb_int_of(const sb_method *m, const sb_value *values, const char *name);
/** The text of one value: "0.7", "paper", "auto", "none" or "[1 2]"; returns as snprintf. */
int sb_value_format(const sb_param *param, const sb_value *value, char *buf, size_t bytes);

/* ---- running one ------------------------------------------------------------------------ */

/**
 * Check the shape, plan the method and the shared kernel for it. values must be resolved.
 *
 * A plan for CUDA takes device pointers, enqueues its work on exec->stream, and keeps its pattern
 * on the device. SB_UNSUPPORTED: the method or its kernel does not take the shape there.
 */
sb_status sb_plan_create(const sb_method *m, const sb_problem *p, const sb_exec *exec,
                         const sb_value *values, sb_plan **plan, sb_err *err);

/** Select into a pattern of at least plan->pattern_capacity; nothing to do for dense. On CUDA into
 *  the plan's own pattern on the device, and pat is not used. */
sb_status sb_plan_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err);

/** Copy the pattern that was selected last from the device to `pat`, of at least
 *  plan->pattern_capacity; waits for the stream. On the CPU there is nothing to do. */
sb_status sb_plan_read_pattern(sb_plan *plan, sb_pattern *pat, sb_err *err);

/** Attend; pat may be NULL for a method without a pattern. On CUDA over the pattern that was
 *  selected last, and pat is not used. */
sb_status sb_plan_attend(sb_plan *plan, const sb_inputs *in, const sb_pattern *pat,
                         const sb_outputs *out, sb_err *err);

void sb_plan_destroy(sb_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
