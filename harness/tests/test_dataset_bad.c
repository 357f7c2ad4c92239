/* Captures that are not as they should be: each is refused with its path and what was expected. */

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/tests/capture_rig.h"

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

int main(void)
{
    if (!rig_open())
        return 1;
    test_refusals();
    return rig_close();
}
