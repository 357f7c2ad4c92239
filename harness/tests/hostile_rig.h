#ifndef SB_HOSTILE_RIG_H
#define SB_HOSTILE_RIG_H

/* The program on hostile input, with little memory and time: it ends with an exit code of its own
 * and one line. */

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/tests/folder_rig.h"

#if defined(__SANITIZE_ADDRESS__)
#define HOSTILE_MEMORY RLIM_INFINITY /* shadow memory takes terabytes of addresses */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOSTILE_MEMORY RLIM_INFINITY
#endif
#endif
#ifndef HOSTILE_MEMORY
#define HOSTILE_MEMORY ((rlim_t)1 << 30)
#endif
enum { HOSTILE_SECONDS = 10, MAX_SAID = 4096 };

static char said[MAX_SAID];

_Noreturn static inline void hostile_exec(const char *command, const char *file, const char *more)
{
    char *argv[] = {(char *)(size_t)SB_PROGRAM, (char *)(size_t)command, (char *)(size_t)file,
                    (char *)(size_t)more, NULL};
    (void)setrlimit(RLIMIT_AS, &(struct rlimit){HOSTILE_MEMORY, HOSTILE_MEMORY});
    (void)setrlimit(RLIMIT_CPU, &(struct rlimit){HOSTILE_SECONDS, HOSTILE_SECONDS});
    (void)setenv("OMP_NUM_THREADS", "1", 1);
    (void)alarm(6 * HOSTILE_SECONDS); /* waiting takes no time of the CPU */
    int out = open("/dev/null", O_WRONLY), err = open("said", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (out >= 0 && err >= 0 && dup2(out, 1) >= 0 && dup2(err, 2) >= 0)
        (void)execv(argv[0], argv);
    _exit(127);
}

/* Exit code of `stembench COMMAND FILE [MORE]`, or minus the signal. What it says goes to `said`.
 */
static inline int hostile_run(const char *command, const char *file, const char *more)
{
    int code = 0;
    pid_t child = fork();
    if (child == 0)
        hostile_exec(command, file, more);
    if (child < 0 || waitpid(child, &code, 0) != child)
        return -1;
    int fd = open("said", O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, said, MAX_SAID - 1);
    said[n > 0 ? n : 0] = '\0';
    (void)close(fd);
    return WIFSIGNALED(code) ? -WTERMSIG(code) : WEXITSTATUS(code);
}

static inline bool one_line(void)
{
    size_t n = strcspn(said, "\n");
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)said[i] < ' ' || said[i] == 0x7f)
            return false;
    return n > 0 && said[n] == '\n' && said[n + 1] == '\0';
}

/* The exit code and a part of the one line. */
static inline void hostile_expect(const char *name, int code, const char *part, const char *command,
                                  const char *file)
{
    int got = hostile_run(command, file, NULL);
    EXPECT_MSG(got == code && one_line() && strstr(said, part), "%s: %d, %s", name, got, said);
}

/* Goes into the folder. */
static inline bool hostile_open(void)
{
    return folder_open() && chdir(folder) == 0;
}

#endif
