#ifndef SB_EVALUATE_H
#define SB_EVALUATE_H

#include "harness/cells.h"
#include "harness/on_device.h"
#include "harness/reference.h"
#include "harness/results.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One cell while it is being computed: its plan, its pattern and the record that grows. */
typedef struct sb_cell {
    int64_t shape, variant;
    sb_value values[SB_MAX_PARAMS]; /**< as the config resolved them, with what is matched solved */
    sb_plan *plan;
    sb_pattern pattern;
    bool has_pattern;
    sb_record record;
} sb_cell;

/** What every cell of a shape shares. */
typedef struct sb_shape_data {
    sb_problem problem;
    sb_exec exec;
    sb_inputs inputs;              /**< on the host, as all that is judged */
    sb_outputs outputs;            /**< room for one call */
    const sb_on_device *device;    /**< NULL: plans run on the CPU */
    const sb_reference *reference; /**< NULL: no fidelity */
    const sb_err *refused;         /**< why no cell of the shape can be computed, or NULL */
    double *realised;              /**< [n_variants] of each target what others are matched to,
                                        kept by sb_match_solve; 0: not known yet */
    const volatile int *stop;
} sb_shape_data;

/** Plan a method for a shape, select, and check the pattern, which is empty where the method has
 *  none. On failure there is neither plan nor pattern. */
sb_status sb_plan_and_select(const sb_method *m, const sb_value *values, const sb_shape_data *data,
                             sb_plan **plan, sb_pattern *pat, sb_err *err);

/** Resolved values as "name=value" joined by `sep`, for sb_free; NULL when memory runs out. */
char *sb_values_text(const sb_method *m, const sb_value *values, const char *sep);

/** Text that names a cell completely, for sb_free; NULL when memory runs out. */
char *sb_cell_config(const sb_sweep *sweep, int64_t shape, int64_t variant, const sb_exec *exec);

/** The keys that finished records are found by: keys[n_cells], never 0, of the captures' digests,
 *  the resolved cells and the build. execs[n_shapes] is where each shape runs. SB_NO_MEMORY. */
sb_status sb_cell_keys(const sb_sweep *sweep, const sb_exec *const *execs, uint64_t build_id,
                       uint64_t *keys, sb_err *err);

/**
 * Plan a cell, solve its parameter where it is matched to another, select and measure everything
 * but latency. What the method cannot do or gets wrong ends in the record's status and reason with
 * SB_OK returned and no plan left; other errors (memory, interruption) are returned.
 */
sb_status sb_cell_evaluate(const sb_sweep *sweep, int64_t shape, int64_t variant,
                           const sb_shape_data *data, sb_cell *cell, sb_err *err);

/** Turn an evaluated cell into a failed or unsupported record, and free its plan and pattern. */
sb_status sb_cell_fail(sb_cell *cell, const sb_err *why, sb_err *err);

void sb_cell_free(sb_cell *cell);

#ifdef __cplusplus
}
#endif
#endif
