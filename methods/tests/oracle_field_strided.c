/* The oracle of the selections by scores of strided queries and keys: XAttention, CoSA. */

#include <math.h>
#include <stdlib.h>

#include "methods/tests/oracle_field.h"

/* A[i, j] = scale / S sum_t q[S i + S - 1 - t] . k[S j + t] for groups j <= i of S tokens; tokens
 * that do not exist are 0. */
static double strided(const sb_oracle *o, int64_t h, int64_t S, int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t t = 0; t < S; t++) {
        int64_t q = S * i + S - 1 - t, k = S * j + t;
        if (q < o->q_len && k < o->kv_len)
            sum +=
                sb_field_dot(sb_field_q(o, h) + q * o->dim, sb_field_k(o, h) + k * o->dim, o->dim);
    }
    return o->scale / (double)S * sum;
}

/* Row i of A, [i + 1]. */
static void strided_row(const sb_oracle *o, int64_t h, int64_t S, int64_t i, double *a)
{
    for (int64_t j = 0; j <= i; j++)
        a[j] = strided(o, h, S, i, j);
}

static int64_t n_groups_of(const sb_oracle *o, int64_t S)
{
    return (o->q_len + S - 1) / S;
}

/* Keeps blocks of `order` [n] while the mass before them is under `need`. Before the first is
 * `start`; `lag`: the mass before is that before the previous one, and none before the first. */
static void keep_while(const double *mass, const int64_t *order, int64_t n, double start, bool lag,
                       double need, double total, bool *keep, double *margin)
{
    double before = start, lagging = start;
    for (int64_t at = 0; at < n; at++) {
        double counted = !lag ? before : at == 0 ? 0 : lagging;
        sb_field_near(margin, counted, need, total);
        if (!(counted < need)) {
            if (at > 0 && mass[order[at - 1]] > 0)
                sb_field_near(margin, mass[order[at - 1]], mass[order[at]], mass[order[at - 1]]);
            return;
        }
        keep[order[at]] = true;
        lagging = before;
        before += mass[order[at]];
    }
}

/* Row I of the mask from its mass [I + 1]. */
static void xattention_row(const double *mass, int64_t I, double threshold, bool first_chunk,
                           bool *keep, double *margin)
{
    int64_t *order = sb_field_order(mass, I + 1), n = 0;
    double total = 0;
    for (int64_t J = 0; J <= I; J++)
        total += mass[J];
    for (int64_t at = 0; at <= I; at++)
        if (order[at] != I && (first_chunk || order[at] != 0))
            order[n++] = order[at];
    double start = mass[I] + (first_chunk || I == 0 ? 0 : mass[0]);
    keep_while(mass, order, n, start, first_chunk, threshold * total, total, keep, margin);
    keep[0] = keep[I] = true;
    free(order);
}

sb_field_choice sb_field_xattention(const sb_oracle *o, int64_t block, int64_t stride,
                                    double threshold, int64_t chunk)
{
    sb_field_choice c = sb_field_choose_none(o, block, false);
    int64_t R = block / stride, n_groups = n_groups_of(o, stride);
    double *a = sb_oracle_calloc(n_groups + c.n_rows, sizeof *a), *mass = a + n_groups;
    for (int64_t list = 0; list < c.n_lists; list++) {
        int64_t h = list / c.n_rows, I = list % c.n_rows;
        for (int64_t J = 0; J <= I; J++)
            mass[J] = 0;
        for (int64_t i = I * R; i < (I + 1) * R && i < n_groups; i++) {
            strided_row(o, h, stride, i, a);
            sb_field_softmax(a, i + 1);
            for (int64_t j = 0; j <= i; j++)
                mass[j / R] += a[j];
        }
        xattention_row(mass, I, threshold, I < chunk / block, c.keep + list * c.n_rows,
                       &c.margin[list]);
    }
    free(a);
    return c;
}

/* Adds what strided row i [i + 1] gives to the blocks it sees. */
static void cosa_add(const double *a, int64_t i, int64_t R, double *mass, bool *flag,
                     double *margin)
{
    double max = -INFINITY;
    for (int64_t j = 0; j <= i; j++)
        max = fmax(max, a[j]);
    for (int64_t J = 0; J <= i / R; J++) {
        double largest = -INFINITY;
        for (int64_t j = J * R; j < (J + 1) * R && j <= i; j++)
            largest = fmax(largest, a[j]);
        double e = exp(largest - max);
        mass[J] += e;
        flag[J] = flag[J] || e >= 1 - 1e-3;
        sb_field_near(margin, e, 1 - 1e-3, 1);
    }
}

/* Forced blocks first, then those flagged, then by mass. */
static void cosa_row(const double *mass, const bool *flag, int64_t I, double top_p, bool *keep,
                     double *margin)
{
    double total = 0, before = 0;
    int64_t *order = sb_field_order(mass, I + 1), previous = -1;
    for (int64_t J = 0; J <= I; J++)
        total += mass[J];
    for (int rank = 0; rank < 3; rank++)
        for (int64_t at = 0; at <= I; at++) {
            int64_t J = order[at];
            if (rank != (J == 0 || J == I ? 0 : flag[J] ? 1 : 2))
                continue;
            if (rank > 0)
                sb_field_near(margin, before, top_p * total, total);
            bool kept = rank == 0 || before < top_p * total;
            if (!kept && previous >= 0 && keep[previous] && flag[previous] == flag[J])
                sb_field_near(margin, mass[previous], mass[J], mass[previous]);
            keep[J] = kept;
            previous = rank > 0 ? J : -1;
            before += mass[J];
        }
    free(order);
}

sb_field_choice sb_field_cosa(const sb_oracle *o, int64_t block, int64_t stride, double top_p)
{
    sb_field_choice c = sb_field_choose_none(o, block, false);
    int64_t R = block / stride, n_groups = n_groups_of(o, stride);
    double *a = sb_oracle_calloc(n_groups + c.n_rows, sizeof *a), *mass = a + n_groups;
    bool *flag = sb_oracle_calloc(c.n_rows, sizeof *flag);
    for (int64_t list = 0; list < c.n_lists; list++) {
        int64_t h = list / c.n_rows, I = list % c.n_rows;
        for (int64_t J = 0; J <= I; J++)
            mass[J] = flag[J] = 0;
        for (int64_t i = I * R; i < (I + 1) * R && i < n_groups; i++) {
            strided_row(o, h, stride, i, a);
            cosa_add(a, i, R, mass, flag, &c.margin[list]);
        }
        cosa_row(mass, flag, I, top_p, c.keep + list * c.n_rows, &c.margin[list]);
    }
    free(flag);
    free(a);
    return c;
}
