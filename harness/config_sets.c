#include "harness/config_sets.h"

#include <stdio.h>
#include <string.h>

#include "harness/arena.h"
#include "harness/config.h"
#include "harness/textfile.h"

enum { MAX_KEY = 200 };

sb_status sb_set_parse(const char *option, const char *text, struct sb_arena *arena, sb_set *set,
                       sb_err *err)
{
    char shown[120];
    const char *equals = strchr(text, '=');
    (void)snprintf(shown, sizeof shown, "%s%.100s", option, text);
    char *origin = sb_arena_text(arena, shown, strlen(shown));
    if (!origin)
        return sb_no_memory(err, "--set");
    for (char *c = origin; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    sb_node where = {.origin = origin};
    if (!equals || equals == text)
        return sb_node_fail(&where, err, "no %s; expected key=value", equals ? "key" : "'='");
    if (equals - text > MAX_KEY)
        return sb_node_fail(&where, err, "a key of more than %d characters; expected fewer",
                            MAX_KEY);
    if (strlen(equals + 1) > SB_MAX_TEXT_BYTES)
        return sb_node_fail(&where, err, "longer than 1 MiB; expected less");
    char *key = sb_arena_text(arena, text, (size_t)(equals - text));
    if (!key)
        return sb_no_memory(err, "--set");
    set->key = key;
    return sb_yaml_parse(equals + 1, strlen(equals + 1), origin, false, arena, &set->value, err);
}

/* Index of the pair with that key, or -1. */
static int64_t find_pair(const sb_node *map, const char *key, size_t length)
{
    for (int64_t i = 0; i < map->n; i++) {
        const char *text = map->items[2 * i]->text;
        if (strlen(text) == length && memcmp(text, key, length) == 0)
            return i;
    }
    return -1;
}

/* A copy of a map (NULL: empty) in which `path` leads to `value`. Nodes may be aliased elsewhere,
 * so those on the way are copied. */
static sb_status put(struct sb_arena *arena, const sb_node *map, const char *path,
                     const sb_node *value, const sb_node **out, sb_err *err)
{
    sb_status st = SB_OK;
    size_t length = strcspn(path, ".");
    int64_t n = map ? map->n : 0, at = map ? find_pair(map, path, length) : -1;
    bool leaf = path[length] == '\0';
    const sb_node *old = at >= 0 ? map->items[2 * at + 1] : NULL, *child = value;
    sb_node *copy = sb_arena_alloc(arena, 1, sizeof *copy);
    sb_node *key = sb_arena_alloc(arena, 1, sizeof *key);
    const sb_node **items = sb_arena_alloc(arena, 2 * (n + 1), sizeof *items);
    SB_CHECK(copy && key && items, err, SB_NO_MEMORY, "out of memory for --set");
    if (!leaf && old && (sb_node_is_null(old) || sb_node_is(old, "true")))
        old = NULL;
    if (!leaf && old && old->kind != SB_NODE_MAP) {
        char is[80];
        return sb_node_fail(value, err, "'%.*s' is %s; expected a mapping to set '%s' in",
                            (int)length, path, sb_node_describe(old, is, sizeof is),
                            path + length + 1);
    }
    if (!leaf)
        SB_TRY(put(arena, old, path + length + 1, value, &child, err));

    *copy = map ? *map : *value;
    copy->kind = SB_NODE_MAP;
    copy->text = "";
    if (n > 0)
        memcpy(items, map->items, 2 * (size_t)n * sizeof *items);
    if (at < 0) {
        at = n++;
        *key = (sb_node){.plain = true, .origin = value->origin};
        key->text = sb_arena_text(arena, path, length);
        SB_CHECK(key->text, err, SB_NO_MEMORY, "out of memory for --set");
        items[2 * at] = key;
    }
    items[2 * at + 1] = child;
    copy->items = items;
    copy->n = n;
    *out = copy;
out:
    return st;
}

static sb_status unknown_key(const sb_set *set, const char *first, const char *const *keys,
                             int n_keys, sb_err *err)
{
    enum { MAX_KNOWN = 80 };
    const char *known[MAX_KNOWN];
    int n = 0, n_methods;
    const sb_method *const *methods = sb_methods(&n_methods);
    for (int i = 0; i < n_keys && n < MAX_KNOWN; i++)
        known[n++] = keys[i];
    for (int i = 0; i < n_methods && n < MAX_KNOWN; i++)
        known[n++] = methods[i]->name;
    return sb_node_unknown(set->value, "key", first, known, n, err);
}

sb_status sb_sets_apply(const sb_set *sets, int64_t n_sets, const char *const *keys, int n_keys,
                        struct sb_arena *arena, const sb_node **root, sb_override *overrides,
                        int64_t *n_overrides, sb_err *err)
{
    *n_overrides = 0;
    for (int64_t i = 0; i < n_sets; i++) {
        const char *key = sets[i].key;
        size_t length = strcspn(key, ".");
        char *first = sb_arena_text(arena, key, length);
        if (!first)
            return sb_no_memory(err, "--set");
        int k = 0;
        while (k < n_keys && strcmp(keys[k], first) != 0)
            k++;
        const sb_method *method = sb_method_find(first);
        sb_status st = SB_OK;
        if (k < n_keys)
            st = put(arena, *root, key, sets[i].value, root, err);
        else if (method)
            overrides[(*n_overrides)++] =
                (sb_override){method, key[length] == '.' ? key + length + 1 : "", sets[i].value};
        else
            st = unknown_key(&sets[i], first, keys, n_keys, err);
        if (st != SB_OK)
            return st;
    }
    return SB_OK;
}

static sb_status read_values(const sb_method *m, const char *option, const char *const *sets,
                             int64_t n_sets, const sb_scope *scope, sb_value *values, sb_err *err)
{
    sb_status st = SB_OK;
    sb_err inner = {0};
    sb_override *overrides = sb_arena_alloc(scope->temp, n_sets, sizeof *overrides);
    SB_CHECK(overrides, err, SB_NO_MEMORY, "out of memory for --set");
    for (int64_t i = 0; i < n_sets; i++) {
        sb_set set;
        SB_TRY(sb_set_parse(option, sets[i], scope->temp, &set, err));
        overrides[i] = (sb_override){m, set.key, set.value};
    }
    for (int i = 0; i < m->n_params; i++)
        values[i] = (sb_value){0};
    SB_TRY(sb_values_from_overrides(scope, m, overrides, n_sets, values, err));
    st = sb_values_resolve(m, values, &inner);
    if (st != SB_OK)
        return sb_fail(err, st, "%s: %s", m->name, inner.msg);
out:
    return st;
}

static sb_status values_from(const sb_method *m, const char *option, const char *const *sets,
                             int64_t n_sets, sb_value *values, struct sb_arena **arena, sb_err *err)
{
    sb_status st = SB_OK;
    *arena = NULL;
    sb_scope scope = {"", sb_arena_new(), sb_arena_new()};
    SB_CHECK(scope.keep && scope.temp, err, SB_NO_MEMORY, "out of memory for parameters");
    SB_TRY(read_values(m, option, sets, n_sets, &scope, values, err));
    *arena = scope.keep;
    scope.keep = NULL;
out:
    sb_arena_free(scope.temp);
    sb_arena_free(scope.keep);
    return st;
}

sb_status sb_values_from_sets(const sb_method *m, const char *const *sets, int64_t n_sets,
                              sb_value *values, struct sb_arena **arena, sb_err *err)
{
    return values_from(m, "--set ", sets, n_sets, values, arena, err);
}

/* The next "name=value", values in brackets with blanks for commas, as sb_values_format writes. */
static char *next_set(const char **at, struct sb_arena *arena)
{
    const char *from = *at + strspn(*at, " ;"), *end = from;
    for (int depth = 0; *end && (depth > 0 || !strchr(" ;", *end)); end++)
        depth += (*end == '[') - (*end == ']');
    char *set = sb_arena_text(arena, from, (size_t)(end - from));
    for (char *c = set ? strchr(set, '[') : NULL; c && *c; c++)
        if (*c == ' ')
            *c = ',';
    *at = end;
    return set;
}

sb_status sb_values_from_text(const sb_method *m, const char *text, sb_value *values,
                              struct sb_arena **arena, sb_err *err)
{
    sb_status st = SB_OK;
    const char *sets[SB_MAX_PARAMS + 1];
    int64_t n = 0;
    struct sb_arena *temp = sb_arena_new();
    *arena = NULL;
    SB_CHECK(temp, err, SB_NO_MEMORY, "out of memory for parameters");
    for (const char *at = text; at[strspn(at, " ;")];) {
        SB_CHECK(n < SB_MAX_PARAMS, err, SB_USAGE, "more than %d parameters of %s", SB_MAX_PARAMS,
                 m->name);
        sets[n] = next_set(&at, temp);
        SB_CHECK(sets[n++], err, SB_NO_MEMORY, "out of memory for parameters");
    }
    SB_TRY(values_from(m, "", sets, n, values, arena, err));
out:
    sb_arena_free(temp);
    return st;
}
