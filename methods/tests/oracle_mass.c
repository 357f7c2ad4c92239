/* Exact softmax masses, from the definition. */
#include <math.h>
#include <stdlib.h>

#include "methods/tests/oracle.h"

void sb_oracle_probabilities(const sb_oracle *o, int64_t h, int64_t t, double *p)
{
    const double *q = o->q + (h * o->q_len + t) * o->dim;
    const double *k = o->k + h / (o->n_heads / o->n_kv_heads) * o->kv_len * o->dim;
    int64_t position = o->kv_len - o->q_len + t;
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j <= position; j++) {
        double dot = 0;
        for (int64_t c = 0; c < o->dim; c++)
            dot += q[c] * k[j * o->dim + c];
        p[j] = o->scale * dot;
        max = fmax(max, p[j]);
    }
    for (int64_t j = 0; j <= position; j++)
        sum += p[j] = exp(p[j] - max);
    for (int64_t j = 0; j <= position; j++)
        p[j] /= sum;
}

double *sb_oracle_log_masses(const sb_oracle *o, int64_t block)
{
    int64_t first = sb_oracle_first_row(o, block), n_rows = sb_oracle_n_rows(o, block);
    int64_t n_blocks = sb_oracle_n_blocks(o, block), start = o->kv_len - o->q_len;
    double *all = sb_oracle_calloc(o->n_heads * n_rows * n_blocks, sizeof *all);
    double *n_queries = sb_oracle_calloc(n_rows, sizeof *n_queries);
    double *p = sb_oracle_calloc(o->kv_len, sizeof *p);
    for (int64_t t = 0; t < o->q_len; t++)
        n_queries[(start + t) / block - first]++;
    for (int64_t i = 0; i < o->n_heads * o->q_len; i++) {
        int64_t h = i / o->q_len, t = i % o->q_len, r = (start + t) / block - first;
        sb_oracle_probabilities(o, h, t, p);
        for (int64_t j = 0; j <= start + t; j++)
            all[(h * n_rows + r) * n_blocks + j / block] += p[j] / n_queries[r];
    }
    for (int64_t i = 0; i < o->n_heads * n_rows * n_blocks; i++)
        all[i] = log(fmax(all[i], ldexp(1, -126)));
    free(p);
    free(n_queries);
    return all;
}
