#ifndef SB_PLOT_CAPTION_H
#define SB_PLOT_CAPTION_H

#include "harness/plot_data.h"
#include "harness/plot_sheet.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SB_PLOT_DENSITY_NOTE "Density = kept / all causal blocks, forced blocks included."

/* Lines of a picture's caption, and its key. */

#define SB_PLOT_INTERVAL_NOTE                                                                      \
    "Select + attend of one layer, median and its 95 % interval (below 6 samples: extremes)."

/** Where the numbers come from; `combined` says how the layers were; tokens 0: all lengths. Of two
 *  runs, what they differ in; their names for the key. */
sb_status sb_plot_caption(sb_sheet *s, const sb_plot_group *g, const int64_t *layers,
                          int64_t n_layers, const char *combined, int64_t tokens, sb_err *err);

/** What is left out, where anything is. */
sb_status sb_plot_omissions(sb_sheet *s, const sb_plot_group *g, sb_err *err);

/** The label of every curve that is shown. */
sb_status sb_plot_labels(sb_sheet *s, const sb_plot_group *g, sb_err *err);

/** "layers 2, 15", or of more than eight "30 layers from 0 to 29". */
void sb_plot_layers_text(const int64_t *layers, int64_t n, char *buf, size_t bytes);

enum { SB_PLOT_MACHINE_CHARS = 256 };

/** The machine of a run, of its times where there are any: "Intel Xeon, amx kernel, 2 threads"; of
 * a GPU its name and kernel. */
void sb_plot_machine_text(const sb_plot_group *g, int run, char buf[SB_PLOT_MACHINE_CHARS]);

/** The same of one record. */
void sb_plot_record_machine(const sb_record *r, bool and_others, char buf[SB_PLOT_MACHINE_CHARS]);

/** How many curves of two runs are equal and drawn once (sb_plot_repeats), where any are. */
sb_status sb_plot_once(sb_sheet *s, const sb_plot_group *g, bool errors, sb_err *err);

/** What the results were computed with, and `rest`: a sentence about times, or "". */
sb_status sb_plot_machine(sb_sheet *s, const sb_plot_group *g, const char *rest, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
