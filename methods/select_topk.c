/*
 * Fill each row's budget with its best blocks, then force the sinks and the window.
 *
 * Source: Stem, arXiv:2603.06274; forced blocks compete for the budget too and are added when they
 * lose, as in the released code (Tencent/AngelSlim 67394ce). Ties go to the lower block, which that
 * code leaves open.
 */
#include <omp.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/score.h"
#include "methods/kernels/cpu/select.h"
#include "methods/stages.h"

sb_status sb_topk_plan(const sb_problem *p, int64_t block, int n_threads, sb_topk *topk,
                       sb_err *err)
{
    int64_t n_blocks = sb_ceil_div(p->kv_len, block);
    *topk = (sb_topk){.n_blocks = n_blocks, .n_threads = n_threads};
    topk->score = sb_alloc(n_threads * SB_SCORE_ROWS * n_blocks, sizeof *topk->score);
    topk->key = sb_alloc(n_threads * n_blocks, sizeof *topk->key);
    if (topk->score && topk->key)
        return SB_OK;
    sb_topk_free(topk);
    return sb_no_memory(err, "selecting blocks");
}

void sb_topk_free(sb_topk *topk)
{
    sb_free(topk->score);
    sb_free(topk->key);
    *topk = (sb_topk){0};
}

static void add_bonus(const sb_bonus *bonus, const sb_problem *p, int64_t b, int64_t h, int64_t n,
                      float *score)
{
    int64_t kv_head = b * p->n_kv_heads + h / (p->n_heads / p->n_kv_heads);
    const float *bonus_j = bonus->block_bonus + kv_head * bonus->n_blocks;
    for (int64_t j = 0; j < n; j++)
        score[j] += bonus_j[j];
}

/* Rows were written where each had room; close the gaps. row_ptr[i + 1] holds the count of list i.
 */
static void close_gaps(const sb_budget *budget, sb_pattern *pat)
{
    int64_t n = 0, room_start = 0;
    for (int64_t b = 0; b < pat->n_batch; b++) {
        const int64_t *slot = budget->slot + b * (budget->n_rows + 1);
        for (int64_t h = 0; h < pat->n_heads; h++, room_start += slot[budget->n_rows])
            for (int64_t r = 0; r < pat->n_rows; r++) {
                int64_t i = sb_pattern_row(pat, b, h, r), kept = pat->row_ptr[i + 1];
                memmove(pat->col + n, pat->col + room_start + slot[r],
                        (size_t)kept * sizeof *pat->col);
                n += kept;
                pat->row_ptr[i + 1] = n;
            }
    }
}

/* Rows r .. r + n_rows - 1 of one head. */
typedef struct step {
    int64_t b, h, r, n_rows;
} step;

static void select_rows(const sb_topk *topk, const sb_score *score, const sb_bonus *bonus,
                        const sb_budget *budget, const sb_problem *p, const sb_inputs *in,
                        const step *s, int64_t room_start, sb_pattern *pat)
{
    const int64_t *slot = budget->slot + s->b * (pat->n_rows + 1);
    const int32_t *k = budget->k + s->b * pat->n_rows;
    int64_t first = sb_first_block(p, s->b, pat->block), rows = sb_n_rows(p, s->b, pat->block);
    int64_t n_rows = rows - s->r < s->n_rows ? rows - s->r : s->n_rows;
    int worker = omp_get_thread_num();
    float *scores = topk->score + worker * SB_SCORE_ROWS * topk->n_blocks;
    bool scored = false;
    for (int64_t r = s->r; r < s->r + n_rows; r++)
        scored |= k[r] < first + r + 1;
    if (scored)
        sb_score_queries(score, p, in, s->b, s->h, s->r, n_rows, worker, scores);
    for (int64_t r = s->r; r < s->r + s->n_rows; r++) {
        float *row_score = scores + (r - s->r) * topk->n_blocks;
        int64_t n = first + r + 1, kept = 0;
        if (scored && r < rows && bonus && bonus->kind != SB_BONUS_NONE)
            add_bonus(bonus, p, s->b, s->h, n, row_score);
        if (r < rows)
            kept =
                sb_topk_row(row_score, n, k[r], budget->sinks, budget->window,
                            topk->key + worker * topk->n_blocks, pat->col + room_start + slot[r]);
        pat->row_ptr[sb_pattern_row(pat, s->b, s->h, r) + 1] = kept;
    }
}

void sb_select_topk(sb_topk *topk, const sb_score *score, const sb_bonus *bonus,
                    const sb_budget *budget, const sb_problem *p, const sb_inputs *in,
                    sb_pattern *pat)
{
    int64_t n_rows = pat->n_rows;
    pat->row_ptr[0] = 0;
    for (int64_t b = 0, room_start = 0; b < p->n_batch; b++) {
        const int64_t *slot = budget->slot + b * (n_rows + 1);
        int64_t n_steps = sb_ceil_div(n_rows, SB_SCORE_ROWS) * p->n_heads;
        /* Late rows have the most blocks to score: hand them out first. */
#pragma omp parallel for num_threads(topk->n_threads) schedule(dynamic, 1)
        for (int64_t i = n_steps - 1; i >= 0; i--) {
            int64_t h = i % p->n_heads, r = i / p->n_heads * SB_SCORE_ROWS;
            step s = {b, h, r, n_rows - r < SB_SCORE_ROWS ? n_rows - r : SB_SCORE_ROWS};
            select_rows(topk, score, bonus, budget, p, in, &s, room_start + h * slot[n_rows], pat);
        }
        room_start += slot[n_rows] * p->n_heads;
    }
    close_gaps(budget, pat);
}

double sb_topk_flops(const sb_problem *p, int64_t block, const sb_budget *budget)
{
    /* Quickselect expects some 3 comparisons an element at its worst rank, marking one more. */
    double comparisons = 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t first = sb_first_block(p, b, block), rows = sb_n_rows(p, b, block);
        for (int64_t r = 0; r < rows; r++)
            if (budget->k[b * budget->n_rows + r] <= first + r)
                comparisons += 4 * (double)(first + r + 1);
    }
    return comparisons * (double)p->n_heads;
}
