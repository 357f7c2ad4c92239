/*
 * Budget schedules k(I): how many key blocks query-block row I may keep.
 *
 * Source: token position-decay of Stem, arXiv:2603.06274, Eq. 3 (`linear` without hold, rounded
 * up), and the schedule of the authors' released code (Tencent/AngelSlim 67394ce; `released`). The
 * other shapes are ours, for ablation. mu = 1 is a constant budget.
 */
#include <math.h>

#include "harness/mem.h"
#include "methods/stages.h"

/* First budget of the released code, which keys on the number of blocks; below 56 all are kept. */
static double released_start(int64_t n)
{
    if (n < 56)
        return (double)n;
    if (n < 160)
        return floor((double)n * 0.2 + 30);
    return floor((double)n * 0.1) + 30;
}

static double paper_start(int64_t n, int64_t prompt_len)
{
    return (prompt_len <= 16384 ? 0.2 : 0.1) * (double)n;
}

/* Budgets such as 0.2 * 35 should be 7 and not the next whole number. */
static double round_budget(double k, bool released)
{
    return released ? floor(k + 1e-9) : ceil(k - 1e-9);
}

static double blocks_of(double budget, int64_t n)
{
    return budget < 1 ? budget * (double)n : budget;
}

static double start_budget(const sb_schedule *s, int64_t n, int64_t prompt_len)
{
    double k = s->k_start > 0 ? blocks_of(s->k_start, n)
               : s->released  ? released_start(n)
                              : paper_start(n, prompt_len);
    return s->released ? fmax(1, round_budget(k, true)) : k;
}

/* f(x), x in [0, 1]: the share of the first budget left, from f(0) = 1 to f(1) = mu. */
static double shape_factor(const sb_schedule *s, double x)
{
    double drop = 1 - s->mu;
    switch (s->shape) {
    case SB_SHAPE_LINEAR:
        return 1 - drop * x;
    case SB_SHAPE_COSINE:
        return s->mu + drop * (1 + cos(acos(-1.0) * x)) / 2;
    case SB_SHAPE_EXPONENTIAL:
        return pow(s->mu, x);
    case SB_SHAPE_POWER:
        return 1 - drop * pow(x, s->exponent);
    case SB_SHAPE_STEP: {
        int64_t passed = 0;
        while (passed < s->n_breakpoints && s->breakpoints[passed] <= x)
            passed++;
        return 1 - drop * (double)passed / (double)s->n_breakpoints;
    }
    case SB_SHAPE_CONSTANT:
    case SB_SHAPE_TABLE:
        break;
    }
    return 1;
}

static double table_budget(const sb_schedule *s, int64_t row, int64_t n)
{
    if (s->n_table == n)
        return blocks_of(s->table[row], n);
    double at = n > 1 ? (double)row * (double)(s->n_table - 1) / (double)(n - 1) : 0;
    int64_t left = (int64_t)at;
    double share = at - (double)left, a = blocks_of(s->table[left], n);
    return share > 0 ? a + share * (blocks_of(s->table[left + 1], n) - a) : a;
}

/* Step i of `n_steps` from a to b, both included, counted from the nearer end as the released
 * code's library does: floor() of it depends on the last bit. */
static double linspace(double a, double b, int64_t n_steps, int64_t i)
{
    if (n_steps == 1)
        return a;
    double step = (b - a) / (double)(n_steps - 1);
    return i < n_steps / 2 ? a + step * (double)i : b - step * (double)(n_steps - 1 - i);
}

/* The budget of a row before rounding. */
static double real_budget(const sb_schedule *s, double k, int64_t hold, int64_t row, int64_t n)
{
    if (s->shape == SB_SHAPE_TABLE)
        return table_budget(s, row, n);
    if (row < hold)
        return k;
    if (s->released && s->shape == SB_SHAPE_LINEAR)
        return linspace(k, k * s->mu, n - hold, row - hold);
    int64_t n_steps = s->released ? n - hold - 1 : n - hold;
    return k * shape_factor(s, n_steps > 0 ? (double)(row - hold) / (double)n_steps : 0);
}

static int32_t clamp_to_row(double k, int64_t row)
{
    return (int32_t)fmin(fmax(k, 1), (double)(row + 1));
}

static double wanted_total(const sb_schedule *s, int64_t n)
{
    double causal = (double)n * (double)(n + 1) / 2;
    return s->total < 1 ? nearbyint(s->total * causal) : s->total;
}

sb_status sb_schedule_check(const sb_schedule *s, int64_t n, sb_err *err)
{
    double causal = (double)n * (double)(n + 1) / 2;
    if (s->total > 0 && (wanted_total(s, n) < (double)n || wanted_total(s, n) > causal))
        return sb_fail(err, SB_UNSUPPORTED,
                       "a total of %.12g blocks; %lld rows keep %lld to %.12g causal blocks",
                       wanted_total(s, n), (long long)n, (long long)n, causal);
    if (s->hold > n)
        return sb_fail(err, SB_UNSUPPORTED,
                       "a hold of %lld rows; the prompt has %lld, so the decay never starts",
                       (long long)s->hold, (long long)n);
    return SB_OK;
}

static double scaled_row(const sb_schedule *s, double factor, double k, int64_t hold, int64_t row,
                         int64_t n)
{
    return fmin(fmax(factor * real_budget(s, k, hold, row, n), 1), (double)(row + 1));
}

static double scaled_sum(const sb_schedule *s, double factor, double k, int64_t hold, int64_t n)
{
    double sum = 0;
    for (int64_t row = 0; row < n; row++)
        sum += scaled_row(s, factor, k, hold, row, n);
    return sum;
}

/* Rescale by bisection (the sum grows with the factor), then round the running sum, so that each
 * row gets its share rounded down or up and the total is met. */
static void fill_total(const sb_schedule *s, double k, int64_t hold, int64_t n, int32_t *out)
{
    double total = wanted_total(s, n), low = 0, high = 1;
    while (scaled_sum(s, high, k, hold, n) < total && high < 1e12)
        high *= 2;
    for (int i = 0; i < 80; i++) {
        double middle = (low + high) / 2;
        if (scaled_sum(s, middle, k, hold, n) < total)
            low = middle;
        else
            high = middle;
    }
    double sum = 0, given = 0;
    for (int64_t row = 0; row < n; row++) {
        sum += scaled_row(s, high, k, hold, row, n);
        double upto = row == n - 1 ? total : floor(sum + 1e-6);
        out[row] = clamp_to_row(upto - given, row);
        given += out[row];
    }
}

void sb_schedule_fill(const sb_schedule *s, int64_t n, int64_t prompt_len, int32_t *k)
{
    double start = start_budget(s, n, prompt_len);
    int64_t hold = s->hold >= 0 ? s->hold : (int64_t)fmin(round_budget(start, s->released), 0x1p40);
    if (s->total > 0) {
        fill_total(s, start, hold, n, k);
        return;
    }
    for (int64_t row = 0; row < n; row++) {
        double budget = real_budget(s, start, hold, row, n);
        /* The released code floors its float64 steps as they are. */
        bool as_is = s->released && s->shape == SB_SHAPE_LINEAR;
        k[row] = clamp_to_row(as_is ? floor(budget) : round_budget(budget, s->released), row);
    }
}

static int64_t room_of_row(int64_t k, int64_t n_causal, int64_t forced)
{
    return k + forced < n_causal ? k + forced : n_causal;
}

sb_status sb_budget_plan(const sb_problem *p, const sb_block_topk_spec *spec, sb_budget *budget,
                         sb_err *err)
{
    sb_status st = SB_OK;
    const sb_schedule *s = &spec->schedule;
    int64_t block = spec->block, sinks = spec->sinks, window = spec->window;
    int32_t *whole = NULL;
    int64_t n_rows = sb_max_rows(p, block), n_most = 0;
    *budget = (sb_budget){.n_rows = n_rows, .sinks = sinks, .window = window};
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t n = sb_ceil_div(sb_prompt_len(p, b), block);
        n_most = n > n_most ? n : n_most;
    }
    whole = sb_alloc(n_most, sizeof *whole);
    budget->k = sb_alloc(p->n_batch * n_rows, sizeof *budget->k);
    budget->slot = sb_alloc(p->n_batch * (n_rows + 1), sizeof *budget->slot);
    SB_CHECK(whole && budget->k && budget->slot, err, SB_NO_MEMORY, "out of memory for budgets");

    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t n = sb_ceil_div(sb_prompt_len(p, b), block), first = sb_first_block(p, b, block);
        int64_t *slot = budget->slot + b * (n_rows + 1);
        SB_TRY(sb_schedule_check(s, n, err));
        sb_schedule_fill(s, n, sb_prompt_len(p, b), whole);
        for (int64_t r = 0; r < n_rows; r++) {
            bool inside = r < sb_n_rows(p, b, block);
            int32_t k = inside ? whole[first + r] : 0;
            budget->k[b * n_rows + r] = k;
            slot[r + 1] = slot[r] + (inside ? room_of_row(k, first + r + 1, sinks + window) : 0);
        }
        budget->capacity += slot[n_rows] * p->n_heads;
    }
out:
    sb_free(whole);
    if (st != SB_OK)
        sb_budget_free(budget);
    return st;
}

void sb_budget_free(sb_budget *budget)
{
    sb_free(budget->k);
    sb_free(budget->slot);
    *budget = (sb_budget){0};
}
