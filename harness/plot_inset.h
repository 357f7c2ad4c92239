#ifndef SB_PLOT_INSET_H
#define SB_PLOT_INSET_H

#include "harness/plot_published.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Where a label stands, seen from its star: 1 right or above, -1 left or below, 0 centred. */
typedef struct sb_inset_side {
    int h, v;
} sb_inset_side;

/**
 * The first side where the label of rows[i], one of an inset, lies within what is free around the
 * inset's axes, and over no star and no label before it; else the right one. chosen [i]: the sides
 * of the rows before it.
 */
sb_inset_side sb_inset_place(const sb_published_file *file, int64_t i, const sb_inset_side *chosen);

#ifdef __cplusplus
}
#endif
#endif
