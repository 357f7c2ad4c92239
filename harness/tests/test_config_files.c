/* What a config finds on disk: itself, captures and CSV tables. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/config.h"
#include "harness/mem.h"
#include "harness/tests/check.h"

enum { MIB = 1 << 20 };

static sb_config cfg;
static sb_err err;

static void write_file(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "w");
    REQUIRE(file);
    EXPECT(fwrite(bytes, 1, n, file) == n);
    EXPECT(fclose(file) == 0);
}

static sb_status load(const char *path)
{
    sb_config_free(&cfg);
    err = (sb_err){0};
    return sb_config_load(path, NULL, 0, &cfg, &err);
}

static void test_load(void)
{
    static char large[MIB + 1];
    TEST("a config on disk");
    write_file("sub/quick.yaml", "data: d\nmethods: [dense]\n", 25);
    REQUIRE(load("sub/quick.yaml") == SB_OK);
    EXPECT(strcmp(cfg.path, "sub/quick.yaml") == 0 && strcmp(cfg.name, "quick") == 0);
    EXPECT(strcmp(cfg.text, "data: d\nmethods: [dense]\n") == 0);

    TEST("configs that cannot be read");
    EXPECT(load("gone.yaml") == SB_USAGE);
    EXPECT(strcmp(err.msg, "gone.yaml: No such file or directory; expected a readable file") == 0);
    EXPECT(load("sub") == SB_USAGE);
    EXPECT(strcmp(err.msg, "sub: not a regular file; expected a readable file") == 0);
    memset(large, '#', sizeof large);
    write_file("large.yaml", large, sizeof large);
    EXPECT(load("large.yaml") == SB_USAGE);
    EXPECT(strcmp(err.msg, "large.yaml: larger than 1 MiB; expected less") == 0);
    err = (sb_err){0};
    EXPECT(sb_config_parse(large, sizeof large, "c", NULL, 0, &cfg, &err) == SB_USAGE);
    EXPECT(strcmp(err.msg, "c: larger than 1 MiB; expected less") == 0);
    write_file("large.yaml", large, sizeof large - 1);
    EXPECT(load("large.yaml") == SB_USAGE);
    EXPECT_MSG(strcmp(err.msg, "large.yaml:2:1: nothing here; expected a value") == 0, "%s",
               err.msg);
}

static void test_captures(void)
{
    TEST("captures: the working directory first, then beside the config");
    write_file("both.h5", "", 0);
    write_file("sub/both.h5", "", 0);
    write_file("sub/beside.h5", "", 0);
    static const char text[] =
        "data: [both.h5, beside.h5, gone.h5, /gone/too.h5]\nmethods: [dense]\n";
    write_file("sub/quick.yaml", text, strlen(text));
    REQUIRE(load("sub/quick.yaml") == SB_OK);
    EXPECT(strcmp(cfg.captures[0], "both.h5") == 0);
    EXPECT(strcmp(cfg.captures[1], "sub/beside.h5") == 0);
    EXPECT(strcmp(cfg.captures[2], "gone.h5") == 0);
    EXPECT(strcmp(cfg.captures[3], "/gone/too.h5") == 0);
}

/* Load a table from a CSV file of these bytes. */
static sb_status load_csv(const char *bytes, size_t n)
{
    static const char text[] =
        "data: d\nmethods: [stem: {schedule: {shape: table, table: [t.csv, [3, 2]]}}]\n";
    write_file("sub/t.csv", bytes, n);
    write_file("sub/quick.yaml", text, strlen(text));
    return load("sub/quick.yaml");
}

static void test_csv(void)
{
    TEST("CSV tables");
    REQUIRE(load_csv("8,4\n2 1\t\r\n0.5", 13) == SB_OK);
    REQUIRE(cfg.n_variants == 2);
    const sb_variant *v = &cfg.variants[0];
    const sb_value *table = sb_value_of(v->method, v->values, "schedule.table");
    static const double expected[] = {8, 4, 2, 1, 0.5};
    EXPECT(table->n_list == 5 && memcmp(table->list, expected, sizeof expected) == 0);

    EXPECT(load_csv("1, x2", 5) == SB_USAGE);
    EXPECT_MSG(strcmp(err.msg, "sub/quick.yaml:2:51: sub/t.csv: 'x2' at byte 3; expected numbers "
                               "separated by commas or blanks") == 0,
               "%s", err.msg);
    EXPECT(load_csv("1 \0 2", 5) == SB_USAGE);
    EXPECT_MSG(strcmp(err.msg, "sub/quick.yaml:2:51: sub/t.csv: a NUL character; expected text") ==
                   0,
               "%s", err.msg);
    static char large[MIB + 1];
    memset(large, ' ', sizeof large);
    EXPECT(load_csv(large, sizeof large) == SB_USAGE);
    EXPECT(strcmp(err.msg, "sub/quick.yaml:2:51: sub/t.csv: larger than 1 MiB; expected less") ==
           0);
    EXPECT(load_csv(" \n", 2) == SB_USAGE);
    EXPECT(strncmp(err.msg, "sub/quick.yaml:2:51: schedule.table is empty; expected a list", 61) ==
           0);
    EXPECT(load_csv("1 -2", 4) == SB_USAGE);
    EXPECT(strncmp(err.msg, "sub/quick.yaml:2:51: schedule.table is -2; expected a list", 58) == 0);
}

int main(void)
{
    static const char *const files[] = {"large.yaml",    "both.h5",        "sub/both.h5",
                                        "sub/beside.h5", "sub/quick.yaml", "sub/t.csv"};
    char folder[] = "/tmp/test_config_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0 || mkdir("sub", 0700) != 0)
        return 2;
    test_load();
    test_captures();
    test_csv();
    sb_config_free(&cfg);
    TEST("nothing is left");
    EXPECT(sb_mem_live() == 0);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        EXPECT(unlink(files[i]) == 0);
    EXPECT(rmdir("sub") == 0 && rmdir(folder) == 0);
    return sb_tests_done();
}
