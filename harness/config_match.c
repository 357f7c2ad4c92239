#include <stdlib.h>
#include <string.h>

#include "harness/arena.h"
#include "harness/config_variants.h"

/* A variant that others are matched to. */
typedef struct target {
    double block;
    int64_t index;
} target;

static int solve_index(const sb_method *m)
{
    for (int i = 0; i < m->n_params; i++)
        if (m->params[i].solve)
            return i;
    return -1;
}

static double block_of(const sb_variant *v)
{
    return sb_value_of(v->method, v->values, "block")->num;
}

static bool has_block(const sb_method *m)
{
    return sb_param_index(m, "block") >= 0;
}

static bool is_matched(const sb_variant *v, const sb_method *to)
{
    return v->method != to && solve_index(v->method) >= 0;
}

static int by_block(const void *a, const void *b)
{
    const target *x = a, *y = b;
    if (x->block != y->block)
        return x->block < y->block ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* The targets of a variant, a range of the sorted list: those of its own block. */
static void targets_of(const sb_variant *v, const sb_method *to, const target *targets, int64_t n,
                       int64_t *begin, int64_t *end)
{
    *begin = 0;
    *end = n;
    if (!has_block(to) || !has_block(v->method))
        return;
    double block = block_of(v);
    int64_t low[2];
    for (int above = 0; above < 2; above++) {
        int64_t lo = 0, hi = n;
        while (lo < hi) {
            int64_t mid = lo + (hi - lo) / 2;
            if (targets[mid].block < block || (above && targets[mid].block == block))
                lo = mid + 1;
            else
                hi = mid;
        }
        low[above] = lo;
    }
    *begin = low[0];
    *end = low[1];
}

static int64_t list_targets(const sb_variants *v, const sb_method *to, target *targets)
{
    int64_t n = 0;
    for (int64_t i = 0; i < v->n; i++)
        if (v->list[i].method == to)
            targets[n++] = (target){has_block(to) ? block_of(&v->list[i]) : 0, i};
    qsort(targets, (size_t)n, sizeof *targets, by_block);
    return n;
}

/* Whether the k-th parameter of a matched variant no longer counts: what is solved for, and, where
 * that is a budget, every other budget. */
static bool is_overridden(const sb_method *m, int k)
{
    int solved = solve_index(m);
    return k == solved || (m->params[k].type == SB_BUDGET && m->params[solved].type == SB_BUDGET);
}

/* For each variant the first that is the same once matched. */
static sb_status find_first(const sb_scope *scope, const sb_variants *v, const sb_method *to,
                            const int64_t **first, sb_err *err)
{
    sb_variants bare = {.n = v->n};
    bare.list = sb_arena_alloc(scope->temp, v->n, sizeof *bare.list);
    if (!bare.list)
        return sb_no_memory(err, "match");
    memcpy(bare.list, v->list, (size_t)v->n * sizeof *bare.list);
    for (int64_t i = 0; i < v->n; i++)
        for (int k = 0; is_matched(&v->list[i], to) && k < v->list[i].method->n_params; k++)
            if (is_overridden(v->list[i].method, k))
                bare.list[i].values[k] = (sb_value){.state = SB_VALUE_AUTO};
    *first = sb_variants_first(&bare, scope->temp);
    return *first ? SB_OK : sb_no_memory(err, "match");
}

/* What the passes of sb_variants_match share. */
typedef struct matching {
    const sb_method *to;
    const int64_t *first; /* of each variant, its first twin */
    target *targets;      /* [n_targets], by block */
    int64_t n_targets;
    int64_t *moved; /* of each variant, where it or its first copy goes */
} matching;

/* Set `moved` and count the variants to come. */
static sb_status place(const matching *m, const sb_variants *in, int64_t *n, sb_err *err)
{
    *n = 0;
    for (int64_t i = 0; i < in->n; i++) {
        int64_t begin = 0, end = 1;
        if (m->first[i] != i)
            continue;
        if (is_matched(&in->list[i], m->to))
            targets_of(&in->list[i], m->to, m->targets, m->n_targets, &begin, &end);
        if (begin == end)
            return sb_node_fail(in->from[i], err,
                                "%s has block %.12g, and no variant of %s has; "
                                "expected one to match",
                                in->list[i].method->name, block_of(&in->list[i]), m->to->name);
        m->moved[i] = *n;
        *n += end - begin;
    }
    return SB_OK;
}

static void copy(const matching *m, const sb_variants *in, sb_variants *out)
{
    for (int64_t i = 0; i < in->n; i++) {
        if (m->first[i] != i)
            continue;
        int64_t begin = 0, end = 1;
        bool matched = is_matched(&in->list[i], m->to);
        if (matched)
            targets_of(&in->list[i], m->to, m->targets, m->n_targets, &begin, &end);
        for (int64_t t = begin; t < end; t++) {
            sb_variant *v = &out->list[out->n];
            *v = in->list[i];
            if (matched) {
                v->target = m->moved[m->targets[t].index];
                v->values[solve_index(v->method)] = (sb_value){.state = SB_VALUE_AUTO};
            }
            out->from[out->n++] = in->from[i];
        }
    }
}

sb_status sb_variants_match(const sb_scope *scope, const sb_method *to, const sb_node *node,
                            sb_variants *variants, sb_err *err)
{
    sb_status st = SB_OK;
    sb_variants out = {0};
    int64_t n;
    matching m = {.to = to};
    m.targets = sb_arena_alloc(scope->temp, variants->n, sizeof *m.targets);
    m.moved = sb_arena_alloc(scope->temp, variants->n, sizeof *m.moved);
    SB_CHECK(m.targets && m.moved, err, SB_NO_MEMORY, "out of memory for match");
    m.n_targets = list_targets(variants, to, m.targets);
    if (m.n_targets == 0)
        return sb_node_fail(node, err, "methods has no %s to match; expected an entry of it",
                            to->name);
    SB_TRY(find_first(scope, variants, to, &m.first, err));
    SB_TRY(place(&m, variants, &n, err));
    SB_TRY(sb_variants_check_count((double)n, node, err));
    out.list = sb_arena_alloc(scope->keep, n, sizeof *out.list);
    out.from = sb_arena_alloc(scope->temp, n, sizeof *out.from);
    SB_CHECK(out.list && out.from, err, SB_NO_MEMORY, "out of memory for match");
    copy(&m, variants, &out);
    *variants = out;
out:
    return st;
}
