/*
 * Streaming attention (A-shape): the first `sink` tokens and, of each query, the last `window`
 * tokens, itself among them. Variant `tri` (Tri-shape): besides, the last queries see every key.
 * The choice does not depend on the inputs.
 *
 * Published pairs of sink and window: 128 and 3968, the default (A-shape of MInference's baselines
 * and of AngelSlim); 1024 and 8192 (FlexPrefill's baseline); 4 and 512; 8 and 512 with the last 128
 * queries dense (TriangleMix). Tri-shape has 128, 3968 and 100.
 *
 * Source: StreamingLLM, arXiv:2309.17453; microsoft/MInference fb56c91 (tri_shape);
 * Tencent/AngelSlim 67394ce (a_shape_attention, tri_shape_attention). A block stays whole if any
 * pair of it is kept, so what runs attends more than the token pairs that published_pairs counts.
 * The last queries are the whole prompt's, also where a chunk of it is attended.
 *
 * A window as long as the prompt equals `dense`.
 */
#include "harness/mem.h"
#include "methods/stages.h"

static const sb_param params[] = {
    {.name = "variant",
     .type = SB_CHOICE,
     .choices = "a_shape|tri",
     .fallback = {"a_shape"},
     .doc = "sinks and window, or besides the last queries dense: sets the default of last"},
    SB_PARAM_BLOCK,
    {.name = "sink",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 27,
     .fallback = {"128"},
     .doc = "first tokens kept"},
    {.name = "window",
     .type = SB_INT,
     .min = 1,
     .max = 1 << 27,
     .solve = 1,
     .fallback = {"3968"},
     .doc = "last tokens kept of each query, itself among them"},
    {.name = "last",
     .type = SB_INT,
     .min = 0,
     .max = 1 << 27,
     .fallback = {"0", "100"},
     .doc = "last queries of the prompt that keep every token"},
};

typedef struct spec {
    int64_t block, sink, window, last;
} spec;

typedef struct streaming {
    sb_plan plan;
    spec spec;
} streaming;

static spec spec_of(const sb_value *values)
{
    const sb_method *m = &sb_method_streaming;
    return (spec){sb_int_of(m, values, "block"), sb_int_of(m, values, "sink"),
                  sb_int_of(m, values, "window"), sb_int_of(m, values, "last")};
}

/* Key blocks that hold a kept pair of the queries from .. to - 1 of one block: the first *n_sink,
 * and from *window >= *n_sink on. */
static void kept_blocks(const spec *s, int64_t prompt_len, int64_t from, int64_t to,
                        int64_t *n_sink, int64_t *window)
{
    int64_t oldest = from - s->window + 1, sinks = sb_ceil_div(s->sink, s->block);
    *window = oldest > 0 && to <= prompt_len - s->last ? oldest / s->block : 0;
    *n_sink = sinks < *window ? sinks : *window;
}

static int64_t n_kept(const spec *s, int64_t prompt_len, int64_t from, int64_t to)
{
    int64_t n_sink, window;
    kept_blocks(s, prompt_len, from, to, &n_sink, &window);
    return n_sink + from / s->block - window + 1;
}

/* Keys of the query at position i. */
static int64_t n_keys(const spec *s, int64_t prompt_len, int64_t i)
{
    if (i >= prompt_len - s->last)
        return i + 1;
    int64_t oldest = i - s->window + 1;
    return s->sink + i + 1 - (oldest > s->sink ? oldest : s->sink);
}

static double streaming_expected_blocks(const sb_problem *p, const sb_value *values)
{
    spec s = spec_of(values);
    double kept = 0;
    for (int64_t from = 0; from < p->kv_len; from += s.block) {
        int64_t to = from + s.block < p->kv_len ? from + s.block : p->kv_len;
        kept += (double)n_kept(&s, p->kv_len, from, to);
    }
    return kept;
}

static void row_positions(const sb_problem *p, int64_t b, int64_t block, int64_t r, int64_t *from,
                          int64_t *to)
{
    int64_t start = sb_kv_len(p, b) - sb_q_len(p, b);
    sb_row_span(p, b, block, r, from, to);
    *from += start;
    *to += start;
}

static sb_status streaming_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                                sb_plan **plan, sb_err *err)
{
    (void)exec;
    streaming *s = sb_alloc(1, sizeof *s);
    if (!s)
        return sb_no_memory(err, "a plan");
    s->spec = spec_of(values);
    s->plan.block = s->spec.block;
    s->plan.pattern_capacity = sb_causal_blocks(p, s->spec.block);
    int64_t blocks = 0, pairs = 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t prompt_len = sb_prompt_len(p, b);
        for (int64_t r = 0; r < sb_n_rows(p, b, s->spec.block); r++) {
            int64_t from, to;
            row_positions(p, b, s->spec.block, r, &from, &to);
            blocks += n_kept(&s->spec, prompt_len, from, to);
            for (int64_t i = from; i < to; i++)
                pairs += n_keys(&s->spec, prompt_len, i);
        }
    }
    s->plan.select_flops = (double)blocks * (double)p->n_heads; /* to list one is a comparison */
    s->plan.published_pairs = (double)pairs * (double)p->n_heads;
    *plan = &s->plan;
    return SB_OK;
}

static void fill(void *self, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                 sb_row_list *lists)
{
    (void)in;
    const spec *s = self;
    int64_t from, to, n_sink, window;
    row_positions(p, rows->b, s->block, rows->r, &from, &to);
    kept_blocks(s, sb_prompt_len(p, rows->b), from, to, &n_sink, &window);
    for (int64_t j = 0; j < n_sink; j++)
        lists->col[lists->n++] = (int32_t)j;
    for (int64_t j = window; j <= rows->first; j++)
        lists->col[lists->n++] = (int32_t)j;
}

static sb_status streaming_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)err;
    streaming *s = (streaming *)plan;
    sb_row_job job = {
        .n_threads = plan->exec.n_threads, .n_at_once = 1, .fill = fill, .self = &s->spec};
    sb_select_rows(&job, &plan->problem, in, pat);
    return SB_OK;
}

static void streaming_destroy(sb_plan *plan)
{
    sb_free(plan);
}

const sb_method sb_method_streaming = {
    .name = "streaming",
    .doc = "the first tokens and a sliding window; tri: the last queries dense",
    .source = "StreamingLLM, arXiv:2309.17453; microsoft/MInference fb56c91; Tencent/AngelSlim "
              "67394ce",
    .params = params,
    .n_params = sizeof params / sizeof params[0],
    .expected_blocks = streaming_expected_blocks,
    .plan = streaming_plan,
    .select = streaming_select,
    .destroy = streaming_destroy,
};
