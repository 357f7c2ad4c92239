/* The three forms of a report: what they say, that markup holds whatever records say, and that
 * equal inputs give equal bytes. */

#include "harness/tests/compare_rig.h"

typedef void report_writer(const sb_report *report, FILE *out);

static sb_comparison c;
static sb_report report;
static char *written;

/* Compares "base" with a changed run; gates are in flow style, or NULL. */
static void compare_with(change *edit, const char *gate)
{
    static sb_gates gates;
    sb_where where = {0};
    sb_err err = {0};
    sb_report_free(&report);
    sb_comparison_free(&c);
    sb_gates_free(&gates);
    if (!edit)
        return;
    write_run("cand", 7, edit, true);
    EXPECT_MSG(sb_compare(run_path("base"), run_path("cand"), &where, false, &c, &err) == SB_OK,
               "%s", err.msg);
    char *text = sb_sprintf("gates: [%s]", gate ? gate : "");
    EXPECT(!gate || sb_gates_parse(text, strlen(text), "g.yaml", &gates, &err) == SB_OK);
    EXPECT(sb_report_make(&c, gate ? &gates : NULL, &report, &err) == SB_OK);
    sb_free(text);
}

static const char *write_report(report_writer *write)
{
    size_t n;
    free(written);
    FILE *out = open_memstream(&written, &n);
    write(&report, out);
    (void)fclose(out);
    return written;
}

#define SAYS(text) EXPECT_MSG(strstr(written, text) != NULL, "no '%s' in\n%s", text, written)

/* ---- XML ----------------------------------------------------------------------------------- */

/* Whether s begins with an entity that XML knows. */
static bool is_entity(const char *s)
{
    return strncmp(s, "&lt;", 4) == 0 || strncmp(s, "&gt;", 4) == 0 ||
           strncmp(s, "&amp;", 5) == 0 || strncmp(s, "&quot;", 6) == 0 ||
           strncmp(s, "&#10;", 5) == 0;
}

/* Skips a tag's attributes; returns its end, '>' or '/', or NULL when they are malformed. */
static const char *skip_attributes(const char *s)
{
    while (*s == ' ') {
        s += 1 + strspn(s + 1, "abcdefghijklmnopqrstuvwxyz");
        if (s[0] != '=' || s[1] != '"')
            return NULL;
        for (s += 2; *s && *s != '"'; s++)
            if (*s == '<' || (unsigned char)*s < ' ' || (*s == '&' && !is_entity(s)))
                return NULL;
        s += *s == '"';
    }
    return s;
}

/* Whether it is well-formed XML of the kind written here; counts elements named `what`. */
static bool well_formed(const char *s, const char *what, int64_t *count)
{
    const char *open[16];
    size_t lengths[16];
    int depth = 0;
    *count = 0;
    if (strncmp(s, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", 39) != 0)
        return false;
    for (s += 39; *s; s++) {
        if (*s == '&' && !is_entity(s))
            return false;
        if (*s != '<')
            continue;
        bool closing = s[1] == '/';
        s += 1 + closing;
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz");
        *count += !closing && n == strlen(what) && strncmp(s, what, n) == 0;
        if (closing) {
            if (depth == 0 || lengths[depth - 1] != n || strncmp(open[depth - 1], s, n) != 0)
                return false;
            depth--;
        } else {
            open[depth] = s;
            lengths[depth++] = n;
        }
        s = skip_attributes(s + n);
        if (!s || (*s != '>' && (*s != '/' || s[1] != '>')))
            return false;
        depth -= *s == '/';
        s += *s == '/';
    }
    return depth == 0;
}

static void expect_xml(int64_t n_cases, int64_t n_failures, int64_t n_skipped)
{
    int64_t n;
    write_report(sb_report_junit);
    EXPECT_MSG(well_formed(written, "testcase", &n) && n == n_cases, "%s", written);
    EXPECT_MSG(well_formed(written, "failure", &n) && n == n_failures, "%s", written);
    EXPECT_MSG(well_formed(written, "skipped", &n) && n == n_skipped, "%s", written);
    char *head = sb_sprintf("tests=\"%" PRId64 "\" failures=\"%" PRId64 "\"", n_cases, n_failures);
    SAYS(head);
    sb_free(head);
}

static void test_checker(void)
{
    TEST("the checker of XML");
    int64_t n;
#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    EXPECT(well_formed(XML "<a b=\"c\"><d/><d/></a>\n", "d", &n) && n == 2);
    EXPECT(!well_formed("<a/>", "a", &n));
    EXPECT(!well_formed(XML "<a>", "a", &n));
    EXPECT(!well_formed(XML "<a></b>", "a", &n));
    EXPECT(!well_formed(XML "<a b=\"<\"/>", "a", &n));
    EXPECT(!well_formed(XML "<a b=\"&\"/>", "a", &n));
    EXPECT(!well_formed(XML "<a>&</a>", "a", &n));
    EXPECT(!well_formed(XML "<a b=\"c/>", "a", &n));
}

/* ---- reports ------------------------------------------------------------------------------- */

static bool worse(sb_record *r)
{
    if (r->cell == 4) {
        r->rel_l2 = 0.2;
        (void)sb_record_series(r, SB_SERIES_HEAD_REL_L2, (double[]){.1, .3, .2}, 3, NULL);
        (void)sb_record_series(r, SB_SERIES_POS_REL_L2, (double[]){.1, .2, NAN, .4}, 4, NULL);
    }
    if (r->cell == 5)
        r->rel_l2 = 0.12;
    if (r->cell == 2)
        r->rel_l2 = 0.05;
    return r->cell != 6;
}

static bool without_6(sb_record *r)
{
    return r->cell != 6;
}

static bool nasty(sb_record *r)
{
    if (r->cell == 1) {
        (void)sb_record_set(&r->status, "failed", NULL);
        (void)sb_record_set(
            &r->reason,
            "<b> & \"quoted\" ]]> | `code` @someone\n\x1b[31m\x01 \xc3\xa9 \xff \xed\xa0\x80",
            NULL);
    }
    return true;
}

static void test_forms(void)
{
    write_run("base", 7, as_is, true);
    TEST("text");
    compare_with(worse, NULL);
    EXPECT(report.failed && report.n_worst == 3);
    write_report(sb_report_text);
    EXPECT(strncmp(written, "REGRESSED: 2 worse, 1 missing of 7 cells\n", 41) == 0);
    SAYS("cells:     3 same, 1 improved, 2 worse, 1 missing\n");
    SAYS("head 1: rel_l2 0.1 -> 0.3; tokens 192 to 255: 0.1 -> 0.4");
    SAYS("missing: stem variant=paper block=64 mu=0.701 sinks=1, layer 0, 2048 tokens, bf16, cpu, "
         "a.h5\n");
    SAYS("\nimproved: 1, first of them\n  dense, layer 2");
    const char *first = strstr(written, "missing: stem"), *second = strstr(written, "worse: stem");
    EXPECT(first && second && first < second);
    second = strstr(written, "0.1 -> 0.2 (+100%");
    const char *third = strstr(written, "0.1 -> 0.12 (+20%");
    EXPECT_MSG(second && third && second < third, "%s", written);
    TEST("Markdown");
    write_report(sb_report_markdown);
    SAYS("### stembench: REGRESSED: 2 worse, 1 missing of 7 cells\n");
    SAYS("| cells | 3 same, 1 improved, 2 worse, 1 missing |\n");
    SAYS("<details><summary>4 cells that are not the same</summary>\n");
    SAYS("| worse | rel\\_l2 0.1 -> 0.2 ");
    TEST("JUnit");
    expect_xml(7, 3, 0);
    SAYS("<failure type=\"missing\" message=\"not in the candidate\">");
    SAYS("head 1: rel_l2 0.1 -&gt; 0.3");

    TEST("nothing worse");
    compare_with(as_is, NULL);
    EXPECT(!report.failed && report.n_worst == 0);
    write_report(sb_report_text);
    EXPECT(strncmp(written, "PASSED: none of 7 cells is worse\n", 33) == 0);
    EXPECT(strstr(written, "worst cells") == NULL);
    expect_xml(7, 0, 0);
}

static void test_gates(void)
{
    TEST("gates judge in place of tolerances");
    compare_with(worse, "{metric: rel_l2, max: 0.15, where: {layer: [1, 2]}}, {hash: equal, where: "
                        "{layer: 1}}");
    write_report(sb_report_text);
    EXPECT(strncmp(written, "FAILED: 1 of 2 gates, 1 missing; 7 cells\n", 41) == 0);
    SAYS("FAIL rel_l2 (g.yaml:1): 1 of 4 cells do not pass\n     rel_l2 0.2; limit: max 0.15: "
         "stem ");
    SAYS("pass mask_hash (g.yaml:1): 1 cells\n");
    expect_xml(9, 2, 0);
    SAYS("<testsuite name=\"gates\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">");
    write_report(sb_report_markdown);
    SAYS("| rel\\_l2 | **FAIL** | 1 of 4 cells do not pass | rel\\_l2 0.2; limit: max 0.15: stem ");
    TEST("gates do not excuse cells that are gone");
    compare_with(without_6, "{hash: equal, where: {layer: 1}}");
    EXPECT(report.failed && report.n_gates_failed == 0);
    write_report(sb_report_text);
    EXPECT(strncmp(written, "FAILED: 1 missing; 7 cells\n", 27) == 0);
    TEST("a gate of nothing");
    compare_with(as_is, "{hash: equal, where: {layer: 9}}");
    EXPECT(report.failed);
    write_report(sb_report_text);
    SAYS("FAIL mask_hash (g.yaml:1): matched 0 cells; expected at least 1\n");
    TEST("all pass");
    compare_with(as_is, "{hash: equal}");
    EXPECT(!report.failed);
    write_report(sb_report_text);
    EXPECT(strncmp(written, "PASSED: 1 gates on 7 cells\n", 27) == 0);
}

static void test_markup(void)
{
    TEST("what records say is not taken for markup");
    compare_with(nasty, NULL);
    expect_xml(7, 1, 0);
    SAYS("failed: &lt;b&gt; &amp; &quot;quoted&quot; ]]&gt; | `code` @someone  [31m  \xc3\xa9 ? "
         "???");
    write_report(sb_report_markdown);
    SAYS("&lt;b> &amp; \"quoted\" \\]\\]> \\| \\`code\\` &#64;someone  \\[31m");
    write_report(sb_report_text);
    EXPECT(strchr(written, '\x1b') == NULL && strchr(written, '\x01') == NULL);
    TEST("still failing and extra cells are skipped test cases");
    write_run("base", 7, nasty, true);
    compare_with(nasty, NULL);
    EXPECT(!report.failed);
    expect_xml(7, 0, 1);
    write_report(sb_report_text);
    SAYS("\nnot computed: 1, first of them\n");
    SAYS("; in the candidate 1 failed, 0 unsupported\n");
    write_run("base", 6, as_is, true);
    compare_with(as_is, NULL);
    EXPECT(!report.failed);
    expect_xml(7, 0, 1);
    SAYS("<skipped message=\"not in the baseline\"/>");
}

static void test_deterministic(void)
{
    TEST("equal inputs give equal bytes");
    report_writer *const forms[] = {sb_report_text, sb_report_markdown, sb_report_junit};
    write_run("base", 7, as_is, true);
    for (int i = 0; i < 3; i++) {
        compare_with(worse, "{hash: equal}");
        char *before = sb_strdup(write_report(forms[i]));
        compare_with(worse, "{hash: equal}");
        EXPECT(strcmp(before, write_report(forms[i])) == 0);
        sb_free(before);
    }
}

static double worse_by;

static bool all_worse(sb_record *r)
{
    char params[40];
    (void)snprintf(params, sizeof params, "layer: %" PRId64 "\n", r->layer + 10 * r->cell);
    reword(r, r->layer == 0 ? "layer: 0\n" : r->layer == 1 ? "layer: 1\n" : "layer: 2\n", params);
    r->rel_l2 += worse_by * (double)((r->cell * 5) % 17 + 1);
    return true;
}

static void test_order(void)
{
    TEST("of many worse cells the ten worst, worst first");
    sb_where where = {0};
    sb_report_free(&report);
    sb_comparison_free(&c);
    worse_by = 0;
    write_run("base", 17, all_worse, true);
    worse_by = 0.01;
    write_run("cand", 17, all_worse, true);
    EXPECT(sb_compare(run_path("base"), run_path("cand"), &where, false, &c, NULL) == SB_OK);
    EXPECT(sb_report_make(&c, NULL, &report, NULL) == SB_OK && report.n_worst == SB_WORST);
    for (int64_t i = 1; i < report.n_worst; i++)
        EXPECT(c.pairs[report.worst[i - 1]].severity > c.pairs[report.worst[i]].severity);
    EXPECT(fabs(c.pairs[report.worst[0]].severity - 0.17 / 0.0012) < 1e-6);
}

int main(void)
{
    if (!folder_open())
        return 1;
    test_checker();
    test_forms();
    test_gates();
    test_markup();
    test_deterministic();
    test_order();
    compare_with(NULL, NULL);
    free(written);
    return rig_close();
}
