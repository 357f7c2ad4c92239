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

bool sb_param_next(const char **at, sb_span *name, sb_span *value)
{
    const char *p = *at ? *at : "";
    p += strspn(p, " ,;");
    name->at = p;
    p += strcspn(p, "= ,;");
    name->n = (int)(p - name->at);
    p += *p == '=';
    value->at = p;
    for (int depth = 0; *p && (depth > 0 || !strchr(" ,;", *p)); p++)
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
