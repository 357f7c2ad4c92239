#include <inttypes.h>
#include <string.h>

#include "harness/compare_report.h"

/* Writes text so that Markdown takes none of it for its own. */
static void put(const char *text, FILE *out)
{
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '@')
            fputs("&#64;", out); /* names nobody */
        else if (strchr("\\`*_[]|#~", *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void put_row(const char *name, const char *text, FILE *out)
{
    fprintf(out, "| %s | ", name);
    put(text, out);
    fputs(" |\n", out);
}

static void write_gates(const sb_report *r, FILE *out)
{
    char line[SB_LINE];
    if (!r->gates)
        return;
    fputs("\n| gate | | cells | worst |\n|---|---|---|---|\n", out);
    for (int64_t i = 0; i < r->gates->n; i++) {
        const sb_gate_result *result = &r->results[i];
        fputs("| ", out);
        put(r->gates->list[i].name, out);
        fputs(result->failed ? " | **FAIL** | " : " | pass | ", out);
        put(sb_describe_gate(&r->gates->list[i], result, line), out);
        fputs(" | ", out);
        if (result->n_shown > 0) {
            put(result->shown[0].why, out);
            fputs(": ", out);
            put(sb_describe_cell(r->c, &r->c->pairs[result->shown[0].pair], line), out);
        }
        fputs(" |\n", out);
    }
}

static void write_worst(const sb_report *r, FILE *out)
{
    char line[SB_LINE];
    if (r->n_worst > 0)
        fputs("\n| worst cells | | change | where most |\n|---|---|---|---|\n", out);
    for (int64_t i = 0; i < r->n_worst; i++) {
        const sb_pair *p = &r->c->pairs[r->worst[i]];
        fputs("| ", out);
        put(sb_describe_cell(r->c, p, line), out);
        fprintf(out, " | %s | ", sb_outcome_name(p->outcome));
        put(sb_describe_change(r->c, p, line), out);
        fputs(" | ", out);
        put(sb_describe_place(&r->places[i], line), out);
        fputs(" |\n", out);
    }
}

/* Every cell that is not the same, up to a number that a comment has room for. */
static void write_details(const sb_report *r, FILE *out)
{
    enum { MOST = 100 };
    char line[SB_LINE];
    const sb_comparison *c = r->c;
    int64_t n_all = c->n - c->n_outcomes[SB_CELL_SAME], n = 0;
    if (n_all == 0)
        return;
    fprintf(out, "\n<details><summary>%" PRId64 " cells that are not the same</summary>\n\n",
            n_all);
    for (int64_t i = 0; i < c->n && n < MOST; i++) {
        const sb_pair *p = &c->pairs[i];
        if (p->outcome == SB_CELL_SAME)
            continue;
        n++;
        fprintf(out, "* %s: ", sb_outcome_name(p->outcome));
        put(sb_describe_cell(c, p, line), out);
        fputs(": ", out);
        put(sb_describe_change(c, p, line), out);
        fputc('\n', out);
    }
    if (n < n_all)
        fprintf(out, "* and %" PRId64 " more\n", n_all - n);
    fputs("\n</details>\n", out);
}

void sb_report_markdown(const sb_report *r, FILE *out)
{
    char line[SB_LINE];
    const sb_comparison *c = r->c;
    fputs("### stembench: ", out);
    put(sb_describe_verdict(r, line), out);
    fputs("\n\n| | |\n|---|---|\n", out);
    put_row("baseline", c->base.path, out);
    put_row("candidate", c->cand.path, out);
    put_row("cells", sb_describe_cells(c, line), out);
    put_row("patterns", sb_describe_patterns(c, line), out);
    put_row("latency", sb_describe_latency(c, line), out);
    write_gates(r, out);
    write_worst(r, out);
    write_details(r, out);
}
