/* The pattern maps of a report: those that `stembench mask` writes, exact masses from the
 * definition, and why a map is only the stored mean. */

#include "harness/cli.h"
#include "harness/dataset.h"
#include "harness/synth.h"
#include "harness/tests/report_rig.h"

enum { HEADS = 3, DIM = 16, SHORT = 100, LONG = 2200, N_SETTINGS = 5, MAX_ARGS = 20 };

static const char config[] = "name: maps\n"
                             "data: cap.h5\n"
                             "lengths: [100, 2200]\n"
                             "block: 16\n"
                             "methods:\n"
                             "  - stem: {k_start: 4, sinks: 1, window: 1}\n"
                             "  - stem: {schedule: {shape: table, table: [9, 5, 2]}}\n"
                             "  - uniform: {block: 32, k: 3}\n"
                             "  - vecattention: {threshold: 0.3}\n"
                             "  - random: {k: 2}\n"
                             "  - dense\n"
                             "measure: {fidelity: false, latency: false}\n";
/* What `mask` is asked for in place of each of them. */
static const char *const settings[N_SETTINGS][6] = {
    {"stem", "block=16", "k_start=4", "sinks=1", "window=1"},
    {"stem", "block=16", "schedule.shape=table", "schedule.table=[9, 5, 2]"},
    {"uniform", "block=32", "k=3"},
    {"vecattention", "threshold=0.3"},
    {"random", "block=16", "k=2"},
};
static const int64_t blocks[N_SETTINGS] = {16, 16, 32, 64, 16};
static const int64_t lengths[] = {SHORT, LONG};

static int64_t record_of(int length, int setting)
{
    return length * (N_SETTINGS + 1) + setting;
}

static int program(const char *const *args)
{
    static char name[] = "stembench";
    char *argv[MAX_ARGS + 1] = {name};
    int argc = 1;
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)(size_t)args[argc - 1]; /* as main's, which are not const */
    return sb_main(argc, argv);
}

static void write_capture(uint64_t seed)
{
    sb_err err = {0};
    sb_synth_options o = sb_synth_defaults();
    o.tokens = LONG;
    o.heads = HEADS;
    o.kv_heads = 1;
    o.dim = o.dim_v = DIM;
    o.layers = 1;
    o.needles = 2;
    o.seed = seed;
    EXPECT_MSG(sb_synth("cap.h5", &o, &err) == SB_OK, "%s", err.msg);
}

/* ---- against the mask command ---------------------------------------------------------------- */

static void *read_mask(const char *name, hid_t type, int64_t *n)
{
    hid_t file = H5Fopen("mask.h5", H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = file >= 0 && H5Lexists(file, name, H5P_DEFAULT) > 0
                    ? H5Dopen2(file, name, H5P_DEFAULT)
                    : H5I_INVALID_HID;
    void *values = NULL;
    if (set >= 0) {
        hid_t space = H5Dget_space(set);
        *n = (int64_t)H5Sget_simple_extent_npoints(space);
        values = sb_alloc(*n, 8);
        (void)H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
        sb_h5_close(space);
    }
    sb_h5_close(set);
    sb_h5_close(file);
    return values;
}

/* Bits of a mask below `n`, from the definition. */
static double bits(uint64_t mask, int64_t n)
{
    double count = 0;
    for (int64_t i = 0; i < n && i < 64; i++)
        count += (mask >> i & 1) != 0;
    return count;
}

/* The share of each cell that the pattern in mask.h5 keeps, to [HEADS, side, side]; -1 above. */
static void mask_shares(int64_t tokens, int64_t block, int64_t side, double *shares)
{
    int64_t n_ptr = 0, n_col = 0, n = (tokens + block - 1) / block;
    int64_t *row_ptr = read_mask("row_ptr", H5T_NATIVE_INT64, &n_ptr);
    int32_t *col = read_mask("col", H5T_NATIVE_INT32, &n_col);
    uint64_t *kept = read_mask("tokens", H5T_NATIVE_UINT64, &n_col);
    EXPECT(row_ptr && col && n_ptr == HEADS * n + 1);
    for (int64_t i = 0; i < HEADS * side * side; i++) {
        int64_t h = i / side / side, r = i / side % side, c = i % side;
        double sum = 0, all = 0;
        for (int64_t row = 0; row < n; row++) {
            if (row * side / n != r)
                continue;
            for (int64_t j = 0; j <= row; j++)
                all += j * side / n == c;
            for (int64_t e = row_ptr[h * n + row]; e < row_ptr[h * n + row + 1]; e++) {
                int64_t left = tokens - col[e] * block, some = left < block ? left : block;
                if (col[e] * side / n == c)
                    sum += kept ? bits(kept[e], some) / (double)some : 1;
            }
        }
        shares[i] = all > 0 ? sum / all : -1;
    }
    sb_free(kept);
    sb_free(col);
    sb_free(row_ptr);
}

static void run_mask(const char *const *setting, const char *tokens)
{
    const char *args[MAX_ARGS + 1] = {"mask", "cap.h5", "--layer", "0",        "--tokens",
                                      tokens, "--out",  "mask.h5", "--method", setting[0]};
    int n = 10;
    for (int i = 1; i < 6 && setting[i]; i++) {
        args[n++] = "--set";
        args[n++] = setting[i];
    }
    EXPECT(program(args) == 0);
}

static int code_of(double share)
{
    int code = (int)lround(1 + 254 * share);
    return share < 0 ? 0 : share > 0 && code < 2 ? 2 : code;
}

static void expect_pattern(int length_at, int setting)
{
    char tokens[16];
    int64_t n = (lengths[length_at] + blocks[setting] - 1) / blocks[setting];
    int64_t side = n < 128 ? n : 128, n_wrong = 0;
    const sb_node *pattern = pattern_of(record_of(length_at, setting));
    REQUIRE(pattern);
    EXPECT(number(get(pattern, "heads")) == HEADS && number(get(pattern, "side")) == (double)side);
    EXPECT(number(get(pattern, "mass")) == 1 - length_at); /* the longest is made first */
    unsigned char *values = decode(pattern);
    REQUIRE(values);
    (void)snprintf(tokens, sizeof tokens, "%" PRId64, lengths[length_at]);
    run_mask(settings[setting], tokens);
    double *shares = sb_alloc(HEADS * side * side, sizeof *shares);
    mask_shares(lengths[length_at], blocks[setting], side, shares);
    for (int64_t i = 0; i < HEADS * side * side; i++)
        n_wrong += values[i] != code_of(shares[i]);
    EXPECT_MSG(n_wrong == 0, "%s, %s tokens: %" PRId64 " cells", settings[setting][0], tokens,
               n_wrong);
    sb_free(shares);
    sb_free(values);
}

static void test_patterns(void)
{
    TEST("maps are those of the patterns that mask writes");
    make_report("run");
    EXPECT_MSG(*note() == '\0', "%s", note());
    EXPECT(length(get(get(data, "maps"), "patterns")) == 2 * N_SETTINGS);
    for (int length_at = 0; length_at < 2; length_at++)
        for (int s = 0; s < N_SETTINGS; s++)
            expect_pattern(length_at, s);
    EXPECT(!pattern_of(record_of(0, N_SETTINGS)));
}

/* ---- masses ---------------------------------------------------------------------------------- */

/* Adds to cell [query block, key block] of a head's map what the softmax gives each key. */
static void add_masses(const float *q, const float *k, double scale, int64_t tokens,
                       int64_t n_blocks, int64_t block, int64_t side, double *mass)
{
    double *p = sb_alloc(tokens, sizeof *p);
    for (int64_t t = 0; t < tokens; t++) {
        double most = -INFINITY, sum = 0;
        for (int64_t s = 0; s <= t; s++) {
            double dot = 0;
            for (int64_t d = 0; d < DIM; d++)
                dot += (double)q[t * DIM + d] * (double)k[s * DIM + d];
            p[s] = scale * dot;
            most = fmax(most, p[s]);
        }
        for (int64_t s = 0; s <= t; s++)
            sum += p[s] = exp(p[s] - most);
        for (int64_t s = 0; s <= t; s++)
            mass[t / block * side / n_blocks * side + s / block * side / n_blocks] += p[s] / sum;
    }
    sb_free(p);
}

static void expect_mass(int at, int64_t tokens, int64_t block, const float *q, const float *k,
                        double scale)
{
    const sb_node *map = nth(get(get(data, "maps"), "masses"), at);
    int64_t n = (tokens + block - 1) / block, side = n < 128 ? n : 128, n_wrong = 0;
    EXPECT(number(get(map, "tokens")) == (double)tokens && number(get(map, "layer")) == 0);
    EXPECT(number(get(map, "heads")) == HEADS && number(get(map, "side")) == (double)side);
    EXPECT(number(get(map, "block")) == (double)block);
    EXPECT(strcmp(text_of(get(map, "capture")), "cap.h5") == 0);
    EXPECT(strcmp(text_of(get(map, "dtype")), "bf16") == 0);
    unsigned char *values = map ? decode(map) : NULL;
    REQUIRE(values);
    double *mass = sb_alloc(side * side, sizeof *mass), *queries = sb_alloc(side, sizeof *queries);
    for (int64_t t = 0; t < tokens; t++)
        queries[t / block * side / n]++;
    for (int64_t h = 0; h < HEADS; h++) {
        memset(mass, 0, (size_t)(side * side) * sizeof *mass);
        add_masses(q + h * LONG * DIM, k, scale, tokens, n, block, side, mass);
        for (int64_t i = 0; i < side * side; i++) {
            double share = mass[i] / queries[i / side];
            double code = share > 0 ? fmax(1, 255 + 51 * log10(share)) : 0;
            n_wrong += fabs(values[h * side * side + i] - code) > 0.6;
        }
    }
    EXPECT_MSG(n_wrong == 0, "%" PRId64 " cells of %" PRId64 " tokens", n_wrong, tokens);
    sb_free(queries);
    sb_free(mass);
    sb_free(values);
}

static void test_masses(void)
{
    TEST("masses are those of the definition");
    sb_capture cap;
    sb_tensors t;
    EXPECT(length(get(get(data, "maps"), "masses")) == 2);
    REQUIRE(sb_capture_open("cap.h5", &cap, NULL) == SB_OK);
    REQUIRE(sb_capture_read(&cap, 0, LONG, SB_BF16, &t, NULL) == SB_OK);
    float *q = sb_alloc(HEADS * LONG * DIM, sizeof *q), *k = sb_alloc(LONG * DIM, sizeof *k);
    sb_to_f32(SB_BF16, t.q, q, HEADS * LONG * DIM);
    sb_to_f32(SB_BF16, t.k, k, LONG * DIM);
    expect_mass(0, LONG, LONG / 128, q, k, cap.softmax_scale);
    expect_mass(1, SHORT, 16, q, k, cap.softmax_scale);
    sb_free(k);
    sb_free(q);
    sb_tensors_free(&t);
    sb_capture_close(&cap);
}

static void test_threads(void)
{
    TEST("the same bytes for any number of threads, and again");
    int64_t n_bytes;
    for (int threads = 1; threads <= 3; threads++) {
        char *again = NULL;
        EXPECT(sb_report_write(file_at("run"), file_at("again.html"), threads, &n_bytes, NULL) ==
               SB_OK);
        EXPECT(sb_fs_read(file_at("again.html"), &again, NULL) == SB_OK);
        EXPECT(again && strcmp(again, html) == 0);
        sb_free(again);
    }
}

/* ---- what cannot be selected again ----------------------------------------------------------- */

static sb_record *records;
static int64_t n_records;

/* The pattern of a record is the map that the run stored. */
static void expect_stored(int64_t record)
{
    const sb_node *pattern = pattern_of(record);
    const sb_record *r = &records[record];
    REQUIRE(pattern);
    EXPECT(number(get(pattern, "heads")) == 1);
    EXPECT(number(get(pattern, "side")) == (double)r->map_side);
    EXPECT(r->tokens == SHORT || is_null(get(pattern, "mass")));
    unsigned char *values = decode(pattern);
    REQUIRE(values);
    for (int64_t i = 0; i < r->series[SB_SERIES_PATTERN_MAP].n; i++)
        EXPECT(values[i] == code_of(r->series[SB_SERIES_PATTERN_MAP].data[i]));
    sb_free(values);
}

static void expect_all_stored(const char *says)
{
    make_report("run");
    EXPECT_MSG(strcmp(note(), says) == 0, "%s", note());
    EXPECT(length(get(get(data, "maps"), "masses")) == 0);
    EXPECT(length(get(get(data, "maps"), "patterns")) == 2 * N_SETTINGS);
    for (int64_t i = 0; i < n_records; i++)
        if (i % (N_SETTINGS + 1) < N_SETTINGS) {
            EXPECT(is_null(get(pattern_of(i), "mass")));
            expect_stored(i);
        }
}

static void test_captures(void)
{
    TEST("without its capture, the stored means");
    EXPECT(rename("cap.h5", "kept.h5") == 0);
    expect_all_stored("Shown as the mean over heads that the run stored: 10 patterns whose "
                      "capture cannot be read. ");
    EXPECT(sb_fs_write("cap.h5", "no HDF5", 7, NULL) == SB_OK);
    expect_all_stored("Shown as the mean over heads that the run stored: 10 patterns whose "
                      "capture cannot be read. ");
    TEST("with another capture in its place");
    write_capture(2);
    expect_all_stored("Shown as the mean over heads that the run stored: 10 patterns whose "
                      "capture is another file now. ");
    TEST("a capture beside the run's config");
    EXPECT(unlink("cap.h5") == 0 && rename("kept.h5", "run/cap.h5") == 0);
    make_report("run");
    EXPECT_MSG(*note() == '\0', "%s", note());
    EXPECT(rename("run/cap.h5", "cap.h5") == 0);
}

static void test_records(void)
{
    TEST("one bad record does not spoil the rest");
    sb_record *r = records;
    (void)sb_record_set(&r[0].mask_hash, "0123456789abcdef", NULL);
    (void)sb_record_set(&r[1].params, "k=banana", NULL);
    (void)sb_record_set(&r[2].method, "nonesuch", NULL);
    r[3].block = 1;
    r[4].block = INT64_MAX;
    (void)sb_record_set(&r[4].params, "k=[ ] [[ = 2", NULL);
    r[4].series[SB_SERIES_PATTERN_MAP].data[0] = 17;
    for (int64_t i = record_of(1, 0); i < n_records; i++)
        r[i].flops_dense = i < record_of(1, 3) ? 1e14 : NAN;
    r[record_of(1, 1)].map_side = 3;
    r[record_of(1, 2)].map_side = -3;
    r[record_of(1, 3)].tokens = INT64_C(1) << 50;
    r[record_of(1, 4)].layer = 7;
    (void)sb_record_set(&r[record_of(1, 4)].dtype, "f64", NULL);
    write_records("altered", r, n_records);
    make_report("altered");
    EXPECT_MSG(strcmp(note(), "Shown as the mean over heads that the run stored: 3 patterns too "
                              "long to select again, 5 patterns that this build cannot select, 1 "
                              "pattern that this build selects otherwise. Of 2 of these the run "
                              "stored none. ") == 0,
               "%s", note());
    EXPECT(number(get(pattern_of(3), "heads")) == HEADS);
    EXPECT(number(get(pattern_of(3), "mass")) == 0);
    EXPECT(number(get(nth(get(get(data, "maps"), "masses"), 0), "block")) == 1);
    expect_stored(0);
    expect_stored(1);
    expect_stored(2);
    expect_stored(record_of(1, 0));
    expect_stored(record_of(1, 4));
    EXPECT(!pattern_of(record_of(1, 1)) && !pattern_of(record_of(1, 2)));
    unsigned char *values = pattern_of(4) ? decode(pattern_of(4)) : NULL;
    EXPECT(values && values[0] == 255);
    sb_free(values);
}

static void test_size(void)
{
    TEST("what there is no room for is left out, by length and distance from a quarter");
    enum { SIDE = 128, N_LONG = 150, N = N_LONG + 10 };
    static sb_record many[N];
    static double map[SIDE * SIDE];
    uint64_t state = 1;
    for (int i = 0; i < N; i++) {
        sb_record *r = &many[i];
        char params[32];
        sb_record_init(r);
        r->key = (uint64_t)(i + 1);
        r->cell = i;
        r->tokens = i < N_LONG ? 4096 : 2048;
        r->block = 32;
        r->density = .25 + .001 * (i % 2 ? i : N - i);
        r->map_side = SIDE;
        (void)snprintf(params, sizeof params, "k=%d", i + 1);
        (void)sb_record_set(&r->status, "ok", NULL);
        (void)sb_record_set(&r->method, "uniform", NULL);
        (void)sb_record_set(&r->params, params, NULL);
        (void)sb_record_set(&r->capture, "cap.h5", NULL);
        for (int k = 0; k < SIDE * SIDE; k++) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            map[k] = (double)(state >> 40) / 0x1p24;
        }
        (void)sb_record_series(r, SB_SERIES_PATTERN_MAP, map, SIDE * SIDE, NULL);
    }
    write_records("many", many, N);
    make_report("many");
    int64_t n_shown = length(get(get(data, "maps"), "patterns"));
    char says[300];
    (void)snprintf(says, sizeof says,
                   "Shown as the mean over heads that the run stored: %" PRId64
                   " patterns whose capture is another file now. Left out to keep this file small: "
                   "%" PRId64 " patterns of 4096 tokens, 10 patterns of 2048 tokens; of each curve "
                   "those whose density is farthest from a quarter.",
                   n_shown, N_LONG - n_shown);
    EXPECT_MSG(strcmp(note(), says) == 0, "%s", note());
    EXPECT(n_shown > 100 && n_shown < 145 && strlen(html) > 3000000 && strlen(html) < 3600000);
    double farthest = 0, nearest = 1;
    for (int i = 0; i < N_LONG; i++)
        if (pattern_of(i))
            farthest = fmax(farthest, many[i].density);
        else
            nearest = fmin(nearest, many[i].density);
    EXPECT_MSG(farthest <= nearest, "%g %g", farthest, nearest);
    for (int i = 0; i < N; i++)
        sb_record_free(&many[i]);
}

static void test_memory(void)
{
    TEST("an allocation that fails is reported and nothing leaks");
    static const char small[] = "name: small\ndata: cap.h5\nlengths: [100]\nblock: 16\nmethods:\n"
                                "  - stem: {k_start: 2}\n  - vecattention\n"
                                "measure: {fidelity: false, latency: false}\n";
    EXPECT(sb_fs_write("small.yaml", small, sizeof small - 1, NULL) == SB_OK);
    EXPECT(program((const char *const[]){"run", "small.yaml", "--out", "small", "--quiet", NULL}) ==
           0);
    int64_t live = sb_mem_live(), tries = 0, n_bytes;
    sb_status st = SB_NO_MEMORY;
    while (st != SB_OK && tries < 5000) {
        sb_mem_fail_at(++tries);
        st = sb_report_write("small", "memory.html", 1, &n_bytes, NULL);
        sb_mem_fail_at(0);
        EXPECT_MSG(st == SB_OK || st == SB_NO_MEMORY, "allocation %" PRId64 ": %d", tries, st);
        EXPECT_MSG(sb_mem_live() == live, "allocation %" PRId64 " leaks", tries);
    }
    EXPECT_MSG(tries > 100 && st == SB_OK, "%" PRId64, tries);
}

int main(void)
{
    if (!folder_open() || chdir(folder) != 0)
        return 1;
    write_capture(1);
    EXPECT(sb_fs_write("maps.yaml", config, sizeof config - 1, NULL) == SB_OK);
    EXPECT(program((const char *const[]){"run", "maps.yaml", "--out", "run", "--quiet", NULL}) ==
           0);
    EXPECT(sb_results_read("run", &records, &n_records, NULL) == SB_OK);
    test_patterns();
    test_masses();
    test_threads();
    test_captures();
    test_records();
    test_size();
    test_memory();
    sb_records_free(records, n_records);
    close_report();
    return rig_close();
}
