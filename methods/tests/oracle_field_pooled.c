/* The oracle of the selections by means of tokens: FlashPrefill, SpargeAttn, VecAttention. */

#include <math.h>
#include <stdlib.h>

#include "methods/tests/oracle_field.h"

/* ---- flashprefill ------------------------------------------------------------------------ */

/* Scores of row I against mean keys; query places past the prompt's end count as zeros. A block
 * counts for the queries at or past its last token. */
static void flash_scores(const sb_oracle *o, const double *q, const double *k, int64_t block,
                         int64_t I, double *score)
{
    double *x = sb_oracle_calloc(block * (I + 1), sizeof *x), max = -INFINITY;
    for (int64_t r = 0; r < block; r++)
        for (int64_t J = 0; J <= I; J++) {
            int64_t i = I * block + r;
            bool counts = i >= J * block + block - 1;
            double product =
                i < o->q_len ? sb_field_dot(q + i * o->dim, k + J * o->dim, o->dim) : 0;
            x[r * (I + 1) + J] = counts ? o->scale * product : -INFINITY;
            max = fmax(max, x[r * (I + 1) + J]);
        }
    for (int64_t J = 0; J <= I; J++) {
        score[J] = 0;
        for (int64_t r = 0; r < block; r++)
            score[J] += exp(x[r * (I + 1) + J] - max);
    }
    free(x);
}

sb_field_choice sb_field_flashprefill(const sb_oracle *o, int64_t block, double alpha, int64_t sink,
                                      int64_t window, int64_t last_full)
{
    sb_field_choice c = sb_field_choose_none(o, block, false);
    int64_t n = c.n_rows, sinks = sink / block > 1 ? sink / block : 1;
    int64_t local = window / block > 1 ? window / block : 1;
    double *score = sb_oracle_calloc(n, sizeof *score);
    for (int64_t h = 0; h < o->n_heads; h++) {
        double *k = sb_field_means(sb_field_k(o, h), o->kv_len, o->dim, block);
        for (int64_t I = 0; I < n; I++) {
            double max = 0, *margin = &c.margin[h * n + I];
            flash_scores(o, sb_field_q(o, h), k, block, I, score);
            for (int64_t J = 0; J <= I; J++)
                max = fmax(max, score[J]);
            for (int64_t J = 0; J <= I; J++) {
                sb_field_near(margin, score[J], alpha * max, max);
                c.keep[(h * n + I) * n + J] =
                    score[J] >= alpha * max || J < sinks || I - J < local || I >= n - last_full;
            }
        }
        free(k);
    }
    free(score);
    return c;
}

/* ---- sparge ------------------------------------------------------------------------------ */

/* To half precision, nearest even, for |x| <= 1. */
static double to_half(double x)
{
    int exponent;
    frexp(x, &exponent);
    double unit = ldexp(1, exponent - 11 > -24 ? exponent - 11 : -24);
    return nearbyint((double)(float)x / unit) * unit;
}

/* Whether each whole block of x [T, D] is self-similar: the mean of all pairwise cosines, of unit
 * vectors in half precision, above the threshold. A partial block is not. */
static bool *self_similar(const double *x, int64_t n_tokens, int64_t dim, int64_t block,
                          double threshold, double *margin)
{
    bool *similar = sb_oracle_calloc(n_tokens / block + 1, sizeof *similar);
    double *sum = sb_oracle_calloc(dim, sizeof *sum);
    for (int64_t i = 0; i < n_tokens / block; i++) {
        for (int64_t c = 0; c < dim; c++)
            sum[c] = 0;
        for (int64_t t = i * block; t < (i + 1) * block; t++) {
            const double *row = x + t * dim;
            double norm = sqrt(sb_field_dot(row, row, dim));
            for (int64_t c = 0; c < dim; c++)
                sum[c] += to_half(row[c] / norm);
        }
        double mean = sb_field_dot(sum, sum, dim) / (double)(block * block);
        similar[i] = mean > threshold;
        sb_field_near(&margin[i], mean, threshold, 1);
    }
    free(sum);
    return similar;
}

/* The keys of head h less their mean over all tokens. */
static double *centred(const sb_oracle *o, int64_t h)
{
    int64_t n = o->kv_len * o->dim;
    const double *k = sb_field_k(o, h);
    double *mean = sb_field_means(k, o->kv_len, o->dim, o->kv_len);
    double *out = sb_oracle_calloc(n, sizeof *out);
    for (int64_t i = 0; i < n; i++)
        out[i] = k[i] - mean[i % o->dim];
    free(mean);
    return out;
}

typedef struct sparge {
    const sb_field_sparge_rule *rule;
    int64_t n_q, n_k, dim;
    double scale, *q, *k; /* means */
    bool *q_similar, *k_similar;
    double *q_margin, *k_margin;
} sparge;

static int64_t count_sparge(const sb_field_sparge_rule *rule, const double *p, const int64_t *order,
                            int64_t n, double *margin)
{
    int64_t count = 0;
    double sum = 0;
    if (rule->cdf <= 0) {
        count = (int64_t)((float)rule->top * (float)n);
    } else {
        for (int64_t at = 0; at < n && p[order[at]] > 0; at++) {
            sum += p[order[at]];
            count += sum <= rule->cdf;
            sb_field_near(margin, sum, rule->cdf, 1);
        }
    }
    count = count > 1 ? count : 1;
    if (count < n && p[order[count - 1]] > 0)
        sb_field_near(margin, p[order[count - 1]], p[order[count]], p[order[count - 1]]);
    return count;
}

/* Native row I to keep [n_k]. */
static void sparge_row(const sparge *s, int64_t I, bool *keep, double *margin)
{
    double *p = sb_oracle_calloc(s->n_k, sizeof *p);
    int64_t n_scored = 0;
    *margin = fmin(*margin, s->q_margin[I]);
    for (int64_t J = 0; J < s->n_k; J++) {
        bool causal = J * s->rule->block_k < (I + 1) * s->rule->block_q;
        p[J] = causal && s->k_similar[J]
                   ? s->scale * sb_field_dot(s->q + I * s->dim, s->k + J * s->dim, s->dim)
                   : -INFINITY;
        n_scored += isfinite(p[J]);
        keep[J] = !s->k_similar[J] || !s->q_similar[I];
        if (causal)
            *margin = fmin(*margin, s->k_margin[J]);
    }
    if (n_scored > 0) {
        sb_field_softmax(p, s->n_k);
        int64_t *order = sb_field_order(p, s->n_k);
        int64_t count = count_sparge(s->rule, p, order, s->n_k, margin);
        for (int64_t at = 0; at < count && at < s->n_k; at++)
            keep[order[at]] = true;
        free(order);
    }
    free(p);
}

static double *infinities(int64_t n)
{
    double *x = sb_oracle_calloc(n, sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = INFINITY;
    return x;
}

static void sparge_head(const sb_oracle *o, const sb_field_sparge_rule *rule, int64_t h,
                        sb_field_choice *c)
{
    int64_t T = o->kv_len, dim = o->dim;
    sparge s = {.rule = rule,
                .n_q = (T + rule->block_q - 1) / rule->block_q,
                .n_k = (T + rule->block_k - 1) / rule->block_k,
                .dim = dim,
                .scale = o->scale};
    double *k = centred(o, h);
    s.q_margin = infinities(s.n_q);
    s.k_margin = infinities(s.n_k);
    s.q = sb_field_means(sb_field_q(o, h), T, dim, rule->block_q);
    s.k = sb_field_means(k, T, dim, rule->block_k);
    s.q_similar =
        self_similar(sb_field_q(o, h), T, dim, rule->block_q, rule->similarity, s.q_margin);
    s.k_similar = self_similar(k, T, dim, rule->block_k, rule->similarity, s.k_margin);
    bool *keep = sb_oracle_calloc(s.n_k, sizeof *keep);
    for (int64_t I = 0; I < c->n_rows; I++) {
        int64_t list = h * c->n_rows + I;
        sparge_row(&s, I * rule->block / rule->block_q, keep, &c->margin[list]);
        for (int64_t J = 0; J <= I; J++)
            c->keep[list * c->n_rows + J] = J == I || keep[J * rule->block / rule->block_k];
    }
    free(keep);
    free(s.k_similar);
    free(s.q_similar);
    free(s.k);
    free(s.q);
    free(s.k_margin);
    free(s.q_margin);
    free(k);
}

sb_field_choice sb_field_sparge(const sb_oracle *o, const sb_field_sparge_rule *rule)
{
    sb_field_choice c = sb_field_choose_none(o, rule->block, false);
    for (int64_t h = 0; h < o->n_heads; h++)
        sparge_head(o, rule, h, &c);
    return c;
}

/* ---- vecattention ------------------------------------------------------------------------ */

enum { TILE = 64, STEP = 16 };

/* Scores of a head's mean queries against every key, [n_tiles, T]. */
static double *tile_scores(const sb_oracle *o, int64_t h)
{
    int64_t n = (o->q_len + TILE - 1) / TILE, T = o->kv_len;
    double *q = sb_field_means(sb_field_q(o, h), o->q_len, o->dim, TILE);
    double *x = sb_oracle_calloc(n * T, sizeof *x);
    for (int64_t i = 0; i < n * T; i++)
        x[i] =
            o->scale * sb_field_dot(q + i / T * o->dim, sb_field_k(o, h) + i % T * o->dim, o->dim);
    free(q);
    return x;
}

static void count_pairs(sb_field_choice *c)
{
    for (int64_t list = 0; list < c->n_lists; list++)
        for (int64_t j = 0; j < c->n_tokens; j++) {
            int64_t I = list % c->n_rows, first = I * TILE > j ? I * TILE : j;
            int64_t end = (I + 1) * TILE < c->n_tokens ? (I + 1) * TILE : c->n_tokens;
            if (c->tokens[list * c->n_tokens + j])
                c->pairs += (double)(end - first);
        }
}

/* Tile I by its scores x [T]. */
static void reference_row(const double *x, int64_t n_tokens, int64_t I, double threshold,
                          int64_t band, bool *tokens, double *margin)
{
    int64_t end = (I + 1) * TILE < n_tokens ? (I + 1) * TILE : n_tokens;
    double max = -INFINITY;
    for (int64_t j = 0; j < end; j++)
        max = fmax(max, x[j]);
    for (int64_t j = 0; j < end; j++) {
        bool forced = j < TILE || j >= TILE * I - TILE * band;
        tokens[j] = forced || x[j] - log(threshold) >= max;
        if (!forced)
            sb_field_near(margin, x[j] - log(threshold), max, fmax(1, fabs(max)));
    }
}

sb_field_choice sb_field_vec_reference(const sb_oracle *o, double threshold, int64_t band)
{
    sb_field_choice c = sb_field_choose_none(o, TILE, true);
    int64_t T = o->kv_len;
    for (int64_t h = 0; h < o->n_heads; h++) {
        double *x = tile_scores(o, h);
        for (int64_t I = 0; I < c.n_rows; I++)
            reference_row(x + I * T, T, I, threshold, band, c.tokens + (h * c.n_rows + I) * T,
                          &c.margin[h * c.n_rows + I]);
        free(x);
    }
    sb_field_mark_blocks(&c);
    count_pairs(&c);
    return c;
}

/* Whether tile I looks at the keys from c on: those before the tile, but division by 64 truncates
 * towards zero, seen from the first of the 64 tiles of a program. */
static bool looks_at(int64_t I, int64_t c)
{
    int64_t first = I / 64 * 64;
    return I - first > (c - first * TILE) / TILE;
}

/* Tile I by its scores x [T]: within `gap` of a maximum that runs in steps of 16 keys, and starts
 * afresh in each group of steps. */
static void kernel_row(const double *x, int64_t n_tokens, int64_t I, double gap, int64_t group,
                       bool *tokens, double *margin)
{
    double max = -INFINITY;
    for (int64_t from = 0; from < n_tokens; from += STEP) {
        if (from % (STEP * group) == 0)
            max = -INFINITY;
        if (from < TILE)
            continue;
        for (int64_t j = from; j < from + STEP && j < n_tokens; j++)
            max = fmax(max, x[j]);
        for (int64_t j = from; j < from + STEP && j < n_tokens && looks_at(I, from); j++) {
            tokens[j] = x[j] + gap >= max;
            sb_field_near(margin, x[j] + gap, max, fmax(1, fabs(max)));
        }
    }
    for (int64_t j = 0; j < n_tokens; j++)
        tokens[j] = (tokens[j] || j < TILE || j / TILE == I) && j < (I + 1) * TILE;
}

sb_field_choice sb_field_vec_kernel(const sb_oracle *o, double threshold, int64_t group)
{
    sb_field_choice c = sb_field_choose_none(o, TILE, true);
    int64_t T = o->kv_len;
    double gap = -log(threshold + 1e-9);
    for (int64_t h = 0; h < o->n_heads; h++) {
        double *x = tile_scores(o, h);
        for (int64_t I = 0; I < c.n_rows; I++)
            kernel_row(x + I * T, T, I, gap, group, c.tokens + (h * c.n_rows + I) * T,
                       &c.margin[h * c.n_rows + I]);
        free(x);
    }
    sb_field_mark_blocks(&c);
    count_pairs(&c);
    return c;
}
