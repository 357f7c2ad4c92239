/*
 * Means of blocks, and whether their tokens are alike.
 *
 * Source: SpargeAttn, arXiv:2502.18137; thu-ml/SpargeAttn bfd980b. Unit vectors are rounded to half
 * precision as there; the rest is float32, where its callers cast to half.
 */
#include "methods/alike_means.h"

#include <omp.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/score.h"

sb_status sb_alike_means_plan(const sb_problem *p, int64_t block_q, int64_t block_k,
                              double similarity, int n_threads, sb_alike_means *s, sb_err *err)
{
    int64_t n_heads = p->n_batch * p->n_kv_heads;
    *s = (sb_alike_means){.block_k = block_k,
                          .similarity = similarity,
                          .n_threads = n_threads,
                          .length = sb_pad_lanes(p->dim),
                          .n_keys = sb_ceil_div(p->kv_len, block_k),
                          .n_most = block_q > block_k ? block_q : block_k};
    s->key_mean = sb_alloc(n_heads * s->n_keys * s->length, sizeof *s->key_mean);
    s->key_alike = sb_alloc(n_heads * s->n_keys, sizeof *s->key_alike);
    s->centre = sb_alloc(n_heads * s->length, sizeof *s->centre);
    s->tokens = sb_alloc(n_threads * s->n_most * s->length, sizeof *s->tokens);
    s->half = sb_alloc(n_threads * s->n_most * s->length, sizeof *s->half);
    s->norm = sb_alloc(n_threads * s->n_most, sizeof *s->norm);
    s->line = sb_alloc(n_threads * 2 * s->length, sizeof *s->line);
    if (s->key_mean && s->key_alike && s->centre && s->tokens && s->half && s->norm && s->line)
        return SB_OK;
    sb_alike_means_free(s);
    return sb_no_memory(err, "block means");
}

void sb_alike_means_free(sb_alike_means *s)
{
    sb_free(s->line);
    sb_free(s->norm);
    sb_free(s->half);
    sb_free(s->tokens);
    sb_free(s->centre);
    sb_free(s->key_alike);
    sb_free(s->key_mean);
    *s = (sb_alike_means){0};
}

static const void *token_at(const sb_problem *p, const void *x, int64_t token)
{
    return (const char *)x + (size_t)(token * p->dim) * sb_dtype_bytes(p->dtype);
}

/* tokens [n, length] = x less `centre`, in float32. */
static void load_tokens(const sb_alike_means *s, const sb_problem *p, const void *x, int64_t n,
                        const float *centre, float *tokens)
{
    memset(tokens, 0, (size_t)(n * s->length) * sizeof *tokens);
    for (int64_t t = 0; t < n; t++) {
        float *token = tokens + t * s->length;
        sb_to_f32(p->dtype, token_at(p, x, t), token, p->dim);
        for (int64_t c = 0; centre && c < s->length; c++)
            token[c] -= centre[c];
    }
}

/* The mean of all pairs' cosines, as the squared norm of the mean of unit vectors, those rounded to
 * half precision; NaN where a token is zero. Overwrites tokens [n, length]. */
static float mean_cosine(const sb_alike_means *s, float *tokens, int64_t n, int worker)
{
    uint16_t *half = s->half + worker * s->n_most * s->length;
    float *norm = s->norm + worker * s->n_most;
    float *line = s->line + worker * 2 * s->length, *sum = line + s->length;
    float gain = 1 / ((float)n * (float)n), cosine;
    sb_row_norms(SB_F32, tokens, n, s->length, line, norm);
    for (int64_t t = 0; t < n; t++)
        for (int64_t c = 0; c < s->length; c++)
            tokens[t * s->length + c] /= norm[t];
    sb_from_f32(SB_F16, tokens, half, n * s->length);
    sb_to_f32(SB_F16, half, tokens, n * s->length);
    sb_group_sums(SB_F32, tokens, n, s->length, 0, 1, false, line, sum);
    sb_score_rows(sum, 1, sum, 1, s->length, &gain, 1, &cosine);
    return cosine;
}

/* The mean of tokens x [n, dim] less `centre` (NULL: zero) to mean [length]; returns whether they
 * are a whole block, and alike. */
static bool pool(const sb_alike_means *s, const sb_problem *p, const void *x, int64_t n,
                 int64_t block, const float *centre, int worker, float *mean)
{
    float *tokens = s->tokens + worker * s->n_most * s->length;
    load_tokens(s, p, x, n, centre, tokens);
    sb_group_sums(SB_F32, tokens, n, s->length, 0, 1, false, s->line + worker * 2 * s->length,
                  mean);
    for (int64_t c = 0; c < s->length; c++)
        mean[c] /= (float)n;
    return n == block && (double)mean_cosine(s, tokens, n, worker) > s->similarity;
}

/* The mean key of a head, from the sums of its key blocks. */
static void find_centre(const sb_alike_means *s, int64_t kv_len, const float *sums, float *centre)
{
    for (int64_t c = 0; c < s->length; c++) {
        double all = 0;
        for (int64_t j = 0; j * s->block_k < kv_len; j++)
            all += (double)sums[j * s->length + c];
        centre[c] = (float)(all / (double)kv_len);
    }
}

static void sum_key_block(const sb_alike_means *s, const sb_problem *p, const sb_inputs *in,
                          int64_t i, int worker)
{
    int64_t head = i / s->n_keys, first = i % s->n_keys * s->block_k;
    int64_t n = sb_kv_len(p, head / p->n_kv_heads) - first;
    if (n > 0)
        sb_group_sums(p->dtype, token_at(p, in->k, head * p->kv_len + first),
                      n < s->block_k ? n : s->block_k, p->dim, 0, 1, false,
                      s->line + worker * 2 * s->length, s->key_mean + i * s->length);
}

static void pool_key_block(const sb_alike_means *s, const sb_problem *p, const sb_inputs *in,
                           int64_t i, int worker)
{
    int64_t head = i / s->n_keys, first = i % s->n_keys * s->block_k;
    int64_t n = sb_kv_len(p, head / p->n_kv_heads) - first;
    if (n > 0)
        s->key_alike[i] = pool(s, p, token_at(p, in->k, head * p->kv_len + first),
                               n < s->block_k ? n : s->block_k, s->block_k,
                               s->centre + head * s->length, worker, s->key_mean + i * s->length);
}

void sb_alike_means_keys(const sb_alike_means *s, const sb_problem *p, const sb_inputs *in)
{
    int64_t n_heads = p->n_batch * p->n_kv_heads, n = n_heads * s->n_keys;
#pragma omp parallel num_threads(s->n_threads)
    {
        int worker = omp_get_thread_num();
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++)
            sum_key_block(s, p, in, i, worker);
#pragma omp for schedule(static)
        for (int64_t head = 0; head < n_heads; head++)
            find_centre(s, sb_kv_len(p, head / p->n_kv_heads),
                        s->key_mean + head * s->n_keys * s->length, s->centre + head * s->length);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++)
            pool_key_block(s, p, in, i, worker);
    }
}

bool sb_alike_means_query(const sb_alike_means *s, const sb_problem *p, const void *x, int64_t n,
                          int worker, float *mean)
{
    return pool(s, p, x, n, n, NULL, worker, mean);
}
