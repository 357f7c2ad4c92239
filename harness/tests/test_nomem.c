/* Every command of the program with each of its allocations failing in turn: exit 5 with one line
 * that says so, nothing left allocated, and what was begun is continued. Tests of the parts do the
 * same with plans, matching, records, plots and comparisons. */

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "harness/cli.h"
#include "harness/tests/folder_rig.h"

enum { MAX_ARGS = 16 };

/* Runs the program in this process; its standard output goes nowhere, its standard error to
 * said[]. */
static char said[2048];

static int program(const char *const *args)
{
    static char name[] = "stembench";
    char *argv[MAX_ARGS + 1] = {name};
    int argc = 1;
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)(size_t)args[argc - 1]; /* as main's, which are not const */
    (void)fflush(stdout);
    (void)fflush(stderr);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    int nowhere = open("/dev/null", O_WRONLY), log = open("said.txt", O_RDWR | O_CREAT, 0600);
    (void)ftruncate(log, 0);
    (void)dup2(nowhere, STDOUT_FILENO);
    (void)dup2(log, STDERR_FILENO);
    int code = sb_main(argc, argv);
    (void)fflush(stdout);
    (void)fflush(stderr);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(err, STDERR_FILENO);
    ssize_t n = pread(log, said, sizeof said - 1, 0);
    said[n < 0 ? 0 : n] = '\0';
    (void)close(nowhere);
    (void)close(log);
    (void)close(out);
    (void)close(err);
    return code;
}

static bool one_line_of_memory(void)
{
    const char *end = strchr(said, '\n');
    return end && end[1] == '\0' && strstr(said, "memory");
}

/* Runs a command with allocation n failing, be it in a child process. False once there is no
 * allocation n. */
static bool fails_at(const char *const *args, int64_t n, int *code)
{
    int64_t live = sb_mem_live();
    sb_mem_fail_at(n);
    *code = program(args);
    bool happened = sb_mem_fail_at(0) == 0 || (*code == 5 && one_line_of_memory());
    EXPECT_MSG(sb_mem_live() == live, "%s: allocation %lld leaks", args[0], (long long)n);
    EXPECT_MSG(happened || *code == 0, "%s: %s", args[0], said);
    return happened;
}

static void expect_all_fail(const char *const *args)
{
    int64_t n = 1;
    int code;
    TEST(args[0]);
    for (; fails_at(args, n, &code); n++)
        EXPECT_MSG(code == 5 && one_line_of_memory(), "allocation %lld: exit %d: %s", (long long)n,
                   code, said);
    EXPECT(n > 1);
}

static void write_file(const char *name, const char *text)
{
    EXPECT(sb_fs_write(name, text, strlen(text), NULL) == SB_OK);
}

static char *read_file(const char *name)
{
    char *text = NULL;
    EXPECT(sb_fs_read(name, &text, NULL) == SB_OK);
    return text;
}

/* A cell that does not fit into memory is a row that says so, and the run goes on; any other
 * failure ends it, and it is continued. In the end the rows are `calm`, or one says so. */
static void expect_run(const char *const *args, const char *calm)
{
    int64_t n = 1, n_ended = 0, n_rows = 0;
    int code;
    TEST(args[1]);
    for (; sb_fs_remove("run", NULL) == SB_OK && fails_at(args, n, &code); n++) {
        EXPECT_MSG(code == 0 || (code == 5 && one_line_of_memory()), "allocation %lld: exit %d: %s",
                   (long long)n, code, said);
        n_ended += code == 5;
        if (code == 5)
            EXPECT_MSG(program(args) == 0, "allocation %lld, again: %s", (long long)n, said);
        char *rows = read_file("run/results.csv");
        bool row = rows && strstr(rows, "out of memory");
        EXPECT_MSG(row || (rows && strcmp(rows, calm) == 0), "allocation %lld: other rows",
                   (long long)n);
        n_rows += row;
        sb_free(rows);
    }
    EXPECT_MSG(n_ended > 20 && n_rows > 10, "%lld ended, %lld rows", (long long)n_ended,
               (long long)n_rows);
}

/* What only timing does. */
static void expect_timed(const char *const *args)
{
    int64_t n = 1;
    int code;
    TEST(args[1]);
    for (; sb_fs_remove("run", NULL) == SB_OK && fails_at(args, n, &code); n++)
        EXPECT_MSG(code == 0 || (code == 5 && one_line_of_memory()), "allocation %lld: exit %d: %s",
                   (long long)n, code, said);
    EXPECT(n > 50);
}

static const char untimed[] = "name: untimed\n"
                              "data: small.h5\n"
                              "layers: [0]\n"
                              "block: 16\n"
                              "methods:\n"
                              "  - stem: {k_start: 2, sinks: 1, window: 1}\n"
                              "  - vecattention: {threshold: 0.5}\n"
                              "match: {to: stem, by: flops}\n"
                              "measure: {latency: false}\n";
static const char timed[] = "name: timed\n"
                            "data: small.h5\n"
                            "layers: [0]\n"
                            "methods:\n"
                            "  - streaming\n"
                            "measure:\n"
                            "  fidelity: false\n"
                            "  latency: {warmup: 0, min_samples: 1, min_time: 0, timeout: 0.01}\n";
static const char gate[] = "gates:\n"
                           "  - hash: equal\n"
                           "  - {metric: rel_l2, max_increase: 0}\n";

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

int main(void)
{
    if (!folder_open() || chdir(folder) != 0)
        return 1;
    write_file("untimed.yaml", untimed);
    write_file("timed.yaml", timed);
    write_file("gate.yaml", gate);
    expect_all_fail(ARGS("synth", "--out", "small.h5", "--tokens", "96", "--heads", "2",
                         "--kv-heads", "1", "--dim", "16", "--layers", "1", "--needles", "1"));
    expect_all_fail(ARGS("check", "timed.yaml", "--set", "streaming.window=[16, 32]"));
    expect_all_fail(ARGS("check", "timed.yaml", "--shards", "3"));
    expect_all_fail(ARGS("check", "timed.yaml", "--ranks", "3"));
    expect_all_fail(ARGS("inspect", "small.h5"));
    expect_all_fail(ARGS("inspect", "small.h5", "--layer", "0", "--tokens", "50", "--out", "raw"));
    expect_all_fail(ARGS("mask", "small.h5", "--layer", "0", "--method", "stem", "--set",
                         "k_start=2", "--out", "mask.h5"));
    expect_all_fail(ARGS("mask", "small.h5", "--layer", "0", "--method", "vecattention", "--set",
                         "form=tokens", "--out", "mask.h5"));
    EXPECT(program(ARGS("run", "untimed.yaml", "--out", "calm", "--quiet", "--threads", "1")) == 0);
    expect_all_fail(ARGS("compare", "calm", "calm", "--gate", "gate.yaml"));
    expect_all_fail(ARGS("compare", "calm", "calm", "--format", "junit", "--where", "layer=0"));
    char *calm = read_file("calm/results.csv");
    expect_run(ARGS("run", "untimed.yaml", "--out", "run", "--quiet", "--threads", "1"), calm);
    sb_free(calm);
    expect_timed(ARGS("run", "timed.yaml", "--out", "run", "--quiet", "--threads", "1"));
    EXPECT(program(ARGS("run", "timed.yaml", "--shard", "1/1", "--out", "shards", "--quiet")) == 0);
    /* One without cells. */
    expect_all_fail(ARGS("run", "timed.yaml", "--shard", "3/3", "--out", "shards", "--quiet"));
    expect_all_fail(ARGS("merge", "shards"));
    EXPECT(chdir("/") == 0);
    return rig_close();
}
