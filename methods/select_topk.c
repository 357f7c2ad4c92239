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

/* What one call of sb_select_best works with. */
typedef struct selection {
    const sb_topk *topk;
    const sb_budget *budget;
    sb_score_rows_of *scores;
    const void *self;
} selection;

static void fill(void *self, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                 sb_row_list *lists)
{
    const selection *s = self;
    const sb_topk *topk = s->topk;
    const int32_t *k = s->budget->k + rows->b * s->budget->n_rows + rows->r;
    float *scores = topk->score + rows->worker * SB_SCORE_ROWS * topk->n_blocks;
    bool scored = false;
    for (int64_t i = 0; i < rows->n; i++)
        scored |= k[i] < rows->first + i + 1;
    if (scored)
        s->scores(s->self, p, in, rows, scores);
    for (int64_t i = 0; i < rows->n; i++)
        lists[i].n =
            sb_topk_row(scores + i * topk->n_blocks, rows->first + i + 1, k[i], s->budget->sinks,
                        s->budget->window, topk->key + rows->worker * topk->n_blocks, lists[i].col);
}

void sb_select_best(sb_topk *topk, sb_score_rows_of *scores, const void *self,
                    const sb_budget *budget, const sb_problem *p, const sb_inputs *in,
                    sb_pattern *pat)
{
    selection s = {topk, budget, scores, self};
    sb_row_job job = {topk->n_threads, SB_SCORE_ROWS, budget->slot, fill, &s};
    sb_select_rows(&job, p, in, pat);
}

/* ---- block scores with a value bonus --------------------------------------------------------- */

typedef struct scored_blocks {
    const sb_score *score;
    const sb_bonus *bonus;
} scored_blocks;

static void score_with_bonus(const void *self, const sb_problem *p, const sb_inputs *in,
                             const sb_rows *rows, float *out)
{
    const scored_blocks *s = self;
    const sb_bonus *bonus = s->bonus;
    sb_score_queries(s->score, p, in, rows->b, rows->h, rows->r, rows->n, rows->worker, out);
    if (!bonus || bonus->kind == SB_BONUS_NONE)
        return;
    int64_t kv_head = rows->b * p->n_kv_heads + rows->h / (p->n_heads / p->n_kv_heads);
    const float *bonus_j = bonus->block_bonus + kv_head * bonus->n_blocks;
    for (int64_t i = 0; i < rows->n; i++, out += s->score->n_blocks)
        for (int64_t j = 0; j <= rows->first + i; j++)
            out[j] += bonus_j[j];
}

void sb_select_topk(sb_topk *topk, const sb_score *score, const sb_bonus *bonus,
                    const sb_budget *budget, const sb_problem *p, const sb_inputs *in,
                    sb_pattern *pat)
{
    scored_blocks s = {score, bonus};
    sb_select_best(topk, score_with_bonus, &s, budget, p, in, pat);
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
