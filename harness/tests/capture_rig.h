#ifndef SB_CAPTURE_RIG_H
#define SB_CAPTURE_RIG_H

/* A small capture of two layers, and ways to change it behind the library's back, for the tests of
 * captures. */

#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

#include "harness/dataset.h"
#include "harness/h5util.h"
#include "harness/tests/folder_rig.h"

static char path[300], other[300];

enum { H = 4, HKV = 2, N = 37, D = 6, DV = 5, MOST = H * N * D };

static inline float value(int64_t layer, int tensor, int64_t i)
{
    return (float)((layer * 31 + tensor * 7 + i) % 201 - 100) / 16.0f;
}

struct plain {
    sb_dtype dtype;
    bool spoiled;
    float q[MOST], k[MOST], v[MOST];
};

/* Layers 10 and 2, in this order. */
static inline sb_status plain_layer(void *user, int64_t i, sb_layer_data *out, sb_err *err)
{
    struct plain *p = user;
    (void)err;
    int64_t index = i == 0 ? 10 : 2;
    for (int64_t j = 0; j < MOST; j++) {
        p->q[j] = value(index, 0, j);
        p->k[j] = value(index, 1, j);
        p->v[j] = value(index, 2, j);
    }
    if (p->spoiled)
        p->k[D + 2] = 7e4f;
    sb_layer_info info = {index, H, HKV, N, D, DV, p->dtype, 0};
    *out = (sb_layer_data){info, p->q, p->k, p->v};
    return SB_OK;
}

static const sb_capture_meta meta = {"a model", "a text, CC0", "theta 10000", N, 0.25, 4};

static inline void write_plain(sb_dtype dtype)
{
    static struct plain p;
    sb_err err = {0};
    p.dtype = dtype;
    EXPECT_MSG(sb_capture_write(path, &meta, 2, plain_layer, &p, &err) == SB_OK, "%s", err.msg);
}

static inline bool same_tensor(const void *got, int tensor, int64_t heads, int64_t n, int64_t dim,
                               sb_dtype stored, sb_dtype asked)
{
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < n * dim; i++) {
            float x = value(2, tensor, h * N * dim + i);
            unsigned char raw[4] = {0}, wanted[4] = {0};
            sb_from_f32(stored, &x, raw, 1);
            sb_to_f32(stored, raw, &x, 1);
            sb_from_f32(asked, &x, wanted, 1);
            size_t bytes = sb_dtype_bytes(asked);
            if (memcmp((const char *)got + (size_t)(h * n * dim + i) * bytes, wanted, bytes) != 0)
                return false;
        }
    return true;
}

static inline void expect_layer_2(const char *file, sb_dtype stored)
{
    for (int asked = SB_F32; asked <= SB_F16; asked++)
        for (int64_t n = 1; n <= N; n += 12) {
            sb_err err = {0};
            sb_capture cap;
            sb_tensors t;
            REQUIRE(sb_capture_open(file, &cap, &err) == SB_OK);
            sb_status st = sb_capture_read(&cap, 2, n, (sb_dtype)asked, &t, &err);
            EXPECT_MSG(st == SB_OK, "%s", err.msg);
            if (st == SB_OK) {
                EXPECT(same_tensor(t.q, 0, H, n, D, stored, (sb_dtype)asked));
                EXPECT(same_tensor(t.k, 1, HKV, n, D, stored, (sb_dtype)asked));
                EXPECT(same_tensor(t.v, 2, HKV, n, DV, stored, (sb_dtype)asked));
            }
            sb_tensors_free(&t);
            sb_capture_close(&cap);
        }
}

/* ---- changes to a file ------------------------------------------------------------------- */

static inline void drop(hid_t file, const char *name)
{
    (void)H5Ldelete(file, name, H5P_DEFAULT);
}

static inline void set_text(hid_t file, const char *name, const char *text, bool variable)
{
    (void)H5Adelete(file, name);
    hid_t type = sb_h5_text_type(variable ? H5T_VARIABLE : strlen(text));
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attr = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    (void)H5Awrite(attr, type, variable ? (const void *)&text : text);
    sb_h5_close(attr);
    sb_h5_close(space);
    sb_h5_close(type);
}

static inline void set_number(hid_t file, const char *name, hid_t stored, double x)
{
    (void)H5Adelete(file, name);
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attr = H5Acreate2(file, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    (void)H5Awrite(attr, H5T_NATIVE_DOUBLE, &x);
    sb_h5_close(attr);
    sb_h5_close(space);
}

/* Puts a dataset of zeros in place of another; closes `type` and `create`. */
static inline void put(hid_t file, const char *name, hid_t type, int rank, const hsize_t *dims,
                       hid_t create, bool fill)
{
    drop(file, name);
    hid_t space = H5Screate_simple(rank, dims, NULL);
    hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    if (fill) {
        hssize_t n = H5Sget_simple_extent_npoints(space);
        void *zeros = calloc((size_t)n + 1, 8);
        (void)H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros);
        free(zeros);
    }
    sb_h5_close(set);
    sb_h5_close(space);
    sb_h5_close(type);
    if (create != H5P_DEFAULT)
        sb_h5_close(create);
}

static inline void put_shape(hid_t file, const char *name, hsize_t heads, hsize_t tokens,
                             hsize_t dim)
{
    const hsize_t dims[3] = {heads, tokens, dim};
    put(file, name, sb_h5_float_type(SB_BF16), 3, dims, H5P_DEFAULT, true);
}

#define Q "/layers/2/q"
#define K "/layers/2/k"
#define V "/layers/2/v"

/* ---- a place for the files ----------------------------------------------------------------- */

static inline bool rig_open(void)
{
    if (!folder_open())
        return false;
    (void)snprintf(path, sizeof path, "%s/capture.h5", folder);
    (void)snprintf(other, sizeof other, "%s/other.h5", folder);
    return true;
}

#endif
