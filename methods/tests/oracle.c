#include "methods/tests/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *sb_oracle_calloc(int64_t n, size_t bytes)
{
    void *block = calloc(n > 0 ? (size_t)n : 1, bytes);
    if (!block)
        abort();
    return block;
}

static double decode_f16(uint16_t bits)
{
    int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
    double magnitude = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return bits & 0x8000 ? -magnitude : magnitude;
}

static double decode(sb_dtype dtype, const void *src, int64_t i)
{
    if (dtype == SB_F32)
        return (double)((const float *)src)[i];
    uint16_t half = ((const uint16_t *)src)[i];
    if (dtype == SB_F16)
        return decode_f16(half);
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

/* Copies the first `valid` of `padded` tokens of every head of one sequence. */
static double *load_tensor(sb_dtype dtype, const void *src, int64_t first_head, int64_t n_heads,
                           int64_t padded, int64_t valid, int64_t dim)
{
    double *dst = sb_oracle_calloc(n_heads * valid * dim, sizeof *dst);
    for (int64_t h = 0; h < n_heads; h++)
        for (int64_t i = 0; i < valid * dim; i++)
            dst[h * valid * dim + i] = decode(dtype, src, (first_head + h) * padded * dim + i);
    return dst;
}

sb_oracle sb_oracle_load(const sb_problem *p, const sb_inputs *in, int64_t b)
{
    sb_oracle o = {.n_heads = p->n_heads,
                   .n_kv_heads = p->n_kv_heads,
                   .q_len = p->q_lens ? p->q_lens[b] : p->q_len,
                   .kv_len = p->kv_lens ? p->kv_lens[b] : p->kv_len,
                   .dim = p->dim,
                   .dim_v = p->dim_v,
                   .layer = p->layer,
                   .scale = p->scale};
    o.prompt_len = p->prompt_lens ? p->prompt_lens[b] : o.kv_len;
    int64_t kv_head = b * o.n_kv_heads;
    o.q = load_tensor(p->dtype, in->q, b * o.n_heads, o.n_heads, p->q_len, o.q_len, o.dim);
    o.k = load_tensor(p->dtype, in->k, kv_head, o.n_kv_heads, p->kv_len, o.kv_len, o.dim);
    o.v = load_tensor(p->dtype, in->v, kv_head, o.n_kv_heads, p->kv_len, o.kv_len, o.dim_v);
    return o;
}

void sb_oracle_free(sb_oracle *o)
{
    free(o->v);
    free(o->k);
    free(o->q);
    *o = (sb_oracle){0};
}

int64_t sb_oracle_first_row(const sb_oracle *o, int64_t block)
{
    return (o->kv_len - o->q_len) / block;
}

int64_t sb_oracle_n_blocks(const sb_oracle *o, int64_t block)
{
    return (o->kv_len - 1) / block + 1;
}

int64_t sb_oracle_n_rows(const sb_oracle *o, int64_t block)
{
    return sb_oracle_n_blocks(o, block) - sb_oracle_first_row(o, block);
}

/* The query at an absolute position, or NULL when it is not among the inputs. */
static const double *query_at(const sb_oracle *o, int64_t h, int64_t position)
{
    int64_t t = position - (o->kv_len - o->q_len);
    return t >= 0 && t < o->q_len ? o->q + (h * o->q_len + t) * o->dim : NULL;
}

static const double *key_at(const sb_oracle *o, int64_t h, int64_t position)
{
    int64_t kv = h / (o->n_heads / o->n_kv_heads);
    return position < o->kv_len ? o->k + (kv * o->kv_len + position) * o->dim : NULL;
}

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t c = 0; c < n; c++)
        sum += a[c] * b[c];
    return sum;
}

/* mean over the R x R sub-tiles of A[i, j] = scale / S sum_t q[S i + S - 1 - t] . k[S j + t] */
static double antidiagonal(const sb_oracle *o, const sb_oracle_rule *rule, int64_t h, int64_t row,
                           int64_t col)
{
    int64_t B = rule->block, S = rule->stride, R = B / S;
    double sum = 0;
    for (int64_t i = 0; i < R; i++)
        for (int64_t j = 0; j < R; j++)
            for (int64_t t = 0; t < S; t++) {
                const double *q = query_at(o, h, row * B + S * i + S - 1 - t);
                const double *k = key_at(o, h, col * B + S * j + t);
                if (q && k)
                    sum += dot(q, k, o->dim);
            }
    return o->scale / (double)S * sum / (double)(R * R);
}

/* The mean of all pairwise products is the product of the means. */
static double mean_product(const sb_oracle *o, const sb_oracle_rule *rule, int64_t h, int64_t row,
                           int64_t col)
{
    double *q_mean = sb_oracle_calloc(2 * o->dim, sizeof *q_mean), *k_mean = q_mean + o->dim;
    int64_t n_q = 0, n_k = 0;
    for (int64_t i = 0; i < rule->block; i++) {
        const double *q = query_at(o, h, row * rule->block + i);
        const double *k = key_at(o, h, col * rule->block + i);
        n_q += q != NULL;
        n_k += k != NULL;
        for (int64_t c = 0; c < o->dim; c++) {
            q_mean[c] += q ? q[c] : 0;
            k_mean[c] += k ? k[c] : 0;
        }
    }
    double product = dot(q_mean, k_mean, o->dim) / (double)(n_q * n_k);
    free(q_mean);
    return o->scale * product;
}

double *sb_oracle_scores(const sb_oracle *o, const sb_oracle_rule *rule)
{
    int64_t first = sb_oracle_first_row(o, rule->block);
    int64_t n_rows = sb_oracle_n_rows(o, rule->block);
    int64_t n_blocks = sb_oracle_n_blocks(o, rule->block);
    if (rule->score == SB_ORACLE_MASS)
        return sb_oracle_log_masses(o, rule->block);
    double *scores = sb_oracle_calloc(o->n_heads * n_rows * n_blocks, sizeof *scores);
    for (int64_t h = 0; h < o->n_heads; h++)
        for (int64_t r = 0; r < n_rows; r++)
            for (int64_t col = 0; col <= first + r; col++)
                scores[(h * n_rows + r) * n_blocks + col] =
                    rule->score == SB_ORACLE_MEAN ? mean_product(o, rule, h, first + r, col)
                                                  : antidiagonal(o, rule, h, first + r, col);
    return scores;
}

/* The largest L2 norm of the values [t0, t1) of a kv head. */
static double max_norm(const sb_oracle *o, int64_t kv, int64_t t0, int64_t t1)
{
    double largest = 0;
    for (int64_t t = t0; t < t1 && t < o->kv_len; t++) {
        const double *v = o->v + (kv * o->kv_len + t) * o->dim_v;
        largest = fmax(largest, sqrt(dot(v, v, o->dim_v)));
    }
    return largest;
}

static void paper_bonus(const sb_oracle *o, const sb_oracle_rule *rule, int64_t kv, double *bonus)
{
    for (int64_t J = 0; J < sb_oracle_n_blocks(o, rule->block); J++) {
        double largest = max_norm(o, kv, J * rule->block, (J + 1) * rule->block);
        bonus[J] = largest > 1 ? log(largest) : 0;
    }
}

/* Mean and deviation are those of the whole groups, but a last partial group counts as well. */
static void released_bonus(const sb_oracle *o, const sb_oracle_rule *rule, int64_t kv,
                           double *bonus)
{
    int64_t S = rule->stride, n_whole = o->kv_len / S, n_groups = (o->kv_len + S - 1) / S;
    double *l = sb_oracle_calloc(n_groups, sizeof *l), mean = 0, square = 0;
    for (int64_t g = 0; g < n_groups; g++)
        l[g] = log(max_norm(o, kv, g * S, (g + 1) * S) + 1e-6);
    for (int64_t g = 0; g < n_whole; g++)
        mean += l[g] / (double)n_whole;
    for (int64_t g = 0; g < n_whole; g++)
        square += (l[g] - mean) * (l[g] - mean);
    double deviation = n_whole > 1 ? sqrt(square / (double)(n_whole - 1)) : 0;
    for (int64_t g = 0; g < n_groups; g++) {
        double z = (l[g] - mean) / (deviation + 1e-6);
        if (z > 0)
            bonus[g * S / rule->block] += z * (double)S / (double)rule->block;
    }
    free(l);
}

double *sb_oracle_bonus(const sb_oracle *o, const sb_oracle_rule *rule)
{
    int64_t n_blocks = sb_oracle_n_blocks(o, rule->block);
    double *bonus = sb_oracle_calloc(o->n_kv_heads * n_blocks, sizeof *bonus);
    for (int64_t kv = 0; kv < o->n_kv_heads; kv++) {
        if (rule->value == SB_ORACLE_PAPER)
            paper_bonus(o, rule, kv, bonus + kv * n_blocks);
        else if (rule->value != SB_ORACLE_NONE)
            released_bonus(o, rule, kv, bonus + kv * n_blocks);
    }
    return bonus;
}

static bool forced(const sb_oracle *o, const sb_oracle_rule *rule, int64_t row, int64_t col)
{
    return o->layer < rule->dense_layers || col < rule->sinks || row - rule->window < col;
}

/* Keeps the k largest of metric [row + 1], then the forced blocks; the k-th largest. */
static double select_row(const sb_oracle *o, const sb_oracle_rule *rule, int64_t row, int64_t k,
                         const double *metric, bool *keep)
{
    int64_t best = -1;
    for (int64_t taken = 0; taken < k; taken++) {
        best = -1;
        for (int64_t J = 0; J <= row; J++)
            if (!keep[J] && (best < 0 || (float)metric[J] > (float)metric[best]))
                best = J;
        keep[best] = true;
    }
    for (int64_t J = 0; J <= row; J++)
        keep[J] = keep[J] || forced(o, rule, row, J);
    return metric[best];
}

sb_oracle_choice sb_oracle_select(const sb_oracle *o, const sb_oracle_rule *rule,
                                  const double *scores, const double *bonus)
{
    int64_t first = sb_oracle_first_row(o, rule->block);
    int64_t n_rows = sb_oracle_n_rows(o, rule->block);
    int64_t n_blocks = sb_oracle_n_blocks(o, rule->block), group = o->n_heads / o->n_kv_heads;
    int64_t n_lists = o->n_heads * n_rows;
    int64_t *k = sb_oracle_budgets(rule, o->prompt_len);
    bool unscaled = rule->value == SB_ORACLE_HPC && rule->score != SB_ORACLE_MASS;
    double unit = unscaled ? (double)rule->stride / o->scale : 1;
    sb_oracle_choice c = {.metric = sb_oracle_calloc(n_lists * n_blocks, sizeof *c.metric),
                          .threshold = sb_oracle_calloc(n_lists, sizeof *c.threshold),
                          .keep = sb_oracle_calloc(n_lists * n_blocks, sizeof *c.keep)};
    for (int64_t i = 0; i < n_lists; i++) {
        int64_t row = first + i % n_rows, kv = i / n_rows / group;
        double *metric = c.metric + i * n_blocks;
        for (int64_t J = 0; J <= row; J++)
            metric[J] = unit * scores[i * n_blocks + J] + rule->beta * bonus[kv * n_blocks + J];
        c.threshold[i] = select_row(o, rule, row, k[row], metric, c.keep + i * n_blocks);
    }
    free(k);
    return c;
}

void sb_oracle_choice_free(sb_oracle_choice *c)
{
    free(c->keep);
    free(c->threshold);
    free(c->metric);
    *c = (sb_oracle_choice){0};
}

double sb_oracle_attend(const sb_oracle *o, int64_t block, int64_t h, int64_t t, const bool *keep,
                        double *out)
{
    int64_t position = o->kv_len - o->q_len + t, kv = h / (o->n_heads / o->n_kv_heads);
    const double *q = o->q + (h * o->q_len + t) * o->dim;
    double *s = sb_oracle_calloc(position + 1, sizeof *s), largest = -INFINITY, sum = 0;
    for (int64_t j = 0; j <= position; j++) {
        s[j] = keep[j / block] ? o->scale * dot(q, key_at(o, h, j), o->dim) : -INFINITY;
        largest = fmax(largest, s[j]);
    }
    memset(out, 0, (size_t)o->dim_v * sizeof *out);
    for (int64_t j = 0; j <= position; j++) {
        if (!keep[j / block])
            continue;
        double weight = exp(s[j] - largest);
        sum += weight;
        for (int64_t c = 0; c < o->dim_v; c++)
            out[c] += weight * o->v[(kv * o->kv_len + j) * o->dim_v + c];
    }
    for (int64_t c = 0; c < o->dim_v; c++)
        out[c] /= sum;
    free(s);
    return largest + log(sum);
}
