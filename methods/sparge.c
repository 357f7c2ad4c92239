/*
 * SpargeAttention: means of query and key blocks are multiplied and softmaxed over the key blocks
 * of a row, and the best are kept: by `variant` cdf up to a share of the row's mass (the block that
 * crosses it is left out), by `variant` top as many as a share of all key blocks. A block whose
 * tokens are not alike has no telling mean: such a key block is always kept and takes no part, such
 * a query block keeps every key block. Equals `dense` with keep 1.
 *
 * Blocks of queries and keys have sizes of their own, 128 x 64 (on Hopper GPUs 64 x 128); the
 * pattern has blocks that divide both, so it holds the native map exactly.
 *
 * Source: SpargeAttn, arXiv:2502.18137; thu-ml/SpargeAttn bfd980b, in float32 where its callers
 * cast to half precision; unit vectors are rounded to half as published. As there, K is centred
 * over all its tokens first, the share of `top` is of all key blocks and not of the causal ones,
 * and a partial block is never alike. Deviations: the diagonal block is kept, which the code leaves
 * to chance, and ties go to the lower block. In a chunk of a prompt a query block with missing
 * queries counts as partial.
 */
#include <math.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/alike_means.h"
#include "methods/kernels/cpu/order.h"
#include "methods/kernels/cpu/score.h"
#include "methods/kernels/cpu/softmax.h"
#include "methods/stages.h"

enum { CDF, TOP };

static const sb_param params[] = {
    {.name = "variant",
     .type = SB_CHOICE,
     .choices = "cdf|top",
     .fallback = {"cdf"},
     .doc = "keep by cumulative mass or by number; sets the defaults of similarity and keep"},
    {.name = "block",
     .type = SB_INT,
     .min = 1,
     .max = 1024,
     .fallback = {"64"},
     .doc = "block size of the pattern, tokens; divides block_q and block_k"},
    {.name = "block_q",
     .type = SB_INT,
     .min = 1,
     .max = 1024,
     .fallback = {"128"},
     .doc = "queries that choose together; published: 128, on Hopper 64"},
    {.name = "block_k",
     .type = SB_INT,
     .min = 1,
     .max = 1024,
     .fallback = {"64"},
     .doc = "keys that are chosen together; published: 64, on Hopper 128"},
    {.name = "similarity",
     .type = SB_REAL,
     .min = -1,
     .max = 1,
     .fallback = {"0.6", "-0.1"},
     .doc = "mean cosine above which the tokens of a block are alike"},
    {.name = "keep",
     .type = SB_REAL,
     .min = 0,
     .max = 1,
     .min_open = true,
     .solve = 1,
     .fallback = {"0.98", "0.5"},
     .doc = "share of the row's mass (cdf), or of all key blocks (top)"},
};

typedef struct sparge {
    sb_plan plan;
    bool by_number;
    int64_t block_q;
    double keep;
    sb_alike_means means; /* means.n_keys: n_keys */
    float *query;         /* [n_threads, padded dim] mean query */
    float *weight;        /* [n_threads, n_keys] */
    uint64_t *sort;       /* [n_threads, 2 n_keys] */
    int32_t *order;       /* [n_threads, n_keys] */
    bool *chosen;         /* [n_threads, n_keys] */
} sparge;

static sb_status sparge_check(const sb_value *values, sb_err *err)
{
    const sb_method *m = &sb_method_sparge;
    int64_t block = sb_int_of(m, values, "block");
    int64_t block_q = sb_int_of(m, values, "block_q"), block_k = sb_int_of(m, values, "block_k");
    if (block_q % block != 0 || block_k % block != 0)
        return sb_fail(err, SB_USAGE,
                       "block is %lld; expected a divisor of block_q %lld and block_k %lld",
                       (long long)block, (long long)block_q, (long long)block_k);
    return SB_OK;
}

/* The mean key, and the number of key blocks, are those of the whole prompt. */
static bool sparge_append_invariant(const sb_value *values)
{
    (void)values;
    return false;
}

/* ---- plan ---------------------------------------------------------------------------------- */

static void sparge_destroy(sb_plan *plan)
{
    sparge *s = (sparge *)plan;
    sb_free(s->chosen);
    sb_free(s->order);
    sb_free(s->sort);
    sb_free(s->weight);
    sb_free(s->query);
    sb_alike_means_free(&s->means);
    sb_free(s);
}

/* Key blocks that native query block I sees, of n. */
static int64_t n_seen(const sparge *s, int64_t I, int64_t n)
{
    int64_t seen = sb_ceil_div((I + 1) * s->block_q, s->means.block_k);
    return seen < n ? seen : n;
}

/* Whether all queries of native query block I are there. */
static bool is_whole(const sparge *s, const sb_problem *p, int64_t b, int64_t I)
{
    int64_t end = sb_kv_len(p, b);
    return I * s->block_q >= end - sb_q_len(p, b) && (I + 1) * s->block_q <= end;
}

/* A channel of a token: square, division and two sums, and of keys the mean and the difference; of
 * a block: division and square, and of keys the mean. A whole query block and a key block: product,
 * softmax, sorting, cumulative sum. */
static double flops_of(const sparge *s, const sb_problem *p)
{
    double flops = 0, d = (double)p->dim;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t kv_len = sb_kv_len(p, b), n_keys = sb_ceil_div(kv_len, s->means.block_k);
        flops += (double)p->n_kv_heads * d * (7 * (double)kv_len + 4 * (double)n_keys);
        for (int64_t I = sb_first_block(p, b, s->block_q); I * s->block_q < kv_len; I++) {
            double seen = (double)n_seen(s, I, n_keys);
            if (is_whole(s, p, b, I))
                flops += (double)p->n_heads *
                         (d * (5 * (double)s->block_q + 3) + seen * (2 * d + 7 + log2(seen)));
        }
    }
    return flops;
}

static sb_status sparge_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                             sb_plan **plan, sb_err *err)
{
    const sb_method *m = &sb_method_sparge;
    sb_status st = SB_OK;
    int n = exec->n_threads;
    sparge *s = sb_alloc(1, sizeof *s);
    if (!s)
        return sb_no_memory(err, "a plan");
    s->by_number = sb_int_of(m, values, "variant") == TOP;
    s->block_q = sb_int_of(m, values, "block_q");
    s->keep = sb_real_of(m, values, "keep");
    SB_TRY(sb_alike_means_plan(p, s->block_q, sb_int_of(m, values, "block_k"),
                               sb_real_of(m, values, "similarity"), n, &s->means, err));
    s->query = sb_alloc(n * s->means.length, sizeof *s->query);
    s->weight = sb_alloc(n * s->means.n_keys, sizeof *s->weight);
    s->sort = sb_alloc(2 * n * s->means.n_keys, sizeof *s->sort);
    s->order = sb_alloc(n * s->means.n_keys, sizeof *s->order);
    s->chosen = sb_alloc(n * s->means.n_keys, sizeof *s->chosen);
    SB_CHECK(s->query && s->weight && s->sort && s->order && s->chosen, err, SB_NO_MEMORY,
             "out of memory for choosing blocks");
    s->plan.block = sb_int_of(m, values, "block");
    s->plan.pattern_capacity = sb_causal_blocks(p, s->plan.block);
    s->plan.select_flops = flops_of(s, p);
    *plan = &s->plan;
    return SB_OK;
out:
    sparge_destroy(&s->plan);
    return st;
}

/* ---- selection ----------------------------------------------------------------------------- */

/* How many of the blocks in falling order of their weights are kept, of `n` that the row sees. */
static int64_t count_kept(const sparge *s, const float *weight, const int32_t *order, int64_t n,
                          int64_t n_keys)
{
    double total = 0, sum = 0;
    int64_t count = 0;
    if (s->by_number) {
        count = (int64_t)((float)s->keep * (float)n_keys);
        return count < 1 ? 1 : count < n ? count : n;
    }
    for (int64_t i = 0; i < n; i++)
        total += (double)weight[order[i]];
    for (; count < n; count++) {
        sum += (double)weight[order[count]];
        if (sum > s->keep * total)
            break;
    }
    return count < 1 ? 1 : count;
}

/* Marks the kept of n key blocks by their scores, which become weights; those not alike are kept
 * and take no part. */
static void choose_by_weight(const sparge *s, int64_t n, int64_t n_keys, const bool *alike,
                             int worker, float *weight, bool *chosen)
{
    int32_t *order = s->order + worker * s->means.n_keys;
    for (int64_t j = 0; j < n; j++) {
        weight[j] = alike[j] ? weight[j] : -INFINITY;
        chosen[j] = !alike[j];
    }
    sb_row_exp(weight, n, sb_row_max(weight, n));
    sb_order_descending(weight, n, s->sort + worker * 2 * s->means.n_keys, order);
    for (int64_t i = count_kept(s, weight, order, n, n_keys) - 1; i >= 0; i--)
        chosen[order[i]] = true;
}

/* The key blocks of native query block I to chosen [those it sees]. */
static void choose(const sparge *s, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                   int64_t I, bool *chosen)
{
    int64_t b = rows->b, kv_len = sb_kv_len(p, b), n_keys = sb_ceil_div(kv_len, s->means.block_k);
    int64_t n = n_seen(s, I, n_keys), length = s->means.length;
    int64_t kv_head = b * p->n_kv_heads + rows->h / (p->n_heads / p->n_kv_heads);
    float *query = s->query + rows->worker * length, scale = (float)p->scale;
    float *weight = s->weight + rows->worker * s->means.n_keys;
    memset(chosen, true, (size_t)n * sizeof *chosen);
    if (!is_whole(s, p, b, I))
        return;
    int64_t t = I * s->block_q - (kv_len - sb_q_len(p, b));
    const char *q =
        (const char *)in->q +
        (size_t)(((b * p->n_heads + rows->h) * p->q_len + t) * p->dim) * sb_dtype_bytes(p->dtype);
    if (!sb_alike_means_query(&s->means, p, q, s->block_q, rows->worker, query))
        return;
    sb_score_rows(query, 1, s->means.key_mean + kv_head * s->means.n_keys * length, n, length,
                  &scale, s->means.n_keys, weight);
    choose_by_weight(s, n, n_keys, s->means.key_alike + kv_head * s->means.n_keys, rows->worker,
                     weight, chosen);
}

static void fill(void *self, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                 sb_row_list *lists)
{
    const sparge *s = self;
    bool *chosen = s->chosen + rows->worker * s->means.n_keys;
    int64_t block = s->plan.block, of = -1; /* whose blocks are in `chosen` */
    for (int64_t i = 0; i < rows->n; i++) {
        int64_t row = rows->first + i, I = row * block / s->block_q;
        if (I != of)
            choose(s, p, in, rows, I, chosen);
        of = I;
        for (int64_t j = 0; j <= row; j++)
            if (j == row || chosen[j * block / s->means.block_k])
                lists[i].col[lists[i].n++] = (int32_t)j;
    }
}

static sb_status sparge_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)err;
    sparge *s = (sparge *)plan;
    int64_t rows = s->block_q / plan->block; /* of one query block */
    sb_row_job job = {.n_threads = plan->exec.n_threads,
                      .n_at_once = rows < SB_MAX_ROWS_AT_ONCE ? rows : SB_MAX_ROWS_AT_ONCE,
                      .fill = fill,
                      .self = s};
    sb_alike_means_keys(&s->means, &plan->problem, in);
    sb_select_rows(&job, &plan->problem, in, pat);
    return SB_OK;
}

const sb_method sb_method_sparge = {
    .name = "sparge",
    .doc = "blocks by softmaxed products of block means, where a block's tokens are alike",
    .source = "SpargeAttn, arXiv:2502.18137; code thu-ml/SpargeAttn bfd980b",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .append_invariant = sparge_append_invariant,
    .check = sparge_check,
    .plan = sparge_plan,
    .select = sparge_select,
    .destroy = sparge_destroy,
};
