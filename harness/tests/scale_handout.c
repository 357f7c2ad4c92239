/*
 * How the hand-out scales: 10^6 cells, by the code that hands them out, on a simulated clock.
 *
 * scale_handout          what it costs to hand out to 10^4 ranks; fails above 20 us a cell
 * scale_handout --table  how long cells must be for 1000 ranks to be busy: the README's table
 */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/simulate.h"
#include "harness/timing.h"

enum { N_CELLS = 1000000 };

static void make_cells(sb_item *items, int64_t n_shapes, double seconds, double reference_s)
{
    for (int64_t i = 0; i < N_CELLS; i++) {
        int64_t shape = i * n_shapes / N_CELLS;
        items[i] = (sb_item){.shape = shape,
                             .first = i,
                             .n = 1,
                             .seconds = seconds,
                             .layer = shape,
                             .reference_s = reference_s};
    }
}

/* ---- what handing out costs -------------------------------------------------------------------
 */

static bool measure(sb_item *items, int64_t n_shapes)
{
    const sb_handout_costs costs = {.hand_out_s = 20e-6, .reply_s = 200e-6};
    const int64_t n_ranks = 10000;
    sb_simulated run;
    make_cells(items, n_shapes, 10, 30);
    double start = sb_now_ms();
    if (sb_simulate(items, N_CELLS, n_ranks - 1, &costs, &run, NULL) != SB_OK)
        return false;
    double us = (sb_now_ms() - start) * 1e3 / N_CELLS;
    printf("%6d shapes, %d ranks, cells of 10 s: %.0f s in all, %.1f %% busy, %.2f us a cell "
           "to simulate\n",
           (int)n_shapes, (int)n_ranks, run.wall_s, 100 * run.busy, us);
    return us < 20;
}

/* ---- how long cells must be -------------------------------------------------------------------
 */

/* Share of the time that 999 workers compute, or -1. */
static double busy(sb_item *items, double seconds, const sb_handout_costs *costs)
{
    sb_simulated run;
    make_cells(items, 300, seconds, 0);
    return sb_simulate(items, N_CELLS, 999, costs, &run, NULL) == SB_OK ? run.busy : -1;
}

/* The shortest cell, to 1 %, with which they are 95 % busy. */
static double shortest(sb_item *items, const sb_handout_costs *costs)
{
    double low = 1e-4, high = 10;
    while (high > 1.01 * low) {
        double seconds = sqrt(low * high);
        if (busy(items, seconds, costs) >= 0.95)
            high = seconds;
        else
            low = seconds;
    }
    return high;
}

static void print_table(sb_item *items)
{
    static const double hand_out_us[] = {10, 20, 50, 100}, reply_us[] = {50, 200, 1000};
    printf("| a cell occupies rank 0 for | 50 us to answer | 200 us | 1000 us |\n"
           "|---|---|---|---|\n");
    for (int i = 0; i < 4; i++) {
        printf("| %.0f us |", hand_out_us[i]);
        for (int k = 0; k < 3; k++) {
            const sb_handout_costs costs = {hand_out_us[i] * 1e-6, reply_us[k] * 1e-6, NULL};
            printf(" %.0f ms |", ceil(shortest(items, &costs) * 1e3));
            (void)fflush(stdout);
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    bool ok = true;
    sb_item *items = sb_alloc(N_CELLS, sizeof *items);
    if (!items)
        return 1;
    if (argc > 1 && strcmp(argv[1], "--table") == 0)
        print_table(items);
    else
        ok = measure(items, 300) && measure(items, 100000);
    sb_free(items);
    return !ok;
}
