#ifndef SB_CPU_ORDER_H
#define SB_CPU_ORDER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * order [n] = the indices of x [n] by descending value, ties to the lower index. NaN comes last and
 * -0 equals +0. room [2 n] is scratch. n < 2^31. Cost O(n).
 */
void sb_order_descending(const float *x, int64_t n, uint64_t *room, int32_t *order);

#ifdef __cplusplus
}
#endif
#endif
