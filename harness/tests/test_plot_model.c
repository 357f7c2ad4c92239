/* The figures of runs with a model in the loop: data against numbers worked out by hand from
 * made-up records. */
#include "harness/mem.h"
#include "harness/plot_data.h"
#include "harness/plot_model.h"
#include "harness/tests/plot_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXTS = 4 };

static const char *const texts[TEXTS] = {"a.txt:0", "a.txt:9", "b.txt:0", "b.txt:9"};

/* What the texts' divergences are multiplied by: pairs of different texts would show. */
static const double scales[TEXTS] = {1, 100, 7, .01};

/* ---- made-up runs --------------------------------------------------------------------------- */

static sb_record *add(set *s, const char *text, const char *method, const char *params,
                      double density, double kl)
{
    sb_record *r = new_record(s, -1, 128, method, params);
    char capture[32];
    (void)snprintf(capture, sizeof capture, "%.*s", (int)strcspn(text, ":"), text);
    (void)sb_record_set(&r->capture, capture, NULL);
    (void)sb_record_set(&r->model, "tiny", NULL);
    (void)sb_record_set(&r->text, text, NULL);
    (void)sb_record_set(&r->task, "text", NULL);
    (void)sb_record_set(&r->setting, "all", NULL);
    (void)sb_record_set(&r->layer_set, "all", NULL);
    (void)sb_record_set(&r->head_set, "all", NULL);
    (void)sb_record_set(&r->row_range, "0-1", NULL);
    r->density = density;
    r->logit_kl = kl;
    r->logit_mse = 10 * kl;
    r->rel_l2 = .5;
    return r;
}

/* A run over the first n texts: divergence scale kl exp(step i) of text i. */
static void add_run(set *s, int n, const char *method, const char *params, double density,
                    double kl, double step)
{
    for (int i = 0; i < n; i++)
        (void)add(s, texts[i], method, params, density, scales[i] * kl * exp(step * i));
}

/* Change a column of the last n records. */
#define SET_LAST(set, count, column, value)                                                        \
    do {                                                                                           \
        for (int64_t i_ = (set)->n - (count); i_ < (set)->n; i_++)                                 \
            (void)sb_record_set(&(set)->records[i_].column, value, NULL);                          \
    } while (0)

static void put(const char *run, const char *file, const char *text)
{
    (void)mkdir(path_of(run, ""), 0777);
    FILE *f = fopen(path_of(run, file), "w");
    if (f) {
        (void)fputs(text, f);
        (void)fclose(f);
    }
}

/* Writes the data of all figures; there is no gnuplot to draw them. */
static sb_status write_data(const set *s, const char *run, sb_err *err)
{
    (void)mkdir(path_of(run, ""), 0777);
    hide_gnuplot();
    return sb_plot_records(s->records, s->n, path_of(run, ""), "svg", 1, err);
}

/* The text of a data file, for sb_free; NULL where there is none. */
static char *data_of(const char *run, const char *file)
{
    enum { MOST = 1 << 18 };
    char dir[64];
    (void)snprintf(dir, sizeof dir, "%s/plots/data", run);
    FILE *f = fopen(path_of(dir, file), "rb");
    char *text = f ? sb_alloc(MOST, 1) : NULL;
    if (text)
        (void)fread(text, 1, MOST - 1, f);
    if (f)
        (void)fclose(f);
    return text;
}

static bool there(const char *run, const char *file)
{
    char *text = data_of(run, file);
    bool found = text;
    sb_free(text);
    return found;
}

static bool finds(const char *run, const char *file, const char *piece, bool wanted)
{
    char *text = data_of(run, file);
    bool found = text && strstr(text, piece);
    if (found != wanted)
        fprintf(stderr, "%s: %s\n", file, text ? text : "not there");
    bool as_wanted = text && found == wanted;
    sb_free(text);
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

/* ---- divergence against density -------------------------------------------------------------- */

static void test_density(void)
{
    TEST("divergence is a geometric mean over texts, with the interval of its logarithm");
    set s = {.n = 0};
    add_run(&s, TEXTS, "dense", "", 1, 0, 0);
    for (int i = 0; i < TEXTS; i++)
        (void)add(&s, texts[i], "uniform", "block=64 k=2", .2 + .01 * i, .1 * exp(.1 * i));
    for (int i = 0; i < 3; i++)
        (void)add(&s, texts[i], "stem", "block=64 mu=1", .3, .2);
    (void)add(&s, texts[3], "stem", "block=64 mu=1", .3, 0);
    (void)add(&s, texts[0], "random", "block=64 k=64", 1, 0);
    /* a text's second record, and a shorter length */
    (void)add(&s, texts[0], "stem", "block=64 mu=1", .7, 9);
    (void)add(&s, texts[0], "random", "block=64 k=2", .7, 9);
    s.records[s.n - 1].tokens = 64;
    put("density", "config.yaml", "name: x\npositions: 16   # evenly spread\n");
    EXPECT(write_data(&s, "density", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("density", "model_density.csv",
                 "slot,row,column,x,y,lo,hi,texts,density,panel,curve,setting\n"
                 "1,1,1,0.215,0.116183424,0.0946082007,0.142678837,4,0.215,,\"uniform\","
                 "\"block=64 k=2\"\n"
                 "2,1,1,0.3,0.2,,,3,0.3,,\"stem\",\"block=64 mu=1\"\n"));
    EXPECT(lacks("density", "model_density.csv", "dense") &&
           lacks("density", "model_density.csv", "random"));
    EXPECT(holds("density", "model_density.key.tsv",
                 "\n0\ttiny; f32 on cpu; 64 to 128 tokens; block 64; 4 texts of a.txt, b.txt.\n"));
    EXPECT(holds("density", "model_density.key.tsv",
                 "\n0\tMeasured at up to 16 positions of each text.\n0\tDensity = kept"));
    EXPECT(holds("density", "model_density.key.tsv", "(none below four texts)"));

    TEST("rows of a model are in no figure of attention alone");
    static const char *const figures[] = {"error_density.csv", "error_flops.csv", "paired.csv",
                                          "sweep.csv"};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        EXPECT(!there("density", figures[i]));
    sb_record *r = new_record(&s, 0, 128, "uniform", "block=64 k=2");
    r->density = .25;
    r->rel_l2 = .01;
    EXPECT(write_data(&s, "mixed", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("mixed", "error_density.csv", "1,\"uniform\",128,0.25,") &&
           lacks("mixed", "error_density.csv", "0.215"));
    EXPECT(holds("mixed", "model_density.csv", "0.215") &&
           lacks("mixed", "model_density.csv", "0.25"));
    clear(&s);

    TEST("a panel for each block and setting, and what is of a part of the model in none");
    for (int decode = 0; decode < 2; decode++)
        for (int block = 32; block <= 64; block += 32) {
            char params[32];
            (void)snprintf(params, sizeof params, "block=%d k=2", block);
            (void)add(&s, texts[0], "uniform", params, .2, .1);
            s.records[s.n - 1].block = block;
            SET_LAST(&s, 1, setting, decode ? "decode" : "all");
        }
    (void)add(&s, texts[0], "uniform", "block=64 k=2", .9, .1);
    SET_LAST(&s, 1, layer_set, "3");
    (void)add(&s, texts[0], "uniform", "block=64 k=2", .9, .1);
    SET_LAST(&s, 1, row_range, "0-0.5");
    (void)add(&s, texts[0], "uniform", "block=64 k=2", .9, .1);
    SET_LAST(&s, 1, task, "needle");
    EXPECT(write_data(&s, "panels", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("panels", "model_density.csv",
                 "\n1,1,1,0.2,0.1,,,1,0.2,\"block 32; all rows sparse\",\"uniform\","));
    EXPECT(holds("panels", "model_density.csv", "\n1,2,2,0.2,0.1,,,1,0.2,\"block 64; decoding\","));
    EXPECT(lacks("panels", "model_density.csv", "0.9"));
    EXPECT(holds("panels", "model_density.key.tsv", "; decoding: the method prefills 7/8"));
    clear(&s);
}

/* ---- paired ratios ------------------------------------------------------------------------- */

/* Log ratios 0, .1, .2, .3 of stem to uniform. */
#define RATIO "1.16183424,0.946082007,1.42678837,4,"

static void paired_set(set *s)
{
    add_run(s, TEXTS, "uniform", "block=64 k=2", .2, .1, 0);
    add_run(s, TEXTS, "stem", "block=64 k_start=2 mu=0.5", .203, .1, .1);
}

static void test_paired(void)
{
    TEST("a run is held against uniform, text by text");
    set s = {.n = 0};
    paired_set(&s);
    /* the order of the rows is of no matter */
    sb_record first = s.records[TEXTS];
    s.records[TEXTS] = s.records[TEXTS + 2];
    s.records[TEXTS + 2] = first;
    add_run(&s, TEXTS, "random", "block=64 k=2", .207, .3, 0);
    EXPECT(write_data(&s, "paired", NULL) == SB_UNAVAILABLE);
    EXPECT(
        holds("paired", "model_paired.csv",
              "slot,row,column,place,x,lo,hi,texts,density,own_density,note,panel,curve,baseline,"
              "setting\n"
              "1,1,1,1," RATIO "0.2,0.203,,,\"stem\",\"uniform\","
              "\"block=64 k_start=2 mu=0.5\"\n"));
    EXPECT(lacks("paired", "model_paired.csv", "random"));
    EXPECT(holds("paired", "model_paired.key.tsv",
                 "the baseline, method uniform, at equal block, length and cost, paired over texts "
                 "(4): geometric mean, 95 % t interval."));
    EXPECT(holds("paired", "model_paired.key.tsv",
                 "here by 1.5 %. Settings without such a "
                 "baseline, left out: 1."));
    EXPECT(holds("paired", "model_paired.key.tsv", "\n1\t0.200\n"));

    TEST("with two texts taken for each other the numbers are others");
    char *text = s.records[TEXTS].text;
    s.records[TEXTS].text = s.records[TEXTS + 1].text;
    s.records[TEXTS + 1].text = text;
    EXPECT(write_data(&s, "swapped", NULL) == SB_UNAVAILABLE);
    EXPECT(there("swapped", "model_paired.csv") && lacks("swapped", "model_paired.csv", RATIO));
    clear(&s);

    TEST("a text that one of both lacks is left out, and three pairs have no interval");
    paired_set(&s);
    (void)sb_record_set(&s.records[1].status, "failed", NULL);
    EXPECT(write_data(&s, "missing", NULL) == SB_UNAVAILABLE);
    /* log ratios 0, .2, .3 */
    EXPECT(holds("missing", "model_paired.csv", "\n1,1,1,1,1.18136041,,,3,0.2,"));
    clear(&s);

    TEST("one text has a ratio and no interval; dense and what equals it have none");
    add_run(&s, 1, "uniform", "block=64 k=2", .2, .1, 0);
    add_run(&s, 1, "stem", "block=64 k_start=2 mu=0.5", .2, .2, 0);
    add_run(&s, 1, "oracle", "block=64 k=2", .2, 0, 0);
    add_run(&s, 1, "dense", "", 1, 0, 0);
    EXPECT(write_data(&s, "one", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("one", "model_paired.csv", "\n1,1,1,1,2,,,1,0.2,0.2,,"));
    EXPECT(lacks("one", "model_paired.csv", "oracle") &&
           lacks("one", "model_paired.csv", "\"dense\""));
    EXPECT(holds("one", "model_paired.key.tsv",
                 "over texts (1): geometric mean, 95 % t interval "
                 "(too few for one)."));
    clear(&s);

    TEST("a run beside its baseline in another block, length or setting is alone");
    paired_set(&s);
    for (int i = 0; i < TEXTS; i++)
        s.records[TEXTS + i].block = 32;
    EXPECT(write_data(&s, "block", NULL) == SB_UNAVAILABLE);
    EXPECT(!there("block", "model_paired.csv"));
    clear(&s);
    paired_set(&s);
    SET_LAST(&s, TEXTS, setting, "decode");
    EXPECT(write_data(&s, "setting", NULL) == SB_UNAVAILABLE);
    EXPECT(!there("setting", "model_paired.csv"));
    clear(&s);
}

static void test_baselines(void)
{
    TEST("without uniform, a decay is held against mu = 1 with the same total");
    set s = {.n = 0};
    add_run(&s, 4, "stem", "mu=1 score=mean schedule.shape=linear schedule.total=0.2", .2, .1, 0);
    add_run(&s, 4, "stem", "mu=1 score=mean schedule.shape=linear schedule.total=0.4", .4, .1, 0);
    add_run(&s, 4, "stem", "mu=0.5 score=mean schedule.shape=power schedule.total=0.2", .208, .2,
            0);
    add_run(&s, 4, "stem", "mu=0.5 score=mean schedule.shape=power schedule.total=0.3", .5, .3, 0);
    add_run(&s, 4, "stem", "mu=0.5 score=mean schedule.shape=power schedule.total=0.3", .404, .3,
            0);
    SET_LAST(&s, 4, match_target, "density=0.4");
    EXPECT(write_data(&s, "decay", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("decay", "model_paired.csv", "\n1,1,1,1,2,2,2,4,0.2,0.208,,"));
    EXPECT(holds("decay", "model_paired.csv", "\n2,1,1,1,3,3,3,4,0.4,0.404,,"));
    EXPECT(lacks("decay", "model_paired.csv", "0.5,,"));
    EXPECT(holds("decay", "model_paired.key.tsv", "a constant budget (μ = 1)"));
    EXPECT(holds("decay", "model_paired.key.tsv",
                 "here by 4.0 %. Settings without such a "
                 "baseline, left out: 1."));
    clear(&s);

    TEST("a value bonus is held against none, with the same score");
    static const char *const scores[] = {"mean", "mass"};
    char params[96];
    for (int k = 0; k < 2; k++) {
        (void)snprintf(params, sizeof params, "mu=0.7 score=%s value=none beta=0.2", scores[k]);
        add_run(&s, TEXTS, "stem", params, .2, k ? .01 : .1, 0);
        (void)snprintf(params, sizeof params, "mu=0.7 score=%s value=paper beta=0.5", scores[k]);
        add_run(&s, TEXTS, "stem", params, .2, k ? .03 : .2, 0);
    }
    add_run(&s, TEXTS, "stem", "mu=0.7 score=antidiagonal value=paper beta=0.5", .2, .2, 0);
    EXPECT(write_data(&s, "value", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("value", "model_paired.csv",
                 "\n1,1,1,1,2,2,2,4,0.2,0.2,,,\"stem mean +value\",\"stem mean\","));
    EXPECT(holds("value", "model_paired.csv",
                 "\n1,1,1,2,3,3,3,4,0.2,0.2,,,\"stem mass +value\",\"stem mass\","));
    EXPECT(holds("value", "model_paired.key.tsv", "the same setting without value bonus, at"));
    EXPECT(holds("value", "model_paired.key.tsv", "left out: 1."));
    add_run(&s, TEXTS, "stem", "mu=0.7 score=mean value=paper beta=1", .2, .2, 0);
    EXPECT(write_data(&s, "value", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("value", "model_density.key.tsv",
                 "\n1\tstem mean\n2\tstem mean beta=0.5\n3\tstem mass\n"));
    clear(&s);

    TEST("off a baseline's densities, the line through two of them");
    add_run(&s, TEXTS, "uniform", "k=2", .1, .4, 0);
    add_run(&s, TEXTS, "uniform", "k=4", .4, .1, 0);
    add_run(&s, TEXTS, "uniform", "k=2 sinks=0", .2, 9, 0);
    add_run(&s, TEXTS, "random", "k=2", .11, .4, 0);
    add_run(&s, TEXTS, "uniform", "k=8", .8, .001, 0);
    add_run(&s, TEXTS, "random", "k=3", .36, .4, 0);
    EXPECT(write_data(&s, "line", NULL) == SB_UNAVAILABLE);
    /* KL falls as 1 / density: .4 / .11 at .11. */
    EXPECT(holds("line", "model_paired.csv", ",1.1,1.1,1.1,4,0.1,0.11,,"));
    EXPECT(holds("line", "model_paired.csv", ",3.6,3.6,3.6,4,0.4,0.36,,"));
    EXPECT(holds("line", "model_paired.key.tsv", "2 pairs hold each text against the line"));
    clear(&s);

    TEST("of uniform's scores the one that the method has");
    add_run(&s, TEXTS, "uniform", "k=2 score=mean", .2, .1, 0);
    add_run(&s, TEXTS, "uniform", "k=2 score=mass", .2, .01, 0);
    add_run(&s, TEXTS, "stem", "k_start=2 score=mass", .2, .02, 0);
    EXPECT(write_data(&s, "scores", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("scores", "model_paired.csv",
                 "\n1,1,1,1,2,2,2,4,0.2,0.2,,,\"stem\",\"uniform mass\","));
    clear(&s);
}

static void test_length(void)
{
    TEST("ratios over lengths, where there are two");
    set s = {.n = 0};
    for (int k = 1; k <= 2; k++) {
        add_run(&s, TEXTS, "uniform", "block=64 k=2", .2, .1, 0);
        add_run(&s, TEXTS, "stem", "block=64 k_start=2", .2, .1 * k, .1);
        for (int i = 0; i < 2 * TEXTS; i++)
            s.records[s.n - 1 - i].tokens = 128 * k;
        if (k == 1) {
            EXPECT(write_data(&s, "length", NULL) == SB_UNAVAILABLE);
            EXPECT(!there("length", "model_length.csv"));
        }
    }
    EXPECT(write_data(&s, "length", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("length", "model_length.csv",
                 "\n1,1,1,128," RATIO "0.2,\"density 0.200\",\"stem\","));
    EXPECT(holds("length", "model_length.csv", "\n1,1,1,256,2.32366849,"));
    EXPECT(lacks("length", "model_paired.csv", RATIO) &&
           holds("length", "model_paired.csv", "1,1,1,1,2.32366849,"));
    EXPECT(holds("length", "model_length.key.tsv", "; 128 to 256 tokens;"));
    clear(&s);
}

/* ---- parts of a model --------------------------------------------------------------------------
 */

static void test_rows(void)
{
    TEST("a part of the rows is held against the last one, in both measures");
    set s = {.n = 0};
    static const char *const ranges[] = {"0-0.25", "0.25-0.5", "0.5-0.75", "0.75-1"};
    for (int k = 0; k < 4; k++) {
        add_run(&s, TEXTS, "uniform", "block=64 k=4 sinks=0", .8, .1 * (4 - k), k == 0 ? .1 : 0);
        SET_LAST(&s, TEXTS, row_range, ranges[k]);
        add_run(&s, TEXTS, "uniform", "block=64 k=8 sinks=0", .9, .2, 0);
        SET_LAST(&s, TEXTS, row_range, ranges[k]);
    }
    s.records[0].logit_mse *= exp(.4);
    EXPECT(write_data(&s, "rows", NULL) == SB_UNAVAILABLE);
    /* 4 exp(.15) */
    EXPECT(holds("rows", "model_rows.csv",
                 "\n1,1,2,0.125,4.64733697,3.78432803,5.70715349,4,0.8,\"KL divergence; 1/4 of the "
                 "rows\",\"uniform k=4\","));
    EXPECT(holds("rows", "model_rows.csv", "\n1,1,1,0.125,5.13610167,"));
    EXPECT(holds("rows", "model_rows.csv", "\n1,1,1,0.375,3,3,3,4,"));
    EXPECT(holds("rows", "model_rows.csv", "\n1,1,1,0.875,1,,,4,"));
    EXPECT(holds("rows", "model_rows.csv",
                 "\n2,1,1,0.125,1,1,1,4,0.9,\"logit MSE; 1/4 of the "
                 "rows\",\"uniform k=8\","));

    TEST("parts of another width have panels of their own; without a last part there is none");
    add_run(&s, TEXTS, "uniform", "block=64 k=4 sinks=0", .8, .5, 0);
    SET_LAST(&s, TEXTS, row_range, "0-0.125");
    EXPECT(write_data(&s, "widths", NULL) == SB_UNAVAILABLE);
    EXPECT(lacks("widths", "model_rows.csv", "1/8") &&
           holds("widths", "model_rows.key.tsv", "Left out, without a last part: 1."));
    add_run(&s, TEXTS, "uniform", "block=64 k=4 sinks=0", .8, .1, 0);
    SET_LAST(&s, TEXTS, row_range, "0.875-1");
    EXPECT(write_data(&s, "widths", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("widths", "model_rows.csv",
                 "\n1,2,2,0.0625,5,5,5,4,0.8,\"KL divergence; 1/8 of the rows\","));
    clear(&s);
}

static void test_layers(void)
{
    TEST("divergence by layer and by head, where one alone is sparse");
    set s = {.n = 0};
    static const char *const layers[] = {"0", "12", "0,1", "all"};
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < TEXTS; i++)
            (void)add(&s, texts[i], "uniform", "block=64 k=4", .9, .1 * (k + 1) * exp(.1 * i));
        SET_LAST(&s, TEXTS, layer_set, layers[k]);
    }
    EXPECT(write_data(&s, "layers", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("layers", "model_layers.csv",
                 "setting\n1,1,1,0,0.116183424,0.0946082007,0.142678837,4,0.9,\"one layer "
                 "sparse\",\"uniform\",\"block=64 k=4\"\n1,1,1,12,0.232366849,"));
    EXPECT(lacks("layers", "model_layers.csv", "0.348"));
    add_run(&s, 1, "uniform", "block=64 k=4", .9, .1, 0);
    SET_LAST(&s, 1, head_set, "3");
    EXPECT(write_data(&s, "layers", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("layers", "model_layers.csv",
                 "\n1,1,2,3,0.1,,,1,0.9,\"one head of every layer sparse\","));
    clear(&s);
}

/* ---- tasks ---------------------------------------------------------------------------------- */

static void add_task(set *s, const char *method, double from, double step, int n_exact)
{
    for (int i = 0; i < TEXTS; i++) {
        sb_record *r =
            add(s, texts[i], method, strcmp(method, "dense") ? "block=64 k=4" : "", .2, .1);
        (void)sb_record_set(&r->task, "needle", NULL);
        r->score = -i + from + step * i;
        r->exact = i < n_exact;
    }
}

static void test_tasks(void)
{
    TEST("a task's score less dense attention's on the same sample, and exact answers");
    set s = {.n = 0};
    add_task(&s, "uniform", -.5, .1, 1);
    add_run(&s, TEXTS, "uniform", "block=64 k=4", .2, .1, 0);
    EXPECT(write_data(&s, "tasks", NULL) == SB_UNAVAILABLE);
    EXPECT(!there("tasks", "model_tasks.csv"));
    add_task(&s, "dense", 0, 0, 3);
    EXPECT(write_data(&s, "tasks", NULL) == SB_UNAVAILABLE);
    /* -.5, -.4, -.3, -.2: mean -.35, half 3.182446305 sqrt(.05 / 12) = .205426031 */
    EXPECT(holds("tasks", "model_tasks.csv",
                 "\n1,1,1,1,-0.35,-0.555426026,-0.144573974,4,0.2,0.2,1/4,\"needle; dense "
                 "3/4\",\"uniform\",\"dense\",\"block=64 k=4\"\n"));
    EXPECT(holds("tasks", "model_tasks.key.tsv", "; 4 samples of a.txt, b.txt."));
    EXPECT(holds("tasks", "model_tasks.key.tsv", "Measured at the answer's tokens."));

    TEST("a sample without dense is left out");
    (void)sb_record_set(&s.records[s.n - 1].text, "c.txt:0", NULL);
    EXPECT(write_data(&s, "tasks", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("tasks", "model_tasks.csv", "\n1,1,1,1,-0.4,,,3,0.2,0.2,1/3,"));
    clear(&s);
}

/* ---- the residual stream ----------------------------------------------------------------------
 */

static void test_residual(void)
{
    TEST("residual errors by layer are those of the cells, geometric means over texts");
    set s = {.n = 0};
    add_run(&s, TEXTS, "uniform", "block=64 k=2", .2, .1, 0);
    add_run(&s, TEXTS, "uniform", "block=64 k=8", .4, .1, 0);
    add_run(&s, 1, "random", "block=64 k=2", .21, .1, 0);
    add_run(&s, 1, "uniform", "block=64 k=3", .18, .1, 0);
    add_run(&s, 1, "oracle", "block=64 k=2", .2, .1, 0);
    s.records[s.n - 1].tokens = 64;
    put("residual", "residual.csv",
        "cell,layer_0,layer_1\n3,0.4,\n2,0.1,0.2\n1,0.2,0.1\n0,0.2,0.4\n4,1,1\n8,0.5,0.25\n9,1,1\n"
        "10,1,1\n");
    EXPECT(write_data(&s, "residual", NULL) == SB_UNAVAILABLE);
    /* log 2 up and down: half 3.182446305 sqrt(2 / 12) log 2 */
    EXPECT(
        holds("residual", "model_residual.csv", "\n1,1,1,0,0.2,0.0812687008,0.492194407,4,0.2,"));
    EXPECT(holds("residual", "model_residual.csv",
                 "\n1,1,1,1,0.2,,,3,0.2,,\"uniform\",\"block=64 k=2\"\n"
                 "2,1,1,0,0.5,,,1,0.21,,\"random\",\"block=64 k=2\"\n2,1,1,1,0.25,,,1,"));
    EXPECT(lacks("residual", "model_residual.csv", "k=8") &&
           lacks("residual", "model_residual.csv", "k=3") &&
           lacks("residual", "model_residual.csv", "oracle"));

    TEST("divergences by position, likewise; other columns are passed over");
    put("residual", "positions.csv",
        "cell,kl_0,kl_1,top1_0,top1_1\n3,0.4,,1,1\n2,0.1,0.2,1,1\n1,0.2,0.1,1,\n0,0.2,0.4,0,1\n");
    EXPECT(write_data(&s, "residual", NULL) == SB_UNAVAILABLE);
    EXPECT(holds("residual", "model_position.csv",
                 "\n1,1,1,0.25,0.2,0.0812687008,0.492194407,4,0.2,"));
    EXPECT(holds("residual", "model_position.csv", "\n1,1,1,0.75,0.2,,,3,0.2,"));
    EXPECT(holds("residual", "model_position.key.tsv", "by equal parts of the measured positions"));
    put("residual", "positions.csv", "cell,kl_0,top1_0\n3,0.4\n0,0.4,1");
    EXPECT(write_data(&s, "residual", NULL) == SB_BAD_DATA);
    put("residual", "positions.csv", "cell,kl_0\n");

    TEST("a wrong residual.csv is refused with its line");
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"", "residual.csv:1: ''; expected cell,layer_0"},
        {"cell\n", "residual.csv:1: "},
        {"cell,layer_1\n", "residual.csv:1: "},
        {"cell,layer_0", "residual.csv:1: "},
        {"cell,layer_0\n0,1\n1\n", "residual.csv:3: expected a cell's number, 1 numbers"},
        {"cell,layer_0\n0,1,2\n", "residual.csv:2: "},
        {"cell,layer_0\n0,x\n", "residual.csv:2: "},
        {"cell,layer_0\nx,1\n", "residual.csv:2: "},
        {"cell,layer_0\n0,1\n1,1", "residual.csv:3: "},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        sb_err err = {0};
        put("residual", "residual.csv", wrong[i].text);
        EXPECT(write_data(&s, "residual", &err) == SB_BAD_DATA);
        EXPECT_MSG(strstr(err.msg, wrong[i].says) && !strchr(err.msg, '\n'), "%s", err.msg);
    }
    clear(&s);
}

/* ---- memory and pictures ------------------------------------------------------------------------
 */

/* A run that every figure can show. */
static void full_set(set *s)
{
    s->n = 0;
    for (int k = 1; k <= 2; k++) {
        add_run(s, TEXTS, "uniform", "block=64 k=2", .2, .1, 0);
        add_run(s, TEXTS, "stem", "block=64 k_start=2 mu=0.5", .2, .2, .1);
        for (int i = 0; i < 2 * TEXTS; i++)
            s->records[s->n - 1 - i].tokens = 64 * k;
    }
    add_run(s, TEXTS, "stem", "block=64 k_start=2 mu=0.5", .2, .2, .1);
    SET_LAST(s, TEXTS, setting, "decode");
    add_run(s, TEXTS, "uniform", "block=64 k=2", .2, .1, 0);
    SET_LAST(s, TEXTS, setting, "decode");
    add_run(s, TEXTS, "uniform", "block=64 k=2", .9, .1, .1);
    SET_LAST(s, TEXTS, row_range, "0-0.5");
    add_run(s, TEXTS, "uniform", "block=64 k=2", .9, .1, 0);
    SET_LAST(s, TEXTS, row_range, "0.5-1");
    for (int k = 0; k < 2; k++) {
        add_run(s, TEXTS, "uniform", "block=64 k=2", .9, .1 + k, .1);
        SET_LAST(s, TEXTS, layer_set, k ? "1" : "0");
        add_run(s, TEXTS, "uniform", "block=64 k=3", .9, .1 + k, .1);
        SET_LAST(s, TEXTS, head_set, k ? "1" : "0");
    }
    add_task(s, "uniform", -.5, .1, 1);
    add_task(s, "dense", 0, 0, 3);
    for (int64_t i = 0; i < s->n; i++)
        (void)sb_record_set(&s->records[i].provenance,
                            "commit: 0123456789ab\ncpu: \"CPU\"\nutc: 2026-01-31T10:20:30Z\n",
                            NULL);
}

static void put_table(const char *run, const char *file, const char *header)
{
    char text[4096];
    int at = snprintf(text, sizeof text, "%s\n", header);
    for (int i = 0; i < 64; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%d,0.%d,0.5\n", i, i % 7 + 1);
    put(run, file, text);
}

static void put_tables(const char *run)
{
    put_table(run, "residual.csv", "cell,layer_0,layer_1");
    put_table(run, "positions.csv", "cell,kl_0,kl_1");
}

static void test_memory(void)
{
    TEST("an allocation that fails is reported and nothing leaks");
    set s;
    full_set(&s);
    put_tables("memory");
    put("memory", "published.csv",
        "figure,kind,x,y,label,source\nmodel_rows/logit MSE; 1/2 of the rows,point,.25,10,one,a\n");
    int64_t live = sb_mem_live(), tries = 0;
    sb_status st = SB_NO_MEMORY;
    while (st == SB_NO_MEMORY && tries < 5000) {
        sb_mem_fail_at(++tries);
        st = write_data(&s, "memory", NULL);
        sb_mem_fail_at(0);
        EXPECT(sb_mem_live() == live);
    }
    EXPECT_MSG(tries > 100 && st == SB_UNAVAILABLE, "%d after %d", (int)st, (int)tries);
    for (int i = 0; i < SB_N_FIGURES; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s.key.tsv", sb_figures[i].name);
        EXPECT_MSG(!sb_figures[i].write_model ||
                       (holds("memory", name, "commit 0123456789ab") &&
                        holds("memory", name, "0\tCPU, ref kernel, 2 threads.\n") &&
                        holds("memory", name, "Density = kept")),
                   "%s", name);
    }
    EXPECT(holds("memory", "model_rows.key.tsv", "\n-1\tone\n"));
    clear(&s);
}

static bool same_bytes(const char *a, const char *b)
{
    char command[1200];
    (void)snprintf(command, sizeof command, "cmp -s %s %s", a, b);
    return system(command) == 0;
}

/* Runs gnuplot on a figure; what it says is a warning, for there is nothing else. */
static void draw(const char *figure, const char *format)
{
    char command[1024], said[512] = "";
    (void)snprintf(command, sizeof command,
                   "cd %s/plots && gnuplot -c " SB_SOURCE_DIR "/scripts/plots/%s.gp %s %s 2>&1",
                   path_of("once", ""), figure, figure, format);
    FILE *f = popen(command, "r");
    size_t n = f ? fread(said, 1, sizeof said - 1, f) : 0;
    EXPECT_MSG(f && pclose(f) == 0 && n == 0, "%s.%s: %s", figure, format, said);
}

static void test_pictures(void)
{
    TEST("each is drawn without a warning, and again to the same bytes");
    static const char *const formats[] = {"svg", "png", "pdf"};
    set s;
    sb_err err = {0};
    full_set(&s);
    put_tables("once");
    put_tables("again");
    for (int f = 0; f < 3; f++) {
        EXPECT_MSG(sb_plot_records(s.records, s.n, path_of("once", ""), formats[f], 1, &err) ==
                       SB_OK,
                   "%s", err.msg);
        EXPECT(sb_plot_records(s.records, s.n, path_of("again", ""), formats[f], 1, &err) == SB_OK);
        for (int i = 0; i < SB_N_FIGURES; i++) {
            char name[64];
            if (!sb_figures[i].write_model)
                continue;
            (void)snprintf(name, sizeof name, "%s.%s", sb_figures[i].name, formats[f]);
            EXPECT_MSG(same_bytes(path_of("once/plots", name), path_of("again/plots", name)) ||
                           f == 2 /* cairo 1.18 dates a PDF */,
                       "%s", name);
            draw(sb_figures[i].name, formats[f]);
        }
    }

    TEST("so it is without intervals, and in one panel");
    clear(&s);
    add_run(&s, 1, "uniform", "block=64 k=2", .2, .1, 0);
    add_run(&s, 1, "stem", "block=64 k_start=2 mu=0.5", .2, .2, .1);
    EXPECT(sb_plot_records(s.records, s.n, path_of("once", ""), "svg", 1, &err) == SB_OK);
    draw("model_density", "svg");
    draw("model_paired", "svg");
    draw("model_residual", "svg");
    EXPECT(!is_file(path_of("once/plots", "model_tasks.svg")));

    TEST("a model's figures have its name where a run has two models");
    (void)sb_record_set(&s.records[0].model, "other", NULL);
    put_tables("models");
    EXPECT(sb_plot_records(s.records, s.n, path_of("models", ""), "svg", 1, &err) == SB_OK);
    EXPECT(is_file(path_of("models/plots", "model_density_tiny_f32_cpu.svg")) &&
           is_file(path_of("models/plots", "model_density_other_f32_cpu.svg")));
    clear(&s);
}

int main(void)
{
    if (!rig_open())
        return 1;
    test_density();
    test_paired();
    test_baselines();
    test_length();
    test_rows();
    test_layers();
    test_tasks();
    test_residual();
    test_memory();
    if (find_gnuplot())
        test_pictures();
    return rig_close();
}
