#ifndef SB_REPORT_LEVELS_H
#define SB_REPORT_LEVELS_H

#include "harness/plot_data.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SB_REPORT_LEVELS = 8 };

/** Costs within this factor are equal. */
#define SB_REPORT_TOLERANCE 1.05

/** A cost that curves share. */
typedef struct sb_report_level {
    double at;
    int64_t n_sharing;
    const sb_plot_point *best, *next; /**< the least error there, and the least of other curves */
} sb_report_level;

/** The costs that curves of a group share at one length, ascending: densities, or budgets where
 *  methods were matched by these. */
typedef struct sb_report_levels {
    const sb_plot_group *g;
    int64_t tokens;
    bool matched, by_flops; /**< whether settings were matched to others, and by what */
    int n;
    sb_report_level level[SB_REPORT_LEVELS];
} sb_report_levels;

/** Find those that most curves share; bounds and parts do not count. SB_NO_MEMORY. */
sb_status sb_report_levels_find(const sb_plot_group *g, int64_t tokens, sb_report_levels *v,
                                sb_err *err);

/** A curve's setting at a cost, or NULL. */
const sb_plot_point *sb_report_point_at(const sb_report_levels *v, int64_t curve, double at);

#ifdef __cplusplus
}
#endif
#endif
