#include "harness/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A 64-byte header in front of each block keeps its size for sb_realloc and keeps the block
 * aligned to a cache line and to the widest vector register. */
enum { HEADER = 64 };

/* Tensors of this size and more ask for huge pages: kept blocks are read at random, and each 4 KB
 * page costs a walk through the page tables. */
enum { HUGE_PAGE = 2 << 20, LARGE = 2 * HUGE_PAGE };

static atomic_int_fast64_t n_live;
static atomic_int_fast64_t countdown;

static int refused(void)
{
    if (atomic_load_explicit(&countdown, memory_order_relaxed) <= 0)
        return 0;
    return atomic_fetch_sub(&countdown, 1) == 1;
}

static unsigned char *header_of(void *block)
{
    return (unsigned char *)block - HEADER;
}

static unsigned char *allocate(size_t bytes)
{
    size_t align = bytes < LARGE ? HEADER : HUGE_PAGE;
    unsigned char *raw = aligned_alloc(align, (bytes + align - 1) / align * align);
#if defined(MADV_HUGEPAGE)
    if (raw && align == HUGE_PAGE)
        (void)madvise(raw, bytes, MADV_HUGEPAGE); /* without them it works too */
#endif
    return raw;
}

void *sb_alloc_uninit(int64_t n, size_t elem_bytes)
{
    if (n < 0 || elem_bytes == 0 || (uint64_t)n > (SIZE_MAX / 2 - LARGE) / elem_bytes)
        return NULL;
    if (refused())
        return NULL;
    size_t bytes = (size_t)n * elem_bytes;
    unsigned char *raw = allocate(bytes + HEADER);
    if (!raw)
        return NULL;
    memcpy(raw, &bytes, sizeof bytes);
    atomic_fetch_add(&n_live, 1);
    return raw + HEADER;
}

void *sb_alloc(int64_t n, size_t elem_bytes)
{
    void *block = sb_alloc_uninit(n, elem_bytes);
    if (block)
        memset(block, 0, (size_t)n * elem_bytes);
    return block;
}

void sb_free(void *block)
{
    if (!block)
        return;
    atomic_fetch_sub(&n_live, 1);
    free(header_of(block));
}

void *sb_realloc(void *block, int64_t n, size_t elem_bytes)
{
    void *grown = sb_alloc_uninit(n, elem_bytes);
    if (!grown || !block)
        return grown;
    size_t old_bytes;
    memcpy(&old_bytes, header_of(block), sizeof old_bytes);
    size_t new_bytes = (size_t)n * elem_bytes;
    memcpy(grown, block, old_bytes < new_bytes ? old_bytes : new_bytes);
    sb_free(block);
    return grown;
}

void *sb_grow(void *list, int64_t n, int64_t *capacity, size_t elem_bytes)
{
    if (n < *capacity)
        return list;
    int64_t room = *capacity > 0 ? 2 * *capacity : 64;
    void *grown = sb_realloc(list, room, elem_bytes);
    if (grown)
        *capacity = room;
    return grown;
}

char *sb_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = sb_alloc_uninit((int64_t)bytes, 1);
    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}

char *sb_sprintf(const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = n < 0 ? NULL : sb_alloc_uninit((int64_t)n + 1, 1);
    if (text)
        (void)vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

int64_t sb_mem_fail_at(int64_t n)
{
    return atomic_exchange(&countdown, n);
}

int64_t sb_mem_live(void)
{
    return atomic_load(&n_live);
}
