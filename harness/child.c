#include "harness/child.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Handlers of this process (and of sanitizers) would report a crash that is expected. */
static void die_quietly(double seconds)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU};
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
        (void)signal(fatal[i], SIG_DFL);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    rlim_t most = (rlim_t)ceil(seconds);
    (void)setrlimit(RLIMIT_CPU, &(struct rlimit){most, most});
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(nowhere, STDERR_FILENO); /* where the allocator says what it found */
}

_Noreturn static void be_child(sb_status (*call)(const void *what, sb_err *err), const void *what,
                               double seconds, int to)
{
    sb_err said = {0};
    die_quietly(seconds);
    said.status = call(what, &said);
    bool sent = write(to, &said, sizeof said) == (ssize_t)sizeof said;
    _exit(!sent);
}

/* A pipe takes a whole sb_err at once: it is smaller than PIPE_BUF. */
static bool hear(int from, sb_err *said)
{
    ssize_t n;
    do
        n = read(from, said, sizeof *said);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *said;
}

sb_status sb_try_in_child(sb_status (*call)(const void *what, sb_err *err), const void *what,
                          const char *path, double seconds, sb_err *err)
{
    int ends[2], code = 0;
    sb_err said;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return sb_fail(err, SB_IO, "%s: pipe: %s", path, strerror(errno));
    pid_t child = fork();
    if (child == 0)
        be_child(call, what, seconds, ends[1]);
    (void)close(ends[1]);
    bool heard = child > 0 && hear(ends[0], &said);
    (void)close(ends[0]);
    if (child < 0)
        return sb_fail(err, SB_IO, "%s: fork: %s", path, strerror(errno));
    while (waitpid(child, &code, 0) < 0 && errno == EINTR)
        continue;
    if (!heard || code != 0)
        return sb_fail(err, SB_BAD_DATA,
                       "%s: damaged (reading it ends in '%s'); expected a whole file", path,
                       WIFSIGNALED(code) ? strsignal(WTERMSIG(code)) : "failure");
    return said.status == SB_OK ? SB_OK : sb_fail(err, said.status, "%s", said.msg);
}
