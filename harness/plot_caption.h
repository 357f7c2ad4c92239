#ifndef SB_PLOT_CAPTION_H
#define SB_PLOT_CAPTION_H

#include "harness/plot_data.h"
#include "harness/plot_sheet.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SB_PLOT_DENSITY_NOTE "Density = kept / all causal blocks, forced blocks included."

/* Lines of a picture's caption, and its key. */

/** Where the numbers come from; `combined` says how the layers were; tokens 0: all lengths. */
sb_status sb_plot_caption(sb_sheet *s, const sb_plot_group *g, const int64_t *layers,
                          int64_t n_layers, const char *combined, int64_t tokens, sb_err *err);

/** What is left out, where anything is. */
sb_status sb_plot_omissions(sb_sheet *s, const sb_plot_group *g, sb_err *err);

/** The label of every curve that is shown. */
sb_status sb_plot_labels(sb_sheet *s, const sb_plot_group *g, sb_err *err);

/** What the times were taken with, and `rest`. */
sb_status sb_plot_machine(sb_sheet *s, const sb_plot_group *g, const char *rest, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
