/* A rank that computes what rank 0 hands out. */
#include "harness/mpi/world.h"
#include "harness/timing.h"

static void say(sb_message message)
{
    MPI_Send(&message, sizeof message, MPI_BYTE, 0, SB_TAG_WORD, MPI_COMM_WORLD);
}

static void say_held(void)
{
    say((sb_message){.word = SB_WORD_HELD});
}

/* The next item, after the one that has ended (-1: none). */
static int64_t ask(int64_t ended)
{
    MPI_Request request;
    int64_t item;
    say((sb_message){.word = SB_WORD_READY, .item = ended});
    MPI_Irecv(&item, sizeof item, MPI_BYTE, 0, SB_TAG_ITEM, MPI_COMM_WORLD, &request);
    sb_mpi_await(&request);
    return item;
}

sb_status sb_mpi_work(sb_runner *run, const sb_item *items, sb_err *err)
{
    sb_status st = SB_OK;
    sb_err folding = {0};
    sb_message left = {.word = SB_WORD_LEFT};
    int64_t ended = -1;
    run->held = say_held;
    while (st == SB_OK) {
        double asked_ms = sb_now_ms();
        int64_t item = ask(ended);
        double begun_ms = sb_now_ms();
        if (item < 0)
            break;
        st = sb_runner_item(run, &items[item], err);
        ended = item;
        left.waited_s += (begun_ms - asked_ms) / 1e3;
        left.computed_s += (sb_now_ms() - begun_ms) / 1e3;
    }
    sb_status folded = sb_runner_finish(run, &folding);
    if (st == SB_OK && folded != SB_OK)
        st = sb_fail(err, folded, "%s", folding.msg);
    left.status = (int32_t)st;
    left.n_failed = run->summary->n_failed;
    left.n_unsupported = run->summary->n_unsupported;
    sb_runner_close(run);
    say(left);
    return st;
}
