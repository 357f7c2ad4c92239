/* Which curves a picture shows where there are more than it can. */
#include <string.h>

#include "harness/equal.h"
#include "harness/mem.h"
#include "harness/plot_data.h"
#include "harness/plot_params.h"

/* What is known of each curve: [n] each. */
typedef struct choice {
    sb_plot_curve *curves;
    int64_t n;
    int64_t *method;  /* the first curve of its method */
    int64_t *n_of;    /* of such a first curve: curves of the method */
    int64_t *leading; /* the first curve of its method with the same leading parameters */
} choice;

static char *method_text(const void *things, int64_t i)
{
    const sb_record *r = ((const sb_plot_curve *)things)[i].first;
    return sb_strdup(r->method ? r->method : "");
}

static char *leading_text(const void *things, int64_t i)
{
    const sb_record *r = ((const sb_plot_curve *)things)[i].first;
    char *text = method_text(things, i);
    for (int k = 0; k < SB_PLOT_LEADING && text; k++) {
        sb_span v = sb_param_value(r->params, sb_span_of(sb_plot_leading[k]));
        char *longer = sb_sprintf("%s\n%.*s", text, v.n, v.n > 0 ? v.at : "");
        sb_free(text);
        text = longer;
    }
    return text;
}

static sb_status look(choice *c, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(sb_first_equal(c->curves, c->n, method_text, c->method, err));
    SB_TRY(sb_first_equal(c->curves, c->n, leading_text, c->leading, err));
    for (int64_t i = 0; i < c->n; i++)
        c->n_of[c->method[i]]++;
out:
    return st;
}

/* How many curves each method shows, to share [n] at its first curve: turn t gives one to every
 * method that has more than t. */
static void deal(const choice *c, int64_t most, int64_t *share)
{
    int64_t rest = c->n < most ? c->n : most;
    for (int64_t t = 0; rest > 0; t++)
        for (int64_t i = 0; i < c->n && rest > 0; i++)
            if (c->n_of[i] > t) {
                share[i]++;
                rest--;
            }
}

/* Mark `share` of a method's curves as shown (slot 1): those with leading parameters of their own
 * before repeats, evenly spread over either kind. */
static void spread(const choice *c, int64_t method, int64_t share)
{
    for (int repeats = 0; repeats < 2 && share > 0; repeats++) {
        int64_t n_kind = 0, seen = 0;
        for (int64_t i = method; i < c->n; i++)
            n_kind += c->method[i] == method && (c->leading[i] != i) == repeats;
        int64_t take = share < n_kind ? share : n_kind, taken = 0;
        for (int64_t i = method; i < c->n && taken < take; i++) {
            if (c->method[i] != method || (c->leading[i] != i) != repeats)
                continue;
            int64_t next = take == 1 ? 0 : taken * (n_kind - 1) / (take - 1);
            if (seen++ == next) {
                c->curves[i].slot = 1;
                taken++;
            }
        }
        share -= take;
    }
}

sb_status sb_plot_choose(sb_plot_curve *curves, int64_t n, int64_t most, sb_err *err)
{
    sb_status st = SB_OK;
    int slot = 0;
    choice c = {.curves = curves,
                .n = n,
                .method = sb_alloc(n, sizeof *c.method),
                .n_of = sb_alloc(n, sizeof *c.n_of),
                .leading = sb_alloc(n, sizeof *c.leading)};
    int64_t *share = sb_alloc(n, sizeof *share);
    SB_CHECK(c.method && c.n_of && c.leading && share, err, SB_NO_MEMORY,
             "out of memory for the choice of curves");
    SB_TRY(look(&c, err));
    deal(&c, most, share);
    for (int64_t i = 0; i < n; i++)
        curves[i].slot = 0;
    for (int64_t i = 0; i < n; i++)
        spread(&c, i, share[i]);
    for (int64_t i = 0; i < n; i++)
        if (curves[i].slot > 0)
            curves[i].slot = ++slot;
out:
    sb_free(share);
    sb_free(c.leading);
    sb_free(c.n_of);
    sb_free(c.method);
    return st;
}
