#include "harness/alone.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/nodes.h"
#include "harness/results_store.h"

/* Whoever waits, and where it says so. */
typedef struct waiter {
    const volatile int *stop;
    sb_progress *progress;
} waiter;

/* A lock that is waited for in the kernel could not be left when asked to stop. */
static sb_status lock(int fd, int how, const char *path, const waiter *w, sb_err *err)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    while (flock(fd, how | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return sb_fs_fail(err, path, "lock");
        if (w->stop && *w->stop)
            return sb_fail(err, SB_INTERRUPTED, "interrupted");
        sb_progress_waiting(w->progress, "waiting for another process on this machine");
        (void)nanosleep(&pause, NULL);
    }
    return SB_OK;
}

static sb_status open_and_lock(const char *path, int how, const waiter *w, int *fd, sb_err *err)
{
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    return *fd < 0 ? sb_fs_fail(err, path, "create") : lock(*fd, how, path, w, err);
}

/* The next in turn holds a second lock while it waits for the first. So whoever gives the first
 * back and wants it again does not get it before the one who waited, and who wants it for itself
 * waits for those who share it now and for none that come later. */
static sb_status take_turn(const char *path, int how, const waiter *w, int *fd, sb_err *err)
{
    int next = -1;
    char *next_path = sb_sprintf("%s.next", path);
    if (!next_path)
        return sb_no_memory(err, "a file name");
    sb_status st = open_and_lock(next_path, LOCK_EX, w, &next, err);
    if (st == SB_OK)
        st = open_and_lock(path, how, w, fd, err);
    if (next >= 0)
        (void)close(next);
    sb_free(next_path);
    return st;
}

sb_status sb_alone_take(const char *run_path, uint64_t device, const volatile int *stop,
                        sb_progress *progress, sb_alone *alone, sb_err *err)
{
    sb_status st = SB_OK;
    const waiter w = {stop, progress};
    const int64_t host = sb_host_id();
    *alone = (sb_alone){-1, -1};
    char *folder = sb_sprintf("%s/" SB_ALONE, run_path);
    char *machine_path = sb_sprintf("%s/" SB_ALONE "/%016" PRIx64, run_path, host);
    char *device_path =
        sb_sprintf("%s/" SB_ALONE "/%016" PRIx64 "-%016" PRIx64, run_path, host, device);
    SB_CHECK(folder && machine_path && device_path, err, SB_NO_MEMORY,
             "out of memory for a file name");
    SB_TRY(sb_fs_make_dirs(folder, err));
    SB_TRY(take_turn(machine_path, device ? LOCK_SH : LOCK_EX, &w, &alone->machine, err));
    if (device)
        SB_TRY(take_turn(device_path, LOCK_EX, &w, &alone->device, err));
out:
    sb_free(device_path);
    sb_free(machine_path);
    sb_free(folder);
    return st;
}

/* The device first: whoever waits for the machine can have both then. */
void sb_alone_give(sb_alone *alone)
{
    if (alone->device >= 0)
        (void)close(alone->device);
    if (alone->machine >= 0)
        (void)close(alone->machine);
    *alone = (sb_alone){-1, -1};
}
