/* Runs of a model that a picture shows, and the curves and levels of density that they form. */
#include <math.h>

#include "harness/mem.h"
#include "harness/plot_model.h"
#include "harness/plot_params.h"

/* ---- curves -----------------------------------------------------------------------------------
 */

static bool same_curve(const sb_model_pick *p, const sb_record *a, const sb_record *b)
{
    if (!sb_plot_same_curve(a, b))
        return false;
    return !p->by_budget || sb_model_same(a->params, b->params);
}

static sb_status add_run(sb_model_pick *p, const sb_model_run *r, sb_err *err)
{
    sb_record *stub = &p->stubs[p->n_curves];
    stub->method = r->first->method;
    stub->params = sb_param_without(r->first->params, sb_span_of("block"));
    if (!stub->params)
        return sb_no_memory(err, "plot data");
    int64_t c = 0;
    while (c < p->n_curves && !same_curve(p, &p->stubs[c], stub))
        c++;
    if (c < p->n_curves) {
        sb_free(stub->params);
        stub->params = NULL;
    } else {
        p->curves[p->n_curves++].first = stub;
    }
    p->curve[p->n] = c;
    p->runs[p->n++] = r;
    return SB_OK;
}

/* The budgets of curve c that another one of its label has not, " name=value". */
static sb_status add_budgets(sb_plot_curve *curves, int64_t n, int64_t c, char **label, sb_err *err)
{
    const sb_record *r = curves[c].first;
    sb_span name, value;
    for (const char *at = r->params; sb_param_next(&at, &name, &value);) {
        bool differs = false;
        for (int64_t i = 0; i < n && sb_param_is_budget(r->method, name); i++)
            differs |= sb_model_same(curves[i].label, curves[c].label) &&
                       !sb_span_same(sb_param_value(curves[i].first->params, name), value);
        if (!differs)
            continue;
        char *longer = sb_sprintf("%s %.*s=%.*s", *label, name.n, name.at, value.n, value.at);
        sb_free(*label);
        *label = longer;
        if (!longer)
            return sb_no_memory(err, "curve labels");
    }
    return SB_OK;
}

static sb_status label_curves(sb_model_pick *p, sb_err *err)
{
    sb_status st = SB_OK;
    char **longer = sb_alloc(p->n_curves, sizeof *longer);
    SB_CHECK(longer, err, SB_NO_MEMORY, "out of memory for curve labels");
    SB_TRY(sb_plot_label(p->curves, p->n_curves, err));
    for (int64_t c = 0; c < p->n_curves && p->by_budget; c++) {
        longer[c] = sb_strdup(p->curves[c].label);
        SB_CHECK(longer[c], err, SB_NO_MEMORY, "out of memory for curve labels");
        SB_TRY(add_budgets(p->curves, p->n_curves, c, &longer[c], err));
    }
    for (int64_t c = 0; c < p->n_curves && p->by_budget; c++) {
        sb_free(p->curves[c].label);
        p->curves[c].label = longer[c];
        longer[c] = NULL;
    }
out:
    for (int64_t c = 0; longer && c < p->n_curves; c++)
        sb_free(longer[c]);
    sb_free(longer);
    return st;
}

/* ---- the pick ---------------------------------------------------------------------------------
 */

static void add_block(sb_model_pick *p, int64_t block)
{
    int i = 0;
    while (i < p->n_blocks && p->blocks[i] < block)
        i++;
    if ((i < p->n_blocks && p->blocks[i] == block) || i == SB_MODEL_BLOCKS)
        return;
    p->n_blocks += p->n_blocks < SB_MODEL_BLOCKS;
    for (int k = p->n_blocks - 1; k > i; k--)
        p->blocks[k] = p->blocks[k - 1];
    p->blocks[i] = block;
}

sb_status sb_model_pick_runs(const sb_model *m, const sb_model_run *const *runs, int64_t n,
                             bool by_budget, int64_t most_curves, sb_model_pick *p, sb_err *err)
{
    sb_status st = SB_OK;
    bool all = false, decode = false;
    *p = (sb_model_pick){.model = m, .by_budget = by_budget};
    p->runs = sb_alloc(n, sizeof *p->runs);
    p->curve = sb_alloc(n, sizeof *p->curve);
    p->curves = sb_alloc(n, sizeof *p->curves);
    p->stubs = sb_alloc(n, sizeof *p->stubs);
    SB_CHECK(p->runs && p->curve && p->curves && p->stubs, err, SB_NO_MEMORY,
             "out of memory for plot data");
    for (int64_t i = 0; i < n; i++) {
        SB_TRY(add_run(p, runs[i], err));
        add_block(p, runs[i]->first->block);
        all |= sb_model_is_all(runs[i]);
        decode |= !sb_model_is_all(runs[i]);
    }
    p->n_settings = all + decode;
    SB_TRY(label_curves(p, err));
    SB_TRY(sb_plot_choose(p->curves, p->n_curves, most_curves, err));
out:
    return st;
}

sb_status sb_model_pick_where(const sb_model *m, bool (*wanted)(const sb_model_run *r),
                              bool by_budget, int64_t most_curves, sb_model_pick *p, sb_err *err)
{
    int64_t n = 0;
    *p = (sb_model_pick){0};
    const sb_model_run **runs = sb_alloc(m->n_runs, sizeof *runs);
    if (!runs)
        return sb_no_memory(err, "plot data");
    for (int64_t i = 0; i < m->n_runs; i++)
        if (wanted(&m->runs[i]))
            runs[n++] = &m->runs[i];
    sb_status st = sb_model_pick_runs(m, runs, n, by_budget, most_curves, p, err);
    sb_free(runs);
    return st;
}

void sb_model_pick_free(sb_model_pick *p)
{
    for (int64_t c = 0; c < p->n_curves; c++) {
        sb_free(p->curves[c].label);
        sb_free(p->stubs[c].params);
    }
    sb_free(p->stubs);
    sb_free(p->curves);
    sb_free(p->curve);
    sb_free(p->runs);
    *p = (sb_model_pick){0};
}

int sb_model_block(const sb_model_pick *p, const sb_model_run *r)
{
    for (int i = 0; i < p->n_blocks; i++)
        if (p->blocks[i] == r->first->block)
            return i;
    return -1;
}

int64_t sb_model_longest(const sb_model_pick *p)
{
    int64_t tokens = 0;
    for (int64_t i = 0; i < p->n; i++)
        if (p->runs[i]->first->tokens > tokens)
            tokens = p->runs[i]->first->tokens;
    return tokens;
}

/* ---- levels -------------------------------------------------------------------------------------
 */

/* Densities up to this share above the least of a level belong to it. */
static const double level_width = .15;

static bool beside(const sb_record *a, const sb_record *b)
{
    return a->block == b->block && a->tokens == b->tokens &&
           sb_model_same(a->setting, b->setting) && sb_model_same(a->task, b->task);
}

int sb_model_level(const sb_model_pick *p, const sb_model_run *r, double density)
{
    double end = 0; /* of the level before */
    for (int level = 0;; level++) {
        double start = INFINITY;
        for (int64_t i = 0; i < p->n; i++)
            if (p->runs[i]->density > end && beside(p->runs[i]->first, r->first))
                start = fmin(start, p->runs[i]->density);
        if (!(start < INFINITY) || density <= start * (1 + level_width))
            return level;
        end = start * (1 + level_width);
    }
}
