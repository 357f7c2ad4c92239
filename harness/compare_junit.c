#include <inttypes.h>
#include <string.h>

#include "harness/compare_report.h"

/* Bytes of a UTF-8 character that XML allows, or 0. */
static int character(const unsigned char *s)
{
    if (s[0] < 0x80)
        return s[0] >= ' ' || strchr("\t\n\r", s[0]) ? 1 : 0;
    int n = s[0] >= 0xc2 && s[0] < 0xe0   ? 2
            : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
            : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                          : 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f) ||
        (s[0] == 0xef && s[1] == 0xbf && s[2] > 0xbd))
        return 0;
    return n;
}

/* Writes text as XML, in an attribute or between tags; what XML cannot hold becomes '?'. */
static void put(const char *text, FILE *out)
{
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        int n = character(s);
        if (n == 0)
            fputc('?', out);
        else if (n > 1)
            (void)fwrite(s, 1, (size_t)n, out);
        else if (*s == '<')
            fputs("&lt;", out);
        else if (*s == '>')
            fputs("&gt;", out);
        else if (*s == '&')
            fputs("&amp;", out);
        else if (*s == '"')
            fputs("&quot;", out);
        else if (*s < ' ')
            fprintf(out, "&#%d;", *s);
        else
            fputc(*s, out);
        s += n > 0 ? n : 1;
    }
}

static void open_case(const char *suite, const char *name, FILE *out)
{
    fprintf(out, "    <testcase classname=\"stembench.%s\" name=\"", suite);
    put(name, out);
    fputs("\">\n", out);
}

static void write_gate(const sb_report *r, int64_t i, FILE *out)
{
    char line[SB_LINE], name[SB_LINE];
    const sb_gate *gate = &r->gates->list[i];
    const sb_gate_result *result = &r->results[i];
    (void)snprintf(name, sizeof name, "%.500s (line %d)", gate->name, gate->line);
    open_case("gates", name, out);
    if (result->failed) {
        fputs("      <failure message=\"", out);
        put(sb_describe_gate(gate, result, line), out);
        fputs("\">", out);
        for (int j = 0; j < result->n_shown; j++) {
            put(result->shown[j].why, out);
            fputs(": ", out);
            put(sb_describe_cell(r->c, &r->c->pairs[result->shown[j].pair], line), out);
            fputc('\n', out);
        }
        fputs("</failure>\n", out);
    }
    fputs("    </testcase>\n", out);
}

static const sb_worst_place *place_of(const sb_report *r, int64_t pair)
{
    for (int64_t i = 0; i < r->n_worst; i++)
        if (r->worst[i] == pair)
            return &r->places[i];
    return NULL;
}

static void write_cell(const sb_report *r, int64_t i, FILE *out)
{
    char line[SB_LINE];
    const sb_pair *p = &r->c->pairs[i];
    const sb_worst_place *place = place_of(r, i);
    open_case("cells", sb_describe_cell(r->c, p, line), out);
    if (sb_report_fails(r, p)) {
        fprintf(out, "      <failure type=\"%s\" message=\"", sb_outcome_name(p->outcome));
        put(sb_describe_change(r->c, p, line), out);
        fputs("\">", out);
        put(place ? sb_describe_place(place, line) : "", out);
        fputs("</failure>\n", out);
    } else if (p->outcome == SB_CELL_STILL || p->outcome == SB_CELL_EXTRA) {
        fputs("      <skipped message=\"", out);
        put(sb_describe_change(r->c, p, line), out);
        fputs("\"/>\n", out);
    }
    fputs("    </testcase>\n", out);
}

void sb_report_junit(const sb_report *r, FILE *out)
{
    const sb_comparison *c = r->c;
    int64_t n_failed = 0, n_gates = r->gates ? r->gates->n : 0;
    int64_t n_skipped = c->n_outcomes[SB_CELL_STILL] + c->n_outcomes[SB_CELL_EXTRA];
    for (int64_t i = 0; i < c->n; i++)
        n_failed += sb_report_fails(r, &c->pairs[i]);
    fprintf(out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<testsuites name=\"stembench compare\" tests=\"%" PRId64 "\" failures=\"%" PRId64
            "\" errors=\"0\">\n",
            c->n + n_gates, n_failed + r->n_gates_failed);
    if (r->gates) {
        fprintf(out,
                "  <testsuite name=\"gates\" tests=\"%" PRId64 "\" failures=\"%" PRId64
                "\" errors=\"0\" skipped=\"0\">\n",
                n_gates, r->n_gates_failed);
        for (int64_t i = 0; i < n_gates; i++)
            write_gate(r, i, out);
        fputs("  </testsuite>\n", out);
    }
    fprintf(out,
            "  <testsuite name=\"cells\" tests=\"%" PRId64 "\" failures=\"%" PRId64
            "\" errors=\"0\" skipped=\"%" PRId64 "\">\n",
            c->n, n_failed, n_skipped);
    for (int64_t i = 0; i < c->n; i++)
        write_cell(r, i, out);
    fputs("  </testsuite>\n</testsuites>\n", out);
}
