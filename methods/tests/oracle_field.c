#include "methods/tests/oracle_field.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void sb_field_choice_free(sb_field_choice *c)
{
    free(c->margin);
    free(c->tokens);
    free(c->keep);
    *c = (sb_field_choice){0};
}

sb_field_choice sb_field_choose_none(const sb_oracle *o, int64_t block, bool tokens)
{
    int64_t n_rows = (o->kv_len + block - 1) / block, n_lists = o->n_heads * n_rows;
    sb_field_choice c = {
        .block = block, .n_lists = n_lists, .n_rows = n_rows, .n_tokens = o->kv_len};
    c.keep = sb_oracle_calloc(n_lists * n_rows, sizeof *c.keep);
    c.tokens = tokens ? sb_oracle_calloc(n_lists * o->kv_len, sizeof *c.tokens) : NULL;
    c.margin = sb_oracle_calloc(n_lists, sizeof *c.margin);
    for (int64_t i = 0; i < n_lists; i++)
        c.margin[i] = INFINITY;
    return c;
}

void sb_field_mark_blocks(sb_field_choice *c)
{
    for (int64_t i = 0; i < c->n_lists; i++)
        for (int64_t j = 0; j < c->n_tokens; j++)
            if (c->tokens[i * c->n_tokens + j])
                c->keep[i * c->n_rows + j / c->block] = true;
}

const double *sb_field_q(const sb_oracle *o, int64_t h)
{
    return o->q + h * o->q_len * o->dim;
}

const double *sb_field_k(const sb_oracle *o, int64_t h)
{
    return o->k + h / (o->n_heads / o->n_kv_heads) * o->kv_len * o->dim;
}

double sb_field_dot(const double *a, const double *b, int64_t n)
{
    double sum[4] = {0};
    for (int64_t c = 0; c < n; c++)
        sum[c % 4] += a[c] * b[c];
    return sum[0] + sum[1] + sum[2] + sum[3];
}

double *sb_field_means(const double *x, int64_t n_tokens, int64_t dim, int64_t block)
{
    int64_t n = (n_tokens + block - 1) / block;
    double *mean = sb_oracle_calloc(n * dim, sizeof *mean);
    for (int64_t i = 0; i < n; i++) {
        int64_t end = (i + 1) * block < n_tokens ? (i + 1) * block : n_tokens;
        for (int64_t t = i * block; t < end; t++)
            for (int64_t c = 0; c < dim; c++)
                mean[i * dim + c] += x[t * dim + c] / (double)(end - i * block);
    }
    return mean;
}

static const double *ordered;

static int compare(const void *a, const void *b)
{
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    if (ordered[i] != ordered[j])
        return ordered[i] < ordered[j] ? 1 : -1;
    return i < j ? -1 : 1;
}

int64_t *sb_field_order(const double *x, int64_t n)
{
    int64_t *order = sb_oracle_calloc(n, sizeof *order);
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    ordered = x;
    qsort(order, (size_t)n, sizeof *order, compare);
    return order;
}

void sb_field_softmax(double *x, int64_t n)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = fmax(max, x[i]);
    for (int64_t i = 0; i < n; i++)
        sum += x[i] = exp(x[i] - max);
    for (int64_t i = 0; i < n; i++)
        x[i] /= sum;
}

void sb_field_near(double *margin, double a, double b, double unit)
{
    *margin = fmin(*margin, fabs(a - b) / unit);
}

/* ---- streaming --------------------------------------------------------------------------- */

sb_field_choice sb_field_streaming(const sb_oracle *o, int64_t block, int64_t sink, int64_t window,
                                   int64_t last)
{
    sb_field_choice c = sb_field_choose_none(o, block, false);
    for (int64_t i = 0; i < o->q_len; i++)
        for (int64_t j = 0; j <= i; j++) {
            if (j >= sink && i - j >= window && i < o->q_len - last)
                continue;
            c.pairs += (double)o->n_heads;
            for (int64_t h = 0; h < o->n_heads; h++)
                c.keep[(h * c.n_rows + i / block) * c.n_rows + j / block] = true;
        }
    return c;
}
