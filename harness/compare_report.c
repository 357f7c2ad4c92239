#include "harness/compare_report.h"

#include <inttypes.h>
#include <math.h>

#include "harness/mem.h"

/* ---- making -------------------------------------------------------------------------------- */

bool sb_report_fails(const sb_report *report, const sb_pair *p)
{
    return p->outcome > SB_CELL_REGRESSED || (p->outcome == SB_CELL_REGRESSED && !report->gates);
}

/* Index of the largest increase of y over x, or -1. */
static int64_t largest_increase(const sb_series *x, const sb_series *y)
{
    int64_t best = -1;
    for (int64_t i = 0; i < x->n && x->n == y->n; i++) {
        double increase = y->data[i] - x->data[i];
        if (increase > 0 && (best < 0 || increase > y->data[best] - x->data[best]))
            best = i;
    }
    return best;
}

static sb_worst_place place_of(const sb_record *x, const sb_record *y)
{
    sb_worst_place place = {.head = -1, .token = -1};
    const sb_series *head_x = &x->series[SB_SERIES_HEAD_REL_L2];
    const sb_series *head_y = &y->series[SB_SERIES_HEAD_REL_L2];
    const sb_series *pos_x = &x->series[SB_SERIES_POS_REL_L2];
    const sb_series *pos_y = &y->series[SB_SERIES_POS_REL_L2];
    int64_t i = place.head = largest_increase(head_x, head_y);
    if (i >= 0) {
        place.head_before = head_x->data[i];
        place.head_after = head_y->data[i];
    }
    i = x->pos_bin == y->pos_bin ? largest_increase(pos_x, pos_y) : -1;
    if (i >= 0) {
        place.token = i * x->pos_bin;
        place.n_tokens = x->pos_bin;
        place.tokens_before = pos_x->data[i];
        place.tokens_after = pos_y->data[i];
    }
    return place;
}

/* Series are loaded of the worst cells alone. */
static sb_status find_places(sb_report *report, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_comparison *c = report->c;
    sb_record x[SB_WORST], y[SB_WORST];
    int64_t base[SB_WORST], cand[SB_WORST], which[SB_WORST], n = 0;
    for (int64_t i = 0; i < report->n_worst; i++) {
        const sb_pair *p = &c->pairs[report->worst[i]];
        report->places[i] = (sb_worst_place){.head = -1, .token = -1};
        if (p->outcome != SB_CELL_REGRESSED)
            continue;
        base[n] = p->base;
        cand[n] = p->cand;
        which[n++] = i;
    }
    for (int64_t i = 0; i < SB_WORST; i++) {
        sb_record_init(&x[i]);
        sb_record_init(&y[i]);
    }
    SB_TRY(sb_compare_run_whole(&c->base, base, n, x, err));
    SB_TRY(sb_compare_run_whole(&c->cand, cand, n, y, err));
    for (int64_t i = 0; i < n; i++)
        report->places[which[i]] = place_of(&x[i], &y[i]);
out:
    for (int64_t i = 0; i < SB_WORST; i++) {
        sb_record_free(&x[i]);
        sb_record_free(&y[i]);
    }
    return st;
}

sb_status sb_report_make(const sb_comparison *c, const sb_gates *gates, sb_report *report,
                         sb_err *err)
{
    *report = (sb_report){.c = c, .gates = gates};
    if (gates) {
        report->results = sb_alloc(gates->n, sizeof *report->results);
        if (!report->results)
            return sb_no_memory(err, "the gates' results");
    }
    for (int64_t i = 0; gates && i < gates->n; i++) {
        sb_gate_judge(&gates->list[i], c, &report->results[i]);
        report->n_gates_failed += report->results[i].failed;
    }
    report->failed = report->n_gates_failed > 0;
    for (int i = SB_CELL_REGRESSED; i < SB_N_OUTCOMES; i++)
        if (i != SB_CELL_REGRESSED || !gates)
            report->failed |= c->n_outcomes[i] > 0;
    report->n_worst = sb_compare_worst(c, report->worst, SB_WORST);
    return find_places(report, err);
}

void sb_report_free(sb_report *report)
{
    sb_free(report->results);
    *report = (sb_report){0};
}

/* ---- plain text ---------------------------------------------------------------------------- */

static void write_gates(const sb_report *r, FILE *out)
{
    char line[SB_LINE];
    for (int64_t i = 0; r->gates && i < r->gates->n; i++) {
        const sb_gate *gate = &r->gates->list[i];
        const sb_gate_result *result = &r->results[i];
        fprintf(out, "%s %s (%s:%d): %s\n", result->failed ? "FAIL" : "pass", gate->name,
                r->gates->path, gate->line, sb_describe_gate(gate, result, line));
        for (int j = 0; j < result->n_shown; j++) {
            const sb_pair *p = &r->c->pairs[result->shown[j].pair];
            fprintf(out, "     %s: %s\n", result->shown[j].why, sb_describe_cell(r->c, p, line));
        }
    }
}

static void write_worst(const sb_report *r, FILE *out)
{
    char line[SB_LINE];
    for (int64_t i = 0; i < r->n_worst; i++) {
        const sb_pair *p = &r->c->pairs[r->worst[i]];
        if (i == 0)
            fprintf(out, "\nworst cells, worst first:\n");
        fprintf(out, "  %s: %s\n", sb_outcome_name(p->outcome), sb_describe_cell(r->c, p, line));
        fprintf(out, "      %s\n", sb_describe_change(r->c, p, line));
        if (sb_describe_place(&r->places[i], line)[0])
            fprintf(out, "      %s\n", line);
    }
}

/* The first few cells of an outcome. */
static void write_some(const sb_report *r, sb_outcome outcome, FILE *out)
{
    enum { MOST = 5 };
    char line[SB_LINE];
    int64_t n = 0;
    for (int64_t i = 0; i < r->c->n && n < MOST; i++) {
        const sb_pair *p = &r->c->pairs[i];
        if (p->outcome != outcome)
            continue;
        if (n++ == 0)
            fprintf(out, "\n%s: %" PRId64 ", first of them\n", sb_outcome_name(outcome),
                    r->c->n_outcomes[outcome]);
        fprintf(out, "  %s\n", sb_describe_cell(r->c, p, line));
        fprintf(out, "      %s\n", sb_describe_change(r->c, p, line));
    }
}

void sb_report_text(const sb_report *r, FILE *out)
{
    char line[SB_LINE];
    const sb_comparison *c = r->c;
    fprintf(out, "%s\n", sb_describe_verdict(r, line));
    fprintf(out, "baseline:  %s, %" PRId64 " cells\n", c->base.path, c->base.list.n);
    fprintf(out, "candidate: %s, %" PRId64 " cells\n", c->cand.path, c->cand.list.n);
    fprintf(out, "cells:     %s\n", sb_describe_cells(c, line));
    fprintf(out, "patterns:  %s\n", sb_describe_patterns(c, line));
    fprintf(out, "latency:   %s\n", sb_describe_latency(c, line));
    write_gates(r, out);
    write_worst(r, out);
    for (int i = SB_CELL_IMPROVED; i <= SB_CELL_STILL; i++)
        write_some(r, (sb_outcome)i, out);
}
