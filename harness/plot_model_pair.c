/* What each run of a model is held against: its baseline at nearly equal cost. */
#include <math.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/plot_model.h"
#include "harness/plot_params.h"

/* Densities are equal up to this share; where both were asked for the same number of blocks, up to
 * the second, for forced blocks make a difference. */
static const double tolerance = .02, tolerance_of_total = .05;

/* How far from the nearer end of a line through two baselines a density may lie, and how far apart
 * the ends are at least. */
static const double reach = .15, least_line = .05;

typedef enum rule { AGAINST_UNIFORM, AGAINST_NO_BONUS, AGAINST_CONSTANT, N_RULES } rule;

static const char *const rule_texts[N_RULES] = {
    [AGAINST_UNIFORM] = "method uniform",
    [AGAINST_NO_BONUS] = "the same setting without value bonus",
    [AGAINST_CONSTANT] = "the same setting with a constant budget (μ = 1)",
};

/* ---- parameters ------------------------------------------------------------------------------ */

static bool is_value(const sb_model_run *r, const char *name, const char *value)
{
    return sb_span_same(sb_param_value(r->first->params, sb_span_of(name)), sb_span_of(value));
}

static bool starts(sb_span name, const char *prefix)
{
    int n = (int)strlen(prefix);
    return name.n >= n && memcmp(name.at, prefix, (size_t)n) == 0;
}

/* Parameters in which a run and its baseline may differ. */
static bool is_free(rule k, const char *method, sb_span name)
{
    if (sb_param_is_budget(method, name))
        return true;
    if (k == AGAINST_NO_BONUS)
        return sb_span_same(name, sb_span_of("value")) || sb_span_same(name, sb_span_of("beta"));
    return sb_span_same(name, sb_span_of("mu")) || sb_span_same(name, sb_span_of("variant")) ||
           starts(name, "schedule.");
}

static bool covers(rule k, const sb_record *a, const sb_record *b)
{
    sb_span name, value;
    for (const char *at = a->params; sb_param_next(&at, &name, &value);)
        if (!is_free(k, a->method, name) && !sb_span_same(value, sb_param_value(b->params, name)))
            return false;
    return true;
}

static int64_t n_shared(const sb_record *a, const sb_record *b)
{
    int64_t n = 0;
    sb_span name, value;
    for (const char *at = a->params; sb_param_next(&at, &name, &value);)
        n += sb_span_same(value, sb_param_value(b->params, name));
    return n;
}

/* ---- baselines ------------------------------------------------------------------------------- */

static bool is_uniform(const sb_model_run *r)
{
    return sb_model_same(r->first->method, "uniform");
}

static bool has_no_bonus(const sb_model_run *r)
{
    return is_value(r, "value", "none") ||
           !sb_param_value(r->first->params, sb_span_of("value")).at;
}

static bool is_constant(const sb_model_run *r)
{
    sb_span shape = sb_param_value(r->first->params, sb_span_of("schedule.shape"));
    return is_value(r, "mu", "1") && (!shape.at || sb_span_same(shape, sb_span_of("linear")) ||
                                      sb_span_same(shape, sb_span_of("constant")));
}

static bool serves(rule k, const sb_model_run *r, const sb_model_run *base)
{
    const sb_record *a = r->first, *b = base->first;
    if (a->block != b->block || a->tokens != b->tokens || !sb_model_same(a->setting, b->setting))
        return false;
    if (k == AGAINST_UNIFORM)
        return is_uniform(base);
    if (!sb_model_same(a->method, b->method) ||
        !(k == AGAINST_NO_BONUS ? !has_no_bonus(r) && has_no_bonus(base) : is_constant(base)))
        return false;
    return covers(k, a, b) && covers(k, b, a);
}

static double apart(const sb_model_run *r, const sb_model_run *base)
{
    return fabs(r->density / base->density - 1);
}

static bool is_near(const sb_model_run *r, const sb_model_run *base)
{
    double x;
    sb_span total = sb_param_value(r->first->params, sb_span_of("schedule.total"));
    bool asked =
        sb_span_number(total, &x) &&
        sb_span_same(total, sb_param_value(base->first->params, sb_span_of("schedule.total")));
    return apart(r, base) <= (asked ? tolerance_of_total : tolerance);
}

/* The best of those that serve at nearly equal density, or within reach of a line; or NULL. */
static const sb_model_run *find_base(const sb_model_pick *p, rule k, const sb_model_run *r,
                                     bool line)
{
    const sb_model_run *best = NULL;
    for (int64_t i = 0; i < p->n; i++) {
        const sb_model_run *base = p->runs[i];
        if (!(line ? apart(r, base) <= reach : is_near(r, base)) || !serves(k, r, base))
            continue;
        int64_t more = best ? n_shared(r->first, base->first) - n_shared(r->first, best->first) : 1;
        if (more > 0 || (more == 0 && apart(r, base) < apart(r, best)))
            best = base;
    }
    return best;
}

/* The other end of a line: best beyond the run's density, else the nearest. */
static const sb_model_run *find_other(const sb_model_pick *p, rule k, const sb_model_run *r,
                                      const sb_model_run *base)
{
    const sb_model_run *best = NULL;
    bool above = r->density > base->density, best_beyond = false;
    for (int64_t i = 0; i < p->n; i++) {
        const sb_model_run *other = p->runs[i];
        if (apart(other, base) < least_line || !serves(k, r, other) ||
            !sb_plot_same_curve(base->first, other->first))
            continue;
        bool beyond = (other->density > base->density) == above;
        if (!best || beyond > best_beyond ||
            (beyond == best_beyond && apart(other, base) < apart(best, base))) {
            best = other;
            best_beyond = beyond;
        }
    }
    return best;
}

static sb_model_pair pair_by(const sb_model_pick *p, rule k, const sb_model_run *r)
{
    const sb_model_run *base = find_base(p, k, r, false), *other = NULL;
    if (!base) {
        base = find_base(p, k, r, true);
        other = base ? find_other(p, k, r, base) : NULL;
        base = other ? base : NULL;
    }
    return (sb_model_pair){r, base, other};
}

static sb_model_pair pair_of(const sb_model_pick *p, bool uniform, const sb_model_run *r,
                             rule *used)
{
    *used = uniform ? AGAINST_UNIFORM : AGAINST_NO_BONUS;
    sb_model_pair pair = pair_by(p, *used, r);
    if (pair.base || uniform)
        return pair;
    *used = AGAINST_CONSTANT;
    return pair_by(p, *used, r);
}

static bool is_base(const sb_model_pairs *out, const sb_model_run *r)
{
    for (int64_t i = 0; i < out->n; i++)
        if (out->pairs[i].base == r || out->pairs[i].other == r)
            return true;
    return false;
}

/* Keep the pairs of two runs, and count runs that are in none. */
static void sum_up(sb_model_pairs *out)
{
    int64_t n = 0;
    for (int64_t i = 0; i < out->n; i++)
        out->n_alone += !out->pairs[i].base && !is_base(out, out->pairs[i].run);
    for (int64_t i = 0; i < out->n; i++) {
        sb_model_pair pair = out->pairs[i];
        if (!pair.base || pair.base == pair.run)
            continue;
        if (pair.other)
            out->n_lines++;
        else
            out->apart = fmax(out->apart, apart(pair.run, pair.base));
        out->pairs[n++] = pair;
    }
    out->n = n;
}

sb_status sb_model_pair_runs(const sb_model_pick *p, sb_model_pairs *out, sb_err *err)
{
    bool uniform = false, used[N_RULES] = {false};
    *out = (sb_model_pairs){.pairs = sb_alloc(p->n, sizeof *out->pairs), .n = p->n};
    if (!out->pairs)
        return sb_no_memory(err, "plot data");
    for (int64_t i = 0; i < p->n; i++)
        uniform |= is_uniform(p->runs[i]);
    for (int64_t i = 0; i < p->n; i++) {
        rule k;
        out->pairs[i] = pair_of(p, uniform, p->runs[i], &k);
        used[k] |= out->pairs[i].base && out->pairs[i].base != p->runs[i];
    }
    out->rule = used[AGAINST_NO_BONUS] && used[AGAINST_CONSTANT]
                    ? "the same setting without value bonus; of one without it, that at μ = 1"
                : used[AGAINST_NO_BONUS] ? rule_texts[AGAINST_NO_BONUS]
                : uniform                ? rule_texts[AGAINST_UNIFORM]
                                         : rule_texts[AGAINST_CONSTANT];
    sum_up(out);
    return SB_OK;
}

void sb_model_pairs_free(sb_model_pairs *p)
{
    sb_free(p->pairs);
    *p = (sb_model_pairs){0};
}
