#include "harness/metrics.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "harness/mem.h"

/* What one (head, query) row contributes. */
typedef struct row_stats {
    double err2, ref2, out2, dot;
    double max_abs;
    double lse_diff; /* LSE - LSE_ref */
} row_stats;

static row_stats compare_row(const float *o, const float *ref, int64_t dim, double lse_diff)
{
    row_stats s = {.lse_diff = lse_diff};
    for (int64_t c = 0; c < dim; c++) {
        double x = (double)o[c], y = (double)ref[c], diff = x - y;
        s.err2 += diff * diff;
        s.ref2 += y * y;
        s.out2 += x * x;
        s.dot += x * y;
        s.max_abs = fabs(diff) > s.max_abs ? fabs(diff) : s.max_abs;
    }
    return s;
}

/* ||error|| / ||reference||; an error against a zero reference is infinite. */
static double relative(double err2, double ref2)
{
    return err2 == 0 ? 0 : sqrt(err2 / ref2);
}

/* Two zero vectors agree; a zero and another one do not. */
static double cosine(const row_stats *s)
{
    if (s->out2 == 0 || s->ref2 == 0)
        return s->out2 == s->ref2 ? 1 : 0;
    double x = s->dot / (sqrt(s->out2) * sqrt(s->ref2));
    return x > 1 ? 1 : x;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest element with at least a share q of all elements at or below it. */
static double percentile(const double *sorted, int64_t n, double q)
{
    int64_t rank = (int64_t)ceil(q * (double)n);
    return sorted[rank > 0 ? rank - 1 : 0];
}

static void compare_rows(const sb_problem *p, const sb_outputs *out, const sb_reference *ref,
                         int n_threads, float *buffers, row_stats *stats)
{
    int64_t n_rows = ref->n_rows, bytes = (int64_t)sb_dtype_bytes(p->dtype);
#pragma omp parallel num_threads(n_threads)
    {
        float *o = buffers + omp_get_thread_num() * p->dim_v;
#pragma omp for
        for (int64_t i = 0; i < p->n_heads * n_rows; i++) {
            int64_t at = i / n_rows * p->q_len + ref->rows[i % n_rows];
            sb_to_f32(p->dtype, (const char *)out->o + at * p->dim_v * bytes, o, p->dim_v);
            stats[i] =
                compare_row(o, ref->o + i * p->dim_v, p->dim_v, (double)out->lse[at] - ref->lse[i]);
        }
    }
}

static sb_status check_finite(const sb_reference *ref, const row_stats *stats, sb_err *err)
{
    for (int64_t i = 0; i < ref->n_heads * ref->n_rows; i++) {
        const char *what = !isfinite(stats[i].out2)       ? "output"
                           : !isfinite(stats[i].lse_diff) ? "LSE"
                                                          : NULL;
        if (what)
            return sb_fail(err, SB_INTERNAL, "%s of head %lld, query %lld is not finite", what,
                           (long long)(i / ref->n_rows), (long long)ref->rows[i % ref->n_rows]);
    }
    return SB_OK;
}

/* Sums over some of the rows. */
typedef struct total {
    double err2, ref2, recall;
    int64_t n;
} total;

static void add_row(total *t, const row_stats *s)
{
    t->err2 += s->err2;
    t->ref2 += s->ref2;
    t->recall += exp(s->lse_diff);
    t->n++;
}

static void sum_up(const sb_reference *ref, const row_stats *stats, double *errors, total *bins,
                   sb_fidelity *fid)
{
    int64_t n = ref->n_heads * ref->n_rows;
    total all = {0};
    fid->cosine_min = 1;
    for (int64_t h = 0; h < ref->n_heads; h++) {
        total head = {0};
        for (int64_t r = 0; r < ref->n_rows; r++) {
            const row_stats *s = &stats[h * ref->n_rows + r];
            double similar = cosine(s);
            add_row(&all, s);
            add_row(&head, s);
            add_row(&bins[ref->rows[r] / fid->bin_tokens], s);
            errors[h * ref->n_rows + r] = relative(s->err2, s->ref2);
            fid->cosine_mean += similar / (double)n;
            fid->cosine_min = fmin(fid->cosine_min, similar);
            fid->max_abs = fmax(fid->max_abs, s->max_abs);
            fid->lse_err += fabs(s->lse_diff) / (double)n;
        }
        fid->head_rel_l2[h] = relative(head.err2, head.ref2);
        fid->head_mass_recall[h] = head.recall / (double)head.n;
    }
    for (int64_t i = 0; i < fid->n_bins; i++) {
        fid->pos_rel_l2[i] = bins[i].n ? relative(bins[i].err2, bins[i].ref2) : (double)NAN;
        fid->pos_mass_recall[i] = bins[i].recall / (double)bins[i].n;
    }
    qsort(errors, (size_t)n, sizeof *errors, ascending);
    fid->rel_l2 = relative(all.err2, all.ref2);
    fid->rel_l2_p50 = percentile(errors, n, .5);
    fid->rel_l2_p95 = percentile(errors, n, .95);
    fid->rel_l2_max = errors[n - 1];
    fid->mass_recall = all.recall / (double)n;
}

static sb_status make_fidelity(int64_t n_heads, int64_t n_bins, int64_t bin_tokens,
                               sb_fidelity *fid, sb_err *err)
{
    *fid = (sb_fidelity){.n_heads = n_heads, .n_bins = n_bins, .bin_tokens = bin_tokens};
    fid->head_rel_l2 = sb_alloc(n_heads, sizeof *fid->head_rel_l2);
    fid->head_mass_recall = sb_alloc(n_heads, sizeof *fid->head_mass_recall);
    fid->pos_rel_l2 = sb_alloc(n_bins, sizeof *fid->pos_rel_l2);
    fid->pos_mass_recall = sb_alloc(n_bins, sizeof *fid->pos_mass_recall);
    if (fid->head_rel_l2 && fid->head_mass_recall && fid->pos_rel_l2 && fid->pos_mass_recall)
        return SB_OK;
    return sb_no_memory(err, "fidelity arrays");
}

void sb_fidelity_free(sb_fidelity *fid)
{
    sb_free(fid->pos_mass_recall);
    sb_free(fid->pos_rel_l2);
    sb_free(fid->head_mass_recall);
    sb_free(fid->head_rel_l2);
    *fid = (sb_fidelity){0};
}

sb_status sb_fidelity_measure(const sb_problem *p, const sb_outputs *out, const sb_reference *ref,
                              int64_t bin_tokens, int n_threads, sb_fidelity *fid, sb_err *err)
{
    sb_status st = SB_OK;
    row_stats *stats = NULL;
    float *buffers = NULL;
    double *errors = NULL;
    total *bins = NULL;
    int64_t n = ref->n_heads * ref->n_rows, n_bins = sb_ceil_div(p->q_len, bin_tokens);
    *fid = (sb_fidelity){0};

    SB_CHECK(p->n_batch == 1 && p->n_heads == ref->n_heads && p->dim_v == ref->dim_v &&
                 ref->n_rows > 0 && ref->rows[ref->n_rows - 1] < p->q_len,
             err, SB_USAGE, "the reference is of another shape than the output");
    SB_TRY(make_fidelity(p->n_heads, n_bins, bin_tokens, fid, err));
    stats = sb_alloc_uninit(n, sizeof *stats);
    buffers = sb_alloc_uninit(n_threads * p->dim_v, sizeof *buffers);
    errors = sb_alloc_uninit(n, sizeof *errors);
    bins = sb_alloc(n_bins, sizeof *bins);
    if (!stats || !buffers || !errors || !bins)
        SB_TRY(sb_no_memory(err, "comparing with the reference"));
    compare_rows(p, out, ref, n_threads, buffers, stats);
    SB_TRY(check_finite(ref, stats, err));
    sum_up(ref, stats, errors, bins, fid);
out:
    sb_free(bins);
    sb_free(errors);
    sb_free(buffers);
    sb_free(stats);
    if (st != SB_OK)
        sb_fidelity_free(fid);
    return st;
}
