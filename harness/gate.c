#include "harness/gate.h"

#include <math.h>
#include <string.h>

#include "harness/arena.h"
#include "harness/mem.h"
#include "harness/textfile.h"

const char *const sb_limit_names[SB_N_LIMITS] = {
    [SB_LIMIT_MAX] = "max",
    [SB_LIMIT_MIN] = "min",
    [SB_LIMIT_INCREASE] = "max_increase",
    [SB_LIMIT_DECREASE] = "max_decrease",
    [SB_LIMIT_ABS_INCREASE] = "max_abs_increase",
    [SB_LIMIT_ABS_DECREASE] = "max_abs_decrease",
};

enum { NAME, METRIC, HASH, WHERE, MIN_CELLS, FIRST_LIMIT, N_KEYS = FIRST_LIMIT + SB_N_LIMITS };
static const char *const keys[N_KEYS] = {"name",
                                         "metric",
                                         "hash",
                                         "where",
                                         "min_cells",
                                         "max",
                                         "min",
                                         "max_increase",
                                         "max_decrease",
                                         "max_abs_increase",
                                         "max_abs_decrease"};

static sb_status wrong(const sb_node *node, const char *key, const char *expected, sb_err *err)
{
    char is[80];
    return sb_node_fail(node, err, "%s is %s; expected %s", key,
                        sb_node_describe(node, is, sizeof is), expected);
}

static sb_status read_metric(const sb_node *node, sb_gate *gate, sb_err *err)
{
    const char *names[64];
    int n = 0;
    if (node->kind != SB_NODE_SCALAR || sb_node_is_null(node))
        return wrong(node, "metric", "a column of numbers, such as rel_l2", err);
    for (int i = 0; i < sb_n_columns && n < 64; i++) {
        if (sb_columns[i].kind != SB_KIND_REAL)
            continue;
        names[n++] = sb_columns[i].name;
        if (strcmp(sb_columns[i].name, node->text) == 0)
            gate->column = &sb_columns[i];
    }
    return gate->column ? SB_OK : sb_node_unknown(node, "metric", node->text, names, n, err);
}

static sb_status read_limits(const sb_node *node, const sb_node *const *found, sb_gate *gate,
                             sb_err *err)
{
    int n = 0;
    for (int i = 0; i < SB_N_LIMITS; i++) {
        const sb_node *limit = found[FIRST_LIMIT + i];
        gate->limits[i] = NAN;
        if (!limit)
            continue;
        n++;
        if (found[HASH])
            return sb_node_fail(limit, err, "a limit of a hash; expected 'hash: equal' alone");
        if (!sb_node_number(limit, &gate->limits[i]))
            return wrong(limit, sb_limit_names[i], "a number", err);
        if (i >= SB_LIMIT_INCREASE && gate->limits[i] < 0)
            return wrong(limit, sb_limit_names[i], "at least 0", err);
    }
    if (n == 0 && !found[HASH])
        return sb_node_fail(node, err,
                            "a gate without a limit; expected max, min, max_increase, "
                            "max_decrease, max_abs_increase or max_abs_decrease");
    if (gate->limits[SB_LIMIT_MIN] > gate->limits[SB_LIMIT_MAX])
        return sb_node_fail(found[FIRST_LIMIT + SB_LIMIT_MIN], err,
                            "min is above max; expected at most %g", gate->limits[SB_LIMIT_MAX]);
    return SB_OK;
}

static sb_status read_min_cells(const sb_node *node, sb_gate *gate, sb_err *err)
{
    double x = 1;
    if (node && (!sb_node_number(node, &x) || x < 0 || x > 1e9 || x != floor(x)))
        return wrong(node, "min_cells", "a whole number of at least 0", err);
    gate->min_cells = (int64_t)x;
    return SB_OK;
}

static bool is_line(const sb_node *node)
{
    if (node->kind != SB_NODE_SCALAR || sb_node_is_null(node))
        return false;
    for (const char *c = node->text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return true;
}

static sb_status read_gate(const sb_node *node, sb_gate *gate, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_node *found[N_KEYS];
    SB_TRY(sb_node_fields(node, "a gate", keys, N_KEYS, found, err));
    if (!found[METRIC] == !found[HASH])
        return sb_node_fail(node, err, "a gate with %s; expected metric or hash",
                            found[HASH] ? "a metric and a hash" : "no metric");
    gate->line = node->line;
    if (found[METRIC])
        SB_TRY(read_metric(found[METRIC], gate, err));
    else if (!sb_node_is(found[HASH], "equal"))
        return wrong(found[HASH], "hash", "'equal'", err);
    SB_TRY(read_limits(node, found, gate, err));
    SB_TRY(read_min_cells(found[MIN_CELLS], gate, err));
    if (found[WHERE])
        SB_TRY(sb_where_read(found[WHERE], &gate->where, err));
    gate->name = gate->column ? gate->column->name : "mask_hash";
    if (found[NAME] && !is_line(found[NAME]))
        return wrong(found[NAME], "name", "a line of text", err);
    if (found[NAME])
        gate->name = found[NAME]->text;
out:
    return st;
}

sb_status sb_gates_parse(const char *text, size_t n_bytes, const char *path, sb_gates *gates,
                         sb_err *err)
{
    static const char *const top[] = {"gates"};
    sb_status st = SB_OK;
    const sb_node *root, *list;
    *gates = (sb_gates){.path = path, .arena = sb_arena_new()};
    SB_CHECK(gates->arena, err, SB_NO_MEMORY, "out of memory for gates");
    SB_TRY(sb_yaml_parse(text, n_bytes, path, true, gates->arena, &root, err));
    SB_TRY(sb_node_fields(root, "a gate file", top, 1, &list, err));
    if (!list)
        return sb_node_fail(root, err, "no key 'gates'; expected one");
    if (list->kind != SB_NODE_LIST || list->n == 0)
        return wrong(list, "gates", "a list of at least one gate", err);
    gates->list = sb_arena_alloc(gates->arena, list->n, sizeof *gates->list);
    SB_CHECK(gates->list, err, SB_NO_MEMORY, "out of memory for gates");
    for (; gates->n < list->n; gates->n++)
        SB_TRY(read_gate(list->items[gates->n], &gates->list[gates->n], err));
out:
    return st;
}

sb_status sb_gates_load(const char *path, sb_gates *gates, sb_err *err)
{
    sb_status st = SB_OK;
    const char *text;
    size_t n_bytes;
    *gates = (sb_gates){0};
    struct sb_arena *arena = sb_arena_new();
    SB_CHECK(arena, err, SB_NO_MEMORY, "out of memory for gates");
    SB_TRY(sb_text_read(path, arena, &text, &n_bytes, err));
    SB_TRY(sb_gates_parse(text, n_bytes, path, gates, err));
out:
    sb_arena_free(arena);
    return st;
}

void sb_gates_free(sb_gates *gates)
{
    sb_arena_free(gates->arena);
    *gates = (sb_gates){0};
}
