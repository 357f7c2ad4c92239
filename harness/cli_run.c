#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "harness/cli.h"
#include "harness/mem.h"
#include "harness/parts.h"
#include "harness/ranks.h"
#include "harness/results.h"
#include "harness/shard.h"
#include "harness/table.h"

static volatile sig_atomic_t stop_asked;

/* The second signal ends the process at once: whatever is finished is durable already. */
static void ask_to_stop(int signal_number)
{
    stop_asked = 1;
    sb_starts_forgive();
    (void)signal(signal_number, SIG_DFL);
}

static sb_status print_results(const char *dir, const sb_run_summary *s, sb_err *err)
{
    sb_record *records = NULL;
    char **parts = NULL;
    int64_t n = 0, n_parts = 0;
    sb_status st = SB_OK;
    SB_TRY(sb_results_columns(dir, &records, &n, err));
    SB_TRY(sb_table_print(records, n, err));
    SB_TRY(sb_parts_list(dir, &parts, &n_parts, err));
    printf("\n%" PRId64 " cells (%" PRId64 " computed before, %" PRId64 " failed, %" PRId64
           " unsupported): %s/results.csv, results.h5\n",
           s->n_cells, s->n_reused, s->n_failed, s->n_unsupported, dir);
    if (n_parts > 0)
        printf("%" PRId64 " parts hold more of them: stembench merge %s\n", n_parts, dir);
    printf("plots: stembench plot %s\nreport: stembench report %s\n", dir, dir);
out:
    sb_parts_free(parts, n_parts);
    sb_records_free(records, n);
    return st;
}

static void print_shard(const char *dir, sb_shard shard, const sb_run_summary *s)
{
    printf("shard %" PRId64 "/%" PRId64 ": %" PRId64 " cells (%" PRId64 " computed before, %" PRId64
           " failed, %" PRId64 " unsupported)\nwhen all shards are done: stembench merge %s\n",
           shard.i, shard.n, s->n_cells, s->n_reused, s->n_failed, s->n_unsupported, dir);
}

/* What --shard asks for, and the name of its part. */
static sb_status read_shard(const sb_args *args, sb_shard *shard, char **part, sb_err *err)
{
    sb_status st = SB_OK;
    *shard = (sb_shard){0};
    *part = NULL;
    if (!args->shard)
        return SB_OK;
    SB_TRY(sb_shard_parse(args->shard, shard, err));
    SB_CHECK(!args->fresh, err, SB_USAGE,
             "--fresh would remove what other shards compute; remove the run directory instead");
    *part = sb_sprintf("shard-%" PRId64 "-of-%" PRId64, shard->i, shard->n);
    SB_CHECK(*part, err, SB_NO_MEMORY, "out of memory for a name");
out:
    return st;
}

static void catch_signals(void)
{
    (void)signal(SIGINT, ask_to_stop);
    (void)signal(SIGTERM, ask_to_stop);
    (void)signal(SIGXFSZ, SIG_IGN); /* a full quota is an error that write() reports */
    (void)signal(SIGPIPE, SIG_IGN);
}

/* A sweep and what it is to do. */
typedef struct job {
    sb_config cfg;
    sb_sweep sweep;
    sb_backends backends;
    sb_shard shard;
    char *dir, *part;
    sb_run_options options;
} job;

/* Of several ranks each is to open a device of its own, and rank 0, which computes nothing, none.
 * Where a host has fewer than workers, those without one will stay idle. */
static sb_status load(const sb_args *args, const sb_ranks *ranks, job *j, sb_err *err)
{
    sb_args mine = *args;
    sb_err lacking = {0};
    if (ranks->n > 1 && ranks->rank == 0)
        mine.backend = "cpu";
    else if (ranks->n > 1)
        sb_device_pick(ranks->local);
    sb_status st = sb_load_experiment(&mine, &j->cfg, &j->backends, &lacking);
    if (st == SB_OK)
        return SB_OK;
    if (st != SB_UNAVAILABLE || ranks->local == 0)
        return sb_fail(err, st, "%s", lacking.msg);
    mine.backend = "cpu";
    return sb_load_experiment(&mine, &j->cfg, &j->backends, err);
}

static sb_status open_job(const sb_args *args, const sb_ranks *ranks, job *j, sb_err *err)
{
    *j = (job){0};
    sb_status st = load(args, ranks, j, err);
    if (st != SB_OK)
        return st;
    SB_TRY(read_shard(args, &j->shard, &j->part, err));
    SB_TRY(sb_sweep_open(&j->cfg, &j->sweep, err));
    j->dir = args->out ? sb_strdup(args->out) : sb_sprintf("results/%s", j->cfg.name);
    SB_CHECK(j->dir, err, SB_NO_MEMORY, "out of memory for a path");
    j->options =
        (sb_run_options){.out_dir = j->dir,
                         .backends = &j->backends,
                         .n_threads = ranks->n > 1 ? sb_threads_asked(args) : sb_threads_of(args),
                         .fresh = args->fresh,
                         .quiet = args->quiet,
                         .retry = args->retry,
                         .part = j->part};
out:
    return st;
}

static void close_job(job *j)
{
    sb_free(j->part);
    sb_free(j->dir);
    sb_sweep_close(&j->sweep);
    sb_config_free(&j->cfg);
}

static sb_status run_job(const sb_ranks *ranks, job *j, sb_err *err)
{
    sb_run_summary summary;
    sb_status st =
        ranks->n > 1
            ? sb_ranks_run(ranks, &j->sweep, &j->backends, &j->options, &stop_asked, &summary, err)
            : sb_run(&j->sweep, &j->options, j->shard, &stop_asked, &summary, err);
    if (st == SB_INTERRUPTED)
        (void)snprintf(err->msg, sizeof err->msg,
                       "interrupted; finished cells are in %.300s, the same command continues",
                       j->dir);
    if (st != SB_OK || ranks->rank > 0)
        return st;
    if (!j->shard.n)
        return print_results(j->dir, &summary, err);
    print_shard(j->dir, j->shard, &summary);
    return SB_OK;
}

sb_status sb_cmd_run(const sb_args *args, sb_err *err)
{
    job j = {0};
    sb_ranks ranks = {.n = 1};
    sb_status st = args->shard ? SB_OK : sb_ranks_join(&ranks, err);
    if (st != SB_OK)
        return st;
    catch_signals();
    st = sb_ranks_agree(&ranks, open_job(args, &ranks, &j, err), err);
    if (st == SB_OK)
        st = run_job(&ranks, &j, err);
    close_job(&j);
    sb_ranks_leave();
    return ranks.rank == 0 ? st : SB_OK; /* rank 0 speaks for all */
}
