#include "harness/starts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/results_store.h"

enum { WORD = 17 }; /* a key and the blank or newline after it */

/* Of the open file, for the signal handler. */
static volatile sig_atomic_t open_fd = -1;
static volatile off_t open_end;

static char *path_in(const char *run_path)
{
    return sb_sprintf("%s/" SB_STARTED, run_path);
}

/* Length of the whole lines: a node that dies may leave a part of one. */
static int64_t whole_lines(const char *text)
{
    const char *last = text ? strrchr(text, '\n') : NULL;
    return last ? last + 1 - text : 0;
}

sb_status sb_starts_open(const char *run_path, bool forget, sb_starts *starts, sb_err *err)
{
    sb_status st = SB_OK;
    char *text = NULL;
    *starts = (sb_starts){.fd = -1, .path = path_in(run_path)};
    if (!starts->path)
        return sb_no_memory(err, "a file name");
    if (!forget)
        SB_TRY(sb_fs_read(starts->path, &text, err));
    starts->end = whole_lines(text);
    starts->fd = open(starts->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (starts->fd < 0 || ftruncate(starts->fd, starts->end) < 0) {
        st = sb_fs_fail(err, starts->path, "write");
        goto out;
    }
    open_end = starts->end;
    open_fd = starts->fd;
out:
    sb_free(text);
    if (st != SB_OK)
        sb_starts_close(starts);
    return st;
}

sb_status sb_starts_note(sb_starts *starts, const uint64_t *keys, int64_t n, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t bytes = n * WORD;
    char *line = sb_alloc(bytes + 1, 1);
    if (!line)
        return sb_no_memory(err, "the cells that start");
    for (int64_t i = 0; i < n; i++)
        (void)snprintf(line + i * WORD, WORD + 1, "%016" PRIx64 "%c", keys[i],
                       i + 1 < n ? ' ' : '\n');
    errno = ENOSPC; /* what a write of less than all means */
    if (pwrite(starts->fd, line, (size_t)bytes, starts->end) != bytes) {
        st = sb_fs_fail(err, starts->path, "write");
        sb_starts_settle(starts);
    } else if (fdatasync(starts->fd) < 0) {
        st = sb_fs_fail(err, starts->path, "sync");
    }
    sb_free(line);
    return st;
}

void sb_starts_settle(const sb_starts *starts)
{
    if (ftruncate(starts->fd, starts->end) < 0)
        return; /* cells that are finished are never asked for again */
}

void sb_starts_forgive(void)
{
    int before = errno;
    if (open_fd >= 0 && ftruncate(open_fd, open_end) < 0)
        errno = before; /* what was interrupted sees its own */
}

void sb_starts_close(sb_starts *starts)
{
    open_fd = -1;
    if (starts->fd >= 0)
        (void)close(starts->fd);
    sb_free(starts->path);
    *starts = (sb_starts){.fd = -1};
}

sb_status sb_starts_read(const char *run_path, sb_keys *died, sb_err *err)
{
    char *text = NULL, *path = path_in(run_path);
    if (!path)
        return sb_no_memory(err, "a file name");
    sb_status st = sb_fs_read(path, &text, err);
    if (st == SB_OK && text)
        text[whole_lines(text)] = '\0';
    for (char *word = text; word && st == SB_OK && strlen(word) >= WORD; word += WORD) {
        uint64_t key;
        word[WORD - 1] = '\0';
        if (sb_key_parse(word, &key))
            st = sb_keys_push(died, key, err);
    }
    sb_free(text);
    sb_free(path);
    return st;
}
