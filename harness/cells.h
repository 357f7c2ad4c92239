#ifndef SB_CELLS_H
#define SB_CELLS_H

#include "harness/config.h"
#include "harness/dataset.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One point of everything but the variant. */
typedef struct sb_shape_cell {
    int32_t capture;
    sb_dtype dtype;
    int64_t layer, tokens;
} sb_shape_cell;

/** A config with its captures opened: every cell can be enumerated, none is computed. */
typedef struct sb_sweep {
    const sb_config *cfg;
    sb_capture *captures; /**< [cfg->n_captures] */
    int64_t n_shapes;
    sb_shape_cell *shapes; /**< [n_shapes] in run order */
    int64_t n_cells;       /**< n_shapes * cfg->n_variants; cell = shape * n_variants + variant */
} sb_sweep;

/** Open the captures and expand. SB_BAD_DATA for a bad capture, SB_USAGE (with line and column) for
 * a layer or a length that a capture does not have. */
sb_status sb_sweep_open(const sb_config *cfg, sb_sweep *sweep, sb_err *err);
void sb_sweep_close(sb_sweep *sweep);

/** The problem of a shape (B = 1). */
sb_problem sb_sweep_problem(const sb_sweep *sweep, int64_t shape);

/** Estimated cost of one cell. */
typedef struct sb_estimate {
    double density;      /**< predicted without data */
    double attend_flops; /**< of one attention */
    double work_flops;   /**< of all that the cell does, reference excluded */
} sb_estimate;
sb_estimate sb_estimate_cell(const sb_sweep *sweep, int64_t shape, int64_t variant);

enum { SB_MAX_BUNDLE = 64 };

/** Whether another cell joins n cells of `work_flops` together, which are timed against each other
 *  with one dense baseline, and so are held in memory together and lost together by a kill. */
bool sb_bundle_takes(int64_t n, double work_flops, sb_backend backend);

/** Bytes that the largest shape of the sweep needs at once: inputs, their rotated copy, outputs,
 *  references, and patterns and scratch of the cells that are timed together. */
double sb_estimate_memory(const sb_sweep *sweep, int n_threads);

/** Bytes that the largest shape needs on the device at once: inputs and their rotated copy,
 *  outputs, and what selection holds for the cells that are timed together. */
double sb_estimate_device_memory(const sb_sweep *sweep);

/** FLOPs of the float64 reference of a shape; 0 where fidelity is not asked for. */
double sb_estimate_reference(const sb_sweep *sweep, int64_t shape);

/** Whether two shapes are prefixes of the same inputs. */
bool sb_same_layer(const sb_shape_cell *a, const sb_shape_cell *b);

#ifdef __cplusplus
}
#endif
#endif
