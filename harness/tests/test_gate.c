/* Gate files: every mistake is one line with its position; what a gate lets pass and what not. */

#include "harness/tests/compare_rig.h"

static char message[sizeof((sb_err *)0)->msg];
static sb_comparison c;

/* ---- mistakes ------------------------------------------------------------------------------ */

static const char *error_of(const char *text)
{
    sb_gates gates;
    sb_err err = {0};
    int64_t live = sb_mem_live();
    sb_status st = sb_gates_parse(text, strlen(text), "g", &gates, &err);
    EXPECT((st == SB_OK) == (err.msg[0] == '\0') && (st == SB_OK || st == SB_USAGE));
    sb_gates_free(&gates);
    EXPECT(sb_mem_live() == live);
    memcpy(message, err.msg, sizeof message);
    EXPECT(strchr(message, '\n') == NULL);
    return message;
}

#define REFUSED(text, expected)                                                                    \
    EXPECT_MSG(strncmp(error_of(text), expected, strlen(expected)) == 0, "%s\n    %s", text,       \
               message)

static void test_mistakes(void)
{
    TEST("the file");
    REFUSED("", "g:1:1: nothing here; expected a value");
    REFUSED("a", "g:1:1: a gate file is a; expected a mapping");
    REFUSED("[]", "g:1:1: a gate file is a list; expected a mapping");
    REFUSED("{}", "g:1:1: no key 'gates'; expected one");
    REFUSED("gate: []", "g:1:1: unknown key 'gate'; did you mean 'gates'?");
    REFUSED("gates:", "g:1:7: gates is empty; expected a list of at least one gate");
    REFUSED("gates: []", "g:1:8: gates is a list; expected a list of at least one gate");
    REFUSED("gates: {metric: rel_l2}", "g:1:8: gates is a mapping; expected a list");
    REFUSED("gates: [{hash: equal}\n", "g:2:1: ");
    REFUSED("gates: [{hash: equal}]\ngates: [{hash: equal}]", "g:2:1: key 'gates' is given twice");
    REFUSED("gates: [{hash: equal}]\n---\na", "g:2:1: a second document; expected one");
    REFUSED("gates: [\xff]", "g:1:9: ");

    TEST("a gate");
    REFUSED("gates: [x]", "g:1:9: a gate is x; expected a mapping");
    REFUSED("gates:\n  - {}", "g:2:5: a gate with no metric; expected metric or hash");
    REFUSED("gates:\n  - {metric: rel_l2, hash: equal}",
            "g:2:5: a gate with a metric and a hash; expected metric or hash");
    REFUSED("gates:\n  - metric: rel_l2\n    maxi: 1",
            "g:3:5: unknown key 'maxi'; did you mean 'max'?");
    REFUSED("gates:\n  - metric: rel_l2\n    max: 1\n    max: 2",
            "g:4:5: key 'max' is given twice");
    REFUSED("gates: [{hash: bitwise}]", "g:1:16: hash is bitwise; expected 'equal'");
    REFUSED("gates: [{hash: [equal]}]", "g:1:16: hash is a list; expected 'equal'");
    REFUSED("gates: [{hash: equal, max: 1}]",
            "g:1:28: a limit of a hash; expected 'hash: equal' alone");
    REFUSED("gates: [{name: [a], hash: equal}]", "g:1:16: name is a list; expected a line of text");
    REFUSED("gates: [{name: \"a\\nb\", hash: equal}]", "g:1:16: name is \"a b\"; expected a line");
    REFUSED("gates: [{name: , hash: equal}]", "g:1:16: name is empty; expected a line of text");

    TEST("a metric");
    REFUSED("gates: [{metric: rel_l3, max: 1}]",
            "g:1:18: unknown metric 'rel_l3'; did you mean 'rel_l2'?");
    REFUSED("gates: [{metric: frobnication_of_it, max: 1}]",
            "g:1:18: unknown metric 'frobnication_of_it'; expected one of density, ");
    REFUSED("gates: [{metric: status, max: 1}]", "g:1:18: unknown metric 'status'");
    REFUSED("gates: [{metric: , max: 1}]", "g:1:18: metric is empty; expected a column of numbers");
    REFUSED("gates: [{metric: [rel_l2], max: 1}]", "g:1:18: metric is a list; expected a column");

    TEST("limits");
    REFUSED("gates: [{metric: rel_l2}]", "g:1:9: a gate without a limit; expected max, min, ");
    REFUSED("gates: [{metric: rel_l2, max: x}]", "g:1:31: max is x; expected a number");
    REFUSED("gates: [{metric: rel_l2, max: .nan}]", "g:1:31: max is .nan; expected a number");
    REFUSED("gates: [{metric: rel_l2, max: 1e999}]", "g:1:31: max is 1e999; expected a number");
    REFUSED("gates: [{metric: rel_l2, max: }]", "g:1:31: max is empty; expected a number");
    REFUSED("gates: [{metric: rel_l2, max: [1]}]", "g:1:31: max is a list; expected a number");
    REFUSED("gates: [{metric: rel_l2, max_increase: 2%}]",
            "g:1:40: max_increase is 2%; expected a number");
    REFUSED("gates: [{metric: rel_l2, max_abs_decrease: -1}]",
            "g:1:44: max_abs_decrease is -1; expected at least 0");
    REFUSED("gates: [{metric: rel_l2, min: 2, max: 1}]",
            "g:1:31: min is above max; expected at most 1");
    REFUSED("gates: [{metric: rel_l2, max: 1, min_cells: 1.5}]",
            "g:1:45: min_cells is 1.5; expected a whole number of at least 0");
    REFUSED("gates: [{metric: rel_l2, max: 1, min_cells: -1}]", "g:1:45: min_cells is -1");

    TEST("a scope");
    REFUSED("gates: [{hash: equal, where: stem}]",
            "g:1:30: where is stem; expected a mapping such as {method: stem}");
    REFUSED("gates: [{hash: equal, where: {methd: stem}}]",
            "g:1:31: unknown column 'methd'; did you mean 'method'?");
    REFUSED("gates: [{hash: equal, where: {method: stem, method: dense}}]",
            "g:1:45: 'method' is given twice");
    REFUSED("gates: [{hash: equal, where: {method: }}]",
            "g:1:39: method is empty; expected a value or a glob");
    REFUSED("gates: [{hash: equal, where: {method: []}}]", "g:1:39: method is an empty list");
    REFUSED("gates: [{hash: equal, where: {method: [a, {b: c}]}}]",
            "g:1:43: method is a mapping; expected a value or a glob");
}

/* ---- judging ------------------------------------------------------------------------------- */

static void compare_with(change *edit, bool force)
{
    sb_where where = {0};
    sb_err err = {0};
    sb_comparison_free(&c);
    write_run("cand", 7, edit, true);
    EXPECT_MSG(sb_compare(run_path("base"), run_path("cand"), &where, force, &c, &err) == SB_OK,
               "%s", err.msg);
}

/* Judges the comparison by one gate, given in flow style. */
static sb_gate_result judge(const char *gate)
{
    sb_gates gates;
    sb_gate_result result = {0};
    sb_err err = {0};
    char *text = sb_sprintf("gates: [{%s}]", gate);
    EXPECT_MSG(sb_gates_parse(text, strlen(text), "g", &gates, &err) == SB_OK, "%s", err.msg);
    sb_gate_judge(&gates.list[0], &c, &result);
    sb_gates_free(&gates);
    sb_free(text);
    return result;
}

static bool passes(const char *gate, int64_t n_cells)
{
    sb_gate_result r = judge(gate);
    EXPECT_MSG(r.n_cells == n_cells, "%s: %" PRId64 " cells", gate, r.n_cells);
    return !r.failed && r.n_missed == 0 && r.n_ambiguous == 0;
}

static bool fails(const char *gate, int64_t n_missed, const char *why)
{
    sb_gate_result r = judge(gate);
    EXPECT_MSG(r.n_missed == n_missed, "%s: %" PRId64 " missed", gate, r.n_missed);
    EXPECT_MSG(n_missed == 0 || strstr(r.shown[0].why, why), "%s: %s", gate, r.shown[0].why);
    return r.failed;
}

#define CHANGE(name, statement)                                                                    \
    static bool name(sb_record *r)                                                                 \
    {                                                                                              \
        if (r->cell == 4) {                                                                        \
            statement;                                                                             \
        }                                                                                          \
        return true;                                                                               \
    }

CHANGE(worse, r->rel_l2 = 0.11; r->mass_recall = 0.8)
CHANGE(other_mask, (void)sb_record_set(&r->mask_hash, "00000000deadbeee", NULL))
CHANGE(no_mask, (void)sb_record_set(&r->mask_hash, "", NULL))
CHANGE(empty, r->rel_l2 = NAN)
CHANGE(failed, (void)sb_record_set(&r->status, "failed", NULL);
       (void)sb_record_set(&r->reason, "NaN", NULL); r->rel_l2 = NAN)
CHANGE(unsupported, (void)sb_record_set(&r->status, "unsupported", NULL))
CHANGE(other_mu, reword(r, "mu=0.7", "mu=0.69"))
CHANGE(slow, r->total_ms = 12; r->total_ms_lo = 11.9; r->total_ms_hi = 12.1; r->select_ms = 1.2)
CHANGE(slow_there, (void)slow(r);
       (void)sb_record_set(&r->provenance, "cpu: \"Y\"\ncores: 2\nthreads: 2\n", NULL))
CHANGE(untimed, r->total_ms = r->total_ms_lo = r->total_ms_hi = NAN)

static bool without_4(sb_record *r)
{
    return r->cell != 4;
}

static void test_limits(void)
{
    write_run("base", 7, as_is, true);
    compare_with(worse, false);
    TEST("scopes");
    EXPECT(passes("metric: impl_rel_l2, max: 0.002", 7));
    EXPECT(passes("metric: rel_l2, max: 0.1, where: {method: dense}", 3));
    EXPECT(passes("metric: rel_l2, max: 0.11, where: {method: [d*, nothing, 'st?m']}", 7));
    EXPECT(passes("metric: rel_l2, max: 0.11, where: {layer: 1}", 2));
    EXPECT(passes("metric: rel_l2, max: 0.11, where: {layer: 0, method: stem}", 2));
    EXPECT(passes("metric: rel_l2, max: 0.11, where: {params: mu=0.7}", 3));
    EXPECT(passes("metric: rel_l2, max: 0.11, where: {params: 'sinks=* mu=0.7*'}", 4));
    EXPECT(passes("metric: rel_l2, max: 1, where: {params: 'sinks=2'}, min_cells: 0", 0));
    EXPECT(fails("metric: rel_l2, max: 1, where: {params: 'mu=0.70'}", 0, ""));
    EXPECT(passes("metric: rel_l2, max: 1, min_cells: 7", 7));
    EXPECT(fails("metric: rel_l2, max: 1, min_cells: 8", 0, ""));

    TEST("limits");
    EXPECT(fails("metric: rel_l2, max: 0.1", 1, "rel_l2 0.11; limit: max 0.1"));
    EXPECT(fails("metric: mass_recall, min: 0.85", 1, "mass_recall 0.8; limit: min 0.85"));
    EXPECT(fails("metric: rel_l2, min: 0.1, max: 0.105", 1, "max 0.105"));
    EXPECT(passes("metric: rel_l2, max_increase: 0.1001", 7));
    EXPECT(fails("metric: rel_l2, max_increase: 0.09", 1,
                 "rel_l2 0.1 -> 0.11 (+0.01, +10%); limit: max_increase 0.09"));
    EXPECT(passes("metric: rel_l2, max_decrease: 0", 7));
    EXPECT(fails("metric: mass_recall, max_decrease: 0.1", 1, "max_decrease 0.1"));
    EXPECT(passes("metric: mass_recall, max_decrease: 0.12, max_increase: 0", 7));
    EXPECT(fails("metric: rel_l2, max_abs_increase: 0.009", 1, "max_abs_increase"));
    EXPECT(passes("metric: rel_l2, max_abs_increase: 0.011", 7));
    EXPECT(fails("metric: mass_recall, max_abs_decrease: 0.09", 1, "max_abs_decrease"));
    EXPECT(
        fails("metric: rel_l2, max_increase: 0.2, max_abs_increase: 0.001", 1, "max_abs_increase"));
}

static void test_cells(void)
{
    TEST("hashes");
    compare_with(as_is, false);
    EXPECT(passes("hash: equal", 4));
    EXPECT(fails("hash: equal, where: {method: dense}", 0, ""));
    compare_with(other_mask, false);
    EXPECT(fails("hash: equal", 1, "mask 00000000deadbeef -> 00000000deadbeee"));
    compare_with(no_mask, false);
    EXPECT(fails("hash: equal", 1, "-> none"));

    TEST("cells without a value");
    compare_with(empty, false);
    EXPECT(fails("metric: rel_l2, max: 1", 1, "rel_l2 is empty in the candidate"));
    EXPECT(fails("metric: cudnn_ms, max: 1", 7, "cudnn_ms is empty in the candidate"));
    compare_with(failed, false);
    EXPECT(fails("metric: rel_l2, max: 1", 1, "failed: NaN"));
    EXPECT(fails("hash: equal", 1, "failed: NaN"));
    compare_with(without_4, false);
    EXPECT(fails("metric: rel_l2, max: 1", 1, "missing from the candidate"));
    EXPECT(fails("hash: equal", 1, "missing from the candidate"));
    compare_with(other_mu, false);
    EXPECT(fails("metric: rel_l2, max: 1", 1, "resolved to other parameters"));
    compare_with(unsupported, false);
    EXPECT(fails("metric: rel_l2, max: 1", 1, "unsupported"));

    TEST("a baseline without the value");
    write_run("base", 7, empty, true);
    compare_with(as_is, false);
    EXPECT(passes("metric: rel_l2, max: 1", 7));
    EXPECT(fails("metric: rel_l2, max_increase: 1", 1, "rel_l2 is empty in the baseline"));
    write_run("base", 7, failed, true);
    compare_with(as_is, false);
    EXPECT(passes("metric: rel_l2, max: 1", 7));
    EXPECT(passes("metric: rel_l2, max_increase: 1", 6));
    compare_with(failed, false);
    EXPECT(fails("metric: rel_l2, max: 1", 1, "failed"));
    write_run("base", 7, unsupported, true);
    compare_with(unsupported, false);
    EXPECT(passes("metric: rel_l2, max: 1", 6));
    write_run("base", 7, without_4, true);
    compare_with(as_is, false);
    EXPECT(passes("metric: rel_l2, max: 1", 7));
    EXPECT(passes("metric: rel_l2, max_increase: 1", 6));
    EXPECT(passes("hash: equal", 3));
    write_run("base", 7, as_is, true);
}

static void test_times(void)
{
    TEST("times are judged by intervals");
    compare_with(slow, false); /* between 11.9 / 10.1 and 12.1 / 9.9 times the baseline's */
    EXPECT(fails("metric: total_ms, max_increase: 0.1, where: {params: sinks=1, layer: 1}", 1,
                 "total_ms 10 -> 12"));
    sb_gate_result r = judge("metric: total_ms, max_increase: 0.2, where: {layer: 1}");
    EXPECT(!r.failed && r.n_ambiguous == 1 && r.n_cells == 2);
    EXPECT(passes("metric: total_ms, max_increase: 0.23", 7));
    r = judge("metric: total_ms, max: 12, where: {layer: 1}");
    EXPECT(!r.failed && r.n_ambiguous == 1);
    EXPECT(fails("metric: total_ms, max: 11", 1, "total_ms 12; limit: max 11"));
    EXPECT(fails("metric: select_ms, max_increase: 0.1", 1, "select_ms 1 -> 1.2"));
    TEST("times of different machines");
    compare_with(slow_there, false);
    EXPECT(fails("metric: total_ms, max_increase: 9", 1, "total_ms of different machines"));
    EXPECT(fails("metric: select_ms, max_abs_increase: 9", 1, "select_ms of different machines"));
    EXPECT(passes("metric: total_ms, max: 13", 7));
    EXPECT(passes("metric: speedup, max_decrease: 0.01", 7));
    compare_with(slow_there, true);
    EXPECT(passes("metric: total_ms, max_increase: 9", 7));
    compare_with(untimed, false);
    EXPECT(fails("metric: total_ms, max_increase: 9", 1, "total_ms is empty in the candidate"));
}

static double worse_by;

static bool all_worse(sb_record *r)
{
    r->rel_l2 += worse_by * (double)((r->cell * 5) % 7 + 1);
    return true;
}

static void test_worst_first(void)
{
    TEST("the worst cells are shown, worst first");
    worse_by = 0.01;
    compare_with(all_worse, false);
    sb_gate_result r = judge("metric: rel_l2, max_abs_increase: 0.001");
    EXPECT(r.failed && r.n_missed == 7 && r.n_shown == SB_GATE_SHOWN);
    for (int i = 1; i < r.n_shown; i++)
        EXPECT(r.shown[i - 1].excess > r.shown[i].excess);
    EXPECT(fabs(r.shown[0].excess - 0.069) < 1e-12);
    worse_by = 0;
}

static void test_shipped(void)
{
    TEST("shipped gate files");
    sb_gates gates;
    sb_err err = {0};
    EXPECT_MSG(sb_gates_load(SB_SOURCE_DIR "/configs/gates/quick.yaml", &gates, &err) == SB_OK,
               "%s", err.msg);
    EXPECT(gates.n > 5 && !gates.list[0].column);
    sb_gates_free(&gates);
    TEST("no such file");
    EXPECT(sb_gates_load("/nowhere.yaml", &gates, &err) == SB_USAGE);
    EXPECT(strstr(err.msg, "/nowhere.yaml"));
    sb_gates_free(&gates);
}

int main(void)
{
    if (!folder_open())
        return 1;
    test_mistakes();
    test_limits();
    test_cells();
    test_times();
    test_worst_first();
    test_shipped();
    sb_comparison_free(&c);
    return rig_close();
}
