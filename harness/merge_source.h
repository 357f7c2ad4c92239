#ifndef SB_MERGE_SOURCE_H
#define SB_MERGE_SOURCE_H

#include "harness/results_store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SB_UTC = 24 };

/** The process that made some of a store's records. */
typedef struct sb_origin {
    char name[17]; /**< under /provenance */
    char utc[SB_UTC];
    uint64_t build;
} sb_origin;

/** A run directory whose records are to be merged, all of them in its results.h5. */
typedef struct sb_source {
    char *store; /**< path of results.h5 */
    sb_stub_list stubs;
    sb_origin *origins; /**< [n_origins] by name */
    int64_t n_origins;
} sb_source;

/** Fold a part's records into its results.h5. SB_IO, also when it is in use. */
sb_status sb_source_fold(const char *path, const char *config, sb_err *err);

/** List the records of a run directory and who made them. SB_BAD_DATA. */
sb_status sb_source_open(const char *path, sb_source *source, sb_err *err);
void sb_source_close(sb_source *source);

/** Who made a record, or NULL. */
const sb_origin *sb_source_origin(const sb_source *source, const sb_stub *stub);

/** The record that a cell is to have. */
typedef struct sb_choice {
    const sb_stub *stub; /**< of the source; NULL: none */
    const char *utc;
    int64_t source;
} sb_choice;

/**
 * Make the chosen records of cells [n_cells] the results.h5 of a run directory, durably and as a
 * whole. Sources [n_parts] are its parts, whose hosts are numbered; one more is itself. SB_IO.
 */
sb_status sb_merge_write(const char *run_path, const char *config, const sb_source *sources,
                         int64_t n_parts, const sb_choice *cells, int64_t n_cells, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
