#ifndef SB_PLOT_PUBLISHED_H
#define SB_PLOT_PUBLISHED_H

#include <stdint.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sb_published_kind {
    SB_PUBLISHED_POINT, /**< a star and its label at x, y of the figure's first panel */
    SB_PUBLISHED_VLINE, /**< a thin line at x */
    SB_PUBLISHED_HLINE, /**< a thin line at y */
    SB_PUBLISHED_INSET, /**< a star at x, y of axes of its own, below the figure */
    SB_PUBLISHED_AXIS,  /**< the label names the inset's y axis; after a '|' its x axis */
    SB_PUBLISHED_NOTE,  /**< a line of the caption */
    SB_PUBLISHED_KINDS
} sb_published_kind;

/** A value that others published, to be shown beside ours. */
typedef struct sb_published {
    const char *figure; /**< one of sb_figures; */
    const char *panel;  /**< which of its panels: what follows a '/' in the file; else "" */
    sb_published_kind kind;
    double x, y; /**< NaN where the kind has none */
    const char *label, *source;
} sb_published;

typedef struct sb_published_file {
    sb_published *rows;
    int64_t n;
    char *text; /**< of the file: what the rows' texts lie in */
} sb_published_file;

/**
 * Read RUN_DIR/published.csv: columns figure, kind (point, vline, hline, inset, inset-axis, note),
 * x, y, label, source; fields with commas in double quotes. No rows where there is no such file.
 * SB_BAD_DATA with the line that is not such a row, names no figure or one that takes notes alone,
 * or has no source.
 */
sb_status sb_published_read(const char *run_dir, sb_published_file *file, sb_err *err);
void sb_published_free(sb_published_file *file);

/**
 * Write what was published beside a figure: the rows to `path`, NAME.published.csv, which is
 * removed where there are none; to NAME.key.tsv a row for each mark on its axes (slot -1) and in
 * its inset (slot -2), so that the script knows how many there are, and captions with the sources.
 * SB_IO and what sb_published_read returns.
 */
sb_status sb_published_write(const char *run_dir, const char *figure, const char *path,
                             const char *key_path, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
