/* What the tables of a report's summary share. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "harness/fs.h"
#include "harness/plot_caption.h"
#include "harness/report_text.h"
#include "harness/report_view.h"

bool sb_report_is_bound(const sb_plot_curve *c)
{
    return strcmp(c->first->method, "oracle") == 0 || strcmp(c->first->method, "random") == 0;
}

const char *sb_report_title(const sb_plot_group *g, char *buf)
{
    const sb_record *r = g->first;
    if (sb_report_is_model(g)) {
        (void)snprintf(buf, SB_NAME_BYTES, "%.400s, %.16s, %.16s", r->capture, r->dtype,
                       r->backend);
        return buf;
    }
    (void)snprintf(buf, SB_NAME_BYTES, "%.200s%s%.200s%s, %.16s, %.16s", sb_base_name(r->capture),
                   *r->model ? " (" : "", r->model, *r->model ? ")" : "", r->dtype, r->backend);
    return buf;
}

void sb_report_open_table(FILE *out, const sb_plot_group *g, int64_t tokens, const char *title,
                          const char *note, const char *const *heads, int n_heads)
{
    char layers[160];
    if (sb_report_is_model(g))
        (void)snprintf(layers, sizeof layers, "%" PRId64 " text%s", g->n_layers,
                       g->n_layers == 1 ? "" : "s");
    else
        sb_plot_layers_text(g->layers, g->n_layers, layers, sizeof layers);
    fprintf(out,
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"%s\"><table>\n"
            "<caption><b>%s.</b> ",
            title, title);
    sb_html_text(out, note);
    fprintf(out, " Of %s, %" PRId64 " tokens.</caption>\n<thead><tr>", layers, tokens);
    for (int i = 0; i < n_heads; i++)
        fprintf(out, "<th scope=\"col\">%s</th>", heads[i]);
    fputs("</tr></thead>\n<tbody>\n", out);
}

void sb_report_close_table(FILE *out)
{
    fputs("</tbody></table></div>\n", out);
}

void sb_report_text_cell(FILE *out, const char *text)
{
    fputs("<td>", out);
    sb_html_text(out, text);
    fputs("</td>", out);
}

void sb_report_real_cell(FILE *out, double x, const char *unit)
{
    if (isfinite(x))
        fprintf(out, fabs(x) < 1000 ? "<td>%.3g%s</td>" : "<td>%.0f%s</td>", x, unit);
    else
        fputs("<td>–</td>", out);
}

void sb_report_label(FILE *out, const char *label)
{
    fputs("<th scope=\"row\">", out);
    sb_html_text(out, label);
    fputs("</th>", out);
}
