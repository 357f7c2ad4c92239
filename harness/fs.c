#include "harness/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/mem.h"

sb_status sb_fs_fail(sb_err *err, const char *path, const char *act)
{
    return sb_fail(err, SB_IO, "%s: cannot %s: %s", path, act, strerror(errno));
}

sb_status sb_fs_write_all(int fd, const char *path, const void *bytes, size_t n, sb_err *err)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t wrote = write(fd, p, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return sb_fs_fail(err, path, "write");
        p += wrote;
        n -= (size_t)wrote;
    }
    return SB_OK;
}

static sb_status sync_path(const char *path, int flags, sb_err *err)
{
    int fd = open(path, flags | O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sb_fs_fail(err, path, "open");
    /* Some file systems cannot sync a directory and say EINVAL: nothing more can be done there. */
    int failed = fsync(fd) < 0 && errno != EINVAL;
    sb_status st = failed ? sb_fs_fail(err, path, "sync") : SB_OK;
    (void)close(fd);
    return st;
}

static sb_status sync_parent(const char *path, sb_err *err)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    char *parent = n > 0 ? sb_sprintf("%.*s", (int)n, path) : sb_strdup(".");
    sb_status st =
        parent ? sync_path(parent, O_DIRECTORY, err) : sb_no_memory(err, "a directory's name");
    sb_free(parent);
    return st;
}

sb_status sb_fs_commit(const char *temporary, const char *path, sb_err *err)
{
    sb_status st = sync_path(temporary, 0, err);
    if (st == SB_OK && rename(temporary, path) < 0)
        st = sb_fs_fail(err, path, "rename the new file to it");
    if (st != SB_OK) {
        (void)unlink(temporary);
        return st;
    }
    return sync_parent(path, err);
}

sb_status sb_fs_write(const char *path, const void *bytes, size_t n, sb_err *err)
{
    sb_status st = SB_OK;
    int fd = -1;
    char *temporary = sb_sprintf("%s.tmp", path);
    if (!temporary)
        return sb_no_memory(err, "a file name");
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        st = sb_fs_fail(err, temporary, "create");
        goto out;
    }
    st = sb_fs_write_all(fd, temporary, bytes, n, err);
    if (close(fd) < 0 && st == SB_OK)
        st = sb_fs_fail(err, temporary, "write");
    if (st == SB_OK)
        st = sb_fs_commit(temporary, path, err);
    else
        (void)unlink(temporary);
out:
    sb_free(temporary);
    return st;
}

sb_status sb_fs_read_some(int fd, const char *path, void *bytes, size_t n, size_t *got, sb_err *err)
{
    for (*got = 0; *got < n;) {
        ssize_t r = read(fd, (char *)bytes + *got, n - *got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return sb_fs_fail(err, path, "read");
        if (r == 0)
            break;
        *got += (size_t)r;
    }
    return SB_OK;
}

sb_status sb_fs_read(const char *path, char **text, sb_err *err)
{
    sb_status st = SB_OK;
    char *bytes = NULL;
    size_t got = 0;
    struct stat info;
    *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? SB_OK : sb_fs_fail(err, path, "open");
    if (fstat(fd, &info) < 0) {
        st = sb_fs_fail(err, path, "read");
        goto out;
    }
    bytes = sb_alloc(info.st_size + 1, 1);
    if (!bytes) {
        st = sb_no_memory(err, path);
        goto out;
    }
    SB_TRY(sb_fs_read_some(fd, path, bytes, (size_t)info.st_size, &got, err));
    bytes[got] = '\0';
    *text = bytes;
    bytes = NULL;
out:
    sb_free(bytes);
    (void)close(fd);
    return st;
}

sb_status sb_fs_copy(const char *from, const char *to, sb_err *err)
{
    sb_status st = SB_OK;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
    if (in < 0)
        return sb_fs_fail(err, from, "open");
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out < 0)
        st = sb_fs_fail(err, to, "create");
    for (size_t n = 1; st == SB_OK && n > 0;) {
        char buffer[1 << 14];
        st = sb_fs_read_some(in, from, buffer, sizeof buffer, &n, err);
        if (st == SB_OK)
            st = sb_fs_write_all(out, to, buffer, n, err);
    }
    if (out >= 0 && close(out) < 0 && st == SB_OK)
        st = sb_fs_fail(err, to, "write");
    (void)close(in);
    return st;
}

sb_status sb_fs_make_dirs(const char *path, sb_err *err)
{
    sb_status st = SB_OK;
    char *part = sb_strdup(path);
    if (!part)
        return sb_no_memory(err, "a directory's name");
    for (char *p = part + 1; st == SB_OK; p++) {
        char end = *p;
        if (end != '/' && end != '\0')
            continue;
        *p = '\0';
        if (mkdir(part, 0777) < 0 && errno != EEXIST)
            st = sb_fs_fail(err, part, "make the directory");
        *p = end;
        if (end == '\0')
            break;
    }
    sb_free(part);
    return st;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

sb_status sb_fs_remove(const char *path, sb_err *err)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return sb_fs_fail(err, path, "remove");
    return SB_OK;
}

const char *sb_base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path ? path : "";
}
