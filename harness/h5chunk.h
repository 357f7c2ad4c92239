#ifndef SB_H5CHUNK_H
#define SB_H5CHUNK_H

#include <hdf5.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Check how a tensor [heads, tokens, dim] is stored, without reading it: in this file, in bytes
 * that can unfold to its size, in chunks of a sensible size, by shuffle and deflate alone.
 * SB_BAD_DATA naming `name` below `group`.
 */
sb_status sb_h5_check_storage(hid_t group, const char *name, hid_t set, const int64_t *dims,
                              size_t elem_bytes, sb_err *err);

/**
 * Check that each chunk of its first n_tokens unpacks to exactly a chunk: HDF5 1.10 takes that for
 * granted and reads beyond a shorter one. Unpacks everything once; only one chunk is in memory,
 * packed. SB_BAD_DATA, SB_NO_MEMORY.
 */
sb_status sb_h5_check_chunks(hid_t group, const char *name, hid_t set, int64_t n_tokens,
                             sb_err *err);

/** Whether the values are in this very file; asks before HDF5 opens others to tell the shape. */
sb_status sb_h5_check_inside(hid_t group, const char *name, hid_t set, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
