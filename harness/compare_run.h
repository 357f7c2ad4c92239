#ifndef SB_COMPARE_RUN_H
#define SB_COMPARE_RUN_H

#include "harness/results_store.h"
#include "harness/where.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * What identifies a cell across builds and machines: capture digest, layer, tokens, dtype, backend,
 * method, parameters, match target and what fidelity is measured on; not the build, the kernel, the
 * threads, the place of the capture or how latency is measured. Parameters that have this program's
 * default are left out, so a parameter that a build adds does not part it from its baseline. A
 * matched budget is named by its target, whatever it was solved to.
 *
 * Records of a CSV have no resolved cell, but columns that say the same (sb_identity_names without
 * kernel, threads and the capture's folder). The cells of both runs are named so when one of them
 * has no resolved cells.
 */
typedef struct sb_cell_id {
    char *text;
    int64_t n_shape;  /**< bytes of the part before the method: the shape */
    int64_t n_method; /**< bytes of the part that ends with the method */
    int64_t n_label;  /**< bytes of the part that ends with the parameters */
} sb_cell_id;

/** The records of a run, without series, to be compared. */
typedef struct sb_compare_run {
    const char *path;
    sb_record_list list; /**< ascending by cell */
    sb_cell_id *ids;     /**< [list.n] */
    int64_t n_ids;
    int64_t *order;   /**< [list.n] indices, ascending by identity */
    int32_t *machine; /**< [list.n] index into machines */
    char **machines;  /**< "cpu ..., gpu ..., 2 threads"; "" where the record does not say */
    int32_t n_machines;
    int64_t n_left_out; /**< records that `where` does not name */
    bool from_csv;      /**< no record has its resolved cell */
} sb_compare_run;

/** Load a run directory, without identities yet. SB_BAD_DATA when there is none or it is damaged.
 */
sb_status sb_compare_run_load(const char *path, const sb_where *where, sb_compare_run *run,
                              sb_err *err);

/** Name and order the cells, by columns or by resolved cells, which are freed. SB_BAD_DATA when two
 *  records are of one cell. */
sb_status sb_compare_run_identify(sb_compare_run *run, bool by_columns, sb_err *err);
void sb_compare_run_free(sb_compare_run *run);

/** Load the n records of the given indices whole, into whole [n]. */
sb_status sb_compare_run_whole(const sb_compare_run *run, const int64_t *indices, int64_t n,
                               sb_record *whole, sb_err *err);

/** Method and parameters of record i, those at their default left out, to buf. Returns buf. */
const char *sb_compare_label(const sb_compare_run *run, int64_t i, char *buf, size_t bytes);

/** Build the identity from a record's columns or its resolved cell: SB_BAD_DATA when that lacks
 *  something. */
sb_status sb_cell_id_make(const sb_record *r, bool by_columns, sb_cell_id *id, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
