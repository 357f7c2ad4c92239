#include <math.h>
#include <stdlib.h>

#include "methods/tests/oracle.h"

/* Budgets are decimal fractions on paper: 10 (1 - 0.3 / 3) is 9, whatever a binary fraction makes
 * of it. Values within this of a whole number are taken as that number. */
static const long double SNAP = 1e-9L;

static long double snap(long double value)
{
    long double whole = roundl(value);
    return fabsl(value - whole) < SNAP ? whole : value;
}

static long double blocks_of(double budget, int64_t n)
{
    return budget < 1 ? (long double)budget * (long double)n : (long double)budget;
}

static long double first_budget(const sb_oracle_rule *rule, int64_t n, int64_t tokens)
{
    if (rule->k_start > 0 && rule->released) /* their k is a whole number */
        return floorl(snap(blocks_of(rule->k_start, n)));
    if (rule->k_start > 0)
        return blocks_of(rule->k_start, n);
    if (!rule->released)
        return blocks_of(tokens <= 16384 ? 0.2 : 0.1, n);
    if (n < 56)
        return (long double)n;
    return (long double)(n < 160 ? (n + 150) / 5 : n / 10 + 30);
}

static long double factor(const sb_oracle_rule *rule, long double x)
{
    long double mu = rule->mu, drop = 1 - mu, passed = 0;
    switch (rule->shape) {
    case SB_ORACLE_LINEAR:
        return 1 - drop * x;
    case SB_ORACLE_COSINE:
        return mu + drop * (1 + cosl(acosl(-1) * x)) / 2;
    case SB_ORACLE_EXPONENTIAL:
        return powl(mu, x);
    case SB_ORACLE_POWER:
        return 1 - drop * powl(x, rule->exponent);
    case SB_ORACLE_STEP:
        for (int64_t i = 0; i < rule->n_breakpoints; i++)
            passed += rule->breakpoints[i] <= x + SNAP;
        return 1 - drop * passed / (long double)rule->n_breakpoints;
    default:
        return 1;
    }
}

static long double table_budget(const sb_oracle_rule *rule, int64_t I, int64_t n)
{
    if (rule->n_table == n || rule->n_table == 1)
        return blocks_of(rule->table[rule->n_table == 1 ? 0 : I], n);
    long double at = n > 1 ? (long double)(I * (rule->n_table - 1)) / (long double)(n - 1) : 0;
    int64_t e = (int64_t)floorl(at);
    if (e >= rule->n_table - 1)
        return blocks_of(rule->table[rule->n_table - 1], n);
    long double low = blocks_of(rule->table[e], n), high = blocks_of(rule->table[e + 1], n);
    return low + (high - low) * (at - (long double)e);
}

/* torch.linspace in float64: the first half counted from the start, the second from the end. */
static double linspace(double start, double end, int64_t steps, int64_t i)
{
    if (steps == 1)
        return start;
    double step = (end - start) / (double)(steps - 1);
    return i < steps / 2 ? start + step * (double)i : end - step * (double)(steps - 1 - i);
}

static long double real_budget(const sb_oracle_rule *rule, long double k_start, int64_t hold,
                               int64_t I, int64_t n)
{
    if (rule->shape == SB_ORACLE_TABLE)
        return table_budget(rule, I, n);
    if (I < hold)
        return k_start;
    if (!rule->released)
        return k_start * factor(rule, (long double)(I - hold) / (long double)(n - hold));
    if (rule->shape == SB_ORACLE_LINEAR)
        return linspace((double)k_start, rule->mu * (double)k_start, n - hold, I - hold);
    return k_start * factor(rule, linspace(0, 1, n - hold, I - hold));
}

static long double clamped(long double budget, int64_t I)
{
    return fminl(fmaxl(budget, 1), (long double)(I + 1));
}

static void rescale(double total, const long double *real, int64_t n, int64_t *k)
{
    long double all = (long double)n * (long double)(n + 1) / 2;
    long double wanted = total < 1 ? roundl((long double)total * all) : (long double)total;
    long double low = 0, high = 1e15L, sum, before = 0;
    for (int i = 0; i < 200; i++) {
        long double s = (low + high) / 2;
        sum = 0;
        for (int64_t I = 0; I < n; I++)
            sum += clamped(s * real[I], I);
        if (sum < wanted)
            low = s;
        else
            high = s;
    }
    sum = 0;
    for (int64_t I = 0; I < n; I++) {
        sum += clamped(high * real[I], I);
        long double now = I == n - 1 ? wanted : floorl(snap(sum));
        k[I] = (int64_t)(now - before);
        before = now;
    }
}

int64_t *sb_oracle_budgets(const sb_oracle_rule *rule, int64_t tokens)
{
    int64_t n = (tokens - 1) / rule->block + 1;
    long double k_start = first_budget(rule, n, tokens);
    int64_t hold = rule->hold < 0 ? (int64_t)k_start : rule->hold;
    int64_t *k = sb_oracle_calloc(n, sizeof *k);
    long double *real = sb_oracle_calloc(n, sizeof *real);
    for (int64_t I = 0; I < n; I++) {
        real[I] = real_budget(rule, k_start, hold, I, n);
        bool torch = rule->released && rule->shape == SB_ORACLE_LINEAR;
        long double value = torch ? real[I] : snap(real[I]);
        long double whole = rule->released ? floorl(value) : ceill(value);
        k[I] = (int64_t)clamped(whole, I);
    }
    if (rule->total > 0)
        rescale(rule->total, real, n, k);
    free(real);
    return k;
}
