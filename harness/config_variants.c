#include "harness/config_variants.h"

#include <stdio.h>
#include <string.h>

#include "harness/arena.h"

sb_status sb_variants_check_count(double n, const sb_node *node, sb_err *err)
{
    if (n > SB_MAX_CELLS)
        return sb_node_fail(node, err, "expands to %.15g variants or more; expected at most %d", n,
                            SB_MAX_CELLS);
    return SB_OK;
}

/* ---- equality ---- */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static uint64_t mix_number(uint64_t hash, double x)
{
    uint64_t bits;
    x += 0.0; /* -0 and 0 are equal */
    memcpy(&bits, &x, sizeof bits);
    return mix(hash, bits);
}

/* Variants share their lists, so a sample of each keeps hashing cheap and nearly as sharp. */
static uint64_t hash_variant(const sb_variant *v)
{
    uint64_t hash = (uint64_t)(uintptr_t)v->method;
    for (int i = 0; i < v->method->n_params; i++) {
        const sb_value *value = &v->values[i];
        int32_t step = value->n_list / 16 + 1;
        hash = mix(hash, ((uint64_t)value->state << 32) + (uint64_t)value->n_list);
        hash = mix_number(hash, value->num);
        for (int32_t k = 0; k < value->n_list; k += step)
            hash = mix_number(hash, value->list[k]);
    }
    return hash;
}

static bool same_list(const sb_value *a, const sb_value *b)
{
    if (a->list == b->list)
        return true;
    for (int32_t k = 0; k < a->n_list; k++)
        if (a->list[k] != b->list[k])
            return false;
    return true;
}

static bool same_variant(const sb_variant *a, const sb_variant *b)
{
    if (a->method != b->method)
        return false;
    for (int i = 0; i < a->method->n_params; i++) {
        const sb_value *x = &a->values[i], *y = &b->values[i];
        if (x->state != y->state || x->num != y->num || x->n_list != y->n_list || !same_list(x, y))
            return false;
    }
    return true;
}

int64_t *sb_variants_first(const sb_variants *variants, struct sb_arena *arena)
{
    int64_t n_slots = 4;
    while (n_slots < 2 * variants->n)
        n_slots *= 2;
    int64_t *first = sb_arena_alloc(arena, variants->n, sizeof *first);
    int64_t *slots = sb_arena_alloc(arena, n_slots, sizeof *slots); /* index + 1, 0: free */
    if (!first || !slots)
        return NULL;
    for (int64_t i = 0; i < variants->n; i++) {
        const sb_variant *v = &variants->list[i];
        int64_t slot = (int64_t)(hash_variant(v) & (uint64_t)(n_slots - 1));
        while (slots[slot] > 0 && !same_variant(&variants->list[slots[slot] - 1], v))
            slot = (slot + 1) & (n_slots - 1);
        if (slots[slot] == 0)
            slots[slot] = i + 1;
        first[i] = slots[slot] - 1;
    }
    return first;
}

/* ---- expansion ---- */

static sb_status refuse_twins(const sb_scope *scope, const sb_variants *variants, sb_err *err)
{
    const int64_t *first = sb_variants_first(variants, scope->temp);
    if (!first)
        return sb_no_memory(err, "variants");
    for (int64_t i = 0; i < variants->n; i++) {
        if (first[i] == i)
            continue;
        const sb_variant *v = &variants->list[i];
        const sb_node *twin = variants->from[first[i]];
        char text[200], where[40] = "";
        (void)sb_values_format(v->method, v->values, " ", text, sizeof text);
        if (twin->line > 0)
            (void)snprintf(where, sizeof where, ", first on line %d", twin->line);
        return sb_node_fail(variants->from[i], err,
                            "same cell twice%s: %s%s%s; expected distinct variants", where,
                            v->method->name, text[0] ? " " : "", text);
    }
    return SB_OK;
}

static sb_status expand_entry(const sb_entry *entry, sb_variant *list, const sb_node **from,
                              sb_err *err)
{
    int64_t n = (int64_t)entry->n_variants;
    for (int64_t i = 0; i < n; i++) {
        sb_err inner = {0};
        list[i].method = entry->method;
        list[i].target = -1;
        from[i] = entry->node;
        sb_entry_values(entry, i, list[i].values);
        sb_status st = sb_values_resolve(entry->method, list[i].values, &inner);
        if (st == SB_USAGE)
            return sb_node_fail(entry->node, err, "%s: %s", entry->method->name, inner.msg);
        if (st != SB_OK)
            return sb_fail(err, st, "%s", inner.msg);
    }
    return SB_OK;
}

static sb_status check_overrides_used(const sb_entry *entries, int64_t n, const sb_node *methods,
                                      const sb_override *overrides, int64_t n_overrides,
                                      sb_err *err)
{
    for (int64_t o = 0; o < n_overrides; o++) {
        int64_t i = 0;
        while (i < n && entries[i].method != overrides[o].method)
            i++;
        if (i == n)
            return sb_node_fail(overrides[o].node, err,
                                "methods of %s:%d has no %s; expected an "
                                "entry of it",
                                methods->origin, methods->line, overrides[o].method->name);
    }
    return SB_OK;
}

sb_status sb_variants_expand(const sb_scope *scope, const sb_node *methods, const sb_node *block,
                             const sb_override *overrides, int64_t n_overrides,
                             struct sb_arena *into, sb_variants *out, sb_err *err)
{
    sb_status st = SB_OK;
    char is[80];
    double total = 0;
    if (methods->kind != SB_NODE_LIST || methods->n == 0)
        return sb_node_fail(methods, err, "methods is %s; expected a list of methods",
                            methods->kind == SB_NODE_LIST
                                ? "an empty list"
                                : sb_node_describe(methods, is, sizeof is));
    sb_entry *entries = sb_arena_alloc(scope->temp, methods->n, sizeof *entries);
    SB_CHECK(entries, err, SB_NO_MEMORY, "out of memory for methods");
    for (int64_t i = 0; i < methods->n; i++) {
        SB_TRY(sb_entry_read(scope, methods->items[i], block, overrides, n_overrides, &entries[i],
                             err));
        total += entries[i].n_variants;
        SB_TRY(sb_variants_check_count(total, methods, err));
    }
    SB_TRY(check_overrides_used(entries, methods->n, methods, overrides, n_overrides, err));
    out->list = sb_arena_alloc(into, (int64_t)total, sizeof *out->list);
    out->from = sb_arena_alloc(scope->temp, (int64_t)total, sizeof *out->from);
    SB_CHECK(out->list && out->from, err, SB_NO_MEMORY, "out of memory for variants");
    for (int64_t i = 0; i < methods->n; i++) {
        SB_TRY(expand_entry(&entries[i], out->list + out->n, out->from + out->n, err));
        out->n += (int64_t)entries[i].n_variants;
    }
    SB_TRY(refuse_twins(scope, out, err));
out:
    return st;
}
