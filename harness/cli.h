#ifndef SB_CLI_H
#define SB_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "harness/backend.h"
#include "harness/config.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SB_MAX_SETS = 256 };

/** What the command line said, for all commands; each looks at its own part. */
typedef struct sb_args {
    const char *operands[4];
    int n_operands;
    const char *out, *backend, *isa, *method, *format, *dtype, *gate, *vs, *shard;
    const char *sets[SB_MAX_SETS]; /**< --set, or --where */
    int64_t n_sets;
    /* Numbers, -1 where not given. */
    int64_t threads, layer, tokens, shards, ranks;
    int64_t heads, kv_heads, dim, dim_v, layers, sinks, needles, seed, compress; /**< synth */
    bool fresh, quiet, force, retry, help;
} sb_args;

/* Commands: 0 or an error in *err. Results go to stdout. */
sb_status sb_cmd_run(const sb_args *args, sb_err *err);
sb_status sb_cmd_check(const sb_args *args, sb_err *err);
sb_status sb_cmd_inspect(const sb_args *args, sb_err *err);
sb_status sb_cmd_methods(const sb_args *args, sb_err *err);
sb_status sb_cmd_synth(const sb_args *args, sb_err *err);
sb_status sb_cmd_mask(const sb_args *args, sb_err *err);
sb_status sb_cmd_plot(const sb_args *args, sb_err *err);
sb_status sb_cmd_report(const sb_args *args, sb_err *err);
sb_status sb_cmd_merge(const sb_args *args, sb_err *err);
sb_status sb_cmd_compare(const sb_args *args, sb_err *err);

/** Threads that --threads or else OMP_NUM_THREADS ask for; 0: neither. */
int sb_threads_asked(const sb_args *args);

/** Threads to use: as asked, else one for each core this process may use. */
int sb_threads_of(const sb_args *args);

/** Hold CPU dispatch to --isa, which must be there, or to STEMBENCH_ISA_MAX, which must be known.
 */
sb_status sb_limit_isa(const sb_args *args, sb_err *err);

/** Read the config that the first operand names, with --set, and open the backends that it and
 *  --backend and --isa ask for. sb_config_free(cfg) afterwards, unless it failed. */
sb_status sb_load_experiment(const sb_args *args, sb_config *cfg, sb_backends *backends,
                             sb_err *err);

/** The whole program: returns the process's exit code. */
int sb_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif
#endif
