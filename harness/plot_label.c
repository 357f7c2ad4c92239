#include <stdio.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/plot_data.h"
#include "harness/plot_params.h"
#include "methods/method.h"

enum { MAX_NAMES = 2 * SB_MAX_PARAMS };

/* What a reader looks for first comes first, and is the last to be left out of a label. */
static const char *const leading[] = {"variant", "by", "score", "mu", "value", "schedule.shape"};
enum { N_LEADING = sizeof leading / sizeof leading[0] };

static bool covers(const sb_record *a, const sb_record *b)
{
    sb_span name, value;
    for (const char *at = a->params; sb_param_next(&at, &name, &value);)
        if (!sb_param_is_budget(a->method, name) &&
            !sb_span_same(value, sb_param_value(b->params, name)))
            return false;
    return true;
}

static bool same_method(const sb_record *a, const sb_record *b)
{
    return strcmp(a->method ? a->method : "", b->method ? b->method : "") == 0;
}

bool sb_plot_same_curve(const sb_record *a, const sb_record *b)
{
    return same_method(a, b) && covers(a, b) && covers(b, a);
}

/* ---- labels -------------------------------------------------------------------------------- */

static bool varies(const sb_plot_curve *curves, int64_t n, const sb_record *r, sb_span name)
{
    for (int64_t i = 0; i < n; i++)
        if (same_method(curves[i].first, r) &&
            !sb_span_same(sb_param_value(curves[i].first->params, name),
                          sb_param_value(r->params, name)))
            return true;
    return false;
}

static void add_name(sb_span *names, int *n_names, sb_span name)
{
    for (int i = 0; i < *n_names; i++)
        if (sb_span_same(names[i], name))
            return;
    if (*n_names < MAX_NAMES)
        names[(*n_names)++] = name;
}

/* The parameters in which the curves of r's method differ. */
static int varying(const sb_plot_curve *curves, int64_t n, const sb_record *r, sb_span *names)
{
    int n_names = 0;
    for (int i = 0; i < N_LEADING; i++)
        if (varies(curves, n, r, sb_span_of(leading[i])))
            add_name(names, &n_names, sb_span_of(leading[i]));
    for (int64_t i = 0; i < n; i++) {
        sb_span name, value;
        if (!same_method(curves[i].first, r))
            continue;
        for (const char *at = curves[i].first->params; sb_param_next(&at, &name, &value);)
            if (!sb_param_is_budget(r->method, name) && varies(curves, n, r, name))
                add_name(names, &n_names, name);
    }
    return n_names;
}

/* Whether the names but names[skip] still tell the curves of r's method apart. */
static bool tells_apart(const sb_plot_curve *curves, int64_t n, const sb_record *r,
                        const sb_span *names, int n_names, int skip)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < i; j++) {
            const sb_record *a = curves[i].first, *b = curves[j].first;
            bool differ = !same_method(a, r) || !same_method(b, r);
            for (int k = 0; k < n_names && !differ; k++)
                differ = k != skip && !sb_span_same(sb_param_value(a->params, names[k]),
                                                    sb_param_value(b->params, names[k]));
            if (!differ)
                return false;
        }
    }
    return true;
}

static int needed(const sb_plot_curve *curves, int64_t n, const sb_record *r, sb_span *names)
{
    int n_names = varying(curves, n, r, names);
    for (int i = n_names - 1; i >= 0; i--) {
        if (!tells_apart(curves, n, r, names, n_names, i))
            continue;
        n_names--;
        memmove(&names[i], &names[i + 1], (size_t)(n_names - i) * sizeof *names);
    }
    return n_names;
}

/* A value bonus reads "+value" where there is one kind of it, else by its kind. */
static bool one_bonus(const sb_plot_curve *curves, int64_t n, const sb_record *r, sb_span bonus)
{
    for (int64_t i = 0; i < n; i++) {
        sb_span v = sb_param_value(curves[i].first->params, sb_span_of("value"));
        if (same_method(curves[i].first, r) && !sb_span_same(v, bonus) &&
            !sb_span_same(v, sb_span_of("none")))
            return false;
    }
    return true;
}

/* Parameters that only one shape of the schedule reads, and the weight of a value bonus. */
static bool is_read(const sb_record *r, sb_span name)
{
    static const char *const read_by[][2] = {{"schedule.exponent", "power"},
                                             {"schedule.breakpoints", "step"},
                                             {"schedule.table", "table"}};
    sb_span shape = sb_param_value(r->params, sb_span_of("schedule.shape"));
    sb_span bonus = sb_param_value(r->params, sb_span_of("value"));
    for (size_t i = 0; i < sizeof read_by / sizeof read_by[0]; i++)
        if (shape.n > 0 && sb_span_same(name, sb_span_of(read_by[i][0])))
            return sb_span_same(shape, sb_span_of(read_by[i][1]));
    return !(sb_span_same(name, sb_span_of("beta")) && sb_span_same(bonus, sb_span_of("none")));
}

static char *part(const sb_plot_curve *curves, int64_t n, const sb_record *r, sb_span name)
{
    sb_span v = sb_param_value(r->params, name);
    const char *leaf = name.at;
    for (int i = 0; i < name.n; i++)
        if (name.at[i] == '.')
            leaf = &name.at[i + 1];
    int n_leaf = (int)(name.at + name.n - leaf);

    if (!is_read(r, name))
        return sb_strdup("");
    if (sb_span_same(name, sb_span_of("mu")))
        return sb_sprintf(" μ=%.*s", v.n, v.at ? v.at : "");
    if (sb_span_same(name, sb_span_of("value"))) {
        if (v.n == 0 || sb_span_same(v, sb_span_of("none")))
            return sb_strdup("");
        return one_bonus(curves, n, r, v) ? sb_strdup(" +value")
                                          : sb_sprintf(" +value:%.*s", v.n, v.at);
    }
    for (int i = 0; i < N_LEADING; i++)
        if (sb_span_same(name, sb_span_of(leading[i])))
            return sb_sprintf(" %.*s", v.n, v.at ? v.at : "");
    return sb_sprintf(" %.*s=%.*s", n_leaf, leaf, v.n, v.at ? v.at : "");
}

static bool append(char **label, char *tail)
{
    char *longer = *label && tail ? sb_sprintf("%s%s", *label, tail) : NULL;
    sb_free(tail);
    sb_free(*label);
    *label = longer;
    return longer != NULL;
}

sb_status sb_plot_label(sb_plot_curve *curves, int64_t n, sb_err *err)
{
    sb_span names[MAX_NAMES];
    for (int64_t c = 0; c < n; c++) {
        const sb_record *r = curves[c].first;
        int n_names = needed(curves, n, r, names);
        curves[c].label = sb_strdup(r->method ? r->method : "");
        for (int i = 0; i < n_names && curves[c].label; i++)
            (void)append(&curves[c].label, part(curves, n, r, names[i]));
        if (!curves[c].label)
            return sb_no_memory(err, "curve labels");
    }
    return SB_OK;
}

/* ---- which curves to show ------------------------------------------------------------------ */

static int64_t n_of_method(const sb_plot_curve *curves, int64_t n, const sb_record *r)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += same_method(curves[i].first, r);
    return count;
}

/* Whether an earlier curve of the method has the same leading parameters. */
static bool is_repeat(const sb_plot_curve *curves, int64_t c)
{
    for (int64_t i = 0; i < c; i++) {
        bool equal = same_method(curves[i].first, curves[c].first);
        for (int k = 0; k < N_LEADING && equal; k++)
            equal = sb_span_same(sb_param_value(curves[i].first->params, sb_span_of(leading[k])),
                                 sb_param_value(curves[c].first->params, sb_span_of(leading[k])));
        if (equal)
            return true;
    }
    return false;
}

/* Mark `share` of the method's curves as shown (slot 1): those with leading parameters of their own
 * before repeats, evenly spread over either kind. */
static void spread(sb_plot_curve *curves, int64_t n, const sb_record *r, int64_t share)
{
    for (int repeats = 0; repeats < 2 && share > 0; repeats++) {
        int64_t n_kind = 0, seen = 0;
        for (int64_t i = 0; i < n; i++)
            n_kind += same_method(curves[i].first, r) && is_repeat(curves, i) == repeats;
        int64_t take = share < n_kind ? share : n_kind, taken = 0;
        for (int64_t i = 0; i < n && taken < take; i++) {
            if (!same_method(curves[i].first, r) || is_repeat(curves, i) != repeats)
                continue;
            int64_t next = take == 1 ? 0 : taken * (n_kind - 1) / (take - 1);
            if (seen++ == next) {
                curves[i].slot = 1;
                taken++;
            }
        }
        share -= take;
    }
}

void sb_plot_choose(sb_plot_curve *curves, int64_t n, int64_t most)
{
    /* turn t gives a slot to every method that has more than t curves */
    int64_t left = n < most ? n : most;
    for (int64_t i = 0; i < n; i++)
        curves[i].slot = 0;
    for (int64_t i = 0; i < n; i++)
        if (n_of_method(curves, i, curves[i].first) == 0) {
            int64_t share = 0;
            for (int64_t t = 0, rest = left; rest > 0; t++)
                for (int64_t j = 0; j < n && rest > 0; j++)
                    if (n_of_method(curves, j, curves[j].first) == 0 &&
                        n_of_method(curves, n, curves[j].first) > t) {
                        share += j == i;
                        rest--;
                    }
            spread(curves, n, curves[i].first, share);
        }
    int slot = 0;
    for (int64_t i = 0; i < n; i++)
        if (curves[i].slot > 0)
            curves[i].slot = ++slot;
}
