#include "harness/keys.h"

#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"

sb_status sb_keys_push(sb_keys *keys, uint64_t key, sb_err *err)
{
    void *grown = sb_grow(keys->list, keys->n, &keys->capacity, sizeof *keys->list);
    if (!grown)
        return sb_no_memory(err, "the cells' keys");
    keys->list = grown;
    keys->list[keys->n++] = key;
    return SB_OK;
}

static int ascending(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

void sb_keys_sort(sb_keys *keys)
{
    if (keys->n > 1)
        qsort(keys->list, (size_t)keys->n, sizeof *keys->list, ascending);
}

/* Number of keys below a bound. */
static int64_t n_below(const sb_keys *keys, uint64_t bound)
{
    int64_t lo = 0, hi = keys->n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (keys->list[mid] < bound)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool sb_keys_has(const sb_keys *keys, uint64_t key)
{
    int64_t i = n_below(keys, key);
    return i < keys->n && keys->list[i] == key;
}

sb_status sb_keys_add(sb_keys *keys, uint64_t key, sb_err *err)
{
    if (sb_keys_has(keys, key))
        return SB_OK;
    int64_t i = n_below(keys, key);
    sb_status st = sb_keys_push(keys, key, err);
    if (st != SB_OK)
        return st;
    memmove(&keys->list[i + 1], &keys->list[i], (size_t)(keys->n - 1 - i) * sizeof *keys->list);
    keys->list[i] = key;
    return SB_OK;
}

int64_t sb_keys_count(const sb_keys *keys, uint64_t key)
{
    int64_t above = key < UINT64_MAX ? n_below(keys, key + 1) : keys->n;
    return above - n_below(keys, key);
}
