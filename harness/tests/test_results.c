#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/results_store.h"
#include "harness/tests/check.h"

static char folder[256], run[300];
static const char config[] = "name: test\n";

static const char *at(const char *name)
{
    static char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", run, name);
    return path;
}

static const char *folder_file(const char *name)
{
    static char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static bool there(const char *name)
{
    return access(at(name), F_OK) == 0;
}

static void clear(void)
{
    EXPECT(sb_fs_remove(run, NULL) == SB_OK);
}

static sb_run_dir *open_run(void)
{
    sb_run_dir *dir = NULL;
    sb_err err = {0};
    EXPECT_MSG(sb_run_dir_open(run, config, false, &dir, &err) == SB_OK, "%s", err.msg);
    return dir;
}

/* Distinct values in every field, made from the key. */
static void fill(sb_record *r, uint64_t key, int64_t cell)
{
    double data[400];
    char text[64];
    sb_record_init(r);
    for (int i = 0; i < sb_n_columns; i++) {
        void *field = sb_column_at(&sb_columns[i], r);
        (void)snprintf(text, sizeof text, "%s, \"%" PRIu64 "\"\n", sb_columns[i].name, key);
        if (sb_columns[i].kind == SB_KIND_TEXT)
            (void)sb_record_set(field, text, NULL);
        else if (sb_columns[i].kind == SB_KIND_INT)
            *(int64_t *)field = i * 1000 + (int64_t)(key % 1000);
        else
            *(double *)field = 1.0 / (double)(i + 3) + (double)(key % 1000);
    }
    r->key = key;
    r->cell = cell;
    r->density = NAN;
    r->speedup = -INFINITY;
    r->layer = INT64_MIN;
    r->pos_bin = 64;
    r->map_side = 20;
    for (int i = 0; i < 400; i++)
        data[i] = i % 21 == 0 ? -1 : 1.0 / (i + 1 + (double)(key % 1000));
    for (int s = 0; s < SB_N_SERIES; s++)
        (void)sb_record_series(r, (enum sb_series_id)s, data + (s == SB_SERIES_PATTERN_MAP ? 0 : s),
                               s == SB_SERIES_PATTERN_MAP ? 400 : 3 + s, NULL);
    (void)sb_record_set(&r->config, "method: stem\nlayer: 2\n", NULL);
    (void)sb_record_set(&r->provenance, "compiler: gcc\nflags: -O2\n", NULL);
}

static sb_status append(sb_run_dir *dir, uint64_t key, int64_t cell, sb_err *err)
{
    sb_record r;
    fill(&r, key, cell);
    sb_status st = sb_run_dir_append(dir, &r, err);
    sb_record_free(&r);
    return st;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same(const sb_record *a, const sb_record *b)
{
    bool same = a->key == b->key && a->pos_bin == b->pos_bin && a->map_side == b->map_side &&
                same_text(a->config, b->config) && same_text(a->provenance, b->provenance);
    for (int i = 0; i < sb_n_columns; i++) {
        const void *x = sb_column_of(&sb_columns[i], a), *y = sb_column_of(&sb_columns[i], b);
        if (sb_columns[i].kind == SB_KIND_TEXT)
            same &= same_text(*(char *const *)x, *(char *const *)y);
        else
            same &= memcmp(x, y, 8) == 0;
    }
    for (int i = 0; i < SB_N_SERIES; i++)
        same &= a->series[i].n == b->series[i].n &&
                strcmp(a->series[i].name, b->series[i].name) == 0 &&
                (a->series[i].n == 0 || memcmp(a->series[i].data, b->series[i].data,
                                               (size_t)a->series[i].n * sizeof(double)) == 0);
    return same;
}

/* Reads the run and checks that it has these n keys, in this order, each as it was made. */
static void expect_records(const uint64_t *keys, const int64_t *cells, int64_t n)
{
    sb_record *records = NULL;
    int64_t n_read = -1;
    sb_err err = {0};
    EXPECT_MSG(sb_results_read(run, &records, &n_read, &err) == SB_OK, "%s", err.msg);
    EXPECT_MSG(n_read == n, "%" PRId64 " records; expected %" PRId64, n_read, n);
    for (int64_t i = 0; i < n && i < n_read; i++) {
        sb_record wanted;
        fill(&wanted, keys[i], cells[i]);
        EXPECT_MSG(same(&records[i], &wanted), "record %" PRId64, i);
        sb_record_free(&wanted);
    }
    sb_records_free(records, n_read);
}

/* Lines of results.csv that begin a record: those of the records here start with a digit. */
static int64_t csv_records(void)
{
    char *text = NULL;
    int64_t n = 0;
    EXPECT(sb_fs_read(at("results.csv"), &text, NULL) == SB_OK && text);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        n += *line >= '0' && *line <= '9';
    }
    sb_free(text);
    return n;
}

static void test_round_trip(void)
{
    TEST("a record comes back as it was");
    const uint64_t keys[] = {7, UINT64_MAX, 0};
    const int64_t cells[] = {0, 1, 2};
    clear();
    sb_run_dir *dir = open_run();
    REQUIRE(dir != NULL);
    for (int i = 2; i >= 0; i--) {
        EXPECT(!sb_run_dir_has(dir, keys[i]));
        EXPECT(append(dir, keys[i], cells[i], NULL) == SB_OK);
        EXPECT(sb_run_dir_has(dir, keys[i]));
    }
    EXPECT(!there("results.h5") && csv_records() == 3);
    expect_records(keys, cells, 3);
    EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    EXPECT(there("results.h5") && csv_records() == 3);
    expect_records(keys, cells, 3);
    sb_run_dir_close(dir);

    TEST("an empty record, a long text");
    sb_record r, *back = NULL;
    int64_t n = 0;
    char *text = sb_alloc(200001, 1);
    memset(text, 'x', 200000);
    clear();
    dir = open_run();
    sb_record_init(&r);
    EXPECT(isnan(r.rel_l2) && r.status == NULL && r.samples == 0);
    (void)sb_record_set(&r.reason, text, NULL);
    (void)sb_record_set(&r.config, text, NULL);
    (void)sb_record_set(&r.provenance, text, NULL);
    EXPECT(sb_run_dir_append(dir, &r, NULL) == SB_OK);
    EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    sb_run_dir_close(dir);
    EXPECT(sb_results_read(run, &back, &n, NULL) == SB_OK && n == 1);
    EXPECT(n == 1 && same(&r, &back[0]) && back[0].status != NULL);
    sb_records_free(back, n);
    sb_record_free(&r);
    sb_free(text);
}

static void test_csv(void)
{
    TEST("CSV");
    sb_record r;
    char *line = NULL, *header = NULL;
    sb_record_init(&r);
    r.cell = 12;
    (void)sb_record_set(&r.status, "failed", NULL);
    (void)sb_record_set(&r.reason, "said \"no\", twice", NULL);
    (void)sb_record_set(&r.capture, "a\nb", NULL);
    (void)sb_record_set(&r.params, "plain text; k=1", NULL);
    r.layer = -3;
    r.rel_l2 = 0.1;
    r.flops_dense = 12345678901.0;
    r.cosine_min = -INFINITY;
    EXPECT(sb_csv_line(&r, &line, NULL) == SB_OK);
    EXPECT_MSG(strcmp(line,
                      "12,failed,\"said \"\"no\"\", twice\",\"a\nb\",,-3,0,0,0,0,,,,0,,,plain "
                      "text; k=1,0,,,,1.23456789e+10,,,,0.1,,,,,-inf,,,,,,,,,,0,,,,,,,\n") == 0,
               "%s", line);
    EXPECT(sb_csv_line(NULL, &header, NULL) == SB_OK);
    EXPECT(strncmp(header, "cell,status,reason,capture,model,layer,tokens,", 46) == 0);
    EXPECT(strstr(header, ",match_target,match_residual\n") != NULL);
    sb_free(header);
    sb_free(line);
    sb_record_free(&r);
}

static sb_status try_open(const char *path, const char *text, bool fresh, const char *says)
{
    sb_err err = {0};
    sb_run_dir *dir = NULL;
    sb_status st = sb_run_dir_open(path, text, fresh, &dir, &err);
    EXPECT_MSG(!says || strstr(err.msg, says), "%s", err.msg);
    EXPECT((st == SB_OK) == (dir != NULL));
    sb_run_dir_close(dir);
    return st;
}

static void test_open(void)
{
    TEST("reopening");
    clear();
    sb_run_dir *dir = open_run();
    EXPECT(append(dir, 5, 0, NULL) == SB_OK);
    EXPECT(try_open(run, config, false, "in use") == SB_IO);
    EXPECT(try_open(run, config, true, "in use") == SB_IO);
    sb_run_dir_close(dir);
    EXPECT(try_open(run, "name: other\n", false, "--fresh") == SB_USAGE);
    dir = open_run();
    EXPECT(sb_run_dir_has(dir, 5) && !sb_run_dir_has(dir, 6));
    EXPECT(append(dir, 6, 1, NULL) == SB_OK);
    EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    sb_run_dir_close(dir);
    dir = open_run();
    EXPECT(sb_run_dir_has(dir, 5) && sb_run_dir_has(dir, 6));
    sb_run_dir_close(dir);

    TEST("a partial last line of the CSV is healed");
    struct stat info;
    REQUIRE(stat(at("results.csv"), &info) == 0);
    EXPECT(truncate(at("results.csv"), info.st_size - 20) == 0);
    sb_run_dir_close(open_run());
    struct stat healed;
    EXPECT(stat(at("results.csv"), &healed) == 0 && healed.st_size == info.st_size);

    TEST("--fresh removes what is ours and nothing else");
    EXPECT(mkdir(at("plots"), 0777) == 0 && sb_fs_write(at("plots/a.svg"), "x", 1, NULL) == SB_OK);
    EXPECT(sb_fs_write(at("notes.txt"), "mine", 4, NULL) == SB_OK);
    EXPECT(try_open(run, "name: other\n", true, NULL) == SB_OK);
    EXPECT(there("notes.txt") && !there("plots") && !there("results.h5"));
    EXPECT(try_open(run, config, false, "--fresh") == SB_USAGE);

    TEST("a directory of someone else is left alone");
    clear();
    EXPECT(sb_fs_make_dirs(run, NULL) == SB_OK);
    EXPECT(sb_fs_write(at("config.yaml"), "mine", 4, NULL) == SB_OK);
    EXPECT(try_open(run, config, false, "not of a run") == SB_USAGE);
    EXPECT(try_open(run, config, true, "not of a run") == SB_USAGE);
    EXPECT(there("config.yaml") && !there(".lock"));

    TEST("a file in place of the directory");
    clear();
    EXPECT(sb_fs_write(run, "x", 1, NULL) == SB_OK);
    EXPECT(try_open(run, config, false, "Not a directory") != SB_OK);
    EXPECT(try_open(run, config, false, run) == SB_IO);
    EXPECT(try_open("/proc/none/x", config, false, "/proc/none") == SB_IO);
    EXPECT(try_open("", config, false, NULL) == SB_USAGE);
}

static void test_replace_and_finish(void)
{
    TEST("a later record replaces an earlier one");
    clear();
    sb_run_dir *dir = open_run();
    sb_record r, *records = NULL;
    int64_t n = 0;
    for (int turn = 0; turn < 3; turn++) {
        fill(&r, 9, 0);
        r.rel_l2 = turn;
        EXPECT(sb_run_dir_append(dir, &r, NULL) == SB_OK);
        sb_record_free(&r);
        if (turn < 2)
            EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
        EXPECT(sb_results_read(run, &records, &n, NULL) == SB_OK && n == 1);
        EXPECT(n == 1 && records[0].rel_l2 == turn);
        sb_records_free(records, n);
    }

    TEST("finish drops what is no longer asked for, and renumbers");
    for (uint64_t key = 1; key <= 6; key++)
        EXPECT(append(dir, key, (int64_t)key, NULL) == SB_OK);
    const uint64_t keys[] = {6, 100, 2, 4};
    const uint64_t kept[] = {6, 2, 4};
    const int64_t cells[] = {0, 2, 3};
    EXPECT(sb_run_dir_finish(dir, keys, 4, NULL) == SB_OK);
    EXPECT(sb_run_dir_has(dir, 6) && !sb_run_dir_has(dir, 9) && !sb_run_dir_has(dir, 1));
    expect_records(kept, cells, 3);
    EXPECT(csv_records() == 3);
    const uint64_t turned[] = {4, 6, 2};
    const int64_t first[] = {0, 1, 2};
    EXPECT(sb_run_dir_finish(dir, turned, 3, NULL) == SB_OK);
    expect_records(turned, first, 3);
    sb_run_dir_close(dir);

    TEST("many records fold by and by");
    clear();
    dir = open_run();
    uint64_t many[300];
    int64_t numbers[300];
    for (int64_t i = 0; i < 300; i++) {
        many[i] = (uint64_t)(i * 7919 % 300) + 1000;
        numbers[i] = i;
        EXPECT(append(dir, many[i], i, NULL) == SB_OK);
    }
    EXPECT(there("results.h5"));
    expect_records(many, numbers, 300);
    sb_run_dir_close(dir);
    dir = open_run();
    expect_records(many, numbers, 300);
    EXPECT(sb_run_dir_finish(dir, many, 300, NULL) == SB_OK);
    expect_records(many, numbers, 300);
    EXPECT(csv_records() == 300);
    sb_run_dir_close(dir);
}

/* Runs in a child: HDF5 1.10 itself leaks when a checksum fails. */
static void spoil_store(void)
{
    sb_record *records = NULL;
    struct stat info = {0};
    int64_t n = 0, n_refused = 0;
    int fd = open(at("results.h5"), O_RDWR);
    REQUIRE(fd >= 0 && fstat(fd, &info) == 0);
    for (int64_t i = 0; i < info.st_size; i += 97) {
        char byte = 0, other;
        EXPECT(pread(fd, &byte, 1, i) == 1);
        other = (char)(byte ^ 0x20);
        EXPECT(pwrite(fd, &other, 1, i) == 1);
        sb_status st = sb_results_read(run, &records, &n, NULL);
        EXPECT(st == SB_OK || st == SB_BAD_DATA);
        n_refused += st == SB_BAD_DATA;
        sb_records_free(records, n);
        EXPECT(pwrite(fd, &byte, 1, i) == 1);
    }
    (void)close(fd);
    EXPECT_MSG(n_refused > info.st_size / 97 / 4, "%" PRId64 " refused", n_refused);
}

static void cut_store(void)
{
    sb_record *records = NULL;
    struct stat info = {0};
    int64_t n = 0;
    REQUIRE(stat(at("results.h5"), &info) == 0);
    for (int64_t cut = info.st_size - 1; cut >= 0; cut -= cut < 300 ? 7 : 499) {
        EXPECT(truncate(at("results.h5"), cut) == 0);
        EXPECT(sb_results_read(run, &records, &n, NULL) == SB_BAD_DATA && n == 0);
        if (cut % 3 == 0)
            EXPECT(try_open(run, config, false, "results.h5") == SB_BAD_DATA);
    }
}

static void test_damage(void)
{
    TEST("a damaged record is computed again");
    clear();
    sb_run_dir *dir = open_run();
    for (uint64_t key = 1; key <= 3; key++)
        EXPECT(append(dir, key, (int64_t)key, NULL) == SB_OK);
    sb_run_dir_close(dir);
    EXPECT(truncate(at(".cells/0000000000000001.h5"), 1000) == 0);
    EXPECT(sb_fs_write(at(".cells/0000000000000002.h5"), "text", 4, NULL) == SB_OK);
    EXPECT(sb_fs_copy(at(".cells/0000000000000003.h5"), folder_file("cell"), NULL) == SB_OK);
    EXPECT(rename(folder_file("cell"), at(".cells/0000000000000004.h5")) == 0);
    dir = open_run();
    EXPECT(csv_records() == 1 && !sb_run_dir_has(dir, 4));
    EXPECT(unlink(at(".cells/0000000000000004.h5")) == 0);
    EXPECT(!sb_run_dir_has(dir, 1) && !sb_run_dir_has(dir, 2) && sb_run_dir_has(dir, 3));
    for (uint64_t key = 1; key <= 2; key++)
        EXPECT(append(dir, key, (int64_t)key, NULL) == SB_OK);
    const uint64_t keys[] = {1, 2, 3};
    const int64_t cells[] = {1, 2, 3};
    EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    sb_run_dir_close(dir);
    expect_records(keys, cells, 3);

    TEST("a damaged results.h5 is bad data");
    pid_t child = fork();
    if (child == 0) {
        spoil_store();
        _exit(sb_case_failed_);
    }
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    expect_records(keys, cells, 3);
    cut_store();
    clear();
    sb_record *records = NULL;
    int64_t n = 0;
    EXPECT(sb_results_read(run, &records, &n, NULL) == SB_BAD_DATA);
}

/* Appends without end, telling each finished key through a pipe. */
static void append_forever(int tell, uint64_t first)
{
    sb_run_dir *dir = NULL;
    if (sb_run_dir_open(run, config, false, &dir, NULL) != SB_OK)
        _exit(1);
    for (uint64_t key = first;; key++) {
        if (append(dir, key, (int64_t)key, NULL) != SB_OK)
            _exit(2);
        if (write(tell, &key, sizeof key) != sizeof key)
            _exit(3);
        if (key % 40 == 39 && sb_run_dir_finish(dir, NULL, 0, NULL) != SB_OK)
            _exit(4);
    }
}

static void test_kill(void)
{
    TEST("a kill loses no appended record");
    clear();
    uint64_t next = 0;
    for (int turn = 0; turn < 20; turn++) {
        int ends[2];
        REQUIRE(pipe(ends) == 0);
        pid_t child = fork();
        if (child == 0)
            append_forever(ends[1], next);
        (void)close(ends[1]);
        (void)usleep((useconds_t)(30000 + turn * 17377 % 190000));
        EXPECT(kill(child, SIGKILL) == 0);
        int status = 0;
        EXPECT(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        for (uint64_t key; read(ends[0], &key, sizeof key) == sizeof key;)
            next = key + 1;
        (void)close(ends[0]);
        sb_run_dir *dir = open_run();
        REQUIRE(dir != NULL);
        for (uint64_t key = 0; key < next; key++)
            EXPECT_MSG(sb_run_dir_has(dir, key), "lost %" PRIu64 " in turn %d", key, turn);
        int64_t n_rows = csv_records();
        EXPECT(n_rows == (int64_t)next || n_rows == (int64_t)next + 1);
        sb_run_dir_close(dir);
    }
    EXPECT(next > 20);
    sb_record *records = NULL;
    int64_t n = 0;
    EXPECT(sb_results_read(run, &records, &n, NULL) == SB_OK && n >= (int64_t)next);
    for (int64_t i = 0; i < n; i++) {
        sb_record wanted;
        fill(&wanted, (uint64_t)i, i);
        EXPECT(same(&records[i], &wanted));
        sb_record_free(&wanted);
    }
    sb_records_free(records, n);
}

/* In a child, so that the limit ends with it: exit 0 when appending ends in SB_IO with a reason. */
static void append_within(rlim_t limit, bool finish)
{
    struct rlimit most = {limit, limit};
    sb_err err = {0};
    sb_run_dir *dir = open_run();
    sb_status st = SB_OK;
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)setrlimit(RLIMIT_FSIZE, &most);
    for (uint64_t key = 100; key < 104 && st == SB_OK; key++)
        st = append(dir, key, (int64_t)key, &err);
    if (st == SB_OK && finish)
        st = sb_run_dir_finish(dir, NULL, 0, &err);
    sb_run_dir_close(dir);
    (void)H5close();
    bool said = strstr(err.msg, run) && strstr(err.msg, "File too large");
    _exit(st == SB_OK ? 10 : st == SB_IO && said ? 0 : 1);
}

static void test_full_disk(void)
{
    TEST("a full disk leaves earlier records intact");
    const uint64_t keys[] = {1, 2, 3};
    const int64_t cells[] = {1, 2, 3};
    int n_failed = 0, n_passed = 0;
    for (rlim_t limit = 0; limit < 80000; limit += 4999) {
        clear();
        sb_run_dir *dir = open_run();
        for (int i = 0; i < 3; i++)
            EXPECT(append(dir, keys[i], cells[i], NULL) == SB_OK);
        EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
        sb_run_dir_close(dir);
        pid_t child = fork();
        if (child == 0)
            append_within(limit, true);
        int status = -1;
        EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status));
        EXPECT_MSG(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 10, "status %d", status);
        n_failed += status == 0;
        n_passed += status != 0;
        sb_record *records = NULL;
        int64_t n = 0;
        EXPECT(sb_results_read(run, &records, &n, NULL) == SB_OK && n >= 3);
        for (int64_t i = 0; i < 3 && i < n; i++) {
            sb_record wanted;
            fill(&wanted, keys[i], cells[i]);
            EXPECT(same(&records[i], &wanted));
            sb_record_free(&wanted);
        }
        sb_records_free(records, n);
        dir = open_run();
        EXPECT(dir && csv_records() == n);
        sb_run_dir_close(dir);
    }
    EXPECT(n_failed > 3 && n_passed > 0);
}

static sb_status whole_run(sb_err *err)
{
    sb_status st = SB_OK;
    sb_run_dir *dir = NULL;
    sb_record r = {0}, *records = NULL;
    int64_t n = 0;
    const uint64_t keys[] = {1, 3};
    sb_record_init(&r);
    SB_TRY(sb_run_dir_open(run, config, false, &dir, err));
    for (uint64_t key = 1; key <= 2; key++) {
        r.key = key;
        SB_TRY(sb_record_set(&r.status, "ok", err));
        SB_TRY(sb_record_series(&r, SB_SERIES_BUDGET, (const double[]){1, 2}, 2, err));
        SB_TRY(sb_record_set(&r.provenance, "p", err));
        SB_TRY(sb_run_dir_append(dir, &r, err));
    }
    SB_TRY(sb_results_read(run, &records, &n, err));
    sb_records_free(records, n);
    records = NULL;
    n = 0;
    SB_TRY(sb_run_dir_finish(dir, keys, 2, err));
    SB_TRY(sb_results_read(run, &records, &n, err));
out:
    sb_records_free(records, n);
    sb_record_free(&r);
    sb_run_dir_close(dir);
    return st;
}

static void test_memory(void)
{
    TEST("every allocation may fail");
    int64_t before = sb_mem_live(), n = 0;
    sb_status st = SB_NO_MEMORY;
    while (st == SB_NO_MEMORY && n < 5000) {
        sb_err err = {0};
        clear();
        sb_mem_fail_at(++n);
        st = whole_run(&err);
        sb_mem_fail_at(0);
        EXPECT_MSG(st == SB_OK || err.status == SB_NO_MEMORY, "%" PRId64 ": %s", n, err.msg);
        EXPECT_MSG(sb_mem_live() == before, "%" PRId64 " leaks", n);
    }
    EXPECT_MSG(st == SB_OK && n > 100, "%" PRId64 " %d", n, st);
}

int main(void)
{
    const char *place = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/stembench-XXXXXX", place ? place : "/tmp");
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(run, sizeof run, "%s/run", folder);
    sb_h5_quiet();
    test_round_trip();
    test_csv();
    test_open();
    test_replace_and_finish();
    test_damage();
    test_kill();
    test_full_disk();
    test_memory();
    TEST("nothing is left");
    EXPECT(sb_mem_live() == 0);
    EXPECT(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0);
    EXPECT(sb_fs_remove(folder, NULL) == SB_OK);
    (void)H5close();
    return sb_tests_done();
}
