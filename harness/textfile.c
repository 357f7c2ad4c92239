#include "harness/textfile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/arena.h"
#include "harness/mem.h"

sb_status sb_text_read(const char *path, struct sb_arena *arena, const char **text, size_t *n_bytes,
                       sb_err *err)
{
    sb_status st = SB_OK;
    char *buf = NULL;
    FILE *file = NULL;
    struct stat info;
    /* Opening a FIFO would wait, and a device may never end. */
    SB_CHECK(stat(path, &info) != 0 || S_ISREG(info.st_mode), err, SB_USAGE,
             "%.300s: not a regular file; expected a readable file", path);
    file = fopen(path, "rb");
    /* A name that is not there is the user's mistake; a file that cannot be read is the system's.
     */
    SB_CHECK(file, err, errno == ENOENT || errno == ENOTDIR ? SB_USAGE : SB_IO,
             "%.300s: %s; expected a readable file", path, strerror(errno));
    buf = sb_alloc_uninit(SB_MAX_TEXT_BYTES + 1, 1);
    SB_CHECK(buf, err, SB_NO_MEMORY, "out of memory reading %.300s", path);
    errno = 0;
    size_t n = fread(buf, 1, SB_MAX_TEXT_BYTES + 1, file);
    SB_CHECK(!ferror(file), err, SB_IO, "%.300s: %s; expected a readable file", path,
             strerror(errno));
    SB_CHECK(n <= SB_MAX_TEXT_BYTES, err, SB_USAGE, "%.300s: larger than 1 MiB; expected less",
             path);
    *text = sb_arena_text(arena, buf, n);
    *n_bytes = n;
    SB_CHECK(*text, err, SB_NO_MEMORY, "out of memory reading %.300s", path);
out:
    sb_free(buf);
    if (file)
        (void)fclose(file);
    return st;
}

const char *sb_path_resolve(const char *path, const char *neighbour, struct sb_arena *arena)
{
    const char *slash = strrchr(neighbour, '/');
    char *given = sb_arena_text(arena, path, strlen(path));
    if (!given || path[0] == '/' || !slash || access(path, F_OK) == 0)
        return given;
    size_t folder = (size_t)(slash - neighbour) + 1;
    char *beside = sb_arena_alloc(arena, (int64_t)(folder + strlen(path)) + 1, 1);
    if (!beside)
        return NULL;
    memcpy(beside, neighbour, folder);
    memcpy(beside + folder, path, strlen(path));
    return access(beside, F_OK) == 0 ? beside : given;
}
