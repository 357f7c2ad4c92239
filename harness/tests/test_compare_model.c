/* Comparing and gating runs of which there is a CSV alone: a model in the loop, and a run's copy.
 */

#include "harness/tests/compare_rig.h"
#include "harness/tests/csv_rig.h"

#define PARAMS "variant=paper block=64 mu=0.7 schedule.table=none schedule.total=0.25 sinks=1"

static sb_comparison c;
static sb_err problem;

/* ---- runs ---------------------------------------------------------------------------------- */

enum { N_CELLS = 8 };

/* Two texts, each by dense and by stem, in both settings; as kernels differ: cell 5 is changed. */
static void make_row(sb_record *r, int64_t cell)
{
    bool stem = cell & 1;
    sb_record_init(r);
    r->cell = cell;
    r->layer = -1;
    r->tokens = 8192;
    r->threads = 2;
    r->block = stem ? 64 : 0;
    (void)sb_record_set(&r->config, "", NULL); /* which the CSV leaves out */
    (void)sb_record_set(&r->status, "ok", NULL);
    (void)sb_record_set(&r->capture, "texts/kjv.txt", NULL);
    (void)sb_record_set(&r->model, "some model", NULL);
    (void)sb_record_set(&r->dtype, "bf16", NULL);
    (void)sb_record_set(&r->backend, "cpu", NULL);
    (void)sb_record_set(&r->kernel, "amx", NULL);
    (void)sb_record_set(&r->method, stem ? "stem" : "dense", NULL);
    (void)sb_record_set(&r->params, stem ? PARAMS : "", NULL);
    (void)sb_record_set(&r->task, "text", NULL);
    (void)sb_record_set(&r->text, cell < 4 ? "kjv.txt:1000" : "kjv.txt:90000", NULL);
    (void)sb_record_set(&r->setting, cell & 2 ? "decode" : "all", NULL);
    (void)sb_record_set(&r->layer_set, "all", NULL);
    (void)sb_record_set(&r->head_set, "all", NULL);
    (void)sb_record_set(&r->row_range, "0-1", NULL);
    r->density = stem ? .25 : 1;
    r->rel_l2 = r->logit_mse = r->logit_kl = stem ? .1 : 0;
    r->top1 = stem ? .9 : 1;
    r->ppl = 10;
    r->score = -2.3;
}

static void write_csv(const char *name, change *edit)
{
    char file[500];
    sb_record rows[N_CELLS];
    int64_t n = 0;
    EXPECT(sb_fs_make_dirs(run_path(name), NULL) == SB_OK);
    for (int64_t i = 0; i < N_CELLS; i++) {
        make_row(&rows[n], i);
        if (edit(&rows[n]))
            n++;
        else
            sb_record_free(&rows[n]);
    }
    (void)snprintf(file, sizeof file, "%s/" SB_RESULTS_CSV, run_path(name));
    EXPECT(save_csv(file, rows, n, NULL) == SB_OK);
    for (int64_t i = 0; i < n; i++)
        sb_record_free(&rows[i]);
}

static void compare(change *edit)
{
    sb_where where = {0};
    sb_comparison_free(&c);
    problem = (sb_err){0};
    write_csv("cand", edit);
    EXPECT_MSG(sb_compare(run_path("base"), run_path("cand"), &where, false, &c, &problem) == SB_OK,
               "%s", problem.msg);
}

/* The pair that is not the same, of which there is one. */
static const sb_pair *changed_pair(void)
{
    static const sb_pair none = {.base = 0, .cand = 0};
    const sb_pair *found = NULL;
    for (int64_t i = 0; i < c.n; i++)
        if (c.pairs[i].outcome != SB_CELL_SAME)
            found = &c.pairs[i];
    EXPECT(c.n_outcomes[SB_CELL_SAME] == N_CELLS - 1 && c.n == N_CELLS && found);
    return found ? found : &none;
}

/* ---- which cells are one -------------------------------------------------------------------- */

static const char *column, *value;

static bool set_column(sb_record *r)
{
    const sb_column *at = sb_column_find(column);
    if (r->cell != 5)
        return true;
    if (at->kind == SB_KIND_INT)
        *(int64_t *)sb_column_at(at, r) = 7;
    else
        (void)sb_record_set(sb_column_at(at, r), value, NULL);
    return true;
}

static bool other_place(sb_record *r)
{
    (void)sb_record_set(&r->capture, "/elsewhere/kjv.txt", NULL);
    (void)sb_record_set(&r->kernel, "avx2", NULL);
    r->threads = 64;
    return true;
}

static void test_identity(void)
{
    static const char *const shape[] = {
        "capture", "model", "layer", "tokens",  "heads",     "kv_heads", "head_dim", "dtype",
        "backend", "task",  "text",  "setting", "layer_set", "head_set", "row_range"};
    TEST("the same, whatever the kernel, the threads and the texts' folder");
    write_csv("base", as_is);
    compare(other_place);
    EXPECT(c.n == N_CELLS && c.n_outcomes[SB_CELL_SAME] == N_CELLS);
    TEST("whatever else a column says is another cell");
    value = "other";
    for (size_t i = 0; i < sizeof shape / sizeof shape[0]; i++) {
        column = shape[i];
        compare(set_column);
        EXPECT_MSG(c.n == N_CELLS + 1 && c.n_outcomes[SB_CELL_MISSING] == 1 &&
                       c.n_outcomes[SB_CELL_EXTRA] == 1,
                   "%s", column);
    }
    TEST("a default that is said, another parameter");
    column = "params";
    value = PARAMS " window=4";
    compare(set_column);
    EXPECT(c.n_outcomes[SB_CELL_SAME] == N_CELLS);
    value = PARAMS " window=5";
    compare(set_column);
    EXPECT(changed_pair()->outcome == SB_CELL_RESOLVED);
    TEST("a list is one word");
    value = "schedule.table=[1 window=4 2]";
    write_csv("base", set_column);
    value = "schedule.table=[1 2]";
    compare(set_column);
    EXPECT(changed_pair()->outcome == SB_CELL_RESOLVED);
    write_csv("base", as_is);
}

static const char *budget, *target;

static bool matched(sb_record *r)
{
    if (r->cell == 5) {
        (void)sb_record_set(&r->match_target, target, NULL);
        reword(r, "schedule.total=0.25", budget);
    }
    return true;
}

static void test_matched(void)
{
    char line[SB_LINE];
    TEST("a matched budget is paired by its target");
    target = "density: stem mu=1";
    budget = "schedule.total=0.25";
    write_csv("base", matched);
    budget = "schedule.total=0.26";
    compare(matched);
    EXPECT(c.n_outcomes[SB_CELL_SAME] == N_CELLS && c.n_solved == 1);
    target = "density: stem mu=2";
    compare(matched);
    EXPECT(changed_pair()->outcome == SB_CELL_RESOLVED);
    EXPECT(strstr(sb_describe_cell(&c, changed_pair(), line), "matched to density: stem mu=1"));
    write_csv("base", as_is);
}

static void test_copy(void)
{
    char file[500];
    sb_where where = {0};
    sb_record *records = NULL;
    int64_t n = 0;
    TEST("a run pairs with the copy of its CSV, either way round");
    write_run("whole", 7, as_is, true);
    EXPECT(sb_fs_make_dirs(run_path("copy"), NULL) == SB_OK);
    EXPECT(sb_results_read(run_path("whole"), &records, &n, NULL) == SB_OK);
    (void)snprintf(file, sizeof file, "%s/" SB_RESULTS_CSV, run_path("copy"));
    EXPECT(save_csv(file, records, n, NULL) == SB_OK);
    sb_records_free(records, n);
    static const char *const turns[][2] = {{"whole", "copy"}, {"copy", "whole"}};
    for (int i = 0; i < 2; i++) {
        sb_comparison_free(&c);
        EXPECT_MSG(sb_compare(run_path(turns[i][0]), run_path(turns[i][1]), &where, false, &c,
                              &problem) == SB_OK,
                   "%s", problem.msg);
        EXPECT(c.n == 7 && c.n_outcomes[SB_CELL_SAME] == 7 && c.n_masks == 4);
        EXPECT(c.n_speeds[SB_SPEED_REFUSED] == 7); /* the copy's machine is not known */
    }
    (void)snprintf(file, sizeof file, "%s/provenance.yaml", run_path("copy"));
    static const char machine[] = "cpu: \"X\"\ncores: 2\nthreads: 2\n";
    EXPECT(sb_fs_write(file, machine, strlen(machine), NULL) == SB_OK);
    sb_comparison_free(&c);
    EXPECT(sb_compare(run_path("copy"), run_path("whole"), &where, false, &c, &problem) == SB_OK);
    EXPECT(c.n_speeds[SB_SPEED_REFUSED] == 0);
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static double factor;

static bool scale(sb_record *r)
{
    double *x = sb_column_at(sb_column_find(column), r);
    if (r->cell == 7)
        *x *= factor;
    return true;
}

static sb_outcome outcome_of(const char *name, double by)
{
    column = name;
    factor = by;
    compare(scale);
    return c.n_outcomes[SB_CELL_SAME] == N_CELLS ? SB_CELL_SAME : changed_pair()->outcome;
}

static double dense_kl;

static bool dense_is_off(sb_record *r)
{
    if (r->cell == 4)
        r->logit_kl = dense_kl;
    return true;
}

static void test_verdicts(void)
{
    char line[SB_LINE];
    sb_report report = {0};
    TEST("measures of a model, by a share of the baseline's");
    for (int i = 0; i < SB_N_JUDGED; i++) {
        sb_record r;
        make_row(&r, 7);
        double x = fabs(sb_judged_of(i, &r));
        double share = sb_judged[i].share + sb_judged[i].floor / x;
        sb_record_free(&r);
        if (sb_judged[i].share == 0)
            continue;
        double worse = sb_judged[i].worse > 0 || sb_judged[i].name[0] == 's' ? 1 : -1;
        EXPECT(outcome_of(sb_judged[i].name, 1 + .9 * worse * share) == SB_CELL_SAME);
        EXPECT(outcome_of(sb_judged[i].name, 1 + 1.1 * worse * share) == SB_CELL_REGRESSED);
        EXPECT(outcome_of(sb_judged[i].name, 1 - 1.1 * worse * share) == SB_CELL_IMPROVED);
        EXPECT(outcome_of(sb_judged[i].name, NAN) == SB_CELL_REGRESSED);
    }
    TEST("what it says");
    EXPECT(outcome_of("logit_kl", 2) == SB_CELL_REGRESSED);
    EXPECT_MSG(strstr(sb_describe_cell(&c, changed_pair(), line),
                      "sinks=1, 8192 tokens, bf16, cpu, kjv.txt:90000, decode") &&
                   !strstr(line, "layer"),
               "%s", line);
    EXPECT_MSG(strcmp(sb_describe_change(&c, changed_pair(), line),
                      "logit_kl 0.1 -> 0.2 (+100%, tolerance 0.012)") == 0,
               "%s", line);
    EXPECT(sb_report_make(&c, NULL, &report, NULL) == SB_OK && report.failed);
    EXPECT(report.n_worst == 1 && report.places[0].head < 0 && report.places[0].token < 0);
    sb_report_free(&report);
    TEST("of nothing, a floor");
    dense_kl = 1.4e-3;
    compare(dense_is_off);
    EXPECT(c.n_outcomes[SB_CELL_SAME] == N_CELLS);
    dense_kl = 1.6e-3;
    compare(dense_is_off);
    EXPECT(changed_pair()->outcome == SB_CELL_REGRESSED);
    TEST("a model's tolerances are not those of attention alone");
    EXPECT(outcome_of("rel_l2", 1.04) == SB_CELL_SAME);
}

static sb_gate_result judge(const char *gate)
{
    sb_gates gates;
    sb_gate_result result = {0};
    char *text = sb_sprintf("gates: [{%s}]", gate);
    problem = (sb_err){0};
    EXPECT_MSG(sb_gates_parse(text, strlen(text), "g", &gates, &problem) == SB_OK, "%s",
               problem.msg);
    if (gates.n == 1)
        sb_gate_judge(&gates.list[0], &c, &result);
    sb_gates_free(&gates);
    sb_free(text);
    return result;
}

static void test_gates(void)
{
    static const char decode[] = "metric: logit_kl, where: {setting: decode}, max_increase: .05";
    sb_gate_result r;
    TEST("gates on a model's columns");
    (void)outcome_of("logit_kl", 1.04);
    r = judge(decode);
    EXPECT(!r.failed && r.n_cells == 4);
    (void)outcome_of("logit_kl", 1.06);
    r = judge(decode);
    EXPECT(r.failed && r.n_missed == 1 && c.n_outcomes[SB_CELL_SAME] == N_CELLS);
    EXPECT_MSG(strstr(r.shown[0].why, "logit_kl 0.1 -> 0.106 (+0.006, +6%); limit: max_increase"),
               "%s", r.shown[0].why);
    r = judge("metric: logit_kl, where: {setting: all}, max_increase: .05");
    EXPECT(!r.failed && r.n_cells == 4);
    r = judge("metric: top1, where: {text: 'kjv.txt:9*', layer_set: all, head_set: all, "
              "row_range: 0-1, task: text, method: stem}, min: .95");
    EXPECT(r.failed && r.n_missed == 2 && r.n_cells == 2);
    EXPECT(judge("metric: ppl, where: {task: needle}, max: 1").failed);
    EXPECT(judge("metric: exact, min: 0").n_missed == N_CELLS);
    EXPECT(!judge("hash: equal, min_cells: 0").failed);
}

static void test_memory(void)
{
    TEST("memory that runs out at every place");
    sb_where where = {0};
    sb_status st = SB_NO_MEMORY;
    column = "logit_kl";
    write_csv("cand", scale);
    int64_t i = 0;
    while (st == SB_NO_MEMORY && i < 10000) {
        sb_report report = {0};
        sb_comparison_free(&c);
        int64_t live = sb_mem_live();
        sb_mem_fail_at(++i);
        st = sb_compare(run_path("base"), run_path("cand"), &where, false, &c, NULL);
        if (st == SB_OK)
            st = sb_report_make(&c, NULL, &report, NULL);
        sb_mem_fail_at(0);
        sb_report_free(&report);
        sb_comparison_free(&c);
        EXPECT(sb_mem_live() == live);
    }
    EXPECT(st == SB_OK && i > 100);
}

int main(void)
{
    if (!folder_open())
        return 1;
    test_identity();
    test_matched();
    test_copy();
    test_verdicts();
    test_gates();
    test_memory();
    sb_comparison_free(&c);
    return rig_close();
}
