/* Records with a model in the loop as the tables and plots take records: a text in the place of a
 * layer, the divergence of the model's output in that of the error. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "harness/equal.h"
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

static char *text_of(const void *things, int64_t i)
{
    const sb_record *r = &((const sb_record *)things)[i];
    return sb_report_of_model(r) ? sb_sprintf("of %s", r->text) : sb_strdup("");
}

sb_status sb_report_stand_ins(const sb_record *records, int64_t n, sb_record **stand_ins,
                              sb_err *err)
{
    sb_status st = SB_OK;
    int64_t *first = sb_alloc(n, sizeof *first), n_texts = 0;
    sb_record *made = *stand_ins = sb_alloc(n, sizeof *made);
    SB_CHECK(first && made, err, SB_NO_MEMORY, "out of memory for records of a model");
    SB_TRY(sb_first_equal(records, n, text_of, first, err));
    for (int64_t i = 0; i < n; i++) {
        const sb_record *r = &records[i];
        if (!sb_report_of_model(r))
            continue; /* an empty one, which no group takes */
        made[i] = *r;
        made[i].layer = first[i] < i ? made[first[i]].layer : n_texts++;
        made[i].task = NULL;
        made[i].rel_l2 = r->logit_kl > 0 ? r->logit_kl : NAN;
        made[i].capture = place_of(r);
        made[i].params = params_of(r);
        SB_CHECK(made[i].capture && made[i].params, err, SB_NO_MEMORY,
                 "out of memory for records of a model");
    }
out:
    sb_free(first);
    return st;
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
