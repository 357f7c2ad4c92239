/* The report of made-up records: its data equal them, its summary picks the right ones, and what
 * they say stays text. */

#include <fcntl.h>

#include "harness/cli.h"
#include "harness/report_page.h"
#include "harness/tests/report_rig.h"

enum { MAX_RECORDS = 64 };

static sb_record records[MAX_RECORDS];
static int64_t n_records;

static void clear(void)
{
    for (int64_t i = 0; i < n_records; i++)
        sb_record_free(&records[i]);
    n_records = 0;
}

static sb_record *add(int64_t layer, int64_t tokens, const char *method, const char *params)
{
    sb_record *r = &records[n_records];
    sb_record_init(r);
    r->key = (uint64_t)(1000 + n_records);
    r->cell = n_records++;
    r->layer = layer;
    r->tokens = tokens;
    r->block = strcmp(method, "dense") ? 64 : 0;
    r->threads = 2;
    r->heads = 3;
    (void)sb_record_set(&r->status, "ok", NULL);
    (void)sb_record_set(&r->capture, "nowhere/tiny.h5", NULL);
    (void)sb_record_set(&r->model, "a model", NULL);
    (void)sb_record_set(&r->dtype, "f32", NULL);
    (void)sb_record_set(&r->backend, "cpu", NULL);
    (void)sb_record_set(&r->kernel, "ref", NULL);
    (void)sb_record_set(&r->method, method, NULL);
    (void)sb_record_set(&r->params, params, NULL);
    (void)sb_record_set(&r->config, "digest: 0123456789abcdef\n", NULL);
    (void)sb_record_set(&r->provenance,
                        "stembench: 0.1.0\ncommit: abc\ncpu: \"A CPU\"\nthreads: 2\n", NULL);
    return r;
}

/* A setting of two layers with errors e / 2 and 2 e; ms NaN: without times. */
static void add_setting(int64_t tokens, const char *method, const char *params, double density,
                        double e, double ms)
{
    for (int64_t layer = 0; layer < 2; layer++) {
        sb_record *r = add(layer, tokens, method, params);
        r->density = density;
        r->flops_dense = 1000;
        r->flops_attend = 1000 * density;
        r->flops_select = 10;
        r->rel_l2 = layer == 0 ? e / 2 : 2 * e;
        r->dense_ms = isfinite(ms) ? 10 : NAN;
        r->select_ms = ms / 4;
        r->attend_ms = ms * 3 / 4;
        r->total_ms = ms;
        r->total_ms_lo = ms * 0.8;
        r->total_ms_hi = ms * 1.25;
        r->pos_bin = 64;
        const double heads[] = {e, layer == 1 ? 3.5 * e : e, e / 3},
                     places[] = {NAN, e, layer == 0 ? 5 * e : e, e};
        (void)sb_record_series(r, SB_SERIES_HEAD_REL_L2, heads, 3, NULL);
        (void)sb_record_series(r, SB_SERIES_POS_REL_L2, places, 4, NULL);
    }
}

static void report_records(void)
{
    write_records("run", records, n_records);
    make_report("run");
}

/* ---- data ------------------------------------------------------------------------------------ */

static void expect_record(const sb_node *columns, const sb_node *row, const sb_record *r)
{
    EXPECT(length(columns) == sb_n_columns && length(row) == sb_n_columns);
    for (int c = 0; c < sb_n_columns; c++) {
        static const char *const kinds[] = {"text", "int", "real"};
        const sb_column *column = &sb_columns[c];
        const void *field = sb_column_of(column, r);
        EXPECT(strcmp(text_of(get(nth(columns, c), "name")), column->name) == 0);
        EXPECT(strcmp(text_of(get(nth(columns, c), "kind")), kinds[column->kind]) == 0);
        bool same = column->kind == SB_KIND_TEXT
                        ? strcmp(text_of(nth(row, c)),
                                 *(char *const *)field ? *(char *const *)field : "") == 0
                    : column->kind == SB_KIND_INT
                        ? number(nth(row, c)) == (double)*(const int64_t *)field
                        : equals(nth(row, c), *(const double *)field, 6);
        EXPECT_MSG(same, "%s of record %" PRId64, column->name, r->cell);
    }
}

static void expect_series(const sb_node *series, int64_t i, const sb_series *s)
{
    const sb_node *list = nth(get(series, s->name), i);
    if (s->n == 0)
        EXPECT(is_null(list));
    else
        EXPECT(length(list) == s->n);
    for (int64_t k = 0; k < s->n; k++)
        EXPECT_MSG(equals(nth(list, k), s->data[k], 4), "%s of record %" PRId64, s->name, i);
}

static void expect_group(const sb_node *node, const sb_plot_group *g)
{
    const sb_node *points = get(node, "points");
    EXPECT(length(get(node, "curves")) == g->n_curves && length(points) == g->n_points);
    for (int64_t c = 0; c < g->n_curves; c++) {
        const sb_node *curve = nth(get(node, "curves"), c);
        EXPECT(strcmp(text_of(get(curve, "label")), g->curves[c].label) == 0);
        EXPECT(number(get(curve, "slot")) == g->curves[c].slot);
    }
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        const sb_node *point = nth(points, i);
        EXPECT(number(get(point, "curve")) == (double)p->curve);
        EXPECT(number(get(point, "tokens")) == (double)p->tokens);
        EXPECT(equals(get(point, "budget"), p->budget, 6));
        EXPECT(equals(get(point, "density"), p->density, 6));
        EXPECT(equals(get(point, "rel_l2"), p->rel_l2, 6));
        EXPECT(point && sb_node_is(get(point, "pareto"), p->pareto ? "true" : "false"));
        EXPECT(equals(get(point, "select_ms"), p->select_ms, 6));
        EXPECT(equals(get(point, "attend_ms"), p->attend_ms, 6));
        EXPECT(equals(get(point, "total_ms"), p->total_ms, 6));
        EXPECT(equals(get(point, "total_ms_lo"), p->total_ms_lo, 6));
        EXPECT(equals(get(point, "total_ms_hi"), p->total_ms_hi, 6));
        EXPECT(strcmp(text_of(get(point, "params")), p->cells[0]->params) == 0);
        EXPECT(length(get(point, "records")) == g->n_layers);
        for (int64_t l = 0; l < g->n_layers; l++)
            EXPECT(number(nth(get(point, "records"), l)) == (double)p->cells[l]->cell);
    }
    for (int64_t i = 0; i < g->n_lengths; i++) {
        EXPECT(number(nth(get(node, "lengths"), i)) == (double)g->lengths[i]);
        EXPECT(equals(nth(get(node, "dense_ms"), i), g->dense_ms[i], 6));
        EXPECT(equals(nth(get(node, "dense_rel_l2"), i), g->dense_rel_l2[i], 6));
    }
    for (int64_t l = 0; l < g->n_layers; l++)
        EXPECT(number(nth(get(node, "layers"), l)) == (double)g->layers[l]);
}

static void test_data(void)
{
    TEST("the data equal the records and their groups");
    clear();
    add_setting(192, "dense", "", 1, .001, 10);
    add_setting(192, "uniform", "score=mean k=2", .25, 1.0 / 3, 2.0 / 3);
    add_setting(256, "uniform", "score=mean k=2", .2, .02, NAN);
    add_setting(256, "stem", "k_start=2 mu=0.7", .25, 3.1234567e-5, 1e7 / 3);
    (void)sb_record_set(&records[7].dtype, "bf16", NULL);
    (void)sb_record_set(&records[6].status, "failed", NULL);
    (void)sb_record_set(&records[6].provenance, "stembench: 0.2.0\ncommit: def\n", NULL);
    records[7].speedup = INFINITY;
    (void)sb_record_series(&records[5], SB_SERIES_BUDGET, (double[]){1, 2.5, 1.0 / 3}, 3, NULL);
    report_records();
    EXPECT(length(get(data, "records")) == n_records);
    for (int64_t i = 0; i < n_records; i++) {
        expect_record(get(data, "columns"), nth(get(data, "records"), i), &records[i]);
        const int ids[] = {SB_SERIES_HEAD_REL_L2, SB_SERIES_HEAD_MASS_RECALL, SB_SERIES_POS_REL_L2,
                           SB_SERIES_POS_MASS_RECALL, SB_SERIES_BUDGET};
        for (int s = 0; s < 5; s++)
            expect_series(get(data, "series"), i, &records[i].series[ids[s]]);
        EXPECT(number(nth(get(get(data, "series"), "pos_bin"), i)) == 64);
    }
    EXPECT(length(get(data, "groups")) == 2);
    for (int64_t i = 0; i < 2; i++) {
        sb_plot_group g;
        const sb_record *first = &records[i == 0 ? 0 : 7];
        REQUIRE(sb_plot_group_build(records, n_records, first, &g, NULL) == SB_OK);
        expect_group(nth(get(data, "groups"), i), &g);
        sb_plot_group_free(&g);
    }
    EXPECT(strcmp(text_of(get(nth(get(data, "groups"), 1), "title")),
                  "tiny.h5 (a model), bf16, cpu") == 0);
    EXPECT(strcmp(text_of(get(data, "name")), "run") == 0);
    EXPECT(strcmp(text_of(get(data, "version")),
                  "stembench 0.1.0 (commit abc), stembench 0.2.0 (commit def)") == 0);
    EXPECT(strcmp(text_of(get(data, "machine")), "ref kernel, 2 threads, A CPU, 2 threads") == 0);
}

/* ---- summary --------------------------------------------------------------------------------- */

/* Says that a setting was matched to one of stem. */
static void set_target(sb_record *r, const char *by)
{
    char *target = sb_sprintf("%s: stem like %s", by, r->params);
    (void)sb_record_set(&r->match_target, target, NULL);
    sb_free(target);
}

static void test_best(void)
{
    TEST("the least error at equal density; bounds never win");
    clear();
    add_setting(192, "dense", "", 1, .001, NAN);
    add_setting(192, "stem", "k_start=2", .25, .02, NAN);
    add_setting(192, "stem", "k_start=4", .5, .012, NAN);
    add_setting(192, "uniform", "k=2", .26, .03, NAN);
    add_setting(192, "uniform", "k=4", .49, .01, NAN);
    add_setting(192, "uniform", "k=5", .6, .001, NAN);
    add_setting(192, "streaming", "window=64", .27, .0001, NAN);
    add_setting(192, "oracle", "k=2", .25, .002, NAN);
    add_setting(192, "random", "k=2", .25, .9, NAN);
    add_setting(192, "random", "k=4", .5, .001, NAN);
    report_records();
    SAYS("<caption><b>Least error at equal cost.</b> ");
    SAYS("Dense attention itself: 0.001. Of layers 0, 1, 192 tokens.</caption>");
    /* .26 is within 5 % of .25 and of .27, which are not of one another. */
    SAYS("<tr><th scope=\"row\">0.26</th><td>streaming</td><td>0.0001</td><td>stem</td>"
         "<td>200.00×</td><td>3</td><td>0.002</td><td>0.9</td></tr>\n"
         "<tr><th scope=\"row\">0.5</th><td>uniform</td><td>0.01</td><td>stem</td><td>1.20×</td>"
         "<td>2</td><td>–</td><td>0.001</td></tr>\n</tbody>");
    SAYS("<tr><th scope=\"row\">stem</th><td>0.02 (200.00×)</td><td>0.012 (1.20×)</td></tr>\n");
    SAYS("<tr><th scope=\"row\">uniform</th><td>0.03 (300.00×)</td><td><strong>0.01</strong></td>");
    SAYS("<tr><th scope=\"row\">random</th><td>0.9 (9000.00×)</td><td>0.001 (0.10×)</td></tr>\n");
    SAYS("Oracle and random selection are bounds");
    SAYS_NOT("Fastest within");
    SAYS_NOT("Break-even");

    TEST("where settings were matched, at what they were matched to");
    for (int64_t i = 6; i < 14; i++)
        set_target(&records[i], "density");
    report_records();
    SAYS("<tr><th scope=\"row\">0.25</th><td>stem</td><td>0.02</td><td>uniform</td><td>1.50×</td>"
         "<td>2</td>");
    SAYS_NOT("<th scope=\"row\">0.26</th>");
    TEST("by FLOPs, at equal budget");
    for (int64_t i = 6; i < 14; i++)
        set_target(&records[i], "flops");
    report_records();
    SAYS("<th scope=\"row\">0.26</th><td>stem</td><td>0.02</td>");
    SAYS("within 5 % of each budget.");
}

static void test_speed(void)
{
    TEST("the fastest within an error, and break-even");
    clear();
    add_setting(128, "stem", "k_start=2", .25, .019, 20);
    add_setting(512, "stem", "k_start=2", .25, .019, 5);
    add_setting(512, "stem", "k_start=3", .5, .008, 20);
    add_setting(128, "uniform", "k=2", .25, .04, 8);
    add_setting(512, "uniform", "k=2", .25, .04, 4);
    add_setting(512, "uniform", "k=3", .5, .015, 8);
    add_setting(512, "random", "k=2", .25, .001, 1);
    add_setting(128, "streaming", "window=64", .25, .4, 30);
    add_setting(512, "streaming", "window=64", .25, .4, 30);
    report_records();
    /* 10 ms dense: (10 / 1.25 t, 10 / t, 10 / 0.8 t). */
    SAYS("<tr><th scope=\"row\">0.01</th><td>stem</td><td>0.5</td><td>0.008</td><td>20</td>"
         "<td>0.5× (0.4 to 0.625)</td></tr>\n"
         "<tr><th scope=\"row\">0.02</th><td>stem</td><td>0.25</td><td>0.019</td><td>5</td>"
         "<td>2× (1.6 to 2.5)</td></tr>\n"
         "<tr><th scope=\"row\">0.05</th><td>uniform</td><td>0.25</td><td>0.04</td><td>4</td>"
         "<td>2.5× (2 to 3.12)</td></tr>\n</tbody>");
    /* From 20 to 5 ms over two doublings of the density's and the length's logarithm: half way. */
    SAYS("<tr><th scope=\"row\">stem</th><td>0.354</td><td>256</td></tr>\n"
         "<tr><th scope=\"row\">uniform</th><td>&gt; 0.5</td><td>&lt; 128</td></tr>\n"
         "<tr><th scope=\"row\">streaming</th><td>&lt; 0.25</td><td>&gt; 512</td></tr>\n</tbody>");
}

static void test_errors(void)
{
    TEST("of many round errors the least, the largest and the middle one");
    clear();
    add_setting(512, "stem", "k_start=2", .25, .009, 20);
    add_setting(512, "stem", "k_start=3", .2, .03, 10);
    add_setting(512, "stem", "k_start=4", .1, .4, 5);
    report_records();
    SAYS("<tr><th scope=\"row\">0.01</th><td>stem</td><td>0.25</td>");
    SAYS("</tr>\n<tr><th scope=\"row\">0.05</th><td>stem</td><td>0.2</td>");
    SAYS("</tr>\n<tr><th scope=\"row\">0.5</th><td>stem</td><td>0.1</td>");
}

static void test_no_bounds(void)
{
    TEST("without a bound, no columns of bounds");
    clear();
    add_setting(192, "stem", "k_start=2", .25, .02, NAN);
    add_setting(192, "uniform", "k=2", .25, .03, NAN);
    report_records();
    SAYS("<td>uniform</td><td>1.50×</td><td>2</td></tr>\n</tbody>");
    SAYS_NOT("are bounds");
    SAYS_NOT("Dense attention itself");
}

static void test_worst(void)
{
    TEST("the worst layer, head and position of the setting nearest to a quarter");
    clear();
    add_setting(230, "stem", "k_start=2", .24, .02, NAN);
    add_setting(230, "stem", "k_start=3", .3, 5, NAN);
    add_setting(230, "uniform", "k=9", .5, .01, NAN);
    report_records();
    SAYS("<tr><th scope=\"row\">stem</th><td>0.24</td><td>layer 1: 0.04</td>"
         "<td>layer 1, head 1: 0.07</td><td>layer 0, tokens 128 to 191: 0.1</td></tr>\n</tbody>");
    clear();
    add_setting(150, "stem", "k_start=2", .24, .02, NAN);
    report_records();
    SAYS("<td>layer 0, tokens 128 to 149: 0.1</td>");
}

static void test_run(void)
{
    TEST("what was run, and what failed");
    clear();
    for (int i = 0; i < 5; i++)
        add_setting(128 * (1 + i % 2), "stem", "k_start=2", .25, .02, NAN);
    for (int i = 0; i < 4; i++) {
        (void)sb_record_set(&records[i].status, i == 0 ? "unsupported" : "failed", NULL);
        (void)sb_record_set(&records[i].reason, i == 3 ? "head 2: NaN" : "too long", NULL);
    }
    report_records();
    SAYS("<dt>Captures</dt><dd>tiny.h5 (a model)</dd>\n<dt>Layers</dt><dd>0, 1</dd>\n"
         "<dt>Tokens</dt><dd>128, 256</dd>\n<dt>Computed in</dt><dd>f32 on cpu</dd>\n"
         "<dt>Methods</dt><dd>stem</dd>\n<dt>Cells</dt><dd>10: 6 ok, 3 failed, 1 unsupported</dd>\n"
         "<dt>Kernels</dt><dd>ref</dd>\n<dt>Machine</dt><dd>2 threads, A CPU</dd>\n");
    SAYS("<li>1 unsupported: too long (first: stem, layer 0, 128 tokens)</li>\n"
         "<li>2 failed: too long (first: stem, layer 1, 128 tokens)</li>\n"
         "<li>1 failed: head 2: NaN (first: stem, layer 1, 256 tokens)</li>\n</ul>");
    SAYS("<summary>Made 10 of 10 records</summary>\n<pre>stembench: 0.1.0\n");
    SAYS("<pre id=\"config\">name: made-up # &lt;config&gt;\n</pre>");
}

/* ---- hostile texts --------------------------------------------------------------------------- */

#define HOSTILE                                                                                    \
    "</script><script>alert(1)</script><!-- ]]> \"quoted' &amp; \\ @DATA@ @TITLE@\n\t\x01\x1b"     \
    "\x7f\xc2\x85\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf\xff\xc0\xbc\xed\xa0\x80\xf0\x9f\x98\x80\xe2" \
    "\x82"
/* The same, with U+FFFD for each byte that belongs to no character. */
#define BAD "\xef\xbf\xbd"
#define READ_BACK                                                                                  \
    "</script><script>alert(1)</script><!-- ]]> \"quoted' &amp; \\ @DATA@ @TITLE@\n\t\x01\x1b"     \
    "\x7f\xc2\x85\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf" BAD BAD BAD BAD BAD BAD                     \
    "\xf0\x9f\x98\x80" BAD BAD
#define AS_HTML                                                                                    \
    "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;!-- ]]&gt; &quot;quoted&#39; "        \
    "&amp;amp; \\ @DATA@ @TITLE@\n\t" BAD BAD BAD BAD                                              \
    "\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf" BAD BAD BAD BAD BAD BAD "\xf0\x9f\x98\x80" BAD BAD

static int64_t n_times(const char *text, const char *piece)
{
    int64_t n = 0;
    for (const char *at = text; at && (at = strstr(at, piece)); at++)
        n++;
    return n;
}

/* Whether tags are balanced and of the kinds that a summary is made of, from `at` to `end`. */
static bool balanced(const char *at, const char *end)
{
    static const char known[] =
        " div dl dt dd h2 h3 ul li table caption b thead tbody tr th td details "
        "summary strong pre section noscript p ";
    char open[32][16];
    int depth = 0;
    for (; at < end; at++) {
        if (*at == '>')
            return false;
        if (*at != '<')
            continue;
        bool closing = at[1] == '/';
        char name[16] = "", word[20];
        const char *tag = at + 1 + closing, *close = strchr(tag, '>');
        (void)snprintf(name, sizeof name, "%.*s", (int)strspn(tag, "abcdefghijklmnopqrstuvwxyz123"),
                       tag);
        (void)snprintf(word, sizeof word, " %s ", name);
        if (!strstr(known, word) || !close || depth == 32)
            return false;
        if (!closing)
            (void)snprintf(open[depth++], sizeof open[0], "%s", name);
        else if (depth == 0 || strcmp(open[--depth], name) != 0)
            return false;
        at = close;
    }
    return depth == 0;
}

static void expect_harmless(void)
{
    size_t n;
    const char *text = data_text(&n),
               *begin = html ? strstr(html, "<section id=\"summary\">") : NULL;
    const char *end = begin ? strstr(begin, "<section id=\"plots\"") : NULL;
    const char *provenance = html ? strstr(html, "<section id=\"provenance\">") : NULL;
    EXPECT(n_times(html, "<script") == 2 && n_times(html, "</script") == 2);
    EXPECT(n_times(html, "<pre id=\"config\">") == 1);
    EXPECT(end && balanced(begin, end));
    EXPECT(provenance && balanced(provenance, strstr(provenance, "</main>")));
    for (const char *p = html; p && *p; p++)
        EXPECT((unsigned char)*p >= ' ' || *p == '\n' || *p == '\t');
    REQUIRE(text);
    EXPECT(!memchr(text, '<', n) && !memmem(text, n, "\xe2\x80\xa8", 3) &&
           !memmem(text, n, "\xe2\x80\xa9", 3));
}

static void test_hostile(void)
{
    TEST("whatever records say stays text");
    clear();
    for (int i = 0; i < 3; i++) {
        add_setting(192, i == 2 ? HOSTILE : "stem", i == 0 ? HOSTILE : "mu=<b>" HOSTILE, .25, .02,
                    3);
        for (int64_t l = n_records - 2; l < n_records; l++) {
            sb_record *r = &records[l];
            char **const texts[] = {&r->reason,  &r->capture,    &r->model,       &r->dtype,
                                    &r->backend, &r->kernel,     &r->variant,     &r->mask_hash,
                                    &r->config,  &r->provenance, &r->match_target};
            for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
                (void)sb_record_set(texts[t], HOSTILE, NULL);
            (void)sb_record_set(&r->provenance, "cpu: \"" HOSTILE, NULL);
        }
    }
    (void)sb_record_set(&records[5].status, HOSTILE, NULL);
    report_records();
    expect_harmless();
    const sb_node *row = nth(get(data, "records"), 0);
    for (int c = 0; c < sb_n_columns; c++)
        if (strcmp(sb_columns[c].name, "reason") == 0)
            EXPECT_MSG(strcmp(text_of(nth(row, c)), READ_BACK) == 0, "%s", text_of(nth(row, c)));
    EXPECT(strstr(text_of(get(nth(get(data, "groups"), 0), "title")), READ_BACK));
    SAYS("<dt>Kernels</dt><dd>" AS_HTML "</dd>");
    SAYS(": " AS_HTML " (first: ");
    SAYS("<pre>cpu: &quot;" AS_HTML "</pre>");

    TEST("and so do the name of a run, and a config");
    const char *name = "r <i>&amp; @DATA@ \x01\xff";
    write_records(name, records, 1);
    EXPECT(sb_fs_write(file_at("r <i>&amp; @DATA@ \x01\xff/config.yaml"), HOSTILE,
                       sizeof HOSTILE - 1, NULL) == SB_OK);
    make_report(name);
    expect_harmless();
    SAYS("<h1>r &lt;i&gt;&amp;amp; @DATA@ " BAD BAD "</h1>");
    EXPECT(strcmp(text_of(get(data, "name")), "r <i>&amp; @DATA@ \x01" BAD) == 0);
    SAYS("<pre id=\"config\">" AS_HTML "</pre>");
}

/* ---- files ----------------------------------------------------------------------------------- */

static sb_status write_report(const char *run, const char *path, sb_err *err)
{
    int64_t n_bytes;
    return sb_report_write(file_at(run), file_at(path), 2, &n_bytes, err);
}

static void test_files(void)
{
    TEST("the same records give the same bytes");
    clear();
    add_setting(192, "stem", "k_start=2", .25, .02, 3);
    add_setting(192, "uniform", "k=2", .25, .02, 3);
    report_records();
    char *again = NULL;
    EXPECT(write_report("run/../run/", "again.html", NULL) == SB_OK);
    EXPECT(sb_fs_read(file_at("again.html"), &again, NULL) == SB_OK);
    EXPECT(again && html && strcmp(again, html) == 0);
    sb_free(again);

    TEST("nothing to report, and nowhere to");
    sb_err err = {0};
    EXPECT(write_report("none", "none.html", NULL) == SB_BAD_DATA);
    EXPECT(write_report("run", "none/report.html", &err) == SB_IO);
    EXPECT_MSG(strstr(err.msg, "none/report.html") && !strchr(err.msg, '\n'), "%s", err.msg);
    write_records("empty", records, 0);
    EXPECT(write_report("empty", "none.html", NULL) == SB_BAD_DATA);
    EXPECT(access(file_at("none.html"), F_OK) != 0);
    if (access("/dev/full", W_OK) == 0 && symlink("/dev/full", file_at("full.html.tmp")) == 0)
        EXPECT(write_report("run", "full.html", NULL) == SB_IO);
    EXPECT(access(file_at("full.html"), F_OK) != 0 && access(file_at("full.html.tmp"), F_OK) != 0);

    TEST("a run without a finished record, and without a config");
    for (int64_t i = 0; i < n_records; i++)
        (void)sb_record_set(&records[i].status, "failed", NULL);
    write_records("run", records, n_records);
    EXPECT(unlink(file_at("run/config.yaml")) == 0);
    make_report("run");
    EXPECT(length(get(data, "groups")) == 0 && length(get(data, "records")) == n_records);
    SAYS("<dd>4: 0 ok, 4 failed</dd>");
    SAYS("<li>4 failed: no reason recorded (first: ");
    SAYS("<pre id=\"config\"># The run directory holds none.\n</pre>");
}

static void test_command(void)
{
    TEST("the command's exit codes and files");
    char program[] = "stembench", report[] = "report", out[] = "--out", wrong[] = "--format";
    char run[400], none[400], to[400];
    (void)snprintf(run, sizeof run, "%s", file_at("run"));
    (void)snprintf(none, sizeof none, "%s", file_at("none"));
    (void)snprintf(to, sizeof to, "%s", file_at("to.html"));
    (void)fflush(stderr);
    int kept = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);
    (void)dup2(nowhere, STDERR_FILENO);
    int by_default = sb_main(3, (char *[]){program, report, run, NULL});
    int to_file = sb_main(5, (char *[]){program, report, run, out, to, NULL});
    int of_none = sb_main(3, (char *[]){program, report, none, NULL});
    int usage = sb_main(5, (char *[]){program, report, run, wrong, to, NULL});
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);
    (void)close(nowhere);
    EXPECT(by_default == 0 && access(file_at("run/report.html"), R_OK) == 0);
    EXPECT(to_file == 0 && access(to, R_OK) == 0);
    EXPECT(of_none == 3 && usage == 2);
}

static void test_page(void)
{
    TEST("the page's files are in the program as they are, and fit together");
    static const char *const places[] = {"\n@STYLE@\n", "\n@SUMMARY@\n", "\n@PROVENANCE@\n",
                                         "\n@DATA@\n", "\n@SCRIPT@\n"};
    int64_t n_pages = 0;
    for (int i = 0; i < sb_n_report_assets; i++) {
        const sb_report_asset *asset = &sb_report_assets[i];
        const char *text = (const char *)asset->bytes;
        char path[400], *source = NULL;
        (void)snprintf(path, sizeof path, SB_SOURCE_DIR "/harness/report/%s", asset->name);
        EXPECT(sb_fs_read(path, &source, NULL) == SB_OK);
        EXPECT_MSG(source && strcmp(source, text) == 0 && strlen(source) == asset->n_bytes, "%s",
                   asset->name);
        sb_free(source);
        bool page = strcmp(asset->name, "page.html") == 0;
        n_pages += page;
        for (int k = 0; k < 5; k++)
            EXPECT(!page || n_times(text, places[k]) == 1);
        EXPECT(page || (n_times(text, "</script") == 0 && n_times(text, "</style") == 0));
        EXPECT(page || n_times(text, "<!--") == 0);
    }
    EXPECT(n_pages == 1);
}

static void test_memory(void)
{
    TEST("an allocation that fails is reported, nothing leaks, and no part of a file is left");
    clear();
    add_setting(192, "stem", "k_start=2", .25, .02, 3);
    (void)sb_record_series(&records[0], SB_SERIES_PATTERN_MAP, (double[]){1, -1, .5, 1}, 4, NULL);
    records[0].map_side = 2;
    write_records("run", records, n_records);
    int64_t live = sb_mem_live(), tries = 0;
    sb_status st = SB_NO_MEMORY;
    while (st != SB_OK && tries < 5000) {
        sb_mem_fail_at(++tries);
        st = write_report("run", "memory.html", NULL);
        sb_mem_fail_at(0);
        EXPECT_MSG(st == SB_OK || st == SB_NO_MEMORY, "allocation %" PRId64 ": %d", tries, st);
        EXPECT_MSG(sb_mem_live() == live, "allocation %" PRId64 " leaks", tries);
        EXPECT(access(file_at("memory.html.tmp"), F_OK) != 0);
    }
    EXPECT(tries > 50 && st == SB_OK && access(file_at("memory.html"), F_OK) == 0);
}

int main(void)
{
    if (!folder_open())
        return 1;
    test_data();
    test_best();
    test_no_bounds();
    test_speed();
    test_errors();
    test_worst();
    test_run();
    test_hostile();
    test_files();
    test_command();
    test_page();
    test_memory();
    clear();
    close_report();
    return rig_close();
}
