/* Records with a model in the loop as the tables and plots take records: a text in the place of a
 * layer, the divergence of the model's output in that of the error. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/report_view.h"

bool sb_report_of_model(const sb_record *r)
{
    return strcmp(r->status, "ok") == 0 && *r->task != '\0';
}

bool sb_report_is_model(const sb_plot_group *g)
{
    return *g->first->text != '\0';
}

/* What is compared with each other: one task in one setting of a model. */
static char *place_of(const sb_record *r)
{
    const char *setting = strcmp(r->setting, "all") == 0      ? "all rows sparse"
                          : strcmp(r->setting, "decode") == 0 ? "decoding after a sparse prefill"
                                                              : r->setting;
    return sb_sprintf("%s: %s, %s", r->model, r->task, setting);
}

static bool is_part(const char *field, const char *whole)
{
    return *field && strcmp(field, whole) != 0;
}

bool sb_report_is_partial(const sb_plot_curve *c)
{
    const sb_record *r = c->first;
    return *r->text && (is_part(r->layer_set, "all") || is_part(r->head_set, "all") ||
                        is_part(r->row_range, "0-1"));
}

/* Where a method attends is a parameter of it; "3,4" is the list [3 4]. */
static char *params_of(const sb_record *r)
{
    bool layers = strchr(r->layer_set, ',') != NULL, heads = strchr(r->head_set, ',') != NULL;
    char *text = sb_sprintf("%s layers=%s%s%s heads=%s%s%s rows=%s", r->params, layers ? "[" : "",
                            *r->layer_set ? r->layer_set : "all", layers ? "]" : "",
                            heads ? "[" : "", *r->head_set ? r->head_set : "all", heads ? "]" : "",
                            *r->row_range ? r->row_range : "0-1");
    for (char *at = text ? text + strlen(r->params) : NULL; at && *at; at++)
        if (*at == ',')
            *at = ' ';
    return text;
}

/* The number of a text among those of the records before it. */
static int64_t number_of_text(const sb_record *records, const sb_record *stand_ins, int64_t i)
{
    int64_t next = 0;
    for (int64_t j = 0; j < i; j++) {
        if (!stand_ins[j].capture)
            continue;
        if (strcmp(records[j].text, records[i].text) == 0)
            return stand_ins[j].layer;
        if (stand_ins[j].layer >= next)
            next = stand_ins[j].layer + 1;
    }
    return next;
}

sb_status sb_report_stand_ins(const sb_record *records, int64_t n, sb_record **stand_ins,
                              sb_err *err)
{
    sb_record *out = *stand_ins = sb_alloc(n, sizeof *out);
    if (!out)
        return sb_no_memory(err, "records of a model");
    for (int64_t i = 0; i < n; i++) {
        const sb_record *r = &records[i];
        if (!sb_report_of_model(r))
            continue; /* an empty one, which no group takes */
        out[i] = *r;
        out[i].layer = number_of_text(records, out, i);
        out[i].task = NULL;
        out[i].rel_l2 = r->logit_kl > 0 ? r->logit_kl : NAN;
        out[i].capture = place_of(r);
        out[i].params = params_of(r);
        if (!out[i].capture || !out[i].params)
            return sb_no_memory(err, "records of a model");
    }
    return SB_OK;
}

void sb_report_stand_ins_free(sb_record *stand_ins, int64_t n)
{
    for (int64_t i = 0; stand_ins && i < n; i++) {
        sb_free(stand_ins[i].params);
        sb_free(stand_ins[i].capture);
    }
    sb_free(stand_ins);
}

void sb_report_write_model_note(FILE *out, const sb_plot_group *g)
{
    fputs("<p class=\"note\">KL is the divergence of the model's next-token distributions from "
          "those with dense attention, in nats. A model is not timed, and there are no errors by "
          "head or position of it: tables of these are left out.",
          out);
    for (int64_t c = 0; c < g->n_curves; c++)
        if (sb_report_is_partial(&g->curves[c])) {
            fputs(" Settings of some layers, heads or rows alone are in the plots, but not held "
                  "against others.",
                  out);
            break;
        }
    if (g->n_incomplete > 0)
        fprintf(out, " So are settings not run on all %" PRId64 " texts (%" PRId64 ").",
                g->n_layers, g->n_incomplete);
    fputs("</p>\n", out);
}
