#ifndef SB_FS_H
#define SB_FS_H

#include <stddef.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Record "<path>: cannot <act>: <strerror(errno)>" and return SB_IO. */
sb_status sb_fs_fail(sb_err *err, const char *path, const char *act);

/** Write all n bytes to an open file; `path` names it in the error. SB_IO. */
sb_status sb_fs_write_all(int fd, const char *path, const void *bytes, size_t n, sb_err *err);

/** Make `temporary` durable under the name `path`: sync, rename, sync the directory. When that
 *  fails, `temporary` is removed and `path` is as before. SB_IO. */
sb_status sb_fs_commit(const char *temporary, const char *path, sb_err *err);

/** Replace a file's contents as a whole, durably, through "<path>.tmp". SB_IO. */
sb_status sb_fs_write(const char *path, const void *bytes, size_t n, sb_err *err);

/** Read n bytes from an open file, or what is left: *got. SB_IO. */
sb_status sb_fs_read_some(int fd, const char *path, void *bytes, size_t n, size_t *got,
                          sb_err *err);

/** Read a whole file into a fresh string; *text is NULL when there is no such file. SB_IO. */
sb_status sb_fs_read(const char *path, char **text, sb_err *err);

/** Copy a file's bytes to a new or overwritten file. SB_IO. */
sb_status sb_fs_copy(const char *from, const char *to, sb_err *err);

/** Make a directory and its missing parents. SB_IO. */
sb_status sb_fs_make_dirs(const char *path, sb_err *err);

/** Remove a file or a whole directory, following no symbolic link; absent is fine. SB_IO. */
sb_status sb_fs_remove(const char *path, sb_err *err);

/** What follows the last slash of a path; "" for NULL. */
const char *sb_base_name(const char *path);

#ifdef __cplusplus
}
#endif
#endif
