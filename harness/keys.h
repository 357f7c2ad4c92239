#ifndef SB_KEYS_H
#define SB_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A growing list of keys; those who search it keep it ascending. Free `list` with sb_free. */
typedef struct sb_keys {
    uint64_t *list;
    int64_t n, capacity;
} sb_keys;

sb_status sb_keys_push(sb_keys *keys, uint64_t key, sb_err *err);

void sb_keys_sort(sb_keys *keys);

/** Put a key that is not there yet into its place in a sorted list. SB_NO_MEMORY. */
sb_status sb_keys_add(sb_keys *keys, uint64_t key, sb_err *err);

bool sb_keys_has(const sb_keys *keys, uint64_t key);

/** How often a key is in a sorted list. */
int64_t sb_keys_count(const sb_keys *keys, uint64_t key);

#ifdef __cplusplus
}
#endif
#endif
