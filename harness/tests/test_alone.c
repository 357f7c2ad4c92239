/* The right to compute alone, held against a table in shared memory that each process enters and
 * leaves while it has it. */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/alone.h"
#include "harness/mem.h"
#include "harness/tests/folder_rig.h"
#include "harness/timing.h"

enum { N_DEVICES = 3, PATIENCE_MS = 10000 };

static struct table {
    atomic_int on[N_DEVICES]; /* who computes now; 0: on the CPU */
    atomic_int n_broken, n_turns[8];
    atomic_bool reached, end;
} * table;

static void pause_ms(double ms)
{
    const struct timespec t = {.tv_nsec = (long)(ms * 1e6)};
    (void)nanosleep(&t, NULL);
}

static sb_status take(uint64_t device, const volatile int *stop, sb_alone *alone, sb_err *err)
{
    sb_progress progress = {.quiet = true};
    return sb_alone_take(folder, device, stop, &progress, alone, err);
}

static void enter(uint64_t device)
{
    int others = 0;
    for (uint64_t d = 0; d < N_DEVICES; d++)
        others += device == 0 || d == 0 || d == device ? atomic_load(&table->on[d]) : 0;
    if (others > 0 || atomic_fetch_add(&table->on[device], 1) > 0)
        atomic_fetch_add(&table->n_broken, 1);
}

static void leave(uint64_t device)
{
    atomic_fetch_sub(&table->on[device], 1);
}

static pid_t begin(void (*work)(int me), int me)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        work(me);
        _exit(0);
    }
    return pid;
}

static bool ended_well(pid_t pid)
{
    int status = -1;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void reset(void)
{
    memset(table, 0, sizeof *table);
}

/* Enters and leaves as fast as it may, on one device or on each in turn. */
static void take_turns(int me)
{
    for (int i = 0; i < 25; i++) {
        uint64_t device = me < N_DEVICES ? (uint64_t)me : (uint64_t)(i % N_DEVICES);
        sb_alone alone;
        if (take(device, NULL, &alone, NULL) != SB_OK)
            _exit(1);
        enter(device);
        pause_ms(i % 3);
        leave(device);
        sb_alone_give(&alone);
    }
}

static void test_exclusion(void)
{
    TEST("of processes on the CPU and two devices none meets one that it must not");
    enum { N = 5 };
    pid_t pids[N];
    reset();
    for (int i = 0; i < N; i++)
        pids[i] = begin(take_turns, i);
    for (int i = 0; i < N; i++)
        EXPECT(ended_well(pids[i]));
    EXPECT_MSG(table->n_broken == 0, "%d met", table->n_broken);
}

/* Stays until another is on the other device too. */
static void meet(int me)
{
    sb_alone alone;
    double begun = sb_now_ms();
    if (take((uint64_t)me, NULL, &alone, NULL) != SB_OK)
        _exit(1);
    enter((uint64_t)me);
    while (!table->reached && sb_now_ms() - begun < PATIENCE_MS) {
        if (table->on[1] + table->on[2] == 2)
            table->reached = true;
        pause_ms(1);
    }
    leave((uint64_t)me);
    sb_alone_give(&alone);
}

static void test_devices_together(void)
{
    TEST("two devices are busy at once");
    reset();
    pid_t one = begin(meet, 1), two = begin(meet, 2);
    EXPECT(ended_well(one) && ended_well(two));
    EXPECT(table->reached && table->n_broken == 0);
}

/* Hardly gives back what it takes again at once. */
static void hog(int me)
{
    uint64_t device = (uint64_t)(me % N_DEVICES);
    double begun = sb_now_ms();
    while (!table->end && sb_now_ms() - begun < PATIENCE_MS) {
        sb_alone alone;
        if (take(device, NULL, &alone, NULL) != SB_OK)
            _exit(1);
        pause_ms(30 + 7 * me);
        table->n_turns[me]++;
        sb_alone_give(&alone);
    }
}

/* A process that wants `device` five times beside hogs gets it, while each of those has few turns.
 */
static void expect_turns(int n_hogs, const int *hogs, uint64_t device)
{
    pid_t pids[4];
    double begun = sb_now_ms();
    int most = 0, n_got = 0;
    reset();
    for (int i = 0; i < n_hogs; i++)
        pids[i] = begin(hog, hogs[i]);
    while (table->n_turns[hogs[0]] == 0 && sb_now_ms() - begun < PATIENCE_MS)
        pause_ms(1);
    int before = table->n_turns[hogs[0]];
    for (; n_got < 5 && sb_now_ms() - begun < PATIENCE_MS; n_got++) {
        sb_alone alone;
        EXPECT(take(device, NULL, &alone, NULL) == SB_OK);
        pause_ms(10);
        sb_alone_give(&alone);
    }
    most = table->n_turns[hogs[0]] - before;
    table->end = true;
    for (int i = 0; i < n_hogs; i++)
        EXPECT(ended_well(pids[i]));
    EXPECT_MSG(n_got == 5 && most <= 25, "%d turns against %d", n_got, most);
}

static void test_fairness(void)
{
    TEST("the CPU's turn comes though devices are always taken");
    expect_turns(2, (const int[]){1, 2}, 0);
    TEST("a device's turn comes though the CPU is always taken");
    expect_turns(1, (const int[]){0}, 1);
    TEST("each of two on the CPU has its turn");
    expect_turns(1, (const int[]){0}, 0);
    TEST("each of two on a device has its turn");
    expect_turns(1, (const int[]){1}, 1);
}

static volatile int stop_asked;

static void ask_to_stop(int number)
{
    (void)number;
    stop_asked = 1;
}

static void test_stop(void)
{
    TEST("a wait ends when asked to");
    sb_alone held, alone;
    sb_err err = {0};
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = SA_RESTART};
    (void)sigaction(SIGALRM, &action, NULL);
    for (uint64_t device = 0; device < 2; device++) {
        EXPECT(take(1, NULL, &held, NULL) == SB_OK);
        stop_asked = 0;
        (void)ualarm(100000, 0);
        double begun = sb_now_ms();
        EXPECT(take(device, &stop_asked, &alone, &err) == SB_INTERRUPTED);
        EXPECT(sb_now_ms() - begun > 50 && sb_now_ms() - begun < 2000);
        sb_alone_give(&alone);
        sb_alone_give(&held);
        stop_asked = 0;
        EXPECT(take(device, &stop_asked, &alone, NULL) == SB_OK);
        sb_alone_give(&alone);
    }
}

static void hold_for_ever(int me)
{
    sb_alone alone;
    if (take((uint64_t)me, NULL, &alone, NULL) == SB_OK)
        table->reached = true;
    for (;;)
        (void)pause();
}

static void test_death(void)
{
    TEST("what a killed process held is free");
    for (int device = 0; device < 2; device++) {
        reset();
        double begun = sb_now_ms();
        sb_alone alone;
        pid_t pid = begin(hold_for_ever, device);
        while (!table->reached && sb_now_ms() - begun < PATIENCE_MS)
            pause_ms(1);
        stop_asked = 1;
        EXPECT(take(0, &stop_asked, &alone, NULL) == SB_INTERRUPTED);
        sb_alone_give(&alone);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        EXPECT(take(0, &stop_asked, &alone, NULL) == SB_OK);
        sb_alone_give(&alone);
    }
}

static void test_errors(void)
{
    TEST("no memory, and no place for the locks");
    sb_alone alone;
    sb_err err = {0};
    int64_t live = sb_mem_live(), n = 1;
    for (;; n++) {
        sb_mem_fail_at(n);
        sb_status st = take(1, NULL, &alone, &err);
        sb_alone_give(&alone);
        EXPECT(sb_mem_live() == live);
        if (sb_mem_fail_at(0) != 0)
            break;
        EXPECT(st == SB_NO_MEMORY);
    }
    EXPECT(n > 3);
    sb_progress quiet = {.quiet = true};
    EXPECT(sb_alone_take("/proc/nowhere", 0, NULL, &quiet, &alone, &err) == SB_IO);
    sb_alone_give(&alone);
    EXPECT(alone.machine < 0 && alone.device < 0);
}

int main(void)
{
    table = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED || !folder_open())
        return 1;
    test_exclusion();
    test_devices_together();
    test_fairness();
    test_stop();
    test_death();
    test_errors();
    return rig_close();
}
