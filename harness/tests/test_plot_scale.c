/* Pictures, tables and reports of a sweep of thousands of settings: in the time that n log n steps
 * take, and with the same results as by definition. */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "harness/equal.h"
#include "harness/plot.h"
#include "harness/plot_data.h"
#include "harness/plot_params.h"
#include "harness/report_levels.h"
#include "harness/report_maps.h"
#include "harness/results_store.h"
#include "harness/table.h"
#include "harness/tests/plot_rig.h"

/* A sweep of 5000 settings on two layers at two lengths: of stem MUS x BONUSES curves of STARTS
 * settings each, of uniform one curve of KS settings. */
enum { MUS = 500, BONUSES = 2, STARTS = 4, KS = 1000, SHAPES = 4 };
enum { SETTINGS = MUS * BONUSES * STARTS + KS, RECORDS = SETTINGS * SHAPES };

/* Seconds of processor time that each step may take. It takes a tenth of that at most, also where
 * tests are slow; quadratic steps with a comparison of texts in each take ten times as long. */
static const double most_seconds = 4;

static double since(double start)
{
    return (double)clock() / CLOCKS_PER_SEC - start;
}

static uint64_t state = 1;

static double chance(void)
{
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (double)(state >> 11) / (double)(1ULL << 53);
}

static void fill(sb_record *r, int64_t cell, const char *method, const char *params)
{
    int64_t shape = cell % SHAPES;
    make_record(r, cell, method, params);
    r->layer = shape % 2;
    r->tokens = shape < 2 ? 1024 : 2048;
    r->density = .01 + .98 * chance();
    r->rel_l2 = .1 * chance();
    r->flops_attend = r->density;
    r->flops_select = .01;
    r->flops_dense = 1;
    r->dense_ms = 2;
    r->select_ms = .1;
    r->attend_ms = r->density;
    r->total_ms = r->total_ms_lo = r->total_ms_hi = r->density + .1;
    (void)sb_record_set(&r->provenance, "cpu: some\ncommit: 0123\n", NULL);
    for (int i = 0; i < sb_n_columns; i++) { /* as results are read */
        char **text = sb_column_at(&sb_columns[i], r);
        if (sb_columns[i].kind == SB_KIND_TEXT && !*text)
            (void)sb_record_set(text, "", NULL);
    }
}

static void copy_numbers(sb_record *r, const sb_record *from)
{
    r->density = r->flops_attend = r->attend_ms = from->density;
    r->total_ms = r->total_ms_lo = r->total_ms_hi = from->total_ms;
    r->rel_l2 = from->rel_l2;
}

static sb_record *sweep_open(void)
{
    char params[160];
    sb_record *records = sb_alloc(RECORDS, sizeof *records);
    for (int64_t i = 0; records && i < RECORDS; i++) {
        int64_t setting = i / SHAPES, stem = SETTINGS - KS;
        if (setting < stem)
            (void)snprintf(params, sizeof params,
                           "variant=paper block=64 stride=8 k_start=%" PRId64 " mu=%.3f value=%s "
                           "sinks=1 window=1",
                           1 + setting % STARTS, .001 * (double)(1 + setting / STARTS / BONUSES),
                           setting / STARTS % BONUSES ? "paper" : "none");
        else
            (void)snprintf(params, sizeof params, "block=64 k=%" PRId64 " sinks=1 window=1",
                           1 + setting - stem);
        fill(&records[i], i, setting < stem ? "stem" : "uniform", params);
        if (setting < stem && setting / STARTS % BONUSES) /* as without the bonus */
            copy_numbers(&records[i], &records[i - STARTS * SHAPES]);
    }
    return records;
}

static void sweep_close(sb_record *records)
{
    for (int64_t i = 0; records && i < RECORDS; i++)
        sb_record_free(&records[i]);
    sb_free(records);
}

/* ---- time ----------------------------------------------------------------------------------- */

static void test_group(const sb_record *records)
{
    TEST("20,000 records are gathered and labelled in seconds");
    sb_plot_group g;
    double start = since(0);
    REQUIRE(sb_plot_group_build(records, RECORDS, records, &g, NULL) == SB_OK);
    EXPECT_MSG(since(start) < most_seconds, "%.1f s of processor time", since(start));
    EXPECT(g.n_curves == MUS * BONUSES + 1 && g.n_points == 2 * SETTINGS);
    EXPECT(g.n_incomplete == 0);
    EXPECT(strcmp(g.curves[0].label, "stem μ=0.001") == 0);
    EXPECT(strcmp(g.curves[1].label, "stem μ=0.001 +value") == 0);
    EXPECT(strcmp(g.curves[g.n_curves - 1].label, "uniform") == 0);
    EXPECT(g.curves[0].slot == 1 && g.curves[g.n_curves - 1].slot == SB_PLOT_CURVES);
    sb_plot_group_free(&g);
}

static int64_t lines_of(const char *path, const char *with)
{
    char line[512];
    int64_t n = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, with) != NULL;
    if (f)
        (void)fclose(f);
    return n;
}

static void test_table(const sb_record *records)
{
    TEST("the table of a sweep is short, and says what it leaves out");
    const char *path = path_of("table.txt", "");
    int to = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600), screen = dup(1);
    REQUIRE(to >= 0 && screen >= 0);
    (void)fflush(stdout);
    (void)dup2(to, 1);
    double start = since(0);
    sb_status st = sb_table_print(records, RECORDS, NULL);
    double seconds = since(start);
    (void)fflush(stdout);
    (void)dup2(screen, 1);
    (void)close(screen);
    (void)close(to);
    EXPECT(st == SB_OK);
    EXPECT_MSG(seconds < most_seconds, "%.1f s of processor time", seconds);
    int64_t n = lines_of(path, "stem ") + lines_of(path, "uniform");
    EXPECT_MSG(n > 2 && n < 128, "%" PRId64 " rows", n);
    EXPECT(lines_of(path, "more settings, see results.csv; above: from the Pareto front") == 2);
    EXPECT(lines_of(path, "dense         ") == 2);
    EXPECT(lines_of(path, "stem ") > 2 && lines_of(path, "+value") == 0); /* equal, and second */
}

static void test_pictures(const sb_record *records)
{
    TEST("the data of a sweep's pictures are written in seconds");
    char command[600];
    (void)snprintf(command, sizeof command, "mkdir -p %s", path_of("run", ""));
    REQUIRE(system(command) == 0);
    hide_gnuplot();
    double start = since(0);
    EXPECT(sb_plot_records(records, RECORDS, path_of("run", ""), "svg", 1, NULL) == SB_UNAVAILABLE);
    EXPECT_MSG(since(start) < most_seconds, "%.1f s of processor time", since(start));
    EXPECT(lines_of(path_of("run/plots/data", "error_flops.key.tsv"), "18 of 1001 curves shown.") ==
           1);
    EXPECT(lines_of(path_of("run/plots/data", "sweep.key.tsv"), "Lines not shown: ") == 1);
    (void)setenv("PATH", search_path, 1);
}

/* Of each curve of stem on each shape the setting nearest to a quarter comes first. */
static bool is_ordered(const sb_record *records, const int64_t *order)
{
    for (int64_t i = 0; i < 2 * (MUS * BONUSES + 1); i++) {
        int64_t setting = order[i] / SHAPES, shape = order[i] % SHAPES;
        int64_t first = setting / STARTS * STARTS;
        if (records[order[i]].tokens != 2048)
            return false;
        for (int64_t k = first; setting < SETTINGS - KS && k < first + STARTS; k++)
            if (fabs(log(records[k * SHAPES + shape].density / .25)) <
                fabs(log(records[order[i]].density / .25)))
                return false;
    }
    return true;
}

static void test_report(const sb_record *records)
{
    TEST("a sweep's report is written in seconds");
    sb_plot_group g;
    FILE *out = fopen("/dev/null", "w");
    int64_t *shape = sb_alloc(RECORDS, sizeof *shape), *order = sb_alloc(RECORDS, sizeof *order), n;
    sb_record *stand_ins = NULL;
    sb_report_maps maps = {0};
    REQUIRE(out && shape && order);
    REQUIRE(sb_plot_group_build(records, RECORDS, records, &g, NULL) == SB_OK);
    const sb_report_view view = {
        .name = "run", .records = records, .n = RECORDS, .groups = &g, .n_groups = 1};
    double start = since(0);
    EXPECT(sb_report_stand_ins(records, RECORDS, &stand_ins, NULL) == SB_OK);
    EXPECT(sb_map_order(&view, shape, order, &n, NULL) == SB_OK && n == RECORDS);
    EXPECT(is_ordered(records, order));
    EXPECT(sb_report_write_run(out, &view, NULL) == SB_OK);
    EXPECT(sb_report_write_best(out, &g, NULL) == SB_OK);
    sb_report_write_speed(out, &g);
    sb_report_write_worst(out, &g);
    EXPECT(sb_report_write_provenance(out, &view, NULL) == SB_OK);
    EXPECT(sb_report_write_json(out, &view, &maps, NULL) == SB_OK);
    EXPECT_MSG(since(start) < most_seconds, "%.1f s of processor time", since(start));
    sb_report_stand_ins_free(stand_ins, RECORDS);
    sb_plot_group_free(&g);
    sb_free(order);
    sb_free(shape);
    (void)fclose(out);
}

static void test_failures(sb_record *records)
{
    TEST("of very many reasons for failures the first are listed, and the rest are counted");
    char reason[32];
    const sb_report_view view = {.name = "run", .records = records, .n = RECORDS};
    const char *path = path_of("failures.html", "");
    for (int64_t i = 0; i < 4000; i++) {
        (void)snprintf(reason, sizeof reason, "reason %" PRId64, i / 2);
        (void)sb_record_set(&records[i].status, "failed", NULL);
        (void)sb_record_set(&records[i].reason, reason, NULL);
    }
    FILE *out = fopen(path, "w");
    REQUIRE(out);
    double start = since(0);
    EXPECT(sb_report_write_run(out, &view, NULL) == SB_OK);
    EXPECT_MSG(since(start) < most_seconds, "%.1f s of processor time", since(start));
    (void)fclose(out);
    EXPECT(lines_of(path, "<li>2 failed: reason ") == 50);
    EXPECT(lines_of(path, "<li>... and 3900 for other reasons, see results.csv</li>") == 1);
}

/* ---- by definition -------------------------------------------------------------------------- */

/* Few different densities and errors, so that there are ties. */
static void roughen(sb_record *records, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        records[i].density = .1 * ceil(9 * records[i].density);
        records[i].flops_attend = records[i].density;
        records[i].rel_l2 = .02 * ceil(50 * records[i].rel_l2);
    }
}

static bool is_beaten(const sb_plot_group *g, const sb_plot_point *p)
{
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *q = &g->points[i];
        if (q->tokens == p->tokens && q->budget <= p->budget && q->rel_l2 <= p->rel_l2 &&
            (q->budget < p->budget || q->rel_l2 < p->rel_l2))
            return true;
    }
    return false;
}

static const sb_plot_point *nearest(const sb_plot_group *g, int64_t curve, int64_t tokens,
                                    double density)
{
    const sb_plot_point *best = NULL;
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        double off = fabs(log(p->density / density));
        if (p->curve == curve && p->tokens == tokens && off < log(1.5) &&
            (!best || off < fabs(log(best->density / density))))
            best = p;
    }
    return best;
}

static int64_t n_sharing(const sb_plot_group *g, int64_t tokens, double at)
{
    int64_t n = 0, last = -1;
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        bool near = p->tokens == tokens && fabs(log(p->density / at)) <= log(1.05);
        n += near && p->curve != last;
        last = near ? p->curve : last;
    }
    return n;
}

static void check_levels(const sb_plot_group *g)
{
    sb_report_levels v;
    int64_t tokens = g->lengths[1], most = 0;
    REQUIRE(sb_report_levels_find(g, tokens, &v, NULL) == SB_OK);
    EXPECT(v.n > 3);
    for (int i = 0; i < v.n; i++) {
        EXPECT(v.level[i].n_sharing == n_sharing(g, tokens, v.level[i].at));
        EXPECT(v.level[i].best->curve != v.level[i].next->curve);
        EXPECT(v.level[i].best->rel_l2 <= v.level[i].next->rel_l2);
        most = v.level[i].n_sharing > most ? v.level[i].n_sharing : most;
    }
    for (int64_t i = 0; i < g->n_points; i++)
        EXPECT(g->points[i].tokens != tokens || n_sharing(g, tokens, g->points[i].density) <= most);
}

static void test_definitions(void)
{
    TEST("fronts, nearest settings and shared costs are those of their definitions");
    sb_record *records = sweep_open();
    sb_plot_group g;
    int64_t n = RECORDS / 16, n_front = 0; /* 39 mu, with ties */
    REQUIRE(records);
    roughen(records, RECORDS);
    REQUIRE(sb_plot_group_build(records, n, records, &g, NULL) == SB_OK);
    for (int64_t i = 0; i < g.n_points; i++) {
        EXPECT(g.points[i].pareto == !is_beaten(&g, &g.points[i]));
        n_front += g.points[i].pareto;
    }
    EXPECT(n_front > 2 && n_front < g.n_points / 2);
    for (int64_t c = 0; c < g.n_curves; c++)
        for (double at = .05; at < 1.2; at += .05)
            for (int i = 0; i < 2; i++)
                EXPECT(sb_plot_nearest(&g, c, g.lengths[i], at) ==
                       nearest(&g, c, g.lengths[i], at));
    EXPECT(!sb_plot_nearest(&g, 0, 77, .5) && !sb_plot_nearest(&g, 0, 1024, NAN));
    check_levels(&g);
    sb_plot_group_free(&g);
    TEST("of one curve with many settings too");
    REQUIRE(sb_plot_group_build(records + RECORDS - n / 2, n / 2, records + RECORDS - n / 2, &g,
                                NULL) == SB_OK);
    EXPECT(g.n_curves == 1);
    for (double at = .01; at < 1.2; at += .003)
        EXPECT(sb_plot_nearest(&g, 0, 2048, at) == nearest(&g, 0, 2048, at));
    sb_plot_group_free(&g);
    sweep_close(records);
}

static void test_ends(void)
{
    TEST("the setting nearest to a density is none of the next curve");
    set s = {.n = 0};
    sb_plot_group g;
    new_record(&s, 0, 128, "stem", "mu=1")->density = .3;
    new_record(&s, 0, 128, "stem", "mu=2")->density = .5;
    REQUIRE(sb_plot_group_build(s.records, s.n, s.records, &g, NULL) == SB_OK);
    REQUIRE(g.n_points == 2);
    EXPECT(sb_plot_nearest(&g, 0, 128, .4) == &g.points[0]);
    EXPECT(sb_plot_nearest(&g, 1, 128, .38) == &g.points[1]);
    EXPECT(!sb_plot_nearest(&g, 0, 128, .5) && !sb_plot_nearest(&g, 1, 128, .3));
    sb_plot_group_free(&g);
    clear(&s);
}

static void test_fewest(void)
{
    TEST("labels give the fewest parameters that tell curves apart");
    static const char *const params[][2] = {{"score=a sinks=1 window=1", "stem a"},
                                            {"score=b sinks=1 window=1", "stem b"},
                                            {"window=2 sinks=2 score=c", "stem c"}};
    set s = {.n = 0};
    sb_plot_curve curves[3] = {{0}};
    for (int i = 0; i < 3; i++)
        curves[i].first = new_record(&s, 0, 128, "stem", params[i][0]);
    REQUIRE(sb_plot_label(curves, 3, NULL) == SB_OK);
    for (int i = 0; i < 3; i++) {
        EXPECT_MSG(strcmp(curves[i].label, params[i][1]) == 0, "%s", curves[i].label);
        sb_free(curves[i].label);
    }
    clear(&s);
}

/* ---- equal texts ---------------------------------------------------------------------------- */

static char *word(const void *things, int64_t i)
{
    return sb_strdup(((const char *const *)things)[i]);
}

static void test_equal(void)
{
    TEST("of equal things the first is found");
    static const char *const words[] = {"b", "a", "", "b", "", "ab", "a", "b"};
    int64_t first[8];
    REQUIRE(sb_first_equal(words, 8, word, first, NULL) == SB_OK);
    static const int64_t expected[] = {0, 1, 2, 0, 2, 5, 1, 0};
    EXPECT(memcmp(first, expected, sizeof first) == 0);
    for (int64_t k = 1; k <= 9; k++) {
        int64_t live = sb_mem_live();
        sb_mem_fail_at(k);
        EXPECT(sb_first_equal(words, 8, word, first, NULL) == SB_NO_MEMORY);
        sb_mem_fail_at(0);
        EXPECT(sb_mem_live() == live);
    }
}

static bool same_key(const char *a, const char *b)
{
    char *x = sb_params_key("stem", a, sb_span_of("mu"));
    char *y = sb_params_key("stem", b, sb_span_of("mu"));
    bool same = x && y && strcmp(x, y) == 0;
    sb_free(y);
    sb_free(x);
    return same;
}

static void test_key(void)
{
    TEST("a key holds what is not skipped, not a budget and not empty, in any order");
    EXPECT(same_key("score=a value=b", "value=b score=a"));
    EXPECT(same_key("score=a mu=1 k_start=2", "score=a mu=2 k_start=3"));
    EXPECT(same_key("score=a value=", "score=a"));
    EXPECT(same_key("", NULL));
    EXPECT(!same_key("score=a", "score=b"));
    EXPECT(!same_key("score=a", "value=a"));
    EXPECT(!same_key("score=a", "score=a value=b"));
    EXPECT(!same_key("score=[0.3, 0.6]", "score=[0.3, 0.7]"));
    EXPECT(!same_key("a=b c=d", "a=bc d=d"));
}

int main(void)
{
    if (!rig_open())
        return 1;
    sb_record *records = sweep_open();
    if (!records)
        return 1;
    test_group(records);
    test_table(records);
    test_pictures(records);
    test_report(records);
    test_failures(records);
    sweep_close(records);
    test_definitions();
    test_ends();
    test_fewest();
    test_equal();
    test_key();
    return rig_close();
}
