#ifndef SB_RESULTS_ROWS_H
#define SB_RESULTS_ROWS_H

#include "harness/results_store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * To read the columns of 10^5 records from as many groups takes half a minute, so results.h5 holds
 * them once more, as rows one after another in the dataset /rows, u8:
 *
 *   u32 bytes of the row, u64 key; each column of results.def in order, int64, float64 or a text
 *   that ends with NUL; config, name of the provenance, as texts. In this machine's byte order.
 *
 * Attributes: `columns`, a hash of this layout, and `n`, the number of rows. Rows of another
 * layout, or of another number than there are groups, are passed over.
 */

/** Rows on their way into a store, which must have none: see sb_rows_remove. Begin with
 *  {.out = out}; end with sb_rows_close in any case, before the store is closed. */
typedef struct sb_rows {
    const sb_h5_out *out;
    hid_t set; /* valid once begun */
    bool begun;
    char *bytes; /* [used] not yet written */
    int64_t used, capacity;
    int64_t n_written, n_rows;
} sb_rows;

/** Add the row of a record; its provenance is the name of one. SB_IO. */
sb_status sb_rows_put(sb_rows *rows, const sb_record *r, sb_err *err);

/** Write what is left. SB_IO. */
sb_status sb_rows_finish(sb_rows *rows, sb_err *err);
void sb_rows_close(sb_rows *rows);

void sb_rows_remove(const sb_h5_out *out);

/** Whether a store has rows that can be used for its records. */
bool sb_rows_usable(hid_t file);

/** Visit them as sb_store_visit does. SB_BAD_DATA. */
sb_status sb_rows_visit(hid_t file, sb_record_visit visit, void *user, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
