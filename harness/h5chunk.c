#include "harness/h5chunk.h"

#include <math.h>
#include <zlib.h>

#include "harness/h5util.h"
#include "harness/mem.h"

enum { MAX_RATIO = 1040 /* deflate makes at most 1032 bytes of one */ };

/* Deflate comes last, so that its output is a chunk. *deflate tells whether and where it is. */
static sb_status check_filters(hid_t group, const char *name, hid_t create, int *deflate,
                               sb_err *err)
{
    unsigned options = 0;
    *deflate = -1;
    /* HDF5 1.10 takes an unfiltered chunk for whole, whatever size its index gives it. */
    if (H5Pget_layout(create) == H5D_CHUNKED && H5Pget_chunk_opts(create, &options) >= 0 &&
        options != 0)
        return sb_h5_bad(err, group, name,
                         "leaves chunks at its edge unfiltered; expected all "
                         "chunks filtered alike");
    int n = H5Pget_nfilters(create);
    for (int i = 0; i < n; i++) {
        unsigned flags = 0;
        size_t n_values = 0;
        H5Z_filter_t filter =
            H5Pget_filter2(create, (unsigned)i, &flags, &n_values, NULL, 0, NULL, NULL);
        if (*deflate >= 0 || (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE))
            return sb_h5_bad(err, group, name,
                             "uses HDF5 filter %d; expected shuffle, then deflate", (int)filter);
        if (filter == H5Z_FILTER_DEFLATE)
            *deflate = i;
    }
    return SB_OK;
}

/* HDF5 unpacks a whole chunk at once, however little of it is inside the tensor. */
static sb_status check_chunk_shape(hid_t group, const char *name, hid_t create, const int64_t *dims,
                                   sb_err *err)
{
    static const double small = 0x1p22; /* elements that any chunk may have */
    hsize_t chunk[3] = {0};
    if (H5Pget_layout(create) != H5D_CHUNKED)
        return SB_OK;
    bool known = H5Pget_chunk(create, 3, chunk) == 3;
    double n = (double)chunk[0] * (double)chunk[1] * (double)chunk[2];
    double most = (double)dims[0] * (double)dims[1] * (double)dims[2];
    if (known && n >= 1 && n <= fmax(most, small))
        return SB_OK;
    return sb_h5_bad(err, group, name, "chunks of %llu x %llu x %llu; expected parts of its shape",
                     (unsigned long long)chunk[0], (unsigned long long)chunk[1],
                     (unsigned long long)chunk[2]);
}

static hsize_t file_bytes(hid_t set)
{
    hsize_t bytes = 0;
    hid_t file = H5Iget_file_id(set);
    (void)H5Fget_filesize(file, &bytes);
    sb_h5_close(file);
    return bytes;
}

sb_status sb_h5_check_storage(hid_t group, const char *name, hid_t set, const int64_t *dims,
                              size_t elem_bytes, sb_err *err)
{
    sb_status st = SB_OK;
    int deflate = -1;
    double needed = (double)dims[0] * (double)dims[1] * (double)dims[2] * (double)elem_bytes;
    double stored = (double)H5Dget_storage_size(set), most = (double)file_bytes(set);
    hid_t create = H5Dget_create_plist(set);
    SB_TRY(check_filters(group, name, create, &deflate, err));
    /* A header can claim any size. */
    if (stored > most)
        st = sb_h5_bad(err, group, name, "%.0f bytes are beyond the file; expected all in it",
                       stored);
    else if ((deflate >= 0 ? MAX_RATIO : 1) * stored < needed)
        st = sb_h5_bad(err, group, name,
                       "%.0f bytes cannot hold its shape; expected all %.0f bytes", stored, needed);
    else
        st = check_chunk_shape(group, name, create, dims, err);
out:
    sb_h5_close(create);
    return st;
}

sb_status sb_h5_check_inside(hid_t group, const char *name, hid_t set, sb_err *err)
{
    hid_t create = H5Dget_create_plist(set);
    bool inside = H5Pget_external_count(create) == 0 && H5Pget_layout(create) != H5D_VIRTUAL;
    sb_h5_close(create);
    return inside ? SB_OK
                  : sb_h5_bad(err, group, name,
                              "its values are in other files; expected them in this");
}

/* ---- chunks -------------------------------------------------------------------------------- */

/* A tensor whose chunks are looked at. */
struct walk {
    hid_t set;
    int deflate; /* its place among the filters, or -1 */
    hsize_t extent[3], chunk[3];
    size_t chunk_bytes;
};

/* Whether n packed bytes unpack to `expected` bytes and no more. */
static bool unpacks_to(const unsigned char *packed, size_t n, size_t expected)
{
    unsigned char out[1 << 14];
    z_stream z = {.next_in = (z_const Bytef *)packed};
    size_t total = 0, left = n;
    int code = inflateInit(&z);
    while (code == Z_OK && total <= expected) {
        if (z.avail_in == 0) {
            z.avail_in = (uInt)(left < 1u << 30 ? left : 1u << 30);
            left -= z.avail_in;
        }
        z.next_out = out;
        z.avail_out = sizeof out;
        code = inflate(&z, Z_NO_FLUSH);
        total += sizeof out - z.avail_out;
    }
    (void)inflateEnd(&z);
    return code == Z_STREAM_END && total == expected;
}

/* Where there are no filters, HDF5 1.10 reads as many bytes as the chunk index says, and takes them
 * for a chunk. Looking an entry up can find one that is elsewhere, so all are looked at. */
static bool index_is_good(const struct walk *w, hid_t space)
{
    hsize_t n = 0, at[3], bytes;
    unsigned skipped;
    haddr_t address;
    bool good = H5Dget_num_chunks(w->set, space, &n) >= 0;
    for (hsize_t i = 0; i < n && good; i++)
        good = H5Dget_chunk_info(w->set, space, i, at, &skipped, &address, &bytes) >= 0 &&
               bytes == w->chunk_bytes;
    return good;
}

static sb_status check_chunk(const struct walk *w, const hsize_t *at, bool *good)
{
    hsize_t n = 0;
    uint32_t skipped = 0;
    *good = H5Dget_chunk_storage_size(w->set, at, &n) >= 0;
    if (!*good || n == 0)
        return SB_OK;
    unsigned char *packed = sb_alloc_uninit((int64_t)n, 1);
    if (!packed)
        return SB_NO_MEMORY;
    *good = H5Dread_chunk(w->set, H5P_DEFAULT, at, &skipped, packed) >= 0;
    bool is_packed = w->deflate >= 0 && !(skipped >> w->deflate & 1);
    if (*good)
        *good = is_packed ? unpacks_to(packed, (size_t)n, w->chunk_bytes) : n == w->chunk_bytes;
    sb_free(packed);
    return SB_OK;
}

static sb_status check_all(hid_t group, const char *name, const struct walk *w, sb_err *err)
{
    hsize_t at[3];
    for (at[0] = 0; at[0] < w->extent[0]; at[0] += w->chunk[0])
        for (at[1] = 0; at[1] < w->extent[1]; at[1] += w->chunk[1])
            for (at[2] = 0; at[2] < w->extent[2]; at[2] += w->chunk[2]) {
                bool good;
                if (check_chunk(w, at, &good) != SB_OK)
                    return sb_no_memory(err, "a chunk");
                if (!good)
                    return sb_h5_bad(err, group, name,
                                     "damaged chunk from head %llu, token %llu; expected a whole "
                                     "file",
                                     (unsigned long long)at[0], (unsigned long long)at[1]);
            }
    return SB_OK;
}

sb_status sb_h5_check_chunks(hid_t group, const char *name, hid_t set, int64_t n_tokens,
                             sb_err *err)
{
    sb_status st = SB_OK;
    struct walk w = {.set = set};
    hid_t create = H5Dget_create_plist(set), space = H5Dget_space(set), type = H5Dget_type(set);
    if (H5Pget_layout(create) != H5D_CHUNKED)
        goto out;
    SB_TRY(check_filters(group, name, create, &w.deflate, err));
    (void)H5Sget_simple_extent_dims(space, w.extent, NULL);
    (void)H5Pget_chunk(create, 3, w.chunk);
    w.chunk_bytes = (size_t)(w.chunk[0] * w.chunk[1] * w.chunk[2]) * H5Tget_size(type);
    w.extent[1] = (hsize_t)n_tokens;
    if (H5Pget_nfilters(create) > 0)
        SB_TRY(check_all(group, name, &w, err));
    else if (!index_is_good(&w, space))
        st = sb_h5_bad(err, group, name, "damaged index of chunks; expected a whole file");
out:
    sb_h5_close(type);
    sb_h5_close(space);
    sb_h5_close(create);
    return st;
}
