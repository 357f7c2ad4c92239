/* Run directories of which there is nothing but results.csv, as other programs write it. */

#include <fcntl.h>
#include <sys/stat.h>

#include "harness/plot.h"
#include "harness/tests/csv_rig.h"
#include "harness/tests/results_rig.h"

/* ---- what is read --------------------------------------------------------------------------- */

static void write_text(const char *name, const char *text)
{
    EXPECT(sb_fs_make_dirs(run, NULL) == SB_OK);
    EXPECT(sb_fs_write(at(name), text, strlen(text), NULL) == SB_OK);
}

/* Reads a text as results.csv of a run. */
static sb_status read_text(const char *text, sb_record **records, int64_t *n, sb_err *err)
{
    write_text("results.csv", text);
    return sb_results_read(run, records, n, err);
}

static void expect_refused(const char *text, const char *says)
{
    sb_record *records = NULL;
    int64_t n = 0;
    sb_err err = {0};
    sb_status st = read_text(text, &records, &n, &err);
    EXPECT_MSG(st == SB_BAD_DATA && records == NULL && strstr(err.msg, says), "%s: '%s'", text,
               err.msg);
    EXPECT_MSG(strstr(err.msg, "/run/results.csv:") || st == SB_OK, "%s", err.msg);
    sb_records_free(records, n);
}

/* A record as a CSV can hold it. */
static void fill_plain(sb_record *r, uint64_t key, int64_t cell)
{
    fill(r, key, cell);
    (void)sb_record_set(&r->status, key % 2 ? "ok" : "unsupported", NULL);
}

static void test_round_trip(void)
{
    TEST("what the harness writes comes back");
    sb_record made[3], *back = NULL;
    int64_t n = 0;
    clear();
    write_text("provenance.yaml", "cpu: \"some\"\n");
    for (int i = 0; i < 3; i++)
        fill_plain(&made[i], (uint64_t)(7 + i), 2 - i);
    EXPECT(save_csv(at("results.csv"), made, 3, NULL) == SB_OK);
    EXPECT(sb_results_read(run, &back, &n, NULL) == SB_OK && n == 3);
    for (int i = 0; i < 3 && n == 3; i++) {
        char *x = NULL, *y = NULL;
        const sb_record *r = &back[2 - i]; /* ascending by cell */
        EXPECT(sb_csv_line(&made[i], &x, NULL) == SB_OK && sb_csv_line(r, &y, NULL) == SB_OK);
        EXPECT_MSG(strcmp(x, y) == 0, "%s%s", x, y);
        EXPECT(strcmp(r->provenance, "cpu: \"some\"\n") == 0 && r->config[0] == '\0');
        EXPECT(r->key == sb_identity_hash(r) && r->map_side == 0 && r->pos_bin == 0);
        for (int s = 0; s < SB_N_SERIES; s++)
            EXPECT(r->series[s].n == 0 && strcmp(r->series[s].name, sb_series_names[s]) == 0);
        sb_free(x);
        sb_free(y);
        sb_record_free(&made[i]);
    }
    sb_records_free(back, n);
}

static void test_foreign(void)
{
    TEST("columns in any order, missing ones, empty fields, CRLF and quotes");
    sb_record *r = NULL;
    int64_t n = 0;
    sb_err err = {0};
    clear();
    EXPECT_MSG(read_text("logit_kl,method,cell,top1,status,params,tokens,ppl,text\r\n"
                         ",stem,10,nan,ok,\"table=[1 2], \"\"x\"\"\n\",,-inf,\r\n"
                         "1e-05,\"dense\",-9223372036854775808,.5,ok,,8192,+2.5E1,\"a,b\"\r\n",
                         &r, &n, &err) == SB_OK &&
                   n == 2,
               "%s", err.msg);
    if (n == 2) {
        EXPECT(r[0].cell == INT64_MIN && r[0].tokens == 8192 && r[0].logit_kl == 1e-5);
        EXPECT(r[0].top1 == .5 && r[0].ppl == 25 && strcmp(r[0].text, "a,b") == 0);
        EXPECT(strcmp(r[0].method, "dense") == 0 && strcmp(r[0].params, "") == 0);
        EXPECT(r[1].cell == 10 && r[1].tokens == 0 && isnan(r[1].logit_kl) && isnan(r[1].top1));
        EXPECT(r[1].ppl == -INFINITY && strcmp(r[1].params, "table=[1 2], \"x\"\n") == 0);
        EXPECT(isnan(r[1].density) && strcmp(r[1].model, "") == 0 && r[1].samples == 0);
        EXPECT(strcmp(r[1].provenance, "") == 0);
    }
    sb_records_free(r, n);

    TEST("a header alone is a run without cells");
    EXPECT(read_text("cell,status,method\n", &r, &n, NULL) == SB_OK && n == 0);
    sb_records_free(r, n);
}

static void test_order_of_sources(void)
{
    TEST("results.h5 and unfolded records go before the CSV");
    sb_record *records = NULL;
    int64_t n = 0;
    const uint64_t keys[] = {7};
    const int64_t cells[] = {0};
    sb_err err = {0};
    clear();
    sb_run_dir *dir = open_run();
    EXPECT(append(dir, 7, 0, NULL) == SB_OK);
    write_text("results.csv", "nonsense");
    expect_records(keys, cells, 1);
    EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    sb_run_dir_close(dir);
    EXPECT(sb_fs_remove(at(".cells"), NULL) == SB_OK);
    write_text("results.csv", "nonsense");
    expect_records(keys, cells, 1);

    TEST("a directory with none of them has no results");
    clear();
    EXPECT(sb_results_read(run, &records, &n, &err) == SB_BAD_DATA);
    EXPECT_MSG(strstr(err.msg, "results.h5: cannot open"), "%s", err.msg);
}

/* ---- which cell it is ----------------------------------------------------------------------- */

static void test_identity(void)
{
    static const char *const measured[] = {"cell",      "status",    "reason",
                                           "mask_hash", "samples",   "dense_kernel",
                                           "timing",    "throttled", "node"};
    enum { N_MEASURED = sizeof measured / sizeof measured[0] };
    TEST("a column says which cell it is, or is measured");
    sb_record r;
    fill(&r, 1, 0);
    uint64_t key = sb_identity_hash(&r);
    int n_identity = 0;
    for (int i = 0; i < sb_n_columns; i++) {
        const sb_column *c = &sb_columns[i];
        bool is_measured = c->kind == SB_KIND_REAL;
        for (int m = 0; m < N_MEASURED; m++)
            is_measured |= strcmp(c->name, measured[m]) == 0;
        if (c->kind == SB_KIND_TEXT)
            (void)sb_record_set(sb_column_at(c, &r), "other", NULL);
        else if (c->kind == SB_KIND_INT)
            ++*(int64_t *)sb_column_at(c, &r);
        else
            *(double *)sb_column_at(c, &r) = 77;
        EXPECT_MSG((sb_identity_hash(&r) == key) == is_measured, "%s", c->name);
        n_identity += !is_measured;
        key = sb_identity_hash(&r);
    }
    EXPECT(n_identity == SB_N_IDENTITY && !sb_column_find("none"));
    sb_record_free(&r);

    TEST("a text is of its column");
    sb_record a, b;
    sb_record_init(&a);
    sb_record_init(&b);
    (void)sb_record_set(&a.task, "ab", NULL);
    (void)sb_record_set(&b.layer_set, "ab", NULL); /* with as many empty ones, but elsewhere */
    EXPECT(sb_identity_hash(&a) != sb_identity_hash(&b));
    sb_record_free(&a);
    sb_record_free(&b);

    TEST("a cell that comes twice is refused");
    clear();
    expect_refused("cell,status,method,params,rel_l2\n0,ok,stem,\"k=1\n\",1\n1,ok,stem,k=2,1\n"
                   "2,failed,stem,k=2,3\n3,ok,stem,\"k=1\n\",5\n",
                   "/run/results.csv:5: the cell of line 4 again; expected each cell once");
}

/* ---- what is refused ------------------------------------------------------------------------ */

static void test_errors(void)
{
#define HEAD "cell,status,method,rel_l2,tokens\n"
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", ":1: the last line has no end"},
        {"\n", ":1: column ''; expected columns"},
        {"cell,status,method", ":1: the last line has no end"},
        {HEAD "0,ok,stem,.5,1024", "the last line has no end; expected a whole file"},
        {"cell,status\n", ":1: no column 'method'; expected one"},
        {"status,method\n", ":1: no column 'cell'"},
        {"cell,method\n", ":1: no column 'status'"},
        {"cell,status,method,mean\n", ":1: column 'mean'; expected columns of results.csv"},
        {"cell,status,method, rel_l2\n", ":1: column ' rel_l2'"},
        {"cell;status;method\n", ":1: column 'cell;status;method'"},
        {"cell,status,method,cell\n", ":1: column 'cell' a second time; expected it once"},
        {HEAD "0,ok,stem,.5\n", ":2: fewer fields than the header has; expected 5"},
        {HEAD "0,ok,stem,.5,1,\n", ":2: more fields than the header has; expected 5"},
        {HEAD "\n", ":2: fewer fields"},
        {HEAD "0,ok,stem,.5,1\n\n", ":3: fewer fields"},
        {HEAD ",ok,stem,.5,1\n", ":2: column cell: ''; expected a value"},
        {HEAD "0,,stem,.5,1\n", ":2: column status: ''; expected a value"},
        {HEAD "0,ok,,.5,1\n", ":2: column method: ''; expected a value"},
        {HEAD "0,fine,stem,.5,1\n", ":2: column status: 'fine'; expected ok, failed or unsupp"},
        {HEAD "0,ok,stem,\"0,5\",1\n", ":2: column rel_l2: '0,5'; expected a number or nothing"},
        {HEAD "0,ok,stem,0x1,1\n", ":2: column rel_l2: '0x1'"},
        {HEAD "0,ok,stem, 1,1\n", ":2: column rel_l2: ' 1'"},
        {HEAD "0,ok,stem,1 ,1\n", ":2: column rel_l2: '1 '"},
        {HEAD "0,ok,stem,1e999,1\n", ":2: column rel_l2: '1e999'"},
        {HEAD "0,ok,stem,1e,1\n", ":2: column rel_l2: '1e'"},
        {HEAD "0,ok,stem,.,1\n", ":2: column rel_l2: '.'"},
        {HEAD "0,ok,stem,-nan,1\n", ":2: column rel_l2: '-nan'"},
        {HEAD "0,ok,stem,infinity,1\n", ":2: column rel_l2: 'infinity'"},
        {HEAD "0,ok,stem,1,1.0\n", ":2: column tokens: '1.0'; expected a whole number or nothing"},
        {HEAD "0,ok,stem,1,9223372036854775808\n", ":2: column tokens: '9223372036854775808'"},
        {HEAD "0,ok,stem,1,-\n", ":2: column tokens: '-'"},
        {HEAD "0,ok,stem,1,--1\n", ":2: column tokens: '--1'"},
        {HEAD "0,ok,stem,1,+1\n", ":2: column tokens: '+1'"},
        {HEAD "0,ok,\"a\nb\",1,1\n0,ok,stem,x,1\n", ":4: column rel_l2: 'x'"},
        {HEAD "0,ok,\"stem,1,1\n", ":2: a quoted field without an end"},
        {HEAD "0,ok,\"stem\"x,1,1\n", ":2: 'x,1,1 ' within a field; expected a comma"},
        {HEAD "0,ok,st\"em,1,1\n", ":2: '\"em,1,1 ' within a field"},
        {HEAD "0,ok,st\rem,1,1\n", ":2: ' em,1,1 ' within a field"},
    };
    TEST("errors name the file, the line and the column");
    clear();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(cases[i].text, cases[i].says);
}

static void expect_bad_file(const char *says)
{
    sb_record *records = NULL;
    int64_t n = 0;
    sb_err err = {0};
    EXPECT(sb_results_read(run, &records, &n, &err) == SB_BAD_DATA);
    EXPECT_MSG(strstr(err.msg, says), "'%s'", err.msg);
    sb_records_free(records, n);
}

static void test_files(void)
{
    TEST("binary, huge and special files");
    clear();
    EXPECT(sb_fs_make_dirs(run, NULL) == SB_OK);
    EXPECT(sb_fs_write(at("results.csv"), "cell,\0status\n", 13, NULL) == SB_OK);
    expect_bad_file("results.csv:1: a NUL byte; expected text");
    EXPECT(truncate(at("results.csv"), ((off_t)1 << 26) + 1) == 0);
    expect_bad_file("results.csv: larger than 67108864 bytes; expected less");
    EXPECT(unlink(at("results.csv")) == 0 && mkfifo(at("results.csv"), 0600) == 0);
    expect_bad_file("results.csv: not a regular file");
    EXPECT(unlink(at("results.csv")) == 0 && mkdir(at("results.csv"), 0700) == 0);
    expect_bad_file("results.csv: not a regular file");
    EXPECT(rmdir(at("results.csv")) == 0);
    write_text("results.csv", "cell,status,method\n0,ok,stem\n");
    EXPECT(mkfifo(at("provenance.yaml"), 0600) == 0);
    expect_bad_file("provenance.yaml: not a regular file");
    EXPECT(unlink(at("provenance.yaml")) == 0);
    write_text("provenance.yaml", "");
    EXPECT(truncate(at("provenance.yaml"), 20000) == 0);
    expect_bad_file("provenance.yaml: larger than 16384 bytes");

    TEST("more records than memory is meant for");
    enum { MOST = 65536, LINE = 32 };
    char *text = sb_alloc(MOST + 2, LINE);
    int used = sprintf(text, "cell,status,method\n");
    for (int i = 0; i <= MOST; i++)
        used += sprintf(text + used, "%d,ok,m%d\n", i, i);
    clear();
    expect_refused(text, "results.csv:65538: more than 65536 records");
    sb_free(text);
}

/* Any bytes are read or refused with a line, and nothing is left allocated. */
static void expect_sound(const char *bytes, size_t n_bytes)
{
    sb_record_list list = {0};
    sb_err err = {0};
    int64_t before = sb_mem_live();
    char *text = malloc(n_bytes + 1); /* of the heap, where a read beyond it is seen */
    if (n_bytes > 0)
        memcpy(text, bytes, n_bytes);
    text[n_bytes] = '\0';
    sb_status st = sb_csv_parse(text, n_bytes, "f", "", &list, &err);
    EXPECT_MSG(st == err.status && (st == SB_OK || st == SB_BAD_DATA), "%d %s", st, err.msg);
    EXPECT_MSG(st == SB_OK || (strncmp(err.msg, "f:", 2) == 0 && !strchr(err.msg, '\n')), "%s",
               err.msg);
    for (int64_t i = 0; i < list.n && st == SB_OK; i++)
        EXPECT(list.items[i].key != 0 && list.items[i].head_set != NULL);
    sb_records_free(list.items, list.n);
    free(text);
    EXPECT(sb_mem_live() == before);
}

static const char sample[] = "cell,status,method,params,rel_l2,tokens\n"
                             "0,ok,stem,\"a \"\"b\"\", c\n\",.25,1024\r\n1,failed,dense,,nan,-5\n";

static void test_damage(void)
{
    static const char bytes[] = {',', '"', '\n', '\r', '\0', 'x', '-', '[', (char)0xff};
    char text[sizeof sample];
    TEST("cut anywhere, and any byte replaced");
    for (size_t i = 0; i < sizeof sample; i++) {
        expect_sound(sample, i);
        for (size_t b = 0; b < sizeof bytes && i < sizeof sample - 1; b++) {
            memcpy(text, sample, sizeof sample);
            text[i] = bytes[b];
            expect_sound(text, sizeof sample - 1);
        }
    }
}

static void test_memory(void)
{
    TEST("every allocation may fail");
    int64_t n = 0;
    sb_status st = SB_NO_MEMORY;
    clear();
    write_text("results.csv", sample);
    write_text("provenance.yaml", "cpu: x\n");
    while (st == SB_NO_MEMORY && n < 1000) {
        sb_record *records = NULL;
        int64_t n_records = 0, before = sb_mem_live();
        sb_err err = {0};
        sb_mem_fail_at(++n);
        st = sb_results_read(run, &records, &n_records, &err);
        sb_mem_fail_at(0);
        EXPECT_MSG(st == SB_OK || err.status == SB_NO_MEMORY, "%" PRId64 ": %s", n, err.msg);
        sb_records_free(records, n_records);
        EXPECT_MSG(sb_mem_live() == before, "%" PRId64 " leaks", n);
    }
    EXPECT_MSG(st == SB_OK && n > 50, "%" PRId64 " %d", n, st);
}

/* ---- beside runs of the harness -------------------------------------------------------------- */

static void test_run_there(void)
{
    TEST("a run does not go where a CSV alone has results");
    char *text = NULL;
    clear();
    write_text("results.csv", sample);
    for (int turn = 0; turn < 2; turn++) {
        EXPECT(try_open(run, config, false, "not of a run") == SB_USAGE);
        EXPECT(try_open(run, config, true, "not of a run") == SB_USAGE);
        EXPECT(!there("results.h5") && !there(".cells"));
        EXPECT(sb_fs_read(at("results.csv"), &text, NULL) == SB_OK && strcmp(text, sample) == 0);
        sb_free(text);
        write_text(".lock", "stembench run directory\n"); /* the mark of one of ours */
        write_text("config.yaml", config);
    }

    TEST("a run that has only just begun goes on");
    clear();
    sb_run_dir_close(open_run());
    EXPECT(there("results.csv") && !there("results.h5"));
    sb_run_dir_close(open_run());
}

/* Compares texts, numbers in them to 8 digits: a CSV holds 9. */
static bool nearly_same(const char *a, const char *b)
{
    while (*a && *b) {
        char *end_a, *end_b;
        double x = strtod(a, &end_a), y = strtod(b, &end_b);
        if (end_a == a || end_b == b) {
            if (*a++ != *b++)
                return false;
        } else {
            if (!(fabs(x - y) <= 1e-8 * fabs(x)) && !(isnan(x) && isnan(y)))
                return false;
            a = end_a;
            b = end_b;
        }
    }
    return *a == *b;
}

static char *plot_data(const char *source, const char *const *names, int n_names)
{
    char from[600], *text = NULL;
    sb_err err = {0};
    clear();
    EXPECT(sb_fs_make_dirs(run, NULL) == SB_OK);
    for (int i = 0; i < n_names; i++) {
        (void)snprintf(from, sizeof from, "%s/%s", source, names[i]);
        EXPECT(sb_fs_copy(from, at(names[i]), NULL) == SB_OK);
    }
    sb_status st = sb_plot_run(run, "svg", 1, &err);
    EXPECT_MSG(st == SB_OK || st == SB_UNAVAILABLE, "%s",
               err.msg); /* without gnuplot: data alone */
    EXPECT(sb_fs_read(at("plots/data/error_density.csv"), &text, NULL) == SB_OK && text);
    return text;
}

static void test_plot(void)
{
    static const char *const names[] = {"results.csv", "results.h5"};
    static const char source[] = SB_SOURCE_DIR "/results/reference/quick";
    TEST("a run's curves are those of its CSV");
    char *of_csv = plot_data(source, names, 1), *of_store = plot_data(source, names, 2);
    EXPECT(of_csv && of_store && strlen(of_csv) > 1000 && nearly_same(of_csv, of_store));
    EXPECT(!nearly_same("a,1.5\n", "a,1.5001\n") && !nearly_same("a,1\n", "a,1\nb"));
    sb_free(of_csv);
    sb_free(of_store);
}

int main(void)
{
    if (!rig_open())
        return 1;
    test_round_trip();
    test_foreign();
    test_order_of_sources();
    test_identity();
    test_errors();
    test_files();
    test_damage();
    test_memory();
    test_run_there();
    test_plot();
    return rig_close();
}
