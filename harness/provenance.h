#ifndef SB_PROVENANCE_H
#define SB_PROVENANCE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** "0.1.0 (commit abcdef012345, dirty)". */
const char *sb_version(void);

/**
 * What made a result, as YAML: commit, compiler and flags, library versions, CPU, kernel, cores,
 * affinity, UTC time, and `device`, YAML lines of its own. No host name. A fresh string for
 * sb_free, or NULL when memory runs out.
 */
char *sb_provenance(const char *kernel, int n_cores, int n_threads, int pinned, const char *device);

/** Hash of the running program's file: two builds that differ at all differ here. */
uint64_t sb_build_id(void);

/** Number of cores this process may use. */
int sb_cores(void);

#ifdef __cplusplus
}
#endif
#endif
