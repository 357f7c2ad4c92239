#include "harness/match.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/flops.h"
#include "harness/mem.h"
#include "methods/kernels/cpu/attend.h"

/* ---- the search ---------------------------------------------------------------------------- */

/*
 * Values lie along a coordinate u in which the quantity grows: whole numbers as they are, real
 * numbers by their log odds within the range, as thresholds are fine at both ends. A miss is the
 * quantity over the wanted one, less 1 or, over log odds, its logarithm: nearly straight lines.
 */
static const double edge = 16;         /* log odds that stand for an end */
static const double well_inside = 7;   /* of a first guess: from an end the way is long */
static const double resolution = 1e-3; /* of log odds */

enum { PATIENCE = 8, SLACK = 5, MAX_OUTWARDS = 3, MAX_SAME = 4 };

typedef struct search {
    const sb_match_range *range;
    double u[2];          /* too little below u[0], too much above u[1] */
    double y[2], miss[2]; /* there, where tried; a miss is halved where its end stays */
    bool tried[2];
    int n_same; /* tries in a row that found what an end had: the quantity jumps between them */
    int last;   /* side of the last try */
    double width[2]; /* of the bracket, one and two tries ago */
    int n_outwards;
    double stride; /* last step outwards */
} search;

/* As printed: 9 digits. */
static double rounded(double x)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%.9g", x);
    return strtod(text, NULL);
}

static double value_at(const sb_match_range *r, double u)
{
    double odds = r->direction * u;
    if (r->whole)
        return odds;
    if (odds >= edge)
        return r->high;
    if (odds <= -edge && !r->low_open)
        return r->low;
    return rounded(r->low + (r->high - r->low) / (1 + exp(-fmax(odds, -edge))));
}

static double coordinate(const sb_match_range *r, double x)
{
    if (r->whole)
        return r->direction * fmin(fmax(nearbyint(x), r->low), r->high);
    double share = (x - r->low) / (r->high - r->low);
    return r->direction * fmin(fmax(log(share / (1 - share)), -well_inside), well_inside);
}

static search start(const sb_match_range *r)
{
    search s = {.range = r, .last = -1, .width = {INFINITY, INFINITY}};
    s.u[0] = !r->whole ? -edge : r->direction > 0 ? r->low : -r->high;
    s.u[1] = !r->whole ? edge : r->direction > 0 ? r->high : -r->low;
    return s;
}

static void narrow(search *s, double u, double y, double miss)
{
    int side = miss < 0 ? 0 : 1;
    s->n_same = s->tried[side] && y == s->y[side] ? s->n_same + 1 : 0;
    if (side == s->last)
        s->miss[1 - side] /= 2;
    s->u[side] = u;
    s->y[side] = y;
    s->miss[side] = miss;
    s->tried[side] = true;
    s->last = side;
}

/* Whether there is a value left that is worth a try. */
static bool is_open(const search *s)
{
    bool bracket = s->tried[0] && s->tried[1];
    if (bracket && s->n_same >= MAX_SAME)
        return false;
    if (s->range->whole)
        return s->u[0] + s->tried[0] <= s->u[1] - s->tried[1];
    return s->u[1] - s->u[0] > (bracket ? resolution : 0);
}

/* Towards the side not tried yet, in growing steps and then to its end. */
static double outwards(search *s)
{
    int from = s->tried[0] ? 0 : 1;
    double here = s->u[from], end = s->u[1 - from], miss = fabs(s->miss[from]);
    double wish = s->range->whole ? fmax(1, nearbyint(miss * fabs(s->range->guess)))
                                  : fmin(fmax(1.5 * miss, .25), 3);
    s->stride = fmax(wish, 2 * s->stride);
    if (++s->n_outwards > MAX_OUTWARDS || s->stride >= fabs(end - here))
        return end;
    return from == 0 ? here + s->stride : here - s->stride;
}

static double between(search *s)
{
    double width = s->u[1] - s->u[0];
    double share = s->miss[0] / (s->miss[0] - s->miss[1]);
    bool slow = width > s->width[1] / 2;
    double u = s->u[0] + width * (slow ? .5 : fmin(fmax(share, .01), .99));
    s->width[1] = s->width[0];
    s->width[0] = width;
    return s->range->whole ? fmin(fmax(nearbyint(u), s->u[0] + 1), s->u[1] - 1) : u;
}

sb_status sb_match_find(const sb_match_range *range, double wanted, double tolerance,
                        sb_match_curve *curve, void *self, sb_match_found *found, sb_err *err)
{
    search s = start(range);
    double u = coordinate(range, range->guess), least = INFINITY;
    *found = (sb_match_found){0};
    for (;;) {
        double x = value_at(range, u), y;
        sb_status st = curve(self, x, &y, err);
        if (st != SB_OK)
            return st;
        double off = fabs(y / wanted - 1);
        int n_tried = ++found->n_tried;
        if (off < least) {
            *found = (sb_match_found){x, y, n_tried};
            least = off;
        }
        narrow(&s, u, y, range->whole ? y / wanted - 1 : log(y / wanted));
        if (least <= tolerance * (n_tried < PATIENCE ? 1 : SLACK) || n_tried == SB_MATCH_TRIES ||
            !is_open(&s))
            return SB_OK;
        u = s.tried[0] && s.tried[1] ? between(&s) : outwards(&s);
    }
}

/* ---- a matched cell ------------------------------------------------------------------------ */

/* A variant of which one value is being tried. */
typedef struct trial {
    const sb_variant *variant;
    const sb_shape_data *data;
    sb_match_by by;
    int at; /* the parameter */
    sb_value values[SB_MAX_PARAMS];
} trial;

static trial trial_of(const sb_config *cfg, const sb_variant *v, const sb_shape_data *data)
{
    trial t = {.variant = v, .data = data, .by = cfg->match_by};
    memcpy(t.values, v->values, sizeof t.values);
    while (t.at < v->method->n_params && !v->method->params[t.at].solve)
        t.at++;
    return t;
}

static sb_status realise(const trial *t, double *y, sb_err *err)
{
    sb_plan *plan = NULL;
    sb_pattern pat;
    const sb_problem *p = &t->data->problem;
    if (t->data->stop && *t->data->stop)
        return sb_fail(err, SB_INTERRUPTED, "interrupted");
    sb_status st = sb_plan_and_select(t->variant->method, t->values, t->data, &plan, &pat, err);
    if (st != SB_OK)
        return st;
    const sb_pattern *kept = t->variant->method->select ? &pat : NULL;
    if (t->by == SB_MATCH_FLOPS) {
        sb_flops flops = sb_flops_count(p, kept, SB_DENSE_TILE);
        *y = (flops.attend + plan->select_flops) / flops.dense;
    } else {
        *y = kept ? sb_pattern_measure(p, kept).density : 1;
    }
    sb_pattern_free(&pat);
    sb_plan_destroy(plan);
    return SB_OK;
}

static sb_status try_value(void *self, double x, double *y, sb_err *err)
{
    trial *t = self;
    t->values[t->at] = (sb_value){.state = SB_VALUE_SET, .num = x};
    return realise(t, y, err);
}

/* What the target realises on the shape, found once for all that are matched to it. */
static sb_status wanted_of(const sb_config *cfg, int64_t target, const sb_shape_data *data,
                           double *wanted, sb_err *err)
{
    double *known = &data->realised[target];
    trial t = trial_of(cfg, &cfg->variants[target], data);
    sb_status st = *known > 0 ? SB_OK : realise(&t, known, err);
    *wanted = *known;
    return st;
}

/* A budget in blocks and a length in tokens start at the wanted share, others at their default. */
static sb_match_range range_of(const trial *t, double wanted, double *tolerance)
{
    const sb_method *m = t->variant->method;
    const sb_param *param = &m->params[t->at];
    double n_tokens = (double)t->data->problem.kv_len;
    sb_match_range r = {param->type != SB_REAL, param->min,   param->max,
                        param->min_open,        param->solve, .5 * (param->min + param->max)};
    *tolerance = 1e-3;
    if (param->type == SB_BUDGET) {
        double block = sb_real_of(m, t->values, "block"), n = ceil(n_tokens / block);
        r.low = n; /* a block a row */
        r.high = n * (n + 1) / 2;
        r.guess = wanted * r.high;
        *tolerance = .5 / r.guess;
    } else if (param->type == SB_INT) {
        r.high = fmax(r.low, fmin(r.high, n_tokens));
        r.guess = wanted * r.high;
    } else {
        int at = sb_param_index(m, "variant"), choice = at < 0 ? 0 : (int)t->values[at].num;
        sb_value value;
        sb_err ignored = {0};
        if (sb_value_parse(param, sb_param_default(param, choice), &value, &ignored) == SB_OK &&
            value.state == SB_VALUE_SET)
            r.guess = value.num;
    }
    return r;
}

char *sb_match_text(const sb_config *cfg, const sb_variant *v, const char *sep)
{
    const sb_variant *to = &cfg->variants[v->target];
    char *params = sb_values_text(to->method, to->values, sep);
    char *text =
        params ? sb_sprintf("%s: %s %s", cfg->match_by == SB_MATCH_FLOPS ? "flops" : "density",
                            to->method->name, params)
               : NULL;
    sb_free(params);
    return text;
}

sb_status sb_match_solve(const sb_sweep *sweep, const sb_shape_data *data, sb_cell *cell,
                         sb_err *err)
{
    sb_status st = SB_OK;
    const sb_config *cfg = sweep->cfg;
    const sb_variant *v = &cfg->variants[cell->variant];
    trial t = trial_of(cfg, v, data);
    double wanted, tolerance;
    sb_match_found found;
    char *text = sb_match_text(cfg, v, " ");
    SB_CHECK(text, err, SB_NO_MEMORY, "out of memory for a match target");
    SB_TRY(sb_record_set(&cell->record.match_target, text, err));
    SB_TRY(wanted_of(cfg, v->target, data, &wanted, err));
    sb_match_range range = range_of(&t, wanted, &tolerance);
    SB_TRY(sb_match_find(&range, wanted, tolerance, try_value, &t, &found, err));
    cell->values[t.at] = (sb_value){.state = SB_VALUE_SET, .num = found.x};
    cell->record.match_residual = found.y / wanted - 1;
out:
    sb_free(text);
    return st;
}
