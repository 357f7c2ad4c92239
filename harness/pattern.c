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
                if (r < rows)
                    for (int64_t j = 0; j <= first + r; j++)
                        pat->col[n++] = (int32_t)j;
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

sb_status sb_pattern_check(const sb_problem *p, const sb_pattern *pat, sb_err *err)
{
    if (pat->row_ptr[0] != 0)
        return sb_fail(err, SB_INTERNAL, "pattern starts at %" PRId64, pat->row_ptr[0]);
    for (int64_t b = 0; b < pat->n_batch; b++) {
        int64_t first = sb_first_block(p, b, pat->block), rows = sb_n_rows(p, b, pat->block);
        for (int64_t h = 0; h < pat->n_heads; h++)
            for (int64_t r = 0; r < pat->n_rows; r++) {
                sb_status st =
                    check_list(pat, sb_pattern_row(pat, b, h, r), r < rows ? first + r : -1, err);
                if (st != SB_OK)
                    return st;
            }
    }
    return SB_OK;
}

sb_pattern_stats sb_pattern_measure(const sb_problem *p, const sb_pattern *pat)
{
    sb_pattern_stats s = {0};
    for (int64_t b = 0; b < pat->n_batch; b++) {
        int64_t first = sb_first_block(p, b, pat->block), rows = sb_n_rows(p, b, pat->block);
        int64_t start = sb_kv_len(p, b) - sb_q_len(p, b);
        for (int64_t r = 0; r < rows; r++) {
            int64_t t0, t1;
            sb_row_span(p, b, pat->block, r, &t0, &t1);
            double queries = (double)(t1 - t0), diagonal = (double)((first + r) * pat->block);
            /* Query t attends t + 1 keys, those before the diagonal block included. */
            double triangle = queries * ((double)(start + t0 + 1) + (double)(start + t1)) / 2;
            for (int64_t h = 0; h < pat->n_heads; h++) {
                int64_t i = sb_pattern_row(pat, b, h, r);
                int64_t kept = pat->row_ptr[i + 1] - pat->row_ptr[i];
                s.blocks += kept;
                s.causal_blocks += first + r + 1;
                s.pairs += (double)(kept - 1) * (double)pat->block * queries + triangle -
                           diagonal * queries;
                s.causal_pairs += triangle;
            }
        }
    }
    s.tile_pairs = (double)s.blocks * (double)pat->block * (double)pat->block;
    s.density = (double)s.blocks / (double)s.causal_blocks;
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
    int64_t n_lists = pat->n_batch * pat->n_heads * pat->n_rows;
    uint64_t hash = fnv1a(0xcbf29ce484222325u, (uint64_t)pat->block, 8);
    for (int64_t i = 0; i <= n_lists; i++)
        hash = fnv1a(hash, (uint64_t)pat->row_ptr[i], 8);
    for (int64_t i = 0; i < pat->row_ptr[n_lists]; i++)
        hash = fnv1a(hash, (uint64_t)pat->col[i], 4);
    return hash;
}
