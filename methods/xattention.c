/*
 * XAttention: strided scores (score_strided.h), softmaxed over the key groups that each query group
 * sees and summed over a block's groups, are the block's mass. Every row keeps block 0, the
 * diagonal block, and others by falling mass, ties to the lower block, while the mass before them
 * is below `threshold` of the row's. At threshold 1 it equals dense, but for blocks whose mass is
 * lost in rounding.
 *
 * Source: XAttention, arXiv:2503.16428; mit-han-lab/x-attention e379887. The code differs from the
 * paper in the rows of the first query chunk: block 0 is kept, but counts as one of the others, and
 * the mass before a block lacks the last one added, so that such a row keeps about one block more.
 * `chunk` says which rows these are, at absolute positions; its published rule keys on the length
 * of the whole prompt and takes in every row up to 16384 tokens.
 *
 * In a chunk of a prompt a row keeps what it keeps in the whole prompt if all its queries are
 * there; else the query groups with a token in the chunk decide.
 */
#include "harness/mem.h"
#include "methods/kernels/cpu/clones.h"
#include "methods/kernels/cpu/softmax.h"
#include "methods/score_strided.h"

static const sb_param params[] = {
    SB_PARAM_BLOCK,
    {.name = "stride",
     .type = SB_INT,
     .min = 1,
     .max = 1024,
     .fallback = {"8"},
     .doc = "sampling stride S of the anti-diagonal score; divides block; published: 8, 16"},
    {.name = "threshold",
     .type = SB_REAL,
     .min = 0,
     .max = 1,
     .min_open = true,
     .solve = 1,
     .fallback = {"0.9"},
     .doc = "share of a row's mass to reach; published: 0.9, 0.8 and tables by head"},
    {.name = "chunk",
     .type = SB_INT,
     .min = 1,
     .max = 1 << 30,
     .fallback = {"auto"},
     .doc = "query tokens of the first chunk, whose rows keep about one block more; auto: as "
            "published, the prompt up to 16384 tokens, 8192 up to 32768, then fewer, at least "
            "2048"},
};

typedef struct xattention {
    sb_plan plan;
    sb_strided strided;
    double threshold;
    int64_t chunk;  /* 0: auto */
    float *columns; /* [n_threads, n_groups] sums over a row's query groups */
} xattention;

static sb_status xattention_check(const sb_value *values, sb_err *err)
{
    return sb_check_stride(&sb_method_xattention, values, err);
}

static void xattention_destroy(sb_plan *plan)
{
    xattention *x = (xattention *)plan;
    sb_free(x->columns);
    sb_strided_free(&x->strided);
    sb_free(x);
}

/* Per score: maximum, difference, exponential, sum, and a scaled addition to its column; then the
 * columns of each block. */
static double flops_of(const sb_strided *s, const sb_problem *p)
{
    return sb_strided_flops(s, p, 6, 0, (double)(s->block / s->stride) + 2);
}

static sb_status xattention_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                                 sb_plan **plan, sb_err *err)
{
    const sb_method *m = &sb_method_xattention;
    sb_status st = SB_OK;
    xattention *x = sb_alloc(1, sizeof *x);
    if (!x)
        return sb_no_memory(err, "a plan");
    x->threshold = sb_real_of(m, values, "threshold");
    x->chunk = sb_int_of(m, values, "chunk");
    SB_TRY(sb_strided_plan(p, sb_int_of(m, values, "block"), sb_int_of(m, values, "stride"),
                           exec->n_threads, &x->strided, err));
    x->columns = sb_alloc(exec->n_threads * x->strided.n_groups, sizeof *x->columns);
    SB_CHECK(x->columns, err, SB_NO_MEMORY, "out of memory for column sums");
    x->plan.block = x->strided.block;
    x->plan.pattern_capacity = sb_causal_blocks(p, x->plan.block);
    x->plan.select_flops = flops_of(&x->strided, p);
    *plan = &x->plan;
    return SB_OK;
out:
    xattention_destroy(&x->plan);
    return st;
}

/* The published rule for `n_tokens` of a prompt: its next power of two, capped so that a chunk's
 * scores fit. */
static int64_t auto_chunk(int64_t n_tokens)
{
    const int64_t least = 2048, most_pairs = 1 << 28;
    int64_t padded = least;
    while (padded < n_tokens)
        padded *= 2;
    int64_t capped = most_pairs / padded;
    return padded < capped ? padded : capped > least ? capped : least;
}

SB_CLONES
static void add_scaled(const float *x, int64_t n, float scale, float *sum)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        sum[i] += scale * x[i];
}

/* Softmax of each line, then the sum over lines and over the groups of each block. */
static void sum_masses(const sb_strided_row *row, float *columns)
{
    int64_t n = sb_strided_seen(row, row->n - 1);
    for (int64_t j = 0; j < n; j++)
        columns[j] = 0;
    for (int64_t r = 0; r < row->n; r++) {
        float *line = row->score + r * row->stride;
        int64_t seen = sb_strided_seen(row, r);
        float sum = sb_row_exp(line, seen, sb_row_max(line, seen));
        add_scaled(line, seen, 1 / sum, columns);
    }
    for (int64_t j = 0; j <= row->I; j++) {
        row->mass[j] = 0;
        for (int64_t g = j * row->per; g < (j + 1) * row->per && g < n; g++)
            row->mass[j] += columns[g];
    }
}

static void keep_by_mass(const sb_strided_row *row, double threshold, bool first_chunk)
{
    int64_t I = row->I;
    double total = 0, before = first_chunk ? 0 : (double)row->mass[0] + (double)row->mass[I];
    double late = row->mass[I]; /* what the first chunk adds one block too late */
    for (int64_t j = 0; j <= I; j++)
        total += (double)row->mass[j];
    sb_strided_sort(row);
    for (int64_t i = 0; i <= I; i++) {
        int64_t j = row->order[i];
        if (j == I || (j == 0 && !first_chunk))
            continue;
        row->keep[j] = before < threshold * total;
        before += first_chunk ? late : (double)row->mass[j];
        late = row->mass[j];
    }
    row->keep[0] = row->keep[I] = true;
}

static void fill(void *self, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                 sb_row_list *lists)
{
    const xattention *x = self;
    const sb_strided *s = &x->strided;
    int64_t chunk = x->chunk > 0 ? x->chunk : auto_chunk(sb_prompt_len(p, rows->b));
    sb_strided_row row = sb_strided_score(s, p, in, rows);
    sum_masses(&row, x->columns + rows->worker * s->n_groups);
    keep_by_mass(&row, x->threshold, row.I < chunk / s->block);
    sb_strided_emit(&row, lists);
}

static sb_status xattention_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)err;
    xattention *x = (xattention *)plan;
    sb_row_job job = {.n_threads = plan->exec.n_threads, .n_at_once = 1, .fill = fill, .self = x};
    sb_strided_keys(&x->strided, &plan->problem, in);
    sb_select_rows(&job, &plan->problem, in, pat);
    return SB_OK;
}

const sb_method sb_method_xattention = {
    .name = "xattention",
    .doc = "blocks by their softmax mass over sampled anti-diagonals, up to a share of it",
    .source = "XAttention, arXiv:2503.16428; code mit-han-lab/x-attention e379887",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .check = xattention_check,
    .plan = xattention_plan,
    .select = xattention_select,
    .destroy = xattention_destroy,
};
