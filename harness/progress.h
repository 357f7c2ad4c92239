#ifndef SB_PROGRESS_H
#define SB_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Progress of a run on stderr: a bar that overwrites itself on a terminal, plain lines elsewhere.
 */
typedef struct sb_progress {
    bool quiet, terminal;
    bool waited; /**< a log says so */
    int64_t n_cells, n_done;
    double work, work_done; /**< estimated, any unit */
    double start_ms, last_ms;
} sb_progress;

void sb_progress_start(sb_progress *p, int64_t n_cells, double work, bool quiet);

/** Say what is being done now. */
void sb_progress_doing(sb_progress *p, const char *what);

/** Say that nothing is done now; in a log, once. */
void sb_progress_waiting(sb_progress *p, const char *what);

/** A cell of that estimated work is done. */
void sb_progress_done(sb_progress *p, double work);

/** Leave the terminal's line clean. */
void sb_progress_end(sb_progress *p);

#ifdef __cplusplus
}
#endif
#endif
