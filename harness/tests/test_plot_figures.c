/* The figures of paired ratios, sweeps, layers and lengths, and the marks of published values: data
 * against numbers worked out by hand from made-up records. */
#include "harness/mem.h"
#include "harness/paired.h"
#include "harness/plot_data.h"
#include "harness/plot_params.h"
#include "harness/plot_published.h"
#include "harness/tests/plot_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files ---------------------------------------------------------------------------------- */

static bool there(const char *run, const char *file)
{
    char dir[64];
    (void)snprintf(dir, sizeof dir, "%s/plots/data", run);
    return is_file(path_of(dir, file));
}

/* Whether a data file of a run's plots is there and holds a piece of text: `wanted`, else it is
 * printed. */
static bool finds(const char *run, const char *file, const char *piece, bool wanted)
{
    enum { MOST = 1 << 18 };
    char dir[64];
    (void)snprintf(dir, sizeof dir, "%s/plots/data", run);
    FILE *f = fopen(path_of(dir, file), "rb");
    char *text = f ? sb_alloc(MOST, 1) : NULL;
    bool found = text && fread(text, 1, MOST - 1, f) > 0 && strstr(text, piece);
    if (text && found != wanted)
        fprintf(stderr, "%s: %s\n", file, text);
    bool as_wanted = text && found == wanted;
    sb_free(text);
    if (f)
        (void)fclose(f);
    return as_wanted;
}

static bool holds(const char *run, const char *file, const char *piece)
{
    return finds(run, file, piece, true);
}

static bool lacks(const char *run, const char *file, const char *piece)
{
    return finds(run, file, piece, false);
}

static void put(const char *run, const char *file, const char *text)
{
    (void)mkdir(path_of(run, ""), 0777);
    FILE *f = fopen(path_of(run, file), "w");
    if (f) {
        (void)fputs(text, f);
        (void)fclose(f);
    }
}

/* ---- made-up runs --------------------------------------------------------------------------- */

enum { HEADS = 4 };

/* A record of a sparse method; its selection costs 1 % of dense. */
static sb_record *add(set *s, int64_t layer, int64_t tokens, const char *method, const char *params,
                      double density, double rel_l2)
{
    sb_record *r = new_record(s, layer, tokens, method, params);
    r->block = 32;
    r->density = density;
    r->rel_l2 = rel_l2;
    r->flops_dense = 1000;
    r->flops_attend = 1000 * density;
    r->flops_select = 10;
    return r;
}

/* Errors by head: rel_l2 exp(from), then `step` more in the logarithm each. */
static void add_heads(sb_record *r, int64_t n, double from, double step)
{
    double errors[HEADS];
    for (int64_t h = 0; h < n; h++)
        errors[h] = r->rel_l2 * exp(from + step * (double)h);
    (void)sb_record_series(r, SB_SERIES_HEAD_REL_L2, errors, n, NULL);
}

/* Writes the data of all figures; there is no gnuplot to draw them. */
static sb_status write_data(const set *s, const char *run, sb_err *err)
{
    (void)mkdir(path_of(run, ""), 0777);
    hide_gnuplot();
    return sb_plot_records(s->records, s->n, path_of(run, ""), "svg", 1, err);
}

/* ---- paired ratios -------------------------------------------------------------------------- */

static bool near(double x, double y)
{
    return fabs(x - y) <= 1e-7 * fabs(y);
}

static void test_interval(void)
{
    TEST("quantiles of Student's distribution are those of the tables");
    static const double table[][2] = {
        {1, 12.70620474},  {2, 4.30265273},   {3, 3.182446305},   {4, 2.776445105},
        {17, 2.109815578}, {30, 2.042272456}, {269, 1.968821974}, {1000, 1.962339081},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        EXPECT_MSG(near(sb_student_95((int64_t)table[i][0]), table[i][1]), "%g: %.10g", table[i][0],
                   sb_student_95((int64_t)table[i][0]));

    TEST("a ratio is a geometric mean with its t interval, from four pairs on");
    sb_paired p = {0};
    EXPECT(isnan(sb_paired_ratio(&p).ratio));
    for (int i = 0; i < 4; i++) {
        EXPECT(isnan(sb_paired_ratio(&p).lo) && isnan(sb_paired_ratio(&p).hi));
        sb_paired_add(&p, 3 * exp(.1 * i), 3);
        sb_paired_add(&p, 0, 1);
        sb_paired_add(&p, 1, NAN);
    }
    /* mean .15, deviation sqrt(.05 / 3), so half = 3.182446305 sqrt(.05 / 12) */
    sb_ratio r = sb_paired_ratio(&p);
    EXPECT(r.n == 4 && near(r.ratio, exp(.15)));
    EXPECT(near(r.lo, exp(.15 - 3.182446305 * sqrt(.05 / 12))));
    EXPECT(near(r.hi, exp(.15 + 3.182446305 * sqrt(.05 / 12))));
}

static void test_paired(void)
{
    TEST("a curve is held against the first one, head by head, where densities differ by 5 %");
    set s = {.n = 0};
    for (int64_t layer = 0; layer < 2; layer++) {
        add_heads(add(&s, layer, 128, "uniform", "k=2", .2, .01), 2, 0, 0);
        add_heads(add(&s, layer, 128, "uniform", "k=3", .4, .005), 2, 0, 0);
        /* log ratios 0 and .1, then .2 and .3 */
        add_heads(add(&s, layer, 128, "stem", "k_start=2 mu=1", .209, .01), 2, .2 * (double)layer,
                  .1);
        add_heads(add(&s, layer, 128, "stem", "k_start=3 mu=1", .43, .001), 2, 0, 0);
        add_heads(add(&s, layer, 128, "stem", "k_start=3 mu=2", .4, .01), 2, 0, 0);
        (void)add(&s, layer, 128, "random", "k=3", .4, .01);
        add_heads(add(&s, layer, 64, "uniform", "k=1", .3, .01), 2, 0, 0);
        add_heads(add(&s, layer, 64, "stem", "k_start=1 mu=1", .3, .01), 2, 0, 0);
    }
    EXPECT(write_data(&s, "paired", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("paired", "paired.csv",
                 "slot,place,curve,baseline,density,own_density,ratio,lo,hi,pairs,setting\n"
                 "1,1,\"stem μ=1\",\"uniform\",0.2,0.209,1.16183424,0.946082007,1.42678837,4,"
                 "\"k_start=2 mu=1\"\n"
                 "2,2,\"stem μ=2\",\"uniform\",0.4,0.4,2,2,2,4,\"k_start=3 mu=2\"\n"));
    EXPECT(lacks("paired", "paired.csv", "random") && lacks("paired", "paired.csv", "0.3,0.3"));
    EXPECT(holds("paired", "paired.key.tsv", "\n1\t0.200\n2\t0.400\n"));
    EXPECT(holds("paired", "paired.key.tsv",
                 "over that of 'uniform', paired over layers and heads: geometric mean and its 95 "
                 "% t interval over 4 pairs."));
    EXPECT(holds("paired", "paired.key.tsv", "here 4.5 % at most"));
    clear(&s);

    TEST("of more than six densities six are shown, spread over all; three pairs have no interval");
    char k[16];
    for (int i = 1; i <= 11; i++) {
        (void)snprintf(k, sizeof k, "k=%d", i);
        add_heads(add(&s, 0, 128, "uniform", k, .08 * i, .01), 3, 0, 0);
        add_heads(add(&s, 0, 128, "random", k, .08 * i, .02), 3, 0, .1);
    }
    EXPECT(write_data(&s, "six", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("six", "paired.key.tsv",
                 "\n1\t0.080\n2\t0.240\n3\t0.400\n4\t0.560\n5\t0.720\n6\t0.880\n0\t"));
    EXPECT(holds("six", "paired.csv", "1,1,\"random\",\"uniform\",0.08,0.08,2.21034184,,,3,"));
    EXPECT(holds("six", "paired.key.tsv", "over 3 pairs (too few for one)."));
    clear(&s);

    TEST("one curve, or none near the first, is no picture of ratios");
    add_heads(add(&s, 0, 128, "uniform", "k=2", .2, .01), 4, 0, 0);
    add_heads(add(&s, 0, 128, "random", "k=3", .22, .01), 4, 0, 0);
    EXPECT(write_data(&s, "alone", NULL) == SB_UNAVAILABLE);
    EXPECT(!there("alone", "paired.csv") && !there("alone", "paired.key.tsv"));
    clear(&s);
}

/* ---- parameters ----------------------------------------------------------------------------- */

static void test_params(void)
{
    TEST("a params text is read by name, lists whole, and numbers are numbers to the end");
    const char *text = "shape=step breakpoints=[0.3, 0.6] mu=0.7", *at = text;
    sb_span name, value;
    EXPECT(sb_param_next(&at, &name, &value) && sb_span_same(name, sb_span_of("shape")));
    EXPECT(sb_span_same(sb_param_value(text, sb_span_of("breakpoints")), sb_span_of("[0.3, 0.6]")));
    EXPECT(!sb_param_value(text, sb_span_of("m")).at);
    double x = 0;
    EXPECT(sb_span_number(sb_param_value(text, sb_span_of("mu")), &x) && x == .7);
    EXPECT(!sb_span_number(sb_span_of("0.7x"), &x) && !sb_span_number(sb_span_of(""), &x) &&
           !sb_span_number(sb_span_of("nan"), &x) && !sb_span_number(sb_span_of("[1]"), &x));
}

/* ---- sweeps --------------------------------------------------------------------------------- */

static void add_stem(set *s, const char *format, double value, double density, double rel_l2)
{
    char params[96];
    (void)snprintf(params, sizeof params, format, value);
    (void)add(s, 0, 128, "stem", params, density, rel_l2);
}

static void test_sweep(void)
{
    TEST("a panel for each parameter with three values, a line for each density and rest");
    set s = {.n = 0};
    static const double mu[] = {1, .4, .7}, fewer[] = {1, .8, .7};
    static const double strides[] = {16, 4, 8};
    for (int i = 0; i < 3; i++) {
        /* the same target though densities differ, as blocks that are forced do */
        add_stem(&s, "stride=8 mu=%g value=none schedule.total=0.3", fewer[i], .3 + .02 * i, .01);
        add_stem(&s, "stride=8 mu=%g value=none schedule.total=0.2", mu[i], .2, .02 + .01 * i);
        add_stem(&s, "stride=%g mu=1 value=paper schedule.total=0.2", strides[i], .2, .05);
    }
    s.records[0].select_ms = 1;
    s.records[0].total_ms = 4;
    s.records[0].threads = 2;
    EXPECT(write_data(&s, "sweep", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("sweep", "sweep.csv",
                 "slot,panel,parameter,scale,curve,x,density,rel_l2,select_flops,select_time,"
                 "setting\n"
                 "1,1,stride,log2,\"stem\",4,0.2,0.05,1,,\"stride=4 mu=1 value=paper "
                 "schedule.total=0.2\"\n1,1,stride,log2,\"stem\",8,"));
    EXPECT(holds("sweep", "sweep.csv",
                 "2,2,mu,linear,\"stem\",0.4,0.2,0.03,1,,\"stride=8 mu=0.4 value=none "
                 "schedule.total=0.2\"\n2,2,mu,linear,\"stem\",0.7,0.2,0.04,"));
    EXPECT(holds("sweep", "sweep.csv", "3,2,mu,linear,\"stem\",1,0.3,0.01,1,25,"));
    EXPECT(holds("sweep", "sweep.key.tsv", "2 threads. Dotted: selection's time / that of select"));
    EXPECT(holds("sweep", "sweep.key.tsv",
                 "\n1\tstem  (0.200)\n2\tstem  (0.200)\n3\tstem  (0.300 to 0.340)\n"));
    clear(&s);

    TEST("budgets are never swept; without a target densities must agree to 2 %");
    for (int i = 0; i < 3; i++) {
        add_stem(&s, "k_start=%g mu=1", 2 + i, .2, .01);
        add_stem(&s, "k_start=2 mu=1.%g", 1 + i, .2 * (1 + .03 * i), .01);
    }
    EXPECT(write_data(&s, "apart", NULL) == SB_UNAVAILABLE);
    EXPECT(!there("apart", "sweep.csv"));
    clear(&s);
    for (int i = 0; i < 3; i++) {
        static const char *const params[] = {"k_start=2 mu=1.%g", "k_start=3 mu=1.%g",
                                             "k_start=4 mu=1.%g"};
        add_stem(&s, params[i], 1 + i, .2 * (1 + .009 * i), .01);
        add_stem(&s, params[i], 1, .2, .01);
    }
    EXPECT(write_data(&s, "near", NULL) == SB_UNAVAILABLE);
    EXPECT(lacks("near", "sweep.csv", ",k_start,"));
    EXPECT(holds("near", "sweep.csv", "1,1,mu,linear,\"stem\",1.1,") &&
           holds("near", "sweep.csv", "1,1,mu,linear,\"stem\",1.3,"));
    clear(&s);
}

static void test_sweep_matched(void)
{
    TEST("what was matched to the same target but for the parameter is on one line");
    set s = {.n = 0};
    static const char *const params[] = {"block=16 threshold=0.5", "block=32 threshold=0.6",
                                         "block=64 threshold=0.7", "block=128 threshold=0.8"};
    static const char *const targets[] = {
        "density: stem block=16 mu=1 schedule.total=0.2",
        "density: stem block=32 mu=1 schedule.total=0.2",
        "density: stem block=64 mu=1 schedule.total=0.2",
        "density: stem block=128 mu=1 schedule.total=0.3",
    };
    for (int i = 0; i < 4; i++)
        (void)sb_record_set(
            &add(&s, 0, 128, "xattention", params[i], .2 + .01 * i, .01)->match_target, targets[i],
            NULL);
    EXPECT(write_data(&s, "matched", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("matched", "sweep.csv", "1,1,block,log2,\"xattention\",64,0.22,"));
    EXPECT(lacks("matched", "sweep.csv", ",128,"));
    clear(&s);

    TEST("values over decades are on a logarithmic axis, and zero keeps it linear");
    static const double decades[] = {.01, .1, .9, 0};
    for (int n = 3; n <= 4; n++) {
        for (int i = 0; i < n; i++)
            add_stem(&s, "k_start=2 mu=1 beta=%g schedule.total=0.2", decades[i], .2, .01);
        /* settings that are alike are one stop */
        add_stem(&s, "k_start=3 mu=1 beta=%g schedule.total=0.2", .1, .2, .03);
        EXPECT(write_data(&s, "decades", NULL) == SB_UNAVAILABLE);
        EXPECT(holds("decades", "sweep.csv",
                     n == 3 ? "1,1,beta,log,\"stem\",0.1,0.2,0.01," : "beta,linear,\"stem\",0,"));
        EXPECT(lacks("decades", "sweep.csv", "0.03"));
        clear(&s);
    }

    TEST("four parameters are shown, and how many are not is said");
    static const char *const five[] = {
        "a=%g b=1 c=1 d=1 e=1", "a=1 b=%g c=1 d=1 e=1", "a=1 b=1 c=%g d=1 e=1",
        "a=1 b=1 c=1 d=%g e=1", "a=1 b=1 c=1 d=1 e=%g",
    };
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++)
            add_stem(&s, five[i], 1 + k, .2, .01);
    EXPECT(write_data(&s, "five", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("five", "sweep.csv", "\n4,4,d,linear,") && lacks("five", "sweep.csv", ",e,"));
    EXPECT(holds("five", "sweep.key.tsv", "Parameters not shown: 1."));
    clear(&s);

    TEST("eighteen lines at most, shared by the panels, spread over all");
    char format[96];
    for (int total = 1; total <= 12; total++) {
        (void)snprintf(format, sizeof format, "mu=%%g schedule.total=%g", .05 * total);
        for (int i = 0; i < 3; i++)
            add_stem(&s, format, 1 + i, .05 * total, .01);
    }
    EXPECT(write_data(&s, "many", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("many", "sweep.key.tsv", "\n1\tstem  (0.050)\n2\tstem  (0.100)\n"));
    EXPECT(holds("many", "sweep.key.tsv", "\n9\tstem  (0.600)\n0\t"));
    clear(&s);
}

/* ---- layers and lengths --------------------------------------------------------------------- */

static void test_layers(void)
{
    TEST("errors by layer and their ratio to the first curve, with an interval from four heads on");
    set s = {.n = 0};
    static const int64_t layers[] = {0, 7, 3};
    for (int i = 0; i < 3; i++) {
        double rel_l2 = .01 * (i + 1);
        add_heads(add(&s, layers[i], 128, "uniform", "k=2", .2, rel_l2), i == 2 ? 3 : 4, 0, 0);
        /* log ratios 0, .1, .2, .3 */
        add_heads(add(&s, layers[i], 128, "stem", "k_start=2", .2, 2 * rel_l2), i == 2 ? 3 : 4,
                  -log(2), .1);
    }
    EXPECT(write_data(&s, "layers", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("layers", "error_layer.csv",
                 "slot,curve,layer,density,rel_l2,ratio,lo,hi\n"
                 "1,\"uniform\",0,0.2,0.01,1,,\n1,\"uniform\",3,0.2,0.03,1,,\n"
                 "1,\"uniform\",7,0.2,0.02,1,,\n"
                 "2,\"stem\",0,0.2,0.02,1.16183424,0.946082007,1.42678837\n"
                 "2,\"stem\",3,0.2,0.06,2,,\n2,\"stem\",7,0.2,0.04,1.16183424,"));
    EXPECT(holds("layers", "error_layer.key.tsv", "\n2\tstem  (0.200)\n"));
    clear(&s);

    TEST("two layers are no picture of layers");
    for (int layer = 0; layer < 2; layer++)
        (void)add(&s, layer, 128, "uniform", "k=2", .2, .01);
    EXPECT(write_data(&s, "two", NULL) == SB_UNAVAILABLE);
    EXPECT(!there("two", "error_layer.csv"));
    clear(&s);
}

static void test_lengths(void)
{
    TEST("a setting over six lengths: density, fullest row and error at each");
    set s = {.n = 0};
    for (int i = 1; i <= 6; i++) {
        int64_t tokens = 64 * i;
        const double budget[] = {1, 2 + i, 2}, other[] = {1, 4 + i, 2};
        sb_record *r = add(&s, 0, tokens, "stem", "k_start=0.2 mu=1", .1 * i, .01 * i);
        (void)sb_record_series(r, SB_SERIES_BUDGET, budget, 3, NULL);
        r = add(&s, 1, tokens, "stem", "k_start=0.2 mu=1", .1 * i, .04 * i);
        (void)sb_record_series(r, SB_SERIES_BUDGET, other, 3, NULL);
        for (int layer = 0; layer < 2; layer++) {
            (void)add(&s, layer, tokens, "stem", "k_start=0.1 mu=1", .05 * i, .1);
            if (i > 1)
                (void)add(&s, layer, tokens, "random", "k=2", .2, .1);
            /* a budget solved for at each length */
            char params[32];
            (void)snprintf(params, sizeof params, "threshold=0.%d", i);
            (void)sb_record_set(&add(&s, layer, tokens, "xattention", params, .2, .1)->match_target,
                                "density: stem mu=1", NULL);
        }
    }
    EXPECT(write_data(&s, "lengths", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("lengths", "schedule_length.csv",
                 "slot,curve,tokens,blocks,density,fullest_row,rel_l2\n"
                 "1,\"stem k_start=0.1\",64,2,0.05,,0.1\n"));
    EXPECT(holds("lengths", "schedule_length.csv",
                 "\n2,\"stem k_start=0.2\",64,2,0.1,4,0.02\n"
                 "2,\"stem k_start=0.2\",128,4,0.2,5,0.04\n"));
    EXPECT(
        holds("lengths", "schedule_length.csv", "\n3,\"xattention  (0.200)\",64,2,0.2,,0.1\n3,"));
    EXPECT(lacks("lengths", "schedule_length.csv", "random"));
    clear(&s);

    TEST("of many settings each curve shows its first ones, eighteen in all");
    char params[32];
    for (int k = 1; k <= 20; k++)
        for (int i = 1; i <= 6; i++) {
            (void)snprintf(params, sizeof params, "k=%d", k);
            (void)add(&s, 0, 64 * i, k <= 10 ? "uniform" : "random", params, .1, .1);
        }
    EXPECT(write_data(&s, "settings", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("settings", "schedule_length.key.tsv", "\n9\tuniform k=9\n10\trandom k=11\n"));
    EXPECT(holds("settings", "schedule_length.key.tsv", "\n18\trandom k=19\n0\t"));
    EXPECT(holds("settings", "schedule_length.key.tsv", "Settings not shown: 2."));
    clear(&s);
}

/* ---- published values ----------------------------------------------------------------------- */

#define HEADER "figure,kind,x,y,label,source\n"

/* A run that every figure can show; `wide`: lengths by factors of two. */
static void full_set(set *s, bool wide)
{
    s->n = 0;
    for (int i = 1; i <= 6; i++) {
        for (int64_t layer = 0; layer < 3; layer++) {
            static const char *const params[] = {"mu=0.5 schedule.total=0.2",
                                                 "mu=0.7 schedule.total=0.2",
                                                 "mu=1 schedule.total=0.2"};
            for (int k = 0; k < 3; k++) {
                sb_record *r =
                    add(s, layer, wide ? 32 << i : 64 * i, "stem", params[k], .2, .01 * (k + 1));
                r->select_ms = 1 + k;
                r->attend_ms = 8;
                r->total_ms = 9 + k;
                r->total_ms_lo = 8 + k;
                r->total_ms_hi = 10 + k;
                r->dense_ms = 20;
                r->threads = 2;
                add_heads(r, 4, 0, .1 * (k + 1));
            }
        }
    }
}

static void test_published(void)
{
    TEST("published values of a figure become marks, an inset and captions");
    set s;
    full_set(&s, false);
    int64_t n = s.n;
    put("published", "published.csv",
        HEADER "error_flops,point,0.25,0.1,\"Stem \"\"8B\"\"\",arXiv:1\r\n"
               "error_flops,hline,,0.5,line,arXiv:2\n\n"
               "sweep/mu,vline,0.7,,published,arXiv:1\n"
               "error_flops,note,,,something,arXiv:3\n"
               "paired,inset-axis,,,score|step,arXiv:1\n"
               "paired,inset,1,0.5,one,arXiv:1\n"
               "paired,inset,2,1,two,arXiv:4\n");
    EXPECT(write_data(&s, "published", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("published", "error_flops.published.csv",
                 "kind,panel,x,y,label,h,v\npoint,,0.25,0.1,\"Stem \"\"8B\"\"\",0,0\n"
                 "hline,,,0.5,\"line\",0,0\n"));
    EXPECT(holds("published", "error_flops.key.tsv", "\n-1\tStem '8B'\n-1\tline\n"));
    EXPECT(holds(
        "published", "error_flops.key.tsv",
        "\n0\tPublished: something (arXiv:3).\n0\tIn grey: published values, arXiv:1; arXiv:2.\n"));
    EXPECT(holds("published", "sweep.published.csv", "\nvline,\"mu\",0.7,,\"published\",0,0\n"));
    EXPECT(holds("published", "paired.published.csv",
                 "\ninset-axis,,,,\"score|step\",0,0\ninset,,1,0.5,\"one\",1,0\n"
                 "inset,,2,1,\"two\",1,0\n"));
    EXPECT(holds("published", "paired.key.tsv", "\n-2\tone\n-2\ttwo\n"));
    EXPECT(!there("published", "error_layer.published.csv"));

    TEST("marks of earlier results do not outlive them");
    put("published", "published.csv", HEADER);
    EXPECT(write_data(&s, "published", NULL) == SB_UNAVAILABLE);
    EXPECT(!there("published", "sweep.published.csv") &&
           !there("published", "error_flops.published.csv"));
    EXPECT(lacks("published", "error_flops.key.tsv", "ublished"));
    put("published", "published.csv", HEADER "sweep,vline,1,,here,a\n");
    EXPECT(write_data(&s, "published", NULL) == SB_UNAVAILABLE);
    EXPECT(there("published", "sweep.published.csv"));
    s.n = 1;
    EXPECT(write_data(&s, "published", NULL) == SB_UNAVAILABLE);
    EXPECT(!there("published", "sweep.published.csv"));
    s.n = n;
    clear(&s);
}

static void test_published_errors(void)
{
    TEST("a wrong published.csv is refused with its line");
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"figure,kind\n", "published.csv:1: 'figure,kind'; expected figure,kind,x,y"},
        {HEADER "error_flops,point,1,1,a\n", "published.csv:2: not six fields"},
        {HEADER "error_flops,point,1,1,a,b,c\n", "published.csv:2: not six fields"},
        {HEADER "error_flops,point,1,1,\"a,b\n", "published.csv:2: not six fields"},
        {HEADER "error_flops,point,1,1,\"a\"b,c\n", "published.csv:2: not six fields"},
        {HEADER "error_flops,star,1,1,a,b\n", "published.csv:2: kind is none of"},
        {HEADER "error_flop,point,1,1,a,b\n", "published.csv:2: no such figure"},
        {HEADER "schedules,vline,1,,a,b\n", "published.csv:2: a figure that takes notes alone"},
        {HEADER "paired,note,,,a,b\nsweep,vline,x,,a,b\n", "published.csv:3: x is not"},
        {HEADER "sweep,vline,1,2,a,b\n", "published.csv:2: y is not"},
        {HEADER "sweep,hline,,inf,a,b\n", "published.csv:2: y is not"},
        {HEADER "sweep,point,1,,a,b\n", "published.csv:2: y is not"},
        {HEADER "sweep,note,1,,a,b\n", "published.csv:2: x is not"},
        {HEADER "sweep,note,,,,b\n", "published.csv:2: no label"},
        {HEADER "sweep,note,,,a,\n", "published.csv:2: no source"},
        {HEADER "sweep,vline,1,,\"a, b\",c\n", "published.csv:2: a comma"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        sb_err err = {0};
        sb_published_file file;
        put("wrong", "published.csv", wrong[i].text);
        EXPECT(sb_published_read(path_of("wrong", ""), &file, &err) == SB_BAD_DATA);
        EXPECT_MSG(strstr(err.msg, wrong[i].says) && !strchr(err.msg, '\n'), "%s", err.msg);
        EXPECT(!file.rows && !file.text && file.n == 0);
    }
    set s;
    sb_err err = {0};
    full_set(&s, false);
    EXPECT(write_data(&s, "wrong", &err) == SB_BAD_DATA);
    clear(&s);
}

static void test_inset(void)
{
    TEST("a label of an inset goes where no star and no label is");
    set s;
    full_set(&s, false);
    /* The first has a star close to its right. On the third's right is the second's label, on its
     * left the first's star. */
    put("inset", "published.csv",
        HEADER "paired,inset,0.5,0.5,first,a\npaired,inset,0.53,0.5,second,a\n"
               "paired,inset,0.53,0.52,third,a\npaired,inset,1,1,corner,a\n"
               "paired,inset,0,0,origin,a\n");
    EXPECT(write_data(&s, "inset", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("inset", "paired.published.csv", ",\"first\",-1,0\n"));
    EXPECT(holds("inset", "paired.published.csv", ",\"second\",1,0\n"));
    EXPECT(holds("inset", "paired.published.csv", ",\"third\",0,1\n"));
    EXPECT(holds("inset", "paired.published.csv", ",\"corner\",1,0\n"));
    EXPECT(holds("inset", "paired.published.csv", ",\"origin\",1,0\n"));
    clear(&s);
}

/* ---- memory and pictures -------------------------------------------------------------------- */

static void test_memory(void)
{
    TEST("an allocation that fails is reported and nothing leaks");
    set s;
    full_set(&s, false);
    put("memory", "published.csv", HEADER "paired,inset,1,0.5,one,a\npaired,vline,1,,two,b\n");
    int64_t live = sb_mem_live(), tries = 0;
    sb_status st = SB_NO_MEMORY;
    while (st == SB_NO_MEMORY && tries < 5000) {
        sb_mem_fail_at(++tries);
        st = write_data(&s, "memory", NULL);
        sb_mem_fail_at(0);
        EXPECT(sb_mem_live() == live);
    }
    EXPECT_MSG(tries > 100 && st == SB_UNAVAILABLE, "%d after %d", (int)st, (int)tries);
    clear(&s);
}

/* Runs gnuplot on a figure; what it says is a warning, for there is nothing else. */
static void draw(const char *figure, const char *format)
{
    char command[1024], said[512] = "";
    (void)snprintf(command, sizeof command,
                   "cd %s/plots && gnuplot -c " SB_SOURCE_DIR "/scripts/plots/%s.gp %s %s 2>&1",
                   path_of("drawn", ""), figure, figure, format);
    FILE *f = popen(command, "r");
    size_t n = f ? fread(said, 1, sizeof said - 1, f) : 0;
    EXPECT_MSG(f && pclose(f) == 0 && n == 0, "%s.%s: %s", figure, format, said);
}

static void test_pictures(void)
{
    TEST("each is drawn without a warning, with and without published values");
    static const char *const figures[] = {"paired", "sweep", "error_layer", "schedule_length"};
    static const char *const formats[] = {"svg", "png", "pdf"};
    set s;
    sb_err err = {0};
    for (int k = 0; k < 4; k++) {
        int marked = k % 2;
        full_set(&s, k > 1);
        put("drawn", "published.csv",
            !marked ? HEADER
                    : HEADER "error_flops,point,0.9,0.9,far,a\nerror_flops,vline,0.3,,line,a\n"
                             "error_density,inset,0.1,0.2,one,a\nlatency_length,point,99999,5,x,a\n"
                             "speedup_length,point,99999,5,x,a\nspeedup_length,hline,,2,x,a\n"
                             "paired,inset,1,1,one,a\npaired,inset,2,2,two,a\n"
                             "paired,inset-axis,,,score|step,a\npaired,point,2,1,there,a\n"
                             "sweep/mu,vline,0.7,,published,a\nsweep,note,,,something,a\n"
                             "error_layer,hline,,0.05,level,a\nerror_layer,inset,1,2,one,a\n"
                             "schedule_length,vline,200,,here,a\n");
        (void)write_data(&s, "drawn", NULL);
        (void)find_gnuplot();
        sb_status st = sb_plot_records(s.records, s.n, path_of("drawn", ""), "svg", 1, &err);
        EXPECT_MSG(st == SB_OK, "%s", err.msg);
        for (int i = 0; i < 4; i++)
            for (int f = 0; f < 3; f++)
                draw(figures[i], formats[f]);
        clear(&s);
    }
}

int main(void)
{
    if (!rig_open())
        return 1;
    test_interval();
    test_paired();
    test_params();
    test_sweep();
    test_sweep_matched();
    test_layers();
    test_lengths();
    test_published();
    test_published_errors();
    test_inset();
    test_memory();
    if (find_gnuplot())
        test_pictures();
    return rig_close();
}
