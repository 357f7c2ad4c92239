#include "harness/pattern.h"

#include <inttypes.h>
#include <string.h>

#include "harness/mem.h"

sb_status sb_pattern_alloc(const sb_problem *p, int64_t block, int64_t capacity, sb_pattern *pat,
                           sb_err *err)
{
    int64_t n_rows = sb_max_rows(p, block);
    *pat = (sb_pattern){p->n_batch, p->n_heads, n_rows, block, capacity, NULL, NULL, NULL};
    pat->row_ptr = sb_alloc(p->n_batch * p->n_heads * n_rows + 1, sizeof *pat->row_ptr);
    pat->col = sb_alloc_uninit(capacity, sizeof *pat->col);
    if (pat->row_ptr && pat->col)
        return SB_OK;
    sb_pattern_free(pat);
    return sb_no_memory(err, "a block pattern");
}

sb_status sb_pattern_add_tokens(sb_pattern *pat, sb_err *err)
{
    pat->tokens = sb_alloc_uninit(pat->capacity, sizeof *pat->tokens);
    if (!pat->tokens)
        return sb_no_memory(err, "a token pattern");
    memset(pat->tokens, 0xff, (size_t)pat->capacity * sizeof *pat->tokens);
    return SB_OK;
}

void sb_pattern_free(sb_pattern *pat)
{
    sb_free(pat->tokens);
    sb_free(pat->row_ptr);
    sb_free(pat->col);
    *pat = (sb_pattern){0};
}

int64_t sb_causal_blocks(const sb_problem *p, int64_t block)
{
    int64_t n = 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t first = sb_first_block(p, b, block), end = first + sb_n_rows(p, b, block);
        n += (end * (end + 1) - first * (first + 1)) / 2;
    }
    return n * p->n_heads;
}

void sb_pattern_fill_causal(const sb_problem *p, sb_pattern *pat)
{
    int64_t n = 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t first = sb_first_block(p, b, pat->block), rows = sb_n_rows(p, b, pat->block);
        for (int64_t h = 0; h < p->n_heads; h++)
            for (int64_t r = 0; r < pat->n_rows; r++) {
                for (int64_t j = 0; r < rows && j <= first + r; j++, n++) {
                    pat->col[n] = (int32_t)j;
                    if (pat->tokens)
                        pat->tokens[n] = sb_first_tokens(sb_block_tokens(p, b, pat->block, j));
                }
                pat->row_ptr[sb_pattern_row(pat, b, h, r) + 1] = n;
            }
    }
}

static sb_status check_list(const sb_pattern *pat, int64_t i, int64_t diagonal, sb_err *err)
{
    int64_t from = pat->row_ptr[i], to = pat->row_ptr[i + 1];
    if (from > to || to > pat->capacity)
        return sb_fail(err, SB_INTERNAL, "pattern list %" PRId64 " spans %" PRId64 " to %" PRId64,
                       i, from, to);
    if (diagonal < 0)
        return from == to
                   ? SB_OK
                   : sb_fail(err, SB_INTERNAL, "pattern list %" PRId64 " is past its end", i);
    for (int64_t j = from; j < to; j++)
        if (pat->col[j] < 0 || (j > from && pat->col[j] <= pat->col[j - 1]))
            return sb_fail(err, SB_INTERNAL,
                           "pattern list %" PRId64 " is not ascending at %" PRId64, i, j - from);
    if (from == to || pat->col[to - 1] != diagonal)
        return sb_fail(err, SB_INTERNAL,
                       "pattern list %" PRId64 " does not end with its diagonal block %" PRId64, i,
                       diagonal);
    return SB_OK;
}

/* Masks of row r's list i: tokens that exist, some of each block, and each query's own. */
static sb_status check_tokens(const sb_problem *p, const sb_pattern *pat, int64_t b, int64_t r,
                              int64_t i, sb_err *err)
{
    int64_t from = pat->row_ptr[i], last = pat->row_ptr[i + 1] - 1, t0, t1;
    for (int64_t j = from; j <= last; j++) {
        uint64_t all = sb_first_tokens(sb_block_tokens(p, b, pat->block, pat->col[j]));
        if (pat->tokens[j] == 0 || (pat->tokens[j] & ~all) != 0)
            return sb_fail(err, SB_INTERNAL,
                           "pattern list %" PRId64 " keeps tokens %016" PRIx64 " of block %" PRId32
                           ", which has %016" PRIx64,
                           i, pat->tokens[j], pat->col[j], all);
    }
    sb_row_span(p, b, pat->block, r, &t0, &t1);
    int64_t first = (sb_kv_len(p, b) - sb_q_len(p, b) + t0) % SB_TOKEN_BLOCK;
    uint64_t own = sb_first_tokens(first + t1 - t0) & ~sb_first_tokens(first);
    if ((own & ~pat->tokens[last]) != 0)
        return sb_fail(err, SB_INTERNAL,
                       "pattern list %" PRId64 " keeps tokens %016" PRIx64
                       " of its diagonal block; expected its queries' own %016" PRIx64,
                       i, pat->tokens[last], own);
    return SB_OK;
}

sb_status sb_pattern_check(const sb_problem *p, const sb_pattern *pat, sb_err *err)
{
    if (pat->row_ptr[0] != 0)
        return sb_fail(err, SB_INTERNAL, "pattern starts at %" PRId64, pat->row_ptr[0]);
    if (pat->tokens && pat->block != SB_TOKEN_BLOCK)
        return sb_fail(err, SB_INTERNAL, "pattern of tokens with block %" PRId64 "; expected %d",
                       pat->block, SB_TOKEN_BLOCK);
    for (int64_t b = 0; b < pat->n_batch; b++) {
        int64_t first = sb_first_block(p, b, pat->block), rows = sb_n_rows(p, b, pat->block);
        for (int64_t h = 0; h < pat->n_heads; h++)
            for (int64_t r = 0; r < pat->n_rows; r++) {
                int64_t i = sb_pattern_row(pat, b, h, r);
                sb_status st = check_list(pat, i, r < rows ? first + r : -1, err);
                if (st == SB_OK && pat->tokens && r < rows)
                    st = check_tokens(p, pat, b, r, i, err);
                if (st != SB_OK)
                    return st;
            }
    }
    return SB_OK;
}

/* ---- measures ------------------------------------------------------------------------------ */

/* One row of queries, and the causal keys and pairs that it has. */
typedef struct row_extent {
    int64_t first, end; /* positions of its queries, in the sequence */
    double keys;        /* at or before its last query's block's end */
    double pairs;
} row_extent;

static row_extent extent_of(const sb_problem *p, const sb_pattern *pat, int64_t b, int64_t r)
{
    int64_t t0, t1, start = sb_kv_len(p, b) - sb_q_len(p, b);
    sb_row_span(p, b, pat->block, r, &t0, &t1);
    int64_t diagonal = sb_first_block(p, b, pat->block) + r;
    row_extent x = {.first = start + t0, .end = start + t1};
    x.keys = (double)(diagonal * pat->block + sb_block_tokens(p, b, pat->block, diagonal));
    /* The query at position t attends t + 1 keys. */
    x.pairs = (double)(x.end - x.first) * (double)(x.first + 1 + x.end) / 2;
    return x;
}

/* Pairs of list i in whole blocks: the diagonal block alone hides keys. */
static double block_pairs(const sb_pattern *pat, int64_t i, const row_extent *x)
{
    int64_t kept = pat->row_ptr[i + 1] - pat->row_ptr[i], queries = x->end - x->first;
    int64_t diagonal = pat->col[pat->row_ptr[i + 1] - 1];
    return (double)((kept - 1 - diagonal) * pat->block) * (double)queries + x->pairs;
}

/* The same of a list of tokens, of which *kept counts the keys. */
static double token_pairs(const sb_pattern *pat, int64_t i, const row_extent *x, int64_t *kept)
{
    int64_t last = pat->row_ptr[i + 1] - 1, before = 0, pairs = 0;
    for (int64_t j = pat->row_ptr[i]; j < last; j++)
        before += sb_count_tokens(pat->tokens[j]);
    for (int64_t t = x->first; t < x->end; t++)
        pairs +=
            before + sb_count_tokens(pat->tokens[last] & sb_first_tokens(t % SB_TOKEN_BLOCK + 1));
    *kept = before + sb_count_tokens(pat->tokens[last]);
    return (double)pairs;
}

sb_pattern_stats sb_pattern_measure(const sb_problem *p, const sb_pattern *pat)
{
    sb_pattern_stats s = {0};
    double keys = 0, causal_keys = 0;
    for (int64_t b = 0; b < pat->n_batch; b++) {
        int64_t first = sb_first_block(p, b, pat->block), rows = sb_n_rows(p, b, pat->block);
        for (int64_t r = 0; r < rows; r++) {
            row_extent x = extent_of(p, pat, b, r);
            for (int64_t h = 0; h < pat->n_heads; h++) {
                int64_t i = sb_pattern_row(pat, b, h, r), kept = 0;
                s.blocks += pat->row_ptr[i + 1] - pat->row_ptr[i];
                s.causal_blocks += first + r + 1;
                s.pairs += pat->tokens ? token_pairs(pat, i, &x, &kept) : block_pairs(pat, i, &x);
                s.causal_pairs += x.pairs;
                keys += (double)kept;
                causal_keys += x.keys;
            }
        }
    }
    s.tile_pairs =
        (pat->tokens ? keys : (double)s.blocks * (double)pat->block) * (double)pat->block;
    s.density = pat->tokens ? keys / causal_keys : (double)s.blocks / (double)s.causal_blocks;
    s.pair_density = s.pairs / s.causal_pairs;
    return s;
}

static uint64_t fnv1a(uint64_t hash, uint64_t word, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++)
        hash = (hash ^ (word >> (8 * i) & 0xff)) * 0x100000001b3u;
    return hash;
}

uint64_t sb_pattern_hash(const sb_pattern *pat)
{
    int64_t n_lists = pat->n_batch * pat->n_heads * pat->n_rows, n = pat->row_ptr[n_lists];
    uint64_t hash = fnv1a(0xcbf29ce484222325u, (uint64_t)pat->block, 8);
    for (int64_t i = 0; i <= n_lists; i++)
        hash = fnv1a(hash, (uint64_t)pat->row_ptr[i], 8);
    for (int64_t i = 0; i < n; i++)
        hash = fnv1a(hash, (uint64_t)pat->col[i], 4);
    for (int64_t i = 0; pat->tokens && i < n; i++)
        hash = fnv1a(hash, pat->tokens[i], 8);
    return hash;
}
