/*
 * Plans and runs block top-k selection on the device.
 *
 * Why the pattern is the CPU's (methods/select_topk.c): its scores are float32 sums in a fixed
 * order. What the tensor cores sum is within
 *
 *   ||q_rest|| ||k|| + ||q|| ||k_rest|| + ||q_mid|| ||k_mid|| + SHARE ||q|| ||k||
 *
 * of them, with q and k the group sums of a row and of any block: hi + mid leave a rest of each
 * sum, and the product of two mids is left out. SHARE is
 *
 * - (L/16 + 5) 2^-24 for the CPU's additions, 16 lanes of L/16 and then a tree;
 * - 4.2 x 21 x 2^-23 for the tensor cores' in one accumulator. 64 elements of l are 4 products of
 * hi and hi, each of which cuts 16 exact terms and the accumulator to 23 bits below the largest,
 * and 8 with a mid, done first, while nothing in the accumulator exceeds 2^-7 of what comes later;
 * - L/32 x 2^-24 for adding up the accumulators;
 * - 2^-21 for gain, bonus and comparing, on both sides.
 *
 * By Cauchy and Schwarz no partial sum, nor the accumulators' sizes together, exceed ||q|| ||k||.
 * What the bound leaves open is scored in the CPU's order (select_topk.cu). How tensor cores add:
 * Fasi et al., PeerJ CS 7:e330 (2021); Li et al., arXiv:2403.00232.
 */
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cuda/device.h"
#include "methods/kernels/cuda/device_check.cuh"
#include "methods/kernels/cuda/select_stages.cuh"

using namespace sb_select;

/* Scores of as many heads at once as fit in here: enough to fill any device. */
static const int64_t score_room = INT64_C(1) << 28;

struct sb_cuda_select_plan {
    stages s;
    sb_cuda_pattern pattern;
    sb_stream stream;
    char *memory; /* all arrays; those to zero come first */
    bool sm90;    /* scores by WGMMA */
    int64_t n_bytes, n_zeroed;
    int64_t capacity, n_lists, n_segments;
};

namespace
{

/* Hands out parts of one block, or only counts while there is none. */
struct arena {
    char *base;
    int64_t used;

    template <typename T> void take(int64_t n, T **part)
    {
        *part = base ? (T *)(base + used) : nullptr;
        used += sb_ceil_div(n * (int64_t)sizeof(T), 256) * 256;
    }
    void take_split(int64_t n, split_sums *part)
    {
        take(n, &part->hi), take(n, &part->mid), take(n, &part->low);
    }
};

sb_status check_spec(const sb_problem *p, const sb_cuda_select_spec *spec, sb_err *err)
{
    int64_t n_blocks = sb_ceil_div(p->kv_len, spec->block);
    if (spec->block < 1 || spec->block > 1024 || spec->stride < 1 ||
        spec->block % spec->stride != 0)
        return sb_fail(err, SB_USAGE, "stride %lld, block %lld; expected a divisor of 1 to 1024",
                       (long long)spec->stride, (long long)spec->block);
    if (n_blocks > MOST_BLOCKS)
        return sb_fail(err, SB_UNSUPPORTED, "%lld key blocks; selection on CUDA takes %d",
                       (long long)n_blocks, MOST_BLOCKS);
    return SB_OK;
}

void describe_shape(const sb_problem *p, const sb_cuda_select_spec *spec, stages *s)
{
    s->q_len = p->q_len, s->kv_len = p->kv_len;
    s->n_batch = (int)p->n_batch, s->n_heads = (int)p->n_heads, s->n_kv_heads = (int)p->n_kv_heads;
    s->dim = (int)p->dim, s->dim_v = (int)p->dim_v;
    s->dtype = p->dtype;
    s->block = (int)spec->block;
    s->stride = spec->mean_score ? 1 : (int)spec->stride;
    s->n_rows = (int)sb_max_rows(p, spec->block);
    s->n_blocks = (int)sb_ceil_div(p->kv_len, spec->block);
    s->dim_padded = (int)sb_ceil_div(p->dim, 16) * 16;
    s->length = s->stride * s->dim_padded;
    s->mean = spec->mean_score;
    s->scale = spec->unscaled_score ? (double)spec->stride : p->scale;
    double sub = (double)s->block / (double)s->stride;
    s->gain = (float)(s->scale / (sub * sub * (double)s->stride));
    s->bonus = spec->bonus;
    s->beta = spec->beta;
    s->value_group = (int)(spec->bonus == SB_CUDA_BONUS_RELEASED ? spec->stride : spec->block);
    s->n_value_groups = (int)sb_ceil_div(p->kv_len, s->value_group);
    s->sinks = (int)(spec->sinks < s->n_blocks ? spec->sinks : s->n_blocks);
    s->window = (int)(spec->window < s->n_blocks ? spec->window : s->n_blocks);
    s->score_line = (s->n_blocks + 1) / 2 * 2;
    s->mask_words = (s->n_blocks + 31) / 32;
    double share = (s->length / 16 + 5) * 0x1p-24 + 4.2 * 21 * 0x1p-23 +
                   (s->length / 32 + 1) * 0x1p-24 + 0x1p-21;
    /* The norms, and with them the bound, are float32 themselves. */
    s->error_share = (float)(1.01 * share);
}

int64_t list_room(const sb_problem *p, const sb_cuda_select_spec *spec)
{
    int64_t n_rows = sb_max_rows(p, spec->block), room = 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t first = sb_first_block(p, b, spec->block);
        for (int64_t r = 0; r < sb_n_rows(p, b, spec->block); r++) {
            int64_t k = spec->budget[b * n_rows + r] + spec->sinks + spec->window;
            room += k < first + r + 1 ? k : first + r + 1;
        }
    }
    return room * p->n_heads;
}

/* Lay the arrays out, from `base` or only to count their bytes. */
void lay_out(sb_cuda_select_plan *plan, char *base)
{
    stages *s = &plan->s;
    arena a = {base, 0};
    int64_t b_kv = (int64_t)s->n_batch * s->n_kv_heads, b_h = (int64_t)s->n_batch * s->n_heads;
    int64_t head_scores = (int64_t)s->n_rows * s->score_line * (int64_t)sizeof(float);
    int64_t at_once = score_room / head_scores;
    at_once = at_once < 1 ? 1 : at_once > 65535 ? 65535 : at_once; /* a grid's other extent */
    s->heads_at_once = (int)(at_once < b_h ? at_once : b_h);

    a.take(b_kv, &s->k_most);
    a.take(b_kv, &s->bonus_most);
    a.take(b_kv, &s->norms_done);
    a.take(plan->n_segments, &s->segment);
    plan->n_zeroed = a.used;
    a.take_split(plan->n_lists * s->length, &s->q);
    a.take_split(b_kv * s->n_blocks * s->length, &s->k);
    a.take(plan->n_lists, &s->q_squares);
    a.take(s->bonus == SB_CUDA_BONUS_RELEASED ? b_kv * s->n_value_groups : 0, &s->group_log);
    a.take(s->bonus == SB_CUDA_BONUS_NONE ? 0 : b_kv * s->n_blocks + LIST_ROOM, &s->block_bonus);
    a.take(s->heads_at_once * head_scores / (int64_t)sizeof(float) + LIST_ROOM, &s->scores);
    a.take(plan->n_lists * s->mask_words, &s->mask);
    a.take(plan->n_lists, &s->count);
    a.take(plan->n_lists + 1, &s->row_ptr);
    a.take(plan->capacity, &s->col);
    a.take(s->n_batch, (sequence **)&s->seq);
    a.take((int64_t)s->n_batch * s->n_rows, (int32_t **)&s->budget);
    plan->n_bytes = a.used;
}

sb_status upload(sb_cuda_select_plan *plan, const sb_problem *p, const sb_cuda_select_spec *spec,
                 sb_err *err)
{
    sb_status st = SB_OK;
    const stages *s = &plan->s;
    sequence *seq = (sequence *)sb_alloc(p->n_batch, sizeof *seq);
    SB_CHECK(seq, err, SB_NO_MEMORY, "out of memory for a selection plan");
    for (int64_t b = 0; b < p->n_batch; b++) {
        seq[b].q_len = (int)sb_q_len(p, b);
        seq[b].kv_len = (int)sb_kv_len(p, b);
        seq[b].first_block = (int)sb_first_block(p, b, spec->block);
        seq[b].n_rows = (int)sb_n_rows(p, b, spec->block);
        for (int r = 0; r < seq[b].n_rows; r++)
            SB_CHECK(spec->budget[b * s->n_rows + r] >= 1, err, SB_USAGE,
                     "row %d of sequence %lld has a budget of %d blocks; expected at least 1", r,
                     (long long)b, spec->budget[b * s->n_rows + r]);
    }
    SB_TRY(sb_cuda_to_device((void *)s->seq, seq, p->n_batch * (int64_t)sizeof *seq, plan->stream,
                             err));
    SB_TRY(sb_cuda_to_device((void *)s->budget, spec->budget,
                             p->n_batch * s->n_rows * (int64_t)sizeof *spec->budget, plan->stream,
                             err));
    SB_TRY(sb_cuda_sync(plan->stream, err));
out:
    sb_free(seq);
    return st;
}

/* STEMBENCH_CUDA_KERNEL=mma, as for attention, keeps to what every GPU has. */
sb_status choose_scores(sb_cuda_select_plan *plan, sb_err *err)
{
    sb_status st = SB_OK;
    int device, major;
    const char *forced = getenv("STEMBENCH_CUDA_KERNEL");
    SB_CUDA_TRY(cudaGetDevice(&device));
    SB_CUDA_TRY(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    plan->sm90 = major == 9 && !(forced && strcmp(forced, "mma") == 0);
    SB_CUDA_TRY(plan->sm90 ? prepare_scores_sm90() : prepare_scores());
out:
    return st;
}

} // namespace

sb_status sb_cuda_select_plan_create(const sb_problem *p, const sb_cuda_select_spec *spec,
                                     sb_stream stream, sb_cuda_select_plan **out_plan, sb_err *err)
{
    sb_status st = SB_OK;
    sb_cuda_select_plan *plan = nullptr;
    *out_plan = nullptr;
    SB_TRY(sb_problem_check(p, err));
    SB_TRY(check_spec(p, spec, err));
    plan = (sb_cuda_select_plan *)sb_alloc(1, sizeof *plan);
    SB_CHECK(plan, err, SB_NO_MEMORY, "out of memory for a selection plan");
    plan->stream = stream;
    describe_shape(p, spec, &plan->s);
    plan->capacity = list_room(p, spec);
    plan->n_lists = p->n_batch * p->n_heads * plan->s.n_rows;
    plan->n_segments = sb_ceil_div(plan->n_lists, SEGMENT);
    lay_out(plan, nullptr);
    SB_TRY(sb_cuda_malloc(plan->n_bytes, "selecting blocks", (void **)&plan->memory, err));
    lay_out(plan, plan->memory);
    plan->pattern = {plan->s.n_rows, spec->block, plan->s.row_ptr, plan->s.col};
    SB_TRY(upload(plan, p, spec, err));
    SB_TRY(choose_scores(plan, err));
    SB_CUDA_TRY(prepare_topk());
    *out_plan = plan;
    return SB_OK;
out:
    sb_cuda_select_plan_destroy(plan);
    return st;
}

sb_status sb_cuda_select(sb_cuda_select_plan *plan, const sb_inputs *in, sb_err *err)
{
    sb_status st = SB_OK;
    const stages &s = plan->s;
    int n_heads = s.n_batch * s.n_heads;
    SB_TRY(sb_cuda_fill(plan->memory, 0, plan->n_zeroed, plan->stream, err));
    launch_sums(s, *in, plan->stream);
    for (int from = 0; from < n_heads; from += s.heads_at_once) {
        int n = n_heads - from < s.heads_at_once ? n_heads - from : s.heads_at_once;
        (plan->sm90 ? launch_scores_sm90 : launch_scores)(s, from, n, plan->stream);
        launch_topk(s, from, n, plan->stream);
    }
    launch_lists(s, plan->stream);
    SB_TRY(sb_cuda_launched("selecting blocks", err));
out:
    return st;
}

const sb_cuda_pattern *sb_cuda_select_pattern(const sb_cuda_select_plan *plan)
{
    return &plan->pattern;
}

int64_t sb_cuda_select_capacity(const sb_cuda_select_plan *plan)
{
    return plan->capacity;
}

int64_t sb_cuda_select_bytes(const sb_cuda_select_plan *plan)
{
    return plan->n_bytes;
}

sb_status sb_cuda_select_read(const sb_cuda_select_plan *plan, sb_pattern *pat, sb_err *err)
{
    sb_status st = SB_OK;
    const stages &s = plan->s;
    int64_t n_rows = plan->n_lists + 1, n;
    SB_CHECK(pat->n_batch == s.n_batch && pat->n_heads == s.n_heads && pat->n_rows == s.n_rows &&
                 pat->block == s.block,
             err, SB_USAGE, "the host pattern is of another shape than the selection");
    SB_TRY(sb_cuda_to_host(pat->row_ptr, s.row_ptr, n_rows * (int64_t)sizeof *s.row_ptr,
                           plan->stream, err));
    SB_TRY(sb_cuda_sync(plan->stream, err));
    n = pat->row_ptr[plan->n_lists];
    SB_CHECK(n >= 0 && n <= pat->capacity, err, SB_USAGE,
             "%lld blocks were selected; the host pattern has room for %lld", (long long)n,
             (long long)pat->capacity);
    SB_TRY(sb_cuda_to_host(pat->col, s.col, n * (int64_t)sizeof *s.col, plan->stream, err));
    SB_TRY(sb_cuda_sync(plan->stream, err));
out:
    return st;
}

sb_status sb_cuda_select_rescored(const sb_cuda_select_plan *plan, int64_t *n, sb_err *err)
{
    sb_status st = SB_OK;
    *n = 0;
    segment *all = (segment *)sb_alloc(plan->n_segments, sizeof *all);
    SB_CHECK(all, err, SB_NO_MEMORY, "out of memory for counts");
    SB_TRY(sb_cuda_to_host(all, plan->s.segment, plan->n_segments * (int64_t)sizeof *all,
                           plan->stream, err));
    SB_TRY(sb_cuda_sync(plan->stream, err));
    for (int64_t i = 0; i < plan->n_segments; i++)
        *n += all[i].n_rescored;
out:
    sb_free(all);
    return st;
}

void sb_cuda_select_plan_destroy(sb_cuda_select_plan *plan)
{
    if (!plan)
        return;
    sb_cuda_free(plan->memory);
    sb_free(plan);
}
