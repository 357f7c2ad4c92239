/* Captures as they should be: what is written is read, in every type and layout, and faults of the
 * machine are survived. */

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/synth.h"
#include "harness/tests/capture_rig.h"

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
    sb_layer_info info = {i, 1, 1, p->n, 1, 1, p->dtype, 0};
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

static void test_variety(void)
{
    TEST("attributes of other types, other layouts, the other byte order");
    const hsize_t dims[3] = {HKV, N, D}, chunk[3] = {2, 7, 4};
    write_plain(SB_BF16);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    set_text(file, "source", meta.source, true);
    set_text(file, "rope", "\033[2Jtheta\n1", true);
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
    EXPECT(strcmp(cap.rope, " [2Jtheta 1") == 0);
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

int main(void)
{
    if (!rig_open())
        return 1;
    test_round_trip();
    test_exact_bits();
    test_variety();
    test_chunks();
    test_bfloat16_type();
    test_values();
    test_truncated();
    test_memory();
    test_full_disk();
    return rig_close();
}
