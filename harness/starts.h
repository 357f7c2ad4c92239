#ifndef SB_STARTS_H
#define SB_STARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/keys.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The file RUN/.started: the cells that were under way when a process died there, one line of keys
 * for each death, and last the cells that are under way now. So a cell that kills its process is
 * known to have done so.
 */
typedef struct sb_starts {
    int fd;
    int64_t end; /**< bytes of earlier deaths */
    char *path;
} sb_starts;

/** Open the file of a run directory that is ours alone; `forget` drops earlier deaths. SB_IO. At
 *  most one is open at a time in a process. */
sb_status sb_starts_open(const char *run_path, bool forget, sb_starts *starts, sb_err *err);

/** Note durably that n cells start. SB_IO. */
sb_status sb_starts_note(sb_starts *starts, const uint64_t *keys, int64_t n, sb_err *err);

/** Note that they ended, in whatever way. */
void sb_starts_settle(const sb_starts *starts);

/** What is under way is stopped from outside, and dying of that is not the cells' fault. For signal
 *  handlers. */
void sb_starts_forgive(void);

/** Close. What is under way is not settled. */
void sb_starts_close(sb_starts *starts);

/** Append the cells of each death in a run directory, once for each. SB_IO. */
sb_status sb_starts_read(const char *run_path, sb_keys *died, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
