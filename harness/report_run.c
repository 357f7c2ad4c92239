/* What was run, on what, with what, and what of it failed. */
#include <inttypes.h>
#include <string.h>

#include "harness/equal.h"
#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/provenance.h"
#include "harness/report_text.h"
#include "harness/report_view.h"

enum { MOST_FAILURES = 50 /* reasons listed */ };

/* ---- names that records share ----------------------------------------------------------- */

const char *sb_report_machine(const sb_record *r, char *buf)
{
    int n_cpu, n_gpu;
    const char *cpu = sb_provenance_value(r->provenance, "cpu", &n_cpu);
    const char *gpu = sb_provenance_value(r->provenance, "gpu", &n_gpu);
    (void)snprintf(buf, SB_NAME_BYTES, "%" PRId64 " thread%s%s%.*s%s%.*s", r->threads,
                   r->threads == 1 ? "" : "s", n_cpu ? ", " : "", n_cpu, cpu, n_gpu ? ", " : "",
                   n_gpu, gpu);
    return buf;
}

const char *sb_report_kernel(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%s", r->kernel);
    return buf;
}

const char *sb_report_version(const sb_record *r, char *buf)
{
    int n_version, n_commit;
    const char *version = sb_provenance_value(r->provenance, "stembench", &n_version);
    const char *commit = sb_provenance_value(r->provenance, "commit", &n_commit);
    (void)snprintf(buf, SB_NAME_BYTES, "stembench %.*s (commit %.*s)", n_version, version, n_commit,
                   commit);
    return buf;
}

static const char *capture_name(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%.200s%s%.200s%s", sb_base_name(r->capture),
                   *r->model ? " (" : "", r->model, *r->model ? ")" : "");
    return buf;
}

static const char *method_name(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%s", r->method);
    return buf;
}

static const char *type_name(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%s on %s", r->dtype, r->backend);
    return buf;
}

static const char *layer_name(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%" PRId64, r->layer);
    return buf;
}

static const char *model_name(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%s", r->model);
    return buf;
}

static const char *text_name(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%s", r->text);
    return buf;
}

static const char *task_name(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%s", r->task);
    return buf;
}

static const char *setting_name(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%s", r->setting);
    return buf;
}

static const char *length_name(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%" PRId64, r->tokens);
    return buf;
}

static const char *failure_name(const sb_record *r, char *buf)
{
    (void)snprintf(buf, SB_NAME_BYTES, "%.16s: %.400s", r->status,
                   *r->reason ? r->reason : "no reason recorded");
    return buf;
}

typedef struct naming {
    const sb_report_view *view;
    sb_report_name *name;
} naming;

static char *name_text(const void *things, int64_t i)
{
    const naming *by = things;
    char text[SB_NAME_BYTES];
    return sb_strdup(by->name(&by->view->records[i], text));
}

/* Of each record the first with the same name, *first [v->n], which is sb_free's. */
static sb_status find_names(const sb_report_view *v, sb_report_name *name, int64_t **first,
                            sb_err *err)
{
    const naming by = {v, name};
    *first = sb_alloc(v->n, sizeof **first);
    return *first ? sb_first_equal(&by, v->n, name_text, *first, err)
                  : sb_no_memory(err, "the names of records");
}

sb_status sb_report_each_name(const sb_report_view *v, sb_report_name *name, const char *separator,
                              sb_report_put *put, FILE *out, sb_err *err)
{
    char text[SB_NAME_BYTES];
    int64_t *first;
    sb_status st = find_names(v, name, &first, err);
    for (int64_t i = 0; i < v->n && st == SB_OK; i++) {
        if (first[i] != i)
            continue;
        put(out, i > 0 ? separator : "");
        put(out, name(&v->records[i], text));
    }
    sb_free(first);
    return st;
}

/* ---- what was run ----------------------------------------------------------------------- */

static sb_status put_names(FILE *out, const sb_report_view *v, const char *what,
                           const char *separator, sb_report_name *name, sb_err *err)
{
    fprintf(out, "<dt>%s</dt><dd>", what);
    sb_status st = sb_report_each_name(v, name, separator, sb_html_text, out, err);
    fputs("</dd>\n", out);
    return st;
}

static int64_t n_of_status(const sb_report_view *v, const char *status)
{
    int64_t n = 0;
    for (int64_t i = 0; i < v->n; i++)
        n += strcmp(v->records[i].status, status) == 0;
    return n;
}

static void put_cells(FILE *out, const sb_report_view *v)
{
    static const char *const states[] = {"ok", "failed", "unsupported"};
    fprintf(out, "<dt>Cells</dt><dd>%" PRId64, v->n);
    for (int i = 0; i < 3; i++) {
        int64_t n = n_of_status(v, states[i]);
        if (n > 0 || i == 0)
            fprintf(out, "%s%" PRId64 " %s", i > 0 ? ", " : ": ", n, states[i]);
    }
    fputs("</dd>\n", out);
}

/* n cells that ended as `r` did, the first of them. */
static void put_failure(FILE *out, const sb_record *r, int64_t n)
{
    char text[SB_NAME_BYTES];
    fprintf(out, "<li>%" PRId64 " ", n);
    sb_html_text(out, failure_name(r, text));
    fputs(" (first: ", out);
    sb_html_text(out, r->method);
    if (*r->task) {
        fputs(", ", out);
        sb_html_text(out, r->text);
    } else {
        fprintf(out, ", layer %" PRId64, r->layer);
    }
    fprintf(out, ", %" PRId64 " tokens)</li>\n", r->tokens);
}

static sb_status put_failures(FILE *out, const sb_report_view *v, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t *first = NULL, *n_of = NULL, n_kinds = 0, n_rest = 0;
    if (n_of_status(v, "ok") == v->n)
        return SB_OK;
    SB_TRY(find_names(v, failure_name, &first, err));
    n_of = sb_alloc(v->n, sizeof *n_of);
    SB_CHECK(n_of, err, SB_NO_MEMORY, "out of memory for the names of records");
    for (int64_t i = 0; i < v->n; i++)
        n_of[first[i]]++;
    fputs("<h3>Cells without a result</h3>\n<ul>\n", out);
    for (int64_t i = 0; i < v->n; i++) {
        if (first[i] != i || strcmp(v->records[i].status, "ok") == 0)
            continue;
        if (n_kinds++ < MOST_FAILURES)
            put_failure(out, &v->records[i], n_of[i]);
        else
            n_rest += n_of[i];
    }
    if (n_rest > 0)
        fprintf(out, "<li>... and %" PRId64 " for other reasons, see results.csv</li>\n", n_rest);
    fputs("</ul>\n", out);
out:
    sb_free(n_of);
    sb_free(first);
    return st;
}

static bool all_of_model(const sb_report_view *v)
{
    for (int64_t i = 0; i < v->n; i++)
        if (!*v->records[i].task)
            return false;
    return true;
}

sb_status sb_report_write_run(FILE *out, const sb_report_view *v, sb_err *err)
{
    sb_status st = SB_OK;
    fputs("<dl>\n", out);
    if (all_of_model(v)) {
        SB_TRY(put_names(out, v, "Model in the loop", "; ", model_name, err));
        SB_TRY(put_names(out, v, "Texts", ", ", text_name, err));
        SB_TRY(put_names(out, v, "Tasks", ", ", task_name, err));
        SB_TRY(put_names(out, v, "Settings", ", ", setting_name, err));
    } else {
        SB_TRY(put_names(out, v, "Captures", "; ", capture_name, err));
        SB_TRY(put_names(out, v, "Layers", ", ", layer_name, err));
    }
    SB_TRY(put_names(out, v, "Tokens", ", ", length_name, err));
    SB_TRY(put_names(out, v, "Computed in", "; ", type_name, err));
    SB_TRY(put_names(out, v, "Methods", ", ", method_name, err));
    put_cells(out, v);
    SB_TRY(put_names(out, v, "Kernels", ", ", sb_report_kernel, err));
    SB_TRY(put_names(out, v, "Machine", "; ", sb_report_machine, err));
    fputs("</dl>\n", out);
    SB_TRY(put_failures(out, v, err));
out:
    return st;
}

/* ---- provenance ------------------------------------------------------------------------- */

static char *provenance_text(const void *things, int64_t i)
{
    return sb_strdup(((const sb_record *)things)[i].provenance);
}

sb_status sb_report_write_provenance(FILE *out, const sb_report_view *v, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t *first = sb_alloc(v->n, sizeof *first), *n_of = sb_alloc(v->n, sizeof *n_of);
    SB_CHECK(first && n_of, err, SB_NO_MEMORY, "out of memory for provenance");
    SB_TRY(sb_first_equal(v->records, v->n, provenance_text, first, err));
    for (int64_t i = 0; i < v->n; i++)
        n_of[first[i]]++;
    for (int64_t i = 0; i < v->n; i++) {
        if (first[i] != i)
            continue;
        fprintf(out, "<details><summary>Made %" PRId64 " of %" PRId64 " records</summary>\n<pre>",
                n_of[i], v->n);
        sb_html_text(out, v->records[i].provenance);
        fputs("</pre></details>\n", out);
    }
    fputs("<h3>config.yaml</h3>\n<pre id=\"config\">", out);
    sb_html_text(out, v->config ? v->config : "# The run directory holds none.\n");
    fputs("</pre>\n", out);
out:
    sb_free(n_of);
    sb_free(first);
    return st;
}
