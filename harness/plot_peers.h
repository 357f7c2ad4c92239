#ifndef SB_PLOT_PEERS_H
#define SB_PLOT_PEERS_H

#include <stdint.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Dense attention of one shape by another program, timed in turns with ours. */
typedef struct sb_peer {
    int64_t head_dim, tokens, n_rounds;
    char dtype[8];
    char name[72];  /**< with its version: "PyTorch 2.15.0" */
    double peer_ms; /**< median over rounds */
    double ratio;   /**< median over rounds of peer_ms / ours_ms */
} sb_peer;

/**
 * Read RUN_DIR/peers.csv, which scripts/bench_cpu.sh writes: columns head_dim, tokens, dtype,
 * round, ours_ms, peer_ms, peer, version, one row a round. *peers [n] is sb_free's, by first
 * appearance; NULL and 0 where there is no such file. SB_BAD_DATA with the line that is not such a
 * row.
 */
sb_status sb_peers_read(const char *run_dir, sb_peer **peers, int64_t *n, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
