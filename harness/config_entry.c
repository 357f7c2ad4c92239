#include "harness/config_entry.h"

#include <stdio.h>
#include <string.h>

#include "harness/arena.h"
#include "harness/config.h"

enum { MAX_NAME = 96 };

/* Collects the assignments of one entry. */
typedef struct builder {
    const sb_method *method;
    bool replace; /* a parameter given again replaces the first value, as --set does */
    int n, n_zips;
    sb_assignment list[SB_MAX_PARAMS];
} builder;

static sb_assignment *find(builder *b, int param)
{
    for (int i = 0; i < b->n; i++)
        if (b->list[i].param == param)
            return &b->list[i];
    return NULL;
}

/* Whether `name` is a mapping of parameters: "schedule" of "schedule.shape". */
static bool is_group(const sb_method *m, const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < m->n_params; i++)
        if (strncmp(m->params[i].name, name, n) == 0 && m->params[i].name[n] == '.')
            return true;
    return false;
}

static sb_status unknown_param(const sb_method *m, const sb_node *key, const char *name,
                               sb_err *err)
{
    char groups[SB_MAX_PARAMS][MAX_NAME], what[80];
    const char *known[2 * SB_MAX_PARAMS + 1];
    int n = 0, n_groups = 0;
    for (int i = 0; i < m->n_params; i++) {
        const char *dot = strchr(m->params[i].name, '.');
        known[n++] = m->params[i].name;
        if (!dot)
            continue;
        (void)snprintf(groups[n_groups], MAX_NAME, "%.*s", (int)(dot - m->params[i].name),
                       m->params[i].name);
        if (n_groups == 0 || strcmp(groups[n_groups], groups[n_groups - 1]) != 0)
            known[n++] = groups[n_groups++];
    }
    known[n++] = "zip";
    (void)snprintf(what, sizeof what, "parameter of %s", m->name);
    return sb_node_unknown(key, what, name, known, n, err);
}

static sb_status collect(builder *b, const sb_node *map, const char *prefix, int zip, sb_err *err);

static sb_status collect_zips(builder *b, const sb_node *key, const sb_node *node, int zip,
                              sb_err *err)
{
    int64_t n = node->kind == SB_NODE_LIST ? node->n : 1;
    if (zip >= 0)
        return sb_node_fail(key, err, "a zip in a zip; expected parameters");
    for (int64_t i = 0; i < n; i++) {
        const sb_node *map = node->kind == SB_NODE_LIST ? node->items[i] : node;
        if (map->kind != SB_NODE_MAP || map->n == 0) {
            char is[80];
            return sb_node_fail(map, err, "zip is %s; expected a mapping of lists",
                                map->n == 0 && map->kind == SB_NODE_MAP
                                    ? "an empty mapping"
                                    : sb_node_describe(map, is, sizeof is));
        }
        sb_status st = collect(b, map, "", b->n_zips++, err);
        if (st != SB_OK)
            return st;
    }
    return SB_OK;
}

/* Take the value of `name`: a parameter, a mapping of parameters, or a zip. */
static sb_status assign(builder *b, const char *name, const sb_node *key, const sb_node *node,
                        int zip, sb_err *err)
{
    char is[80];
    if (strcmp(name, "zip") == 0)
        return collect_zips(b, key, node, zip, err);
    int param = sb_param_index(b->method, name);
    if (param < 0 && !is_group(b->method, name))
        return unknown_param(b->method, key, name, err);
    if (param < 0) {
        if (node->kind != SB_NODE_MAP)
            return sb_node_fail(node, err, "%s is %s; expected a mapping", name,
                                sb_node_describe(node, is, sizeof is));
        return collect(b, node, name, zip, err);
    }
    sb_assignment *at = find(b, param);
    if (at && !b->replace)
        return sb_node_fail(key, err, "%s is given twice; expected once", name);
    if (!at)
        at = &b->list[b->n++];
    *at = (sb_assignment){.param = param, .zip = zip, .node = node};
    return SB_OK;
}

static sb_status collect(builder *b, const sb_node *map, const char *prefix, int zip, sb_err *err)
{
    for (int64_t i = 0; i < map->n; i++) {
        const sb_node *key = map->items[2 * i];
        char name[MAX_NAME];
        (void)snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "", key->text);
        sb_status st = assign(b, name, key, map->items[2 * i + 1], zip, err);
        if (st != SB_OK)
            return st;
    }
    return SB_OK;
}

static sb_status collect_override(builder *b, const sb_override *o, sb_err *err)
{
    char is[80];
    if (o->name[0] != '\0')
        return assign(b, o->name, o->node, o->node, -1, err);
    if (o->node->kind != SB_NODE_MAP)
        return sb_node_fail(o->node, err, "%s is %s; expected a mapping of parameters",
                            o->method->name, sb_node_describe(o->node, is, sizeof is));
    return collect(b, o->node, "", -1, err);
}

/* Later overrides win over earlier ones, and all of them over the file. */
static sb_status apply_overrides(builder *b, const sb_override *overrides, int64_t n, sb_err *err)
{
    builder given = {.method = b->method, .replace = true, .n_zips = b->n_zips};
    for (int64_t i = 0; i < n; i++) {
        if (overrides[i].method != b->method)
            continue;
        sb_status st = collect_override(&given, &overrides[i], err);
        if (st != SB_OK)
            return st;
    }
    for (int i = 0; i < given.n; i++) {
        sb_assignment *at = find(b, given.list[i].param);
        *(at ? at : &b->list[b->n++]) = given.list[i];
    }
    return SB_OK;
}

static void add_block(builder *b, const sb_node *block)
{
    int param = sb_param_index(b->method, "block");
    if (!block || param < 0 || find(b, param))
        return;
    memmove(&b->list[1], &b->list[0], (size_t)b->n++ * sizeof b->list[0]);
    b->list[0] = (sb_assignment){.param = param, .zip = -1, .node = block};
}

/* The first assignment of the group that is zipped with assignment i. */
static int leader_of(const builder *b, int i)
{
    int leader = 0;
    while (leader < i && (b->list[i].zip < 0 || b->list[leader].zip != b->list[i].zip))
        leader++;
    return leader;
}

static sb_status read_axes(const sb_scope *scope, builder *b, sb_err *err)
{
    for (int i = 0; i < b->n; i++) {
        sb_assignment *a = &b->list[i];
        const sb_param *params = b->method->params;
        sb_status st = sb_axis_read(scope, &params[a->param], a->node, &a->axis, err);
        if (st != SB_OK)
            return st;
        const sb_assignment *leader = &b->list[leader_of(b, i)];
        if (leader->axis.n != a->axis.n)
            return sb_node_fail(a->node, err,
                                "zip pairs %s (%lld values) with %s (%lld); expected lists of one "
                                "length",
                                params[leader->param].name, (long long)leader->axis.n,
                                params[a->param].name, (long long)a->axis.n);
    }
    return SB_OK;
}

/* Strides beyond int64_t belong to sweeps that are refused for their size before any is used. */
static double set_strides(builder *b)
{
    double product = 1;
    for (int i = b->n - 1; i >= 0; i--) {
        if (leader_of(b, i) != i)
            continue;
        b->list[i].stride = product < 0x1p62 ? (int64_t)product : INT64_MAX;
        product *= (double)b->list[i].axis.n;
    }
    for (int i = 0; i < b->n; i++)
        b->list[i].stride = b->list[leader_of(b, i)].stride;
    return product;
}

sb_status sb_method_from_node(const sb_node *name, const sb_method **method, sb_err *err)
{
    enum { MAX_KNOWN = 64 };
    const char *known[MAX_KNOWN];
    char is[80];
    if (name->kind != SB_NODE_SCALAR || sb_node_is_null(name))
        return sb_node_fail(name, err, "a method is %s; expected a name",
                            sb_node_describe(name, is, sizeof is));
    *method = sb_method_find(name->text);
    if (*method)
        return SB_OK;
    int n;
    const sb_method *const *all = sb_methods(&n);
    n = n < MAX_KNOWN ? n : MAX_KNOWN;
    for (int i = 0; i < n; i++)
        known[i] = all[i]->name;
    return sb_node_unknown(name, "method", name->text, known, n, err);
}

static sb_status collect_entry(builder *b, const sb_node *node, sb_err *err)
{
    char is[80];
    bool is_map = node->kind == SB_NODE_MAP;
    if (is_map && node->n != 1)
        return sb_node_fail(node, err, "an entry with %lld names; expected one method",
                            (long long)node->n);
    sb_status st = sb_method_from_node(is_map ? node->items[0] : node, &b->method, err);
    if (st != SB_OK || !is_map || sb_node_is_null(node->items[1]))
        return st;
    if (node->items[1]->kind != SB_NODE_MAP)
        return sb_node_fail(node->items[1], err, "%s is %s; expected a mapping of parameters",
                            b->method->name, sb_node_describe(node->items[1], is, sizeof is));
    return collect(b, node->items[1], "", -1, err);
}

sb_status sb_entry_read(const sb_scope *scope, const sb_node *node, const sb_node *block,
                        const sb_override *overrides, int64_t n_overrides, sb_entry *entry,
                        sb_err *err)
{
    sb_status st = SB_OK;
    builder b = {0};
    SB_TRY(collect_entry(&b, node, err));
    SB_TRY(apply_overrides(&b, overrides, n_overrides, err));
    add_block(&b, block);
    SB_TRY(read_axes(scope, &b, err));
    *entry = (sb_entry){.method = b.method, .node = node, .n = b.n, .n_variants = set_strides(&b)};
    entry->list = sb_arena_alloc(scope->temp, b.n, sizeof *entry->list);
    SB_CHECK(entry->list, err, SB_NO_MEMORY, "out of memory for a method's parameters");
    memcpy(entry->list, b.list, (size_t)b.n * sizeof *entry->list);
out:
    return st;
}

void sb_entry_values(const sb_entry *entry, int64_t i, sb_value *values)
{
    for (int a = 0; a < entry->n; a++) {
        const sb_assignment *at = &entry->list[a];
        values[at->param] = at->axis.values[i / at->stride % at->axis.n];
    }
}

sb_status sb_values_from_overrides(const sb_scope *scope, const sb_method *m,
                                   const sb_override *overrides, int64_t n_overrides,
                                   sb_value *values, sb_err *err)
{
    sb_status st = SB_OK;
    builder b = {.method = m};
    SB_TRY(apply_overrides(&b, overrides, n_overrides, err));
    SB_TRY(read_axes(scope, &b, err));
    for (int i = 0; i < b.n; i++) {
        if (b.list[i].axis.n != 1)
            return sb_node_fail(b.list[i].node, err, "%s has %lld values; expected one",
                                m->params[b.list[i].param].name, (long long)b.list[i].axis.n);
        values[b.list[i].param] = b.list[i].axis.values[0];
    }
out:
    return st;
}
