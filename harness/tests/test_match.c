/* The search for a matched value: on functions that are known, and through whole runs. */
#include <math.h>
#include <string.h>

#include "harness/backend.h"
#include "harness/match.h"
#include "harness/run.h"
#include "harness/synth.h"
#include "harness/tests/folder_rig.h"

/* ---- the search alone ---------------------------------------------------------------------- */

typedef struct curve {
    double (*y)(double x);
    sb_match_range range;
    bool outside; /* a value out of range, or one that is not whole, was tried */
    int n, fail_at;
    double tried[SB_MATCH_TRIES];
    bool twice;
} curve;

static sb_status ask(void *self, double x, double *y, sb_err *err)
{
    curve *c = self;
    const sb_match_range *r = &c->range;
    c->outside |= x < r->low || x > r->high || (r->low_open && x == r->low);
    c->outside |= r->whole && x != floor(x);
    for (int i = 0; i < c->n; i++)
        c->twice |= c->tried[i] == x;
    if (c->n < SB_MATCH_TRIES)
        c->tried[c->n] = x;
    if (++c->n == c->fail_at)
        return sb_fail(err, SB_INTERRUPTED, "interrupted");
    *y = c->y(x);
    return SB_OK;
}

static sb_match_found find(double (*y)(double), sb_match_range range, double wanted,
                           double tolerance)
{
    curve c = {.y = y, .range = range};
    sb_match_found found;
    EXPECT(sb_match_find(&range, wanted, tolerance, ask, &c, &found, NULL) == SB_OK);
    EXPECT(!c.outside && !c.twice && c.n == found.n_tried && c.n <= SB_MATCH_TRIES);
    EXPECT(found.y == y(found.x));
    return found;
}

static double off(sb_match_found found, double wanted)
{
    return fabs(found.y / wanted - 1);
}

/* Budgets of 128 rows: what is forced comes on top, and then more and more of it coincides. */
static double forced_blocks(double x)
{
    double causal = 8256, forced = 300;
    return (x + forced * (1 - x / causal)) / causal;
}

static double with_selection(double x)
{
    return .08 + forced_blocks(x);
}

static double window_of_8192(double x)
{
    return (2 * x - x * x / 8192) / 8192;
}

/* Top-p over mass that falls as a power of the rank: the last digits of p keep most. */
static double top_p(double x)
{
    return fmin(1, .01 + .02 * pow(1 - x + 1e-9, -.35));
}

static double steep(double x)
{
    return .02 + .9 / (1 + pow((1 - x) / 1e-5, 2));
}

static double near_zero(double x)
{
    return x <= 0 ? 1e-3 : 1 / (1 + 1e-5 / x);
}

static double falling(double x)
{
    return fmin(1, .03 / (x + .01));
}

static double linear(double x)
{
    return .01 + .5 * x;
}

static double steps(double x)
{
    return .05 + .1 * floor(x * 9.5);
}

static double jump(double x)
{
    return x < .7331 ? .05 : .6;
}

static double far_jump(double x)
{
    return (x < 1e9 ? .05 : .6) + 1e-13 * x;
}

static double constant(double x)
{
    return x < -1 ? .1 : .3;
}

static const sb_match_range blocks = {true, 128, 8256, false, 1, 800};
static const sb_match_range tokens = {true, 1, 8192, false, 1, 800};
static const sb_match_range unit = {false, 0, 1, false, 1, .9};
static const sb_match_range open_unit = {false, 0, 1, true, 1, .9};
static const sb_match_range down = {false, 0, 1, true, -1, .2};

static void test_whole(void)
{
    TEST("budgets are found to half a block in few tries");
    for (double wanted = .06; wanted < 1; wanted += .047) {
        sb_match_range r = blocks;
        r.guess = wanted * 8256;
        sb_match_found f = find(forced_blocks, r, wanted, .5 / r.guess);
        EXPECT(off(f, wanted) <= .5 / r.guess && f.n_tried <= 4);
        f = find(with_selection, r, wanted + .08, .5 / r.guess);
        EXPECT(off(f, wanted + .08) <= .5 / r.guess && f.n_tried <= 5);
    }

    TEST("windows are found from a guess that is twice as large");
    for (double wanted = .01; wanted < 1; wanted += .03) {
        sb_match_range r = tokens;
        r.guess = wanted * 8192;
        sb_match_found f = find(window_of_8192, r, wanted, 1e-3);
        EXPECT_MSG(off(f, wanted) <= 5e-3 && f.n_tried <= 9, "%g: %g after %d", wanted, f.x,
                   f.n_tried);
    }

    TEST("of two neighbours the nearer, where none is near enough");
    for (int guess = 1; guess <= 10; guess++)
        for (double x = .2; x < 11; x += .4) {
            sb_match_range few = {true, 1, 10, false, 1, guess};
            double nearest = fmin(fmax(nearbyint(x), 1), 10);
            EXPECT(find(linear, few, .01 + .5 * x, 1e-3).x == nearest);
        }

    TEST("out of reach, the end");
    EXPECT(find(forced_blocks, blocks, .01, 1e-3).x == 128);
    EXPECT(find(forced_blocks, blocks, 2, 1e-3).x == 8256);
    EXPECT(find(forced_blocks, blocks, 2, 1e-3).n_tried <= 5);
    sb_match_range one = {true, 7, 7, false, 1, 7};
    EXPECT(find(linear, one, .1, 1e-3).x == 7 && find(linear, one, 9, 1e-3).n_tried == 1);

    TEST("the number of tries is limited");
    sb_match_range endless = {true, 1, 0x1p50, false, 1, 1};
    EXPECT(find(far_jump, endless, .3, 1e-3).n_tried == SB_MATCH_TRIES);

    TEST("a plateau ends the search, and ties keep the first");
    sb_match_found f = find(constant, blocks, .2, 1e-3);
    EXPECT(f.x == 800 && f.y == .3 && f.n_tried <= 5);
}

static void expect_real(const char *name, double (*y)(double), sb_match_range r, double wanted,
                        int most)
{
    sb_match_found f = find(y, r, wanted, 1e-3);
    EXPECT_MSG(off(f, wanted) <= (f.n_tried < 8 ? 1e-3 : 5e-3) && f.n_tried <= most,
               "%s %g: %.9g realises %g after %d", name, wanted, f.x, f.y, f.n_tried);
}

static void test_real(void)
{
    TEST("thresholds are found wherever they lie");
    for (double wanted = .1; wanted < 1; wanted *= 1.07) {
        expect_real("linear", linear, unit, fmin(wanted, .5), 9);
        expect_real("top-p", top_p, unit, wanted, 9);
        expect_real("steep", steep, unit, fmin(wanted, .9), 11);
        expect_real("near zero", near_zero, open_unit, wanted, 15);
        expect_real("falling", falling, down, wanted, 12);
    }
    EXPECT(fabs(find(steep, unit, .47, 1e-6).x - .99999) < 1e-6);

    TEST("a guess at an end");
    sb_match_range from_end = {false, 0, 1, false, 1, 1};
    expect_real("linear", linear, from_end, .2, 9);

    TEST("a wide range");
    sb_match_range wide = {false, 0, 64, true, 1, 1};
    for (double wanted = .012; wanted < 30; wanted *= 2.1)
        expect_real("linear", linear, wide, wanted, 10);

    TEST("steps: one of the two around the wanted one, and an end to it");
    sb_match_found f;
    for (double wanted = .06; wanted < .95; wanted += .01) {
        f = find(steps, unit, wanted, 1e-3);
        EXPECT_MSG(fabs(f.y - wanted) < .1 && f.n_tried <= 14, "%g: %g after %d", wanted, f.y,
                   f.n_tried);
        f = find(jump, unit, wanted, 1e-3);
        EXPECT(f.y == (wanted < .325 ? .05 : .6) && f.n_tried <= 9);
    }
    f = find(steps, unit, .41, 1e-3);
    EXPECT(fabs(f.y - .45) < 1e-12);
    f = find(constant, unit, .6, 1e-3);
    EXPECT(f.y == .3 && f.n_tried <= 5);

    TEST("out of reach, the end");
    EXPECT(find(linear, unit, .9, 1e-3).x == 1 && find(linear, unit, .005, 1e-3).x == 0);
    EXPECT(find(falling, down, .01, 1e-3).x == 1);
    double x = find(linear, open_unit, .005, 1e-3).x;
    EXPECT(x > 0 && x < 1e-6);
    EXPECT(find(linear, unit, .9, 1e-3).n_tried <= 5);

    TEST("what is found has 9 digits");
    char text[32];
    x = find(top_p, unit, .31, 1e-3).x;
    (void)snprintf(text, sizeof text, "%.9g", x);
    EXPECT(x == strtod(text, NULL));

    TEST("an error ends the search");
    curve c = {.y = linear, .range = unit, .fail_at = 2};
    EXPECT(sb_match_find(&unit, .1, 1e-3, ask, &c, &f, NULL) == SB_INTERRUPTED && c.n == 2);
}

/* ---- cells --------------------------------------------------------------------------------- */

static char capture_path[300];

/* A config's only shape, with all that its cells need. */
typedef struct rig {
    sb_config cfg;
    sb_sweep sweep;
    sb_tensors tensors;
    sb_shape_data data;
    volatile int stop;
} rig;

static bool rig_open(rig *r, const char *match, const char *methods)
{
    char text[1000];
    sb_err err = {0};
    *r = (rig){.stop = 0};
    (void)snprintf(text, sizeof text,
                   "data: %s\nlayers: [1]\nlengths: [700]\ndtype: f32\nblock: 64\nmatch: {%s}\n"
                   "measure: {fidelity: false, latency: false}\nmethods: [%s]\n",
                   capture_path, match, methods);
    sb_status st = sb_config_parse(text, strlen(text), "c", NULL, 0, &r->cfg, &err);
    if (st == SB_OK)
        st = sb_sweep_open(&r->cfg, &r->sweep, &err);
    if (st == SB_OK)
        st = sb_capture_read(&r->sweep.captures[0], 1, 700, SB_F32, &r->tensors, &err);
    r->data =
        (sb_shape_data){.problem = st == SB_OK ? sb_sweep_problem(&r->sweep, 0) : (sb_problem){0},
                        .exec = {.n_threads = 2},
                        .inputs = {r->tensors.q, r->tensors.k, r->tensors.v},
                        .realised = sb_alloc(r->cfg.n_variants, sizeof(double)),
                        .stop = &r->stop};
    EXPECT_MSG(st == SB_OK && r->data.realised, "%s", err.msg);
    return st == SB_OK && r->data.realised;
}

static void rig_free(rig *r)
{
    sb_free(r->data.realised);
    sb_tensors_free(&r->tensors);
    sb_sweep_close(&r->sweep);
    sb_config_free(&r->cfg);
}

static sb_status evaluate(rig *r, int64_t variant, sb_cell *cell)
{
    return sb_cell_evaluate(&r->sweep, 0, variant, &r->data, cell, NULL);
}

static double budget_of(const sb_record *r)
{
    return (r->flops_attend + r->flops_select) / r->flops_dense;
}

/* Every matched cell of the config realises what its target does, and its record says so. */
static void expect_matched(const char *by, const char *methods, double tolerance)
{
    rig r;
    char match[64], text[400];
    (void)snprintf(match, sizeof match, "to: stem, by: %s", by);
    REQUIRE(rig_open(&r, match, methods));
    bool flops = strcmp(by, "flops") == 0;
    for (int64_t v = 0; v < r.cfg.n_variants; v++) {
        sb_cell cell, to;
        if (r.cfg.variants[v].target < 0)
            continue;
        EXPECT(evaluate(&r, v, &cell) == SB_OK);
        EXPECT(evaluate(&r, r.cfg.variants[v].target, &to) == SB_OK);
        const sb_record *a = &cell.record, *b = &to.record;
        double got = flops ? budget_of(a) : a->density, wanted = flops ? budget_of(b) : b->density;
        EXPECT_MSG(strcmp(a->status, "ok") == 0 && fabs(got / wanted - 1) <= tolerance &&
                       fabs(a->match_residual - (got / wanted - 1)) < 1e-12,
                   "%s: %s realises %g, not %g", a->status, a->params, got, wanted);
        (void)snprintf(text, sizeof text, "%s: stem %s", by, b->params);
        EXPECT(a->match_target && strcmp(a->match_target, text) == 0);
        (void)snprintf(text, sizeof text, "match: \"%s: stem variant=", by);
        EXPECT(strstr(a->config, text) && !b->match_target && isnan(b->match_residual));
        sb_cell_free(&cell);
        sb_cell_free(&to);
    }
    rig_free(&r);
}

static const char three_stems[] =
    "uniform: {score: [mean, antidiagonal], sinks: 1, window: 2}, "
    "stem: {schedule: {total: [0.5, 0.6, 0.8]}, mu: 0.5, sinks: 1, window: 1}";

static void test_cells(void)
{
    TEST("matched by density: within a block of 66");
    expect_matched("density", three_stems, .02);
    TEST("matched by FLOPs, selection included");
    expect_matched("flops", three_stems, .02);

    TEST("whatever a method is solved for: budgets, lengths, thresholds of either direction");
    static const char *const methods[] = {"streaming: {sink: 0}",
                                          "minference: {variant: [vertical_slash, block_sparse]}",
                                          "flexprefill: {min_budget: 0}",
                                          "xattention",
                                          "sparge: {variant: [cdf, top], similarity: -1}",
                                          "flashprefill: {sink: 0, window: 0, last_full: 0}",
                                          "cosa",
                                          "vecattention: {variant: [kernel, reference], band: 0}",
                                          "random"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char entries[200];
        (void)snprintf(entries, sizeof entries,
                       "%s, stem: {schedule: {total: [0.6, 0.8]}, sinks: 1, window: 1}",
                       methods[i]);
        expect_matched("density", entries, .1);
        expect_matched("flops", entries, .1);
    }
    expect_matched("density", "oracle: {by: [mass, output]}, stem: {schedule: {total: 0.6}}", .1);

    TEST("a target out of reach leaves the nearest end and its residual");
    rig r;
    sb_cell cell;
    REQUIRE(rig_open(&r, "to: stem",
                     "uniform: {sinks: 3, window: 3}, "
                     "stem: {schedule: {total: 0.17}, sinks: 0, window: 1}"));
    EXPECT(evaluate(&r, 0, &cell) == SB_OK && cell.record.match_residual > 1);
    EXPECT(strstr(cell.record.params, " schedule.total=11 "));
    sb_cell_free(&cell);

    TEST("the search can be interrupted");
    r.stop = 1;
    EXPECT(evaluate(&r, 1, &cell) == SB_OK);
    sb_cell_free(&cell);
    EXPECT(evaluate(&r, 0, &cell) == SB_INTERRUPTED);
    sb_cell_free(&cell);
    r.data.realised[1] = 0;
    EXPECT(evaluate(&r, 0, &cell) == SB_INTERRUPTED && r.data.realised[1] == 0);
    sb_cell_free(&cell);
    rig_free(&r);

    TEST("a target that cannot be is the reason of what is matched to it");
    REQUIRE(rig_open(&r, "to: stem", "uniform, stem: {schedule: {total: 0.01}}"));
    EXPECT(evaluate(&r, 0, &cell) == SB_OK && strcmp(cell.record.status, "unsupported") == 0);
    EXPECT(strstr(cell.record.reason, "a total of 1 blocks") != NULL);
    sb_cell_free(&cell);
    rig_free(&r);
}

static void test_memory(void)
{
    TEST("an allocation that fails is reported and nothing leaks");
    rig r;
    REQUIRE(rig_open(&r, "to: stem, by: flops", "uniform, stem"));
    int64_t live = sb_mem_live(), tries = 0;
    for (bool done = false; !done && tries < 1000;) {
        sb_cell cell;
        r.data.realised[1] = 0;
        sb_mem_fail_at(++tries);
        sb_status st = evaluate(&r, 0, &cell);
        sb_mem_fail_at(0);
        done = st == SB_OK && strcmp(cell.record.status, "ok") == 0;
        EXPECT(st == SB_OK || st == SB_NO_MEMORY);
        sb_cell_free(&cell);
        EXPECT(sb_mem_live() == live);
    }
    EXPECT(tries > 20 && tries < 1000);
    rig_free(&r);
}

int main(void)
{
    sb_err err = {0};
    if (!folder_open())
        return 1;
    (void)snprintf(capture_path, sizeof capture_path, "%s/c.h5", folder);
    sb_synth_options o = sb_synth_defaults();
    o.tokens = 700;
    o.heads = 4;
    o.dim = o.dim_v = 32;
    test_whole();
    test_real();
    TEST("a capture to match on");
    EXPECT_MSG(sb_synth(capture_path, &o, &err) == SB_OK, "%s", err.msg);
    test_cells();
    test_memory();
    return rig_close();
}
