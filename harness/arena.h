#ifndef SB_ARENA_H
#define SB_ARENA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sb_arena;

/** Make an empty arena: memory that is freed all at once, and never more than 512 MiB. NULL when
 *  memory runs out. */
struct sb_arena *sb_arena_new(void);

/** Free everything that came from the arena, and the arena. NULL is allowed. */
void sb_arena_free(struct sb_arena *arena);

/** Allocate n zeroed elements, aligned to 16 bytes; NULL when memory runs out. */
void *sb_arena_alloc(struct sb_arena *arena, int64_t n, size_t elem_bytes);

/** Copy n bytes and end them with a NUL; NULL when memory runs out. */
char *sb_arena_text(struct sb_arena *arena, const char *text, size_t n);

#ifdef __cplusplus
}
#endif
#endif
