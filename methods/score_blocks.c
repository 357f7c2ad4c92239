/*
 * Block scores from group sums: anti-diagonal sampling, and mean pooling as its limit case S = 1;
 * or from exact masses.
 *
 * Source: Stem, arXiv:2603.06274, with the anti-diagonal sampling of XAttention, arXiv:2503.16428.
 * A mean of sums is bilinear, so the mean over a block's sub-tiles is one product of group sums
 * (stages.h).
 */
#include <omp.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/score.h"
#include "methods/stages.h"

sb_status sb_score_plan(const sb_problem *p, const sb_block_topk_spec *spec, int n_threads,
                        sb_score *score, sb_err *err)
{
    *score = (sb_score){.block = spec->block,
                        .mean = spec->mean_score,
                        .exact = spec->mass_score,
                        .n_threads = n_threads,
                        .n_blocks = sb_ceil_div(p->kv_len, spec->block)};
    if (score->exact)
        return sb_block_mass_plan(p, spec->block, false, n_threads, &score->masses, err);
    score->stride = spec->mean_score ? 1 : spec->stride;
    score->length = score->stride * sb_pad_lanes(p->dim);
    score->scale = p->scale;
    if (spec->unscaled_score)
        score->scale = (double)spec->stride;
    score->room = SB_SCORE_ROWS * score->length + sb_pad_lanes(p->dim);
    score->key_groups = sb_alloc(p->n_batch * p->n_kv_heads * score->n_blocks * score->length,
                                 sizeof *score->key_groups);
    score->thread_room = sb_alloc(n_threads * score->room, sizeof *score->thread_room);
    if (score->key_groups && score->thread_room)
        return SB_OK;
    sb_score_free(score);
    return sb_no_memory(err, "block scores");
}

void sb_score_free(sb_score *score)
{
    sb_free(score->key_groups);
    sb_free(score->thread_room);
    sb_block_mass_free(&score->masses);
    *score = (sb_score){0};
}

static const void *token_at(const void *x, sb_dtype dtype, int64_t token, int64_t dim)
{
    return (const char *)x + (size_t)(token * dim) * sb_dtype_bytes(dtype);
}

static int64_t tokens_in_block(int64_t block_index, int64_t block, int64_t n)
{
    int64_t left = n - block_index * block;
    return left < block ? left : block;
}

void sb_score_keys(sb_score *score, const sb_problem *p, const sb_inputs *in)
{
    if (score->exact) {
        sb_block_mass_fill(&score->masses, p, in);
        return;
    }
    int64_t per_head = score->n_blocks, n = p->n_batch * p->n_kv_heads * per_head;
#pragma omp parallel for num_threads((int)score->n_threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        int64_t b = i / (p->n_kv_heads * per_head), j = i % per_head, kv_len = sb_kv_len(p, b);
        if (j * score->block >= kv_len)
            continue;
        float *line = score->thread_room + omp_get_thread_num() * score->room;
        const void *k =
            token_at(in->k, p->dtype, (i / per_head) * p->kv_len + j * score->block, p->dim);
        sb_group_sums(p->dtype, k, tokens_in_block(j, score->block, kv_len), p->dim, 0,
                      score->stride, true, line, score->key_groups + i * score->length);
    }
}

/* The factor that makes the product of sums the mean that the definition asks for. */
static float row_gain(const sb_score *score, int64_t n_queries)
{
    double sub = (double)score->block / (double)score->stride;
    double queries = score->mean ? (double)n_queries : sub;
    return (float)(score->scale / (queries * sub * (double)score->stride));
}

void sb_score_queries(const sb_score *score, const sb_problem *p, const sb_inputs *in, int64_t b,
                      int64_t h, int64_t r, int64_t n_rows, int worker, float *out)
{
    if (score->exact) {
        sb_block_mass_logs(&score->masses, p, b, h, r, n_rows, out);
        return;
    }
    float *sums = score->thread_room + worker * score->room, gain[SB_SCORE_ROWS];
    float *line = sums + SB_SCORE_ROWS * score->length;
    int64_t first_row = sb_first_block(p, b, score->block) + r;
    for (int64_t i = 0; i < n_rows; i++) {
        int64_t t0, t1, row = first_row + i;
        sb_row_span(p, b, score->block, r + i, &t0, &t1);
        int64_t start = sb_kv_len(p, b) - sb_q_len(p, b) + t0 - row * score->block;
        const void *q = token_at(in->q, p->dtype, (b * p->n_heads + h) * p->q_len + t0, p->dim);
        sb_group_sums(p->dtype, q, t1 - t0, p->dim, start, score->stride, false, line,
                      sums + i * score->length);
        gain[i] = row_gain(score, t1 - t0);
    }
    int64_t kv_head = h / (p->n_heads / p->n_kv_heads);
    const float *keys =
        score->key_groups + (b * p->n_kv_heads + kv_head) * score->n_blocks * score->length;
    sb_score_rows(sums, n_rows, keys, first_row + n_rows, score->length, gain, score->n_blocks,
                  out);
    for (int64_t i = 0; i < n_rows; i++) {
        int64_t row = first_row + i;
        int64_t diagonal_keys = tokens_in_block(row, score->block, sb_kv_len(p, b));
        if (score->mean && diagonal_keys < score->block)
            out[i * score->n_blocks + row] *= (float)((double)score->block / (double)diagonal_keys);
    }
}

double sb_score_flops(const sb_score *score, const sb_problem *p, const sb_budget *budget)
{
    double flops = 0, d = (double)p->dim;
    if (score->exact) /* a mean and a logarithm of every block */
        return sb_block_mass_flops(&score->masses, p) +
               2 * (double)sb_causal_blocks(p, score->block);
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t first = sb_first_block(p, b, score->block), rows = sb_n_rows(p, b, score->block);
        flops += (double)sb_kv_len(p, b) * d * (double)p->n_kv_heads;
        for (int64_t r = 0; r < rows; r++) {
            if (budget->k[b * budget->n_rows + r] > first + r)
                continue;
            int64_t t0, t1;
            sb_row_span(p, b, score->block, r, &t0, &t1);
            double pairs = (double)(first + r + 1);
            flops += (double)p->n_heads *
                     ((double)(t1 - t0) * d + pairs * (2 * (double)score->stride * d + 1));
        }
    }
    return flops;
}
