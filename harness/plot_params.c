#include "harness/plot_params.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/method.h"

bool sb_span_same(sb_span a, sb_span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.at, b.at, (size_t)a.n) == 0);
}

sb_span sb_span_of(const char *text)
{
    return (sb_span){text, (int)strlen(text)};
}

bool sb_span_number(sb_span s, double *x)
{
    char text[64], *end;
    if (s.n == 0 || s.n >= (int)sizeof text)
        return false;
    (void)snprintf(text, sizeof text, "%.*s", s.n, s.at);
    *x = strtod(text, &end);
    return *end == '\0' && isfinite(*x);
}

static bool parts(char c)
{
    return c == ' ' || c == ',' || c == ';';
}

bool sb_param_next(const char **at, sb_span *name, sb_span *value)
{
    const char *p = *at ? *at : "";
    while (parts(*p))
        p++;
    name->at = p;
    while (*p && *p != '=' && !parts(*p))
        p++;
    name->n = (int)(p - name->at);
    p += *p == '=';
    value->at = p;
    for (int depth = 0; *p && (depth > 0 || !parts(*p)); p++)
        depth += (*p == '[') - (*p == ']');
    value->n = (int)(p - value->at);
    *at = p;
    return name->n > 0;
}

sb_span sb_param_value(const char *params, sb_span name)
{
    sb_span n, v;
    for (const char *at = params; sb_param_next(&at, &n, &v);)
        if (sb_span_same(n, name))
            return v;
    return (sb_span){NULL, 0};
}

bool sb_param_is_budget(const char *method, sb_span name)
{
    const sb_method *m = sb_method_find(method ? method : "");
    for (int i = 0; m && i < m->n_params; i++)
        if ((m->params[i].type == SB_BUDGET || m->params[i].solve) &&
            sb_span_same(name, sb_span_of(m->params[i].name)))
            return true;
    return false;
}

char *sb_param_without(const char *params, sb_span skip)
{
    char *text = sb_strdup("");
    sb_span name, value;
    for (const char *at = params; text && sb_param_next(&at, &name, &value);) {
        if (sb_span_same(name, skip))
            continue;
        char *longer = sb_sprintf("%s %.*s=%.*s", text, name.n, name.at, value.n, value.at);
        sb_free(text);
        text = longer;
    }
    return text;
}

typedef struct param {
    sb_span name, value;
} param;

static int by_name(sb_span a, sb_span b)
{
    int order = memcmp(a.at, b.at, (size_t)(a.n < b.n ? a.n : b.n));
    return order != 0 ? order : a.n - b.n;
}

/* Adds a parameter in the order of names; the first of a name counts. */
static void insert(param *params, int64_t *n, param p)
{
    int64_t i = *n;
    while (i > 0 && by_name(p.name, params[i - 1].name) < 0)
        i--;
    if (i > 0 && sb_span_same(params[i - 1].name, p.name))
        return;
    memmove(&params[i + 1], &params[i], (size_t)(*n - i) * sizeof *params);
    params[i] = p;
    ++*n;
}

/* Every piece ends a line: there are no line ends in them. */
static char *put(char *at, sb_span piece)
{
    memcpy(at, piece.at, (size_t)piece.n);
    at[piece.n] = '\n';
    return at + piece.n + 1;
}

static void write_key(char *at, const char *method, const param *params, int64_t n, sb_span skip)
{
    at = put(at, sb_span_of(method ? method : ""));
    for (int64_t i = 0; i < n; i++) {
        sb_span name = params[i].name, value = params[i].value;
        if (value.n > 0 && !sb_span_same(name, skip) &&
            !(method && sb_param_is_budget(method, name)))
            at = put(put(at, name), value);
    }
}

char *sb_params_key(const char *method, const char *params, sb_span skip)
{
    size_t n_method = strlen(method ? method : ""), n_text = strlen(params ? params : "");
    int64_t n = 0;
    param *sorted = sb_alloc((int64_t)n_text / 2 + 1, sizeof *sorted), p;
    char *key = sorted ? sb_alloc((int64_t)(n_method + 2 * n_text) + 4, 1) : NULL;
    for (const char *at = params; key && sb_param_next(&at, &p.name, &p.value);)
        insert(sorted, &n, p);
    if (key)
        write_key(key, method, sorted, n, skip);
    sb_free(sorted);
    return key;
}
