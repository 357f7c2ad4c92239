/* A run directory as it should be: records, CSV, reopening, replacing, folding. */

#include <sys/stat.h>

#include "harness/tests/results_rig.h"

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
                      "text; k=1,0,,,,1.23456789e+10,,,,0.1,,,,,-inf,,,,,,,,,,0,,,,,,,,,,,0,"
                      ",,,,,,,,,,,,,0\n") == 0,
               "%s", line);
    EXPECT(sb_csv_line(NULL, &header, NULL) == SB_OK);
    EXPECT(strncmp(header, "cell,status,reason,capture,model,layer,tokens,", 46) == 0);
    EXPECT(strstr(header,
                  ",match_target,match_residual,peak_gflops,own_dense_ms,cudnn_ms,throttled,"
                  "published_pair_density,task,score,logit_kl,logit_mse,top1,ppl,text,"
                  "layer_set,row_range,setting,head_set,exact,node\n") != NULL);
    sb_free(header);
    sb_free(line);
    sb_record_free(&r);
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
        if (turn < 2) {
            EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
            expect_rows();
        }
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
    expect_rows();
    EXPECT(csv_records() == 3);
    const uint64_t turned[] = {4, 6, 2};
    const int64_t first[] = {0, 1, 2};
    EXPECT(sb_run_dir_finish(dir, turned, 3, NULL) == SB_OK);
    expect_records(turned, first, 3);
    expect_rows();
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
    expect_rows();
    sb_run_dir_close(dir);
    dir = open_run();
    expect_records(many, numbers, 300);
    EXPECT(sb_run_dir_finish(dir, many, 300, NULL) == SB_OK);
    expect_records(many, numbers, 300);
    EXPECT(csv_records() == 300);
    sb_run_dir_close(dir);
}

static void set_attribute(const char *name, int64_t value)
{
    hid_t file = H5Fopen(at("results.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t rows = H5Dopen2(file, "rows", H5P_DEFAULT), attr = H5Aopen(rows, name, H5P_DEFAULT);
    EXPECT(H5Awrite(attr, H5T_NATIVE_INT64, &value) >= 0);
    EXPECT(H5Aclose(attr) >= 0 && H5Dclose(rows) >= 0 && H5Fclose(file) >= 0);
}

static bool has_rows(void)
{
    hid_t file = -1;
    EXPECT(sb_store_open(at("results.h5"), &file, NULL) == SB_OK);
    bool usable = sb_rows_usable(file);
    sb_h5_close(file);
    return usable;
}

static void make_three(void)
{
    clear();
    sb_run_dir *dir = open_run();
    for (uint64_t key = 1; key <= 3; key++)
        EXPECT(append(dir, key, (int64_t)key, NULL) == SB_OK);
    EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    sb_run_dir_close(dir);
    EXPECT(has_rows());
}

/* Of a results.h5 whose rows are of no use, all is read, and more is added. */
static void expect_groups_read(void)
{
    const uint64_t keys[] = {1, 2, 3, 4};
    const int64_t cells[] = {1, 2, 3, 4};
    EXPECT(!has_rows());
    sb_run_dir *dir = open_run();
    EXPECT(csv_records() == 3 && sb_run_dir_has(dir, 2));
    EXPECT(append(dir, 4, 4, NULL) == SB_OK);
    EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    expect_records(keys, cells, 4);
    expect_rows();
    sb_run_dir_close(dir);
}

static void test_rows(void)
{
    TEST("without rows, or with those of another layout or of other records");
    make_three();
    EXPECT(rename(without_rows(), at("results.h5")) == 0);
    expect_groups_read();
    make_three();
    set_attribute("columns", 1);
    expect_groups_read();
    make_three();
    set_attribute("n", 4);
    expect_groups_read();

    TEST("rows longer than what is read at once");
    sb_record r;
    clear();
    sb_run_dir *dir = open_run();
    char *text = sb_alloc(300001, 1);
    for (uint64_t key = 1; key <= 6; key++) {
        memset(text, 'a' + (int)key, 300000 - 50000 * (key % 3));
        fill(&r, key, (int64_t)key);
        (void)sb_record_set(&r.reason, text, NULL);
        EXPECT(sb_run_dir_append(dir, &r, NULL) == SB_OK);
        sb_record_free(&r);
    }
    EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    expect_rows();
    sb_run_dir_close(dir);
    sb_free(text);

    TEST("a finished run that is finished again stays as it is");
    struct stat before, after;
    const uint64_t keys[] = {1, 2, 3}, numbered[] = {9, 1, 2, 3};
    make_three();
    dir = open_run();
    EXPECT(stat(at("results.h5"), &before) == 0);
    EXPECT(sb_run_dir_finish(dir, numbered, 4, NULL) == SB_OK);
    EXPECT(stat(at("results.h5"), &after) == 0 && after.st_ino == before.st_ino);
    EXPECT(sb_run_dir_finish(dir, keys, 3, NULL) == SB_OK); /* other numbers */
    EXPECT(stat(at("results.h5"), &after) == 0 && after.st_ino != before.st_ino);
    const int64_t cells[] = {0, 1, 2};
    char *csv = NULL;
    expect_records(keys, cells, 3);
    expect_rows();
    EXPECT(sb_fs_read(at("results.csv"), &csv, NULL) == SB_OK && strstr(csv, "\n0,"));
    sb_free(csv);
    sb_run_dir_close(dir);
}

int main(void)
{
    if (!rig_open())
        return 1;
    test_round_trip();
    test_csv();
    test_open();
    test_replace_and_finish();
    test_rows();
    return rig_close();
}
