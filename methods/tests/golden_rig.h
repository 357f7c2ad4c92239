#ifndef SB_TESTS_GOLDEN_RIG_H
#define SB_TESTS_GOLDEN_RIG_H

/* What the tests against stored masks share: a group's attributes and sets, its inputs generated
 * anew, and the count of blocks in which a pattern differs. Files and generator: data/README.md. */

#include <hdf5.h>

#include "methods/tests/rig.h"

/** One group of a file of masks, with its inputs. */
typedef struct sb_golden {
    hid_t group;
    int64_t tokens, dim, heads, kv_heads, block;
    int64_t n_lists; /**< of the stored mask: heads x block rows */
    uint16_t *q, *k,
        *v;     /**< bfloat16 [heads, tokens, dim]; v is NULL where it plays no part: k in `rig` */
    sb_rig rig; /**< the same as a problem; owns nothing */
} sb_golden;

/** Generate a group's inputs. Free with sb_golden_free; the group stays open. */
sb_golden sb_golden_load(hid_t group);
void sb_golden_free(sb_golden *g);

/** Whether tensor 'q', 'k' or 'v' has the sum and the first elements that the group states. */
bool sb_golden_as_stated(const sb_golden *g, char tensor);

/* Attributes, which must be there; numbers may be stored as either kind. */
int64_t sb_golden_int(hid_t group, const char *name);
double sb_golden_real(hid_t group, const char *name);

/** A whole dataset of the group; *n elements, to be freed. */
void *sb_golden_read(hid_t group, const char *name, hid_t type, size_t bytes, int64_t *n);

/** A stored mask: list i is col[row_ptr[i]] .. col[row_ptr[i + 1] - 1]. */
typedef struct sb_golden_mask {
    int64_t n_lists, *row_ptr;
    int32_t *col;
} sb_golden_mask;

sb_golden_mask sb_golden_mask_read(hid_t group, const char *row_ptr, const char *col);
void sb_golden_mask_free(sb_golden_mask *mask);

/** Blocks in one and not in the other; -1 where the numbers of lists differ. */
int64_t sb_golden_differing(const sb_golden_mask *mask, const sb_pattern *pat);

/** The float32 value of a bfloat16. */
float sb_golden_widen(uint16_t half);

#endif
