#include "harness/plot_inset.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* The inset of scripts/plots/inset.gp, in pixels: its axes, what is free around them, and the space
 * of a label. */
enum {
    INSET_WIDTH = 574,
    INSET_HEIGHT = 156,
    INSET_BESIDE = 200,
    INSET_MARGIN = 14,
    GLYPH = 7,
    LINE = 15
};

/* From the middle of a star to its edge, to a label beside it, and to one above or below it, which
 * begins, ends or is centred there. */
enum { STAR = 8, BESIDE = 12, ABOVE = 10, BACK = 4 };

static const sb_inset_side sides[] = {{1, 0}, {-1, 0}, {0, 1},  {0, -1},
                                      {1, 1}, {1, -1}, {-1, 1}, {-1, -1}};

typedef struct box {
    double left, low, right, high;
} box;

static bool overlap(box a, box b)
{
    return a.left < b.right && b.left < a.right && a.low < b.high && b.low < a.high;
}

/* Where the row's star stands; the axes leave a fifth on each side of what they show. */
static box star_box(const sb_published_file *file, const sb_published *row)
{
    double x_lo = INFINITY, x_hi = -INFINITY, y_lo = INFINITY, y_hi = -INFINITY;
    for (int64_t i = 0; i < file->n; i++) {
        const sb_published *other = &file->rows[i];
        if (other->kind != SB_PUBLISHED_INSET || strcmp(other->figure, row->figure) != 0)
            continue;
        x_lo = fmin(x_lo, other->x);
        x_hi = fmax(x_hi, other->x);
        y_lo = fmin(y_lo, other->y);
        y_hi = fmax(y_hi, other->y);
    }
    double u = x_hi > x_lo ? (row->x - x_lo) / (x_hi - x_lo) : .5;
    double v = y_hi > y_lo ? (row->y - y_lo) / (y_hi - y_lo) : .5;
    double x = INSET_WIDTH * (.2 + u) / 1.4, y = INSET_HEIGHT * (.2 + v) / 1.4;
    return (box){x - STAR, y - STAR, x + STAR, y + STAR};
}

static box label_box(box star, const char *label, sb_inset_side at)
{
    double x = (star.left + star.right) / 2, y = (star.low + star.high) / 2;
    double width = GLYPH * (double)strlen(label), gap = at.v == 0 ? BESIDE : -BACK;
    double left = at.h > 0 ? x + gap : at.h < 0 ? x - gap - width : x - width / 2;
    double low = at.v > 0 ? y + ABOVE : at.v < 0 ? y - ABOVE - LINE : y - LINE / 2.;
    return (box){left, low, left + width, low + LINE};
}

sb_inset_side sb_inset_place(const sb_published_file *file, int64_t i, const sb_inset_side *chosen)
{
    const sb_published *row = &file->rows[i];
    for (size_t k = 0; k < sizeof sides / sizeof sides[0]; k++) {
        box own = label_box(star_box(file, row), row->label, sides[k]);
        bool is_free = own.left >= -INSET_MARGIN && own.right <= INSET_WIDTH + INSET_BESIDE &&
                       own.low >= 0 && own.high <= INSET_HEIGHT + INSET_MARGIN;
        for (int64_t j = 0; j < file->n && is_free; j++) {
            const sb_published *other = &file->rows[j];
            if (j == i || other->kind != SB_PUBLISHED_INSET ||
                strcmp(other->figure, row->figure) != 0)
                continue;
            box star = star_box(file, other);
            is_free = !overlap(own, star) &&
                      (j > i || !overlap(own, label_box(star, other->label, chosen[j])));
        }
        if (is_free)
            return sides[k];
    }
    return sides[0];
}
