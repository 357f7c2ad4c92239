/*
 * Value bonuses: a block whose values are large matters more than its scores say.
 *
 * Source: the output-aware metric of Stem, arXiv:2603.06274, Eq. 7 (`paper`), and its form in the
 * authors' released code (Tencent/AngelSlim 67394ce): logarithms of the largest value norm of each
 * group of `stride` tokens, standardised over a kv head's whole groups, negative parts dropped,
 * averaged over a block. beta = 0 is no bonus.
 */
#include <math.h>
#include <omp.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/score.h"
#include "methods/stages.h"

sb_status sb_bonus_plan(const sb_problem *p, const sb_block_topk_spec *spec, int n_threads,
                        sb_bonus *bonus, sb_err *err)
{
    *bonus = (sb_bonus){.kind = spec->bonus, .beta = spec->beta, .block = spec->block};
    if (spec->bonus == SB_BONUS_NONE)
        return SB_OK;
    bonus->group = spec->bonus == SB_BONUS_PAPER ? spec->block : spec->stride;
    bonus->n_blocks = sb_ceil_div(p->kv_len, spec->block);
    bonus->n_groups = sb_ceil_div(p->kv_len, bonus->group);
    bonus->room = sb_pad_lanes(p->dim_v) + sb_pad_lanes(bonus->block);
    int64_t n_kv = p->n_batch * p->n_kv_heads;
    bonus->group_norm = sb_alloc(n_kv * bonus->n_groups, sizeof *bonus->group_norm);
    bonus->block_bonus = sb_alloc(n_kv * bonus->n_blocks, sizeof *bonus->block_bonus);
    bonus->thread_room = sb_alloc(n_threads * bonus->room, sizeof *bonus->thread_room);
    if (bonus->group_norm && bonus->block_bonus && bonus->thread_room)
        return SB_OK;
    sb_bonus_free(bonus);
    return sb_no_memory(err, "value bonuses");
}

void sb_bonus_free(sb_bonus *bonus)
{
    sb_free(bonus->group_norm);
    sb_free(bonus->block_bonus);
    sb_free(bonus->thread_room);
    *bonus = (sb_bonus){0};
}

/* Largest norm of each group of one block of kv head `head`; 0 where it has no tokens. */
static void block_norms(sb_bonus *bonus, const sb_problem *p, const sb_inputs *in, int64_t head,
                        int64_t block_index)
{
    int64_t from = block_index * bonus->block, left = sb_kv_len(p, head / p->n_kv_heads) - from;
    int64_t tokens = left < bonus->block ? left : bonus->block;
    float *line = bonus->thread_room + omp_get_thread_num() * bonus->room;
    float *norm = line + sb_pad_lanes(p->dim_v);
    const char *v = in->v;
    if (tokens > 0)
        sb_row_norms(p->dtype,
                     v + (size_t)((head * p->kv_len + from) * p->dim_v) * sb_dtype_bytes(p->dtype),
                     tokens, p->dim_v, line, norm);
    int64_t end = sb_ceil_div(from + bonus->block, bonus->group);
    if (end > bonus->n_groups)
        end = bonus->n_groups;
    for (int64_t g = from / bonus->group, t = 0; g < end; g++) {
        float most = 0;
        for (int64_t to = t + bonus->group; t < to; t++)
            if (t < tokens)
                most = norm[t] > most ? norm[t] : most;
        bonus->group_norm[head * bonus->n_groups + g] = most;
    }
}

static void largest_norms(sb_bonus *bonus, const sb_problem *p, const sb_inputs *in, int n_threads)
{
    int64_t n = p->n_batch * p->n_kv_heads * bonus->n_blocks;
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (int64_t i = 0; i < n; i++)
        block_norms(bonus, p, in, i / bonus->n_blocks, i % bonus->n_blocks);
}

static void paper_bonus(const sb_bonus *bonus, const float *norm, float *out)
{
    for (int64_t j = 0; j < bonus->n_blocks; j++)
        out[j] = (float)(bonus->beta * fmax(0, log((double)norm[j])));
}

static double log_norm(float norm)
{
    return log((double)norm + 1e-6);
}

static void released_bonus(const sb_bonus *bonus, const float *norm, int64_t kv_len, float *out)
{
    int64_t n_whole = kv_len / bonus->group, per_block = bonus->block / bonus->group;
    double mean = 0, square = 0;
    for (int64_t g = 0; g < n_whole; g++)
        mean += log_norm(norm[g]) / (double)n_whole;
    for (int64_t g = 0; g < n_whole; g++)
        square += (log_norm(norm[g]) - mean) * (log_norm(norm[g]) - mean);
    double std = n_whole > 1 ? sqrt(square / (double)(n_whole - 1)) : 0;
    for (int64_t j = 0; j < bonus->n_blocks; j++) {
        double sum = 0;
        for (int64_t g = j * per_block; g < (j + 1) * per_block && g < bonus->n_groups; g++)
            sum += fmax(0, (log_norm(norm[g]) - mean) / (std + 1e-6));
        out[j] = (float)(bonus->beta * sum / (double)per_block);
    }
}

void sb_bonus_values(sb_bonus *bonus, const sb_problem *p, const sb_inputs *in, int n_threads)
{
    if (bonus->kind == SB_BONUS_NONE)
        return;
    largest_norms(bonus, p, in, n_threads);
    int64_t n = p->n_batch * p->n_kv_heads;
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        const float *norm = bonus->group_norm + i * bonus->n_groups;
        float *out = bonus->block_bonus + i * bonus->n_blocks;
        if (bonus->kind == SB_BONUS_PAPER)
            paper_bonus(bonus, norm, out);
        else
            released_bonus(bonus, norm, sb_kv_len(p, i / p->n_kv_heads), out);
    }
}

double sb_bonus_flops(const sb_bonus *bonus, const sb_problem *p)
{
    double flops = 0;
    if (bonus->kind == SB_BONUS_NONE)
        return 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        double tokens = (double)sb_kv_len(p, b), per_group = bonus->kind == SB_BONUS_PAPER ? 3 : 8;
        double groups = ceil(tokens / (double)bonus->group);
        /* Norms and their maxima; then a logarithm, the statistics and the clipped mean. */
        flops += (double)p->n_kv_heads * (tokens * (2 * (double)p->dim_v + 2) + groups * per_group);
        /* One addition to every score. */
        double first = (double)sb_first_block(p, b, bonus->block);
        double end = first + (double)sb_n_rows(p, b, bonus->block);
        flops += (double)p->n_heads * (end * (end + 1) - first * (first + 1)) / 2;
    }
    return flops;
}
