/* The hand-out on a simulated clock: times by hand, and how far from the best order it ends. */

#include "harness/simulate.h"

#include <string.h>

#include "harness/mem.h"
#include "harness/tests/handout_rig.h"

static sb_simulated simulated(const sweep *s, int64_t n_workers, sb_handout_costs costs)
{
    sb_simulated first = {0}, again = {0};
    EXPECT(sb_simulate(s->items, s->n, n_workers, &costs, &first, NULL) == SB_OK);
    EXPECT(sb_simulate(s->items, s->n, n_workers, &costs, &again, NULL) == SB_OK);
    EXPECT(memcmp(&first, &again, sizeof first) == 0);
    return first;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fabs(b);
}

static void test_by_hand(void)
{
    static sweep s;
    const double hold_s[] = {4};
    TEST("two workers, one reference");
    s = (sweep){0};
    add_item(&s, 0, 0, 20, 8);
    add_item(&s, 0, 0, 20, 10);
    /* The first has its item at 3, holds at 27 and ends at 37. The other is answered after that
     * note, at 29, has its item at 31, holds at 35 and ends at 43. */
    sb_simulated run = simulated(&s, 2, (sb_handout_costs){1, 2, hold_s});
    EXPECT_MSG(run.wall_s == 43, "%g", run.wall_s);
    EXPECT(run.n_holds == 2);
    EXPECT(near(run.busy, 38. / 86));
    EXPECT(near(run.hand_out_busy, 4. / 43));

    TEST("answers one at a time");
    s = (sweep){0};
    for (int i = 0; i < 100; i++)
        add_item(&s, 0, 0, 0, 0);
    run = simulated(&s, 10, (sb_handout_costs){.hand_out_s = 1});
    EXPECT_MSG(run.wall_s == 110 && run.hand_out_busy == 1, "%g", run.wall_s); /* and ten notes */

    TEST("a note holds nobody up");
    s = (sweep){0};
    add_item(&s, 0, 0, 0, .5);
    run = simulated(&s, 1, (sb_handout_costs){1, 2, hold_s});
    EXPECT_MSG(run.wall_s == 7.5, "%g", run.wall_s);

    TEST("nothing to do");
    s.items[0].seconds = 0;
    run = simulated(&s, 10, (sb_handout_costs){0});
    EXPECT(run.wall_s == 0 && run.busy == 0);
    s.n = 0;
    run = simulated(&s, 10, (sb_handout_costs){1, 1, hold_s});
    EXPECT(run.wall_s == 0 && run.busy == 0 && run.n_holds == 0);
}

static void test_alone(void)
{
    static sweep s;
    double hold_s[MAX_SHAPES];
    TEST("one worker does all in turn, each shape once");
    for (int i = 0; i < MAX_SHAPES; i++)
        hold_s[i] = 3;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        make_sweep(&s, seed);
        sb_simulated run = simulated(&s, 1, (sb_handout_costs){0, 2, hold_s});
        double expected = s.work_s + 2 * (double)s.n + 3 * (double)s.n_shapes;
        EXPECT_MSG(run.wall_s == expected, "%g, not %g", run.wall_s, expected);
        EXPECT(run.n_holds == s.n_shapes && near(sb_items_seconds(s.items, s.n), s.work_s));
    }
}

/* Any order needs the mean of the workers and the longest chain; this one at most nearly both. */
static void test_bounds(void)
{
    static sweep s;
    double hold_s[MAX_SHAPES];
    TEST("nobody is idle in vain, each reference is computed once");
    for (int i = 0; i < MAX_SHAPES; i++)
        hold_s[i] = 7;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        make_sweep(&s, seed);
        double m = (double)(1 + pick(seed % 2 ? 6 : 100)), mean = s.work_s / m;
        sb_simulated run = simulated(&s, (int64_t)m, (sb_handout_costs){0});
        EXPECT(run.wall_s >= fmax(mean, s.chain_s) * (1 - 1e-9));
        EXPECT_MSG(run.wall_s <= (mean + (1 - 1 / m) * s.chain_s) * (1 + 1e-9),
                   "seed %d: %g, mean %g, chain %g", (int)seed, run.wall_s, mean, s.chain_s);
        EXPECT(s.work_s == 0 || near(run.busy * run.wall_s * m, s.work_s));
        run = simulated(&s, (int64_t)m, (sb_handout_costs){0, 0, hold_s});
        mean = (s.work_s + 7 * (double)run.n_holds) / m;
        EXPECT(run.wall_s <= (mean + (1 - 1 / m) * (s.chain_s + 14)) * (1 + 1e-9));
        EXPECT(run.wall_s >= mean * (1 - 1e-9) && run.n_holds >= s.n_shapes);
    }
}

/* Seconds of the last of three workers at best. */
static double best_of_all_ways(const sweep *s)
{
    double best = INFINITY;
    for (int code = 0; code < 19683; code++) {
        double seconds[3] = {0};
        for (int64_t i = 0, rest = code; i < s->n; i++, rest /= 3)
            seconds[rest % 3] += s->items[i].seconds;
        best = fmin(best, fmax(seconds[0], fmax(seconds[1], seconds[2])));
    }
    return best;
}

static void test_best(void)
{
    static sweep s;
    TEST("in one shape it is within 4/3 - 1/9 of the best for three");
    for (uint64_t seed = 1; seed <= 60; seed++) {
        s = (sweep){0};
        random_state = seed;
        for (int i = 0; i < 9; i++)
            add_item(&s, 0, 0, 0, (double)(1 + pick(20)));
        double best = best_of_all_ways(&s);
        sb_simulated run = simulated(&s, 3, (sb_handout_costs){0});
        EXPECT_MSG(run.wall_s >= best && run.wall_s <= best * 11 / 9, "%g, best %g", run.wall_s,
                   best);
    }
}

/* A dear reference behind much cheap work: begun late, it would end last. */
static void test_reference_early(void)
{
    static sweep s;
    TEST("references begin early");
    s = (sweep){0};
    for (int i = 0; i < 1000; i++)
        add_item(&s, 0, 0, 0, 1);
    for (int i = 0; i < 8; i++)
        add_item(&s, 1, 1, 98, 1);
    sb_simulated run = simulated(&s, 10, (sb_handout_costs){0});
    EXPECT_MSG(run.wall_s <= 112, "%g", run.wall_s); /* 1106 / 10 */

    TEST("at the end all help where most is left");
    s = (sweep){0};
    for (int64_t i = 0; i < 10; i++)
        add_item(&s, i, i, 0, 1);
    for (int i = 0; i < 1000; i++)
        add_item(&s, 10, 10, 0, 1);
    run = simulated(&s, 10, (sb_handout_costs){0});
    EXPECT_MSG(run.wall_s == 101, "%g", run.wall_s);
}

static void test_memory(void)
{
    static sweep s;
    const sb_handout_costs costs = {0};
    TEST("no memory");
    make_sweep(&s, 1);
    int64_t n = 1;
    for (sb_status st = SB_NO_MEMORY; st != SB_OK && n < 100; n++) {
        sb_simulated run;
        sb_mem_fail_at(n);
        st = sb_simulate(s.items, s.n, 3, &costs, &run, NULL);
        bool happened = sb_mem_fail_at(0) == 0;
        EXPECT(st == (happened ? SB_NO_MEMORY : SB_OK) && sb_mem_live() == 0);
    }
    EXPECT(n == 13); /* six of the hand-out, five of its own, and the call without failure */
}

int main(void)
{
    test_by_hand();
    test_alone();
    test_bounds();
    test_best();
    test_reference_early();
    test_memory();
    return sb_tests_done();
}
