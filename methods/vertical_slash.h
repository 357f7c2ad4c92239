#ifndef SB_VERTICAL_SLASH_H
#define SB_VERTICAL_SLASH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Key columns and diagonals that one head keeps: key j of query i where j is a column or i - j a
 *  diagonal. Both ascend; offset 0 is among the diagonals. */
typedef struct sb_lines {
    const int32_t *vertical, *slash;
    int64_t n_vertical, n_slash;
} sb_lines;

/** Pairs (i, j), j <= i, of queries start .. n - 1. */
int64_t sb_lines_pairs(const sb_lines *l, int64_t start, int64_t n);

/** Set bits[J] = 1 for each block J with any pair of the queries from .. to - 1, of one block. */
void sb_lines_mark_blocks(const sb_lines *l, int64_t block, int64_t from, int64_t to,
                          uint64_t *bits);

/**
 * Set bit j % 64 of bits[j / 64] for each key j that MInference's kernel visits for the tile of 64
 * queries that ends before `end`, a multiple of 64; n = min(end, keys). A diagonal becomes a run of
 * 64 keys, not aligned to 64; a run grows by 64 keys where the next starts inside or right after
 * it.
 *
 * Source: microsoft/MInference fb56c91, csrc/vertical_slash_index.cu.
 */
void sb_lines_mark_tokens(const sb_lines *l, int64_t end, int64_t n, uint64_t *bits);

#ifdef __cplusplus
}
#endif
#endif
