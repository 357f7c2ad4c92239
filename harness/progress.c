#include "harness/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "harness/timing.h"

void sb_progress_start(sb_progress *p, int64_t n_cells, double work, bool quiet)
{
    *p = (sb_progress){.quiet = quiet, .n_cells = n_cells, .work = work};
    p->terminal = isatty(STDERR_FILENO) == 1;
    p->start_ms = p->last_ms = sb_now_ms();
}

static void time_left(const sb_progress *p, char *buf, size_t bytes)
{
    double seconds = (sb_now_ms() - p->start_ms) / 1e3;
    if (p->work_done <= 0) {
        (void)snprintf(buf, bytes, "-:--");
        return;
    }
    int64_t left = (int64_t)(seconds * (p->work - p->work_done) / p->work_done + 0.5);
    (void)snprintf(buf, bytes, "%" PRId64 ":%02" PRId64, left / 60, left % 60);
}

void sb_progress_doing(sb_progress *p, const char *what)
{
    char left[32], bar[21];
    if (p->quiet)
        return;
    time_left(p, left, sizeof left);
    if (p->terminal) {
        int full = p->work > 0 ? (int)(20 * p->work_done / p->work) : 0;
        for (int i = 0; i < 20; i++)
            bar[i] = i < full ? '#' : '.';
        bar[20] = '\0';
        fprintf(stderr, "\r\033[K[%s] %" PRId64 "/%" PRId64 " left %s  %.60s", bar, p->n_done,
                p->n_cells, left, what);
        (void)fflush(stderr);
    } else if (p->n_done == 0 || sb_now_ms() - p->last_ms > 5000) {
        /* A log wants to see life, not every cell. */
        p->last_ms = sb_now_ms();
        fprintf(stderr, "%" PRId64 "/%" PRId64 " cells, left %s: %s\n", p->n_done, p->n_cells, left,
                what);
    }
}

void sb_progress_waiting(sb_progress *p, const char *what)
{
    if (p->waited && !p->terminal)
        return;
    p->waited = true;
    p->last_ms = 0; /* long ago */
    sb_progress_doing(p, what);
}

void sb_progress_done(sb_progress *p, double work)
{
    p->n_done++;
    p->work_done += work;
}

void sb_progress_end(sb_progress *p)
{
    if (!p->quiet && p->terminal)
        fprintf(stderr, "\r\033[K");
}
