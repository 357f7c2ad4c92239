#include "harness/results_rows.h"

#include <inttypes.h>
#include <string.h>

#include "harness/h5util.h"
#include "harness/hash.h"
#include "harness/mem.h"

enum {
    CHUNK = 1 << 19, /* bytes: HDF5 caches chunks up to 1 MiB */
    LEVEL = 1,
    HEAD = sizeof(uint32_t) + sizeof(uint64_t)
};
static const char rows_name[] = "rows";

static int64_t layout_hash(void)
{
    const uint64_t order_of_bytes = 1;
    uint64_t hash = sb_hash64(&order_of_bytes, sizeof order_of_bytes, 0);
    for (int i = 0; i < sb_n_columns; i++) {
        char kind = (char)sb_columns[i].kind;
        hash = sb_hash64(sb_columns[i].name, strlen(sb_columns[i].name) + 1, hash);
        hash = sb_hash64(&kind, 1, hash);
    }
    return (int64_t)(hash >> 1);
}

/* ---- writing -------------------------------------------------------------------------------- */

static size_t text_bytes(const char *text)
{
    return (text ? strlen(text) : 0) + 1;
}

static size_t row_bytes(const sb_record *r)
{
    size_t n = HEAD + text_bytes(r->config) + text_bytes(r->provenance);
    for (int i = 0; i < sb_n_columns; i++)
        n += sb_columns[i].kind == SB_KIND_TEXT
                 ? text_bytes(*(char *const *)sb_column_of(&sb_columns[i], r))
                 : sizeof(int64_t);
    return n;
}

static char *put(char *at, const void *bytes, size_t n)
{
    memcpy(at, bytes, n);
    return at + n;
}

static char *put_text(char *at, const char *text)
{
    return put(at, text ? text : "", text_bytes(text));
}

static void put_row(char *at, uint32_t n, const sb_record *r)
{
    at = put(at, &n, sizeof n);
    at = put(at, &r->key, sizeof r->key);
    for (int i = 0; i < sb_n_columns; i++) {
        const void *field = sb_column_of(&sb_columns[i], r);
        at = sb_columns[i].kind == SB_KIND_TEXT ? put_text(at, *(char *const *)field)
                                                : put(at, field, sizeof(int64_t));
    }
    at = put_text(at, r->config);
    (void)put_text(at, r->provenance);
}

static sb_status begin(sb_rows *rows, int64_t n, sb_err *err)
{
    const hsize_t none = 0, most = H5S_UNLIMITED, chunk = n > 0 ? (hsize_t)n : 1;
    hid_t space = H5Screate_simple(1, &none, &most), packed = sb_h5_packed(1, &chunk, LEVEL);
    rows->set = H5Dcreate2(rows->out->file, rows_name, H5T_NATIVE_UINT8, space, H5P_DEFAULT, packed,
                           H5P_DEFAULT);
    rows->begun = true;
    sb_h5_close(packed);
    sb_h5_close(space);
    return sb_h5_wrote(rows->out, rows->set, err);
}

/* Appends the first n bytes to the dataset. */
static sb_status write_bytes(sb_rows *rows, int64_t n, sb_err *err)
{
    sb_status st = rows->begun ? SB_OK : begin(rows, n, err);
    if (st != SB_OK || n == 0)
        return st;
    const hsize_t from = (hsize_t)rows->n_written, count = (hsize_t)n, size = from + count;
    herr_t wrote = H5Dset_extent(rows->set, &size);
    hid_t all = H5Dget_space(rows->set), memory = H5Screate_simple(1, &count, NULL);
    if (wrote >= 0)
        wrote = H5Sselect_hyperslab(all, H5S_SELECT_SET, &from, NULL, &count, NULL);
    if (wrote >= 0)
        wrote = H5Dwrite(rows->set, H5T_NATIVE_UINT8, memory, all, H5P_DEFAULT, rows->bytes);
    sb_h5_close(memory);
    sb_h5_close(all);
    rows->n_written += n;
    rows->used -= n;
    memmove(rows->bytes, rows->bytes + n, (size_t)rows->used);
    return sb_h5_wrote(rows->out, wrote, err);
}

static sb_status reserve(char **bytes, int64_t *capacity, int64_t n, sb_err *err)
{
    if (n <= *capacity)
        return SB_OK;
    int64_t room = n > 2 * *capacity ? n : 2 * *capacity;
    char *grown = sb_realloc(*bytes, room, 1);
    if (!grown)
        return sb_no_memory(err, "the rows");
    *bytes = grown;
    *capacity = room;
    return SB_OK;
}

sb_status sb_rows_put(sb_rows *rows, const sb_record *r, sb_err *err)
{
    size_t n = row_bytes(r);
    if (n > INT32_MAX)
        return sb_fail(err, SB_INTERNAL, "record %016" PRIx64 ": a row of %zu bytes", r->key, n);
    sb_status st = reserve(&rows->bytes, &rows->capacity, rows->used + (int64_t)n, err);
    if (st != SB_OK)
        return st;
    put_row(rows->bytes + rows->used, (uint32_t)n, r);
    rows->used += (int64_t)n;
    rows->n_rows++;
    while (st == SB_OK && rows->used >= CHUNK)
        st = write_bytes(rows, CHUNK, err);
    return st;
}

sb_status sb_rows_finish(sb_rows *rows, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(write_bytes(rows, rows->used, err));
    SB_TRY(sb_h5_put_int(rows->out, rows->set, "columns", layout_hash(), err));
    SB_TRY(sb_h5_put_int(rows->out, rows->set, "n", rows->n_rows, err));
out:
    return st;
}

void sb_rows_close(sb_rows *rows)
{
    if (rows->begun)
        sb_h5_close(rows->set);
    sb_free(rows->bytes);
    *rows = (sb_rows){0};
}

void sb_rows_remove(const sb_h5_out *out)
{
    if (H5Lexists(out->file, rows_name, H5P_DEFAULT) > 0)
        (void)H5Ldelete(out->file, rows_name, H5P_DEFAULT);
}

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct reading {
    hid_t set;
    char *bytes; /* [used]: rows from `at` on are still to come */
    int64_t at, used, capacity;
    int64_t n_read, n_bytes; /* of the dataset */
    sb_err *err;
} reading;

static sb_status damaged(const reading *r)
{
    return sb_h5_bad(r->err, r->set, NULL, "damaged; expected rows");
}

static sb_status read_chunk(reading *r)
{
    const hsize_t from = (hsize_t)r->n_read;
    const hsize_t count =
        (hsize_t)(r->n_bytes - r->n_read < CHUNK ? r->n_bytes - r->n_read : CHUNK);
    sb_status st = reserve(&r->bytes, &r->capacity, r->used + (int64_t)count, r->err);
    if (st != SB_OK)
        return st;
    hid_t all = H5Dget_space(r->set), memory = H5Screate_simple(1, &count, NULL);
    herr_t got = H5Sselect_hyperslab(all, H5S_SELECT_SET, &from, NULL, &count, NULL);
    if (got >= 0)
        got = H5Dread(r->set, H5T_NATIVE_UINT8, memory, all, H5P_DEFAULT, r->bytes + r->used);
    sb_h5_close(memory);
    sb_h5_close(all);
    r->used += (int64_t)count;
    r->n_read += (int64_t)count;
    return got >= 0 ? SB_OK : damaged(r);
}

/* Makes the next n bytes available at r->bytes + r->at. */
static sb_status need(reading *r, int64_t n)
{
    sb_status st = SB_OK;
    if (n > r->used - r->at + r->n_bytes - r->n_read)
        return damaged(r);
    if (r->at > 0 && n > r->used - r->at) {
        r->used -= r->at;
        memmove(r->bytes, r->bytes + r->at, (size_t)r->used);
        r->at = 0;
    }
    while (st == SB_OK && n > r->used)
        st = read_chunk(r);
    return st;
}

static bool get_text(const char **at, const char *end, char **text, sb_err *err, sb_status *st)
{
    const char *nul = memchr(*at, '\0', (size_t)(end - *at));
    if (!nul)
        return false;
    *st = sb_record_set(text, *at, err);
    *at = nul + 1;
    return *st == SB_OK;
}

/* SB_BAD_DATA without a message where the row does not end where it says. */
static sb_status get_row(const char *at, const char *end, sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
    memcpy(&r->key, at + sizeof(uint32_t), sizeof r->key);
    at += HEAD;
    for (int i = 0; i < sb_n_columns; i++) {
        void *field = sb_column_at(&sb_columns[i], r);
        if (sb_columns[i].kind == SB_KIND_TEXT) {
            if (!get_text(&at, end, field, err, &st))
                return st != SB_OK ? st : SB_BAD_DATA;
        } else {
            if (end - at < (ptrdiff_t)sizeof(int64_t))
                return SB_BAD_DATA;
            memcpy(field, at, sizeof(int64_t));
            at += sizeof(int64_t);
        }
    }
    if (!get_text(&at, end, &r->config, err, &st) || !get_text(&at, end, &r->provenance, err, &st))
        return st != SB_OK ? st : SB_BAD_DATA;
    return at == end ? SB_OK : SB_BAD_DATA;
}

static sb_status visit_row(reading *r, sb_record_visit visit, void *user)
{
    sb_record record;
    uint32_t n = 0;
    sb_status st = need(r, HEAD);
    if (st == SB_OK)
        memcpy(&n, r->bytes + r->at, sizeof n);
    if (st == SB_OK)
        st = n < HEAD ? damaged(r) : need(r, n);
    if (st != SB_OK)
        return st;
    sb_record_init(&record);
    st = get_row(r->bytes + r->at, r->bytes + r->at + n, &record, r->err);
    if (st == SB_BAD_DATA)
        st = damaged(r);
    if (st == SB_OK)
        st = visit(user, &record, r->err);
    sb_record_free(&record);
    r->at += n;
    return st;
}

static int64_t n_links(hid_t file, const char *name)
{
    H5G_info_t info = {0};
    return sb_h5_owns(file, name) && H5Gget_info_by_name(file, name, &info, H5P_DEFAULT) >= 0
               ? (int64_t)info.nlinks
               : -1;
}

bool sb_rows_usable(hid_t file)
{
    int64_t layout = -1, n = -1;
    hid_t set = sb_h5_owns(file, rows_name) ? H5Dopen2(file, rows_name, H5P_DEFAULT) : -1;
    bool usable = set >= 0 && sb_h5_get_int(set, "columns", &layout, NULL) == SB_OK &&
                  sb_h5_get_int(set, "n", &n, NULL) == SB_OK && layout == layout_hash() &&
                  n == n_links(file, "records");
    sb_h5_close(set);
    return usable;
}

sb_status sb_rows_visit(hid_t file, sb_record_visit visit, void *user, sb_err *err)
{
    sb_status st = SB_OK;
    reading r = {.set = H5Dopen2(file, rows_name, H5P_DEFAULT), .err = err};
    hid_t space = H5Dget_space(r.set), type = H5Dget_type(r.set);
    r.n_bytes = (int64_t)H5Sget_simple_extent_npoints(space);
    if (H5Sget_simple_extent_ndims(space) != 1 || r.n_bytes < 0 ||
        H5Tequal(type, H5T_NATIVE_UINT8) <= 0)
        st = damaged(&r);
    while (st == SB_OK && r.n_read - (r.used - r.at) < r.n_bytes)
        st = visit_row(&r, visit, user);
    sb_free(r.bytes);
    sb_h5_close(type);
    sb_h5_close(space);
    sb_h5_close(r.set);
    return st;
}
