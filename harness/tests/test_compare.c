/* Pairing and verdicts. With a number of records as the argument, comparing two runs of that size
 * is timed too. */

#include <time.h>

#include "harness/tests/compare_rig.h"

static sb_comparison c;
static sb_err problem;

/* Compares run "base" of 7 cells with one that is changed, into c. */
static sb_status compare(change *edit, bool force)
{
    sb_where where = {0};
    sb_comparison_free(&c);
    problem = (sb_err){0};
    write_run("cand", 7, edit, true);
    sb_status st = sb_compare(run_path("base"), run_path("cand"), &where, force, &c, &problem);
    EXPECT((st == SB_OK) == (problem.msg[0] == '\0'));
    return st;
}

static const sb_pair *pair_of(int64_t cell)
{
    for (int64_t i = 0; i < c.n; i++)
        if (sb_pair_record(&c, &c.pairs[i])->cell == cell)
            return &c.pairs[i];
    return NULL;
}

/* Requires that cell 4 has that outcome and the other six are the same. */
static void expect_outcome(change *edit, sb_outcome outcome, const char *says)
{
    char line[SB_LINE];
    EXPECT_MSG(compare(edit, false) == SB_OK, "%s", problem.msg);
    const sb_pair *p = pair_of(4);
    EXPECT(c.n == 7 && p && c.n_outcomes[SB_CELL_SAME] == 6 + (outcome == SB_CELL_SAME));
    if (!p)
        return;
    EXPECT_MSG(p->outcome == outcome && c.n_outcomes[outcome] >= 1, "%s",
               sb_outcome_name(p->outcome));
    EXPECT_MSG(strstr(sb_describe_change(&c, p, line), says) != NULL, "%s", line);
}

#define CHANGE(name, statement)                                                                    \
    static bool name(sb_record *r)                                                                 \
    {                                                                                              \
        if (r->cell == 4) {                                                                        \
            statement;                                                                             \
        }                                                                                          \
        return true;                                                                               \
    }

CHANGE(other_mask, (void)sb_record_set(&r->mask_hash, "00000000deadbeee", NULL))
CHANGE(slightly_worse, r->rel_l2 += 0.0011)
CHANGE(worse, r->rel_l2 += 0.0013)
CHANGE(better, r->rel_l2 -= 0.0013)
CHANGE(less_recall, r->mass_recall -= 0.0001)
CHANGE(more_recall, r->mass_recall += 0.0001)
CHANGE(mixed, r->mass_recall += 0.0001; r->cosine_min -= 0.01)
CHANGE(rounding_worse, r->impl_rel_l2 = 0.004)
CHANGE(empty, r->lse_err = NAN)
CHANGE(failed, (void)sb_record_set(&r->status, "failed", NULL);
       (void)sb_record_set(&r->reason, "NaN in head 3", NULL))
CHANGE(unsupported, (void)sb_record_set(&r->status, "unsupported", NULL))
CHANGE(other_kernel, reword(r, "kernel: amx", "kernel: avx2");
       reword(r, "threads: 2", "threads: 8"); reword(r, "a.h5", "/elsewhere/a.h5");
       reword(r, "warmup: 0", "warmup: 3"))
CHANGE(other_digest, reword(r, "0123456789", "9123456789"))
CHANGE(other_mu, reword(r, "mu=0.7", "mu=0.69"))
CHANGE(other_rows, reword(r, "rows: 0", "rows: 99"))
CHANGE(new_parameter, reword(r, "sinks=1", "sinks=1; window=4"))
CHANGE(new_parameter_set, reword(r, "sinks=1", "sinks=1; window=5"))
CHANGE(without_params, reword(r, "\nparams: ", "\nsmarap: "))
CHANGE(twice, r->cell = 3; r->layer = 0; reword(r, "layer: 1", "layer: 0"))

static bool without_4(sb_record *r)
{
    return r->cell != 4;
}

static void test_outcomes(void)
{
    write_run("base", 7, as_is, true);
    TEST("equal runs, folded or not");
    EXPECT(compare(as_is, false) == SB_OK && c.n == 7 && c.n_outcomes[SB_CELL_SAME] == 7);
    EXPECT(c.n_masks == 4 && c.n_masks_differ == 0);
    write_run("base", 7, as_is, false);
    EXPECT(compare(as_is, false) == SB_OK && c.n_outcomes[SB_CELL_SAME] == 7);
    TEST("kernel, threads, place and latency settings do not part cells");
    expect_outcome(other_kernel, SB_CELL_SAME, "");
    TEST("patterns");
    expect_outcome(other_mask, SB_CELL_REGRESSED, "pattern differs");
    EXPECT(c.n_masks_differ == 1);
    TEST("fidelity, in the worse direction alone and beyond the tolerance");
    expect_outcome(slightly_worse, SB_CELL_SAME, "");
    expect_outcome(worse, SB_CELL_REGRESSED, "rel_l2 0.1 -> 0.1013 (+1.3%, tolerance 0.0012)");
    expect_outcome(better, SB_CELL_IMPROVED, "rel_l2 0.1 -> 0.0987");
    expect_outcome(less_recall, SB_CELL_REGRESSED, "mass_recall 0.9 -> 0.8999");
    expect_outcome(more_recall, SB_CELL_IMPROVED, "mass_recall 0.9 -> 0.9001");
    expect_outcome(mixed, SB_CELL_REGRESSED, "cosine_min 0.9 -> 0.89");
    expect_outcome(rounding_worse, SB_CELL_REGRESSED, "impl_rel_l2 0.002 -> 0.004");
    expect_outcome(empty, SB_CELL_REGRESSED, "lse_err 0.1 -> empty");
    TEST("failed, unsupported, missing");
    expect_outcome(failed, SB_CELL_FAILED, "failed: NaN in head 3");
    EXPECT(c.n_failed == 1 && c.n_unsupported == 0);
    expect_outcome(unsupported, SB_CELL_FAILED, "unsupported");
    EXPECT(c.n_failed == 0 && c.n_unsupported == 1);
    expect_outcome(without_4, SB_CELL_MISSING, "not in the candidate");
    TEST("parameters");
    expect_outcome(other_mu, SB_CELL_RESOLVED, "mu=0.7 -> mu=0.69");
    expect_outcome(new_parameter, SB_CELL_SAME, "");
    expect_outcome(new_parameter_set, SB_CELL_RESOLVED, "sinks=1 -> sinks=1;");
    expect_outcome(other_rows, SB_CELL_RESOLVED, "what fidelity is measured on");

    TEST("another capture is another cell");
    EXPECT(compare(other_digest, false) == SB_OK && c.n == 8);
    EXPECT(c.n_outcomes[SB_CELL_MISSING] == 1 && c.n_outcomes[SB_CELL_EXTRA] == 1);

    TEST("recovered, still failing, extra");
    write_run("base", 7, failed, true);
    expect_outcome(as_is, SB_CELL_RECOVERED, "failed in the baseline: NaN in head 3");
    expect_outcome(failed, SB_CELL_STILL, "NaN in head 3");
    expect_outcome(unsupported, SB_CELL_STILL, "unsupported");
    write_run("base", 7, without_4, true);
    expect_outcome(as_is, SB_CELL_EXTRA, "not in the baseline");
    write_run("base", 7, as_is, true);
}

/* Of the cells, by number: failed, worse, missing, lost, resolved. */
static bool all_kinds(sb_record *r)
{
    if (r->cell == 0)
        (void)sb_record_set(&r->status, "failed", NULL);
    if (r->cell == 1)
        r->rel_l2 += 1;
    if (r->cell == 3)
        r->rel_l2 = NAN;
    if (r->cell == 4)
        reword(r, "mu=0.7", "mu=0.69");
    return r->cell != 2;
}

static void test_worst(void)
{
    TEST("the worst kinds first, within a kind the worst cells");
    int64_t worst[7];
    const int64_t cells[] = {2, 0, 4, 3, 1};
    EXPECT(compare(all_kinds, false) == SB_OK);
    EXPECT(sb_compare_worst(&c, worst, 7) == 5);
    for (int i = 0; i < 5; i++)
        EXPECT(sb_pair_record(&c, &c.pairs[worst[i]])->cell == cells[i]);
    EXPECT(sb_compare_worst(&c, worst, 2) == 2 && worst[0] == 2 && worst[1] == 0);
}

static bool matched(sb_record *r)
{
    if (r->cell == 4) {
        reword(r, "match: \"none\"", "match: \"density: stem mu=1\"");
        (void)sb_record_set(&r->match_target, "density: stem mu=1", NULL);
    }
    return true;
}

static bool matched_otherwise(sb_record *r)
{
    char *config = NULL;
    (void)matched(r);
    if (r->cell == 4) {
        (void)sb_record_set(&config, r->config, NULL);
        reword(r, "sinks=1", "sinks=2");
        sb_free(r->config);
        r->config = config;
    }
    return true;
}

static void test_matched(void)
{
    TEST("a matched budget is paired by its target, and shown where solved differently");
    char line[SB_LINE];
    write_run("base", 7, matched, true);
    EXPECT(compare(matched, false) == SB_OK && c.n_solved == 0);
    expect_outcome(matched_otherwise, SB_CELL_SAME, "solved to sinks=1 -> sinks=2");
    EXPECT(c.n_solved == 1);
    EXPECT(strstr(sb_describe_patterns(&c, line), "1 matched budgets are solved differently"));
    write_run("base", 7, as_is, true);
    EXPECT(compare(matched, false) == SB_OK && c.n_outcomes[SB_CELL_RESOLVED] == 1);
}

/* ---- latency ------------------------------------------------------------------------------- */

static double time_lo, time_hi;

static bool set_time(sb_record *r)
{
    if (r->cell != 4)
        return true;
    r->total_ms_lo = time_lo;
    r->total_ms_hi = time_hi;
    return true;
}

static sb_speed speed_of(double lo, double hi)
{
    time_lo = lo;
    time_hi = hi;
    EXPECT(compare(set_time, false) == SB_OK);
    EXPECT(c.n_outcomes[SB_CELL_SAME] == 7);
    return pair_of(4)->speed;
}

static bool elsewhere(sb_record *r)
{
    if (r->cell >= 4)
        (void)sb_record_set(&r->provenance, "cpu: \"Y\"\ncores: 2\nthreads: 2\n", NULL);
    return true;
}

static bool on_gpu(sb_record *r)
{
    if (r->cell >= 4)
        (void)sb_record_set(&r->provenance, "cpu: \"X\"\ncores: 2\nthreads: 2\ngpu: \"Z\"\n", NULL);
    return true;
}

static bool nowhere(sb_record *r)
{
    (void)sb_record_set(&r->provenance, "", NULL);
    return true;
}

static bool at_another_clock(sb_record *r)
{
    (void)sb_record_set(&r->provenance,
                        "cpu: \"X\"\ncpu_mhz: \"900 now; governor powersave\"\ncores: 2\n"
                        "threads: 2\nutc: 2026-01-31T10:20:30Z\n",
                        NULL);
    return true;
}

static void test_latency(void)
{
    char line[SB_LINE];
    TEST("verdicts of intervals [9.9, 10.1] against others");
    EXPECT(speed_of(9.95, 10.05) == SB_SPEED_SAME);
    EXPECT(speed_of(10.11, 10.2) == SB_SPEED_SLOW);
    EXPECT(speed_of(12, 13) == SB_SPEED_SLOW);
    EXPECT(speed_of(9, 9.8) == SB_SPEED_FAST);
    EXPECT(speed_of(10, 11) == SB_SPEED_AMBG);
    EXPECT(speed_of(9, 11) == SB_SPEED_AMBG);
    EXPECT(speed_of(9, 10) == SB_SPEED_AMBG);
    EXPECT(speed_of(NAN, NAN) == SB_SPEED_NONE);
    TEST("different machines");
    EXPECT(compare(elsewhere, false) == SB_OK && c.n_speeds[SB_SPEED_REFUSED] == 3);
    EXPECT(c.n_speeds[SB_SPEED_SAME] == 0 && c.n_speeds[SB_SPEED_AMBG] == 4);
    EXPECT(strstr(sb_describe_latency(&c, line), "times of 3 cells are of different machines"));
    EXPECT(strstr(line, "cpu \"X\", 2 cores, 2 threads -> cpu \"Y\""));
    EXPECT(strstr(line, "speedup x 1.000 (1.000 to 1.000)"));
    EXPECT(compare(elsewhere, true) == SB_OK && c.n_speeds[SB_SPEED_REFUSED] == 0);
    EXPECT(strstr(sb_describe_latency(&c, line), "compared by --force"));
    EXPECT(compare(on_gpu, false) == SB_OK && c.n_speeds[SB_SPEED_REFUSED] == 3);
    EXPECT(compare(nowhere, false) == SB_OK && c.n_speeds[SB_SPEED_REFUSED] == 7);
    write_run("base", 7, nowhere, true);
    EXPECT(compare(nowhere, false) == SB_OK && c.n_speeds[SB_SPEED_REFUSED] == 7);
    TEST("runs of several machines, as merging makes them: cell by cell");
    write_run("base", 7, elsewhere, true);
    EXPECT(compare(elsewhere, false) == SB_OK && c.n_speeds[SB_SPEED_REFUSED] == 0);
    EXPECT(compare(as_is, false) == SB_OK && c.n_speeds[SB_SPEED_REFUSED] == 3);
    EXPECT(pair_of(3)->speed == SB_SPEED_AMBG && pair_of(4)->speed == SB_SPEED_REFUSED);
    write_run("base", 7, as_is, true);
    TEST("a clock is not another machine");
    EXPECT(compare(at_another_clock, false) == SB_OK && c.n_speeds[SB_SPEED_REFUSED] == 0);
}

/* ---- refusals ------------------------------------------------------------------------------ */

static void test_refused(void)
{
    sb_where where = {0};
    TEST("a cell twice");
    EXPECT(compare(twice, false) == SB_BAD_DATA);
    EXPECT_MSG(strstr(problem.msg, "are one cell (stem") && strstr(problem.msg, "/cand: records"),
               "%s", problem.msg);
    TEST("a record without its resolved cell");
    EXPECT(compare(without_params, false) == SB_BAD_DATA);
    EXPECT_MSG(strstr(problem.msg, "has no 'params'"), "%s", problem.msg);
    TEST("no run, a damaged run, an empty baseline");
    sb_comparison_free(&c);
    problem = (sb_err){0};
    EXPECT(sb_compare(run_path("none"), run_path("base"), &where, false, &c, &problem) ==
           SB_BAD_DATA);
    sb_comparison_free(&c);
    EXPECT(sb_compare(run_path("base"), run_path("none"), &where, false, &c, &problem) ==
           SB_BAD_DATA);
    sb_comparison_free(&c);
    write_run("empty", 0, as_is, true);
    problem = (sb_err){0};
    EXPECT(sb_compare(run_path("empty"), run_path("base"), &where, false, &c, &problem) ==
           SB_BAD_DATA);
    EXPECT(strstr(problem.msg, "no cell; expected at least one"));
    sb_comparison_free(&c);
    EXPECT(sb_compare(run_path("base"), run_path("empty"), &where, false, &c, NULL) == SB_OK);
    EXPECT(c.n_outcomes[SB_CELL_MISSING] == 7);
    TEST("memory that runs out at every place");
    write_run("cand", 7, other_mask, true);
    sb_status st = SB_NO_MEMORY;
    for (int64_t i = 1; st == SB_NO_MEMORY && i < 100000; i++) {
        sb_report report = {0};
        sb_comparison_free(&c);
        int64_t live = sb_mem_live();
        sb_mem_fail_at(i);
        st = sb_compare(run_path("base"), run_path("cand"), &where, false, &c, NULL);
        if (st == SB_OK)
            st = sb_report_make(&c, NULL, &report, NULL);
        sb_mem_fail_at(0);
        sb_report_free(&report);
        sb_comparison_free(&c);
        EXPECT(sb_mem_live() == live);
    }
    EXPECT(st == SB_OK);
}

/* ---- size ---------------------------------------------------------------------------------- */

/* A run of n records in one file: copies of one, each of another layer. */
static void write_large(const char *name, int64_t n)
{
    sb_record r;
    sb_h5_out out = {0};
    hid_t from = -1;
    char cell[500], store[500];
    EXPECT(sb_fs_make_dirs(run_path(name), NULL) == SB_OK);
    (void)snprintf(cell, sizeof cell, "%s/one.h5", folder);
    (void)snprintf(store, sizeof store, "%s/" SB_RESULTS_H5, run_path(name));
    make_cell(&r, 5);
    EXPECT(sb_cell_write(cell, &r, NULL) == SB_OK);
    EXPECT(sb_store_open(cell, &from, NULL) == SB_OK);
    EXPECT(sb_store_create(store, "", &out, NULL) == SB_OK);
    for (int64_t i = 0; i < n; i++) {
        char at[40], to[40], layer[40], *config = NULL;
        (void)snprintf(at, sizeof at, "/records/%016" PRIx64, r.key);
        (void)snprintf(to, sizeof to, "/records/%016" PRIx64, (uint64_t)(i * 7919 + 1));
        (void)H5Ocopy(from, at, out.file, to, H5P_DEFAULT, H5P_DEFAULT);
        hid_t group = H5Gopen2(out.file, to, H5P_DEFAULT);
        (void)snprintf(layer, sizeof layer, "layer: %" PRId64 "\n", i);
        sb_record changed;
        make_cell(&changed, 5);
        reword(&changed, "layer: 2\n", layer);
        (void)sb_record_set(&config, changed.config, NULL);
        sb_record_free(&changed);
        (void)H5Adelete(group, "config");
        (void)H5Adelete(group, "cell");
        (void)H5Adelete(group, "provenance");
        (void)sb_h5_put_text(&out, group, "config", config, NULL);
        (void)sb_h5_put_text(&out, group, "provenance", "", NULL);
        (void)sb_h5_put_int(&out, group, "cell", i, NULL);
        sb_h5_close(group);
        sb_free(config);
    }
    EXPECT(sb_h5_commit(&out, NULL) == SB_OK);
    sb_h5_discard(&out);
    sb_h5_close(from);
    sb_record_free(&r);
}

static void test_large(int64_t n)
{
    TEST("a large run");
    sb_where where = {0};
    write_large("large", n);
    sb_comparison_free(&c);
    clock_t start = clock();
    EXPECT(sb_compare(run_path("large"), run_path("large"), &where, false, &c, &problem) == SB_OK);
    EXPECT(c.n == n && c.n_outcomes[SB_CELL_SAME] == n);
    printf("%" PRId64 " records compared in %.2f s of CPU time\n", n,
           (double)(clock() - start) / CLOCKS_PER_SEC);
}

int main(int argc, char **argv)
{
    if (!folder_open())
        return 1;
    test_outcomes();
    test_worst();
    test_matched();
    test_latency();
    test_refused();
    test_large(argc > 1 ? atoll(argv[1]) : 300);
    sb_comparison_free(&c);
    return rig_close();
}
