#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "harness/compare_report.h"

static const char *const outcome_names[SB_N_OUTCOMES] = {
    [SB_CELL_SAME] = "same",
    [SB_CELL_IMPROVED] = "improved",
    [SB_CELL_RECOVERED] = "recovered",
    [SB_CELL_EXTRA] = "extra",
    [SB_CELL_STILL] = "not computed",
    [SB_CELL_REGRESSED] = "worse",
    [SB_CELL_RESOLVED] = "resolved differently",
    [SB_CELL_FAILED] = "newly failed",
    [SB_CELL_MISSING] = "missing",
};

const char *sb_outcome_name(sb_outcome outcome)
{
    return outcome_names[outcome];
}

/* Adds to a line of SB_LINE bytes, cut where it is full; what records say is kept on one line. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
add(char *buf, const char *fmt, ...)
{
    size_t used = strlen(buf);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(buf + used, SB_LINE - used, fmt, args);
    va_end(args);
    for (char *at = buf + used; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
}

/* Adds "n name" after a comma, unless n is 0. */
static void add_count(char *buf, int64_t n, const char *name, bool *first)
{
    if (n == 0)
        return;
    add(buf, "%s%" PRId64 " %s", *first ? "" : ", ", n, name);
    *first = false;
}

/* ---- the whole ----------------------------------------------------------------------------- */

const char *sb_describe_verdict(const sb_report *r, char *buf)
{
    const sb_comparison *c = r->c;
    bool first = true;
    buf[0] = '\0';
    if (!r->failed && r->gates)
        add(buf, "PASSED: %" PRId64 " gates on %" PRId64 " cells", r->gates->n, c->n);
    else if (!r->failed)
        add(buf, "PASSED: none of %" PRId64 " cells is worse", c->n);
    if (!r->failed)
        return buf;
    add(buf, r->gates ? "FAILED: " : "REGRESSED: ");
    if (r->n_gates_failed > 0) {
        add(buf, "%" PRId64 " of %" PRId64 " gates", r->n_gates_failed, r->gates->n);
        first = false;
    }
    for (int i = SB_CELL_REGRESSED; i < SB_N_OUTCOMES; i++)
        if (i != SB_CELL_REGRESSED || !r->gates)
            add_count(buf, c->n_outcomes[i], outcome_names[i], &first);
    add(buf, "%s %" PRId64 " cells", r->gates ? ";" : " of", c->n);
    return buf;
}

const char *sb_describe_cells(const sb_comparison *c, char *buf)
{
    bool first = true;
    buf[0] = '\0';
    for (int i = 0; i < SB_N_OUTCOMES; i++)
        add_count(buf, c->n_outcomes[i], outcome_names[i], &first);
    if (c->n_failed + c->n_unsupported > 0)
        add(buf, "; in the candidate %" PRId64 " failed, %" PRId64 " unsupported", c->n_failed,
            c->n_unsupported);
    if (c->base.n_left_out + c->cand.n_left_out > 0)
        add(buf, "; left out by --where: %" PRId64 " of the baseline, %" PRId64 " of the candidate",
            c->base.n_left_out, c->cand.n_left_out);
    return buf;
}

const char *sb_describe_patterns(const sb_comparison *c, char *buf)
{
    buf[0] = '\0';
    add(buf, "%" PRId64 " equal, %" PRId64 " differ", c->n_masks - c->n_masks_differ,
        c->n_masks_differ);
    if (c->n_solved > 0)
        add(buf, "; %" PRId64 " matched budgets are solved differently", c->n_solved);
    return buf;
}

static void add_ratio(char *buf, const char *name, const sb_ratio *r)
{
    if (r->n > 0)
        add(buf, "; %s x %.3f (%.3f to %.3f)", name, r->mean, r->min, r->max);
}

const char *sb_describe_latency(const sb_comparison *c, char *buf)
{
    static const char *const names[SB_N_SPEEDS] = {[SB_SPEED_SAME] = "SAME",
                                                   [SB_SPEED_FAST] = "FAST",
                                                   [SB_SPEED_SLOW] = "SLOW",
                                                   [SB_SPEED_AMBG] = "AMBG"};
    bool first = true;
    buf[0] = '\0';
    for (int i = SB_SPEED_SAME; i < SB_N_SPEEDS; i++)
        add_count(buf, c->n_speeds[i], names[i], &first);
    if (c->n_speeds[SB_SPEED_REFUSED] > 0) {
        const sb_pair *p = &c->pairs[c->other_machine];
        const char *x = c->base.machines[c->base.machine[p->base]];
        const char *y = c->cand.machines[c->cand.machine[p->cand]];
        add(buf,
            "%stimes of %" PRId64 " cells are of different machines and not compared (%s -> "
            "%s); --force compares them",
            first ? "" : "; ", c->n_speeds[SB_SPEED_REFUSED], x[0] ? x : "unknown",
            y[0] ? y : "unknown");
        first = false;
    } else if (c->other_machine >= 0) {
        add(buf, "; times of different machines, compared by --force");
    }
    if (first)
        add(buf, "not timed on both sides");
    add_ratio(buf, "speedup", &c->speedup);
    add_ratio(buf, "conversion", &c->conversion);
    return buf;
}

const char *sb_describe_gate(const sb_gate *gate, const sb_gate_result *r, char *buf)
{
    buf[0] = '\0';
    if (r->n_cells < gate->min_cells)
        add(buf, "%s%" PRId64 " cells; expected at least %" PRId64,
            r->n_cells == 0 ? "matched " : "", r->n_cells, gate->min_cells);
    else if (r->n_missed > 0)
        add(buf, "%" PRId64 " of %" PRId64 " cells do not pass", r->n_missed, r->n_cells);
    else
        add(buf, "%" PRId64 " cells", r->n_cells);
    if (r->n_ambiguous > 0)
        add(buf, "; %" PRId64 " ambiguous", r->n_ambiguous);
    return buf;
}

/* ---- one cell ------------------------------------------------------------------------------ */

/* What was measured where of a running model, but for what goes without saying. */
static void add_model(char *buf, const sb_record *r)
{
    static const struct {
        const char *name, *usual, *label;
    } parts[] = {{"task", "text", ""},
                 {"setting", "all", ""},
                 {"layer_set", "all", "layers "},
                 {"head_set", "all", "heads "},
                 {"row_range", "0-1", "rows "}};
    add(buf, ", %s", r->text);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *is = *(char *const *)sb_column_of(sb_column_find(parts[i].name), r);
        if (is[0] && strcmp(is, parts[i].usual) != 0)
            add(buf, ", %s%s", parts[i].label, is);
    }
}

const char *sb_describe_cell(const sb_comparison *c, const sb_pair *p, char *buf)
{
    char label[400];
    const sb_record *r = sb_pair_record(c, p);
    buf[0] = '\0';
    add(buf, "%s",
        p->base >= 0 ? sb_compare_label(&c->base, p->base, label, sizeof label)
                     : sb_compare_label(&c->cand, p->cand, label, sizeof label));
    if (!r->task[0])
        add(buf, ", layer %" PRId64, r->layer);
    add(buf, ", %" PRId64 " tokens, %s, %s", r->tokens, r->dtype, r->backend);
    if (r->task[0])
        add_model(buf, r);
    else
        add(buf, ", %s", r->capture);
    if (r->match_target[0])
        add(buf, ", matched to %.150s", r->match_target);
    return buf;
}

/* Adds the first word in which two lists of parameters differ; false when they are equal. */
static bool add_difference(char *buf, const char *x, const char *y)
{
    int n = 0;
    while (*x || *y) {
        size_t n_x = strcspn(x, " "), n_y = strcspn(y, " ");
        if ((n_x != n_y || memcmp(x, y, n_x) != 0) && n++ == 0)
            add(buf, "%.*s -> %.*s", (int)n_x, x, (int)n_y, y);
        x += n_x + (x[n_x] == ' ');
        y += n_y + (y[n_y] == ' ');
    }
    if (n > 1)
        add(buf, " and %d more", n - 1);
    return n > 0;
}

static void add_fidelity(char *buf, const sb_comparison *c, const sb_pair *p, uint32_t columns)
{
    const sb_record *x = &c->base.list.items[p->base], *y = &c->cand.list.items[p->cand];
    for (int i = 0; i < SB_N_JUDGED; i++) {
        if (!(columns >> i & 1))
            continue;
        double before = sb_judged_of(i, x), after = sb_judged_of(i, y);
        add(buf, "%s%s ", buf[0] ? "; " : "", sb_judged[i].name);
        if (isnan(after))
            add(buf, "%.6g -> empty", before);
        else
            add(buf, "%.6g -> %.6g (%+.3g%%, tolerance %.2g)", before, after,
                100 * (after - before) / fabs(before), sb_pair_tolerance(c, p, i));
    }
}

const char *sb_describe_change(const sb_comparison *c, const sb_pair *p, char *buf)
{
    const sb_record *x = p->base >= 0 ? &c->base.list.items[p->base] : NULL;
    const sb_record *y = p->cand >= 0 ? &c->cand.list.items[p->cand] : NULL;
    buf[0] = '\0';
    switch (p->outcome) {
    case SB_CELL_MISSING:
        add(buf, "not in the candidate");
        break;
    case SB_CELL_EXTRA:
        add(buf, "not in the baseline");
        break;
    case SB_CELL_RESOLVED:
        add(buf, "parameters: ");
        if (!add_difference(buf, x->params, y->params))
            add(buf, "its match target or what fidelity is measured on");
        break;
    case SB_CELL_FAILED:
    case SB_CELL_STILL:
        add(buf, "%s: %.400s", y->status, y->reason);
        break;
    case SB_CELL_RECOVERED:
        add(buf, "%s in the baseline: %.400s", x->status, x->reason);
        break;
    default:
        if (p->mask_differs)
            add(buf, "pattern differs (density %.4f -> %.4f)", x->density, y->density);
        if (x->match_target[0] && strcmp(x->params, y->params) != 0) {
            add(buf, "%ssolved to ", buf[0] ? "; " : "");
            (void)add_difference(buf, x->params, y->params);
        }
        add_fidelity(buf, c, p, p->outcome == SB_CELL_IMPROVED ? p->better : p->worse);
    }
    return buf;
}

const char *sb_describe_place(const sb_worst_place *place, char *buf)
{
    buf[0] = '\0';
    if (place->head >= 0)
        add(buf, "head %" PRId64 ": rel_l2 %.4g -> %.4g", place->head, place->head_before,
            place->head_after);
    if (place->token >= 0)
        add(buf, "%stokens %" PRId64 " to %" PRId64 ": %.4g -> %.4g", buf[0] ? "; " : "",
            place->token, place->token + place->n_tokens - 1, place->tokens_before,
            place->tokens_after);
    return buf;
}
