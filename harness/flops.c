#include "harness/flops.h"

static double causal_pairs(const sb_problem *p)
{
    double pairs = 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        double queries = (double)sb_q_len(p, b), keys = (double)sb_kv_len(p, b);
        pairs += queries * (2 * keys - queries + 1) / 2;
    }
    return pairs * (double)p->n_heads;
}

sb_flops sb_flops_count(const sb_problem *p, const sb_pattern *pat, int64_t dense_tile)
{
    double per_pair = 2 * (double)(p->dim + p->dim_v), dense = per_pair * causal_pairs(p);
    if (!pat) {
        double tiles = (double)sb_causal_blocks(p, dense_tile);
        return (sb_flops){dense, dense, per_pair * tiles * (double)(dense_tile * dense_tile)};
    }
    sb_pattern_stats s = sb_pattern_measure(p, pat);
    return (sb_flops){dense, per_pair * s.pairs, per_pair * s.tile_pairs};
}
