#include "harness/config_axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/arena.h"
#include "harness/textfile.h"

/* The error of a wrong node: what it is and what the parameter takes. */
static sb_status wrong(const sb_param *param, const sb_node *node, sb_err *err)
{
    char is[80], expected[160];
    sb_param_expected(param, expected, sizeof expected);
    return sb_node_fail(node, err, "%s is %s; expected %s", param->name,
                        sb_node_describe(node, is, sizeof is), expected);
}

static sb_status parse_text(const sb_param *param, const sb_node *node, const char *text,
                            sb_value *value, sb_err *err)
{
    sb_err inner = {0};
    if (sb_value_parse(param, text, value, &inner) != SB_OK)
        return sb_node_fail(node, err, "%s", inner.msg);
    return SB_OK;
}

/* ---- lists as values ---- */

static sb_status finish_list(const sb_param *param, const sb_node *node, const double *list,
                             int64_t n, sb_value *value, sb_err *err)
{
    sb_err inner = {0};
    if (sb_value_check_list(param, list, n, &inner) != SB_OK)
        return sb_node_fail(node, err, "%s", inner.msg);
    *value = (sb_value){.state = SB_VALUE_SET, .n_list = (int32_t)n, .list = list};
    return SB_OK;
}

static sb_status list_of_numbers(const sb_scope *s, const sb_param *param, const sb_node *node,
                                 sb_value *value, sb_err *err)
{
    double *list = sb_arena_alloc(s->keep, node->n, sizeof *list);
    if (!list)
        return sb_no_memory(err, "a list");
    for (int64_t i = 0; i < node->n; i++)
        if (!sb_node_number(node->items[i], &list[i]))
            return wrong(param, node->items[i], err);
    return finish_list(param, node, list, node->n, value, err);
}

static sb_status list_of_csv(const sb_scope *s, const sb_param *param, const sb_node *node,
                             sb_value *value, sb_err *err)
{
    const char *path = sb_path_resolve(node->text, s->path, s->temp);
    if (!path)
        return sb_no_memory(err, "a path");
    const char *text;
    size_t n_bytes;
    sb_err inner = {0};
    sb_status st = sb_text_read(path, s->temp, &text, &n_bytes, &inner);
    if (st == SB_NO_MEMORY)
        return sb_no_memory(err, "a CSV file");
    if (st != SB_OK)
        return sb_node_fail(node, err, "%s", inner.msg);
    if (strlen(text) != n_bytes)
        return sb_node_fail(node, err, "%.200s: a NUL character; expected text", path);
    /* Each number takes at least two bytes, but for the last. */
    double *list = sb_arena_alloc(s->keep, (int64_t)n_bytes / 2 + 1, sizeof *list);
    if (!list)
        return sb_no_memory(err, "a list");
    const char *const blanks = ", \t\r\n";
    int64_t n = 0;
    for (const char *at = text + strspn(text, blanks); *at; at += strspn(at, blanks)) {
        size_t length = strcspn(at, blanks);
        char word[64];
        (void)snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), at);
        sb_node number = {.kind = SB_NODE_SCALAR, .plain = true, .text = word};
        if (!sb_node_number(&number, &list[n++]))
            return sb_node_fail(node, err,
                                "%.200s: '%s' at byte %td; expected numbers separated by "
                                "commas or blanks",
                                path, word, at - text);
        at += length;
    }
    return finish_list(param, node, list, n, value, err);
}

/* ---- one value ---- */

static sb_status read_list_value(const sb_scope *s, const sb_param *param, const sb_node *node,
                                 sb_value *value, sb_err *err)
{
    double x;
    if (node->kind == SB_NODE_LIST)
        return list_of_numbers(s, param, node, value, err);
    if (node->kind == SB_NODE_MAP || sb_node_is_null(node) || sb_node_number(node, &x))
        return wrong(param, node, err);
    if (sb_value_parse(param, node->text, value, NULL) == SB_OK)
        return SB_OK;
    return list_of_csv(s, param, node, value, err);
}

sb_status sb_axis_read_one(const sb_scope *s, const sb_param *param, const sb_node *node,
                           sb_value *value, sb_err *err)
{
    if (param->type == SB_LIST)
        return read_list_value(s, param, node, value, err);
    bool quoted_number = !node->plain && param->type != SB_CHOICE;
    if (node->kind != SB_NODE_SCALAR || sb_node_is_null(node) || quoted_number)
        return wrong(param, node, err);
    return parse_text(param, node, node->text, value, err);
}

/* Whether a list is one value of an SB_LIST parameter rather than an axis of them. */
static bool is_number_list(const sb_node *node)
{
    double x;
    return node->kind == SB_NODE_LIST && (node->n == 0 || sb_node_number(node->items[0], &x));
}

/* ---- range and logspace ---- */

static sb_status three_numbers(const sb_node *node, const char *key, const char *names, double *x,
                               sb_err *err)
{
    char is[80];
    if (node->kind != SB_NODE_LIST)
        return sb_node_fail(node, err, "%s is %s; expected [%s]", key,
                            sb_node_describe(node, is, sizeof is), names);
    if (node->n != 3)
        return sb_node_fail(node, err, "%s has %lld values; expected [%s]", key, (long long)node->n,
                            names);
    for (int i = 0; i < 3; i++)
        if (!sb_node_number(node->items[i], &x[i]))
            return sb_node_fail(node->items[i], err, "%s has %s in it; expected numbers [%s]", key,
                                sb_node_describe(node->items[i], is, sizeof is), names);
    return SB_OK;
}

/* Twelve digits, as parameters are printed: 0.1 * 3 is to be 0.3. */
static sb_status put_number(const sb_param *param, const sb_node *node, double x, sb_value *value,
                            sb_err *err)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%.12g", x == 0 ? 0 : x);
    return parse_text(param, node, text, value, err);
}

static sb_status read_range(const sb_scope *s, const sb_param *param, const sb_node *node,
                            sb_axis *axis, sb_err *err)
{
    double x[3];
    sb_status st = three_numbers(node, "range", "start, stop, step", x, err);
    if (st != SB_OK)
        return st;
    double steps = (x[1] - x[0]) / x[2];
    if (x[2] == 0 || !(steps >= 0))
        return sb_node_fail(node, err,
                            "range never gets from %.12g to %.12g by %.12g; expected a "
                            "step towards the end",
                            x[0], x[1], x[2]);
    if (!(steps < SB_MAX_AXIS))
        return sb_node_fail(node, err, "range makes more than %d values; expected fewer",
                            SB_MAX_AXIS);
    int64_t n = (int64_t)floor(steps + 1e-9) + 1;
    sb_value *values = sb_arena_alloc(s->temp, n, sizeof *values);
    if (!values)
        return sb_no_memory(err, "an axis");
    for (int64_t i = 0; i < n; i++)
        if ((st = put_number(param, node, x[0] + (double)i * x[2], &values[i], err)) != SB_OK)
            return st;
    *axis = (sb_axis){n, values};
    return SB_OK;
}

static sb_status check_logspace(const sb_param *param, const sb_node *node, const double *x,
                                sb_err *err)
{
    if (!(x[0] > 0 && x[1] > 0))
        return sb_node_fail(node, err, "logspace from %.12g to %.12g; expected both above 0", x[0],
                            x[1]);
    if (!(x[2] >= 2 && x[2] <= SB_MAX_AXIS && x[2] == floor(x[2])))
        return sb_node_fail(node, err,
                            "logspace of %.12g values; expected a whole number in "
                            "[2, %d]",
                            x[2], SB_MAX_AXIS);
    if (param->type == SB_BUDGET && (x[0] < 1) != (x[1] < 1))
        return sb_node_fail(node, err,
                            "logspace from %.12g to %.12g; expected both below 1 "
                            "(shares) or both at least 1 (blocks)",
                            x[0], x[1]);
    return SB_OK;
}

static sb_status read_logspace(const sb_scope *s, const sb_param *param, const sb_node *node,
                               sb_axis *axis, sb_err *err)
{
    double x[3];
    sb_status st = three_numbers(node, "logspace", "first, last, count", x, err);
    if (st != SB_OK || (st = check_logspace(param, node, x, err)) != SB_OK)
        return st;
    bool whole = param->type == SB_INT || (param->type == SB_BUDGET && x[0] >= 1);
    int64_t count = (int64_t)x[2], n = 0;
    sb_value *values = sb_arena_alloc(s->temp, count, sizeof *values);
    if (!values)
        return sb_no_memory(err, "an axis");
    for (int64_t i = 0; i < count; i++) {
        double share = (double)i / (double)(count - 1);
        double point = x[0] * pow(x[1] / x[0], share);
        st = put_number(param, node, whole ? round(point) : point, &values[n], err);
        if (st != SB_OK)
            return st;
        if (!whole || n == 0 || values[n].num != values[n - 1].num)
            n++;
    }
    *axis = (sb_axis){n, values};
    return SB_OK;
}

/* ---- axes ---- */

static sb_status read_made(const sb_scope *s, const sb_param *param, const sb_node *node,
                           sb_axis *axis, sb_err *err)
{
    static const char *const makers[] = {"range", "logspace"};
    const sb_node *found[2];
    if (param->type == SB_LIST)
        return wrong(param, node, err);
    sb_status st = sb_node_fields(node, param->name, makers, 2, found, err);
    if (st != SB_OK)
        return st;
    if (!found[0] == !found[1])
        return sb_node_fail(node, err, "%s has %s; expected range or logspace", param->name,
                            found[0] ? "both range and logspace" : "an empty mapping");
    return found[0] ? read_range(s, param, found[0], axis, err)
                    : read_logspace(s, param, found[1], axis, err);
}

sb_status sb_axis_read(const sb_scope *s, const sb_param *param, const sb_node *node, sb_axis *axis,
                       sb_err *err)
{
    if (node->kind == SB_NODE_MAP)
        return read_made(s, param, node, axis, err);
    bool one = node->kind == SB_NODE_SCALAR || (param->type == SB_LIST && is_number_list(node));
    int64_t n = one ? 1 : node->n;
    if (n < 1)
        return sb_node_fail(node, err, "%s is an empty list; expected at least one value",
                            param->name);
    sb_value *values = sb_arena_alloc(s->temp, n, sizeof *values);
    if (!values)
        return sb_no_memory(err, "an axis");
    for (int64_t i = 0; i < n; i++) {
        sb_status st = sb_axis_read_one(s, param, one ? node : node->items[i], &values[i], err);
        if (st != SB_OK)
            return st;
    }
    *axis = (sb_axis){n, values};
    return SB_OK;
}

const sb_node *sb_axis_node(const sb_axis *axis, const sb_node *node, int64_t i)
{
    return node->kind == SB_NODE_LIST && node->n == axis->n ? node->items[i] : node;
}
