/* A build without MPI: every process is alone. */
#include "harness/ranks.h"

sb_status sb_ranks_join(sb_ranks *ranks, sb_err *err)
{
    *ranks = (sb_ranks){.n = 1};
    int n = sb_ranks_launched();
    return n <= 1 ? SB_OK
                  : sb_fail(err, SB_UNAVAILABLE,
                            "one of %d processes, and this build has no MPI; build with "
                            "-DSTEMBENCH_MPI=on, or give each process its --shard",
                            n);
}

void sb_ranks_leave(void)
{
}

sb_status sb_ranks_agree(const sb_ranks *ranks, sb_status mine, sb_err *err)
{
    (void)ranks;
    (void)err;
    return mine;
}

sb_status sb_ranks_run(const sb_ranks *ranks, sb_sweep *sweep, sb_backends *backends,
                       sb_run_options *options, const volatile int *stop, sb_run_summary *summary,
                       sb_err *err)
{
    (void)ranks;
    (void)sweep;
    (void)backends;
    (void)options;
    (void)stop;
    (void)summary;
    return sb_fail(err, SB_UNAVAILABLE, "this build has no MPI");
}
