/* Scores blocks by the attention that they really have, over every causal pair. A definition. */
#include "methods/score_mass.h"

#include <float.h>
#include <math.h>
#include <omp.h>

#include "harness/mem.h"
#include "harness/pattern.h"

static void lay_out(sb_block_mass *s, const sb_problem *p)
{
    for (int64_t i = 0; i < s->n_lists; i++) {
        int64_t b = i / (p->n_heads * s->n_rows), r = i % s->n_rows, block = s->mass.block;
        bool inside = r < sb_n_rows(p, b, block);
        s->list[i + 1] = s->list[i] + (inside ? sb_first_block(p, b, block) + r + 1 : 0);
    }
}

sb_status sb_block_mass_plan(const sb_problem *p, int64_t block, bool output, int n_threads,
                             sb_block_mass *s, sb_err *err)
{
    *s = (sb_block_mass){.n_threads = n_threads, .n_rows = sb_max_rows(p, block)};
    s->mass = (sb_mass){.dtype = p->dtype,
                        .block = block,
                        .dim = p->dim,
                        .dim_v = p->dim_v,
                        .n_blocks = sb_ceil_div(p->kv_len, block),
                        .scale = (float)p->scale,
                        .output = output};
    int64_t n_loaded = p->n_batch * p->n_kv_heads * s->mass.n_blocks;
    s->n_lists = p->n_batch * p->n_heads * s->n_rows;
    s->n_room = sb_mass_room(&s->mass);
    s->list = sb_alloc(s->n_lists + 1, sizeof *s->list);
    s->score = sb_alloc(sb_causal_blocks(p, block), sizeof *s->score);
    s->keys = sb_alloc(n_loaded * sb_mass_key_floats(&s->mass), sizeof *s->keys);
    s->values = sb_alloc(n_loaded * sb_mass_value_floats(&s->mass), sizeof *s->values);
    s->room = sb_alloc(n_threads * s->n_room, sizeof *s->room);
    if (!s->list || !s->score || !s->keys || !s->values || !s->room) {
        sb_block_mass_free(s);
        return sb_no_memory(err, "exact block masses");
    }
    lay_out(s, p);
    return SB_OK;
}

void sb_block_mass_free(sb_block_mass *s)
{
    sb_free(s->room);
    sb_free(s->values);
    sb_free(s->keys);
    sb_free(s->score);
    sb_free(s->list);
    *s = (sb_block_mass){0};
}

static const void *token_at(const sb_problem *p, const void *x, int64_t token, int64_t dim)
{
    return (const char *)x + (size_t)(token * dim) * sb_dtype_bytes(p->dtype);
}

static void load_keys(const sb_block_mass *s, const sb_problem *p, const sb_inputs *in)
{
    const sb_mass *m = &s->mass;
    int64_t n_loaded = p->n_batch * p->n_kv_heads * m->n_blocks;
#pragma omp parallel for num_threads(s->n_threads) schedule(static)
    for (int64_t i = 0; i < n_loaded; i++) {
        int64_t head = i / m->n_blocks, j = i % m->n_blocks;
        int64_t left = sb_kv_len(p, head / p->n_kv_heads) - j * m->block;
        int64_t at = head * p->kv_len + j * m->block;
        if (left > 0)
            sb_mass_load(
                m, token_at(p, in->k, at, p->dim), token_at(p, in->v, at, p->dim_v),
                left < m->block ? left : m->block, s->room + omp_get_thread_num() * s->n_room,
                s->keys + i * sb_mass_key_floats(m), s->values + i * sb_mass_value_floats(m));
    }
}

static void score_row(const sb_block_mass *s, const sb_problem *p, const sb_inputs *in,
                      int64_t head, int64_t r, float *room)
{
    const sb_mass *m = &s->mass;
    int64_t b = head / p->n_heads, h = head % p->n_heads, t0, t1;
    int64_t kv_head = b * p->n_kv_heads + h / (p->n_heads / p->n_kv_heads);
    if (r >= sb_n_rows(p, b, m->block))
        return;
    sb_row_span(p, b, m->block, r, &t0, &t1);
    sb_mass_row(m, token_at(p, in->q, head * p->q_len + t0, p->dim), t1 - t0,
                sb_kv_len(p, b) - sb_q_len(p, b) + t0,
                s->keys + kv_head * m->n_blocks * sb_mass_key_floats(m),
                s->values + kv_head * m->n_blocks * sb_mass_value_floats(m), room,
                s->score + s->list[head * s->n_rows + r]);
}

void sb_block_mass_fill(const sb_block_mass *s, const sb_problem *p, const sb_inputs *in)
{
    int64_t n_heads = p->n_batch * p->n_heads;
    load_keys(s, p, in);
    /* Late rows have the most blocks: hand them out first. */
#pragma omp parallel for num_threads(s->n_threads) schedule(dynamic, 1)
    for (int64_t i = n_heads * s->n_rows - 1; i >= 0; i--)
        score_row(s, p, in, i % n_heads, i / n_heads, s->room + omp_get_thread_num() * s->n_room);
}

void sb_block_mass_logs(const sb_block_mass *s, const sb_problem *p, int64_t b, int64_t h,
                        int64_t r, int64_t n_rows, float *out)
{
    for (int64_t i = r; i < r + n_rows; i++, out += s->mass.n_blocks) {
        const int64_t *list = s->list + (b * p->n_heads + h) * s->n_rows + i;
        int64_t t0, t1;
        sb_row_span(p, b, s->mass.block, i, &t0, &t1);
        for (int64_t j = 0; j < list[1] - list[0]; j++)
            out[j] = (float)log(
                fmax((double)s->score[list[0] + j] / (double)(t1 - t0), (double)FLT_MIN));
    }
}

/* Every causal pair: its product, scaling, maximum, difference, exponential and sum, and by output
 * its weighted value. Every block of a query: its norm, and its part in the softmax over blocks. */
double sb_block_mass_flops(const sb_block_mass *s, const sb_problem *p)
{
    double flops = 0, d = (double)p->dim, dv = s->mass.output ? (double)p->dim_v : 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t kv_len = sb_kv_len(p, b);
        for (int64_t t = kv_len - sb_q_len(p, b); t < kv_len; t++) {
            double pairs = (double)(t + 1), blocks = (double)(t / s->mass.block + 1);
            flops += pairs * (2 * d + 5 + 2 * dv) + blocks * (2 * dv + 8);
        }
    }
    return flops * (double)p->n_heads;
}
