#ifndef SB_CPU_SELECT_H
#define SB_CPU_SELECT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Keep the k largest of score [n] (ties: the lower index), the first `sinks` and the last `window`
 * indices; write them ascending to col and return how many. NaN ranks below everything and -0
 * equals +0. key [n] is scratch. Expected cost O(n).
 */
int64_t sb_topk_row(const float *score, int64_t n, int64_t k, int64_t sinks, int64_t window,
                    uint32_t *key, int32_t *col);

#ifdef __cplusplus
}
#endif
#endif
