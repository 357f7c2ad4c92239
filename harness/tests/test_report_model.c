/* The report of a run with a model in the loop, of which there is a CSV alone. */

#include "harness/tests/csv_rig.h"
#include "harness/tests/report_rig.h"

enum { N_TEXTS = 5, MOST = 200 };

static sb_record records[MOST];
static int64_t n_records;

static void clear(void)
{
    for (int64_t i = 0; i < n_records; i++)
        sb_record_free(&records[i]);
    n_records = 0;
}

static void set(sb_record *r, const char *column, const char *text)
{
    EXPECT(sb_record_set(sb_column_at(sb_column_find(column), r), text, NULL) == SB_OK);
}

/* Adds a setting on texts 0 to n_texts - 1, its KL on text t being kl growth^t. Returns the first
 * record. */
static sb_record *add(const char *method, const char *params, const char *setting, double density,
                      double kl, double growth, int n_texts)
{
    char text[40];
    for (int t = 0; t < n_texts; t++) {
        sb_record *r = &records[n_records];
        sb_record_init(r);
        (void)snprintf(text, sizeof text, "book <%d>.txt:0", t);
        r->cell = n_records++;
        r->layer = -1;
        r->tokens = 4096;
        r->threads = 2;
        set(r, "status", "ok");
        set(r, "model", "Some-1B");
        set(r, "dtype", "bf16");
        set(r, "backend", "cuda");
        set(r, "kernel", "sm90");
        set(r, "method", method);
        set(r, "params", params);
        set(r, "task", "text");
        set(r, "text", text);
        set(r, "setting", setting);
        set(r, "layer_set", "all");
        set(r, "head_set", "all");
        set(r, "row_range", "0-1");
        r->density = density;
        r->flops_dense = 100;
        r->flops_attend = 100 * density;
        r->flops_select = 1;
        r->rel_l2 = .77;
        r->logit_kl = kl * pow(growth, t);
    }
    return &records[n_records - n_texts];
}

static void report_on(const char *run)
{
    char path[500];
    EXPECT(sb_fs_make_dirs(file_at(run), NULL) == SB_OK);
    (void)snprintf(path, sizeof path, "%s/" SB_RESULTS_CSV, file_at(run));
    EXPECT(save_csv(path, records, n_records, NULL) == SB_OK);
    make_report(run);
}

/* With ratios to mu=0.7 whose mean is 1.5 and whose logarithms are log(1.1) apart. */
static void add_all(void)
{
    clear();
    (void)add("dense", "", "all", 1, 0, 1, N_TEXTS);
    (void)add("stem", "block=64 mu=0.7 schedule.total=0.25", "all", .25, .02, 1, N_TEXTS);
    (void)add("stem", "block=64 mu=1 schedule.total=0.25", "all", .252, .03 / 1.21, 1.1, N_TEXTS);
    (void)add("uniform", "block=64 schedule.total=0.25", "all", .25, .001, 1, N_TEXTS - 1);
    (void)add("stem", "block=64 mu=0.7 schedule.total=0.25", "decode", .3, .004, 1, N_TEXTS);
    (void)add("stem", "block=64 mu=1 schedule.total=0.25", "decode", .3, .002, 1, N_TEXTS);
    sb_record *partial =
        add("stem", "block=64 mu=0.7 schedule.total=0.25", "all", .25, .0001, 1, N_TEXTS);
    for (int t = 0; t < N_TEXTS; t++)
        set(&partial[t], "layer_set", "3,4");
}

static void test_summary(void)
{
    TEST("what was run");
    add_all();
    report_on("run");
    SAYS("<dt>Model in the loop</dt><dd>Some-1B</dd>");
    SAYS("<dt>Texts</dt><dd>book &lt;0&gt;.txt:0, book &lt;1&gt;.txt:0");
    SAYS("<dt>Settings</dt><dd>all, decode</dd>");
    SAYS_NOT("<dt>Layers</dt>");
    SAYS_NOT("<dt>Captures</dt>");
    TEST("the least divergence at equal density, its lead with an interval");
    SAYS("<h3>Some-1B: text, all rows sparse, bf16, cuda</h3>");
    SAYS("KL, geometric mean over texts, of settings within 5 % of each density.");
    SAYS("Of 5 texts, 4096 tokens.");
    SAYS("<tr><th scope=\"row\">0.25</th><td>stem μ=0.7 layers=all</td><td>0.02</td>"
         "<td>stem μ=1 layers=all</td>"
         "<td>1.50× (1.24 to 1.81)</td><td>2</td></tr>");
    TEST("settings are not mixed");
    SAYS("<h3>Some-1B: text, decoding after a sparse prefill, bf16, cuda</h3>");
    SAYS("<tr><th scope=\"row\">0.3</th><td>stem μ=1</td><td>0.002</td><td>stem μ=0.7</td>"
         "<td>2.00× (2.00 to 2.00)</td><td>2</td></tr>");
    TEST("what is left out is said");
    SAYS("not run on all 5 texts (1)");
    SAYS("Settings of some layers, heads or rows alone are in the plots");
    SAYS_NOT("Where errors are largest");
    SAYS_NOT("Fastest within");
    SAYS_NOT("layer -1");
}

static void test_data(void)
{
    TEST("points hold the KL of their own records, a text each");
    const sb_node *groups = get(data, "groups");
    EXPECT(length(groups) == 2 && length(get(data, "records")) == n_records);
    for (int64_t g = 0; g < length(groups); g++) {
        const sb_node *group = nth(groups, g), *points = get(group, "points");
        EXPECT(sb_node_is(get(group, "model"), "true") && length(points) == (g == 0 ? 3 : 2));
        EXPECT(is_null(nth(get(group, "dense_rel_l2"), 0)));
        for (int64_t i = 0; i < length(points); i++) {
            const sb_node *point = nth(points, i), *own = get(point, "records");
            double logs = 0;
            EXPECT(length(own) == N_TEXTS);
            for (int t = 0; t < N_TEXTS && length(own) == N_TEXTS; t++) {
                const sb_record *r = &records[(int64_t)number(nth(own, t))];
                EXPECT(strcmp(r->setting, g == 0 ? "all" : "decode") == 0 && r->text[6] == '0' + t);
                EXPECT(equals(get(point, "density"), r->density, 6));
                logs += log(r->logit_kl) / N_TEXTS;
            }
            EXPECT(equals(get(point, "rel_l2"), exp(logs), 5));
        }
    }
    TEST("where a method attends is on its curve's name");
    EXPECT(strstr(text_of(get(nth(get(nth(groups, 0), "curves"), 3), "label")), "layers=[3 4]"));
}

static void test_mixed(void)
{
    TEST("records of attention alone are a group of their own");
    sb_record *r = add("stem", "block=64 mu=0.7 schedule.total=0.25", "", .25, 0, 1, 1);
    set(r, "task", "");
    set(r, "text", "");
    set(r, "capture", "layer.h5");
    r->layer = 2;
    report_on("mixed");
    SAYS("<h3>layer.h5 (Some-1B), bf16, cuda</h3>");
    SAYS("<dt>Layers</dt><dd>-1, 2</dd>");
    const sb_node *groups = get(data, "groups");
    EXPECT(length(groups) == 3 && sb_node_is(get(nth(groups, 0), "model"), "false"));
    EXPECT(length(get(nth(groups, 0), "points")) == 1);

    TEST("no interval over layers, which are no sample");
    clear();
    (void)add("stem", "block=64 mu=0.7", "", .25, 0, 1, 5);
    (void)add("stem", "block=64 mu=1", "", .25, 0, 1, 5);
    for (int i = 0; i < 10; i++) {
        set(&records[i], "task", "");
        set(&records[i], "text", "");
        records[i].layer = i % 5;
        records[i].rel_l2 = (i < 5 ? .1 : .15) + .001 * (i % 5);
    }
    report_on("layers");
    SAYS("rel_l2, geometric mean over layers");
    SAYS("<td>1.49×</td>");

    TEST("no interval of three texts, no best of one curve");
    clear();
    (void)add("stem", "block=64 mu=0.7", "all", .25, .02, 1, 3);
    (void)add("stem", "block=64 mu=1", "all", .25, .03, 1, 3);
    (void)add("stem", "block=64 mu=1", "decode", .25, .03, 1, 3);
    report_on("few");
    SAYS("<td>1.50×</td>");
    SAYS_NOT("decoding after a sparse prefill, bf16, cuda</h3>\n<div");
}

static void test_memory(void)
{
    TEST("an allocation that fails is reported, and nothing leaks");
    add_all();
    report_on("run");
    int64_t live = sb_mem_live(), tries = 0, n_bytes;
    sb_status st = SB_NO_MEMORY;
    while (st == SB_NO_MEMORY && tries < 20000) {
        sb_mem_fail_at(++tries);
        st = sb_report_write(file_at("run"), file_at("memory.html"), 1, &n_bytes, NULL);
        sb_mem_fail_at(0);
        EXPECT_MSG(sb_mem_live() == live, "allocation %" PRId64 " leaks", tries);
    }
    EXPECT(st == SB_OK && tries > 100);
}

int main(void)
{
    if (!folder_open())
        return 1;
    test_summary();
    test_data();
    test_mixed();
    test_memory();
    clear();
    close_report();
    return rig_close();
}
