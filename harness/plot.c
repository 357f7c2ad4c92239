#include "harness/plot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/mem.h"
#include "harness/plot_data.h"

#ifndef SB_SCRIPTS_DIR
#define SB_SCRIPTS_DIR "scripts"
#endif

extern char **environ;

static sb_status make_dir(const char *path, sb_err *err)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return sb_fail(err, SB_IO, "%s: %s", path, strerror(errno));
    return SB_OK;
}

/* ---- gnuplot -------------------------------------------------------------------------------- */

/* The last line that is not blank: before it gnuplot puts warnings and the statement at fault. */
static const char *last_line(char *said)
{
    size_t n = strlen(said);
    while (n > 0 && strchr(" \t\r\n", said[n - 1]))
        said[--n] = '\0';
    char *newline = strrchr(said, '\n');
    return newline ? newline + 1 : said;
}

static void drain(int fd, char *buf, size_t bytes)
{
    char rest[512];
    size_t used = 0;
    for (;;) {
        bool full = used + 1 >= bytes;
        ssize_t n = full ? read(fd, rest, sizeof rest) : read(fd, buf + used, bytes - 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        used += full ? 0 : (size_t)n;
    }
    buf[used] = '\0';
}

/* gnuplot -c SCRIPT NAME FORMAT, run in plots_dir; what it says on stderr goes to said. */
static sb_status spawn_gnuplot(const char *script, const char *plots_dir, char *name, char *format,
                               char *said, size_t bytes, sb_err *err)
{
    char program[] = "gnuplot", option[] = "-c", path[PATH_MAX];
    char *argv[] = {program, option, path, name, format, NULL};
    int ends[2], code = 0;
    pid_t pid;
    posix_spawn_file_actions_t actions;

    if (!realpath(script, path))
        return sb_fail(err, SB_IO, "%s: %s; STEMBENCH_SCRIPTS names the scripts directory", script,
                       strerror(errno));
    if (pipe2(ends, O_CLOEXEC) != 0)
        return sb_fail(err, SB_IO, "pipe: %s", strerror(errno));
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addchdir_np(&actions, plots_dir);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    int failed = posix_spawnp(&pid, program, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    if (failed) {
        (void)close(ends[0]);
        return sb_fail(err, SB_UNAVAILABLE, "gnuplot: %s; plots need gnuplot 5.4 or newer",
                       strerror(failed));
    }
    drain(ends[0], said, bytes);
    (void)close(ends[0]);
    while (waitpid(pid, &code, 0) < 0)
        if (errno != EINTR)
            return sb_fail(err, SB_INTERNAL, "gnuplot: %s", strerror(errno));
    if (code != 0)
        return sb_fail(err, SB_INTERNAL, "gnuplot failed on %s: %s", name,
                       *said ? last_line(said) : "no message");
    return SB_OK;
}

/* ---- one picture ---------------------------------------------------------------------------- */

/* The data files, the picture and the script of one figure of one group. */
typedef struct paths {
    char *name, *csv, *key, *picture, *script;
} paths;

static sb_status paths_make(paths *p, const char *figure, const char *suffix, const char *plots_dir,
                            const char *format, sb_err *err)
{
    const char *scripts = getenv("STEMBENCH_SCRIPTS");
    p->name = sb_sprintf("%s%s", figure, suffix);
    p->csv = sb_sprintf("%s/data/%s%s.csv", plots_dir, figure, suffix);
    p->key = sb_sprintf("%s/data/%s%s.key.tsv", plots_dir, figure, suffix);
    p->picture = sb_sprintf("%s/%s%s.%s", plots_dir, figure, suffix, format);
    p->script = sb_sprintf("%s/plots/%s.gp", scripts ? scripts : SB_SCRIPTS_DIR, figure);
    if (!p->name || !p->csv || !p->key || !p->picture || !p->script)
        return sb_no_memory(err, "plot paths");
    return SB_OK;
}

static void paths_free(paths *p)
{
    sb_free(p->script);
    sb_free(p->picture);
    sb_free(p->key);
    sb_free(p->csv);
    sb_free(p->name);
}

/* What one call of sb_plot_records is about. */
typedef struct job {
    const sb_record *records;
    int64_t n;
    const char *run_dir, *plots_dir, *format;
    int quiet;
} job;

/* g is not looked at for a picture of the whole run. */
static sb_status write_data(const job *j, const sb_figure *figure, const sb_plot_group *g,
                            const char *suffix, sb_err *err)
{
    sb_status st = SB_OK;
    paths p = {0};
    int64_t n_rows = 0;
    SB_TRY(paths_make(&p, figure->name, suffix, j->plots_dir, j->format, err));
    /* a picture of earlier results must not outlive them */
    (void)unlink(p.picture);
    SB_TRY(figure->write ? figure->write(g, p.csv, p.key, &n_rows, err)
                         : sb_plot_write_throughput(j->records, j->n, j->run_dir, p.csv, p.key,
                                                    &n_rows, err));
    if (n_rows == 0) {
        (void)unlink(p.csv);
        (void)unlink(p.key);
        if (!j->quiet)
            printf("skipped %s: needs %s\n", p.name, figure->needs);
    }
out:
    paths_free(&p);
    return st;
}

static sb_status draw(const job *j, const sb_figure *figure, const char *suffix, sb_err *err)
{
    sb_status st = SB_OK;
    paths p = {0};
    char said[2048], format[8];
    SB_TRY(paths_make(&p, figure->name, suffix, j->plots_dir, j->format, err));
    if (access(p.csv, R_OK) != 0)
        goto out;
    (void)snprintf(format, sizeof format, "%s", j->format);
    SB_TRY(spawn_gnuplot(p.script, j->plots_dir, p.name, format, said, sizeof said, err));
    if (!j->quiet)
        printf("wrote %s\n", p.picture);
out:
    paths_free(&p);
    return st;
}

/* ---- all pictures --------------------------------------------------------------------------- */

/* "_capture_dtype_backend", or nothing where a run has one group only. */
static char *suffix_of(const sb_record *r, bool alone)
{
    if (alone)
        return sb_strdup("");
    const char *slash = r->capture ? strrchr(r->capture, '/') : NULL;
    const char *capture = slash ? slash + 1 : r->capture ? r->capture : "";
    return sb_sprintf("_%.*s_%s_%s", (int)strcspn(capture, "."), capture, r->dtype ? r->dtype : "",
                      r->backend ? r->backend : "");
}

static sb_status write_group(const job *j, const sb_record *first, const char *suffix, sb_err *err)
{
    sb_plot_group g;
    sb_status st = sb_plot_group_build(j->records, j->n, first, &g, err);
    for (int i = 0; i < SB_N_FIGURES && st == SB_OK; i++)
        if (sb_figures[i].write)
            st = write_data(j, &sb_figures[i], &g, suffix, err);
    sb_plot_group_free(&g);
    return st;
}

static sb_status draw_group(const job *j, const char *suffix, sb_err *err)
{
    sb_status st = SB_OK;
    for (int i = 0; i < SB_N_FIGURES && st == SB_OK; i++)
        if (sb_figures[i].write)
            st = draw(j, &sb_figures[i], suffix, err);
    return st;
}

static sb_status whole_run(const job *j, bool drawing, sb_err *err)
{
    sb_status st = SB_OK;
    for (int i = 0; i < SB_N_FIGURES && st == SB_OK; i++)
        if (!sb_figures[i].write)
            st = drawing ? draw(j, &sb_figures[i], "", err)
                         : write_data(j, &sb_figures[i], NULL, "", err);
    return st;
}

static sb_status each_group(const job *j, sb_err *err)
{
    int64_t n_groups = 0;
    sb_status st = SB_OK;
    char *suffix = NULL;
    for (int64_t i = 0; i < j->n; i++)
        n_groups += sb_plot_opens_group(j->records, i);
    SB_CHECK(n_groups > 0, err, SB_BAD_DATA, "%s: no finished record to plot", j->plots_dir);
    /* all data first: it serves without gnuplot too */
    for (int drawing = 0; drawing < 2; drawing++) {
        for (int64_t i = 0; i < j->n; i++) {
            if (!sb_plot_opens_group(j->records, i))
                continue;
            const sb_record *first = &j->records[i];
            suffix = suffix_of(first, n_groups == 1);
            SB_CHECK(suffix, err, SB_NO_MEMORY, "out of memory for plot names");
            SB_TRY(drawing ? draw_group(j, suffix, err) : write_group(j, first, suffix, err));
            sb_free(suffix);
            suffix = NULL;
        }
        SB_TRY(whole_run(j, drawing, err));
    }
out:
    sb_free(suffix);
    return st;
}

sb_status sb_plot_records(const sb_record *records, int64_t n, const char *run_dir,
                          const char *format, int quiet, sb_err *err)
{
    sb_status st = SB_OK;
    char *plots_dir = sb_sprintf("%s/plots", run_dir);
    char *data_dir = sb_sprintf("%s/plots/data", run_dir);
    job j = {records, n, run_dir, plots_dir, format, quiet};
    SB_CHECK(plots_dir && data_dir, err, SB_NO_MEMORY, "out of memory for plot paths");
    SB_CHECK(strcmp(format, "svg") == 0 || strcmp(format, "png") == 0 || strcmp(format, "pdf") == 0,
             err, SB_USAGE, "unknown format '%s'; expected svg, png or pdf", format);
    SB_TRY(make_dir(plots_dir, err));
    SB_TRY(make_dir(data_dir, err));
    SB_TRY(each_group(&j, err));
out:
    sb_free(data_dir);
    sb_free(plots_dir);
    return st;
}

sb_status sb_plot_run(const char *run_dir, const char *format, int quiet, sb_err *err)
{
    sb_record *records = NULL;
    int64_t n = 0;
    sb_status st = SB_OK;
    SB_TRY(sb_results_read(run_dir, &records, &n, err));
    SB_TRY(sb_plot_records(records, n, run_dir, format, quiet, err));
out:
    sb_records_free(records, n);
    return st;
}
