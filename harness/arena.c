#include "harness/arena.h"

#include <stdbool.h>
#include <string.h>

#include "harness/mem.h"

enum { ALIGN = 16, CHUNK_BYTES = 1 << 16, MAX_BYTES = 1 << 29 };

typedef struct chunk {
    struct chunk *next;
    size_t used, bytes;
    size_t unused; /* keeps the payload behind the header aligned */
} chunk;

_Static_assert(sizeof(chunk) % ALIGN == 0, "the payload follows the header");

struct sb_arena {
    chunk *head;
    size_t bytes; /* of all chunks */
};

struct sb_arena *sb_arena_new(void)
{
    return sb_alloc(1, sizeof(struct sb_arena));
}

void sb_arena_free(struct sb_arena *arena)
{
    if (!arena)
        return;
    for (chunk *c = arena->head, *next; c; c = next) {
        next = c->next;
        sb_free(c);
    }
    sb_free(arena);
}

/* A chunk of its own goes behind the head, whose free space stays in use. */
static chunk *add_chunk(struct sb_arena *arena, size_t bytes)
{
    bool own = bytes > CHUNK_BYTES / 4;
    size_t capacity = own ? bytes : CHUNK_BYTES;
    if (capacity > MAX_BYTES - arena->bytes)
        return NULL;
    chunk *c = sb_alloc((int64_t)(sizeof *c + capacity), 1);
    if (!c)
        return NULL;
    c->bytes = capacity;
    arena->bytes += capacity;
    chunk **link = own && arena->head ? &arena->head->next : &arena->head;
    c->next = *link;
    *link = c;
    return c;
}

void *sb_arena_alloc(struct sb_arena *arena, int64_t n, size_t elem_bytes)
{
    if (n < 0 || (uint64_t)n > (SIZE_MAX / 4) / elem_bytes)
        return NULL;
    size_t bytes = ((size_t)n * elem_bytes + ALIGN - 1) / ALIGN * ALIGN;
    chunk *c = arena->head;
    if (!c || c->bytes - c->used < bytes)
        c = add_chunk(arena, bytes);
    if (!c)
        return NULL;
    unsigned char *block = (unsigned char *)(c + 1) + c->used;
    c->used += bytes;
    return block;
}

char *sb_arena_text(struct sb_arena *arena, const char *text, size_t n)
{
    char *copy = sb_arena_alloc(arena, (int64_t)n + 1, 1);
    if (copy)
        memcpy(copy, text, n);
    return copy;
}
