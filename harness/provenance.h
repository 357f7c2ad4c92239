#ifndef SB_PROVENANCE_H
#define SB_PROVENANCE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** "0.1.0 (commit abcdef012345, dirty)". */
const char *sb_version(void);

/**
 * What made a result, as YAML: commit, compiler and flags, library versions, CPU, its clock as of
 * now, kernel, cores, affinity, UTC time, and `device`, YAML lines of its own. No host name. A
 * fresh string for sb_free, or NULL when memory runs out.
 */
char *sb_provenance(const char *kernel, int n_cores, int n_threads, int pinned, const char *device);

/** The value of the line NAME in a provenance text, without its quotes: *n bytes, not terminated.
 *  "" and 0 where there is none. */
const char *sb_provenance_value(const char *provenance, const char *name, int *n);

/** Whether two provenance texts name the same CPU, GPU, cores and threads: what compares times. */
bool sb_provenance_same_machine(const char *a, const char *b);

/** Hash of the running program's file: two builds that differ at all differ here. */
uint64_t sb_build_id(void);

/** Number of cores this process may use. */
int sb_cores(void);

#ifdef __cplusplus
}
#endif
#endif
