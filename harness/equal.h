#ifndef SB_EQUAL_H
#define SB_EQUAL_H

#include <stdint.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Makes the text that stands for thing i, for sb_free; NULL when memory runs out. */
typedef char *sb_text_of(const void *things, int64_t i);

/** Find for each of n things the first with the same text, first [n], in n log n steps.
 *  SB_NO_MEMORY. */
sb_status sb_first_equal(const void *things, int64_t n, sb_text_of *text, int64_t *first,
                         sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
