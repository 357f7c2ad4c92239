#ifndef SB_KEYS_H
#define SB_KEYS_H

#include <stdint.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A growing list of keys. */
typedef struct sb_keys {
    uint64_t *list;
    int64_t n, capacity;
} sb_keys;

sb_status sb_keys_push(sb_keys *keys, uint64_t key, sb_err *err);

/** Sort, so that sb_keys_count can search. */
void sb_keys_sort(sb_keys *keys);

/** How often a key is in a sorted list. */
int64_t sb_keys_count(const sb_keys *keys, uint64_t key);

#ifdef __cplusplus
}
#endif
#endif
