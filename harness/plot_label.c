#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/equal.h"
#include "harness/mem.h"
#include "harness/plot_data.h"
#include "harness/plot_params.h"
#include "methods/method.h"

enum { MAX_NAMES = 2 * SB_MAX_PARAMS };

/* What a reader looks for first comes first, and is the last to be left out of a label. */
const char *const sb_plot_leading[SB_PLOT_LEADING] = {"variant", "by",    "score",
                                                      "mu",      "value", "schedule.shape"};

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

/* ---- parameters that differ ------------------------------------------------------------------ */

/* The curves of one method. */
typedef struct family {
    const sb_record **members;
    int64_t n;
    sb_span names[MAX_NAMES]; /* the parameters that its labels give */
    int n_names;
    bool one_bonus; /* whether there is one kind of value bonus */
} family;

static bool varies(const family *f, sb_span name)
{
    sb_span value = sb_param_value(f->members[0]->params, name);
    for (int64_t i = 1; i < f->n; i++)
        if (!sb_span_same(sb_param_value(f->members[i]->params, name), value))
            return true;
    return false;
}

static bool is_listed(const sb_span *names, int n_names, sb_span name)
{
    for (int i = 0; i < n_names; i++)
        if (sb_span_same(names[i], name))
            return true;
    return false;
}

/* The parameters in which the curves differ. */
static void find_varying(family *f)
{
    sb_span equal[MAX_NAMES], name, value; /* in which they do not */
    int n_equal = 0;
    f->n_names = 0;
    for (int i = 0; i < SB_PLOT_LEADING; i++)
        if (varies(f, sb_span_of(sb_plot_leading[i])))
            f->names[f->n_names++] = sb_span_of(sb_plot_leading[i]);
    for (int64_t i = 0; i < f->n; i++) {
        for (const char *at = f->members[i]->params; sb_param_next(&at, &name, &value);) {
            if (f->n_names == MAX_NAMES || is_listed(f->names, f->n_names, name) ||
                is_listed(equal, n_equal, name) || sb_param_is_budget(f->members[i]->method, name))
                continue;
            if (varies(f, name))
                f->names[f->n_names++] = name;
            else if (n_equal < MAX_NAMES)
                equal[n_equal++] = name;
        }
    }
}

/* ---- the fewest that tell curves apart ------------------------------------------------------- */

/* A curve's values of the names: for each the first curve that has the same. */
typedef struct row {
    int64_t value[MAX_NAMES];
} row;

static int by_values(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(row));
}

typedef struct column {
    const family *family;
    sb_span name;
} column;

static char *value_text(const void *things, int64_t i)
{
    const column *c = things;
    sb_span value = sb_param_value(c->family->members[i]->params, c->name);
    return sb_sprintf("%.*s", value.n, value.n > 0 ? value.at : "");
}

/* rows [f->n], zeroed. */
static sb_status find_values(const family *f, row *rows, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t *first = sb_alloc(f->n, sizeof *first);
    SB_CHECK(first, err, SB_NO_MEMORY, "out of memory for curve labels");
    for (int k = 0; k < f->n_names; k++) {
        const column c = {f, f->names[k]};
        SB_TRY(sb_first_equal(&c, f->n, value_text, first, err));
        for (int64_t i = 0; i < f->n; i++)
            rows[i].value[k] = first[i];
    }
out:
    sb_free(first);
    return st;
}

/* Whether the names but one still tell the curves apart; sorted [n] is room. */
static bool tells_apart(const row *rows, int64_t n, int skip, row *sorted)
{
    memcpy(sorted, rows, (size_t)n * sizeof *rows);
    for (int64_t i = 0; i < n; i++)
        sorted[i].value[skip] = 0;
    qsort(sorted, (size_t)n, sizeof *sorted, by_values);
    for (int64_t i = 1; i < n; i++)
        if (by_values(&sorted[i - 1], &sorted[i]) == 0)
            return false;
    return true;
}

/* Leaves out names, the last first, without which the curves are told apart. */
static sb_status drop_needless(family *f, sb_err *err)
{
    sb_status st = SB_OK;
    row *rows = sb_alloc(f->n, sizeof *rows), *sorted = sb_alloc(f->n, sizeof *sorted);
    SB_CHECK(rows && sorted, err, SB_NO_MEMORY, "out of memory for curve labels");
    SB_TRY(find_values(f, rows, err));
    for (int k = f->n_names - 1; k >= 0; k--) {
        if (!tells_apart(rows, f->n, k, sorted))
            continue;
        for (int64_t i = 0; i < f->n; i++) {
            int64_t *value = rows[i].value;
            memmove(&value[k], &value[k + 1], (size_t)(MAX_NAMES - k - 1) * sizeof *value);
            value[MAX_NAMES - 1] = 0;
        }
        f->n_names--;
        memmove(&f->names[k], &f->names[k + 1], (size_t)(f->n_names - k) * sizeof *f->names);
    }
out:
    sb_free(sorted);
    sb_free(rows);
    return st;
}

/* ---- labels ---------------------------------------------------------------------------------- */

static void find_bonus(family *f)
{
    sb_span bonus = {NULL, -1}, none = sb_span_of("none");
    f->one_bonus = true;
    for (int64_t i = 0; i < f->n; i++) {
        sb_span v = sb_param_value(f->members[i]->params, sb_span_of("value"));
        if (sb_span_same(v, none))
            continue;
        f->one_bonus &= bonus.n < 0 || sb_span_same(v, bonus);
        bonus = v;
    }
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

static char *part(const family *f, const sb_record *r, sb_span name)
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
        /* "+value" where there is one kind of it */
        return f->one_bonus ? sb_strdup(" +value") : sb_sprintf(" +value:%.*s", v.n, v.at);
    }
    for (int i = 0; i < SB_PLOT_LEADING; i++)
        if (sb_span_same(name, sb_span_of(sb_plot_leading[i])))
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

/* Label curve c and those after it of the same method; members [n] is room. */
static sb_status label_method(sb_plot_curve *curves, int64_t n, int64_t c,
                              const sb_record **members, sb_err *err)
{
    sb_status st = SB_OK;
    family f = {.members = members};
    for (int64_t i = c; i < n; i++)
        if (same_method(curves[i].first, curves[c].first))
            members[f.n++] = curves[i].first;
    find_varying(&f);
    find_bonus(&f);
    SB_TRY(drop_needless(&f, err));
    for (int64_t i = c; i < n; i++) {
        const sb_record *r = curves[i].first;
        if (!same_method(r, curves[c].first))
            continue;
        curves[i].label = sb_strdup(r->method ? r->method : "");
        for (int k = 0; k < f.n_names && curves[i].label; k++)
            (void)append(&curves[i].label, part(&f, r, f.names[k]));
        SB_CHECK(curves[i].label, err, SB_NO_MEMORY, "out of memory for curve labels");
    }
out:
    return st;
}

sb_status sb_plot_label(sb_plot_curve *curves, int64_t n, sb_err *err)
{
    const sb_record **members = sb_alloc(n, sizeof *members);
    if (!members)
        return sb_no_memory(err, "curve labels");
    sb_status st = SB_OK;
    for (int64_t c = 0; c < n && st == SB_OK; c++)
        if (!curves[c].label)
            st = label_method(curves, n, c, members, err);
    sb_free(members);
    return st;
}
