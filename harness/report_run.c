/* What was run, on what, with what, and what of it failed. */
#include <inttypes.h>
#include <string.h>

#include "harness/fs.h"
#include "harness/provenance.h"
#include "harness/report_text.h"
#include "harness/report_view.h"

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

static bool same_name(const sb_record *a, const sb_record *b, sb_report_name *name)
{
    char x[SB_NAME_BYTES], y[SB_NAME_BYTES];
    return strcmp(name(a, x), name(b, y)) == 0;
}

static bool named_before(const sb_report_view *v, int64_t i, sb_report_name *name)
{
    for (int64_t j = 0; j < i; j++)
        if (same_name(&v->records[j], &v->records[i], name))
            return true;
    return false;
}

void sb_report_each_name(const sb_report_view *v, sb_report_name *name, const char *separator,
                         sb_report_put *put, FILE *out)
{
    char text[SB_NAME_BYTES];
    for (int64_t i = 0; i < v->n; i++) {
        if (named_before(v, i, name))
            continue;
        put(out, i > 0 ? separator : "");
        put(out, name(&v->records[i], text));
    }
}

/* ---- what was run ----------------------------------------------------------------------- */

static void put_names(FILE *out, const sb_report_view *v, const char *what, const char *separator,
                      sb_report_name *name)
{
    fprintf(out, "<dt>%s</dt><dd>", what);
    sb_report_each_name(v, name, separator, sb_html_text, out);
    fputs("</dd>\n", out);
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

static void put_failures(FILE *out, const sb_report_view *v)
{
    char text[SB_NAME_BYTES];
    if (n_of_status(v, "ok") == v->n)
        return;
    fputs("<h3>Cells without a result</h3>\n<ul>\n", out);
    for (int64_t i = 0; i < v->n; i++) {
        const sb_record *r = &v->records[i];
        if (strcmp(r->status, "ok") == 0 || named_before(v, i, failure_name))
            continue;
        int64_t n = 0;
        for (int64_t j = i; j < v->n; j++)
            n += same_name(&v->records[j], r, failure_name);
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
    fputs("</ul>\n", out);
}

static bool all_of_model(const sb_report_view *v)
{
    for (int64_t i = 0; i < v->n; i++)
        if (!*v->records[i].task)
            return false;
    return true;
}

void sb_report_write_run(FILE *out, const sb_report_view *v)
{
    fputs("<dl>\n", out);
    if (all_of_model(v)) {
        put_names(out, v, "Model in the loop", "; ", model_name);
        put_names(out, v, "Texts", ", ", text_name);
        put_names(out, v, "Tasks", ", ", task_name);
        put_names(out, v, "Settings", ", ", setting_name);
    } else {
        put_names(out, v, "Captures", "; ", capture_name);
        put_names(out, v, "Layers", ", ", layer_name);
    }
    put_names(out, v, "Tokens", ", ", length_name);
    put_names(out, v, "Computed in", "; ", type_name);
    put_names(out, v, "Methods", ", ", method_name);
    put_cells(out, v);
    put_names(out, v, "Kernels", ", ", sb_report_kernel);
    put_names(out, v, "Machine", "; ", sb_report_machine);
    fputs("</dl>\n", out);
    put_failures(out, v);
}

/* ---- provenance ------------------------------------------------------------------------- */

static bool same_provenance(const sb_record *a, const sb_record *b)
{
    return strcmp(a->provenance, b->provenance) == 0;
}

static void put_provenance(FILE *out, const sb_report_view *v, int64_t i)
{
    int64_t n = 0;
    for (int64_t j = 0; j < v->n; j++) {
        if (j < i && same_provenance(&v->records[j], &v->records[i]))
            return;
        n += same_provenance(&v->records[j], &v->records[i]);
    }
    fprintf(out, "<details><summary>Made %" PRId64 " of %" PRId64 " records</summary>\n<pre>", n,
            v->n);
    sb_html_text(out, v->records[i].provenance);
    fputs("</pre></details>\n", out);
}

void sb_report_write_provenance(FILE *out, const sb_report_view *v)
{
    for (int64_t i = 0; i < v->n; i++)
        put_provenance(out, v, i);
    fputs("<h3>config.yaml</h3>\n<pre id=\"config\">", out);
    sb_html_text(out, v->config ? v->config : "# The run directory holds none.\n");
    fputs("</pre>\n", out);
}
