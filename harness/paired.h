#ifndef SB_PAIRED_H
#define SB_PAIRED_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SB_PAIRED_MIN = 4 }; /**< pairs from which on there is an interval */

/** Running mean and squared deviations of log ratios. Start it as {0}. */
typedef struct sb_paired {
    int64_t n;
    double mean, squares;
} sb_paired;

/** What n pairs say of the ratio of one to the other. */
typedef struct sb_ratio {
    int64_t n;
    double ratio;  /**< geometric mean; NaN without a pair */
    double lo, hi; /**< 95 % t interval of it; NaN below SB_PAIRED_MIN pairs */
} sb_ratio;

/** Add the pair x / y; one that is not positive and finite on both sides is left out. */
void sb_paired_add(sb_paired *p, double x, double y);

/** Add the pairs x[i] / y[i]. */
void sb_paired_add_all(sb_paired *p, const double *x, const double *y, int64_t n);

sb_ratio sb_paired_ratio(const sb_paired *p);

/** What |T| stays below with probability 0.95 where T has Student's distribution with `freedom` >=
 * 1 degrees of freedom. */
double sb_student_95(int64_t freedom);

#ifdef __cplusplus
}
#endif
#endif
