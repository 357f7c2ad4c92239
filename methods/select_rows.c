/* Fills a pattern row by row, for methods that decide over the rows of one head at a time. */
#include <omp.h>
#include <string.h>

#include "methods/stages.h"

/* Where row r's room starts among its head's. */
static int64_t room_before(const int64_t *slot, int64_t first, int64_t r)
{
    return slot ? slot[r] : r * first + r * (r + 1) / 2;
}

/* Rows were written where each had room; close the gaps. row_ptr[i + 1] holds the count of list i.
 */
static void close_gaps(const sb_problem *p, const int64_t *slots, sb_pattern *pat)
{
    int64_t n = 0, room_start = 0;
    for (int64_t b = 0; b < pat->n_batch; b++) {
        const int64_t *slot = slots ? slots + b * (pat->n_rows + 1) : NULL;
        int64_t first = sb_first_block(p, b, pat->block);
        for (int64_t h = 0; h < pat->n_heads; h++) {
            for (int64_t r = 0; r < pat->n_rows; r++) {
                int64_t i = sb_pattern_row(pat, b, h, r), kept = pat->row_ptr[i + 1];
                int64_t from = room_start + room_before(slot, first, r);
                if (kept > 0)
                    memmove(pat->col + n, pat->col + from, (size_t)kept * sizeof *pat->col);
                if (kept > 0 && pat->tokens)
                    memmove(pat->tokens + n, pat->tokens + from,
                            (size_t)kept * sizeof *pat->tokens);
                n += kept;
                pat->row_ptr[i + 1] = n;
            }
            room_start +=
                room_before(slot, first, slot ? pat->n_rows : sb_n_rows(p, b, pat->block));
        }
    }
}

void sb_select_rows(const sb_row_job *job, const sb_problem *p, const sb_inputs *in,
                    sb_pattern *pat)
{
    pat->row_ptr[0] = 0;
    for (int64_t b = 0, room_start = 0; b < p->n_batch; b++) {
        const int64_t *slot = job->slots ? job->slots + b * (pat->n_rows + 1) : NULL;
        int64_t first = sb_first_block(p, b, pat->block), rows = sb_n_rows(p, b, pat->block);
        int64_t head_room = room_before(slot, first, slot ? pat->n_rows : rows);
        int64_t n_steps = sb_ceil_div(pat->n_rows, job->n_at_once) * p->n_heads;
        /* Late rows have the most blocks: hand them out first. */
#pragma omp parallel for num_threads(job->n_threads) schedule(dynamic, 1)
        for (int64_t i = n_steps - 1; i >= 0; i--) {
            int64_t h = i % p->n_heads, r0 = i / p->n_heads * job->n_at_once, n = 0;
            sb_row_list lists[SB_MAX_ROWS_AT_ONCE] = {{0}};
            for (int64_t r = r0; r < rows && n < job->n_at_once; r++, n++) {
                int64_t at = room_start + h * head_room + room_before(slot, first, r);
                lists[n].col = pat->col + at;
                lists[n].tokens = pat->tokens ? pat->tokens + at : NULL;
            }
            if (n > 0)
                job->fill(job->self, p, in,
                          &(sb_rows){b, h, r0, n, first + r0, omp_get_thread_num()}, lists);
            for (int64_t r = r0; r < pat->n_rows && r < r0 + job->n_at_once; r++)
                pat->row_ptr[sb_pattern_row(pat, b, h, r) + 1] = lists[r - r0].n;
        }
        room_start += head_room * p->n_heads;
    }
    close_gaps(p, job->slots, pat);
}
