#include "harness/handout.h"

#include <math.h>

#include "harness/mem.h"
#include "harness/ranked.h"

/* Items of one shape: order[next, end) are left, dearest first. */
typedef struct shape {
    int64_t next, end;
    double left_s;
    int64_t n_workers; /* that hold it, or are about to */
    int64_t group;
    int64_t at;       /* in the heap, or -1 */
    bool begins;      /* its reference: as these two were when it was last put there */
    double urgency_s; /* that it takes at least if one more worker helps */
} shape;

typedef enum reference { NOT_BEGUN, COMPUTING, THERE } reference;

/* Shapes that share a reference. */
typedef struct group {
    int64_t first, end; /* shapes */
    double reference_s; /* of the longest */
    reference state;
} group;

struct sb_handout {
    sb_ranked *order;
    shape *shapes;
    group *groups;
    int64_t *heap;  /* [n_heap] shapes that anybody may take, the most urgent at the root */
    int64_t *holds; /* [n_workers] the shape that each holds, or -1 */
    int64_t n_shapes, n_groups, n_heap;
    int64_t n_left; /* items */
};

/* ---- what is most urgent ----------------------------------------------------------------------
 */

/* References first: what needs one cannot be shared before it is there. Ties in run order. */
static bool before(const sb_handout *h, int64_t a, int64_t b)
{
    const shape *x = &h->shapes[a], *y = &h->shapes[b];
    if (x->begins != y->begins)
        return x->begins;
    return x->urgency_s != y->urgency_s ? x->urgency_s > y->urgency_s : a < b;
}

static void put(sb_handout *h, int64_t at, int64_t s)
{
    h->heap[at] = s;
    h->shapes[s].at = at;
}

/* Move the shape at a place of the heap to where it belongs. */
static void settle(sb_handout *h, int64_t at)
{
    const int64_t s = h->heap[at];
    for (; at > 0 && before(h, s, h->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put(h, at, h->heap[(at - 1) / 2]);
    for (int64_t child; (child = 2 * at + 1) < h->n_heap; at = child) {
        if (child + 1 < h->n_heap && before(h, h->heap[child + 1], h->heap[child]))
            child++;
        if (!before(h, h->heap[child], s))
            break;
        put(h, at, h->heap[child]);
    }
    put(h, at, s);
}

static void take_out(sb_handout *h, int64_t s)
{
    int64_t hole = h->shapes[s].at, last = h->heap[--h->n_heap];
    h->shapes[s].at = -1;
    if (last != s) {
        put(h, hole, last);
        settle(h, hole);
    }
}

/* Put a shape into the heap, move it there or take it out, after any change to it. */
static void refresh(sb_handout *h, int64_t s)
{
    shape *its = &h->shapes[s];
    const group *g = &h->groups[its->group];
    if (its->next == its->end || g->state == COMPUTING) {
        if (its->at >= 0)
            take_out(h, s);
        return;
    }
    its->begins = g->state == NOT_BEGUN;
    its->urgency_s = fmax(h->order[its->next].seconds, its->left_s / (double)(its->n_workers + 1)) +
                     (its->begins ? g->reference_s : 0);
    if (its->at < 0)
        put(h, h->n_heap++, s);
    settle(h, its->at);
}

static void set_reference(sb_handout *h, group *g, reference state)
{
    g->state = state;
    for (int64_t s = g->first; s < g->end; s++)
        refresh(h, s);
}

/* ---- what workers say -------------------------------------------------------------------------
 */

/* What it leaves is exhausted or for another alone, and so not in the heap. */
static void take_up(sb_handout *h, int64_t worker, int64_t s)
{
    int64_t left = h->holds[worker];
    if (left >= 0)
        h->shapes[left].n_workers--;
    h->holds[worker] = s;
    h->shapes[s].n_workers++;
}

static bool may_stay(const sb_handout *h, int64_t worker)
{
    int64_t s = h->holds[worker];
    return s >= 0 && h->shapes[s].at >= 0;
}

int64_t sb_handout_next(sb_handout *h, int64_t worker)
{
    if (h->n_left == 0)
        return SB_HANDOUT_DONE;
    if (!may_stay(h, worker)) {
        if (h->n_heap == 0)
            return SB_HANDOUT_WAIT;
        take_up(h, worker, h->heap[0]);
    }
    const int64_t s = h->holds[worker];
    shape *its = &h->shapes[s];
    const sb_ranked *taken = &h->order[its->next++];
    its->left_s -= taken->seconds;
    h->n_left--;
    if (its->begins)
        set_reference(h, &h->groups[its->group], COMPUTING);
    else
        refresh(h, s);
    return taken->item;
}

/* While a reference is computed, the worker who does is the only one with an item that needs it. */
static void settle_reference(sb_handout *h, int64_t worker, reference state)
{
    group *g = &h->groups[h->shapes[h->holds[worker]].group];
    if (g->state == COMPUTING)
        set_reference(h, g, state);
}

void sb_handout_held(sb_handout *h, int64_t worker)
{
    settle_reference(h, worker, THERE);
}

void sb_handout_ended(sb_handout *h, int64_t worker)
{
    settle_reference(h, worker, NOT_BEGUN);
}

/* ---- open, close ------------------------------------------------------------------------------
 */

/* Whether item i is the first of its shape, or of those that share a reference. */
static bool opens_shape(const sb_item *items, int64_t i)
{
    return i == 0 || items[i].shape != items[i - 1].shape;
}

static bool opens_group(const sb_item *items, int64_t i)
{
    return i == 0 || items[i].layer != items[i - 1].layer;
}

static void list_work(sb_handout *h, const sb_item *items, int64_t n)
{
    h->n_shapes = h->n_groups = 0;
    for (int64_t i = 0; i < n; i++) {
        if (opens_group(items, i))
            h->groups[h->n_groups++] = (group){.first = h->n_shapes};
        if (opens_shape(items, i))
            h->shapes[h->n_shapes++] = (shape){.next = i, .group = h->n_groups - 1, .at = -1};
        group *g = &h->groups[h->n_groups - 1];
        shape *s = &h->shapes[h->n_shapes - 1];
        g->end = h->n_shapes;
        g->reference_s = fmax(g->reference_s, items[i].reference_s);
        g->state = g->reference_s > 0 ? NOT_BEGUN : THERE;
        s->end = i + 1;
        s->left_s += items[i].seconds;
        h->order[i] = (sb_ranked){items[i].seconds, i};
    }
}

sb_status sb_handout_open(const sb_item *items, int64_t n, int64_t n_workers, sb_handout **handout,
                          sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n_shapes = 0, n_groups = 0;
    for (int64_t i = 0; i < n; i++) {
        n_shapes += opens_shape(items, i);
        n_groups += opens_group(items, i);
    }
    sb_handout *h = *handout = sb_alloc(1, sizeof *h);
    SB_CHECK(h, err, SB_NO_MEMORY, "out of memory for the hand-out");
    h->order = sb_alloc(n, sizeof *h->order);
    h->shapes = sb_alloc(n_shapes, sizeof *h->shapes);
    h->groups = sb_alloc(n_groups, sizeof *h->groups);
    h->heap = sb_alloc(n_shapes, sizeof *h->heap);
    h->holds = sb_alloc(n_workers, sizeof *h->holds);
    SB_CHECK(h->order && h->shapes && h->groups && h->heap && h->holds, err, SB_NO_MEMORY,
             "out of memory for the hand-out");
    h->n_left = n;
    list_work(h, items, n);
    for (int64_t s = 0; s < h->n_shapes; s++) {
        const shape *its = &h->shapes[s];
        sb_rank_dearest_first(&h->order[its->next], its->end - its->next);
    }
    for (int64_t s = 0; s < h->n_shapes; s++)
        refresh(h, s);
    for (int64_t w = 0; w < n_workers; w++)
        h->holds[w] = -1;
out:
    if (st != SB_OK) {
        sb_handout_close(h);
        *handout = NULL;
    }
    return st;
}

void sb_handout_close(sb_handout *h)
{
    if (!h)
        return;
    sb_free(h->holds);
    sb_free(h->heap);
    sb_free(h->groups);
    sb_free(h->shapes);
    sb_free(h->order);
    sb_free(h);
}
