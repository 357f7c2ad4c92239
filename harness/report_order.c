/* In which order patterns are made, as a report has no room for all: longest first, then of each
 * curve the setting nearest to a quarter, then each one's next. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "harness/equal.h"
#include "harness/mem.h"
#include "harness/plot_params.h"
#include "harness/provenance.h"
#include "harness/report_maps.h"

static const double quarter = 0.25;

/* Where a record stands in the order. */
typedef struct rank {
    const sb_record *r;
    int64_t record, tokens, round, shape;
    int64_t group; /* the first rank of its curve on its shape */
    double off_quarter;
} rank;

bool sb_map_has_pattern(const sb_record *r)
{
    return sb_plot_usable(r) && r->block > 0;
}

static char *shape_text(const void *things, int64_t i)
{
    int n;
    const sb_record *r = &((const sb_record *)things)[i];
    const char *digest = sb_provenance_value(r->config, "digest", &n);
    return sb_sprintf("%" PRId64 " %" PRId64 " %.*s %s %s", r->layer, r->tokens, n, digest,
                      r->dtype, r->capture);
}

static double off_quarter(const sb_record *r)
{
    return r->density > 0 ? fabs(log(r->density / quarter)) : INFINITY;
}

/* Settings of one curve on one shape, the nearest to a quarter first. */
static int by_quarter(const void *a, const void *b)
{
    const rank *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->off_quarter != y->off_quarter)
        return x->off_quarter < y->off_quarter ? -1 : 1;
    return x->record < y->record ? -1 : x->record > y->record;
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

static char *group_text(const void *things, int64_t i)
{
    const rank *x = &((const rank *)things)[i];
    char *curve = sb_params_key(x->r->method, x->r->params, (sb_span){0});
    char *text = curve ? sb_sprintf("%" PRId64 " %s", x->shape, curve) : NULL;
    sb_free(curve);
    return text;
}

/* How many settings of its curve on its shape come before each of the n ranks. */
static sb_status find_rounds(rank *ranks, int64_t n, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t *group = sb_alloc(n, sizeof *group);
    SB_CHECK(group, err, SB_NO_MEMORY, "out of memory for the order of patterns");
    SB_TRY(sb_first_equal(ranks, n, group_text, group, err));
    for (int64_t i = 0; i < n; i++)
        ranks[i].group = group[i];
    qsort(ranks, (size_t)n, sizeof *ranks, by_quarter);
    for (int64_t i = 0; i < n; i++) {
        bool same = i > 0 && ranks[i].group == ranks[i - 1].group;
        ranks[i].round = same ? ranks[i - 1].round + 1 : 0;
    }
out:
    sb_free(group);
    return st;
}

sb_status sb_map_order(const sb_report_view *v, int64_t *shape, int64_t *order, int64_t *n,
                       sb_err *err)
{
    sb_status st = SB_OK;
    rank *ranks = sb_alloc(v->n, sizeof *ranks);
    SB_CHECK(ranks, err, SB_NO_MEMORY, "out of memory for the order of patterns");
    SB_TRY(sb_first_equal(v->records, v->n, shape_text, shape, err));
    *n = 0;
    for (int64_t i = 0; i < v->n; i++) {
        const sb_record *r = &v->records[i];
        if (sb_map_has_pattern(r))
            ranks[(*n)++] = (rank){.r = r,
                                   .record = i,
                                   .tokens = r->tokens,
                                   .shape = shape[i],
                                   .off_quarter = off_quarter(r)};
    }
    SB_TRY(find_rounds(ranks, *n, err));
    qsort(ranks, (size_t)*n, sizeof *ranks, by_rank);
    for (int64_t i = 0; i < *n; i++)
        order[i] = ranks[i].record;
out:
    sb_free(ranks);
    return st;
}
