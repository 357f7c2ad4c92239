#ifndef SB_H5FILE_H
#define SB_H5FILE_H

#include <hdf5.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A new HDF5 file in the making, under a temporary name. HDF5 1.10 crashes when a write of its own
 * fails, on a full disk for one; here such a write is noted and hidden from it, and the call that
 * caused it is reported as failed by sb_h5_wrote.
 */
typedef struct sb_h5_out {
    hid_t file;
    hid_t driver;
    char *path;
    char *temporary;
    int error; /**< errno of the first failed write, or 0 */
} sb_h5_out;

/** Whether to write the format of HDF5 1.10 (checksums on all metadata, least overhead) or the one
 *  that every reader knows. */
typedef enum sb_h5_format { SB_H5_COMMON, SB_H5_CHECKED } sb_h5_format;

/** Start the file that sb_h5_commit will put at `path`. SB_IO. Ends with sb_h5_commit or
 *  sb_h5_discard; *out starts as {0}. */
sb_status sb_h5_create(const char *path, sb_h5_format format, sb_h5_out *out, sb_err *err);

/** As sb_h5_create, from a copy of the file that is at `path` now. */
sb_status sb_h5_modify(const char *path, sb_h5_format format, sb_h5_out *out, sb_err *err);

/** SB_OK when an HDF5 call on the file returned `result` >= 0 and no write has failed; else SB_IO
 *  naming the path and the system's reason, or SB_INTERNAL. */
sb_status sb_h5_wrote(const sb_h5_out *out, int64_t result, sb_err *err);

/** Close the file, make it durable and rename it into place. SB_IO; nothing is left then. */
sb_status sb_h5_commit(sb_h5_out *out, sb_err *err);

/** Drop what is not committed. */
void sb_h5_discard(sb_h5_out *out);

#ifdef __cplusplus
}
#endif
#endif
