/* The curves and points that the records of a group form. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/equal.h"
#include "harness/mem.h"
#include "harness/plot_data.h"
#include "harness/plot_params.h"

/* ---- which curve and which point a record is of --------------------------------------------- */

/* The records of a group that have a pattern, run by run. */
typedef struct cells {
    const sb_record **own;
    int64_t n, ends[SB_PLOT_RUNS];
    int64_t *first; /* of each the first one that is alike, of any run */
    int64_t *curve; /* of each its curve */
    int64_t *point; /* of each its point */
} cells;

static int run_of(const cells *c, int64_t i)
{
    int run = 0;
    while (i >= c->ends[run])
        run++;
    return run;
}

static char *curve_key(const void *things, int64_t i)
{
    const sb_record *r = ((const cells *)things)->own[i];
    return sb_params_key(r->method ? r->method : "", r->params, (sb_span){0});
}

/* A budget that was solved for differs from layer to layer: what it was matched to identifies it.
 */
static char *point_key(const void *things, int64_t i)
{
    const cells *c = things;
    const sb_record *r = c->own[i];
    bool matched = r->match_target && *r->match_target;
    const char *setting = matched ? r->match_target : r->params ? r->params : "";
    return sb_sprintf("%" PRId64 " %" PRId64 " %c%s", c->curve[i], r->tokens, matched ? 'm' : 'p',
                      setting);
}

/* Curves come in the order of the records; those of a setting in two runs are twins. */
static sb_status find_curves(sb_plot_group *g, cells *c, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t *of[SB_PLOT_RUNS] = {NULL}; /* by run and c->first: the curve */
    for (int k = 0; k < g->n_runs; k++) {
        of[k] = sb_alloc(c->n, sizeof *of[k]);
        SB_CHECK(of[k], err, SB_NO_MEMORY, "out of memory for plot data");
        for (int64_t i = 0; i < c->n; i++)
            of[k][i] = -1;
    }
    SB_TRY(sb_first_equal(c, c->n, curve_key, c->first, err));
    for (int64_t i = 0; i < c->n; i++) {
        int run = run_of(c, i);
        int64_t *curve = &of[run][c->first[i]];
        if (*curve < 0) {
            *curve = g->n_curves++;
            g->curves[*curve] = (sb_plot_curve){
                .first = c->own[i], .run = run, .twin = run > 0 ? of[0][c->first[i]] : -1};
        }
        c->curve[i] = *curve;
    }
out:
    for (int k = 0; k < g->n_runs; k++)
        sb_free(of[k]);
    return st;
}

static int64_t index_of(const int64_t *values, int64_t value)
{
    int64_t i = 0;
    while (values[i] != value)
        i++;
    return i;
}

static sb_status find_points(sb_plot_group *g, cells *c, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(sb_first_equal(c, c->n, point_key, c->first, err));
    for (int64_t i = 0; i < c->n; i++) {
        const sb_record *r = c->own[i];
        if (c->first[i] == i) {
            c->point[i] = g->n_points;
            g->points[g->n_points] = (sb_plot_point){.curve = c->curve[i],
                                                     .tokens = r->tokens,
                                                     .cells = &g->cells[g->n_points * g->n_layers]};
            g->n_points++;
        }
        c->point[i] = c->point[c->first[i]];
        g->points[c->point[i]].cells[index_of(g->layers, r->layer)] = r;
    }
out:
    return st;
}

static void drop_incomplete(sb_plot_group *g)
{
    int64_t n_kept = 0;
    for (int64_t i = 0; i < g->n_points; i++) {
        int64_t n_cells = 0;
        for (int64_t l = 0; l < g->n_layers; l++)
            n_cells += g->points[i].cells[l] != NULL;
        if (n_cells == g->n_layers)
            g->points[n_kept++] = g->points[i];
    }
    g->n_incomplete = g->n_points - n_kept;
    g->n_points = n_kept;
}

/* ---- figures of a point --------------------------------------------------------------------- */

static void combine_layers(sb_plot_point *p, int64_t n_layers)
{
    double spent = 0, dense = 0, logs = 0, n = (double)n_layers;
    for (int64_t l = 0; l < n_layers; l++) {
        const sb_record *r = p->cells[l];
        spent += r->flops_attend + r->flops_select;
        dense += r->flops_dense;
        logs += log(r->rel_l2);
        p->density += r->density / n;
        p->select_ms += r->select_ms / n;
        p->attend_ms += r->attend_ms / n;
        p->total_ms += r->total_ms / n;
        p->total_ms_lo += r->total_ms_lo / n;
        p->total_ms_hi += r->total_ms_hi / n;
    }
    p->budget = spent / dense;
    p->rel_l2 = exp(logs / n);
}

static int by_curve(const void *a, const void *b)
{
    const sb_plot_point *p = a, *q = b;
    if (p->curve != q->curve)
        return p->curve < q->curve ? -1 : 1;
    if (p->tokens != q->tokens)
        return p->tokens < q->tokens ? -1 : 1;
    if (isnan(p->density) != isnan(q->density))
        return isnan(p->density) ? 1 : -1;
    if (p->density < q->density || p->density > q->density)
        return p->density < q->density ? -1 : 1;
    return p->cells[0]->cell < q->cells[0]->cell ? -1 : p->cells[0]->cell > q->cells[0]->cell;
}

/* ---- the front ------------------------------------------------------------------------------ */

static int by_budget(const void *a, const void *b)
{
    const sb_plot_point *p = *(sb_plot_point *const *)a, *q = *(sb_plot_point *const *)b;
    if (p->tokens != q->tokens)
        return p->tokens < q->tokens ? -1 : 1;
    if (p->budget != q->budget)
        return p->budget < q->budget ? -1 : 1;
    return p->rel_l2 < q->rel_l2 ? -1 : p->rel_l2 > q->rel_l2;
}

/* sorted [n_points] is room. */
static void mark_pareto(sb_plot_group *g, sb_plot_point **sorted)
{
    int64_t n = 0;
    double least = INFINITY; /* error of those before at the length */
    for (int64_t i = 0; i < g->n_points; i++)
        if (isfinite(g->points[i].budget) && isfinite(g->points[i].rel_l2))
            sorted[n++] = &g->points[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_budget);
    for (int64_t i = 0; i < n; i++) {
        const sb_plot_point *before = i > 0 ? sorted[i - 1] : NULL;
        if (!before || before->tokens != sorted[i]->tokens)
            least = INFINITY;
        bool equal = before && by_budget(&before, &sorted[i]) == 0;
        sorted[i]->pareto = equal ? before->pareto : sorted[i]->rel_l2 < least;
        least = fmin(least, sorted[i]->rel_l2);
    }
}

/* ---- the points ----------------------------------------------------------------------------- */

static void collect(cells *c, const sb_record *const *own, const int64_t *ends, int n_runs)
{
    for (int k = 0; k < n_runs; k++) {
        for (int64_t i = k > 0 ? ends[k - 1] : 0; i < ends[k]; i++)
            if (!sb_plot_is_dense(own[i]))
                c->own[c->n++] = own[i];
        c->ends[k] = c->n;
    }
}

sb_status sb_plot_make_points(sb_plot_group *g, const sb_record *const *own, const int64_t *ends,
                              sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n = ends[g->n_runs - 1];
    sb_plot_point **sorted = sb_alloc(n, sizeof *sorted);
    cells c = {.own = sb_alloc(n, sizeof *c.own),
               .first = sb_alloc(n, sizeof *c.first),
               .curve = sb_alloc(n, sizeof *c.curve),
               .point = sb_alloc(n, sizeof *c.point)};
    SB_CHECK(sorted && c.own && c.first && c.curve && c.point, err, SB_NO_MEMORY,
             "out of memory for plot data");
    collect(&c, own, ends, g->n_runs);
    SB_TRY(find_curves(g, &c, err));
    SB_TRY(find_points(g, &c, err));
    drop_incomplete(g);
    for (int64_t i = 0; i < g->n_points; i++)
        combine_layers(&g->points[i], g->n_layers);
    qsort(g->points, (size_t)g->n_points, sizeof *g->points, by_curve);
    mark_pareto(g, sorted);
out:
    sb_free(c.point);
    sb_free(c.curve);
    sb_free(c.first);
    sb_free(c.own);
    sb_free(sorted);
    return st;
}
