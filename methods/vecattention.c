/*
 * VecAttention: each tile of 64 queries keeps the key tokens whose score against the tile's mean
 * query is within -ln(threshold) of the largest, the first 64 tokens, and the latest blocks.
 *
 * Source: Tencent/AngelSlim 67394ce, which has two selections.
 * reference (build_vecattention_keep_mask): the largest over all keys up to the tile's end, and the
 * `band` blocks before the tile's own.
 * kernel (vecattention_forward; what its authors run): a running maximum over the keys before the
 * tile, 16 at a time, begun anew every `group` steps, so that some key of each group is kept and a
 * group's early keys meet a lower bar; of the band only the own block. As its integer division
 * truncates towards zero, tiles 0, 64, 128, ... do not look at the 48 keys before their own block.
 * Both tuned settings shipped have threshold 0.1; their group is 16 (256 keys) or 8192.
 *
 * Form `tokens` keeps just those keys, form `blocks` whole blocks of 64 with any of them; in both
 * published_pairs counts the pairs of the tokens. A chunk's first tile has the mean of the queries
 * that are there.
 *
 * A band as long as the prompt equals `dense`; so does a threshold small enough.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/score.h"
#include "methods/kernels/cpu/softmax.h"
#include "methods/score_tokens.h"
#include "methods/stages.h"

enum { KERNEL, REFERENCE };             /* variant */
enum { TOKENS, BLOCKS };                /* form */
enum { TILE = SB_TOKEN_BLOCK };         /* queries, and keys of a block */
enum { STEP = 16, PROGRAM_TILES = 64 }; /* the kernel's keys at a time; tiles of one program */

static const sb_param params[] = {
    {.name = "variant",
     .type = SB_CHOICE,
     .choices = "kernel|reference",
     .fallback = {"kernel"},
     .doc =
         "against a running maximum within groups, as the authors' kernel, or the row's maximum"},
    {.name = "threshold",
     .type = SB_REAL,
     .min = 0,
     .max = 1,
     .min_open = true,
     .solve = -1,
     .fallback = {"0.1"},
     .doc = "least exp(score) of a kept key over the largest"},
    {.name = "group",
     .type = SB_INT,
     .min = 1,
     .max = 1 << 23,
     .fallback = {"16"},
     .doc = "kernel: steps of 16 keys after which the maximum starts anew; reference: no effect"},
    {.name = "band",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 21,
     .fallback = {"0", "16"},
     .doc = "blocks of 64 tokens kept before the tile's own"},
    {.name = "form",
     .type = SB_CHOICE,
     .choices = "tokens|blocks",
     .fallback = {"tokens"},
     .doc = "key tokens, or whole blocks with any of them"},
};

typedef struct vecattention {
    sb_plan plan;
    bool running;
    int64_t group, band;
    float gap; /* -ln(threshold) */
    int64_t n_keys, n_blocks, room;
    float *thread_room; /* [n_threads, room] */
    uint64_t *row;      /* [n_threads, n_blocks] the tokens that a row keeps of each block */
    int64_t *pairs;     /* [n_threads] */
} vecattention;

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

/* Bit j: x[j] is within gap of max. */
static uint64_t near_bits(const float *x, int64_t n, float gap, float max)
{
    uint64_t bits = 0;
    for (int64_t j = 0; j < n; j++)
        bits |= (uint64_t)(x[j] + gap >= max) << j;
    return bits;
}

/* Keys against the largest of a row's n scores. */
static void keep_by_maximum(const vecattention *s, const float *x, int64_t n, uint64_t *row)
{
    float max = sb_row_max(x, n);
    for (int64_t j = 0; j < n; j += TILE)
        row[j / TILE] = near_bits(x + j, at_most(n - j, TILE), s->gap, max);
}

/* Row I against the running maximum of each group. */
static void keep_by_running(const vecattention *s, const float *x, int64_t I, uint64_t *row)
{
    int64_t end = I % PROGRAM_TILES == 0 ? I * TILE - (TILE - STEP) : I * TILE;
    float max = -INFINITY;
    for (int64_t j = TILE; j < end; j += STEP) {
        float most = sb_row_max(x + j, STEP);
        max = j % (STEP * s->group) == 0 || most > max ? most : max;
        row[j / TILE] |= near_bits(x + j, STEP, s->gap, max) << (j % TILE);
    }
}

/* Pairs of n_queries queries from position `from` on in block I. */
static int64_t count_pairs(const uint64_t *row, int64_t I, int64_t from, int64_t n_queries)
{
    int64_t n = 0, pairs = 0;
    for (int64_t j = 0; j < I; j++)
        n += __builtin_popcountll(row[j]);
    for (int64_t i = from; i < from + n_queries; i++) /* the own block is whole */
        pairs += n + i - I * TILE + 1;
    return pairs;
}

/* The tokens that row I keeps of its n keys, by their scores x. */
static void keep_tokens(const vecattention *s, const float *x, int64_t I, int64_t n, uint64_t *row)
{
    memset(row, 0, (size_t)(I + 1) * sizeof *row);
    if (s->running)
        keep_by_running(s, x, I, row);
    else
        keep_by_maximum(s, x, n, row);
    row[0] = UINT64_MAX;
    for (int64_t j = I > s->band ? I - s->band : 0; j <= I; j++)
        row[j] = UINT64_MAX;
    row[I] &= UINT64_MAX >> ((I + 1) * TILE - n);
}

static void fill(void *self, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                 sb_row_list *lists)
{
    const vecattention *s = self;
    int64_t length = sb_pad_lanes(p->dim), kv_len = sb_kv_len(p, rows->b);
    int64_t start = kv_len - sb_q_len(p, rows->b), from[SB_MAX_ROWS_AT_ONCE], to;
    float *score = s->thread_room + rows->worker * s->room, gain[SB_MAX_ROWS_AT_ONCE];
    float *queries = score + SB_MAX_ROWS_AT_ONCE * s->n_keys;
    float *line = queries + SB_MAX_ROWS_AT_ONCE * length;
    uint64_t *row = s->row + rows->worker * s->n_blocks;
    for (int64_t i = 0; i < rows->n; i++) {
        sb_row_span(p, rows->b, TILE, rows->r + i, &from[i], &to);
        gain[i] = (float)(p->scale / (double)(to - from[i]));
        const void *q = sb_token_at(p, in->q, rows->b * p->n_heads + rows->h, p->q_len, from[i]);
        sb_group_sums(p->dtype, q, to - from[i], p->dim, 0, 1, false, line, queries + i * length);
    }
    sb_score_tokens(p, in, rows->b, rows->h / (p->n_heads / p->n_kv_heads), queries, rows->n, gain,
                    at_most((rows->first + rows->n) * TILE, kv_len), line + length, s->n_keys,
                    score);
    for (int64_t i = 0; i < rows->n; i++) {
        int64_t I = rows->first + i, n = at_most((I + 1) * TILE, kv_len);
        sb_row_list *list = &lists[i];
        keep_tokens(s, score + i * s->n_keys, I, n, row);
        s->pairs[rows->worker] += count_pairs(row, I, start + from[i], n - start - from[i]);
        for (int64_t j = 0; j <= I; j++) {
            if (!row[j])
                continue;
            if (list->tokens)
                list->tokens[list->n] = row[j];
            list->col[list->n++] = (int32_t)j;
        }
    }
}

static sb_status vecattention_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat,
                                     sb_err *err)
{
    (void)err;
    vecattention *s = (vecattention *)plan;
    memset(s->pairs, 0, (size_t)plan->exec.n_threads * sizeof *s->pairs);
    sb_row_job job = {.n_threads = plan->exec.n_threads,
                      .n_at_once = SB_MAX_ROWS_AT_ONCE,
                      .fill = fill,
                      .self = s};
    sb_select_rows(&job, &plan->problem, in, pat);
    int64_t pairs = 0;
    for (int i = 0; i < plan->exec.n_threads; i++)
        pairs += s->pairs[i];
    plan->published_pairs = (double)pairs;
    return SB_OK;
}

/* Mean queries; each against every key it sees: score and scale, maximum, comparison. */
static double flops_of(const sb_problem *p)
{
    double flops = 0, d = (double)p->dim;
    for (int64_t b = 0; b < p->n_batch; b++) {
        double keys = 0;
        for (int64_t r = 0; r < sb_n_rows(p, b, TILE); r++)
            keys += (double)at_most((sb_first_block(p, b, TILE) + r + 1) * TILE, sb_kv_len(p, b));
        flops += ((double)sb_q_len(p, b) * d + keys * (2 * d + 3)) * (double)p->n_heads;
    }
    return flops;
}

static void vecattention_destroy(sb_plan *plan)
{
    vecattention *s = (vecattention *)plan;
    sb_free(s->pairs);
    sb_free(s->row);
    sb_free(s->thread_room);
    sb_free(s);
}

static sb_status vecattention_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                                   sb_plan **plan, sb_err *err)
{
    const sb_method *m = &sb_method_vecattention;
    bool tokens = sb_int_of(m, values, "form") == TOKENS;
    if (tokens && exec->backend == SB_CUDA)
        return sb_fail(err, SB_UNSUPPORTED,
                       "token patterns attend on the CPU alone; expected form: blocks");
    vecattention *s = sb_alloc(1, sizeof *s);
    if (!s)
        return sb_no_memory(err, "a plan");
    double threshold = sb_real_of(m, values, "threshold");
    s->plan.block = TILE;
    s->plan.tokens = tokens;
    s->plan.pattern_capacity = sb_causal_blocks(p, TILE);
    s->plan.select_flops = flops_of(p);
    s->running = sb_int_of(m, values, "variant") == KERNEL;
    s->gap = (float)-log(s->running ? threshold + 1e-9 : threshold); /* as in either code */
    s->group = sb_int_of(m, values, "group");
    s->band = sb_int_of(m, values, "band");
    s->n_keys = p->kv_len;
    s->n_blocks = sb_ceil_div(p->kv_len, TILE);
    s->room = SB_MAX_ROWS_AT_ONCE * (s->n_keys + sb_pad_lanes(p->dim)) + sb_pad_lanes(p->dim) +
              sb_token_room(p);
    s->thread_room = sb_alloc(exec->n_threads * s->room, sizeof *s->thread_room);
    s->row = sb_alloc(exec->n_threads * s->n_blocks, sizeof *s->row);
    s->pairs = sb_alloc(exec->n_threads, sizeof *s->pairs);
    if (!s->thread_room || !s->row || !s->pairs) {
        vecattention_destroy(&s->plan);
        return sb_no_memory(err, "token scores");
    }
    *plan = &s->plan;
    return SB_OK;
}

const sb_method sb_method_vecattention = {
    .name = "vecattention",
    .doc = "key tokens whose score with a tile's mean query is near the largest",
    .source = "VecAttention; Tencent/AngelSlim 67394ce",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .plan = vecattention_plan,
    .select = vecattention_select,
    .destroy = vecattention_destroy,
};
