#include "harness/h5file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/h5util.h"
#include "harness/mem.h"

/* ---- the driver -------------------------------------------------------------------------- */

struct driver_info {
    int *error;
};

struct driver_file {
    H5FD_t base;
    int fd;
    haddr_t eoa, eof;
    int *error;
};

static void note(const struct driver_file *f)
{
    if (*f->error == 0)
        *f->error = errno;
}

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t max)
{
    const struct driver_info *info = H5Pget_driver_info(access);
    struct driver_file *f = calloc(1, sizeof *f);
    struct stat stat;
    (void)max;
    if (!f)
        return NULL;
    f->error = info->error;
    int creation = flags & H5F_ACC_TRUNC ? O_CREAT | O_TRUNC : 0;
    f->fd = open(name, O_RDWR | O_CLOEXEC | creation, 0666);
    if (f->fd >= 0 && fstat(f->fd, &stat) == 0) {
        f->eof = (haddr_t)stat.st_size;
        return &f->base;
    }
    note(f);
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f);
    return NULL;
}

static herr_t driver_close(H5FD_t *base)
{
    struct driver_file *f = (struct driver_file *)base;
    if (close(f->fd) < 0)
        note(f);
    free(f);
    return 0;
}

static herr_t driver_query(const H5FD_t *base, unsigned long *features)
{
    (void)base;
    *features = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA |
                H5FD_FEAT_DATA_SIEVE | H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t driver_get_eoa(const H5FD_t *base, H5FD_mem_t kind)
{
    (void)kind;
    return ((const struct driver_file *)base)->eoa;
}

static herr_t driver_set_eoa(H5FD_t *base, H5FD_mem_t kind, haddr_t eoa)
{
    (void)kind;
    ((struct driver_file *)base)->eoa = eoa;
    return 0;
}

static haddr_t driver_get_eof(const H5FD_t *base, H5FD_mem_t kind)
{
    (void)kind;
    return ((const struct driver_file *)base)->eof;
}

static herr_t driver_read(H5FD_t *base, H5FD_mem_t kind, hid_t transfer, haddr_t at, size_t n,
                          void *bytes)
{
    const struct driver_file *f = (const struct driver_file *)base;
    char *p = bytes;
    (void)kind;
    (void)transfer;
    while (n > 0) {
        ssize_t got = pread(f->fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0) { /* allocated, not yet written */
            memset(p, 0, n);
            break;
        }
        p += got;
        at += (haddr_t)got;
        n -= (size_t)got;
    }
    return 0;
}

static herr_t driver_write(H5FD_t *base, H5FD_mem_t kind, hid_t transfer, haddr_t at, size_t n,
                           const void *bytes)
{
    struct driver_file *f = (struct driver_file *)base;
    const char *p = bytes;
    (void)kind;
    (void)transfer;
    if (at + n > f->eof)
        f->eof = at + n;
    while (n > 0) {
        ssize_t wrote = pwrite(f->fd, p, n, (off_t)at);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0) {
            note(f);
            break;
        }
        p += wrote;
        at += (haddr_t)wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

static herr_t driver_truncate(H5FD_t *base, hid_t transfer, hbool_t closing)
{
    struct driver_file *f = (struct driver_file *)base;
    (void)transfer;
    (void)closing;
    if (f->eof != f->eoa && ftruncate(f->fd, (off_t)f->eoa) < 0)
        note(f);
    f->eof = f->eoa;
    return 0;
}

static const H5FD_class_t driver = {
    .name = "stembench",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(struct driver_info),
    .open = driver_open,
    .close = driver_close,
    .query = driver_query,
    .get_eoa = driver_get_eoa,
    .set_eoa = driver_set_eoa,
    .get_eof = driver_get_eof,
    .read = driver_read,
    .write = driver_write,
    .truncate = driver_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

/* ---- files ------------------------------------------------------------------------------- */

/* Names the file and makes the properties to open it with. */
static sb_status begin(const char *path, sb_h5_format format, sb_h5_out *out, hid_t *access,
                       sb_err *err)
{
    sb_h5_quiet();
    out->file = -1;
    out->error = 0;
    out->path = sb_strdup(path);
    out->temporary = sb_sprintf("%s.tmp", path);
    if (!out->path || !out->temporary)
        return sb_no_memory(err, "a file name");
    /* Held until the file is closed: HDF5 1.10 drops its own hold just before the last call. */
    out->driver = H5FDregister(&driver);
    *access = H5Pcreate(H5P_FILE_ACCESS);
    (void)H5Pset_driver(*access, out->driver, &(struct driver_info){&out->error});
    if (format == SB_H5_CHECKED)
        (void)H5Pset_libver_bounds(*access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    (void)H5Pset_fclose_degree(*access, H5F_CLOSE_STRONG);
    return SB_OK;
}

sb_status sb_h5_create(const char *path, sb_h5_format format, sb_h5_out *out, sb_err *err)
{
    hid_t access = -1;
    sb_status st = begin(path, format, out, &access, err);
    if (st != SB_OK)
        return st;
    out->file = H5Fcreate(out->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    sb_h5_close(access);
    return sb_h5_wrote(out, out->file, err);
}

sb_status sb_h5_modify(const char *path, sb_h5_format format, sb_h5_out *out, sb_err *err)
{
    hid_t access = -1;
    sb_status st = begin(path, format, out, &access, err);
    if (st == SB_OK)
        st = sb_fs_copy(path, out->temporary, err);
    if (st == SB_OK) {
        out->file = H5Fopen(out->temporary, H5F_ACC_RDWR, access);
        st = sb_h5_wrote(out, out->file, err);
    }
    sb_h5_close(access);
    return st;
}

sb_status sb_h5_wrote(const sb_h5_out *out, int64_t result, sb_err *err)
{
    if (out->error != 0)
        return sb_fail(err, SB_IO, "%s: cannot write: %s", out->path, strerror(out->error));
    if (result < 0)
        return sb_fail(err, SB_INTERNAL, "%s: HDF5 refused to write", out->path);
    return SB_OK;
}

sb_status sb_h5_commit(sb_h5_out *out, sb_err *err)
{
    herr_t closed = H5Fclose(out->file);
    out->file = -1;
    sb_status st = sb_h5_wrote(out, closed, err);
    if (st == SB_OK)
        st = sb_fs_commit(out->temporary, out->path, err);
    sb_h5_discard(out);
    return st;
}

void sb_h5_discard(sb_h5_out *out)
{
    if (out->file > 0)
        (void)H5Fclose(out->file);
    if (out->driver > 0)
        sb_h5_close(out->driver);
    if (out->temporary)
        (void)unlink(out->temporary);
    sb_free(out->temporary);
    sb_free(out->path);
    *out = (sb_h5_out){0};
}
