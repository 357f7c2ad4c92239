#include <hdf5.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/dataset.h"
#include "harness/fs.h"
#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/synth.h"
#include "harness/tests/check.h"

static char folder[256], path[300], other[300];

enum { H = 4, HKV = 2, N = 37, D = 6, DV = 5, MOST = H * N * D };

static float value(int64_t layer, int tensor, int64_t i)
{
    return (float)((layer * 31 + tensor * 7 + i) % 201 - 100) / 16.0f;
}

struct plain {
    sb_dtype dtype;
    bool spoiled;
    float q[MOST], k[MOST], v[MOST];
};

/* Layers 10 and 2, in this order. */
static sb_status plain_layer(void *user, int64_t i, sb_layer_data *out, sb_err *err)
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
    sb_layer_info info = {index, H, HKV, N, D, DV, p->dtype};
    *out = (sb_layer_data){info, p->q, p->k, p->v};
    return SB_OK;
}

static const sb_capture_meta meta = {"a model", "a text, CC0", "theta 10000", N, 0.25};

static void write_plain(sb_dtype dtype)
{
    static struct plain p;
    sb_err err = {0};
    p.dtype = dtype;
    EXPECT_MSG(sb_capture_write(path, &meta, 2, plain_layer, &p, &err) == SB_OK, "%s", err.msg);
}

static bool same_tensor(const void *got, int tensor, int64_t heads, int64_t n, int64_t dim,
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

static void expect_layer_2(const char *file, sb_dtype stored)
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

static void test_round_trip(void)
{
    TEST("round trip of every type");
    for (int dtype = SB_F32; dtype <= SB_F16; dtype++) {
        write_plain((sb_dtype)dtype);
        expect_layer_2(path, (sb_dtype)dtype);
    }

    TEST("what a capture says of itself");
    sb_err err = {0};
    sb_capture cap;
    REQUIRE(sb_capture_open(path, &cap, &err) == SB_OK);
    EXPECT(strcmp(cap.model, meta.model) == 0 && strcmp(cap.source, meta.source) == 0);
    EXPECT(strcmp(cap.rope, meta.rope) == 0 && cap.tokens == N && cap.softmax_scale == 0.25);
    EXPECT(cap.n_layers == 2 && cap.layers[0].index == 2 && cap.layers[1].index == 10);
    const sb_layer_info *l = sb_capture_layer(&cap, 10);
    EXPECT(l && l->n_heads == H && l->n_kv_heads == HKV && l->tokens == N && l->dim == D &&
           l->dim_v == DV && l->dtype == SB_F16);
    EXPECT(sb_capture_layer(&cap, 3) == NULL);

    TEST("asking for what is not there");
    sb_tensors t;
    EXPECT(sb_capture_read(&cap, 3, 1, SB_F32, &t, NULL) == SB_USAGE);
    EXPECT(sb_capture_read(&cap, 2, 0, SB_F32, &t, NULL) == SB_USAGE);
    EXPECT(sb_capture_read(&cap, 2, N + 1, SB_F32, &t, NULL) == SB_USAGE);

    TEST("digest follows the bytes");
    uint64_t first;
    EXPECT(sb_capture_digest(&cap, &err) == SB_OK && cap.digest != 0);
    first = cap.digest;
    sb_capture_close(&cap);
    write_plain(SB_F16);
    REQUIRE(sb_capture_open(path, &cap, &err) == SB_OK);
    EXPECT(sb_capture_digest(&cap, &err) == SB_OK && cap.digest == first);
    sb_capture_close(&cap);
    write_plain(SB_BF16);
    REQUIRE(sb_capture_open(path, &cap, &err) == SB_OK);
    EXPECT(sb_capture_digest(&cap, &err) == SB_OK && cap.digest != first);
    sb_capture_close(&cap);
}

/* Every finite 16-bit pattern, as [1, 65536 - those of infinity and NaN, 1]. */
struct patterns {
    sb_dtype dtype;
    uint16_t bits[1 << 16];
    float wide[1 << 16];
    int64_t n;
};

static sb_status pattern_layer(void *user, int64_t i, sb_layer_data *out, sb_err *err)
{
    struct patterns *p = user;
    (void)err;
    sb_layer_info info = {i, 1, 1, p->n, 1, 1, p->dtype};
    *out = (sb_layer_data){info, p->wide, p->wide, p->wide};
    return SB_OK;
}

static void test_exact_bits(void)
{
    TEST("every 16-bit pattern comes back as it was");
    static struct patterns p;
    for (int dtype = SB_BF16; dtype <= SB_F16; dtype++) {
        unsigned mask = dtype == SB_BF16 ? 0x7f80 : 0x7c00;
        p.dtype = (sb_dtype)dtype;
        p.n = 0;
        for (unsigned bits = 0; bits < 1 << 16; bits++)
            if ((bits & mask) != mask)
                p.bits[p.n++] = (uint16_t)bits;
        sb_to_f32(p.dtype, p.bits, p.wide, p.n);
        sb_capture_meta m = meta;
        m.tokens = p.n;
        sb_err err = {0};
        sb_capture cap;
        sb_tensors t;
        REQUIRE(sb_capture_write(path, &m, 1, pattern_layer, &p, &err) == SB_OK);
        REQUIRE(sb_capture_open(path, &cap, &err) == SB_OK);
        REQUIRE(sb_capture_read(&cap, 0, p.n, p.dtype, &t, &err) == SB_OK);
        EXPECT(memcmp(t.q, p.bits, (size_t)p.n * 2) == 0);
        sb_tensors_free(&t);
        sb_capture_close(&cap);
    }
}

/* ---- files that are not as they should be ------------------------------------------------ */

static void drop(hid_t file, const char *name)
{
    (void)H5Ldelete(file, name, H5P_DEFAULT);
}

static void set_text(hid_t file, const char *name, const char *text, bool variable)
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

static void set_number(hid_t file, const char *name, hid_t stored, double x)
{
    (void)H5Adelete(file, name);
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attr = H5Acreate2(file, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    (void)H5Awrite(attr, H5T_NATIVE_DOUBLE, &x);
    sb_h5_close(attr);
    sb_h5_close(space);
}

/* Puts a dataset of zeros in place of another; closes `type` and `create`. */
static void put(hid_t file, const char *name, hid_t type, int rank, const hsize_t *dims,
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

static void put_shape(hid_t file, const char *name, hsize_t heads, hsize_t tokens, hsize_t dim)
{
    const hsize_t dims[3] = {heads, tokens, dim};
    put(file, name, sb_h5_float_type(SB_BF16), 3, dims, H5P_DEFAULT, true);
}

#define Q "/layers/2/q"
#define K "/layers/2/k"
#define V "/layers/2/v"
static const hsize_t q_dims[4] = {H, N, D, 1};

static void other_format(hid_t f)
{
    set_text(f, "format", "stem-results", false);
}
static void other_version(hid_t f)
{
    set_number(f, "version", H5T_STD_I32LE, 2);
}
static void other_order(hid_t f)
{
    set_text(f, "block_order", "token,head,dim", false);
}
static void text_tokens(hid_t f)
{
    set_text(f, "tokens", "37", false);
}
static void zero_tokens(hid_t f)
{
    set_number(f, "tokens", H5T_STD_I32LE, 0);
}
static void half_tokens(hid_t f)
{
    set_number(f, "tokens", H5T_IEEE_F64LE, 36.5);
}
static void more_tokens(hid_t f)
{
    set_number(f, "tokens", H5T_STD_I32LE, 38);
}
static void number_model(hid_t f)
{
    set_number(f, "model", H5T_STD_I32LE, 1);
}
static void nan_scale(hid_t f)
{
    set_number(f, "softmax_scale", H5T_IEEE_F64LE, NAN);
}
static void negative_scale(hid_t f)
{
    set_number(f, "softmax_scale", H5T_IEEE_F64LE, -1);
}
static void no_layers(hid_t f)
{
    drop(f, "/layers");
}
static void empty_layers(hid_t f)
{
    drop(f, "/layers/2"), drop(f, "/layers/10");
}
static void rename_layer(hid_t f, const char *name)
{
    (void)H5Lmove(f, "/layers/2", f, name, H5P_DEFAULT, H5P_DEFAULT);
}
static void named_layer(hid_t f)
{
    rename_layer(f, "/layers/two");
}
static void padded_layer(hid_t f)
{
    rename_layer(f, "/layers/02");
}
static void negative_layer(hid_t f)
{
    rename_layer(f, "/layers/-2");
}
static void long_layer(hid_t f)
{
    rename_layer(f, "/layers/99999999999999999999");
}
static void dataset_layer(hid_t f)
{
    put_shape(f, "/layers/2", H, N, D);
}
static void soft_layer(hid_t f)
{
    drop(f, "/layers/2");
    (void)H5Lcreate_soft("/layers/10", f, "/layers/2", H5P_DEFAULT, H5P_DEFAULT);
}
static void external_link(hid_t f)
{
    drop(f, K);
    (void)H5Lcreate_external(other, K, f, K, H5P_DEFAULT, H5P_DEFAULT);
}
static void no_q(hid_t f)
{
    drop(f, Q);
}
static void group_q(hid_t f)
{
    drop(f, Q);
    sb_h5_close(H5Gcreate2(f, Q, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}
static void rank_2(hid_t f)
{
    put(f, Q, sb_h5_float_type(SB_BF16), 2, q_dims, H5P_DEFAULT, true);
}
static void rank_4(hid_t f)
{
    put(f, Q, sb_h5_float_type(SB_BF16), 4, q_dims, H5P_DEFAULT, true);
}
static void scalar_q(hid_t f)
{
    put(f, Q, sb_h5_float_type(SB_BF16), 0, q_dims, H5P_DEFAULT, true);
}
static void double_q(hid_t f)
{
    put(f, Q, H5Tcopy(H5T_IEEE_F64LE), 3, q_dims, H5P_DEFAULT, true);
}
static void integer_q(hid_t f)
{
    put(f, Q, H5Tcopy(H5T_STD_U16LE), 3, q_dims, H5P_DEFAULT, true);
}
static void odd_float_q(hid_t f)
{
    hid_t type = sb_h5_float_type(SB_BF16);
    (void)H5Tset_ebias(type, 120);
    put(f, Q, type, 3, q_dims, H5P_DEFAULT, true);
}
static void heads_3(hid_t f)
{
    put_shape(f, Q, 3, N, D);
}
static void short_v(hid_t f)
{
    put_shape(f, V, HKV, N - 1, DV);
}
static void narrow_k(hid_t f)
{
    put_shape(f, K, HKV, N, D - 1);
}
static void heads_v(hid_t f)
{
    put_shape(f, V, HKV + 1, N, DV);
}
static void other_type_v(hid_t f)
{
    const hsize_t dims[3] = {HKV, N, DV};
    put(f, V, sb_h5_float_type(SB_F16), 3, dims, H5P_DEFAULT, true);
}
static void no_heads(hid_t f)
{
    put_shape(f, Q, 0, N, D);
}
static void many_heads(hid_t f)
{
    put_shape(f, Q, 5000, N, D);
}
static void wide_heads(hid_t f)
{
    put_shape(f, Q, H, N, 5000);
}
static void huge_claim(hid_t f)
{
    const hsize_t dims[3] = {4096, N, 4096}, chunk[3] = {1, N, 4096};
    put(f, Q, sb_h5_float_type(SB_BF16), 3, dims, sb_h5_packed(3, chunk, 1), false);
}
static void unwritten(hid_t f)
{
    put(f, Q, sb_h5_float_type(SB_BF16), 3, q_dims, H5P_DEFAULT, false);
}
static void external_storage(hid_t f)
{
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    (void)H5Pset_external(create, "/etc/hostname", 0, H5F_UNLIMITED);
    put(f, Q, sb_h5_float_type(SB_BF16), 3, q_dims, create, false);
}
static void virtual_q(hid_t f)
{
    hid_t create = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(3, q_dims, NULL);
    (void)H5Pset_virtual(create, space, other, K, space);
    sb_h5_close(space);
    put(f, Q, sb_h5_float_type(SB_BF16), 3, q_dims, create, false);
}
static void checksum_filter(hid_t f)
{
    hid_t create = sb_h5_packed(3, q_dims, 1);
    (void)H5Pset_fletcher32(create);
    put(f, Q, sb_h5_float_type(SB_BF16), 3, q_dims, create, true);
}

static const struct bad {
    const char *name;
    void (*spoil)(hid_t file);
    const char *says[2]; /* where, what */
} bad[] = {
    {"foreign format", other_format, {"@format", "expected 'stem-capture'"}},
    {"newer version", other_version, {"@version", "expected 1"}},
    {"other order", other_order, {"@block_order", "head,token,dim"}},
    {"tokens as text", text_tokens, {"@tokens", "a number"}},
    {"no tokens", zero_tokens, {"@tokens", "1 to"}},
    {"half a token", half_tokens, {"@tokens", "whole number"}},
    {"more tokens than rows", more_tokens, {"/layers/10/q", "37 tokens; expected 38"}},
    {"model as number", number_model, {"@model", "a string"}},
    {"scale NaN", nan_scale, {"@softmax_scale", "positive"}},
    {"scale negative", negative_scale, {"@softmax_scale", "positive"}},
    {"no layers group", no_layers, {"layers", "expected a group"}},
    {"no layer", empty_layers, {"/layers", "expected 1 to"}},
    {"layer by name", named_layer, {"/layers/two", "layer index"}},
    {"layer 02", padded_layer, {"/layers/02", "layer index"}},
    {"layer -2", negative_layer, {"/layers/-2", "layer index"}},
    {"layer 10^20", long_layer, {"/layers/9999", "layer index"}},
    {"layer is a dataset", dataset_layer, {"/layers/2", "expected a group"}},
    {"layer is a soft link", soft_layer, {"/layers/2", "expected a group"}},
    {"k is an external link", external_link, {K, "expected a dataset"}},
    {"no q", no_q, {Q, "missing"}},
    {"q is a group", group_q, {Q, "expected a dataset"}},
    {"q of rank 2", rank_2, {Q, "rank 2; expected 3"}},
    {"q of rank 4", rank_4, {Q, "rank 4; expected 3"}},
    {"q scalar", scalar_q, {Q, "rank 0; expected 3"}},
    {"q float64", double_q, {Q, "bfloat16"}},
    {"q uint16", integer_q, {Q, "bfloat16"}},
    {"q of another bias", odd_float_q, {Q, "bfloat16"}},
    {"3 heads over 2", heads_3, {Q, "multiple of k's 2"}},
    {"v too short", short_v, {V, "36 tokens; expected 37"}},
    {"k too narrow", narrow_k, {K, "dim 5; expected 6"}},
    {"v of 3 heads", heads_v, {V, "3 heads; expected 2"}},
    {"v of another type", other_type_v, {V, "f16; expected bf16"}},
    {"no heads", no_heads, {Q, "extent 0 is 0"}},
    {"too many heads", many_heads, {Q, "extent 0 is 5000"}},
    {"too wide", wide_heads, {Q, "extent 2 is 5000"}},
    {"claims more than it holds", huge_claim, {Q, "cannot hold"}},
    {"never written", unwritten, {Q, "cannot hold"}},
    {"stored outside", external_storage, {Q, "other files"}},
    {"virtual", virtual_q, {Q, "other files"}},
    {"unknown filter", checksum_filter, {Q, "filter 3"}},
};

static void expect_refused(const char *name, const char *where, const char *what)
{
    sb_err err = {0};
    sb_capture cap;
    sb_status st = sb_capture_open(path, &cap, &err);
    EXPECT_MSG(st == SB_BAD_DATA && strncmp(err.msg, path, strlen(path)) == 0 &&
                   strstr(err.msg, where) && strstr(err.msg, what) && !strchr(err.msg, '\n'),
               "%s: status %d, %s", name, st, err.msg);
    if (st == SB_OK)
        sb_capture_close(&cap);
}

static void test_refusals(void)
{
    TEST("malformed captures");
    write_plain(SB_BF16);
    EXPECT(sb_fs_copy(path, other, NULL) == SB_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_plain(SB_BF16);
        hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
        bad[i].spoil(file);
        EXPECT(H5Fclose(file) >= 0);
        expect_refused(bad[i].name, bad[i].says[0], bad[i].says[1]);
    }

    TEST("missing attributes");
    static const char *const names[] = {"format", "version", "model",         "source",
                                        "tokens", "rope",    "softmax_scale", "block_order"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        write_plain(SB_BF16);
        hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
        (void)H5Adelete(file, names[i]);
        (void)H5Fclose(file);
        expect_refused(names[i], names[i], "missing");
    }

    TEST("what is no HDF5 file");
    EXPECT(sb_fs_write(path, "head,token\n1,2\n", 15, NULL) == SB_OK);
    expect_refused("text", path, "not an HDF5 file");
    EXPECT(sb_fs_write(path, "", 0, NULL) == SB_OK);
    expect_refused("empty", path, "not an HDF5 file");
    EXPECT(unlink(path) == 0);
    expect_refused("missing", path, "No such file");
    EXPECT(mkdir(path, 0777) == 0);
    expect_refused("directory", path, "not an HDF5 file");
    EXPECT(rmdir(path) == 0);
}

static void test_variety(void)
{
    TEST("attributes of other types, other layouts, the other byte order");
    const hsize_t dims[3] = {HKV, N, D}, chunk[3] = {2, 7, 4};
    write_plain(SB_BF16);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    set_text(file, "source", meta.source, true);
    set_text(file, "model", "a model   ", false);
    hid_t blank = sb_h5_text_type(10);
    (void)H5Tset_strpad(blank, H5T_STR_SPACEPAD);
    (void)H5Adelete(file, "model");
    hid_t scalar = H5Screate(H5S_SCALAR);
    hid_t padded = H5Acreate2(file, "model", blank, scalar, H5P_DEFAULT, H5P_DEFAULT);
    (void)H5Awrite(padded, blank, "a model   ");
    sb_h5_close(padded);
    sb_h5_close(scalar);
    sb_h5_close(blank);
    set_number(file, "version", H5T_STD_U8LE, 1);
    set_number(file, "tokens", H5T_IEEE_F32BE, N);
    set_number(file, "softmax_scale", H5T_IEEE_F32LE, 0.25);
    hid_t type = sb_h5_float_type(SB_BF16), native = sb_h5_float_type(SB_BF16);
    (void)H5Tset_order(type, H5T_ORDER_BE);
    put(file, K, type, 3, dims, sb_h5_packed(3, chunk, 1), false);
    static uint16_t raw[HKV * N * D];
    for (int64_t i = 0; i < HKV * N * D; i++)
        sb_from_f32(SB_BF16, &(float){value(2, 1, i)}, &raw[i], 1);
    hid_t set = H5Dopen2(file, K, H5P_DEFAULT);
    EXPECT(H5Dwrite(set, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, raw) >= 0);
    sb_h5_close(set);
    sb_h5_close(native);
    (void)H5Fclose(file);
    expect_layer_2(path, SB_BF16);
    sb_capture cap;
    sb_err err = {0};
    REQUIRE(sb_capture_open(path, &cap, &err) == SB_OK);
    EXPECT(strcmp(cap.source, meta.source) == 0 && cap.tokens == N && cap.softmax_scale == 0.25);
    EXPECT(strcmp(cap.model, "a model") == 0);
    sb_capture_close(&cap);
}

static void read_k(int64_t n, sb_tensors *x)
{
    sb_capture cap;
    sb_err err = {0};
    *x = (sb_tensors){0};
    REQUIRE(sb_capture_open(path, &cap, &err) == SB_OK);
    EXPECT(sb_capture_read(&cap, 0, n, SB_F32, x, &err) == SB_OK);
    sb_capture_close(&cap);
}

static void test_chunks(void)
{
    TEST("chunks over several heads, the last ones cut");
    sb_synth_options o = sb_synth_defaults();
    o.tokens = 1100;
    o.heads = 10;
    o.kv_heads = 5;
    o.dim = 12;
    o.needles = 1;
    o.layers = 1;
    o.dtype = SB_F32;
    sb_tensors whole, again;
    REQUIRE(sb_synth(path, &o, NULL) == SB_OK);
    read_k(o.tokens, &whole);
    REQUIRE(whole.k != NULL);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    const hsize_t dims[3] = {5, 1100, 12}, chunk[3] = {2, 300, 5};
    put(file, "/layers/0/k", sb_h5_float_type(SB_F32), 3, dims, sb_h5_packed(3, chunk, 1), false);
    hid_t set = H5Dopen2(file, "/layers/0/k", H5P_DEFAULT);
    EXPECT(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, whole.k) >= 0);
    sb_h5_close(set);
    (void)H5Fclose(file);
    for (int64_t n = 1; n <= o.tokens; n += 157) {
        read_k(n, &again);
        REQUIRE(again.k != NULL);
        for (int64_t h = 0; h < o.kv_heads; h++)
            EXPECT(memcmp((float *)again.k + h * n * o.dim, (float *)whole.k + h * 1100 * o.dim,
                          (size_t)(n * o.dim) * sizeof(float)) == 0);
        sb_tensors_free(&again);
    }
    sb_tensors_free(&whole);
}

static void test_bfloat16_type(void)
{
    TEST("bfloat16 in the file is what other readers expect");
    write_plain(SB_BF16);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "/layers/2/q", H5P_DEFAULT), type = H5Dget_type(set);
    size_t at[5] = {0};
    EXPECT(H5Tget_fields(type, &at[0], &at[1], &at[2], &at[3], &at[4]) >= 0);
    EXPECT(at[0] == 15 && at[1] == 7 && at[2] == 8 && at[3] == 0 && at[4] == 7);
    EXPECT(H5Tget_size(type) == 2 && H5Tget_ebias(type) == 127);
    static float through[H * N * D]; /* HDF5's own conversion */
    EXPECT(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, through) >= 0);
    for (int64_t i = 0; i < H * N * D; i++)
        EXPECT(through[i] == value(2, 0, i));
    sb_h5_close(type);
    sb_h5_close(set);
    (void)H5Fclose(file);
}

static void poke(const char *name, int64_t head, int64_t token, int64_t channel, float x)
{
    const hsize_t at[3] = {(hsize_t)head, (hsize_t)token, (hsize_t)channel}, one[3] = {1, 1, 1};
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(set);
    hid_t memory = H5Screate_simple(3, one, NULL);
    (void)H5Sselect_hyperslab(space, H5S_SELECT_SET, at, NULL, one, NULL);
    (void)H5Dwrite(set, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, &x);
    sb_h5_close(memory);
    sb_h5_close(space);
    sb_h5_close(set);
    (void)H5Fclose(file);
}

static void expect_value_refused(sb_dtype asked, int64_t n, const char *what)
{
    sb_capture cap;
    sb_tensors t;
    sb_err err = {0};
    REQUIRE(sb_capture_open(path, &cap, &err) == SB_OK);
    sb_status st = sb_capture_read(&cap, 2, n, asked, &t, &err);
    if (what)
        EXPECT_MSG(st == SB_BAD_DATA && strstr(err.msg, what), "%d %s", st, err.msg);
    else
        EXPECT_MSG(st == SB_OK, "%s", err.msg);
    sb_tensors_free(&t);
    sb_capture_close(&cap);
}

static void test_values(void)
{
    TEST("values that are not finite");
    write_plain(SB_F32);
    poke(V, 1, 30, 4, NAN);
    expect_value_refused(SB_F32, 30, NULL);
    expect_value_refused(SB_F32, 31, V ": nan at head 1, token 30, channel 4");
    expect_value_refused(SB_BF16, N, V ": nan at head 1, token 30, channel 4");
    write_plain(SB_F16);
    poke(Q, 3, 36, 5, INFINITY);
    expect_value_refused(SB_F16, N, Q ": inf at head 3, token 36, channel 5");

    TEST("values that the asked type cannot hold");
    write_plain(SB_F32);
    poke(K, 0, 2, 1, 1e5f);
    expect_value_refused(SB_BF16, N, NULL);
    expect_value_refused(SB_F16, N, K ": 100000 at head 0, token 2, channel 1");

    TEST("a writer given what does not fit");
    static struct plain p = {.dtype = SB_F16};
    sb_err err = {0};
    sb_capture_meta m = meta;
    m.tokens = N + 1;
    EXPECT(sb_capture_write(path, &m, 1, plain_layer, &p, &err) == SB_USAGE);
    EXPECT(sb_capture_write(path, &meta, 3, plain_layer, &p, &err) == SB_USAGE);
    p.spoiled = true;
    err = (sb_err){0};
    EXPECT(sb_capture_write(path, &meta, 1, plain_layer, &p, &err) == SB_BAD_DATA);
    EXPECT(strstr(err.msg, "k: 70000 at head 0, token 1, channel 2") != NULL);

    TEST("statistics");
    write_plain(SB_F32);
    sb_capture cap;
    sb_tensor_stats s;
    REQUIRE(sb_capture_open(path, &cap, NULL) == SB_OK);
    REQUIRE(sb_capture_stats(&cap, 2, 'v', &s, &err) == SB_OK);
    double sum = 0, squares = 0, min = INFINITY, max = -INFINITY;
    for (int64_t i = 0; i < HKV * N * DV; i++) {
        double x = (double)value(2, 2, i);
        sum += x;
        squares += x * x;
        min = fmin(min, x);
        max = fmax(max, x);
    }
    double n = HKV * N * DV;
    EXPECT(s.min == min && s.max == max && fabs(s.mean - sum / n) < 1e-12);
    EXPECT(fabs(s.std - sqrt(squares / n - sum / n * (sum / n))) < 1e-9);
    const double at[2] = {s.norm_p50, s.norm_p99};
    const int64_t rank[2] = {36, 72}; /* nearest ranks of 74 rows */
    for (int i = 0; i < 2; i++) {
        int64_t n_below = 0, n_up_to = 0;
        for (int64_t row = 0; row < HKV * N; row++) {
            double norm = 0;
            for (int64_t c = 0; c < DV; c++)
                norm += pow((double)value(2, 2, row * DV + c), 2);
            n_below += sqrt(norm) < at[i] - 1e-9;
            n_up_to += sqrt(norm) <= at[i] + 1e-9;
        }
        EXPECT(n_below <= rank[i] && rank[i] < n_up_to);
    }
    sb_capture_close(&cap);
}

static void test_truncated(void)
{
    TEST("truncated at any length");
    write_plain(SB_BF16);
    struct stat whole;
    REQUIRE(stat(path, &whole) == 0);
    for (int64_t cut = whole.st_size - 1; cut >= 0; cut -= cut < 256 ? 1 : 61) {
        sb_capture cap;
        REQUIRE(truncate(path, cut) == 0);
        EXPECT(sb_capture_open(path, &cap, NULL) == SB_BAD_DATA);
    }
}

static void test_memory(void)
{
    TEST("every allocation may fail");
    write_plain(SB_BF16);
    int64_t before = sb_mem_live();
    sb_status st = SB_NO_MEMORY;
    int64_t at = 0;
    while (st == SB_NO_MEMORY && at < 1000) {
        sb_err err = {0};
        sb_capture cap;
        sb_tensors t = {0};
        sb_tensor_stats s;
        sb_mem_fail_at(++at);
        st = sb_capture_open(path, &cap, &err);
        if (st == SB_OK)
            st = sb_capture_read(&cap, 2, N, SB_F32, &t, &err);
        if (st == SB_OK)
            st = sb_capture_stats(&cap, 2, 'q', &s, &err);
        if (st == SB_OK)
            st = sb_capture_digest(&cap, &err);
        sb_mem_fail_at(0);
        EXPECT(st == SB_OK || err.status == SB_NO_MEMORY);
        sb_tensors_free(&t);
        sb_capture_close(&cap);
        EXPECT(sb_mem_live() == before);
    }
    EXPECT(st == SB_OK && at > 10);
    for (st = SB_NO_MEMORY, at = 0; st == SB_NO_MEMORY && at < 1000;) {
        sb_synth_options o = sb_synth_defaults();
        o.tokens = 40;
        sb_mem_fail_at(++at);
        st = sb_synth(path, &o, NULL);
        sb_mem_fail_at(0);
        EXPECT(sb_mem_live() == before);
    }
    EXPECT(st == SB_OK && at > 10);
}

static void test_full_disk(void)
{
    TEST("a disk that fills up");
    write_plain(SB_F32);
    struct stat whole;
    REQUIRE(stat(path, &whole) == 0);
    for (int64_t limit = 0; limit < whole.st_size; limit += whole.st_size / 23) {
        pid_t child = fork();
        if (child == 0) {
            static struct plain p = {.dtype = SB_F32};
            sb_err err = {0};
            struct rlimit most = {(rlim_t)limit, (rlim_t)limit};
            (void)signal(SIGXFSZ, SIG_IGN);
            (void)setrlimit(RLIMIT_FSIZE, &most);
            sb_status st = sb_capture_write(other, &meta, 2, plain_layer, &p, &err);
            (void)H5close();
            _exit(st == SB_IO && strstr(err.msg, "File too large") ? 0 : 1);
        }
        int status = -1;
        EXPECT(waitpid(child, &status, 0) == child && status == 0);
        char temporary[320];
        (void)snprintf(temporary, sizeof temporary, "%s.tmp", other);
        EXPECT(access(temporary, F_OK) != 0);
    }
    sb_err err = {0};
    static struct plain p = {.dtype = SB_F32};
    EXPECT(sb_capture_write("/nonexistent/x.h5", &meta, 2, plain_layer, &p, &err) == SB_IO);
    EXPECT(strstr(err.msg, "No such file") != NULL);
}

/* ---- synthetic captures ------------------------------------------------------------------ */

static double logit(const float *q, const float *k, int64_t dim)
{
    double sum = 0;
    for (int64_t c = 0; c < dim; c++)
        sum += (double)q[c] * (double)k[c];
    return sum / sqrt((double)dim);
}

/* Share of query t's attention, in one head, that falls on keys [from, to). */
static double share(const sb_tensors *x, const sb_synth_options *o, int64_t h, int64_t t,
                    int64_t from, int64_t to)
{
    const float *q = (const float *)x->q + (h * o->tokens + t) * o->dim;
    const float *k = (const float *)x->k + h / (o->heads / o->kv_heads) * o->tokens * o->dim;
    double all = 0, some = 0;
    for (int64_t s = 0; s <= t; s++) {
        double e = exp(logit(q, k + s * o->dim, o->dim) - 20);
        all += e;
        some += s >= from && s < to ? e : 0;
    }
    return some / all;
}

static void test_synth(void)
{
    TEST("synthetic structure is where it is said to be");
    sb_synth_options o = sb_synth_defaults();
    o.tokens = 2048;
    double least = 1;
    sb_err err = {0};
    sb_capture cap;
    sb_tensors x;
    EXPECT_MSG(sb_synth(path, &o, &err) == SB_OK, "%s", err.msg);
    REQUIRE(sb_capture_open(path, &cap, &err) == SB_OK);
    REQUIRE(cap.n_layers == o.layers);
    REQUIRE(sb_capture_read(&cap, 1, o.tokens, SB_F32, &x, &err) == SB_OK);
    for (int64_t i = 0; i < o.needles; i++) {
        sb_needle needle = sb_synth_needle(&o, i);
        char text[64];
        (void)snprintf(text, sizeof text, "%" PRId64 "..%" PRId64 " -> %" PRId64, needle.q0,
                       needle.q1 - 1, needle.key);
        EXPECT(strstr(cap.source, text) != NULL);
        REQUIRE(needle.key >= 0 && needle.key < needle.q0 && needle.q1 <= o.tokens);
        for (int64_t h = 0; h < o.heads; h++)
            least = fmin(least, share(&x, &o, h, needle.q0, needle.key, needle.key + 1));
    }
    EXPECT_MSG(least > 0.2, "%g", least);
    int64_t t = sb_synth_needle(&o, 3).q1 + 1; /* a query of no needle */
    REQUIRE(t < sb_synth_needle(&o, 4).q0);
    double sinks = 0, local = 0;
    for (int64_t s = 0; s < o.sinks; s++)
        EXPECT(share(&x, &o, 0, t, s, s + 1) > 0.03);
    for (int64_t h = 0; h < o.heads; h++) {
        sinks += share(&x, &o, h, t, 0, o.sinks) / (double)o.heads;
        local += share(&x, &o, h, t, t - 128, t + 1) / (double)o.heads;
    }
    EXPECT_MSG(sinks > 0.15 && local > 0.15, "sinks %g local %g", sinks, local);
    sb_tensors_free(&x);
    sb_capture_close(&cap);

    TEST("strength 0 plants nothing");
    o.needle_strength = o.sink_strength = o.local_strength = 0;
    REQUIRE(sb_synth(path, &o, &err) == SB_OK);
    REQUIRE(sb_capture_open(path, &cap, &err) == SB_OK);
    REQUIRE(sb_capture_read(&cap, 1, o.tokens, SB_F32, &x, &err) == SB_OK);
    sb_needle needle = sb_synth_needle(&o, 0);
    EXPECT(share(&x, &o, 0, needle.q0, needle.key, needle.key + 1) < 0.1);
    EXPECT(share(&x, &o, 0, t, 0, o.sinks) < 0.1);
    sb_tensors_free(&x);
    sb_capture_close(&cap);

    TEST("synthetic options");
    o = sb_synth_defaults();
    o.kv_heads = 3;
    EXPECT(sb_synth(path, &o, NULL) == SB_USAGE);
    o = sb_synth_defaults();
    o.needles = o.dim;
    EXPECT(sb_synth(path, &o, &err) == SB_USAGE && strstr(err.msg, "needles"));
    o = sb_synth_defaults();
    o.noise = NAN;
    EXPECT(sb_synth(path, &o, NULL) == SB_USAGE);
    for (int64_t n = 1; n < 40; n++) {
        o = sb_synth_defaults();
        o.tokens = n;
        o.sinks = 1;
        sb_status st = sb_synth_check(&o, NULL);
        EXPECT(st == (n < 32 ? SB_USAGE : SB_OK));
        for (int64_t i = 0; st == SB_OK && i < o.needles; i++) {
            needle = sb_synth_needle(&o, i);
            EXPECT(needle.key < needle.q0 && needle.q0 < needle.q1 && needle.q1 <= n);
        }
    }
}

static void test_mask(void)
{
    TEST("mask files");
    const int64_t row_ptr[] = {0, 1, 3};
    const int32_t col[] = {0, 0, 1};
    const char *const attributes[] = {"method=stem", "mask_hash=1234567890123456", "density=0.75",
                                      "tokens=128", "note=1 of 2"};
    sb_err err = {0};
    REQUIRE(sb_mask_write(path, row_ptr, 2, col, attributes, 5, &err) == SB_OK);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "row_ptr", H5P_DEFAULT);
    int64_t rows[3] = {-1}, tokens = 0;
    int32_t cols[3] = {-1};
    double density = 0;
    char *hash = NULL, *text = NULL;
    EXPECT(H5Dread(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
    EXPECT(memcmp(rows, row_ptr, sizeof rows) == 0);
    sb_h5_close(set);
    set = H5Dopen2(file, "col", H5P_DEFAULT);
    EXPECT(H5Dread(set, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, cols) >= 0);
    EXPECT(memcmp(cols, col, sizeof cols) == 0);
    sb_h5_close(set);
    EXPECT(sb_h5_get_int(file, "tokens", &tokens, &err) == SB_OK && tokens == 128);
    EXPECT(sb_h5_get_real(file, "density", &density, &err) == SB_OK && density == 0.75);
    EXPECT(sb_h5_get_text(file, "mask_hash", &hash, &err) == SB_OK &&
           strcmp(hash, "1234567890123456") == 0);
    EXPECT(sb_h5_get_text(file, "note", &text, &err) == SB_OK && strcmp(text, "1 of 2") == 0);
    sb_free(hash);
    sb_free(text);
    (void)H5Fclose(file);
}

int main(void)
{
    const char *place = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/stembench-XXXXXX", place ? place : "/tmp");
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(path, sizeof path, "%s/capture.h5", folder);
    (void)snprintf(other, sizeof other, "%s/other.h5", folder);
    sb_h5_quiet();
    test_round_trip();
    test_exact_bits();
    test_refusals();
    test_variety();
    test_chunks();
    test_bfloat16_type();
    test_values();
    test_truncated();
    test_memory();
    test_full_disk();
    test_synth();
    test_mask();
    TEST("nothing is left");
    EXPECT(sb_mem_live() == 0);
    EXPECT(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0);
    EXPECT(sb_fs_remove(folder, NULL) == SB_OK);
    (void)H5close();
    return sb_tests_done();
}
