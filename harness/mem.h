#ifndef SB_MEM_H
#define SB_MEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Allocate `n` zeroed elements of `elem_bytes` each, aligned to 64 bytes.
 * Returns NULL when memory runs out, when n * elem_bytes overflows, or when a test asked for it.
 * n == 0 gives a valid block. Thread-safe.
 */
void *sb_alloc(int64_t n, size_t elem_bytes);

/** As sb_alloc, for large buffers that the caller overwrites whole: the contents are unspecified.
 */
void *sb_alloc_uninit(int64_t n, size_t elem_bytes);

/** Free what sb_alloc or one of the string makers returned. NULL is allowed. */
void sb_free(void *block);

/** Grow or shrink to n elements; new bytes are unspecified. On failure NULL is returned and the
 *  old block stays valid. */
void *sb_realloc(void *block, int64_t n, size_t elem_bytes);

/** Make room for one more in a list of n elements that has room for *capacity: where it is full,
 * twice as many. Returns the list; NULL, the old one staying valid, when memory runs out. */
void *sb_grow(void *list, int64_t n, int64_t *capacity, size_t elem_bytes);

/** Copy a string; NULL when memory runs out. */
char *sb_strdup(const char *text);

/** printf into a fresh string; NULL when memory runs out. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
char *
sb_sprintf(const char *fmt, ...);

/** For tests: make the n-th next allocation (1-based) fail, once; 0 switches it off. Returns what
 *  was left of the count before: 0 when that failure has happened. */
int64_t sb_mem_fail_at(int64_t n);

/** For tests: number of blocks allocated and not yet freed. */
int64_t sb_mem_live(void);

#ifdef __cplusplus
}
#endif
#endif
