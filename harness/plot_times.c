/* Times of unlike machines do not stand side by side in a picture or a table. */
#include <math.h>

#include "harness/plot_data.h"
#include "harness/provenance.h"

static bool is_mixed(const sb_record *const *own, int64_t n_own, int64_t tokens)
{
    const sb_record *first = NULL;
    for (int64_t i = 0; i < n_own; i++) {
        if (own[i]->tokens != tokens || !isfinite(own[i]->total_ms))
            continue;
        if (first && !sb_provenance_same_machine(first->provenance, own[i]->provenance))
            return true;
        first = first ? first : own[i];
    }
    return false;
}

static void drop_times(sb_plot_group *g, int run, int64_t tokens)
{
    for (int64_t i = 0; i < g->n_points; i++) {
        sb_plot_point *p = &g->points[i];
        if (p->tokens == tokens && g->curves[p->curve].run == run)
            p->select_ms = p->attend_ms = p->total_ms = p->total_ms_lo = p->total_ms_hi = NAN;
    }
}

void sb_plot_drop_mixed_times(sb_plot_group *g, const sb_record *const *own, int64_t n_own, int run)
{
    for (int64_t i = 0; i < g->n_lengths; i++) {
        if (!is_mixed(own, n_own, g->lengths[i]))
            continue;
        drop_times(g, run, g->lengths[i]);
        g->dense_ms[run * g->n_lengths + i] = NAN;
        g->n_mixed++;
    }
}
