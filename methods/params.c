#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "methods/method.h"

int sb_param_index(const sb_method *m, const char *name)
{
    for (int i = 0; i < m->n_params; i++)
        if (strcmp(m->params[i].name, name) == 0)
            return i;
    return -1;
}

const char *sb_param_default(const sb_param *param, int variant)
{
    const char *text = param->fallback[variant];
    return text ? text : param->fallback[0];
}

/* Index of `word` in "a|b|c", or -1. */
static int choice_index(const char *choices, const char *word)
{
    size_t length = strlen(word);
    const char *at = choices;
    for (int i = 0;; i++) {
        size_t n = strcspn(at, "|");
        if (n == length && strncmp(at, word, n) == 0)
            return i;
        if (at[n] == '\0')
            return -1;
        at += n + 1;
    }
}

static void choice_text(const char *choices, int index, char *buf, size_t bytes)
{
    const char *at = choices;
    for (; index > 0; index--)
        at += strcspn(at, "|") + 1;
    (void)snprintf(buf, bytes, "%.*s", (int)strcspn(at, "|"), at);
}

void sb_param_expected(const sb_param *param, char *buf, size_t bytes)
{
    const char *open = param->min_open ? "(" : "[";
    const char *none = param->optional ? ", or none" : "";
    switch (param->type) {
    case SB_INT:
        (void)snprintf(buf, bytes, "a whole number in [%.12g, %.12g]%s", param->min, param->max,
                       none);
        break;
    case SB_REAL:
        (void)snprintf(buf, bytes, "a number in %s%.12g, %.12g]%s", open, param->min, param->max,
                       none);
        break;
    case SB_BUDGET:
        (void)snprintf(buf, bytes, "a whole number >= 1 (blocks) or a number in (0, 1) (a share)%s",
                       none);
        break;
    case SB_CHOICE:
        (void)snprintf(buf, bytes, "one of %s", param->choices);
        break;
    case SB_LIST:
        (void)snprintf(buf, bytes, "a list of numbers in %s%.12g, %.12g]%s", open, param->min,
                       param->max, none);
        break;
    }
}

static sb_status wrong(const sb_param *param, const char *text, sb_err *err)
{
    char expected[128];
    sb_param_expected(param, expected, sizeof expected);
    return sb_fail(err, SB_USAGE, "%s is %.60s; expected %s", param->name, text, expected);
}

static bool in_range(const sb_param *param, double x)
{
    return isfinite(x) && (param->min_open ? x > param->min : x >= param->min) && x <= param->max;
}

static bool valid_number(const sb_param *param, double x)
{
    switch (param->type) {
    case SB_INT:
        return in_range(param, x) && x == floor(x);
    case SB_BUDGET:
        return isfinite(x) && x > 0 && (x < 1 || (x == floor(x) && x <= 0x1p52));
    case SB_REAL:
    case SB_LIST:
        return in_range(param, x);
    case SB_CHOICE:
        break;
    }
    return false;
}

/* Decimal numbers only: strtod alone would take "nan", "0x10" and leading blanks. */
static bool parse_number(const char *text, double *x)
{
    if (text[0] == '\0' || strspn(text, "+-.0123456789eE") != strlen(text))
        return false;
    char *end;
    *x = strtod(text, &end);
    return *end == '\0' && isfinite(*x);
}

static bool can_be_auto(const sb_param *param)
{
    for (int i = 0; i < SB_MAX_VARIANTS && param->fallback[i]; i++)
        if (strcmp(param->fallback[i], "auto") == 0)
            return true;
    return false;
}

sb_status sb_value_parse(const sb_param *param, const char *text, sb_value *value, sb_err *err)
{
    *value = (sb_value){0};
    if (param->type == SB_CHOICE) {
        int index = choice_index(param->choices, text);
        if (index < 0)
            return wrong(param, text, err);
        value->state = SB_VALUE_SET;
        value->num = index;
        return SB_OK;
    }
    if (strcmp(text, "auto") == 0 && can_be_auto(param)) {
        value->state = SB_VALUE_AUTO;
        return SB_OK;
    }
    if (strcmp(text, "none") == 0 && param->optional) {
        value->state = SB_VALUE_NONE;
        return SB_OK;
    }
    if (param->type == SB_LIST || !parse_number(text, &value->num) ||
        !valid_number(param, value->num))
        return wrong(param, text, err);
    value->state = SB_VALUE_SET;
    return SB_OK;
}

sb_status sb_value_check_list(const sb_param *param, const double *list, int64_t n, sb_err *err)
{
    if (n < 1)
        return wrong(param, "empty", err);
    for (int64_t i = 0; i < n; i++)
        if (!in_range(param, list[i])) {
            char text[32];
            (void)snprintf(text, sizeof text, "%.12g", list[i]);
            return wrong(param, text, err);
        }
    return SB_OK;
}

sb_status sb_values_resolve(const sb_method *m, sb_value *values, sb_err *err)
{
    int variant_at = sb_param_index(m, "variant"), variant = 0;
    if (variant_at >= 0 && values[variant_at].state == SB_VALUE_SET)
        variant = (int)values[variant_at].num;
    for (int i = 0; i < m->n_params; i++) {
        if (values[i].state != SB_VALUE_DEFAULT)
            continue;
        sb_status st = sb_value_parse(&m->params[i], sb_param_default(&m->params[i], variant),
                                      &values[i], err);
        if (st != SB_OK)
            return st;
    }
    return m->check ? m->check(values, err) : SB_OK;
}

typedef struct writer {
    char *buf;
    size_t bytes, used;
} writer;

static void put(writer *w, const char *text)
{
    size_t n = strlen(text);
    if (w->used + n < w->bytes)
        memcpy(w->buf + w->used, text, n + 1);
    w->used += n;
}

static void put_value(writer *w, const sb_param *param, const sb_value *v)
{
    char text[64];
    if (v->state == SB_VALUE_AUTO || v->state == SB_VALUE_NONE) {
        put(w, v->state == SB_VALUE_AUTO ? "auto" : "none");
    } else if (param->type == SB_LIST) {
        for (int32_t i = 0; i < v->n_list; i++) {
            (void)snprintf(text, sizeof text, "%s%.12g", i > 0 ? " " : "[", v->list[i]);
            put(w, text);
        }
        put(w, "]");
    } else if (param->type == SB_CHOICE) {
        choice_text(param->choices, (int)v->num, text, sizeof text);
        put(w, text);
    } else {
        (void)snprintf(text, sizeof text, "%.12g", v->num);
        put(w, text);
    }
}

static writer open_writer(char *buf, size_t bytes)
{
    if (bytes > 0)
        buf[0] = '\0';
    return (writer){buf, bytes, 0};
}

int sb_value_format(const sb_param *param, const sb_value *value, char *buf, size_t bytes)
{
    writer w = open_writer(buf, bytes);
    put_value(&w, param, value);
    return (int)w.used;
}

int sb_values_format(const sb_method *m, const sb_value *values, const char *sep, char *buf,
                     size_t bytes)
{
    writer w = open_writer(buf, bytes);
    for (int i = 0; i < m->n_params; i++) {
        put(&w, i > 0 ? sep : "");
        put(&w, m->params[i].name);
        put(&w, "=");
        put_value(&w, &m->params[i], &values[i]);
    }
    return (int)w.used;
}

const sb_value *sb_value_of(const sb_method *m, const sb_value *values, const char *name)
{
    return &values[sb_param_index(m, name)];
}

double sb_real_of(const sb_method *m, const sb_value *values, const char *name)
{
    return sb_value_of(m, values, name)->num;
}

int64_t sb_int_of(const sb_method *m, const sb_value *values, const char *name)
{
    return (int64_t)sb_value_of(m, values, name)->num;
}
