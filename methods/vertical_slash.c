#include "methods/vertical_slash.h"

enum { TILE = 64 };

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

/* How many of x [n], ascending, are below `bound`, when at most `hint` are. */
static int64_t n_below(const int32_t *x, int64_t hint, int64_t bound)
{
    while (hint > 0 && x[hint - 1] >= bound)
        hint--;
    return hint;
}

int64_t sb_lines_pairs(const sb_lines *l, int64_t start, int64_t n)
{
    int64_t pairs = 0, below_n = l->n_slash, below_start = l->n_slash;
    for (int64_t c = 0; c < l->n_slash; c++)
        pairs += n - (l->slash[c] > start ? l->slash[c] : start);
    for (int64_t c = 0; c < l->n_vertical; c++) {
        int64_t j = l->vertical[c];
        pairs += n - (j > start ? j : start);
        /* Diagonals that cross the column at one of the queries: counted twice. */
        below_n = n_below(l->slash, below_n, n - j);
        below_start = n_below(l->slash, below_start, start - j);
        pairs -= below_n - below_start;
    }
    return pairs;
}

static void set_bits(uint64_t *bits, int64_t from, int64_t to)
{
    for (int64_t w = from / TILE; w * TILE < to; w++) {
        int64_t low = from > w * TILE ? from - w * TILE : 0, high = at_most(to - w * TILE, TILE);
        bits[w] |= UINT64_MAX >> (TILE - (high - low)) << low;
    }
}

void sb_lines_mark_tokens(const sb_lines *l, int64_t end, int64_t n, uint64_t *bits)
{
    int64_t from = -TILE, to = -TILE; /* the run that is open */
    for (int64_t c = l->n_slash - 1; c >= 0; c--) {
        if (l->slash[c] >= end)
            continue;
        int64_t next = end - l->slash[c] > TILE ? end - l->slash[c] : TILE;
        if (next > to + TILE) {
            set_bits(bits, from, to);
            from = next - TILE;
            to = next;
        } else if (next > to) {
            to += TILE;
        }
    }
    set_bits(bits, from, at_most(to, n));
    for (int64_t c = 0; c < l->n_vertical && l->vertical[c] < n; c++)
        bits[l->vertical[c] / TILE] |= UINT64_C(1) << (l->vertical[c] % TILE);
}

void sb_lines_mark_blocks(const sb_lines *l, int64_t block, int64_t from, int64_t to,
                          uint64_t *bits)
{
    for (int64_t c = 0; c < l->n_vertical && l->vertical[c] < to; c++)
        bits[l->vertical[c] / block] = 1;
    for (int64_t c = 0; c < l->n_slash && l->slash[c] < to; c++) {
        int64_t first = from > l->slash[c] ? from - l->slash[c] : 0;
        bits[first / block] = 1;
        bits[(to - 1 - l->slash[c]) / block] = 1;
    }
}
