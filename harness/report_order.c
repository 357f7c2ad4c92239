/* In which order patterns are made, as a report has no room for all: longest first, then of each
 * curve the setting nearest to a quarter, then each one's next. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/provenance.h"
#include "harness/report_maps.h"

static const double quarter = 0.25;

/* Where a record stands in the order. */
typedef struct rank {
    int64_t tokens, round, shape, record;
} rank;

bool sb_map_has_pattern(const sb_record *r)
{
    return sb_plot_usable(r) && r->block > 0;
}

static bool same_shape(const sb_record *a, const sb_record *b)
{
    int n_x, n_y;
    const char *x = sb_provenance_value(a->config, "digest", &n_x);
    const char *y = sb_provenance_value(b->config, "digest", &n_y);
    return a->layer == b->layer && a->tokens == b->tokens && strcmp(a->dtype, b->dtype) == 0 &&
           strcmp(a->capture, b->capture) == 0 && n_x == n_y && memcmp(x, y, (size_t)n_x) == 0;
}

static double off_quarter(const sb_record *r)
{
    return r->density > 0 ? fabs(log(r->density / quarter)) : INFINITY;
}

/* How many settings of the record's curve on its shape come before it: nearer to a quarter. */
static int64_t round_of(const sb_report_view *v, const int64_t *shape, int64_t i)
{
    const sb_record *r = &v->records[i];
    int64_t round = 0;
    for (int64_t j = 0; j < v->n; j++) {
        const sb_record *s = &v->records[j];
        if (j == i || shape[j] != shape[i] || !sb_map_has_pattern(s))
            continue;
        double d = off_quarter(s) - off_quarter(r);
        round += (d < 0 || (!(d > 0) && j < i)) && sb_plot_same_curve(r, s);
    }
    return round;
}

static int by_rank(const void *a, const void *b)
{
    const rank *x = a, *y = b;
    if (x->tokens != y->tokens)
        return x->tokens > y->tokens ? -1 : 1;
    if (x->round != y->round)
        return x->round < y->round ? -1 : 1;
    if (x->shape != y->shape)
        return x->shape < y->shape ? -1 : 1;
    return x->record < y->record ? -1 : x->record > y->record;
}

static void find_shapes(const sb_report_view *v, int64_t *shape)
{
    for (int64_t i = 0; i < v->n; i++) {
        shape[i] = i;
        for (int64_t j = 0; j < i && shape[i] == i; j++)
            if (shape[j] == j && same_shape(&v->records[j], &v->records[i]))
                shape[i] = j;
    }
}

sb_status sb_map_order(const sb_report_view *v, int64_t *shape, int64_t *order, int64_t *n,
                       sb_err *err)
{
    rank *ranks = sb_alloc(v->n, sizeof *ranks);
    if (!ranks)
        return sb_no_memory(err, "the order of patterns");
    find_shapes(v, shape);
    *n = 0;
    for (int64_t i = 0; i < v->n; i++)
        if (sb_map_has_pattern(&v->records[i]))
            ranks[(*n)++] = (rank){v->records[i].tokens, round_of(v, shape, i), shape[i], i};
    qsort(ranks, (size_t)*n, sizeof *ranks, by_rank);
    for (int64_t i = 0; i < *n; i++)
        order[i] = ranks[i].record;
    sb_free(ranks);
    return SB_OK;
}
