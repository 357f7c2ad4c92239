#include "harness/paired.h"

#include <math.h>

/* P(|T| < sqrt(freedom) tan(angle)): a finite sum for whole degrees of freedom (Abramowitz and
 * Stegun 26.7.3 and 26.7.4). */
static double within(double angle, int64_t freedom)
{
    double c = cos(angle), term = 1, sum = 0;
    if (freedom % 2 == 0) {
        for (int64_t k = 0; k < freedom; k += 2) {
            sum += term;
            term *= (double)(k + 1) / (double)(k + 2) * c * c;
        }
        return sin(angle) * sum;
    }
    term = c;
    for (int64_t k = 1; k < freedom; k += 2) {
        sum += term;
        term *= (double)(k + 1) / (double)(k + 2) * c * c;
    }
    return 2 / acos(-1) * (angle + sin(angle) * sum);
}

double sb_student_95(int64_t freedom)
{
    double lo = 0, hi = acos(0);
    for (int i = 0; i < 60; i++) {
        double middle = (lo + hi) / 2;
        if (within(middle, freedom) < .95)
            lo = middle;
        else
            hi = middle;
    }
    return sqrt((double)freedom) * tan(lo);
}

void sb_paired_add(sb_paired *p, double x, double y)
{
    if (!(x > 0) || !(y > 0) || !isfinite(x) || !isfinite(y))
        return;
    double z = log(x / y), before = z - p->mean;
    p->n++;
    p->mean += before / (double)p->n;
    p->squares += before * (z - p->mean);
}

void sb_paired_add_all(sb_paired *p, const double *x, const double *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sb_paired_add(p, x[i], y[i]);
}

sb_ratio sb_paired_ratio(const sb_paired *p)
{
    sb_ratio r = {p->n, p->n > 0 ? exp(p->mean) : NAN, NAN, NAN};
    if (p->n < SB_PAIRED_MIN)
        return r;
    double n = (double)p->n;
    double half = sb_student_95(p->n - 1) * sqrt(p->squares / (n - 1) / n);
    r.lo = exp(p->mean - half);
    r.hi = exp(p->mean + half);
    return r;
}
