/* How FlexPrefill chooses the blocks of one head. */
#include "methods/flexprefill_heads.h"

#include <math.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/order.h"
#include "methods/kernels/cpu/score.h"
#include "methods/kernels/cpu/select.h"
#include "methods/kernels/cpu/softmax.h"
#include "methods/score_tokens.h"

enum { BUDGET_UNIT = 128 }; /* keys or offsets to a block of the budget */

/* One head of one sequence, with its thread's room. */
typedef struct head {
    const sb_flex_heads *s;
    const sb_problem *p;
    const sb_inputs *in;
    int64_t b, h, kv_len, n; /* n key blocks */
    int64_t first, n_rows;   /* query blocks */
    int worker;
    bool *keep;                                  /* [sb_flex_room(first, n_rows)] */
    float *estimate, *column, *diagonal, *query; /* [n] masses, diagonal from the far end */
    float *value;
    uint64_t *sort;
    int32_t *order;
} head;

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t n_causal(const sb_problem *p, int64_t b, int64_t block)
{
    return sb_flex_room(sb_first_block(p, b, block), sb_n_rows(p, b, block));
}

sb_status sb_flex_plan(const sb_problem *p, int n_threads, sb_flex_heads *s, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_block_topk_spec pooled = {.block = s->block, .mean_score = true};
    s->n_blocks = sb_ceil_div(p->kv_len, s->block);
    for (int64_t b = 0; b < p->n_batch; b++)
        s->head_room = most(s->head_room, n_causal(p, b, s->block));
    s->n_sorted = most(s->head_room, p->kv_len);
    s->n_pooled = (3 + SB_SCORE_ROWS) * s->n_blocks + 2 * sb_pad_lanes(p->dim);
    SB_TRY(sb_score_plan(p, &pooled, n_threads, &s->score, err));
    SB_TRY(sb_last_queries_plan(p, s->block, n_threads, &s->last, err));
    s->pooled = sb_alloc(n_threads * s->n_pooled, sizeof *s->pooled);
    s->value = sb_alloc(n_threads * s->head_room, sizeof *s->value);
    s->sort = sb_alloc(n_threads * 2 * s->n_sorted, sizeof *s->sort);
    s->order = sb_alloc(n_threads * s->n_sorted, sizeof *s->order);
    SB_CHECK(s->pooled && s->value && s->sort && s->order, err, SB_NO_MEMORY,
             "out of memory for block masses");
out:
    if (st != SB_OK)
        sb_flex_free(s);
    return st;
}

void sb_flex_free(sb_flex_heads *s)
{
    sb_free(s->order);
    sb_free(s->sort);
    sb_free(s->value);
    sb_free(s->pooled);
    sb_last_queries_free(&s->last);
    sb_score_free(&s->score);
    *s = (sb_flex_heads){0};
}

/* ---- vertical-slash heads ------------------------------------------------------------------- */

/* Block means of x [kv_len], a sum over m queries: block i holds places from i block on. */
static void pool(const head *t, const float *x, bool reversed, int64_t m, float *mass)
{
    int64_t block = t->s->block;
    for (int64_t i = 0; i < t->n; i++) {
        double sum = 0;
        for (int64_t a = i * block; a < (i + 1) * block && a < t->kv_len; a++)
            sum += (double)x[reversed ? t->kv_len - 1 - a : a];
        mass[i] = (float)(sum / (double)m);
    }
}

/* Blocks of budget for as many of x [kv_len], largest first, as reach gamma of m. */
static int64_t budget(const head *t, const float *x, int64_t m)
{
    double reached = 0, wanted = t->s->gamma * (double)m;
    int64_t count = 0;
    sb_order_descending(x, t->kv_len, t->sort, t->order);
    while (count < t->kv_len && (reached += (double)x[t->order[count]]) <= wanted)
        count++;
    int64_t blocks = most((count + 1) / BUDGET_UNIT + 1, t->s->min_blocks);
    return blocks < t->n ? blocks : t->n;
}

/* Adds the n_columns block columns and n_diagonals block diagonals of the largest mass. */
static void keep_lines(const head *t, int64_t n_columns, int64_t n_diagonals)
{
    uint32_t *key = (uint32_t *)t->sort;
    t->column[0] = INFINITY;
    t->diagonal[t->n - 1] = INFINITY;
    sb_topk_row(t->column, t->n, n_columns, 0, 0, key, t->order);
    for (int64_t r = 0; r < t->n_rows; r++)
        for (int64_t c = 0; c < n_columns && t->order[c] <= t->first + r; c++)
            t->keep[sb_flex_room(t->first, r) + t->order[c]] = true;
    sb_topk_row(t->diagonal, t->n, n_diagonals, 0, 0, key, t->order);
    for (int64_t r = 0; r < t->n_rows; r++)
        for (int64_t c = 0; c < n_diagonals; c++) {
            int64_t J = t->first + r - (t->n - 1 - t->order[c]);
            if (J >= 0)
                t->keep[sb_flex_room(t->first, r) + J] = true;
        }
}

/* ---- query-aware heads ---------------------------------------------------------------------- */

static void softmax(float *x, int64_t n)
{
    float sum = sb_row_exp(x, n, sb_row_max(x, n));
    for (int64_t j = 0; j < n; j++)
        x[j] /= sum;
}

/* t->estimate = softmax of the mean of the last m queries against the mean-pooled keys. */
static void estimate_mass(const head *t, int64_t m)
{
    const sb_problem *p = t->p;
    const sb_score *score = &t->s->score;
    int64_t last = t->kv_len - (t->n - 1) * score->block;
    int64_t kv_head = t->b * p->n_kv_heads + t->h / (p->n_heads / p->n_kv_heads);
    float gain = (float)(p->scale / (double)(m * score->block)), *line = t->query + score->length;
    const void *q =
        sb_token_at(p, t->in->q, t->b * p->n_heads + t->h, p->q_len, sb_q_len(p, t->b) - m);
    sb_group_sums(p->dtype, q, m, p->dim, 0, 1, false, line, t->query);
    sb_score_rows(t->query, 1, score->key_groups + kv_head * score->n_blocks * score->length, t->n,
                  score->length, &gain, t->n, t->estimate);
    t->estimate[t->n - 1] *= (float)((double)score->block / (double)last);
    softmax(t->estimate, t->n);
}

/* Whether the estimate is close to the true mass; a mass of 0 in either is NaN, which is not. */
static bool is_query_aware(const head *t)
{
    double sum = 0;
    for (int64_t i = 0; i < t->n; i++) {
        double a = (double)t->estimate[i], b = (double)t->column[i], mean = (a + b) / 2;
        sum += a * log(a / mean) + b * log(b / mean);
    }
    return sqrt(sum / 2) < t->s->tau;
}

/* Adds the largest pooled probabilities of all rows whose sum is within gamma of the rows. */
static void keep_top(const head *t)
{
    const sb_flex_heads *s = t->s;
    float *score = t->query + 2 * sb_pad_lanes(t->p->dim);
    for (int64_t r = 0; r < t->n_rows; r += SB_SCORE_ROWS) {
        int64_t m = t->n_rows - r < SB_SCORE_ROWS ? t->n_rows - r : SB_SCORE_ROWS;
        sb_score_queries(&s->score, t->p, t->in, t->b, t->h, r, m, t->worker, score);
        for (int64_t i = 0; i < m; i++) {
            float *row = t->value + sb_flex_room(t->first, r + i);
            int64_t n_seen = t->first + r + i + 1;
            memcpy(row, score + i * s->n_blocks, (size_t)n_seen * sizeof *row);
            softmax(row, n_seen);
        }
    }
    double reached = 0, wanted = s->gamma * (double)t->n_rows;
    int64_t n = sb_flex_room(t->first, t->n_rows);
    sb_order_descending(t->value, n, t->sort, t->order);
    for (int64_t c = 0; c < n && (reached += (double)t->value[t->order[c]]) <= wanted; c++)
        t->keep[t->order[c]] = true;
}

/* ---- a head --------------------------------------------------------------------------------- */

static head open_head(const sb_flex_heads *s, const sb_problem *p, const sb_inputs *in, int64_t b,
                      int64_t h, int worker, bool *keep)
{
    float *pooled = s->pooled + worker * s->n_pooled;
    return (head){.s = s,
                  .p = p,
                  .in = in,
                  .b = b,
                  .h = h,
                  .kv_len = sb_kv_len(p, b),
                  .n = sb_ceil_div(sb_kv_len(p, b), s->block),
                  .first = sb_first_block(p, b, s->block),
                  .n_rows = sb_n_rows(p, b, s->block),
                  .worker = worker,
                  .keep = keep,
                  .estimate = pooled,
                  .column = pooled + s->n_blocks,
                  .diagonal = pooled + 2 * s->n_blocks,
                  .query = pooled + 3 * s->n_blocks,
                  .value = s->value + worker * s->head_room,
                  .sort = s->sort + worker * 2 * s->n_sorted,
                  .order = s->order + worker * s->n_sorted};
}

static bool is_dense(const sb_flex_heads *s, int64_t kv_len)
{
    return kv_len <= most(2, s->min_blocks) * s->block;
}

bool sb_flex_choose(const sb_flex_heads *s, const sb_problem *p, const sb_inputs *in, int64_t b,
                    int64_t h, int worker, bool *keep)
{
    const bool dense = is_dense(s, sb_kv_len(p, b));
    memset(keep, dense, (size_t)s->head_room * sizeof *keep);
    if (dense)
        return false;
    const head t = open_head(s, p, in, b, h, worker, keep);
    sb_last_sums sums = sb_last_queries_sums(&s->last, p, in, b, h, worker);
    pool(&t, sums.column, false, sums.n_queries, t.column);
    pool(&t, sums.diagonal, true, sums.n_queries, t.diagonal);
    estimate_mass(&t, sums.n_queries);
    if (!is_query_aware(&t)) {
        keep_lines(&t, budget(&t, sums.column, sums.n_queries),
                   budget(&t, sums.diagonal, sums.n_queries));
        return false;
    }
    keep_lines(&t, s->min_blocks, s->min_blocks);
    keep_top(&t);
    return true;
}

double sb_flex_flops(const sb_flex_heads *s, const sb_problem *p, int64_t b, int64_t n_aware)
{
    double d = (double)p->dim, n_keys = (double)sb_kv_len(p, b);
    double n = (double)sb_ceil_div(sb_kv_len(p, b), s->block);
    double blocks = (double)n_causal(p, b, s->block);
    double pool_keys = n_keys * d * (double)p->n_kv_heads;
    if (is_dense(s, sb_kv_len(p, b)))
        return pool_keys;
    /* Pooled masses, mean query, estimate and its divergence. */
    double test = 2 * n_keys + (double)s->last.n_queries * d + n * (2 * d + 12);
    double lines = 2 * n_keys * (log2(n_keys) + 1);
    double aware = (double)sb_q_len(p, b) * d + blocks * (2 * d + 6 + log2(blocks));
    return sb_last_queries_flops(&s->last, p, b) + pool_keys + test * (double)p->n_heads +
           lines * (double)(p->n_heads - n_aware) + aware * (double)n_aware;
}
