#include "harness/simulate.h"

#include <math.h>

#include "harness/handout.h"
#include "harness/mem.h"

typedef enum message { ASKS, HOLDS } message;

/* A message that reaches the one who hands out; of equal times the first worker's is first. */
typedef struct event {
    double time_s;
    int64_t worker;
    message message;
} event;

typedef struct worker {
    int64_t item;  /* at hand, or -1 */
    int64_t shape; /* that it holds, or -1 */
} worker;

typedef struct simulation {
    const sb_item *items;
    const sb_handout_costs *costs;
    sb_handout *handout;
    event *heap; /* [n_events] at most one of each worker, the next at the root */
    int64_t n_events;
    worker *workers;
    int64_t *waiting; /* ring of n_workers: n_waiting of them from first_waiting */
    int64_t n_workers, first_waiting, n_waiting;
    double *reference_s; /* [layer] */
    bool *there;         /* [layer] */
    double free_s;       /* when the one who hands out has answered all so far */
    double wall_s, worked_s, occupied_s;
    int64_t n_holds;
} simulation;

/* ---- events -----------------------------------------------------------------------------------
 */

static bool before(const event *a, const event *b)
{
    return a->time_s != b->time_s ? a->time_s < b->time_s : a->worker < b->worker;
}

static void add_event(simulation *s, event added)
{
    int64_t at = s->n_events++;
    for (; at > 0 && before(&added, &s->heap[(at - 1) / 2]); at = (at - 1) / 2)
        s->heap[at] = s->heap[(at - 1) / 2];
    s->heap[at] = added;
}

static event take_event(simulation *s)
{
    const event first = s->heap[0], last = s->heap[--s->n_events];
    int64_t at = 0;
    for (int64_t child; (child = 2 * at + 1) < s->n_events; at = child) {
        if (child + 1 < s->n_events && before(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!before(&s->heap[child], &last))
            break;
        s->heap[at] = s->heap[child];
    }
    s->heap[at] = last;
    return first;
}

/* ---- workers ----------------------------------------------------------------------------------
 */

static void occupy(simulation *s)
{
    s->free_s += s->costs->hand_out_s;
    s->occupied_s += s->costs->hand_out_s;
}

/* The worker has its answer, reads what it does not hold, and computes. */
static void start(simulation *s, int64_t w, int64_t item)
{
    worker *its = &s->workers[w];
    const sb_item *next = &s->items[item];
    double time_s = s->free_s + s->costs->reply_s;
    its->item = item;
    s->worked_s += next->seconds;
    if (its->shape == next->shape) {
        add_event(s, (event){time_s + next->seconds, w, ASKS});
        return;
    }
    its->shape = next->shape;
    s->n_holds++;
    time_s += s->costs->hold_s ? s->costs->hold_s[next->shape] : 0;
    if (!s->there[next->layer]) {
        time_s += s->reference_s[next->layer];
        s->worked_s += s->reference_s[next->layer];
    }
    add_event(s, (event){time_s, w, HOLDS});
}

/* In the order in which they asked, as far as there is anything: where the first has to wait, all
 * have to. */
static void serve_waiting(simulation *s)
{
    while (s->n_waiting > 0) {
        int64_t w = s->waiting[s->first_waiting];
        int64_t item = sb_handout_next(s->handout, w);
        if (item == SB_HANDOUT_WAIT)
            return;
        s->first_waiting = (s->first_waiting + 1) % s->n_workers;
        s->n_waiting--;
        if (item >= 0) {
            occupy(s);
            start(s, w, item);
        }
    }
}

static void serve(simulation *s, const event *e)
{
    worker *its = &s->workers[e->worker];
    s->free_s = fmax(s->free_s, e->time_s);
    s->wall_s = e->time_s;
    if (e->message == HOLDS) {
        const sb_item *item = &s->items[its->item];
        occupy(s);
        s->there[item->layer] = true;
        sb_handout_held(s->handout, e->worker);
        add_event(s, (event){e->time_s + item->seconds, e->worker, ASKS});
    } else {
        if (its->item >= 0)
            sb_handout_ended(s->handout, e->worker);
        its->item = -1;
        s->waiting[(s->first_waiting + s->n_waiting++) % s->n_workers] = e->worker;
    }
    serve_waiting(s);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static sb_status make_room(simulation *s, int64_t n, sb_err *err)
{
    int64_t n_layers = 0;
    for (int64_t i = 0; i < n; i++)
        n_layers = s->items[i].layer >= n_layers ? s->items[i].layer + 1 : n_layers;
    s->heap = sb_alloc(s->n_workers, sizeof *s->heap);
    s->workers = sb_alloc(s->n_workers, sizeof *s->workers);
    s->waiting = sb_alloc(s->n_workers, sizeof *s->waiting);
    s->reference_s = sb_alloc(n_layers, sizeof *s->reference_s);
    s->there = sb_alloc(n_layers, sizeof *s->there);
    bool all = s->heap && s->workers && s->waiting && s->reference_s && s->there;
    return all ? SB_OK : sb_no_memory(err, "a simulation");
}

static void play(simulation *s, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double *reference_s = &s->reference_s[s->items[i].layer];
        *reference_s = fmax(*reference_s, s->items[i].reference_s);
    }
    for (int64_t w = 0; w < s->n_workers; w++) {
        s->workers[w] = (worker){.item = -1, .shape = -1};
        add_event(s, (event){.worker = w});
    }
    while (s->n_events > 0) {
        event next = take_event(s);
        serve(s, &next);
    }
}

sb_status sb_simulate(const sb_item *items, int64_t n, int64_t n_workers,
                      const sb_handout_costs *costs, sb_simulated *result, sb_err *err)
{
    sb_status st = SB_OK;
    simulation s = {.items = items, .costs = costs, .n_workers = n_workers};
    SB_TRY(sb_handout_open(items, n, n_workers, &s.handout, err));
    SB_TRY(make_room(&s, n, err));
    play(&s, n);
    *result = (sb_simulated){.wall_s = s.wall_s, .n_holds = s.n_holds};
    if (s.wall_s > 0) {
        result->busy = s.worked_s / (s.wall_s * (double)n_workers);
        result->hand_out_busy = s.occupied_s / s.wall_s;
    }
out:
    sb_free(s.there);
    sb_free(s.reference_s);
    sb_free(s.waiting);
    sb_free(s.workers);
    sb_free(s.heap);
    sb_handout_close(s.handout);
    return st;
}
