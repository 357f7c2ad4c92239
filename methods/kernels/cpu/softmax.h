#ifndef SB_CPU_SOFTMAX_H
#define SB_CPU_SOFTMAX_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Row softmax for selection: float32 in one fixed order, the same bits with every instruction set.
 */

/** Largest of x [n]; -INFINITY when n is 0. No NaN among them. */
float sb_row_max(const float *x, int64_t n);

/** x[i] = exp(x[i] - max) for x [n], within 2 ulp, 0 below exp(-87); returns their sum. All 0 when
 *  max is -INFINITY. */
float sb_row_exp(float *x, int64_t n, float max);

#ifdef __cplusplus
}
#endif
#endif
