/* Strided scores of query groups against key groups: score_strided.h. */
#include "methods/score_strided.h"

#include <math.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/order.h"
#include "methods/kernels/cpu/score.h"

sb_status sb_strided_plan(const sb_problem *p, int64_t block, int64_t stride, int n_threads,
                          sb_strided *s, sb_err *err)
{
    *s = (sb_strided){.block = block,
                      .stride = stride,
                      .n_blocks = sb_ceil_div(p->kv_len, block),
                      .n_groups = sb_ceil_div(p->kv_len, stride),
                      .length = stride * sb_pad_lanes(p->dim),
                      .gain = (float)(p->scale / (double)stride),
                      .n_threads = n_threads};
    int64_t lines = n_threads * (block / stride), blocks = n_threads * s->n_blocks;
    /* Zeroed: what a key group lacks is never written. */
    s->keys = sb_alloc(p->n_batch * p->n_kv_heads * s->n_groups * s->length, sizeof *s->keys);
    s->queries = sb_alloc(lines * s->length, sizeof *s->queries);
    s->score = sb_alloc(lines * s->n_groups, sizeof *s->score);
    s->mass = sb_alloc(blocks, sizeof *s->mass);
    s->keep = sb_alloc(blocks, sizeof *s->keep);
    s->order = sb_alloc(blocks, sizeof *s->order);
    s->sort = sb_alloc(2 * blocks, sizeof *s->sort);
    if (s->keys && s->queries && s->score && s->mass && s->keep && s->order && s->sort)
        return SB_OK;
    sb_strided_free(s);
    return sb_no_memory(err, "strided scores");
}

void sb_strided_free(sb_strided *s)
{
    sb_free(s->sort);
    sb_free(s->order);
    sb_free(s->keep);
    sb_free(s->mass);
    sb_free(s->score);
    sb_free(s->queries);
    sb_free(s->keys);
    *s = (sb_strided){0};
}

static const void *token_at(const void *x, sb_dtype dtype, int64_t token, int64_t dim)
{
    return (const char *)x + (size_t)(token * dim) * sb_dtype_bytes(dtype);
}

void sb_strided_keys(sb_strided *s, const sb_problem *p, const sb_inputs *in)
{
    int64_t token_length = s->length / s->stride, n = p->n_batch * p->n_kv_heads * s->n_blocks;
#pragma omp parallel for num_threads(s->n_threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        int64_t head = i / s->n_blocks, from = i % s->n_blocks * s->block, to = from + s->block;
        int64_t kv_len = sb_kv_len(p, head / p->n_kv_heads);
        float *keys = s->keys + head * s->n_groups * s->length;
        for (int64_t t = from; t < to && t < kv_len; t++)
            sb_to_f32(p->dtype, token_at(in->k, p->dtype, head * p->kv_len + t, p->dim),
                      keys + t * token_length, p->dim);
    }
}

/* The query groups that have a token in row r, each with its tokens in reverse. */
static void gather_queries(const sb_strided *s, const sb_problem *p, const sb_inputs *in,
                           const sb_rows *rows, sb_strided_row *row, float *groups)
{
    int64_t t0, t1, start = sb_kv_len(p, rows->b) - sb_q_len(p, rows->b), dim = p->dim;
    int64_t token_length = s->length / s->stride;
    sb_row_span(p, rows->b, s->block, rows->r, &t0, &t1);
    row->first = (start + t0) / s->stride;
    row->n = sb_ceil_div(start + t1, s->stride) - row->first;
    memset(groups, 0, (size_t)(row->n * s->length) * sizeof *groups);
    for (int64_t t = t0; t < t1; t++) {
        int64_t group = (start + t) / s->stride - row->first, place = (start + t) % s->stride;
        int64_t at = (rows->b * p->n_heads + rows->h) * p->q_len + t;
        sb_to_f32(p->dtype, token_at(in->q, p->dtype, at, dim),
                  groups + group * s->length + (s->stride - 1 - place) * token_length, dim);
    }
}

/* A block of key groups at a time, so that they stay in cache for all lines. */
static void multiply(const sb_strided *s, const float *queries, const float *keys,
                     const sb_strided_row *row)
{
    float gain[SB_SCORE_ROWS];
    for (int r = 0; r < SB_SCORE_ROWS; r++)
        gain[r] = s->gain;
    for (int64_t j = 0; j < sb_strided_seen(row, row->n - 1); j += row->per) {
        for (int64_t r = 0; r < row->n; r += SB_SCORE_ROWS) {
            int64_t lines = row->n - r < SB_SCORE_ROWS ? row->n - r : SB_SCORE_ROWS;
            int64_t seen = sb_strided_seen(row, r + lines - 1) - j;
            if (seen > 0)
                sb_score_rows(queries + r * s->length, lines, keys + j * s->length,
                              seen < row->per ? seen : row->per, s->length, gain, row->stride,
                              row->score + r * row->stride + j);
        }
    }
}

sb_strided_row sb_strided_score(const sb_strided *s, const sb_problem *p, const sb_inputs *in,
                                const sb_rows *rows)
{
    int64_t per = s->block / s->stride, block_room = rows->worker * s->n_blocks;
    sb_strided_row row = {.I = rows->first,
                          .per = per,
                          .stride = s->n_groups,
                          .score = s->score + rows->worker * per * s->n_groups,
                          .mass = s->mass + block_room,
                          .keep = s->keep + block_room,
                          .order = s->order + block_room,
                          .sort = s->sort + 2 * block_room};
    float *queries = s->queries + rows->worker * per * s->length;
    int64_t kv_head = rows->h / (p->n_heads / p->n_kv_heads);
    gather_queries(s, p, in, rows, &row, queries);
    multiply(s, queries, s->keys + (rows->b * p->n_kv_heads + kv_head) * s->n_groups * s->length,
             &row);
    memset(row.keep, 0, (size_t)(row.I + 1) * sizeof *row.keep);
    return row;
}

void sb_strided_sort(const sb_strided_row *row)
{
    sb_order_descending(row->mass, row->I + 1, row->sort, row->order);
}

void sb_strided_emit(const sb_strided_row *row, sb_row_list *list)
{
    list->n = 0;
    for (int64_t j = 0; j <= row->I; j++)
        if (row->keep[j])
            list->col[list->n++] = (int32_t)j;
}

double sb_strided_flops(const sb_strided *s, const sb_problem *p, double per_score, double per_pair,
                        double per_block)
{
    double scores = 0, pairs = 0, in_rows = 0;
    double score_flops = 2 * (double)s->stride * (double)p->dim + 1 + per_score;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t first = sb_first_block(p, b, s->block), rows = sb_n_rows(p, b, s->block);
        int64_t start = sb_kv_len(p, b) - sb_q_len(p, b);
        for (int64_t r = 0; r < rows; r++) {
            int64_t t0, t1;
            double blocks = (double)(first + r + 1);
            sb_row_span(p, b, s->block, r, &t0, &t1);
            int64_t i0 = (start + t0) / s->stride, i1 = sb_ceil_div(start + t1, s->stride);
            scores += (double)((i1 - i0) * (i0 + i1 + 1)) / 2;
            pairs += (double)(i1 - i0) * blocks;
            in_rows += blocks * (per_block + log2(blocks));
        }
    }
    return (double)p->n_heads * (scores * score_flops + pairs * per_pair + in_rows);
}
