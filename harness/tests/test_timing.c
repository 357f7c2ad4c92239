/* The clock's promises: intervals with their coverage, fair order, and outputs that cannot be
 * faked. */
#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/mem.h"
#include "harness/tests/check.h"
#include "harness/timing.h"

/* ---- the interval of the median ------------------------------------------------------------ */

static void interval_ranks(int64_t n, int64_t low, int64_t high)
{
    double x[200], lo, hi;
    for (int64_t i = 0; i < n; i++)
        x[i] = (double)(i + 1);
    sb_median_interval(x, n, &lo, &hi);
    EXPECT_MSG(lo == (double)low && hi == (double)high, "n %d: %g to %g", (int)n, lo, hi);
}

/* Ranks from tables of the sign test at 95 %. */
static void intervals_match_the_tables(void)
{
    interval_ranks(1, 1, 1);
    interval_ranks(5, 1, 5);
    interval_ranks(6, 1, 6);
    interval_ranks(8, 1, 8);
    interval_ranks(9, 2, 8);
    interval_ranks(10, 2, 9);
    interval_ranks(20, 6, 15);
    interval_ranks(50, 18, 33);
    interval_ranks(100, 40, 61);
}

static void median_of_even_and_odd(void)
{
    double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};
    EXPECT(sb_median(odd, 3) == 2 && sb_median(even, 4) == 2.5 && isnan(sb_median(even, 0)));
}

/* ---- contenders that behave, and some that cheat -------------------------------------------- */

typedef enum cheat { HONEST, SKIPS_A_ROW, REMEMBERS, DRIFTS } cheat;

typedef struct fake_plan {
    sb_plan plan;
    cheat cheat;
    int n_calls;
    float first[64];
} fake_plan;

static char order[64];
static int n_order;

static sb_status fake_plan_make(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                                sb_plan **plan, sb_err *err)
{
    (void)p, (void)exec, (void)values, (void)err;
    fake_plan *f = sb_alloc(1, sizeof *f);
    *plan = f ? &f->plan : NULL;
    return f ? SB_OK : SB_NO_MEMORY;
}

/* o[h][t] = the v of the head's first key + t: cheap, and different for every head. */
static sb_status fake_attend(sb_plan *plan, const sb_inputs *in, const sb_pattern *pat,
                             const sb_outputs *out, sb_err *err)
{
    (void)pat, (void)err;
    fake_plan *f = (fake_plan *)plan;
    const sb_problem *p = &plan->problem;
    const float *v = in->v;
    float *o = out->o;
    char name = (char)('A' + (int)p->layer);
    if (n_order < (int)sizeof order && (n_order == 0 || order[n_order - 1] != name))
        order[n_order++] = name;
    f->n_calls++;
    for (int64_t h = 0; h < p->n_heads; h++)
        for (int64_t t = 0; t < p->q_len; t++) {
            int64_t i = h * p->q_len + t;
            float x = v[h / (p->n_heads / p->n_kv_heads) * p->kv_len] + (float)(h % 2) + (float)t;
            if (f->n_calls == 1)
                f->first[i] = x;
            out->lse[i] = 0;
            if (f->cheat == SKIPS_A_ROW && f->n_calls > 2 && i == 3)
                continue;
            o[i] = f->cheat == REMEMBERS ? f->first[i] : x;
            if (f->cheat == DRIFTS && f->n_calls > 3)
                o[i] += 1e-3f;
        }
    return SB_OK;
}

static void fake_destroy(sb_plan *plan)
{
    sb_free(plan);
}

static const sb_method fake = {.name = "fake",
                               .doc = "",
                               .source = "",
                               .plan = fake_plan_make,
                               .attend = fake_attend,
                               .destroy = fake_destroy};

static sb_status time_with(cheat how, int64_t n, sb_contender *c, sb_err *err)
{
    static float q[4 * 8], k[2 * 8], v[2 * 8];
    sb_problem p = {.n_batch = 1,
                    .n_heads = 4,
                    .n_kv_heads = 2,
                    .q_len = 8,
                    .kv_len = 8,
                    .dim = 1,
                    .dim_v = 1,
                    .scale = 1};
    sb_exec exec = {.n_threads = 1};
    sb_latency_options options = {true, 0, 4, 0, 1e-9, 0.2};
    sb_inputs in = {q, k, v};
    v[0] = 10, v[8] = 20;
    n_order = 0;
    for (int64_t i = 0; i < n; i++) {
        sb_plan *plan;
        p.layer = i;
        if (sb_plan_create(&fake, &p, &exec, NULL, &plan, err) != SB_OK)
            return SB_INTERNAL;
        ((fake_plan *)plan)->cheat = how;
        c[i] = (sb_contender){.plan = plan};
    }
    sb_status st = sb_time_interleaved(c, n, &p, &in, &options, NULL, err);
    for (int64_t i = 0; i < n; i++)
        sb_plan_destroy(c[i].plan);
    return st;
}

static void honest_contenders_pass(void)
{
    sb_contender c[3];
    sb_err err = {0};
    EXPECT_MSG(time_with(HONEST, 3, c, &err) == SB_OK, "%s", err.msg);
    for (int i = 0; i < 3; i++) {
        EXPECT(c[i].n >= 4 && c[i].total_ms[0] > 0);
        EXPECT(c[i].total_ms[1] == c[i].select_ms[1] + c[i].attend_ms[1]);
        sb_contender_free_samples(&c[i]);
    }
    EXPECT(sb_mem_live() == 0);
}

/* After the warm-up of each, forward and backward in turn: A.. B.. C.., C.. B.. A.. */
static void rounds_alternate(void)
{
    sb_contender c[3];
    sb_err err = {0};
    REQUIRE(time_with(HONEST, 3, c, &err) == SB_OK);
    /* Warm-up, first round, then a round that starts where the last one ended. */
    EXPECT_MSG(strncmp(order, "ABCABCBABCBA", 12) == 0, "%.12s", order);
    for (int i = 0; i < 3; i++)
        sb_contender_free_samples(&c[i]);
}

static void cheats_are_caught(cheat how)
{
    sb_contender c[1];
    sb_err err = {0};
    EXPECT(time_with(how, 1, c, &err) == SB_INTERNAL);
    EXPECT(strstr(err.msg, "output of head") != NULL);
    sb_contender_free_samples(&c[0]);
}

static void stops_when_asked(void)
{
    static float x[64];
    volatile int stop = 1;
    sb_problem p = {.n_batch = 1,
                    .n_heads = 1,
                    .n_kv_heads = 1,
                    .q_len = 8,
                    .kv_len = 8,
                    .dim = 1,
                    .dim_v = 1,
                    .scale = 1};
    sb_exec exec = {.n_threads = 1};
    sb_latency_options options = {true, 0, 4, 0, 0.1, 1};
    sb_inputs in = {x, x, x};
    sb_contender c = {0};
    sb_err err = {0};
    REQUIRE(sb_plan_create(&fake, &p, &exec, NULL, &c.plan, &err) == SB_OK);
    EXPECT(sb_time_interleaved(&c, 1, &p, &in, &options, &stop, &err) == SB_INTERRUPTED);
    sb_contender_free_samples(&c);
    sb_plan_destroy(c.plan);
    EXPECT(sb_mem_live() == 0);
}

/* ---- pinning --------------------------------------------------------------------------------- */

/* The n highest cores of a set. */
static cpu_set_t last_cores(const cpu_set_t *all, int n)
{
    cpu_set_t some;
    CPU_ZERO(&some);
    for (size_t i = CPU_SETSIZE; i-- > 0 && n > 0;)
        if (CPU_ISSET(i, all)) {
            CPU_SET(i, &some);
            n--;
        }
    return some;
}

static size_t nth_core(const cpu_set_t *set, int n)
{
    size_t core = 0;
    while (!CPU_ISSET(core, set) || n-- > 0)
        core++;
    return core;
}

/* Exit code 0 when n threads are each on their own of the last n cores that there are. */
static int pins(int n)
{
    cpu_set_t all, some, is;
    int wrong = 0;
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < n)
        return 0;
    some = last_cores(&all, n);
    if (sched_setaffinity(0, sizeof some, &some) != 0 || sb_pin_threads(n + 1))
        return 1;
    if (sched_getaffinity(0, sizeof is, &is) != 0 || !CPU_EQUAL(&is, &some) || !sb_pin_threads(n))
        return 2;
#pragma omp parallel num_threads(n) reduction(+ : wrong)
    {
        cpu_set_t own;
        wrong += sched_getaffinity(0, sizeof own, &own) != 0 || CPU_COUNT(&own) != 1 ||
                 !CPU_ISSET(nth_core(&some, omp_get_thread_num()), &own);
    }
    return wrong ? 3 : 0;
}

/* In a process of its own each, before this one has threads. */
static void threads_are_pinned_to_what_is_allowed(void)
{
    for (int n = 1; n <= 2; n++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0)
            _exit(pins(n));
        EXPECT(waitpid(pid, &status, 0) == pid);
        EXPECT_MSG(status == 0, "%d threads: status %x", n, (unsigned)status);
    }
}

int main(void)
{
    TEST("threads are pinned to the cores that are allowed");
    threads_are_pinned_to_what_is_allowed();
    TEST("median intervals match the sign test's tables");
    intervals_match_the_tables();
    TEST("median of odd, even and no samples");
    median_of_even_and_odd();
    TEST("honest contenders pass");
    honest_contenders_pass();
    TEST("rounds alternate in direction");
    rounds_alternate();
    TEST("a skipped row is caught");
    cheats_are_caught(SKIPS_A_ROW);
    TEST("a remembered result is caught");
    cheats_are_caught(REMEMBERS);
    TEST("a result that changes is caught");
    cheats_are_caught(DRIFTS);
    TEST("timing stops when asked");
    stops_when_asked();
    return sb_tests_done();
}
