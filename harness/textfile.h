#ifndef SB_TEXTFILE_H
#define SB_TEXTFILE_H

#include <stddef.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sb_arena;

enum { SB_MAX_TEXT_BYTES = 1 << 20 };

/** Read a whole file into NUL-terminated text owned by `arena`. SB_USAGE when there is none, when
 * it is no regular file or larger than SB_MAX_TEXT_BYTES, SB_IO when it cannot be read. */
sb_status sb_text_read(const char *path, struct sb_arena *arena, const char **text, size_t *n_bytes,
                       sb_err *err);

/** Resolve a relative path: from the working directory when it exists there, else beside the file
 *  `neighbour` when it exists there, else as given. NULL when memory runs out. */
const char *sb_path_resolve(const char *path, const char *neighbour, struct sb_arena *arena);

#ifdef __cplusplus
}
#endif
#endif
