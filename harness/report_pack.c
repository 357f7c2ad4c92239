#include <limits.h>
#include <zlib.h>

#include "harness/mem.h"
#include "harness/report_maps.h"

static void *zlib_alloc(void *opaque, unsigned n, unsigned bytes)
{
    (void)opaque;
    return sb_alloc(n, bytes);
}

static void zlib_free(void *opaque, void *block)
{
    (void)opaque;
    sb_free(block);
}

/* text is [4 ceil(n / 3) + 1]. */
static void base64(const unsigned char *bytes, int64_t n, char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int64_t i = 0; i < n; i += 3) {
        unsigned b1 = i + 1 < n ? bytes[i + 1] : 0, b2 = i + 2 < n ? bytes[i + 2] : 0;
        unsigned word = (unsigned)bytes[i] << 16 | b1 << 8 | b2;
        for (int k = 0; k < 4; k++)
            *text++ = i + k > n ? '=' : digits[word >> (18 - 6 * k) & 63];
    }
    *text = '\0';
}

sb_status sb_pack(const unsigned char *bytes, int64_t n, sb_packed *packed, sb_err *err)
{
    sb_status st = SB_OK;
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    unsigned char *small = NULL;
    SB_CHECK(n <= UINT_MAX / 2, err, SB_INTERNAL, "more than 2 GiB to pack");
    SB_CHECK(deflateInit(&z, Z_BEST_COMPRESSION) == Z_OK, err, SB_NO_MEMORY,
             "out of memory for compression");
    uLong room = deflateBound(&z, (uLong)n);
    small = sb_alloc_uninit((int64_t)room, 1);
    SB_CHECK(small, err, SB_NO_MEMORY, "out of memory for compression");
    z.next_in = (z_const Bytef *)(size_t)bytes;
    z.avail_in = (uInt)n;
    z.next_out = small;
    z.avail_out = (uInt)room;
    SB_CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END, err, SB_INTERNAL, "a map was not compressed");
    int64_t n_small = (int64_t)z.total_out;
    packed->n = (n_small + 2) / 3 * 4;
    packed->text = sb_alloc_uninit(packed->n + 1, 1);
    SB_CHECK(packed->text, err, SB_NO_MEMORY, "out of memory for a packed map");
    base64(small, n_small, packed->text);
out:
    (void)deflateEnd(&z);
    sb_free(small);
    return st;
}
