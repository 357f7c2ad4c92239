#ifndef SB_RUNNER_H
#define SB_RUNNER_H

#include "harness/evaluate.h"
#include "harness/items.h"
#include "harness/latency.h"
#include "harness/parts.h"
#include "harness/progress.h"
#include "harness/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The inputs and the reference of the shape at hand, which its cells share. */
typedef struct sb_shape_hold {
    int64_t shape; /**< -1: none */
    sb_tensors tensors;
    sb_reference reference;
    sb_on_device device;
    sb_err refused;
    sb_shape_data data;
} sb_shape_hold;

/** A process that computes items of a sweep, one after the other, into its part. */
typedef struct sb_runner {
    const sb_sweep *sweep;
    const sb_run_options *options;
    const volatile int *stop;
    sb_run_summary *summary;
    sb_exec exec[2]; /**< by backend */
    uint64_t *keys;  /**< [n_cells] */
    uint8_t *states; /**< [n_cells] as sb_parts_states says; kept up to date with its own cells */
    sb_part part;
    int64_t node; /**< what its records say; in a part the host's id, which merging numbers */
    char *provenance;
    sb_progress progress;
    sb_peaks peaks;
    sb_shape_hold hold;
    void (*held)(void); /**< called when another shape is at hand; NULL: nobody wants to know */
    sb_reference whole; /**< over all rows, of the layer at hand */
    int64_t whole_of;   /**< first shape of the layer that `whole` belongs to, or -1 */
} sb_runner;

/* In this order: */

/** Name the cells, which needs the captures' digests and no device; states are all 0. Close in any
 *  case. */
sb_status sb_runner_init(const sb_sweep *sweep, const sb_run_options *options,
                         const volatile int *stop, sb_run_summary *summary, sb_runner *run,
                         sb_err *err);

/** Read what the items read, in run order: bad tensors are found before anything is written. */
sb_status sb_runner_check(const sb_runner *run, const sb_item *items, int64_t n, sb_err *err);

/** Open the part (options->part; NULL: the whole run directory) that records go to. */
sb_status sb_runner_open(sb_runner *run, sb_err *err);

/** Find out which cells are finished, and begin to show the progress of these items. */
sb_status sb_runner_resume(sb_runner *run, const sb_item *items, int64_t n, sb_err *err);

/** Compute those cells of an item that are not finished, each durable when it is done; what is
 *  finished stays in any case. A cell that killed two processes becomes a failed record.
 *  SB_INTERRUPTED when asked to stop. Items of one shape in turn share its inputs. */
sb_status sb_runner_item(sb_runner *run, const sb_item *item, sb_err *err);

/** Fold what is finished into results.h5: wanted however the run ended. */
sb_status sb_runner_finish(sb_runner *run, sb_err *err);

/** Whether a cell of an item is not finished. */
bool sb_runner_wants(const sb_runner *run, const sb_item *item);

/** Whether a process died while it computed a cell of an item, which another is to try. */
bool sb_runner_suspects(const sb_runner *run, const sb_item *item);

void sb_runner_close(sb_runner *run);

void sb_runner_release(sb_runner *run);

/** Read the inputs of a shape. */
sb_status sb_runner_read(const sb_runner *run, int64_t shape, sb_tensors *tensors, sb_err *err);

/** The reference of a shape with inputs `in`: a prefix of the one of its layer, or its own, from
 * the cache beside the capture or computed. */
sb_status sb_runner_reference(sb_runner *run, int64_t shape, const sb_inputs *in, sb_reference *ref,
                              sb_err *err);

/** Where a shape is computed, and how. */
const sb_exec *sb_runner_exec(const sb_runner *run, int64_t shape);

#ifdef __cplusplus
}
#endif
#endif
