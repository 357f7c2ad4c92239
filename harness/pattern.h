#ifndef SB_PATTERN_H
#define SB_PATTERN_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * For each (sequence, query head, row): the ascending list of kept key blocks, as CSR.
 * List (b, h, r) is col[row_ptr[i]] .. col[row_ptr[i + 1] - 1] with i = (b H + h) n_rows + r.
 * Rows past a shorter sequence's last are empty.
 */
typedef struct sb_pattern {
    int64_t n_batch;
    int64_t n_heads;
    int64_t n_rows;   /**< rows of the longest sequence */
    int64_t block;    /**< query and key block size, tokens */
    int64_t capacity; /**< elements that col can hold */
    int64_t *row_ptr; /**< [B H n_rows + 1] */
    int32_t *col;     /**< [row_ptr[B H n_rows]] */
    /** Of a pattern of tokens, for each entry of col the tokens kept of that key block (bit i: its
     *  token i), at least one; block is SB_TOKEN_BLOCK. NULL: whole blocks. Queries of the row see
     *  those at or before themselves, and the diagonal keeps each query's own token. */
    uint64_t *tokens;
} sb_pattern;

enum { SB_TOKEN_BLOCK = 64 };

/** What a pattern amounts to. All counts sum over sequences and query heads. */
typedef struct sb_pattern_stats {
    int64_t blocks;        /**< kept blocks, those of which only some tokens are kept included */
    int64_t causal_blocks; /**< all causal blocks */
    double pairs;          /**< attended (query, key) token pairs, causal mask applied */
    double causal_pairs;   /**< all causal pairs */
    double tile_pairs;     /**< pairs of whole executed tiles: blocks x block^2; of a pattern of
                                tokens kept tokens x block */
    double density;        /**< blocks / causal_blocks; of a pattern of tokens kept tokens / those
                                of the causal blocks */
    double pair_density;   /**< pairs / causal_pairs */
} sb_pattern_stats;

/** Allocate a pattern for `capacity` blocks over all heads; empty rows. */
sb_status sb_pattern_alloc(const sb_problem *p, int64_t block, int64_t capacity, sb_pattern *pat,
                           sb_err *err);

/** Make it a pattern of tokens, all kept; block must be SB_TOKEN_BLOCK. */
sb_status sb_pattern_add_tokens(sb_pattern *pat, sb_err *err);

/** Free a pattern's arrays and zero it. */
void sb_pattern_free(sb_pattern *pat);

/** Number of causal blocks of a problem over all sequences and query heads. */
int64_t sb_causal_blocks(const sb_problem *p, int64_t block);

/** Index of list (b, h, r) in row_ptr. */
static inline int64_t sb_pattern_row(const sb_pattern *pat, int64_t b, int64_t h, int64_t r)
{
    return (b * pat->n_heads + h) * pat->n_rows + r;
}

/** Tokens that key block j of sequence b has: fewer than `block` in its last, partial one. */
static inline int64_t sb_block_tokens(const sb_problem *p, int64_t b, int64_t block, int64_t j)
{
    int64_t left = sb_kv_len(p, b) - j * block;
    return left < block ? left : block;
}

/** The lowest n bits, n <= SB_TOKEN_BLOCK: as a mask, the first n tokens of a block. */
static inline uint64_t sb_first_tokens(int64_t n)
{
    return n < SB_TOKEN_BLOCK ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
}

/** Tokens in a mask. */
static inline int64_t sb_count_tokens(uint64_t mask)
{
    return __builtin_popcountll(mask);
}

/** Share of its block's tokens that entry i of col keeps, of sequence 0. */
static inline double sb_kept_share(const sb_problem *p, const sb_pattern *pat, int64_t i)
{
    if (!pat->tokens)
        return 1;
    return (double)sb_count_tokens(pat->tokens[i]) /
           (double)sb_block_tokens(p, 0, pat->block, pat->col[i]);
}

/** Fill with every causal block, and all tokens of each. Needs capacity for all of them. */
void sb_pattern_fill_causal(const sb_problem *p, sb_pattern *pat);

/** Check: lists causal, ascending, unique, diagonal block kept, no empty valid row; of a pattern of
 *  tokens also what sb_pattern.tokens says. SB_INTERNAL with the first offending list. */
sb_status sb_pattern_check(const sb_problem *p, const sb_pattern *pat, sb_err *err);

sb_pattern_stats sb_pattern_measure(const sb_problem *p, const sb_pattern *pat);

/** 64-bit FNV-1a hash over the block size, row_ptr, col and, of a pattern of tokens, tokens as
 *  little-endian integers. A pattern of tokens that keeps all of them has a hash of its own. */
uint64_t sb_pattern_hash(const sb_pattern *pat);

#ifdef __cplusplus
}
#endif
#endif
