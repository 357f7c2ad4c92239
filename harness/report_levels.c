/* Costs at which curves of a group are compared, as most of them have a setting there. */
#include "harness/report_levels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/report_view.h"

/* What a setting was matched to: "density: stem mu=1", or nothing. */
static const char *target_of(const sb_plot_point *p)
{
    return p->cells[0]->match_target;
}

static void find_matched(sb_report_levels *v)
{
    for (int64_t i = 0; i < v->g->n_points; i++) {
        const char *target = target_of(&v->g->points[i]);
        v->matched |= *target != '\0';
        v->by_flops |= strncmp(target, "flops", 5) == 0;
    }
}

static double cost(const sb_report_levels *v, const sb_plot_point *p)
{
    return v->by_flops ? p->budget : p->density;
}

static double apart(double a, double b)
{
    return fabs(log(a / b));
}

static bool competes(const sb_report_levels *v, const sb_plot_point *p)
{
    return p->tokens == v->tokens && isfinite(p->rel_l2) && cost(v, p) > 0 &&
           !sb_report_is_bound(&v->g->curves[p->curve]) &&
           !sb_report_is_partial(&v->g->curves[p->curve]);
}

static bool within(double a, double b)
{
    return apart(a, b) <= log(SB_REPORT_TOLERANCE);
}

/* A setting that competes. */
typedef struct entry {
    double cost;
    const sb_plot_point *point;
    int64_t n_sharing; /* curves with a setting at its cost */
} entry;

static int by_cost(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->cost != y->cost)
        return x->cost < y->cost ? -1 : 1;
    return x->point < y->point ? -1 : x->point > y->point;
}

static int by_point(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return x->point < y->point ? -1 : x->point > y->point;
}

/* The settings that compete, of the length, by point; entries and n_of [n_curves], zeroed, are
 * room. Returns how many. */
static int64_t find_entries(const sb_report_levels *v, entry *entries, int64_t *n_of)
{
    int64_t n = 0, lo = 0, hi = 0, n_curves = 0; /* n_of: in the window from lo to hi */
    for (int64_t i = 0; i < v->g->n_points; i++) {
        const sb_plot_point *p = &v->g->points[i];
        if (competes(v, p))
            entries[n++] = (entry){.cost = cost(v, p), .point = p};
    }
    qsort(entries, (size_t)n, sizeof *entries, by_cost);
    for (int64_t i = 0; i < n; i++) {
        for (; hi < n && (hi <= i || within(entries[hi].cost, entries[i].cost)); hi++)
            n_curves += n_of[entries[hi].point->curve]++ == 0;
        for (; lo < i && !within(entries[lo].cost, entries[i].cost); lo++)
            n_curves -= --n_of[entries[lo].point->curve] == 0;
        entries[i].n_sharing = n_curves;
    }
    qsort(entries, (size_t)n, sizeof *entries, by_point);
    return n;
}

static bool overlaps(const sb_report_levels *v, double at)
{
    for (int i = 0; i < v->n; i++)
        if (apart(v->level[i].at, at) <= 2 * log(SB_REPORT_TOLERANCE))
            return true;
    return false;
}

static void insert(sb_report_levels *v, const entry *e)
{
    int i = v->n++;
    for (; i > 0 && v->level[i - 1].at > e->cost; i--)
        v->level[i] = v->level[i - 1];
    v->level[i] = (sb_report_level){.at = e->cost, .n_sharing = e->n_sharing};
}

/* Costs that most curves share first. Among equals the first curve's, which others are matched to.
 */
static void find_levels(sb_report_levels *v, const entry *entries, int64_t n)
{
    while (v->n < SB_REPORT_LEVELS) {
        const entry *best = NULL;
        for (int64_t i = 0; i < n; i++) {
            const entry *e = &entries[i];
            if (e->n_sharing > (best ? best->n_sharing : 1) && !overlaps(v, e->cost) &&
                !(v->matched && *target_of(e->point)))
                best = e;
        }
        if (!best)
            return;
        insert(v, best);
    }
}

/* ---- curves at a cost ------------------------------------------------------------------- */

const sb_plot_point *sb_report_point_at(const sb_report_levels *v, int64_t curve, double at)
{
    const sb_plot_point *best = NULL;
    int64_t n;
    const sb_plot_point *own = sb_plot_points_of(v->g, curve, v->tokens, &n);
    for (int64_t i = 0; i < n; i++)
        if (isfinite(own[i].rel_l2) && within(cost(v, &own[i]), at) &&
            (!best || apart(cost(v, &own[i]), at) < apart(cost(v, best), at)))
            best = &own[i];
    return best;
}

/* The curve with the least error at a cost among those that compete, but `but`. */
static const sb_plot_point *least_error(const sb_report_levels *v, double at,
                                        const sb_plot_point *but)
{
    const sb_plot_point *best = NULL;
    for (int64_t c = 0; c < v->g->n_curves; c++) {
        const sb_plot_point *p = sb_report_point_at(v, c, at);
        if (p && competes(v, p) && (!but || p->curve != but->curve) &&
            (!best || p->rel_l2 < best->rel_l2))
            best = p;
    }
    return best;
}

sb_status sb_report_levels_find(const sb_plot_group *g, int64_t tokens, sb_report_levels *v,
                                sb_err *err)
{
    sb_status st = SB_OK;
    entry *entries = sb_alloc(g->n_points, sizeof *entries);
    int64_t *n_of = sb_alloc(g->n_curves, sizeof *n_of);
    *v = (sb_report_levels){.g = g, .tokens = tokens};
    SB_CHECK(entries && n_of, err, SB_NO_MEMORY, "out of memory for a table");
    find_matched(v);
    find_levels(v, entries, find_entries(v, entries, n_of));
    for (int i = 0; i < v->n; i++) {
        sb_report_level *l = &v->level[i];
        l->best = least_error(v, l->at, NULL);
        l->next = least_error(v, l->at, l->best);
    }
out:
    sb_free(n_of);
    sb_free(entries);
    return st;
}
