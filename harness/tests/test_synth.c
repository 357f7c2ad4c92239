/* Files that the program makes: synthetic captures with known structure, and masks. */

#include <math.h>

#include "harness/synth.h"
#include "harness/tests/capture_rig.h"

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
    const uint64_t kept[] = {UINT64_MAX, 5, UINT64_C(1) << 63};
    const char *const attributes[] = {"method=stem", "mask_hash=1234567890123456", "density=0.75",
                                      "tokens=128", "note=1 of 2"};
    sb_err err = {0};
    REQUIRE(sb_mask_write(path, row_ptr, 2, col, NULL, attributes, 5, &err) == SB_OK);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    EXPECT(H5Lexists(file, "tokens", H5P_DEFAULT) == 0);
    EXPECT(H5Fclose(file) >= 0);
    REQUIRE(sb_mask_write(path, row_ptr, 2, col, kept, attributes, 5, &err) == SB_OK);
    file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "row_ptr", H5P_DEFAULT);
    int64_t rows[3] = {-1}, tokens = 0;
    int32_t cols[3] = {-1};
    uint64_t kept_back[3] = {0};
    double density = 0;
    char *hash = NULL, *text = NULL;
    EXPECT(H5Dread(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
    EXPECT(memcmp(rows, row_ptr, sizeof rows) == 0);
    sb_h5_close(set);
    set = H5Dopen2(file, "col", H5P_DEFAULT);
    EXPECT(H5Dread(set, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, cols) >= 0);
    EXPECT(memcmp(cols, col, sizeof cols) == 0);
    sb_h5_close(set);
    set = H5Dopen2(file, "tokens", H5P_DEFAULT);
    EXPECT(H5Dread(set, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, kept_back) >= 0);
    EXPECT(memcmp(kept_back, kept, sizeof kept) == 0);
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
    if (!rig_open())
        return 1;
    test_synth();
    test_mask();
    return rig_close();
}
