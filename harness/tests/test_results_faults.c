/* A run directory under damage, kills, full disks and failing allocations. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "harness/tests/results_rig.h"

/* Columns come as they were, or not at all. */
static bool columns_hold(const sb_record *wanted, int64_t n_wanted)
{
    sb_record *records = NULL;
    int64_t n = 0;
    sb_status st = sb_results_columns(run, &records, &n, NULL);
    bool hold = st == SB_BAD_DATA || (st == SB_OK && n == n_wanted);
    for (int64_t i = 0; i < n && hold; i++)
        hold = same(&records[i], &wanted[i]);
    sb_records_free(records, n);
    return hold;
}

static void spoil_store(void)
{
    sb_record *columns = NULL;
    int64_t n_columns = 0;
    EXPECT(sb_results_columns(run, &columns, &n_columns, NULL) == SB_OK && n_columns == 3);
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
        EXPECT_MSG(columns_hold(columns, n_columns), "byte %" PRId64, i);
        EXPECT(pwrite(fd, &byte, 1, i) == 1);
    }
    (void)close(fd);
    sb_records_free(columns, n_columns);
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

/* Reads or writes the rows of results.h5, as the library itself would: their bytes. */
static size_t move_rows(bool write, unsigned char *bytes, size_t room)
{
    hid_t file = H5Fopen(at("results.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t rows = H5Dopen2(file, "rows", H5P_DEFAULT), space = H5Dget_space(rows);
    size_t n = (size_t)H5Sget_simple_extent_npoints(space);
    herr_t moved = n > room ? -1
                   : write  ? H5Dwrite(rows, H5T_NATIVE_UINT8, space, space, H5P_DEFAULT, bytes)
                            : H5Dread(rows, H5T_NATIVE_UINT8, space, space, H5P_DEFAULT, bytes);
    EXPECT(moved >= 0);
    EXPECT(H5Sclose(space) >= 0 && H5Dclose(rows) >= 0 && H5Fclose(file) >= 0);
    return moved >= 0 ? n : 0;
}

static sb_status columns_of(unsigned char *bytes, size_t n)
{
    sb_record *records = NULL;
    int64_t n_records = 0;
    EXPECT(move_rows(true, bytes, n) == n);
    sb_status st = sb_results_columns(run, &records, &n_records, NULL);
    sb_records_free(records, n_records);
    return st;
}

static void test_hostile_rows(void)
{
    TEST("rows that do not end where they say");
    unsigned char bytes[8192], bad[8192];
    clear();
    sb_run_dir *dir = open_run();
    EXPECT(append(dir, 1, 0, NULL) == SB_OK);
    EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    sb_run_dir_close(dir);
    size_t n = move_rows(false, bytes, sizeof bytes);
    REQUIRE(n > 0);
    EXPECT(columns_of(bytes, n) == SB_OK);
    for (size_t i = 0; i < n; i++) {
        memcpy(bad, bytes, n);
        bad[i] = bytes[i] == 0 ? 'x' : 0;
        sb_status st = columns_of(bad, n);
        EXPECT_MSG(st == SB_OK || st == SB_BAD_DATA, "byte %zu: %d", i, st);
        EXPECT_MSG(i >= 4 || st == SB_BAD_DATA, "byte %zu of the length", i);
    }
    memset(bad, 'x', n);
    memcpy(bad, bytes, 4);
    EXPECT(columns_of(bad, n) == SB_BAD_DATA);
    memset(bad, 0, n);
    EXPECT(columns_of(bad, n) == SB_BAD_DATA);
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
    if (!rig_open())
        return 1;
    test_damage();
    test_hostile_rows();
    test_kill();
    test_full_disk();
    test_memory();
    return rig_close();
}
