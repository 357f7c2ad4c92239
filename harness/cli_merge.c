#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "harness/cli.h"
#include "harness/merge.h"

sb_status sb_cmd_merge(const sb_args *args, sb_err *err)
{
    sb_merge_summary s;
    const char *dir = args->operands[0];
    (void)signal(SIGXFSZ, SIG_IGN); /* a full quota is an error that write() reports */
    sb_status st = sb_merge(dir, args->force, &s, err);
    if (st != SB_OK)
        return st;
    if (s.n_parts == 0)
        printf("%s: no parts to merge\n", dir);
    else
        printf("%" PRId64 " cells (%" PRId64 " missing) of %" PRId64
               " parts: %s/results.csv, results.h5\n",
               s.n_cells - s.n_missing, s.n_missing, s.n_parts, dir);
    return SB_OK;
}
