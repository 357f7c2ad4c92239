#include "methods/kernels/cpu/mass.h"

#include <string.h>

#include "methods/kernels/cpu/score.h"
#include "methods/kernels/cpu/softmax.h"

/* Where one thread's scratch is. Each block's exponentials are relative to its own maximum, so that
 * a block is done with once it is read; the softmax over all of them comes last. */
typedef struct room {
    double *total;   /* [n_blocks] sums over the queries */
    float *query;    /* [block, padded dim] */
    float *tile;     /* [SB_SCORE_ROWS, padded block] scores of some queries, then exponentials */
    float *max;      /* [block, n_blocks] of each query and block */
    float *sum;      /* [block, n_blocks] sum of exponentials */
    float *line;     /* [padded dim_v] */
    float *output;   /* [block, dim_v] */
    float *norm;     /* [block] */
    float *norm_all; /* [block, n_blocks] */
    int64_t floats;
} room;

static float *take(room *w, float *base, int64_t n)
{
    float *at = base ? base + w->floats : NULL;
    w->floats += sb_pad_lanes(n);
    return at;
}

static room room_at(const sb_mass *m, float *base)
{
    room w = {0};
    int64_t n = m->block, dim_v = m->output ? m->dim_v : 0;
    w.total = (double *)(void *)take(&w, base, 2 * m->n_blocks);
    w.query = take(&w, base, n * sb_pad_lanes(m->dim));
    w.tile = take(&w, base, SB_SCORE_ROWS * sb_pad_lanes(n));
    w.max = take(&w, base, n * m->n_blocks);
    w.sum = take(&w, base, n * m->n_blocks);
    w.line = take(&w, base, dim_v);
    w.output = take(&w, base, n * dim_v);
    w.norm = take(&w, base, m->output ? n : 0);
    w.norm_all = take(&w, base, m->output ? n * m->n_blocks : 0);
    return w;
}

int64_t sb_mass_key_floats(const sb_mass *m)
{
    return sb_pad_lanes(m->dim) * sb_pad_lanes(m->block);
}

int64_t sb_mass_value_floats(const sb_mass *m)
{
    return m->output ? sb_pad_lanes(m->block) * sb_pad_lanes(m->dim_v) : 0;
}

int64_t sb_mass_room(const sb_mass *m)
{
    return room_at(m, NULL).floats;
}

/* x [n, dim] to rows of whole lanes; the pads stay. */
static void load_rows(sb_dtype dtype, const void *x, int64_t n, int64_t dim, float *out)
{
    size_t bytes = (size_t)dim * sb_dtype_bytes(dtype);
    for (int64_t t = 0; t < n; t++)
        sb_to_f32(dtype, (const char *)x + (size_t)t * bytes, out + t * sb_pad_lanes(dim), dim);
}

/* k [n, dim] to a row for each channel, keys side by side. */
static void load_keys(const sb_mass *m, const void *k, int64_t n, float *line, float *keys)
{
    size_t bytes = (size_t)m->dim * sb_dtype_bytes(m->dtype);
    for (int64_t t = 0; t < n; t++) {
        sb_to_f32(m->dtype, (const char *)k + (size_t)t * bytes, line, m->dim);
        for (int64_t c = 0; c < m->dim; c++)
            keys[c * sb_pad_lanes(m->block) + t] = line[c];
    }
}

void sb_mass_load(const sb_mass *m, const void *k, const void *v, int64_t n, float *base,
                  float *keys, float *values)
{
    load_keys(m, k, n, room_at(m, base).query, keys);
    if (m->output)
        load_rows(m->dtype, v, n, m->dim_v, values);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Queries t .. t + n - 1 against key block j, of which the first of them sees `seen` keys, or all
 * where there are fewer. */
static void read_block(const sb_mass *m, const room *w, int64_t t, int64_t n, int64_t j,
                       int64_t seen, const float *keys, const float *values)
{
    static const float ones[SB_SCORE_ROWS] = {1, 1, 1, 1};
    const float scale[SB_SCORE_ROWS] = {m->scale, m->scale, m->scale, m->scale};
    int64_t width = sb_pad_lanes(m->block), length = sb_pad_lanes(m->dim);
    sb_score_columns(sb_columns_width(), w->query + t * length, n, keys + j * sb_mass_key_floats(m),
                     least(seen + n - 1, m->block), length, width, scale, width, w->tile);
    for (int64_t i = 0; i < n; i++) {
        float *weight = w->tile + i * width;
        int64_t at = (t + i) * m->n_blocks + j, n_seen = least(seen + i, m->block);
        w->max[at] = sb_row_max(weight, n_seen);
        w->sum[at] = sb_row_exp(weight, n_seen, w->max[at]);
        if (m->output)
            memset(weight + n_seen, 0, (size_t)(width - n_seen) * sizeof *weight);
    }
    if (m->output)
        sb_score_columns(sb_columns_width(), w->tile, n, values + j * sb_mass_value_floats(m),
                         m->dim_v, width, sb_pad_lanes(m->dim_v), ones, m->dim_v,
                         w->output + t * m->dim_v);
}

/* One query's softmax over its n_blocks blocks: max becomes each block's weight, and part, a sum or
 * norm of its exponentials, counts by it. */
static void add_query(float *max, const float *sum, const float *part, int64_t n_blocks,
                      double *total)
{
    double all = 0;
    sb_row_exp(max, n_blocks, sb_row_max(max, n_blocks));
    for (int64_t j = 0; j < n_blocks; j++)
        all += (double)max[j] * (double)sum[j];
    for (int64_t j = 0; j < n_blocks; j++)
        total[j] += (double)max[j] * (double)part[j] / all;
}

void sb_mass_row(const sb_mass *m, const void *q, int64_t n, int64_t first, const float *keys,
                 const float *values, float *base, float *out)
{
    room w = room_at(m, base);
    int64_t n_blocks = first / m->block + 1;
    load_rows(m->dtype, q, n, m->dim, w.query);
    for (int64_t j = 0; j < n_blocks; j++) {
        for (int64_t t = 0; t < n; t += SB_SCORE_ROWS)
            read_block(m, &w, t, least(SB_SCORE_ROWS, n - t), j, first + t + 1 - j * m->block, keys,
                       values);
        if (m->output) {
            sb_row_norms(SB_F32, w.output, n, m->dim_v, w.line, w.norm);
            for (int64_t t = 0; t < n; t++)
                w.norm_all[t * m->n_blocks + j] = w.norm[t];
        }
    }
    memset(w.total, 0, (size_t)n_blocks * sizeof *w.total);
    for (int64_t t = 0; t < n; t++) {
        int64_t at = t * m->n_blocks;
        add_query(w.max + at, w.sum + at, (m->output ? w.norm_all : w.sum) + at, n_blocks, w.total);
    }
    for (int64_t j = 0; j < n_blocks; j++)
        out[j] = (float)w.total[j];
}
