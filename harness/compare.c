#include "harness/compare.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"

const sb_judged_column sb_judged[SB_N_JUDGED] = {
    {"rel_l2", +1, 0.6, .03, .0025}, {"rel_l2_p50", +1, 1.5, 0, 0},  {"rel_l2_p95", +1, 2.5, 0, 0},
    {"rel_l2_max", +1, 10, 0, 0},    {"cosine_mean", -1, .01, 0, 0}, {"cosine_min", -1, 2, 0, 0},
    {"mass_recall", -1, .02, 0, 0},  {"lse_err", +1, .03, 0, 0},     {"impl_rel_l2", +1, .75, 0, 0},
    {"logit_kl", +1, 0, .1, 1.5e-3}, {"logit_mse", +1, 0, .1, .012}, {"top1", -1, 0, .06, 0},
    {"ppl", +1, 0, .01, 0},          {"score", -1, 0, .005, 0},
};

double sb_judged_of(int judged, const sb_record *r)
{
    return *(const double *)sb_column_of(sb_column_find(sb_judged[judged].name), r);
}

const sb_record *sb_pair_record(const sb_comparison *c, const sb_pair *p)
{
    return p->base >= 0 ? &c->base.list.items[p->base] : &c->cand.list.items[p->cand];
}

double sb_pair_tolerance(const sb_comparison *c, const sb_pair *p, int judged)
{
    if (p->base < 0)
        return NAN;
    const sb_record *r = &c->base.list.items[p->base];
    const sb_judged_column *column = &sb_judged[judged];
    return r->task[0] ? column->share * fabs(sb_judged_of(judged, r)) + column->floor
                      : column->tolerance * r->impl_rel_l2;
}

/* ---- pairing ------------------------------------------------------------------------------- */

static void add_pair(sb_comparison *c, int64_t base, int64_t cand)
{
    c->pairs[c->n++] = (sb_pair){.base = base, .cand = cand, .time_lo = NAN, .time_hi = NAN};
}

/* Pairs equal identities, in their order; what is left has -1 for the other side. */
static void pair_by_identity(sb_comparison *c)
{
    const sb_compare_run *x = &c->base, *y = &c->cand;
    int64_t i = 0, j = 0;
    while (i < x->list.n || j < y->list.n) {
        int64_t a = i < x->list.n ? x->order[i] : -1, b = j < y->list.n ? y->order[j] : -1;
        int order = a < 0 ? 1 : b < 0 ? -1 : strcmp(x->ids[a].text, y->ids[b].text);
        add_pair(c, order <= 0 ? a : -1, order >= 0 ? b : -1);
        i += order <= 0;
        j += order >= 0;
    }
}

static int by_cell(const void *a, const void *b, void *user)
{
    const sb_comparison *c = user;
    const sb_pair *x = a, *y = b;
    int64_t cell_x = sb_pair_record(c, x)->cell, cell_y = sb_pair_record(c, y)->cell;
    if ((x->base < 0) != (y->base < 0))
        return x->base < 0 ? 1 : -1;
    if (cell_x != cell_y)
        return cell_x < cell_y ? -1 : 1;
    return x->base >= 0 ? (x->base < y->base ? -1 : x->base > y->base)
                        : (x->cand < y->cand ? -1 : x->cand > y->cand);
}

static const sb_cell_id *id_of(const sb_comparison *c, const sb_pair *p)
{
    return p->base >= 0 ? &c->base.ids[p->base] : &c->cand.ids[p->cand];
}

/* Whether two cells differ in nothing before the parameters. */
static bool same_method(const sb_comparison *c, const sb_pair *p, const sb_pair *q)
{
    const sb_cell_id *x = id_of(c, p), *y = id_of(c, q);
    return x->n_method == y->n_method && memcmp(x->text, y->text, (size_t)x->n_method) == 0;
}

/* Joins the missing and the extra cells of pairs [first, end), where there are as many of both:
 * leaves them by cell, the joined ones without a record on either side. */
static void join(sb_comparison *c, int64_t first, int64_t end)
{
    int64_t n_missing = 0, n_extra = 0;
    for (int64_t i = first; i < end; i++) {
        n_missing += c->pairs[i].cand < 0;
        n_extra += c->pairs[i].base < 0;
    }
    if (n_missing != n_extra || n_missing == 0)
        return;
    qsort_r(&c->pairs[first], (size_t)(end - first), sizeof *c->pairs, by_cell, c);
    sb_pair *extra = &c->pairs[end - n_extra];
    for (int64_t i = first; i < end - n_extra; i++) {
        if (c->pairs[i].cand >= 0)
            continue;
        c->pairs[i].cand = extra->cand;
        c->pairs[i].outcome = SB_CELL_RESOLVED;
        (extra++)->cand = -1;
    }
}

/* Pairs what is left, shape by shape and method by method, which are neighbours now. */
static void pair_rest(sb_comparison *c)
{
    int64_t n = 0;
    for (int64_t first = 0, end = 0; first < c->n; first = end) {
        for (end = first + 1; end < c->n && same_method(c, &c->pairs[first], &c->pairs[end]);)
            end++;
        join(c, first, end);
    }
    for (int64_t i = 0; i < c->n; i++)
        if (c->pairs[i].base >= 0 || c->pairs[i].cand >= 0)
            c->pairs[n++] = c->pairs[i];
    c->n = n;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static bool is_ok(const sb_record *r)
{
    return strcmp(r->status, "ok") == 0;
}

/* By how many tolerances a value got worse; negative: better. A value that is gone: infinite. */
static double worsening(double before, double after, double tolerance, int worse)
{
    if (isnan(after))
        return isnan(before) ? 0 : INFINITY;
    if (isnan(before) || before == after)
        return 0;
    return worse * (after - before) / (tolerance > 0 ? tolerance : DBL_MIN);
}

static void judge_fidelity(const sb_comparison *c, sb_pair *p)
{
    const sb_record *x = &c->base.list.items[p->base], *y = &c->cand.list.items[p->cand];
    for (int i = 0; i < SB_N_JUDGED; i++) {
        double w = worsening(sb_judged_of(i, x), sb_judged_of(i, y), sb_pair_tolerance(c, p, i),
                             sb_judged[i].worse);
        p->worse |= (uint32_t)(w > 1) << i;
        p->better |= (uint32_t)(w < -1) << i;
        p->severity = fmax(p->severity, w);
    }
    p->mask_differs = strcmp(x->mask_hash, y->mask_hash) != 0;
    if (p->mask_differs || p->worse)
        p->outcome = SB_CELL_REGRESSED;
    else if (p->better)
        p->outcome = SB_CELL_IMPROVED;
}

static bool timed(const sb_record *r)
{
    return r->total_ms_lo > 0 && r->total_ms_hi >= r->total_ms_lo && isfinite(r->total_ms_hi);
}

static bool same_machine(const sb_comparison *c, const sb_pair *p)
{
    const char *x = c->base.machines[c->base.machine[p->base]];
    return x[0] && strcmp(x, c->cand.machines[c->cand.machine[p->cand]]) == 0;
}

static void judge_time(sb_comparison *c, int64_t i, bool force)
{
    sb_pair *p = &c->pairs[i];
    const sb_record *x = &c->base.list.items[p->base], *y = &c->cand.list.items[p->cand];
    if (!timed(x) || !timed(y))
        return;
    if (!same_machine(c, p)) {
        if (c->other_machine < 0)
            c->other_machine = i;
        if (!force) {
            p->speed = SB_SPEED_REFUSED;
            return;
        }
    }
    p->time_lo = y->total_ms_lo / x->total_ms_hi;
    p->time_hi = y->total_ms_hi / x->total_ms_lo;
    if (p->time_lo >= 1 - SB_SAME_TIME && p->time_hi <= 1 + SB_SAME_TIME)
        p->speed = SB_SPEED_SAME;
    else if (p->time_hi < 1)
        p->speed = SB_SPEED_FAST;
    else if (p->time_lo > 1)
        p->speed = SB_SPEED_SLOW;
    else
        p->speed = SB_SPEED_AMBG;
}

static void judge(sb_comparison *c, int64_t i, bool force)
{
    sb_pair *p = &c->pairs[i];
    bool was_ok = p->base >= 0 && is_ok(&c->base.list.items[p->base]);
    bool now_ok = p->cand >= 0 && is_ok(&c->cand.list.items[p->cand]);
    if (p->cand < 0)
        p->outcome = SB_CELL_MISSING;
    else if (p->base < 0)
        p->outcome = SB_CELL_EXTRA;
    else if (p->outcome == SB_CELL_RESOLVED)
        p->outcome = SB_CELL_RESOLVED;
    else if (was_ok && now_ok)
        judge_fidelity(c, p);
    else if (was_ok)
        p->outcome = SB_CELL_FAILED;
    else
        p->outcome = now_ok ? SB_CELL_RECOVERED : SB_CELL_STILL;
    if (p->outcome >= SB_CELL_RESOLVED)
        p->severity = INFINITY;
    if (was_ok && now_ok && p->outcome != SB_CELL_RESOLVED)
        judge_time(c, i, force);
}

/* ---- counts -------------------------------------------------------------------------------- */

static void add_ratio(sb_ratio *r, double before, double after)
{
    double x = after / before;
    if (!(x > 0) || !isfinite(x))
        return;
    r->min = r->n == 0 ? x : fmin(r->min, x);
    r->max = r->n == 0 ? x : fmax(r->max, x);
    r->mean += log(x);
    r->n++;
}

static void count(sb_comparison *c)
{
    for (int64_t i = 0; i < c->n; i++) {
        const sb_pair *p = &c->pairs[i];
        const sb_record *x = p->base >= 0 ? &c->base.list.items[p->base] : NULL;
        const sb_record *y = p->cand >= 0 ? &c->cand.list.items[p->cand] : NULL;
        c->n_outcomes[p->outcome]++;
        c->n_speeds[p->speed]++;
        c->n_failed += y && strcmp(y->status, "failed") == 0;
        c->n_unsupported += y && strcmp(y->status, "unsupported") == 0;
        if (!x || !y || p->outcome == SB_CELL_RESOLVED || !is_ok(x) || !is_ok(y))
            continue;
        c->n_masks += x->mask_hash[0] || y->mask_hash[0];
        c->n_masks_differ += p->mask_differs;
        c->n_solved += x->match_target[0] && strcmp(x->params, y->params) != 0;
        add_ratio(&c->speedup, x->speedup, y->speedup);
        add_ratio(&c->conversion, x->conversion, y->conversion);
    }
    c->speedup.mean = exp(c->speedup.mean / (double)c->speedup.n);
    c->conversion.mean = exp(c->conversion.mean / (double)c->conversion.n);
}

static bool is_worse(const sb_comparison *c, int64_t i, int64_t j)
{
    const sb_pair *x = &c->pairs[i], *y = &c->pairs[j];
    if (x->outcome != y->outcome)
        return x->outcome > y->outcome;
    return x->severity > y->severity || (x->severity == y->severity && i < j);
}

int64_t sb_compare_worst(const sb_comparison *c, int64_t *worst, int64_t most)
{
    int64_t n = 0;
    for (int64_t i = 0; i < c->n; i++) {
        if (c->pairs[i].outcome <= SB_CELL_STILL)
            continue;
        int64_t at = n < most ? n++ : n;
        for (; at > 0 && is_worse(c, i, worst[at - 1]); at--)
            if (at < most)
                worst[at] = worst[at - 1];
        if (at < most)
            worst[at] = i;
    }
    return n;
}

sb_status sb_compare(const char *baseline, const char *candidate, const sb_where *where, bool force,
                     sb_comparison *c, sb_err *err)
{
    sb_status st = SB_OK;
    *c = (sb_comparison){.other_machine = -1};
    SB_TRY(sb_compare_run_load(baseline, where, &c->base, err));
    SB_TRY(sb_compare_run_load(candidate, where, &c->cand, err));
    bool by_columns = c->base.from_csv || c->cand.from_csv;
    SB_TRY(sb_compare_run_identify(&c->base, by_columns, err));
    SB_TRY(sb_compare_run_identify(&c->cand, by_columns, err));
    SB_CHECK(c->base.list.n > 0, err, SB_BAD_DATA, "%s: no cell%s; expected at least one", baseline,
             c->base.n_left_out > 0 ? " that --where names" : "");
    c->pairs = sb_alloc(c->base.list.n + c->cand.list.n, sizeof *c->pairs);
    SB_CHECK(c->pairs, err, SB_NO_MEMORY, "out of memory for pairs of cells");
    pair_by_identity(c);
    pair_rest(c);
    qsort_r(c->pairs, (size_t)c->n, sizeof *c->pairs, by_cell, c);
    for (int64_t i = 0; i < c->n; i++)
        judge(c, i, force);
    count(c);
out:
    return st;
}

void sb_comparison_free(sb_comparison *c)
{
    sb_compare_run_free(&c->base);
    sb_compare_run_free(&c->cand);
    sb_free(c->pairs);
    *c = (sb_comparison){0};
}
