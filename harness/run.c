#include "harness/run.h"

#include "harness/mem.h"
#include "harness/runner.h"

/* Keep the items of a shard, in run order. */
static sb_status keep_shard(sb_item *items, int64_t *n, sb_shard shard, sb_err *err)
{
    if (shard.n == 0)
        return SB_OK;
    int64_t n_kept = 0;
    int32_t *of_item = sb_alloc(*n, sizeof *of_item);
    if (!of_item)
        return sb_no_memory(err, "the shards");
    sb_status st = sb_shard_assign(items, *n, shard.n, of_item, err);
    for (int64_t i = 0; i < *n && st == SB_OK; i++)
        if (of_item[i] == shard.i - 1)
            items[n_kept++] = items[i];
    *n = n_kept;
    sb_free(of_item);
    return st;
}

/* Whatever ends the run, what is finished goes into results.h5. */
static sb_status run_items(sb_runner *run, const sb_item *items, int64_t n, sb_err *err)
{
    sb_status st = SB_OK;
    sb_err folding = {0};
    for (int64_t i = 0; i < n && st == SB_OK; i++)
        st = sb_runner_item(run, &items[i], err);
    sb_status folded = sb_runner_finish(run, &folding);
    return st == SB_OK && folded != SB_OK ? sb_fail(err, folded, "%s", folding.msg) : st;
}

sb_status sb_run(const sb_sweep *sweep, const sb_run_options *options, sb_shard shard,
                 const volatile int *stop, sb_run_summary *summary, sb_err *err)
{
    sb_runner run;
    sb_item *items = NULL;
    int64_t n = 0;
    const sb_rates rates = sb_rates_nominal();
    sb_status st = sb_items_make(sweep, options->backends, &rates, &items, &n, err);
    if (st == SB_OK)
        st = keep_shard(items, &n, shard, err);
    if (st == SB_OK) {
        st = sb_runner_init(sweep, options, stop, summary, &run, err);
        if (st == SB_OK)
            st = sb_runner_check(&run, items, n, err);
        if (st == SB_OK)
            st = sb_runner_open(&run, err);
        if (st == SB_OK)
            st = sb_runner_resume(&run, items, n, err);
        if (st == SB_OK)
            st = run_items(&run, items, n, err);
        sb_runner_close(&run);
    }
    sb_free(items);
    return st;
}
