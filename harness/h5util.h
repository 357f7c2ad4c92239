#ifndef SB_H5UTIL_H
#define SB_H5UTIL_H

#include <hdf5.h>

#include "harness/h5file.h"
#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Stop HDF5 from printing its errors; every entry point that calls HDF5 starts with this. */
void sb_h5_quiet(void);

/** Release any HDF5 id; a negative one is allowed. */
void sb_h5_close(hid_t id);

/**
 * Record SB_BAD_DATA as "<file>: <object>[/child]: <message>" and return it. `child` may be NULL;
 * "@name" names an attribute.
 */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
sb_status
sb_h5_bad(sb_err *err, hid_t object, const char *child, const char *fmt, ...);

/** Open a file read-only. SB_BAD_DATA when it is missing, unreadable, truncated or no HDF5 file. */
sb_status sb_h5_open(const char *path, hid_t *file, sb_err *err);

/** Whether `name` is a hard link below `parent`, so part of this very file. */
bool sb_h5_owns(hid_t parent, const char *name);

/** Open a group that is a hard link. SB_BAD_DATA. */
sb_status sb_h5_open_group(hid_t parent, const char *name, hid_t *group, sb_err *err);

/* Attributes. Strings are stored as UTF-8, numbers as int64 or float64; any string, integer or
 * float type of whole bytes is read. Writers fail as sb_h5_wrote does, readers with SB_BAD_DATA. */
sb_status sb_h5_put_text(const sb_h5_out *out, hid_t object, const char *name, const char *text,
                         sb_err *err);
sb_status sb_h5_put_int(const sb_h5_out *out, hid_t object, const char *name, int64_t value,
                        sb_err *err);
sb_status sb_h5_put_real(const sb_h5_out *out, hid_t object, const char *name, double value,
                         sb_err *err);
sb_status sb_h5_get_text(hid_t object, const char *name, char **text, sb_err *err);
sb_status sb_h5_get_int(hid_t object, const char *name, int64_t *value, sb_err *err);
sb_status sb_h5_get_real(hid_t object, const char *name, double *value, sb_err *err);

/** Write a whole new dataset, values in memory as in the file; `create` may be H5P_DEFAULT. */
sb_status sb_h5_put_dataset(const sb_h5_out *out, hid_t parent, const char *name, hid_t type,
                            int rank, const hsize_t *dims, hid_t create, const void *values,
                            sb_err *err);

/** A fixed-length UTF-8 string type for n bytes; the caller closes it. */
hid_t sb_h5_text_type(size_t n);

/** The HDF5 type of a dtype, in this machine's byte order; the caller closes it. */
hid_t sb_h5_float_type(sb_dtype dtype);

/** Recognise f32, f16 and bfloat16, in either byte order, by their fields. */
bool sb_h5_float_dtype(hid_t type, sb_dtype *dtype);

/** Creation properties of a chunked dataset, shuffled and deflated unless level is 0; the caller
 *  closes them. */
hid_t sb_h5_packed(int rank, const hsize_t *chunk, unsigned level);

#ifdef __cplusplus
}
#endif
#endif
