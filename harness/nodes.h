#ifndef SB_NODES_H
#define SB_NODES_H

#include <stdint.h>

#include "harness/keys.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A number, never negative, of the machine that this process runs on: a hash of its name and its
 *  machine id, which nobody else knows. */
int64_t sb_host_id(void);

/** The hosts of a run directory, numbered from 0 in the order in which they first came there; kept
 *  in RUN/.nodes. */
typedef struct sb_nodes {
    char *path;
    sb_keys hosts;
    int64_t n_saved;
} sb_nodes;

/** Close in any case. SB_IO. */
sb_status sb_nodes_open(const char *run_path, sb_nodes *nodes, sb_err *err);

/** The number of a host, a new one where it is not known. SB_NO_MEMORY. */
sb_status sb_nodes_number(sb_nodes *nodes, int64_t host, int64_t *number, sb_err *err);

/** Make new numbers durable. SB_IO. */
sb_status sb_nodes_save(sb_nodes *nodes, sb_err *err);

void sb_nodes_close(sb_nodes *nodes);

#ifdef __cplusplus
}
#endif
#endif
