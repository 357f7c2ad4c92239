/* The cache file of a reference: header, rows, o, lse, in native byte order. */

#include "harness/reference.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/hash.h"
#include "harness/mem.h"

enum { CACHE_VERSION = 1 };

typedef struct header {
    uint64_t magic, version, key, checksum; /* of the shape and the payload */
    int64_t n_heads, dim_v, n_rows;
} header;

static const uint64_t cache_magic = 0x4665525f62737473u;

typedef struct part {
    void *data;
    int64_t n_bytes;
} part;

enum { N_PARTS = 3 };

static void payload(const sb_reference *ref, part parts[N_PARTS])
{
    int64_t n = ref->n_heads * ref->n_rows;
    parts[0] = (part){ref->rows, ref->n_rows * (int64_t)sizeof *ref->rows};
    parts[1] = (part){ref->o, n * ref->dim_v * (int64_t)sizeof *ref->o};
    parts[2] = (part){ref->lse, n * (int64_t)sizeof *ref->lse};
}

static uint64_t checksum(const sb_reference *ref)
{
    const int64_t shape[] = {ref->n_heads, ref->dim_v, ref->n_rows};
    uint64_t hash = sb_hash64(shape, sizeof shape, 0);
    part parts[N_PARTS];
    payload(ref, parts);
    for (int i = 0; i < N_PARTS; i++)
        hash = sb_hash64(parts[i].data, (size_t)parts[i].n_bytes, hash);
    return hash;
}

/* Make the directory that is to hold `path`, where it is missing. */
static sb_status make_parent(const char *path, sb_err *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return SB_OK;
    char *dir = sb_sprintf("%.*s", (int)(slash - path), path);
    if (!dir)
        return sb_no_memory(err, "a path");
    sb_status st = SB_OK;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        st = sb_fail(err, SB_IO, "%s: cannot make the directory: %s", dir, strerror(errno));
    sb_free(dir);
    return st;
}

sb_status sb_reference_save(const sb_reference *ref, const char *path, uint64_t key, sb_err *err)
{
    sb_status st = SB_OK;
    FILE *file = NULL;
    char *temp = NULL;
    bool made = false;
    header head = {cache_magic,  CACHE_VERSION, key,        checksum(ref),
                   ref->n_heads, ref->dim_v,    ref->n_rows};
    part parts[N_PARTS];
    payload(ref, parts);

    SB_TRY(make_parent(path, err));
    if (!(temp = sb_sprintf("%s.XXXXXX", path)))
        SB_TRY(sb_no_memory(err, "a path"));
    int fd = mkstemp(temp);
    SB_CHECK(fd >= 0, err, SB_IO, "%s: cannot create: %s", temp, strerror(errno));
    made = true;
    /* mkstemp's mode keeps others out; a cache may be shared. */
    (void)fchmod(fd, 0644);
    if (!(file = fdopen(fd, "wb"))) {
        (void)close(fd);
        SB_TRY(sb_fail(err, SB_IO, "%s: cannot open: %s", temp, strerror(errno)));
    }
    bool ok = fwrite(&head, sizeof head, 1, file) == 1;
    for (int i = 0; ok && i < N_PARTS; i++)
        ok = fwrite(parts[i].data, 1, (size_t)parts[i].n_bytes, file) == (size_t)parts[i].n_bytes;
    ok = (fclose(file) == 0) && ok;
    SB_CHECK(ok, err, SB_IO, "%s: cannot write: %s", temp, strerror(errno));
    SB_CHECK(rename(temp, path) == 0, err, SB_IO, "%s: cannot replace: %s", path, strerror(errno));
    made = false;
out:
    if (made)
        (void)remove(temp);
    sb_free(temp);
    return st;
}

/* Whether a header is ours, has this key, and describes exactly a file of n_bytes. */
static bool header_fits(const header *head, uint64_t key, int64_t n_bytes)
{
    if (head->magic != cache_magic || head->version != CACHE_VERSION || head->key != key)
        return false;
    const int64_t limit = (int64_t)1 << 27;
    if (head->n_heads < 1 || head->dim_v < 1 || head->n_rows < 0 || head->n_heads > limit ||
        head->dim_v > limit || head->n_rows > limit)
        return false;
    double expected =
        (double)sizeof *head + 8.0 * (double)head->n_rows +
        (double)head->n_heads * (double)head->n_rows * (4.0 * (double)head->dim_v + 8);
    return expected == (double)n_bytes;
}

sb_status sb_reference_load(sb_reference *ref, const char *path, uint64_t key, bool *found,
                            sb_err *err)
{
    sb_status st = SB_OK;
    struct stat info;
    header head;
    part parts[N_PARTS];
    *found = false;
    *ref = (sb_reference){0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return SB_OK;
    if (fstat(fileno(file), &info) != 0 || fread(&head, sizeof head, 1, file) != 1 ||
        !header_fits(&head, key, info.st_size))
        goto out;
    SB_TRY(sb_reference_alloc(head.n_heads, head.dim_v, head.n_rows, ref, err));
    payload(ref, parts);
    bool ok = true;
    for (int i = 0; ok && i < N_PARTS; i++)
        ok = fread(parts[i].data, 1, (size_t)parts[i].n_bytes, file) == (size_t)parts[i].n_bytes;
    *found = ok && checksum(ref) == head.checksum;
out:
    (void)fclose(file);
    if (!*found)
        sb_reference_free(ref);
    return st;
}
