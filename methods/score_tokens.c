/* Scores of a few float32 rows against every key token, tile by tile. */
#include "methods/score_tokens.h"

#include "methods/kernels/cpu/score.h"

enum { TILE = 64 }; /* keys; in float32 they stay in a core's cache while the rows pass */

int64_t sb_token_room(const sb_problem *p)
{
    return (TILE + 1) * sb_pad_lanes(p->dim);
}

void sb_score_tokens(const sb_problem *p, const sb_inputs *in, int64_t b, int64_t kv_head,
                     const float *x, int64_t n_rows, const float *gain, int64_t n_keys, float *room,
                     int64_t n_out, float *out)
{
    int64_t length = sb_pad_lanes(p->dim), head = b * p->n_kv_heads + kv_head;
    float *keys = room, *line = room + TILE * length;
    for (int64_t j = 0; j < n_keys; j += TILE) {
        int64_t n = n_keys - j < TILE ? n_keys - j : TILE;
        /* Groups of one token: converted and padded. */
        sb_group_sums(p->dtype, sb_token_at(p, in->k, head, p->kv_len, j), n, p->dim, 0, n, false,
                      line, keys);
        for (int64_t r = 0; r < n_rows; r += SB_SCORE_ROWS)
            sb_score_rows(x + r * length, n_rows - r < SB_SCORE_ROWS ? n_rows - r : SB_SCORE_ROWS,
                          keys, n, length, gain + r, n_out, out + r * n_out + j);
    }
}
