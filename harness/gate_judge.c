#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/gate.h"

/* Where a number surely lies. */
typedef struct interval {
    double lo, hi;
} interval;

/* What a gate looks at in one cell. */
typedef struct sight {
    const sb_record *x, *y; /* baseline, candidate */
    double before, after;
    interval value, change, share; /* of the candidate; against the baseline; relative to it */
} sight;

static double number_of(const sb_column *column, const sb_record *r)
{
    return *(const double *)sb_column_of(column, r);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Whether a column holds times or rates of a machine. */
static bool is_absolute_time(const sb_column *column)
{
    const char *name = column->name;
    return strstr(name, "_ms") != NULL || ends_with(name, "_gflops");
}

static bool needs_baseline(const sb_gate *gate)
{
    for (int i = SB_LIMIT_INCREASE; i < SB_N_LIMITS; i++)
        if (!isnan(gate->limits[i]))
            return true;
    return !gate->column;
}

static double share_of(double before, double after)
{
    if (after == before)
        return 0;
    return (after - before) / fabs(before); /* from 0, infinite */
}

static void measure(const sb_gate *gate, const sb_pair *p, sight *s)
{
    s->after = number_of(gate->column, s->y);
    s->before = s->x ? number_of(gate->column, s->x) : NAN;
    s->value = (interval){s->after, s->after};
    s->change = (interval){s->after - s->before, s->after - s->before};
    s->share = (interval){share_of(s->before, s->after), share_of(s->before, s->after)};
    if (strcmp(gate->column->name, "total_ms") != 0)
        return;
    s->value = (interval){s->y->total_ms_lo, s->y->total_ms_hi};
    if (!s->x)
        return;
    s->change =
        (interval){s->y->total_ms_lo - s->x->total_ms_hi, s->y->total_ms_hi - s->x->total_ms_lo};
    s->share = (interval){p->time_lo - 1, p->time_hi - 1};
}

/* ---- one cell ------------------------------------------------------------------------------ */

static void miss(sb_gate_result *r, int64_t pair, double excess, const char *why)
{
    r->n_missed++;
    int at = r->n_shown < SB_GATE_SHOWN ? r->n_shown++ : SB_GATE_SHOWN;
    for (; at > 0 && excess > r->shown[at - 1].excess; at--)
        if (at < SB_GATE_SHOWN)
            r->shown[at] = r->shown[at - 1];
    if (at == SB_GATE_SHOWN)
        return;
    r->shown[at].pair = pair;
    r->shown[at].excess = excess;
    (void)snprintf(r->shown[at].why, sizeof r->shown[at].why, "%s", why);
}

/* How far a limit is passed: [lo, hi] around it when its interval does not tell. */
static interval excess_of(const sight *s, int kind, double limit)
{
    switch (kind) {
    case SB_LIMIT_MAX:
        return (interval){s->value.lo - limit, s->value.hi - limit};
    case SB_LIMIT_MIN:
        return (interval){limit - s->value.hi, limit - s->value.lo};
    case SB_LIMIT_INCREASE:
        return (interval){s->share.lo - limit, s->share.hi - limit};
    case SB_LIMIT_DECREASE:
        return (interval){-s->share.hi - limit, -s->share.lo - limit};
    case SB_LIMIT_ABS_INCREASE:
        return (interval){s->change.lo - limit, s->change.hi - limit};
    default:
        return (interval){-s->change.hi - limit, -s->change.lo - limit};
    }
}

static void judge_limits(const sb_gate *gate, const sight *s, int64_t pair, sb_gate_result *r)
{
    char why[200];
    bool ambiguous = false;
    for (int i = 0; i < SB_N_LIMITS; i++) {
        if (isnan(gate->limits[i]) || (i >= SB_LIMIT_INCREASE && !s->x))
            continue;
        interval excess = excess_of(s, i, gate->limits[i]);
        ambiguous |= excess.lo <= 0 && excess.hi > 0;
        if (!(excess.lo > 0))
            continue;
        if (i < SB_LIMIT_INCREASE)
            (void)snprintf(why, sizeof why, "%s %.6g; limit: %s %g", gate->column->name, s->after,
                           sb_limit_names[i], gate->limits[i]);
        else
            (void)snprintf(why, sizeof why, "%s %.6g -> %.6g (%+.3g, %+.3g%%); limit: %s %g",
                           gate->column->name, s->before, s->after, s->after - s->before,
                           100 * share_of(s->before, s->after), sb_limit_names[i], gate->limits[i]);
        miss(r, pair, excess.lo, why);
        return;
    }
    r->n_ambiguous += ambiguous;
}

static void judge_metric(const sb_gate *gate, const sb_pair *p, sight *s, int64_t pair,
                         sb_gate_result *r)
{
    char why[200];
    const char *name = gate->column->name;
    bool relative = s->x && needs_baseline(gate);
    measure(gate, p, s);
    if (isnan(s->value.lo) || (relative && isnan(s->before))) {
        (void)snprintf(why, sizeof why, "%s is empty in the %s", name,
                       isnan(s->value.lo) ? "candidate" : "baseline");
        miss(r, pair, INFINITY, why);
    } else if (relative && is_absolute_time(gate->column) && p->speed == SB_SPEED_REFUSED) {
        (void)snprintf(why, sizeof why,
                       "%s of different machines; gate speedup instead, or compare with --force",
                       name);
        miss(r, pair, INFINITY, why);
    } else {
        judge_limits(gate, s, pair, r);
    }
}

static void judge_hash(const sight *s, int64_t pair, sb_gate_result *r)
{
    char why[200];
    const char *x = s->x->mask_hash, *y = s->y->mask_hash;
    if (strcmp(x, y) == 0)
        return;
    (void)snprintf(why, sizeof why, "mask %.16s -> %.16s", x[0] ? x : "none", y[0] ? y : "none");
    miss(r, pair, fabs(s->x->density - s->y->density), why);
}

/* ---- all cells ----------------------------------------------------------------------------- */

static bool is_ok(const sb_record *r)
{
    return strcmp(r->status, "ok") == 0;
}

/* Why a cell has nothing to be judged by, or NULL. */
static const char *nothing(const sb_pair *p, const sb_record *y, char *why, size_t bytes)
{
    if (p->outcome == SB_CELL_MISSING)
        return "missing from the candidate";
    if (p->outcome == SB_CELL_RESOLVED)
        return "resolved to other parameters";
    if (is_ok(y))
        return NULL;
    (void)snprintf(why, bytes, "%s: %.150s", y->status, y->reason);
    return why;
}

/* Whether it is a cell of a method that selects nothing. */
static bool has_no_pattern(const sight *s)
{
    return s->x && !s->x->mask_hash[0] && (!s->y || !s->y->mask_hash[0]);
}

static void judge_cell(const sb_gate *gate, const sb_comparison *c, int64_t pair, sb_gate_result *r)
{
    char why[200];
    const sb_pair *p = &c->pairs[pair];
    sight s = {.x = p->base >= 0 ? &c->base.list.items[p->base] : NULL,
               .y = p->cand >= 0 ? &c->cand.list.items[p->cand] : NULL};
    if (p->outcome == SB_CELL_STILL && strcmp(s.y->status, "unsupported") == 0)
        return;
    if (s.x && !is_ok(s.x) && s.y)
        s.x = NULL;
    const char *gone = nothing(p, s.y, why, sizeof why);
    if (!gone && !s.x && needs_baseline(gate) && isnan(gate->limits[SB_LIMIT_MAX]) &&
        isnan(gate->limits[SB_LIMIT_MIN]))
        return;
    if (!gate->column && has_no_pattern(&s))
        return;
    r->n_cells++;
    if (gone)
        miss(r, pair, INFINITY, gone);
    else if (gate->column)
        judge_metric(gate, p, &s, pair, r);
    else
        judge_hash(&s, pair, r);
}

void sb_gate_judge(const sb_gate *gate, const sb_comparison *c, sb_gate_result *result)
{
    *result = (sb_gate_result){0};
    for (int64_t i = 0; i < c->n; i++)
        if (sb_where_meets(&gate->where, sb_pair_record(c, &c->pairs[i])))
            judge_cell(gate, c, i, result);
    result->failed = result->n_missed > 0 || result->n_cells < gate->min_cells;
}
