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
#include "harness/plot_draw.h"

extern char **environ;

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

/* Ours in UTC: a PDF's date is longer elsewhere. NULL: no memory. */
static char **utc_environment(void)
{
    static char utc[] = "TZ=UTC0";
    int64_t n = 0, n_kept = 0;
    while (environ[n])
        n++;
    char **kept = sb_alloc(n + 2, sizeof *kept);
    for (int64_t i = 0; i < n && kept; i++)
        if (strncmp(environ[i], "TZ=", 3) != 0)
            kept[n_kept++] = environ[i];
    if (kept)
        kept[n_kept] = utc;
    return kept;
}

/* What it says on stderr goes to said. */
static sb_status spawn(char *const *argv, char *const *environment, const char *dir, char *said,
                       size_t bytes, sb_err *err)
{
    int ends[2], code = 0;
    pid_t pid;
    posix_spawn_file_actions_t actions;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return sb_fail(err, SB_IO, "pipe: %s", strerror(errno));
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addchdir_np(&actions, dir);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    int failed = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environment);
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
    return code == 0 ? SB_OK : SB_INTERNAL;
}

/* ---- the date of a PDF ---------------------------------------------------------------------- */

/* cairo stamps a PDF with the time of drawing, "(D:20260131235959Z)", the one thing in which two
 * drawings of the same results differ. From 1.18 on it compresses the stamp, which then stays. */
static void set_date(char *pdf, size_t n, const char *date)
{
    static const char mark[] = "/CreationDate (D:";
    char *at = memmem(pdf, n, mark, sizeof mark - 1);
    char *end = at ? memchr(at, ')', n - (size_t)(at - pdf)) : NULL;
    if (!end)
        return;
    for (at += sizeof mark - 1; at < end; at++)
        if (*at >= '0' && *at <= '9')
            *at = *date ? *date++ : '0';
}

static sb_status date_pdf(const char *path, const char *date, sb_err *err)
{
    struct stat info;
    sb_status st = SB_OK;
    char *pdf = NULL;
    FILE *f = fopen(path, "r+b");
    SB_CHECK(f && fstat(fileno(f), &info) == 0, err, SB_IO, "%s: %s", path, strerror(errno));
    size_t n = (size_t)info.st_size;
    pdf = sb_alloc((int64_t)n, 1);
    SB_CHECK(pdf, err, SB_NO_MEMORY, "out of memory for a plot");
    SB_CHECK(fread(pdf, 1, n, f) == n, err, SB_IO, "%s: cannot read it back", path);
    set_date(pdf, n, date);
    rewind(f);
    SB_CHECK(fwrite(pdf, 1, n, f) == n && fflush(f) == 0, err, SB_IO, "%s: %s", path,
             strerror(errno));
out:
    sb_free(pdf);
    if (f)
        (void)fclose(f);
    return st;
}

/* ---- one picture ---------------------------------------------------------------------------- */

sb_status sb_gnuplot(const char *script, const char *plots_dir, const char *name,
                     const char *format, const char *date, sb_err *err)
{
    char path[PATH_MAX], said[2048];
    sb_status st = SB_OK;
    char *words[] = {sb_strdup("gnuplot"), sb_strdup("-c"),   NULL,
                     sb_strdup(name),      sb_strdup(format), NULL};
    char *picture = sb_sprintf("%s/%s.%s", plots_dir, name, format);
    char **environment = utc_environment();
    SB_CHECK(words[0] && words[1] && words[3] && words[4] && picture && environment, err,
             SB_NO_MEMORY, "out of memory for a plot's names");
    SB_CHECK(realpath(script, path), err, SB_IO,
             "%s: %s; STEMBENCH_SCRIPTS names the scripts directory", script, strerror(errno));
    words[2] = path;
    *said = '\0';
    st = spawn(words, environment, plots_dir, said, sizeof said, err);
    SB_CHECK(st != SB_INTERNAL, err, SB_INTERNAL, "gnuplot failed on %s: %s", name,
             *said ? last_line(said) : "no message");
    if (st == SB_OK && strcmp(format, "pdf") == 0)
        st = date_pdf(picture, date, err);
out:
    sb_free(environment);
    sb_free(picture);
    for (int i = 0; i < 5; i++)
        if (i != 2)
            sb_free(words[i]);
    return st;
}
