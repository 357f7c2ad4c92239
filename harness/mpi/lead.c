/* Rank 0: it hands out, and computes nothing. */
#include <inttypes.h>
#include <stdio.h>

#include "harness/mem.h"
#include "harness/mpi/world.h"
#include "harness/timing.h"

typedef struct lead {
    const sb_workers *workers;
    sb_runner *run;
    const sb_item *items; /* all of the sweep */
    sb_item *wanted;      /* [n_wanted] those with cells to compute, which the hand-out knows */
    int64_t *item_of;     /* [n_wanted] their places among all */
    int64_t n_wanted;
    sb_handout *handout;
    /* A rank that is killed may take the others with it, and what they computed is suspected as
     * well: such items come last and one at a time, so that a second death has one cause. */
    int64_t *suspects; /* [n_suspects] places among all */
    int64_t n_suspects, n_tried;
    int n_running; /* workers that have an item */
    int *waiting;  /* workers without an item, as a ring [n_workers], first come first served */
    int first, n_waiting, n_left;
    bool stopped; /* nothing is handed out any more */
    int64_t n_given;
    double busy_s, computed_s, waited_s; /* of this rank; of all workers */
} lead;

static sb_status open_lead(lead *l, int64_t n, sb_err *err)
{
    l->wanted = sb_alloc(n, sizeof *l->wanted);
    l->item_of = sb_alloc(n, sizeof *l->item_of);
    l->suspects = sb_alloc(n, sizeof *l->suspects);
    l->waiting = sb_alloc(l->workers->n, sizeof *l->waiting);
    if (!l->wanted || !l->item_of || !l->suspects || !l->waiting)
        return sb_no_memory(err, "the sweep's work");
    for (int64_t i = 0; i < n; i++)
        if (sb_runner_suspects(l->run, &l->items[i])) {
            l->suspects[l->n_suspects++] = i;
        } else if (sb_runner_wants(l->run, &l->items[i])) {
            l->wanted[l->n_wanted] = l->items[i];
            l->item_of[l->n_wanted++] = i;
        }
    return sb_handout_open(l->wanted, l->n_wanted, l->workers->n, &l->handout, err);
}

static void close_lead(lead *l)
{
    sb_handout_close(l->handout);
    sb_free(l->waiting);
    sb_free(l->suspects);
    sb_free(l->item_of);
    sb_free(l->wanted);
}

/* Of all items, or SB_HANDOUT_WAIT or SB_HANDOUT_DONE. */
static int64_t next_item(lead *l, int worker)
{
    if (l->stopped)
        return SB_HANDOUT_DONE;
    int64_t next = sb_handout_next(l->handout, worker);
    if (next != SB_HANDOUT_DONE)
        return next == SB_HANDOUT_WAIT ? next : l->item_of[next];
    if (l->n_tried == l->n_suspects)
        return SB_HANDOUT_DONE;
    return l->n_running > 0 ? SB_HANDOUT_WAIT : l->suspects[l->n_tried++];
}

/* False where the worker has to wait. */
static bool serve(lead *l, int worker)
{
    int64_t item = next_item(l, worker);
    if (item == SB_HANDOUT_WAIT)
        return false;
    l->n_given += item >= 0;
    l->n_running += item >= 0;
    MPI_Send(&item, sizeof item, MPI_BYTE, l->workers->rank_of[worker], SB_TAG_ITEM,
             MPI_COMM_WORLD);
    return true;
}

static void serve_waiting(lead *l)
{
    while (l->n_waiting > 0 && serve(l, l->waiting[l->first])) {
        l->first = (l->first + 1) % l->workers->n;
        l->n_waiting--;
    }
}

static void announce(lead *l)
{
    char text[32];
    (void)snprintf(text, sizeof text, "ranks that compute: %d", l->workers->n);
    sb_progress_doing(&l->run->progress, text);
}

static void count_done(lead *l, int64_t item)
{
    const sb_item *it = &l->items[item];
    const sb_sweep *sweep = l->run->sweep;
    for (int64_t v = it->first; v < it->first + it->n; v++) {
        uint8_t *state = &l->run->states[it->shape * sweep->cfg->n_variants + v];
        if (*state < SB_CELL_COMPUTED)
            sb_progress_done(&l->run->progress, sb_estimate_cell(sweep, it->shape, v).work_flops);
        *state = SB_CELL_COMPUTED;
    }
    announce(l);
}

static void hear(lead *l, const sb_message *m, int worker)
{
    switch ((sb_word)m->word) {
    case SB_WORD_HELD:
        sb_handout_held(l->handout, worker);
        break;
    case SB_WORD_READY:
        if (m->item >= 0) {
            l->n_running--;
            sb_handout_ended(l->handout, worker);
            count_done(l, m->item);
        }
        if (!serve(l, worker))
            l->waiting[(l->first + l->n_waiting++) % l->workers->n] = worker;
        break;
    case SB_WORD_LEFT:
        l->n_left++;
        l->run->summary->n_failed += m->n_failed;
        l->run->summary->n_unsupported += m->n_unsupported;
        l->computed_s += m->computed_s;
        l->waited_s += m->waited_s;
        l->n_running -= m->status != SB_OK; /* it left with its item */
        l->stopped = l->stopped || m->status != SB_OK;
        break;
    }
}

/* What it cost that several shared the work. */
static void tell_cost(const lead *l, double seconds)
{
    if (l->run->options->quiet || l->n_given == 0)
        return;
    double n = (double)l->n_given, all_s = seconds * l->workers->n;
    (void)fprintf(stderr,
                  "handed out %" PRId64 " times: %.0f us of rank 0 each, answered in %.0f us; "
                  "%d ranks %.0f %% busy\n",
                  l->n_given, 1e6 * l->busy_s / n, 1e6 * l->waited_s / n, l->workers->n,
                  100 * l->computed_s / all_s);
}

sb_status sb_mpi_lead(const sb_workers *workers, sb_runner *run, const sb_item *items, int64_t n,
                      sb_err *err)
{
    lead l = {.workers = workers, .run = run, .items = items};
    sb_status st = open_lead(&l, n, err);
    l.stopped = st != SB_OK; /* the workers ask in any case */
    announce(&l);
    const double begin_ms = sb_now_ms();
    double heard_ms = begin_ms;
    while (l.n_left < workers->n) {
        sb_message message;
        int from;
        if (sb_mpi_receive(heard_ms, &message, &from)) {
            heard_ms = sb_now_ms();
            hear(&l, &message, workers->worker_of[from]);
            serve_waiting(&l);
            l.busy_s += (sb_now_ms() - heard_ms) / 1e3;
        }
        if (*run->stop && st == SB_OK)
            st = sb_fail(err, SB_INTERRUPTED, "interrupted");
        l.stopped = l.stopped || st != SB_OK;
        if (l.stopped)
            serve_waiting(&l);
    }
    sb_progress_end(&run->progress);
    tell_cost(&l, (sb_now_ms() - begin_ms) / 1e3);
    close_lead(&l);
    return st;
}
