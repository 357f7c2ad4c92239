#include "harness/mem.h"
#include "harness/plot.h"
#include "harness/plot_data.h"
#include "harness/tests/plot_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *fresh_dir(const char *name)
{
    char *dir = path_of(name, "");
    (void)mkdir(dir, 0777);
    return dir;
}

/* The whole file, NUL-terminated; NULL when it is not there. */
static char *slurp(const char *path, int64_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    enum { MOST = 4 << 20 };
    char *text = sb_alloc(MOST, 1);
    *n = text ? (int64_t)fread(text, 1, MOST - 1, f) : 0;
    (void)fclose(f);
    return text;
}

static bool holds(const char *path, const char *piece)
{
    int64_t n;
    char *text = slurp(path, &n);
    bool found = text && strstr(text, piece);
    sb_free(text);
    return found;
}

/* As holds, of a file that is no text. */
static bool holds_bytes(const char *path, const char *piece)
{
    int64_t n = 0;
    char *bytes = slurp(path, &n);
    bool found = bytes && memmem(bytes, (size_t)n, piece, strlen(piece));
    sb_free(bytes);
    return found;
}

static bool same_bytes(const char *a, const char *b)
{
    int64_t n_a = 0, n_b = 0;
    char *x = slurp(a, &n_a), *y = slurp(b, &n_b);
    bool same = x && y && n_a > 0 && n_a == n_b && memcmp(x, y, (size_t)n_a) == 0;
    sb_free(y);
    sb_free(x);
    return same;
}

static sb_record *add(set *s, int64_t layer, int64_t tokens, const char *method, const char *params)
{
    sb_record *r = new_record(s, layer, tokens, method, params);
    r->block = strcmp(method, "dense") ? 64 : 0;
    return r;
}

/* Two layers of one setting. Layer 1 has three times the FLOPs of layer 0, and 4 times its error.
 */
static void add_setting(set *s, int64_t tokens, const char *method, const char *params,
                        double density, double rel_l2)
{
    const double map[] = {1, -1, .5, 1};
    for (int64_t layer = 0; layer < 2; layer++) {
        sb_record *r = add(s, layer, tokens, method, params);
        r->density = density + (layer == 0 ? -.05 : .05);
        r->flops_dense = layer == 0 ? 100 : 300;
        r->flops_attend = density * r->flops_dense;
        r->flops_select = .04 * r->flops_dense;
        r->rel_l2 = rel_l2 * (layer == 0 ? .5 : 2);
        const double pos[] = {r->rel_l2 / 2, r->rel_l2, NAN}, budget[] = {1, 2 + (double)layer, 2};
        r->pos_bin = 64;
        r->map_side = 2;
        (void)sb_record_series(r, SB_SERIES_POS_REL_L2, pos, 3, NULL);
        (void)sb_record_series(r, SB_SERIES_BUDGET, budget, 3, NULL);
        (void)sb_record_series(r, SB_SERIES_PATTERN_MAP, map, 4, NULL);
    }
}

static void add_latency(set *s, int64_t from)
{
    for (int64_t i = from; i < s->n; i++) {
        sb_record *r = &s->records[i];
        double ms = (double)r->tokens / 64 * (r->layer == 0 ? 1 : 3);
        r->select_ms = ms;
        r->attend_ms = 2 * ms;
        r->total_ms = 3 * ms;
        r->total_ms_lo = 2.5 * ms;
        r->total_ms_hi = 4 * ms;
        r->dense_ms = 10 * ms;
        r->peak_gflops = 250;
    }
}

static void small_set(set *s)
{
    s->n = 0;
    add_setting(s, 192, "dense", "", 1, .001);
    add_setting(s, 192, "uniform", "score=mean k=2", .25, .02);
    add_setting(s, 192, "uniform", "score=mean k=3", .5, .01);
    add_setting(s, 192, "stem", "k_start=2 mu=1 value=none", .25, .03);
    add_setting(s, 192, "stem", "k_start=2 mu=0.5 value=none", .2, .04);
    add_setting(s, 192, "stem", "k_start=2 mu=0.5 value=paper", .2, .03);
}

static void test_data(void)
{
    TEST("the data files hold the combined numbers of the records");
    set s;
    sb_err err = {0};
    small_set(&s);
    add_latency(&s, 0);
    char *dir = fresh_dir("data");
    hide_gnuplot();
    EXPECT(sb_plot_records(s.records, s.n, dir, "svg", 1, &err) == SB_UNAVAILABLE);
    EXPECT_MSG(strstr(err.msg, "gnuplot") && !strchr(err.msg, '\n'), "%s", err.msg);

    const char *csv = path_of("data/plots/data", "error_flops.csv");
    EXPECT(holds(csv, "slot,curve,tokens,density,budget,rel_l2,pareto,"
                      "select_ms,attend_ms,total_ms,total_ms_lo,total_ms_hi,setting\n"));
    EXPECT(holds(csv, "\n1,\"uniform\",192,0.25,0.29,0.02,1,6,12,18,15,24,\"score=mean k=2\"\n"));
    EXPECT(holds(csv, "\n2,\"stem μ=1\",192,0.25,0.29,0.03,0,6,"));
    EXPECT(holds(csv, "\n3,\"stem μ=0.5\",192,0.2,0.24,0.04,0,6,"));
    EXPECT(holds(csv, "\n4,\"stem μ=0.5 +value\",192,0.2,0.24,0.03,1,6,"));
    EXPECT(holds(csv, "\n19,\"dense\",192,1,1,0.001,0,,,60,,,\n"));

    const char *key = path_of("data/plots/data", "error_flops.key.tsv");
    EXPECT(holds(key, "\n4\tstem μ=0.5 +value\n"));
    EXPECT(holds(
        key, "\n0\ttiny.h5; f32 on cpu; layers 0, 1 (geometric mean); 192 tokens; block 64.\n"));

    csv = path_of("data/plots/data", "error_position.csv");
    EXPECT(holds(csv, "slot,curve,density,query,rel_l2\n1,\"uniform\",0.25,32,0.01\n"
                      "1,\"uniform\",0.25,96,0.02\n1,\"uniform\",0.25,160,\n2,"));
    EXPECT(holds(path_of("data/plots/data", "schedules.csv"), "1,\"uniform\",0.25,96,2.5\n"));
    EXPECT(holds(path_of("data/plots/data", "pattern_maps.csv"),
                 "slot,query,key,share\n1,48,48,1\n1,48,144,-1\n1,144,48,0.5\n1,144,144,1\n2,"));
    EXPECT(!is_file(path_of("data/plots/data", "latency_length.csv")));
    clear(&s);
}

static void put_peers(const char *dir, const char *text)
{
    FILE *f = fopen(path_of(dir, "peers.csv"), "w");
    if (f) {
        (void)fputs(text, f);
        (void)fclose(f);
    }
}

#define PEERS_HEADER "head_dim,tokens,dtype,round,ours_ms,peer_ms,peer,version\n"

static void test_throughput(void)
{
    TEST(
        "throughput is attended FLOPs over attend time, its lines end at dense, peers are medians");
    set s;
    sb_err err = {0};
    small_set(&s);
    add_latency(&s, 0);
    for (int64_t i = 0; i < s.n; i++) {
        s.records[i].flops_dense *= 1e7;
        s.records[i].flops_attend *= 1e7;
    }
    (void)fresh_dir("rates");
    hide_gnuplot();
    put_peers("rates", PEERS_HEADER "64,192,f32,1,10,20,Peer,1.0\n64,192,f32,2,10,50,Peer,1.0\n"
                                    "64,192,f32,3,10,40,Peer,1.0\n64,192,bf16,1,2,3,Peer,1.0\n");
    EXPECT(sb_plot_records(s.records, s.n, path_of("rates", ""), "svg", 1, &err) == SB_UNAVAILABLE);
    const char *csv = path_of("rates/plots/data", "throughput.csv");
    /* Layers have 1e9 and 3e9 FLOPs: 0.25 of their mean in 12 ms, all of it in 60 ms. */
    EXPECT(holds(csv,
                 "panel,title,roof,slot,style,tokens,curve,density,gflops,conversion\n"
                 "1,\"f32 d 64 (4 / 2 heads)\",250,1,1,192,\"uniform\",0.25,41.6666667,1.25\n"));
    EXPECT(holds(csv, "250,1,1,192,\"uniform\",0.5,83.3333333,2.5\n"
                      "1,\"f32 d 64 (4 / 2 heads)\",250,1,1,192,\"uniform\",1,33.3333333,1\n"
                      "1,\"f32 d 64 (4 / 2 heads)\",250,1,2,192,\"stem μ=1\",0.25,"));
    EXPECT(holds(csv, "250,1,0,192,\"dense\",1,33.3333333,1\n"));
    EXPECT(holds(csv, "250,1,5,192,\"Peer 1.0\",1,50,\n") && !holds(csv, "666.66"));
    const char *key = path_of("rates/plots/data", "throughput.key.tsv");
    EXPECT(holds(key, "\n1\t192 tokens\n"));
    EXPECT(holds(key, "ours is 4.00 (d 64, 192, f32), 1.50 (d 64, 192, bf16).\n"));

    TEST("a wrong peers.csv is refused with its line");
    put_peers("rates", PEERS_HEADER "64,192,f32,1,10,20,Peer,1.0\n64,192,f32,2,0,50,Peer,1.0\n");
    EXPECT(sb_plot_records(s.records, s.n, path_of("rates", ""), "svg", 1, &err) == SB_BAD_DATA);
    err = (sb_err){0};
    (void)sb_plot_records(s.records, s.n, path_of("rates", ""), "svg", 1, &err);
    EXPECT_MSG(strstr(err.msg, "peers.csv:3: "), "%s", err.msg);
    put_peers("rates", "64,192,f32,1,10,20,Peer,1.0\n");
    EXPECT(sb_plot_records(s.records, s.n, path_of("rates", ""), "svg", 1, NULL) == SB_BAD_DATA);
    clear(&s);
}

static void test_lengths(void)
{
    TEST("latency over length takes the setting nearest in density");
    set s = {.n = 0};
    add_setting(&s, 128, "uniform", "k=1", .2, .02);
    add_setting(&s, 128, "uniform", "k=2", .3, .02);
    add_setting(&s, 192, "uniform", "k=1", .1, .02);
    add_setting(&s, 192, "uniform", "k=2", .24, .02);
    add_latency(&s, 0);
    hide_gnuplot();
    (void)sb_plot_records(s.records, s.n, fresh_dir("lengths"), "svg", 1, NULL);
    const char *csv = path_of("lengths/plots/data", "latency_length.csv");
    EXPECT(holds(csv,
                 "setting\n1,\"uniform\",128,0.2,0.24,0.02,1,4,8,12,10,16,\"k=1\"\n"
                 "1,\"uniform\",192,0.24,0.28,0.02,0,6,12,18,15,24,\"k=2\"\n19,\"dense\",128,"));
    clear(&s);
}

static void set_provenance(set *s, int64_t i, const char *machine, const char *commit,
                           const char *utc)
{
    char text[400];
    (void)snprintf(text, sizeof text,
                   "stembench: 0.1.0\ncommit: %s\ncpu: \"%s\"\ngpu: \"NVIDIA H100 80GB HBM3\"\n"
                   "cores: 2\nthreads: 2\nutc: %s\n",
                   commit, machine, utc);
    (void)sb_record_set(&s->records[i].provenance, text, NULL);
}

static void test_caption(void)
{
    TEST("a caption names capture, model, layers, density, machine and commit");
    set s;
    small_set(&s);
    add_latency(&s, 0);
    for (int64_t i = 0; i < s.n; i++) {
        set_provenance(&s, i, "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "0123456789ab",
                       "2026-01-31T10:20:30Z");
        (void)sb_record_set(&s.records[i].model, "Small (MIT)", NULL);
    }
    hide_gnuplot();
    (void)sb_plot_records(s.records, s.n, fresh_dir("caption"), "svg", 1, NULL);
    const char *key = path_of("caption/plots/data", "latency_density.key.tsv");
    EXPECT(holds(key, "\n0\ttiny.h5, Small (MIT); f32 on cpu; layers 0, 1 (mean); 192 tokens; "
                      "block 64; commit 0123456789ab.\n"));
    EXPECT(holds(key, "\n0\tIntel Xeon Platinum 8481C, ref kernel, 2 threads. Select + attend"));
    static const char *const untimed[] = {"error_flops", "error_density", "error_position",
                                          "schedules", "pattern_maps"};
    for (size_t i = 0; i < sizeof untimed / sizeof untimed[0]; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s.key.tsv", untimed[i]);
        EXPECT_MSG(holds(path_of("caption/plots/data", name),
                         "\n0\tIntel Xeon Platinum 8481C, ref kernel, 2 threads.\n"),
                   "%s", name);
    }
    for (int i = 0; i < SB_N_FIGURES; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s.key.tsv", sb_figures[i].name);
        const char *path = path_of("caption/plots/data", name);
        EXPECT_MSG(!is_file(path) || (holds(path, "commit 0123456789ab") &&
                                      holds(path, "Small (MIT)") && holds(path, "Density = kept")),
                   "%s", name);
    }

    TEST("a GPU's times name the GPU; other machines and commits are said");
    for (int64_t i = 0; i < s.n; i++)
        (void)sb_record_set(&s.records[i].backend, "cuda", NULL);
    (void)sb_plot_records(s.records, s.n, fresh_dir("caption"), "svg", 1, NULL);
    key = path_of("caption/plots/data", "latency_density.key.tsv");
    EXPECT(holds(key, "\n0\tNVIDIA H100 80GB HBM3, ref kernel. Select"));
    int64_t first = s.n;
    add_setting(&s, 320, "uniform", "score=mean k=2", .25, .02);
    add_latency(&s, first);
    for (int64_t i = first; i < s.n; i++) {
        set_provenance(&s, i, "AMD EPYC", "ffff", "2026-01-31T10:20:30Z");
        (void)sb_record_set(&s.records[i].backend, "cuda", NULL);
    }
    (void)sb_plot_records(s.records, s.n, fresh_dir("caption"), "svg", 1, NULL);
    key = path_of("caption/plots/data", "latency_length.key.tsv");
    EXPECT(holds(key, "ref kernel, and other machines. Select"));
    EXPECT(holds(key, "commit 0123456789ab and others.\n"));
    EXPECT(!holds(key, "Times left out"));
    clear(&s);
}

static void test_mixed_times(void)
{
    TEST("times of unlike machines at one length are left out, and said to be");
    set s;
    small_set(&s);
    int64_t first = s.n;
    add_setting(&s, 320, "uniform", "score=mean k=2", .25, .02);
    add_setting(&s, 320, "uniform", "score=mean k=3", .5, .02);
    add_latency(&s, 0);
    for (int64_t i = 0; i < s.n; i++) {
        set_provenance(&s, i, i == s.n - 1 ? "AMD EPYC" : "Xeon", "c", "2026-01-31T10:20:30Z");
        s.records[i].own_dense_ms = s.records[i].dense_ms;
    }
    sb_plot_group g;
    REQUIRE(sb_plot_group_build(s.records, s.n, &s.records[0], &g, NULL) == SB_OK);
    EXPECT(g.n_mixed == 1 && g.n_lengths == 2);
    EXPECT(g.dense_ms[0] == 60 && isnan(g.dense_ms[1]));
    for (int64_t i = 0; i < g.n_points; i++) {
        const sb_plot_point *p = &g.points[i];
        const double times[] = {p->select_ms, p->attend_ms, p->total_ms, p->total_ms_lo,
                                p->total_ms_hi};
        for (size_t k = 0; k < sizeof times / sizeof times[0]; k++)
            EXPECT(isfinite(times[k]) == (p->tokens == 192));
        EXPECT(isfinite(p->rel_l2) && p->density > 0);
    }
    sb_plot_group_free(&g);
    (void)sb_plot_records(s.records, s.n, fresh_dir("mixed"), "svg", 1, NULL);
    EXPECT(holds(path_of("mixed/plots/data", "error_flops.key.tsv"),
                 "\n0\tTimes left out, of unlike machines at one length: 1 length.\n"));
    const char *rates = path_of("mixed/plots/data", "throughput.csv");
    EXPECT(holds(rates, ",192,\"uniform\"") && holds(rates, ",192,\"dense\""));
    EXPECT(!holds(rates, ",320,"));
    TEST("untimed records may be of any machine");
    for (int64_t i = first; i < s.n; i++)
        s.records[i].total_ms = s.records[i].dense_ms = NAN;
    REQUIRE(sb_plot_group_build(s.records, s.n, &s.records[0], &g, NULL) == SB_OK);
    EXPECT(g.n_mixed == 0);
    sb_plot_group_free(&g);
    clear(&s);
}

/* Characters of the longest text of an SVG. */
static int64_t longest_text(const char *path)
{
    int64_t n, longest = 0, run = 0;
    char *text = slurp(path, &n);
    for (const char *p = text; p && (p = strstr(p, "<text>"));) {
        run = 0;
        for (p += strlen("<text>"); *p && *p != '<'; p++)
            run += ((unsigned char)*p & 0xc0) != 0x80;
        longest = run > longest ? run : longest;
    }
    sb_free(text);
    return longest;
}

static void test_unfinished(void)
{
    TEST("failed records, and settings that miss a layer, are not shown");
    set s;
    small_set(&s);
    (void)sb_record_set(&s.records[3].status, "failed", NULL);
    hide_gnuplot();
    (void)sb_plot_records(s.records, s.n, fresh_dir("unfinished"), "svg", 1, NULL);
    const char *csv = path_of("unfinished/plots/data", "error_flops.csv");
    EXPECT(holds(csv, "score=mean k=3") && !holds(csv, "score=mean k=2"));
    EXPECT(holds(path_of("unfinished/plots/data", "error_flops.key.tsv"),
                 "\n0\tSettings left out because a layer is missing: 1.\n"));
    clear(&s);

    TEST("nothing finished, or an unknown format, is refused");
    sb_err err = {0};
    EXPECT(sb_plot_records(s.records, 0, fresh_dir("none"), "svg", 1, &err) == SB_BAD_DATA);
    EXPECT(sb_plot_records(s.records, 0, fresh_dir("none"), "gif", 1, NULL) == SB_USAGE);
    EXPECT(sb_plot_run(path_of("none", "nowhere"), "svg", 1, NULL) == SB_BAD_DATA);
}

static void test_choice(void)
{
    TEST("eighteen curves at most are shown, methods taking turns");
    set s = {.n = 0};
    char params[64];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(params, sizeof params, "k_start=2 mu=%.1f value=none", .1 * (i + 1));
        add(&s, 0, 128, "stem", params);
    }
    add(&s, 0, 128, "uniform", "k=2 sinks=0");
    add(&s, 0, 128, "uniform", "k=3 sinks=0");
    add(&s, 0, 128, "uniform", "k=2 sinks=4");
    sb_plot_group g;
    REQUIRE(sb_plot_group_build(s.records, s.n, s.records, &g, NULL) == SB_OK);
    EXPECT(g.n_curves == 22 && g.n_points == 23);
    int n_shown = 0;
    for (int64_t c = 0; c < g.n_curves; c++)
        if (g.curves[c].slot > 0)
            EXPECT(g.curves[c].slot == ++n_shown);
    EXPECT(n_shown == SB_PLOT_CURVES);
    EXPECT(g.curves[0].slot == 1 && g.curves[19].slot == 16);
    EXPECT(g.curves[20].slot == 17 && g.curves[21].slot == 18);
    EXPECT(strcmp(g.curves[21].label, "uniform sinks=4") == 0);
    EXPECT(strcmp(g.curves[0].label, "stem μ=0.1") == 0);
    sb_plot_group_free(&g);
    clear(&s);
}

static void test_unread(void)
{
    TEST("a label leaves out what the schedule's shape does not read");
    set s = {.n = 0};
    add(&s, 0, 128, "stem", "schedule.shape=linear schedule.exponent=2");
    add(&s, 0, 128, "stem", "schedule.shape=power schedule.exponent=2");
    add(&s, 0, 128, "stem", "schedule.shape=power schedule.exponent=0.5");
    sb_plot_group g;
    REQUIRE(sb_plot_group_build(s.records, s.n, s.records, &g, NULL) == SB_OK);
    EXPECT(strcmp(g.curves[0].label, "stem linear") == 0);
    EXPECT(strcmp(g.curves[1].label, "stem power exponent=2") == 0);
    EXPECT(strcmp(g.curves[2].label, "stem power exponent=0.5") == 0);
    sb_plot_group_free(&g);
    clear(&s);
}

static void test_joined(void)
{
    TEST("bins of many curves are joined: errors by root mean square, budgets by mean");
    enum { N = 64 };
    set s = {.n = 0};
    double series[N];
    char params[64];
    for (int i = 0; i < N; i++)
        series[i] = i % 2 == 0 ? 1 : 3;
    for (int i = 0; i < 10; i++) {
        (void)snprintf(params, sizeof params, "k_start=2 mu=%.1f", .1 * (i + 1));
        sb_record *r = add(&s, 0, 64 * N, "stem", params);
        r->density = .2;
        r->pos_bin = 64;
        (void)sb_record_series(r, SB_SERIES_POS_REL_L2, series, N, NULL);
        (void)sb_record_series(r, SB_SERIES_BUDGET, series, N, NULL);
    }
    hide_gnuplot();
    (void)sb_plot_records(s.records, s.n, fresh_dir("joined"), "svg", 1, NULL);
    EXPECT(holds(path_of("joined/plots/data", "error_position.csv"),
                 "\n1,\"stem μ=0.1\",0.2,64,2.23606798\n1,\"stem μ=0.1\",0.2,192,"));
    EXPECT(holds(path_of("joined/plots/data", "schedules.csv"), "\n1,\"stem μ=0.1\",0.2,64,2\n"));
    clear(&s);
}

static void test_matched(void)
{
    TEST("a budget solved for each layer is one setting");
    set s = {.n = 0};
    add(&s, 0, 128, "uniform", "k=2");
    add(&s, 1, 128, "uniform", "k=3");
    for (int i = 0; i < 2; i++)
        (void)sb_record_set(&s.records[i].match_target, "stem: mu=1", NULL);
    sb_plot_group g;
    REQUIRE(sb_plot_group_build(s.records, s.n, s.records, &g, NULL) == SB_OK);
    EXPECT(g.n_points == 1 && g.n_incomplete == 0);
    sb_plot_group_free(&g);
    clear(&s);

    TEST("what is solved for, of whatever type, is in no label and parts no curve");
    static const char *const curves[][2] = {
        {"xattention", "xattention"},       {"streaming", "streaming tri"},
        {"streaming", "streaming a_shape"}, {"oracle", "oracle mass"},
        {"oracle", "oracle output"},
    };
    static const char *const params[][2] = {
        {"threshold=0.91", "threshold=0.5"},
        {"variant=tri window=100", "variant=tri window=64"},
        {"variant=a_shape window=100", "variant=a_shape window=64"},
        {"by=mass scope=layer schedule.total=5", "by=mass scope=layer schedule.total=6"},
        {"by=output scope=layer schedule.total=5", "by=output scope=layer schedule.total=6"},
    };
    s.n = 0;
    for (int i = 0; i < 5; i++)
        for (int layer = 0; layer < 2; layer++)
            (void)sb_record_set(&add(&s, layer, 128, curves[i][0], params[i][layer])->match_target,
                                "density: stem mu=1", NULL);
    REQUIRE(sb_plot_group_build(s.records, s.n, s.records, &g, NULL) == SB_OK);
    EXPECT(g.n_curves == 5 && g.n_points == 5 && g.n_incomplete == 0);
    for (int64_t i = 0; i < g.n_curves && i < 5; i++)
        EXPECT_MSG(strcmp(g.curves[i].label, curves[i][1]) == 0, "%s", g.curves[i].label);
    sb_plot_group_free(&g);
    clear(&s);
}

static void test_memory(void)
{
    TEST("an allocation that fails is reported and nothing leaks");
    set s;
    small_set(&s);
    int64_t live = sb_mem_live(), tries = 0;
    sb_status st = SB_NO_MEMORY;
    while (st != SB_OK && tries < 1000) {
        sb_plot_group g;
        sb_mem_fail_at(++tries);
        st = sb_plot_group_build(s.records, s.n, s.records, &g, NULL);
        sb_mem_fail_at(0);
        EXPECT(st == SB_OK || st == SB_NO_MEMORY);
        sb_plot_group_free(&g);
        EXPECT(sb_mem_live() == live);
    }
    EXPECT(tries > 10 && st == SB_OK);
    clear(&s);
}

static void put_script(const char *text)
{
    (void)fresh_dir("scripts");
    (void)fresh_dir("scripts/plots");
    FILE *f = fopen(path_of("scripts/plots", "error_flops.gp"), "w");
    if (f) {
        (void)fputs(text, f);
        (void)fclose(f);
    }
}

/* Where an SVG has a text, in pixels; false where it does not. */
static bool text_at(const char *path, const char *label, double *x, double *y)
{
    int64_t n;
    char needle[64], *svg = slurp(path, &n), *at = NULL;
    (void)snprintf(needle, sizeof needle, "<text>%s<", label);
    char *text = svg ? strstr(svg, needle) : NULL;
    for (char *p = svg; text && (p = strstr(p, "translate(")) && p < text; p++)
        at = p;
    bool found = at && sscanf(at, "translate(%lf,%lf)", x, y) == 2;
    sb_free(svg);
    return found;
}

static void test_ends(void)
{
    TEST("few curves are named at their right ends, apart, and not in a key");
    set s = {.n = 0};
    static const char *const labels[] = {"uniform", "stem", "random", "streaming"};
    static const char *const params[] = {"k=2", "k_start=2", "k=2", "window=2"};
    sb_err err = {0};
    (void)find_gnuplot();
    for (int i = 0; i < 4; i++) {
        add_setting(&s, 192, labels[i], "", .1, .1);
        add_setting(&s, 192, labels[i], params[i], .5, i < 3 ? .01 : .1);
    }
    EXPECT_MSG(sb_plot_records(s.records, s.n, fresh_dir("ends"), "svg", 1, &err) == SB_OK, "%s",
               err.msg);
    const char *svg = path_of("ends/plots", "error_density.svg");
    double x[4] = {0}, y[4] = {0};
    for (int i = 0; i < 4; i++)
        EXPECT_MSG(text_at(svg, labels[i], &x[i], &y[i]), "%s", labels[i]);
    for (int i = 1; i < 4; i++)
        for (int j = 0; j < i; j++)
            EXPECT_MSG(x[i] == x[j] && fabs(y[i] - y[j]) > 18, "%g %g", y[i], y[j]);
    EXPECT(y[3] < y[0] - 100 && y[3] < y[1] - 100 && y[3] < y[2] - 100);

    TEST("where a curve ends before the right there is a key, one name a line");
    for (int64_t i = 6; i < 8; i++)
        (void)sb_record_set(&s.records[i].status, "failed", NULL);
    EXPECT(sb_plot_records(s.records, s.n, fresh_dir("ends"), "svg", 1, &err) == SB_OK);
    for (int i = 0; i < 4; i++)
        EXPECT_MSG(text_at(svg, labels[i], &x[i], &y[i]), "%s", labels[i]);
    for (int i = 1; i < 4; i++)
        EXPECT_MSG(y[i] > y[i - 1] + 18, "%g %g", y[i], y[i - 1]);
    clear(&s);
}

static void test_pictures(void)
{
    TEST("every picture is drawn, and later elsewhere to the same bytes");
    set s;
    sb_err err = {0};
    (void)find_gnuplot();
    small_set(&s);
    add_setting(&s, 128, "uniform", "score=mean k=2", .25, .02);
    add_latency(&s, 0);
    for (int64_t i = 0; i < s.n; i++)
        set_provenance(&s, i, "CPU", "0123456789ab",
                       i == 3 ? "2026-01-31T10:20:30Z" : "2025-12-31T23:59:59Z");
    static const char *const formats[] = {"svg", "png", "pdf"};
    for (int twice = 0; twice < 2; twice++) {
        for (int f = 0; f < 3; f++) {
            char *dir = fresh_dir(twice ? "again" : "once");
            sb_status st = sb_plot_records(s.records, s.n, dir, formats[f], 1, &err);
            EXPECT_MSG(st == SB_OK, "%s", err.msg);
        }
        /* dates are in seconds, and of a time zone */
        (void)usleep(twice ? 0 : 1100000);
        (void)setenv("TZ", "UTC-5", 1);
    }
    /* cairo 1.18 compresses a PDF's date */
    bool dated = holds_bytes(path_of("once/plots", "error_flops.pdf"), "/CreationDate (D:");
    for (int f = 0; f < (dated ? 3 : 2); f++) {
        for (int i = 0; i < SB_N_FIGURES; i++) {
            char name[64], data[64];
            (void)snprintf(name, sizeof name, "%s.%s", sb_figures[i].name, formats[f]);
            (void)snprintf(data, sizeof data, "%s.csv", sb_figures[i].name);
            EXPECT_MSG(is_file(path_of("once/plots/data", data)) ==
                           same_bytes(path_of("once/plots", name), path_of("again/plots", name)),
                       "%s", name);
        }
    }
    EXPECT(is_file(path_of("once/plots", "error_flops.pdf")));

    TEST("a PDF is dated by the newest record and has its fonts; an SVG's text is text");
    EXPECT(!dated || holds_bytes(path_of("once/plots", "error_flops.pdf"),
                                 "/CreationDate (D:20260131102030Z)"));
    EXPECT(!dated || holds_bytes(path_of("once/plots", "error_flops.pdf"), "/FontFile"));
    EXPECT(holds(path_of("once/plots", "error_flops.svg"), ">relative L2 error"));

    TEST("a caption is broken between words");
    (void)sb_record_set(&s.records[0].model,
                        "a model of which there is a lot to say, and all of it in the caption, "
                        "whatever a reader may think of a caption that is as long as this one is",
                        NULL);
    EXPECT(sb_plot_records(s.records, s.n, fresh_dir("broken"), "svg", 1, &err) == SB_OK);
    int64_t n_chars = longest_text(path_of("broken/plots", "error_flops.svg"));
    EXPECT_MSG(n_chars > 60 && n_chars <= 132, "%d", (int)n_chars);
    EXPECT(holds(path_of("broken/plots", "error_flops.svg"), ">tiny.h5, a model of which"));

    TEST("a picture without data is skipped, and its older version removed");
    for (int64_t i = 0; i < s.n; i++)
        s.records[i].total_ms = NAN;
    EXPECT(sb_plot_records(s.records, s.n, path_of("once", ""), "svg", 1, &err) == SB_OK);
    EXPECT(is_file(path_of("once/plots", "error_flops.svg")));
    EXPECT(!is_file(path_of("once/plots", "latency_density.svg")));
    EXPECT(!is_file(path_of("once/plots/data", "latency_density.csv")));

    TEST("pictures do without a dense baseline");
    for (int64_t i = 0; i < s.n; i++) {
        s.records[i].total_ms = 3;
        s.records[i].dense_ms = NAN;
    }
    EXPECT_MSG(sb_plot_records(s.records, s.n, path_of("once", ""), "svg", 1, &err) == SB_OK, "%s",
               err.msg);
    EXPECT(is_file(path_of("once/plots", "latency_length.svg")));

    TEST("each dtype has pictures of its own");
    (void)sb_record_set(&s.records[2].dtype, "bf16", NULL);
    (void)sb_record_set(&s.records[3].dtype, "bf16", NULL);
    EXPECT(sb_plot_records(s.records, s.n, fresh_dir("dtypes"), "svg", 1, &err) == SB_OK);
    EXPECT(is_file(path_of("dtypes/plots", "error_flops_tiny_f32_cpu.svg")));
    EXPECT(is_file(path_of("dtypes/plots", "error_flops_tiny_bf16_cpu.svg")));

    TEST("what gnuplot complains of is passed on in one line");
    (void)setenv("STEMBENCH_SCRIPTS", path_of("scripts", ""), 1);
    EXPECT(sb_plot_records(s.records, s.n, fresh_dir("broken"), "svg", 1, NULL) == SB_IO);
    put_script("$d << E\nnan\nE\nstats $d nooutput\nnonsense\n");
    EXPECT(sb_plot_records(s.records, s.n, fresh_dir("broken"), "svg", 1, &err) == SB_INTERNAL);
    EXPECT_MSG(strstr(err.msg, "error_flops.gp\" line 5") && !strchr(err.msg, '\n'), "%s", err.msg);
    (void)unsetenv("STEMBENCH_SCRIPTS");
    clear(&s);
}

int main(void)
{
    if (!rig_open())
        return 1;
    test_data();
    test_throughput();
    test_lengths();
    test_caption();
    test_mixed_times();
    test_unfinished();
    test_choice();
    test_unread();
    test_joined();
    test_matched();
    test_memory();
    if (find_gnuplot()) {
        test_ends();
        test_pictures();
    }
    return rig_close();
}
