#include "harness/mem.h"
#include "harness/plot.h"
#include "harness/plot_data.h"
#include "harness/tests/plot_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool holds(const char *path, const char *piece)
{
    enum { MOST = 1 << 20 };
    FILE *f = fopen(path, "rb");
    char *text = f ? sb_alloc(MOST, 1) : NULL;
    bool found = text && fread(text, 1, MOST - 1, f) > 0 && strstr(text, piece);
    sb_free(text);
    if (f)
        (void)fclose(f);
    return found;
}

/* ---- made-up runs --------------------------------------------------------------------------- */

static sb_record *add(set *s, int64_t layer, int64_t tokens, const char *method, const char *params,
                      double density)
{
    sb_record *r = new_record(s, layer, tokens, method, params);
    r->heads = r->kv_heads = 2;
    r->density = density;
    r->flops_dense = 100;
    r->flops_attend = density * r->flops_dense;
    r->flops_select = 0;
    r->rel_l2 = .01 / density;
    r->total_ms = 10 * density;
    r->total_ms_lo = 9 * density;
    r->total_ms_hi = 12 * density;
    r->select_ms = 1 * density;
    r->attend_ms = 9 * density;
    r->dense_ms = 20;
    const double errors[] = {r->rel_l2, 2 * r->rel_l2}, budget[] = {1, 2}, map[] = {1};
    r->pos_bin = tokens / 2;
    r->map_side = 1;
    (void)sb_record_series(r, SB_SERIES_POS_REL_L2, errors, 2, NULL);
    (void)sb_record_series(r, SB_SERIES_BUDGET, budget, 2, NULL);
    (void)sb_record_series(r, SB_SERIES_PATTERN_MAP, map, 1, NULL);
    (void)sb_record_set(&r->provenance, "commit: aaaa\ncpu: \"One(R) CPU\"\nthreads: 2\n", NULL);
    return r;
}

static void add_curve(set *s, const char *method, const char *before, const char *after)
{
    char params[96];
    for (int64_t tokens = 128; tokens <= 256; tokens *= 2)
        for (int k = 1; k <= 3; k++) {
            (void)snprintf(params, sizeof params, "%sk%s=%d%s", before,
                           strcmp(method, "stem") ? "" : "_start", k, after);
            (void)add(s, 0, tokens, method, params, .1 * (k + 1));
        }
}

static void small_run(set *s)
{
    s->n = 0;
    add_curve(s, "uniform", "", "");
    add_curve(s, "stem", "", " mu=0.5");
    sb_record *dense = add(s, 0, 256, "dense", "", 1);
    dense->total_ms = NAN;
    dense->rel_l2 = .001;
}

static sb_status gather(const set *a, const set *b, sb_plot_group *g)
{
    const sb_plot_source runs[] = {{a->records, a->n, a->records, "before"},
                                   {b->records, b->n, b->records, "after"}};
    return sb_plot_group_gather(runs, 2, g, NULL);
}

static int64_t curve_of(const sb_plot_group *g, int run, const char *label)
{
    for (int64_t c = 0; c < g->n_curves; c++)
        if (g->curves[c].run == run && strcmp(g->curves[c].label, label) == 0)
            return c;
    return -1;
}

static int slot_of(const sb_plot_group *g, int run, const char *label)
{
    int64_t c = curve_of(g, run, label);
    return c < 0 ? -1 : g->curves[c].slot;
}

static void set_all(set *s, size_t field, const char *text)
{
    for (int64_t i = 0; i < s->n; i++)
        (void)sb_record_set((char **)((char *)&s->records[i] + field), text, NULL);
}
#define SET_ALL(s, name, text) set_all(s, offsetof(sb_record, name), text)

/* ---- groups --------------------------------------------------------------------------------- */

static void test_slots(void)
{
    TEST("a setting of both runs has one colour, the second run's curve nine slots on");
    static set a, b;
    sb_plot_group g;
    small_run(&a);
    b.n = 0;
    add_curve(&b, "random", "", "");
    add_curve(&b, "stem", "", " mu=0.5");
    add_curve(&b, "uniform", "", "");
    REQUIRE(gather(&a, &b, &g) == SB_OK);
    EXPECT(g.n_curves == 5 && g.n_points == 30 && g.n_incomplete == 0);
    EXPECT(slot_of(&g, 0, "uniform") == 1 && slot_of(&g, 1, "uniform") == 10);
    EXPECT(slot_of(&g, 0, "stem") == 2 && slot_of(&g, 1, "stem") == 11);
    EXPECT(slot_of(&g, 0, "random") == -1 && slot_of(&g, 1, "random") == 12);
    EXPECT(g.curves[curve_of(&g, 1, "stem")].twin == curve_of(&g, 0, "stem"));
    EXPECT(g.curves[curve_of(&g, 0, "stem")].twin == -1);
    EXPECT(g.curves[curve_of(&g, 1, "random")].twin == -1);
    sb_plot_group_free(&g);

    TEST("nine settings at most are shown, those of both runs first");
    clear(&a);
    clear(&b);
    char after[32];
    for (int i = 0; i < 10; i++) {
        (void)snprintf(after, sizeof after, " mu=0.%d", i);
        add(&a, 0, 128, "stem", "k_start=2", .2)->rel_l2 = 1;
        (void)sb_record_set(&a.records[i].params, after + 1, NULL);
    }
    add(&a, 0, 128, "uniform", "k=2", .2);
    add(&b, 0, 128, "stem", "mu=0.9", .2);
    REQUIRE(gather(&a, &b, &g) == SB_OK);
    int n_shown = 0;
    for (int64_t c = 0; c < g.n_curves; c++)
        n_shown += g.curves[c].slot > 0;
    EXPECT_MSG(n_shown == 10, "%d", n_shown);
    EXPECT(slot_of(&g, 0, "stem μ=0.9") == 1 && slot_of(&g, 1, "stem μ=0.9") == 10);
    EXPECT(slot_of(&g, 0, "uniform") > 1);
    sb_plot_group_free(&g);
    clear(&a);
    clear(&b);
}

static void test_common(void)
{
    TEST("layers and lengths that one run lacks are left out; each run has its own dense");
    static set a, b;
    sb_plot_group g;
    small_run(&a);
    small_run(&b);
    for (int64_t i = 0; i < b.n; i++)
        b.records[i].dense_ms = 30;
    add(&a, 1, 128, "uniform", "k=1", .2);
    add(&b, 0, 512, "uniform", "k=1", .2);
    REQUIRE(gather(&a, &b, &g) == SB_OK);
    EXPECT(g.n_layers == 1 && g.n_lengths == 2 && g.lengths[1] == 256);
    EXPECT(g.n_points == 24 && g.n_incomplete == 0);
    EXPECT(g.dense_ms[1] == 20 && g.dense_ms[3] == 30);
    EXPECT(sb_plot_dense_ms(&g, curve_of(&g, 0, "stem"), 1) == 20);
    EXPECT(sb_plot_dense_ms(&g, curve_of(&g, 1, "stem"), 1) == 30);
    sb_plot_group_free(&g);

    TEST("a curve repeats where patterns, FLOPs and, if asked, errors are the same to the bit");
    REQUIRE(gather(&a, &b, &g) == SB_OK);
    int64_t c = curve_of(&g, 1, "uniform");
    EXPECT(sb_plot_repeats(&g, c, true) && sb_plot_repeats(&g, c, false));
    EXPECT(!sb_plot_repeats(&g, curve_of(&g, 0, "uniform"), false));
    b.records[1].rel_l2 = nextafter(b.records[1].rel_l2, 1);
    EXPECT(!sb_plot_repeats(&g, c, true) && sb_plot_repeats(&g, c, false));
    EXPECT(sb_plot_repeats(&g, curve_of(&g, 1, "stem"), true));
    (void)sb_record_set(&b.records[1].mask_hash, "1234", NULL);
    EXPECT(!sb_plot_repeats(&g, c, false));
    sb_plot_group_free(&g);

    TEST("a curve with a setting more, or less, does not repeat");
    (void)sb_record_set(&b.records[1].mask_hash, "", NULL);
    b.records[1].rel_l2 = a.records[1].rel_l2;
    (void)sb_record_set(&a.records[2].status, "failed", NULL);
    REQUIRE(gather(&a, &b, &g) == SB_OK);
    EXPECT(!sb_plot_repeats(&g, curve_of(&g, 1, "uniform"), true));
    sb_plot_group_free(&g);
    (void)sb_record_set(&a.records[2].status, "ok", NULL);
    (void)sb_record_set(&b.records[2].status, "failed", NULL);
    REQUIRE(gather(&a, &b, &g) == SB_OK);
    EXPECT(!sb_plot_repeats(&g, curve_of(&g, 1, "uniform"), true));
    sb_plot_group_free(&g);
    clear(&a);
    clear(&b);
}

static void test_memory(void)
{
    TEST("an allocation that fails is reported and nothing leaks");
    static set a, b;
    small_run(&a);
    small_run(&b);
    int64_t live = sb_mem_live(), tries = 0;
    sb_status st = SB_NO_MEMORY;
    while (st != SB_OK && tries < 1000) {
        sb_plot_group g;
        sb_mem_fail_at(++tries);
        st = gather(&a, &b, &g);
        sb_mem_fail_at(0);
        EXPECT(st == SB_OK || st == SB_NO_MEMORY);
        sb_plot_group_free(&g);
        EXPECT(sb_mem_live() == live);
    }
    EXPECT(tries > 15 && st == SB_OK);
    clear(&a);
    clear(&b);
}

/* ---- run directories ------------------------------------------------------------------------ */

static const char *write_run(const char *name, const set *s)
{
    sb_run_dir *dir = NULL;
    sb_err err = {0};
    const char *path = path_of(name, "");
    char parent[512];
    (void)snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = '\0';
    (void)mkdir(parent, 0777);
    sb_status st = sb_run_dir_open(path, "name: made up\n", true, &dir, &err);
    for (int64_t i = 0; i < s->n && st == SB_OK; i++)
        st = sb_run_dir_append(dir, &s->records[i], &err);
    if (st == SB_OK)
        st = sb_run_dir_finish(dir, NULL, 0, &err);
    sb_run_dir_close(dir);
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
    return path;
}

static void test_data(void)
{
    TEST("data of both runs lie in vs-NAME, and the key says which is which");
    static set a, b;
    sb_err err = {0};
    small_run(&a);
    small_run(&b);
    SET_ALL(&b, backend, "cuda");
    SET_ALL(&b, capture, "elsewhere/tiny.h5");
    SET_ALL(&b, provenance, "commit: bbbb\ncpu: \"Two\"\ngpu: \"GPU(TM) 2\"\nthreads: 2\n");
    for (int64_t i = 0; i < b.n; i++)
        b.records[i].rel_l2 *= strcmp(b.records[i].method, "stem") == 0 ? 2 : 1;
    hide_gnuplot();
    const char *first = write_run("before", &a), *second = write_run("after", &b);
    EXPECT(sb_plot_versus(first, second, "svg", 1, &err) == SB_UNAVAILABLE);
    const char *data = "before/plots/vs-after/data";
    const char *csv = path_of(data, "error_density.csv");
    EXPECT(holds(csv, "\n1,\"uniform\",256,0.2,0.2,0.05,"));
    EXPECT(holds(csv, "\n2,\"stem\",256,0.2,0.2,0.05,") &&
           holds(csv, "\n11,\"stem\",256,0.2,0.2,0.1,"));
    EXPECT(!holds(csv, "\n10,"));
    csv = path_of(data, "error_position.csv");
    EXPECT(holds(csv, "\n1,\"uniform\",") && holds(csv, "\n11,\"stem\",") && !holds(csv, "\n10,"));
    csv = path_of(data, "schedules.csv");
    EXPECT(holds(csv, "\n2,\"stem\",") && !holds(csv, "\n11,") && !holds(csv, "\n10,"));
    csv = path_of(data, "latency_density.csv");
    EXPECT(holds(csv, "\n10,\"uniform\",256,") && holds(csv, "\n19,\"dense\",256,") &&
           holds(csv, "\n20,\"dense\",256,"));
    const char *key = path_of(data, "error_density.key.tsv");
    EXPECT(holds(key, "\n-3\tbefore\n-4\tafter\n"));
    EXPECT(holds(key, "\n2\tstem\n") && holds(key, "\n11\tstem\n"));
    EXPECT(holds(key, "\n0\tbefore: tiny.h5; f32 on cpu.\n0\tafter: tiny.h5; f32 on cuda.\n"
                      "0\tBoth: layer 0; 256 tokens; block 64; commits aaaa (before) and bbbb "
                      "(after).\n"));
    EXPECT(holds(key, "\n0\tEqual in both runs, so drawn once, solid: 1 curve.\n"));
    EXPECT(!is_file(path_of(data, "pattern_maps.csv")) &&
           !is_file(path_of(data, "throughput.csv")));

    TEST("times of two machines are said to be");
    key = path_of(data, "latency_density.key.tsv");
    EXPECT(holds(key,
                 "\n0\tbefore: One, ref kernel, 2 threads. after: GPU 2, ref kernel. Times are "
                 "of different machines: compare ratios.\n"));
    SET_ALL(&b, backend, "cpu");
    SET_ALL(&b, provenance, "commit: aaaa\ncpu: \"One(R) CPU\"\nthreads: 2\n");
    EXPECT(sb_plot_versus(first, write_run("after", &b), "svg", 1, &err) == SB_UNAVAILABLE);
    EXPECT(holds(key, "\n0\tBoth runs: tiny.h5; f32 on cpu; layer 0; 256 tokens; block 64; "
                      "commit aaaa.\n"));
    EXPECT(holds(key, "\n0\tOne, ref kernel, 2 threads. Select + attend"));

    TEST("a speedup is against the same run's dense, with the interval of the total");
    for (int64_t i = 0; i < b.n; i++)
        b.records[i].dense_ms = 1;
    EXPECT(sb_plot_versus(first, write_run("after", &b), "svg", 1, &err) == SB_UNAVAILABLE);
    csv = path_of(data, "speedup_length.csv");
    EXPECT(holds(csv, "density,speedup,speedup_lo,speedup_hi,"));
    EXPECT(holds(csv, "\n1,\"uniform\",256,0.3,6.66666667,5.55555556,7.40740741,"));
    EXPECT(holds(csv, "\n10,\"uniform\",256,0.3,0.333333333,0.277777778,0.37037037,"));
    key = path_of(data, "speedup_length.key.tsv");
    EXPECT(holds(key, "\n1\tuniform  (< 128 | > 256)\n") &&
           holds(key, "\n10\tuniform  (< 128 | > 256)\n"));

    TEST("runs of one name are told apart by their paths");
    (void)mkdir(path_of("x", ""), 0777);
    const char *same = write_run("x/before", &b);
    EXPECT(sb_plot_versus(first, same, "svg", 1, &err) == SB_UNAVAILABLE);
    char line[600];
    (void)snprintf(line, sizeof line, "\n-3\t%s\n-4\t%s\n", first, same);
    EXPECT(holds(path_of("before/plots/vs-before/data", "error_density.key.tsv"), line));
    clear(&a);
    clear(&b);
}

static void test_partners(void)
{
    TEST("groups pair by capture file and dtype; runs that share nothing are refused");
    static set a, b;
    sb_err err = {0};
    small_run(&a);
    small_run(&b);
    SET_ALL(&a, dtype, "bf16");
    add(&a, 0, 128, "uniform", "k=1", .2);
    const char *first = write_run("two", &a);
    EXPECT(sb_plot_versus(first, write_run("one", &b), "svg", 1, &err) == SB_UNAVAILABLE);
    const char *data = "two/plots/vs-one/data";
    EXPECT(is_file(path_of(data, "error_density_tiny_f32_cpu.csv")));
    EXPECT(!is_file(path_of(data, "error_density_tiny_bf16_cpu.csv")));

    SET_ALL(&b, capture, "data/other.h5");
    err = (sb_err){0};
    EXPECT(sb_plot_versus(first, write_run("other", &b), "svg", 1, &err) == SB_BAD_DATA);
    EXPECT_MSG(strstr(err.msg, "two and other: expected") && !strchr(err.msg, '\n'), "%s", err.msg);
    EXPECT(!is_file(path_of("two/plots/vs-other", "")));

    TEST("a layer that the other run lacks is nothing in common");
    for (int64_t i = 0; i < b.n; i++)
        b.records[i].layer = 7;
    SET_ALL(&b, capture, "data/tiny.h5");
    EXPECT(sb_plot_versus(first, write_run("other", &b), "svg", 1, NULL) == SB_BAD_DATA);
    EXPECT(sb_plot_versus(first, path_of("none", ""), "svg", 1, NULL) == SB_BAD_DATA);
    EXPECT(sb_plot_versus(first, first, "gif", 1, NULL) == SB_USAGE);
    clear(&a);
    clear(&b);
}

static void test_memory_of_versus(void)
{
    TEST("an allocation that fails anywhere on the way is reported and nothing leaks");
    static set a;
    a.n = 0;
    (void)add(&a, 0, 128, "uniform", "k=1", .2);
    const char *first = write_run("m", &a), *second = write_run("n", &a);
    int64_t live = sb_mem_live(), tries = 0;
    sb_status st = SB_NO_MEMORY;
    hide_gnuplot();
    while (st == SB_NO_MEMORY && tries < 2000) {
        sb_err err = {0};
        sb_mem_fail_at(++tries);
        st = sb_plot_versus(first, second, "svg", 1, &err);
        sb_mem_fail_at(0);
        EXPECT_MSG(st == SB_NO_MEMORY || st == SB_UNAVAILABLE, "try %d: %s", (int)tries, err.msg);
        EXPECT(sb_mem_live() == live);
    }
    EXPECT(tries > 50 && st == SB_UNAVAILABLE);
    clear(&a);
}

static void test_pictures(void)
{
    TEST("every picture of two runs is drawn, and of a run over itself");
    static set a, b;
    sb_err err = {0};
    (void)find_gnuplot();
    small_run(&a);
    small_run(&b);
    add_curve(&b, "random", "", "");
    const char *first = write_run("p", &a), *second = write_run("q", &b);
    sb_status st = sb_plot_versus(first, second, "svg", 1, &err);
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
    const char *dir = "p/plots/vs-q";
    static const char *const names[] = {"error_flops.svg", "error_density.svg",
                                        "latency_density.svg", "latency_length.svg",
                                        "speedup_length.svg"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *picture = path_of(dir, names[i]);
        EXPECT_MSG(holds(picture, ">p<") && holds(picture, ">q<") && holds(picture, ">random"),
                   "%s", names[i]);
    }
    st = sb_plot_versus(first, first, "svg", 1, &err);
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
    EXPECT(is_file(path_of("p/plots/vs-p", "error_flops.svg")));
    clear(&a);
    clear(&b);
}

int main(void)
{
    if (!rig_open())
        return 1;
    test_slots();
    test_common();
    test_memory();
    test_data();
    test_partners();
    test_memory_of_versus();
    if (find_gnuplot())
        test_pictures();
    return rig_close();
}
