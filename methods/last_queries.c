#include "methods/last_queries.h"

#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/clones.h"
#include "methods/kernels/cpu/score.h"
#include "methods/kernels/cpu/softmax.h"
#include "methods/score_tokens.h"

enum { STRIP = 16 }; /* queries scored at once */

sb_status sb_last_queries_plan(const sb_problem *p, int64_t n_queries, int n_threads,
                               sb_last_queries *last, sb_err *err)
{
    *last = (sb_last_queries){.n_queries = n_queries, .n_keys = p->kv_len};
    last->room = (STRIP + 2) * p->kv_len + (STRIP + 1) * sb_pad_lanes(p->dim) + sb_token_room(p);
    last->thread_room = sb_alloc(n_threads * last->room, sizeof *last->thread_room);
    return last->thread_room ? SB_OK : sb_no_memory(err, "the last queries' probabilities");
}

void sb_last_queries_free(sb_last_queries *last)
{
    sb_free(last->thread_room);
    *last = (sb_last_queries){0};
}

static int64_t n_last(const sb_last_queries *last, const sb_problem *p, int64_t b)
{
    int64_t q_len = sb_q_len(p, b);
    return q_len < last->n_queries ? q_len : last->n_queries;
}

SB_CLONES
static void add_scaled(const float *x, int64_t n, float factor, float *sum)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++)
        sum[j] += factor * x[j];
}

static void reverse(float *x, int64_t n)
{
    for (int64_t i = 0; i < n / 2; i++) {
        float other = x[n - 1 - i];
        x[n - 1 - i] = x[i];
        x[i] = other;
    }
}

sb_last_sums sb_last_queries_sums(const sb_last_queries *last, const sb_problem *p,
                                  const sb_inputs *in, int64_t b, int64_t h, int worker)
{
    int64_t kv_len = sb_kv_len(p, b), q_len = sb_q_len(p, b), length = sb_pad_lanes(p->dim);
    int64_t m = n_last(last, p, b), kv_head = h / (p->n_heads / p->n_kv_heads);
    float *column = last->thread_room + worker * last->room, *diagonal = column + last->n_keys;
    float *score = diagonal + last->n_keys, *queries = score + STRIP * last->n_keys;
    float *line = queries + STRIP * length, *room = line + length, gain[STRIP];
    memset(column, 0, (size_t)kv_len * sizeof *column);
    memset(diagonal, 0, (size_t)kv_len * sizeof *diagonal);
    for (int64_t r = 0; r < STRIP; r++)
        gain[r] = (float)p->scale;
    for (int64_t r0 = 0; r0 < m; r0 += STRIP) {
        int64_t n = m - r0 < STRIP ? m - r0 : STRIP;
        const void *q = sb_token_at(p, in->q, b * p->n_heads + h, p->q_len, q_len - m + r0);
        sb_group_sums(p->dtype, q, n, p->dim, 0, n, false, line, queries);
        sb_score_tokens(p, in, b, kv_head, queries, n, gain, kv_len - m + r0 + n, room,
                        last->n_keys, score);
        for (int64_t r = r0; r < r0 + n; r++) {
            float *x = score + (r - r0) * last->n_keys;
            int64_t n_seen = kv_len - m + r + 1;
            float sum = sb_row_exp(x, n_seen, sb_row_max(x, n_seen));
            add_scaled(x, n_seen, 1 / sum, column);
            /* From the far end here, so that the places of both sums ascend with the key. */
            add_scaled(x, n_seen, 1 / sum, diagonal + m - 1 - r);
        }
    }
    reverse(diagonal, kv_len);
    return (sb_last_sums){m, column, diagonal};
}

double sb_last_queries_flops(const sb_last_queries *last, const sb_problem *p, int64_t b)
{
    double m = (double)n_last(last, p, b);
    double pairs = m * (double)sb_kv_len(p, b) - m * (m - 1) / 2;
    /* Score and scale; maximum, exponential, sum; probability, and its two sums. */
    return pairs * (2 * (double)p->dim + 1 + 3 + 3) * (double)p->n_heads;
}
