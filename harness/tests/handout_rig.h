#ifndef SB_HANDOUT_RIG_H
#define SB_HANDOUT_RIG_H

/* Random sweeps to hand out. Costs are whole seconds, so that sums are exact in any order. */

#include <math.h>
#include <stdbool.h>

#include "harness/items.h"
#include "harness/tests/check.h"

enum { MAX_ITEMS = 4000, MAX_SHAPES = 200 };

static uint64_t random_state;

/* From 0 to n - 1, the same on every run. */
static inline int64_t pick(int64_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((random_state >> 33) % (uint64_t)n);
}

typedef struct sweep {
    int64_t n, n_shapes;
    sb_item items[MAX_ITEMS];
    double reference_s[MAX_SHAPES]; /* [layer] */
    double work_s, chain_s;         /* all of it; the longest reference and item after it */
} sweep;

static inline void add_item(sweep *s, int64_t shape, int64_t layer, double reference_s,
                            double seconds)
{
    bool joins = s->n > 0 && s->items[s->n - 1].shape == shape;
    s->n_shapes = shape + 1;
    s->items[s->n] = (sb_item){.shape = shape,
                               .first = joins ? s->items[s->n - 1].first + 1 : 0,
                               .n = 1,
                               .seconds = seconds,
                               .layer = layer,
                               .reference_s = reference_s};
    s->n++;
    s->reference_s[layer] = fmax(s->reference_s[layer], reference_s);
}

static inline void sum_up(sweep *s)
{
    s->work_s = s->chain_s = 0;
    for (int64_t i = 0; i < s->n; i++) {
        const sb_item *it = &s->items[i];
        bool opens = i == 0 || it->layer != s->items[i - 1].layer;
        s->work_s += it->seconds + (opens ? s->reference_s[it->layer] : 0);
        s->chain_s = fmax(s->chain_s, it->seconds + s->reference_s[it->layer]);
    }
}

/* Up to 20 layers of up to 4 lengths of up to 40 items; references may cost nothing, little, or
 * more than all else. */
static inline void make_sweep(sweep *s, uint64_t seed)
{
    *s = (sweep){0};
    random_state = seed;
    int64_t n_layers = 1 + pick(20), n_each = 1 + pick(40), dearest = 1 + pick(pick(2) ? 3 : 1000);
    int64_t reference = pick(3) * pick(dearest * 20), shape = 0;
    for (int64_t l = 0; l < n_layers; l++) {
        const int64_t first = shape, end = shape + 1 + pick(4);
        for (; shape < end; shape++) {
            double reference_s = (double)(reference * (1 + pick(4)));
            for (int64_t i = pick(n_each); i >= 0; i--)
                add_item(s, shape, first, reference_s, (double)pick(dearest + 1));
        }
    }
    sum_up(s);
}

#endif
