/* Settings of nearly equal density, at which curves are compared. */
#include <math.h>

#include "harness/plot_data.h"

static double log_ratio(double a, double b)
{
    return fabs(log(a / b));
}

/* The first point that is not before curve and tokens and, there, not below the density. */
static int64_t lower_bound(const sb_plot_group *g, int64_t curve, int64_t tokens, double density)
{
    int64_t lo = 0, hi = g->n_points;
    while (lo < hi) {
        int64_t middle = lo + (hi - lo) / 2;
        const sb_plot_point *p = &g->points[middle];
        bool before = p->curve != curve     ? p->curve < curve
                      : p->tokens != tokens ? p->tokens < tokens
                                            : p->density < density;
        lo = before ? middle + 1 : lo;
        hi = before ? hi : middle;
    }
    return lo;
}

const sb_plot_point *sb_plot_points_of(const sb_plot_group *g, int64_t curve, int64_t tokens,
                                       int64_t *n)
{
    int64_t from = lower_bound(g, curve, tokens, -INFINITY);
    int64_t to = tokens > 0 ? lower_bound(g, curve, tokens + 1, -INFINITY)
                            : lower_bound(g, curve + 1, 0, -INFINITY);
    *n = to - from;
    return g->points + from;
}

const sb_plot_point *sb_plot_nearest(const sb_plot_group *g, int64_t curve, int64_t tokens,
                                     double density)
{
    int64_t n;
    const sb_plot_point *own = sb_plot_points_of(g, curve, tokens, &n);
    const sb_plot_point *best = g->points + lower_bound(g, curve, tokens, density);
    if (n == 0)
        return NULL;
    if (best == own + n ||
        (best > own && !(log_ratio(best->density, density) < log_ratio(best[-1].density, density))))
        best--;
    /* of equals the first */
    while (best > own && log_ratio(best[-1].density, density) <= log_ratio(best->density, density))
        best--;
    return log_ratio(best->density, density) < log(1.5) ? best : NULL;
}

static int64_t n_served(const sb_plot_group *g, int64_t from_length, double density)
{
    int64_t n = 0;
    for (int64_t c = 0; c < g->n_curves; c++)
        for (int64_t i = from_length; i < g->n_lengths && g->curves[c].slot > 0; i++)
            n += sb_plot_nearest(g, c, g->lengths[i], density) != NULL;
    return n;
}

double sb_plot_density(const sb_plot_group *g, int64_t from_length)
{
    double best = NAN;
    int64_t most = 0;
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        if (g->curves[p->curve].slot == 0 || p->tokens != g->lengths[g->n_lengths - 1])
            continue;
        int64_t n = n_served(g, from_length, p->density);
        if (n > most || (n == most && log_ratio(p->density, .25) < log_ratio(best, .25))) {
            most = n;
            best = p->density;
        }
    }
    return best;
}

int64_t sb_plot_longest(const sb_plot_group *g)
{
    return g->n_lengths > 0 ? g->lengths[g->n_lengths - 1] : 0;
}
