#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/config.h"
#include "harness/yaml.h"

sb_status sb_node_fail(const sb_node *node, sb_err *err, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (node->line > 0)
        return sb_fail(err, SB_USAGE, "%s:%d:%d: %s", node->origin, node->line, node->col, text);
    return sb_fail(err, SB_USAGE, "%s: %s", node->origin, text);
}

sb_status sb_node_unknown(const sb_node *node, const char *what, const char *word,
                          const char *const *known, int n_known, sb_err *err)
{
    const char *near = sb_nearest(word, known, n_known);
    if (near)
        return sb_node_fail(node, err, "unknown %s '%.60s'; did you mean '%s'?", what, word, near);
    char list[300] = "";
    size_t used = 0;
    for (int i = 0; i < n_known && used < sizeof list; i++) {
        int n = snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", known[i]);
        used += (size_t)n;
    }
    return sb_node_fail(node, err, "unknown %s '%.60s'; expected %s%s", what, word,
                        n_known > 1 ? "one of " : "", list);
}

sb_status sb_node_fields(const sb_node *node, const char *what, const char *const *names, int n,
                         const sb_node **found, sb_err *err)
{
    char text[80];
    for (int i = 0; i < n; i++)
        found[i] = NULL;
    if (node->kind != SB_NODE_MAP)
        return sb_node_fail(node, err, "%s is %s; expected a mapping", what,
                            sb_node_describe(node, text, sizeof text));
    for (int64_t pair = 0; pair < node->n; pair++) {
        const sb_node *key = node->items[2 * pair];
        int i = 0;
        while (i < n && strcmp(names[i], key->text) != 0)
            i++;
        if (i == n)
            return sb_node_unknown(key, "key", key->text, names, n, err);
        if (found[i])
            return sb_node_fail(key, err, "key '%s' is given twice; expected once", names[i]);
        found[i] = node->items[2 * pair + 1];
    }
    return SB_OK;
}

const char *sb_node_describe(const sb_node *node, char *buf, size_t bytes)
{
    if (node->kind != SB_NODE_SCALAR)
        (void)snprintf(buf, bytes, "%s", node->kind == SB_NODE_LIST ? "a list" : "a mapping");
    else if (sb_node_is_null(node))
        (void)snprintf(buf, bytes, "empty");
    else
        (void)snprintf(buf, bytes, node->plain ? "%.60s" : "\"%.60s\"", node->text);
    return buf;
}

bool sb_node_is(const sb_node *node, const char *word)
{
    return node->kind == SB_NODE_SCALAR && node->plain && strcmp(node->text, word) == 0;
}

bool sb_node_is_null(const sb_node *node)
{
    return sb_node_is(node, "") || sb_node_is(node, "~") || sb_node_is(node, "null");
}

bool sb_node_bool(const sb_node *node, bool *value)
{
    *value = sb_node_is(node, "true");
    return *value || sb_node_is(node, "false");
}

bool sb_node_number(const sb_node *node, double *x)
{
    /* strtod alone would take "nan", "0x10" and leading blanks. */
    if (node->kind != SB_NODE_SCALAR || !node->plain || node->text[0] == '\0' ||
        strspn(node->text, "+-.0123456789eE") != strlen(node->text))
        return false;
    char *end;
    *x = strtod(node->text, &end);
    return *end == '\0' && isfinite(*x);
}
