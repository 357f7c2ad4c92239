/* The oracle of the selections that the last queries decide: MInference, FlexPrefill. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/tests/oracle_field.h"

/* Softmaxed scores of the last m queries of a head, summed over columns [T] and over diagonals
 * [T], which are counted by offset query - key. */
static void sum_last_queries(const sb_oracle *o, int64_t h, int64_t m, double *column,
                             double *diagonal)
{
    int64_t T = o->q_len;
    double *p = sb_oracle_calloc(T, sizeof *p);
    memset(column, 0, (size_t)T * sizeof *column);
    memset(diagonal, 0, (size_t)T * sizeof *diagonal);
    for (int64_t i = T - m; i < T; i++) {
        for (int64_t j = 0; j <= i; j++)
            p[j] = o->scale * sb_field_dot(sb_field_q(o, h) + i * o->dim,
                                           sb_field_k(o, h) + j * o->dim, o->dim);
        sb_field_softmax(p, i + 1);
        for (int64_t j = 0; j <= i; j++) {
            column[j] += p[j];
            diagonal[i - j] += p[j];
        }
    }
    free(p);
}

/* Flags the n largest of x [length], the first `forced` of which are infinite. */
static void flag_largest(double *x, int64_t length, int64_t forced, int64_t n, bool *flag,
                         double *margin)
{
    for (int64_t i = 0; i < forced && i < length; i++)
        x[i] = INFINITY;
    int64_t *order = sb_field_order(x, length);
    memset(flag, 0, (size_t)length * sizeof *flag);
    for (int64_t i = 0; i < n; i++)
        flag[order[i]] = true;
    if (n < length && isfinite(x[order[n - 1]]))
        sb_field_near(margin, x[order[n - 1]], x[order[n]], x[order[n - 1]]);
    free(order);
}

/* The tokens that the kernel's tile of rows I visits: each diagonal becomes a run of 64 keys, and
 * one that starts within the run before makes that run 64 longer. */
static void visit(const bool *column, const bool *diagonal, int64_t n_tokens, int64_t I,
                  bool *visited)
{
    int64_t end = (I + 1) * 64, low = -1, high = -1;
    for (int64_t s = (end < n_tokens ? end : n_tokens) - 1; s >= 0; s--) {
        if (!diagonal[s])
            continue;
        int64_t stop = end - s > 64 ? end - s : 64;
        if (low < 0 || stop > high + 64) {
            for (int64_t j = low < 0 ? 0 : low; j < high && j < n_tokens; j++)
                visited[j] = true;
            low = stop - 64;
            high = stop;
        } else if (stop > high) {
            high += 64;
        }
    }
    for (int64_t j = low; j < high; j++)
        if (j < n_tokens && j < end)
            visited[j] = true;
    for (int64_t j = 0; j < high && j < n_tokens && j < end; j++)
        visited[j] = visited[j] || column[j];
}

static int64_t clamp(int64_t x, int64_t min, int64_t max)
{
    x = x > min ? x : min;
    return x < max ? x : max;
}

sb_field_choice sb_field_vertical_slash(const sb_oracle *o, int64_t block, int64_t vertical,
                                        int64_t slash, bool visited)
{
    int64_t T = o->q_len;
    sb_field_choice c = sb_field_choose_none(o, visited ? 64 : block, visited);
    double *sums = sb_oracle_calloc(2 * T, sizeof *sums);
    bool *column = sb_oracle_calloc(2 * T, sizeof *column), *diagonal = column + T;
    for (int64_t h = 0; h < o->n_heads; h++) {
        double margin = INFINITY;
        sum_last_queries(o, h, T < 64 ? T : 64, sums, sums + T);
        flag_largest(sums, T, 30, clamp(vertical, 30, T), column, &margin);
        flag_largest(sums + T, T, 100, clamp(slash, 50, T), diagonal, &margin);
        for (int64_t i = 0; i < T; i++)
            for (int64_t j = 0; j <= i; j++) {
                if (!column[j] && !diagonal[i - j])
                    continue;
                c.pairs++;
                if (!visited)
                    c.keep[(h * c.n_rows + i / block) * c.n_rows + j / block] = true;
            }
        for (int64_t I = 0; I < c.n_rows; I++) {
            c.margin[h * c.n_rows + I] = margin;
            if (visited)
                visit(column, diagonal, T, I, c.tokens + (h * c.n_rows + I) * T);
        }
    }
    if (visited)
        sb_field_mark_blocks(&c);
    free(column);
    free(sums);
    return c;
}

/* Row I of a head by its means [n, D]; the last block's counts the places that hold no token. */
static void block_sparse_row(const sb_oracle *o, const double *q, const double *k, int64_t block,
                             int64_t I, int64_t top_k, bool *keep, double *margin)
{
    int64_t n = I + 1 < top_k ? I + 1 : top_k;
    double *score = sb_oracle_calloc(I + 1, sizeof *score), largest = 0;
    for (int64_t J = 0; J <= I; J++) {
        int64_t present = o->kv_len - J * block < block ? o->kv_len - J * block : block;
        score[J] =
            (double)present / (double)block * sb_field_dot(q + I * o->dim, k + J * o->dim, o->dim);
        largest = fmax(largest, fabs(score[J]));
    }
    int64_t *order = sb_field_order(score, I + 1);
    for (int64_t at = 0; at < n; at++)
        keep[order[at]] = true;
    if (n <= I)
        sb_field_near(margin, score[order[n - 1]], score[order[n]], largest);
    keep[I] = true;
    free(order);
    free(score);
}

sb_field_choice sb_field_block_sparse(const sb_oracle *o, int64_t block, int64_t top_k)
{
    sb_field_choice c = sb_field_choose_none(o, block, false);
    for (int64_t h = 0; h < o->n_heads; h++) {
        double *q = sb_field_means(sb_field_q(o, h), o->q_len, o->dim, block);
        double *k = sb_field_means(sb_field_k(o, h), o->kv_len, o->dim, block);
        for (int64_t i = h * c.n_rows; i < (h + 1) * c.n_rows; i++)
            block_sparse_row(o, q, k, block, i % c.n_rows, top_k, c.keep + i * c.n_rows,
                             &c.margin[i]);
        free(k);
        free(q);
    }
    return c;
}

/* ---- flexprefill ------------------------------------------------------------------------- */

/* How many of p [n], the largest first, have a running sum of at most gamma; and one more. The
 * margin is that of whole groups of 128. */
static int64_t count_to(const double *p, int64_t n, double gamma, double *margin)
{
    int64_t *order = sb_field_order(p, n), count = 1;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += p[order[i]];
        count += sum <= gamma;
        if ((i + 2) % 128 == 0)
            sb_field_near(margin, sum, gamma, 1);
    }
    free(order);
    return count;
}

static double half_divergence(double p, double q)
{
    return 0.5 * p * log(p / ((p + q) / 2));
}

typedef struct flex {
    const sb_oracle *o;
    int64_t h, n, block, min_blocks; /* n blocks */
    double gamma, tau, margin;
    double *q, *k;             /* [n, D] means */
    double *column, *diagonal; /* [n] mass; of diagonals, from the far end */
    int64_t n_columns, n_diagonals;
} flex;

/* Pools the last queries' mass, and counts the column and diagonal blocks that gamma asks for. */
static void pool_last_queries(flex *f)
{
    int64_t T = f->o->q_len, B = f->block;
    double *column = sb_oracle_calloc(2 * T, sizeof *column), *diagonal = column + T;
    sum_last_queries(f->o, f->h, B, column, diagonal);
    for (int64_t j = 0; j < T; j++) {
        column[j] /= (double)B;
        diagonal[j] /= (double)B;
        f->column[j / B] += column[j];
        f->diagonal[(T - 1 - j) / B] += diagonal[j];
    }
    f->n_columns = clamp(count_to(column, T, f->gamma, &f->margin) / 128 + 1, f->min_blocks, f->n);
    f->n_diagonals =
        clamp(count_to(diagonal, T, f->gamma, &f->margin) / 128 + 1, f->min_blocks, f->n);
    free(column);
}

static bool is_query_aware(flex *f)
{
    const sb_oracle *o = f->o;
    double *mean = sb_oracle_calloc(o->dim + f->n, sizeof *mean), *est = mean + o->dim;
    double divergence = 0;
    for (int64_t t = o->q_len - f->block; t < o->q_len; t++)
        for (int64_t c = 0; c < o->dim; c++)
            mean[c] += sb_field_q(o, f->h)[t * o->dim + c] / (double)f->block;
    for (int64_t J = 0; J < f->n; J++)
        est[J] = o->scale * sb_field_dot(mean, f->k + J * o->dim, o->dim);
    sb_field_softmax(est, f->n);
    for (int64_t J = 0; J < f->n; J++)
        divergence += half_divergence(est[J], f->column[J]) + half_divergence(f->column[J], est[J]);
    free(mean);
    sb_field_near(&f->margin, sqrt(divergence), f->tau, 1);
    return sqrt(divergence) < f->tau;
}

/* The flattened top-p over pooled rows; the block at which the sum crosses is not kept. */
static void keep_flattened(flex *f, bool *keep)
{
    int64_t n = f->n, dim = f->o->dim, kept = 0;
    double *p = sb_oracle_calloc(n * n, sizeof *p), sum = 0;
    for (int64_t I = 0; I < n; I++) {
        for (int64_t J = 0; J <= I; J++)
            p[I * n + J] = f->o->scale * sb_field_dot(f->q + I * dim, f->k + J * dim, dim);
        sb_field_softmax(p + I * n, I + 1);
    }
    int64_t *order = sb_field_order(p, n * n);
    for (; kept < n * n; kept++) {
        sum += p[order[kept]];
        sb_field_near(&f->margin, sum, f->gamma * (double)n, (double)n);
        if (!(sum <= f->gamma * (double)n))
            break;
        keep[order[kept]] = order[kept] % n <= order[kept] / n;
    }
    if (kept > 0 && kept < n * n)
        sb_field_near(&f->margin, p[order[kept - 1]], p[order[kept]], p[order[kept - 1]]);
    free(order);
    free(p);
}

static void flex_head(flex *f, bool aware, bool *keep)
{
    bool *column = sb_oracle_calloc(2 * f->n, sizeof *column), *diagonal = column + f->n;
    if (aware) {
        f->n_columns = f->n_diagonals = f->min_blocks;
        keep_flattened(f, keep);
    }
    flag_largest(f->column, f->n, 1, f->n_columns, column, &f->margin);
    f->diagonal[f->n - 1] = INFINITY;
    flag_largest(f->diagonal, f->n, 0, f->n_diagonals, diagonal, &f->margin);
    for (int64_t I = 0; I < f->n; I++)
        for (int64_t J = 0; J <= I; J++)
            if (column[J] || diagonal[f->n - 1 - (I - J)])
                keep[I * f->n + J] = true;
    free(column);
}

sb_field_choice sb_field_flexprefill(const sb_oracle *o, int64_t block, double gamma, double tau,
                                     int64_t min_budget)
{
    sb_field_choice c = sb_field_choose_none(o, block, false);
    int64_t n = c.n_rows, T = o->q_len;
    int64_t min_blocks = min_budget > 0 ? (min_budget + block - 1) / block : 1;
    for (int64_t h = 0; h < o->n_heads; h++) {
        bool *keep = c.keep + h * n * n;
        flex f = {.o = o,
                  .h = h,
                  .n = n,
                  .block = block,
                  .min_blocks = min_blocks,
                  .gamma = gamma,
                  .tau = tau,
                  .margin = INFINITY};
        if (T <= 2 * block || T <= min_blocks * block) {
            for (int64_t i = 0; i < n * n; i++)
                keep[i] = i % n <= i / n;
            continue;
        }
        f.q = sb_field_means(sb_field_q(o, h), T, o->dim, block);
        f.k = sb_field_means(sb_field_k(o, h), T, o->dim, block);
        f.column = sb_oracle_calloc(2 * n, sizeof *f.column);
        f.diagonal = f.column + n;
        pool_last_queries(&f);
        flex_head(&f, is_query_aware(&f), keep);
        for (int64_t I = 0; I < n; I++)
            c.margin[h * n + I] = f.margin;
        free(f.column);
        free(f.k);
        free(f.q);
    }
    return c;
}
