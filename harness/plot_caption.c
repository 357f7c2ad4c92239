#include "harness/plot_caption.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "harness/fs.h"
#include "harness/provenance.h"

enum { SOURCE_CHARS = 256 };

/* ---- what was computed ---------------------------------------------------------------------- */

void sb_plot_layers_text(const int64_t *layers, int64_t n, char *buf, size_t bytes)
{
    if (n > 8) {
        (void)snprintf(buf, bytes, "%" PRId64 " layers from %" PRId64 " to %" PRId64, n, layers[0],
                       layers[n - 1]);
        return;
    }
    int at = snprintf(buf, bytes, n == 1 ? "layer" : "layers");
    for (int64_t i = 0; i < n; i++)
        at += snprintf(buf + at, bytes - (size_t)at, "%s %" PRId64, i > 0 ? "," : "", layers[i]);
}

static void block_text(const sb_plot_group *g, char *buf, size_t bytes)
{
    int64_t lo = INT64_MAX, hi = 0;
    for (int64_t c = 0; c < g->n_curves; c++) {
        int64_t block = g->curves[c].first->block;
        lo = block < lo ? block : lo;
        hi = block > hi ? block : hi;
    }
    if (lo == hi)
        (void)snprintf(buf, bytes, "block %" PRId64, lo);
    else
        (void)snprintf(buf, bytes, "blocks %" PRId64 " to %" PRId64, lo, hi);
}

/* "0123456789ab", with "and others" where a run was continued by another build. */
static void commit_text(const sb_plot_group *g, int run, char *buf, size_t bytes)
{
    int n, n_other;
    const char *commit = sb_provenance_value(g->runs[run].first->provenance, "commit", &n);
    bool others = false;
    for (int64_t i = 0; i < g->n_points; i++)
        for (int64_t l = 0; l < g->n_layers && g->curves[g->points[i].curve].run == run; l++) {
            const char *other =
                sb_provenance_value(g->points[i].cells[l]->provenance, "commit", &n_other);
            others |= n != n_other || memcmp(commit, other, (size_t)n) != 0;
        }
    (void)snprintf(buf, bytes, "%.*s%s", n, commit, n > 0 && others ? " and others" : "");
}

/* "capture.h5, model; bf16 on cpu". */
static void source_text(const sb_record *r, char *buf, size_t bytes)
{
    const char *model = r->model ? r->model : "";
    (void)snprintf(buf, bytes, "%s%s%s; %s on %s", sb_base_name(r->capture), *model ? ", " : "",
                   model, r->dtype ? r->dtype : "", r->backend ? r->backend : "");
}

sb_status sb_plot_caption(sb_sheet *s, const sb_plot_group *g, const int64_t *layers,
                          int64_t n_layers, const char *combined, int64_t tokens, sb_err *err)
{
    sb_status st = SB_OK;
    char source[SB_PLOT_RUNS][SOURCE_CHARS], commit[SB_PLOT_RUNS][96];
    char layer_list[160], block[64], length[40] = "", commits[320] = "";
    sb_plot_layers_text(layers, n_layers, layer_list, sizeof layer_list);
    block_text(g, block, sizeof block);
    if (tokens > 0)
        (void)snprintf(length, sizeof length, "; %" PRId64 " tokens", tokens);
    for (int k = 0; k < g->n_runs; k++) {
        source_text(g->runs[k].first, source[k], sizeof source[k]);
        commit_text(g, k, commit[k], sizeof commit[k]);
    }
    bool two = g->n_runs > 1, differ = two && strcmp(source[0], source[1]) != 0;
    for (int k = 0; k < g->n_runs && two; k++)
        SB_TRY(sb_sheet_key(s, SB_SHEET_RUN - k, err, "%s", g->runs[k].name));
    for (int k = 0; k < g->n_runs && differ; k++)
        SB_TRY(sb_sheet_key(s, 0, err, "%s: %s.", g->runs[k].name, source[k]));
    if (two && strcmp(commit[0], commit[1]) != 0)
        (void)snprintf(commits, sizeof commits, "; commits %s (%s) and %s (%s)", commit[0],
                       g->runs[0].name, commit[1], g->runs[1].name);
    else if (*commit[0])
        (void)snprintf(commits, sizeof commits, "; commit %s", commit[0]);
    SB_TRY(sb_sheet_key(s, 0, err, "%s%s%s%s%s%s; %s%s.",
                        differ ? "Both: "
                        : two  ? "Both runs: "
                               : "",
                        differ ? "" : source[0], differ ? "" : "; ", layer_list,
                        n_layers > 1 ? combined : "", length, block, commits));
out:
    return st;
}

/* ---- what the times were taken with --------------------------------------------------------- */

/* A processor's name without marks and words that say nothing: "Intel Xeon Platinum 8481C". */
static void short_name(const char *name, int n, char *buf, size_t bytes)
{
    static const char *const noise[] = {"(R)", "(TM)", "(r)", "(tm)", " CPU", " Processor"};
    size_t used = 0;
    for (int i = 0; i < n && used + 1 < bytes;) {
        int skip = 0;
        for (size_t k = 0; k < sizeof noise / sizeof noise[0]; k++) {
            int length = (int)strlen(noise[k]);
            if (length <= n - i && memcmp(name + i, noise[k], (size_t)length) == 0)
                skip = length;
        }
        if (skip == 0 && n - i > 2 && memcmp(name + i, " @ ", 3) == 0)
            break;
        if (skip == 0)
            buf[used++] = name[i++];
        i += skip;
    }
    buf[used] = '\0';
}

/* The run's first record with times. */
static const sb_record *timed(const sb_plot_group *g, int run)
{
    for (int64_t i = 0; i < g->n_points; i++)
        if (g->curves[g->points[i].curve].run == run && isfinite(g->points[i].total_ms))
            return g->points[i].cells[0];
    return g->runs[run].first;
}

static bool others(const sb_plot_group *g, int run, const sb_record *r)
{
    for (int64_t i = 0; i < g->n_points; i++)
        for (int64_t l = 0; l < g->n_layers && g->curves[g->points[i].curve].run == run; l++)
            if (!sb_provenance_same_machine(r->provenance, g->points[i].cells[l]->provenance))
                return true;
    return false;
}

void sb_plot_record_machine(const sb_record *r, bool and_others, char buf[SB_PLOT_MACHINE_CHARS])
{
    int n = 0;
    char name[128], threads[32] = "";
    bool on_gpu = r->backend && strcmp(r->backend, "cuda") == 0;
    const char *at = sb_provenance_value(r->provenance, on_gpu ? "gpu" : "cpu", &n);
    short_name(at, n, name, sizeof name);
    if (!on_gpu)
        (void)snprintf(threads, sizeof threads, ", %" PRId64 " thread%s", r->threads,
                       r->threads == 1 ? "" : "s");
    (void)snprintf(buf, SB_PLOT_MACHINE_CHARS, "%s%s%s kernel%s%s", name, n > 0 ? ", " : "",
                   r->kernel ? r->kernel : "", threads, and_others ? ", and other machines" : "");
}

void sb_plot_machine_text(const sb_plot_group *g, int run, char buf[SB_PLOT_MACHINE_CHARS])
{
    const sb_record *r = timed(g, run);
    sb_plot_record_machine(r, others(g, run, r), buf);
}

sb_status sb_plot_machine(sb_sheet *s, const sb_plot_group *g, const char *rest, sb_err *err)
{
    sb_status st = SB_OK;
    char machine[SB_PLOT_RUNS][SB_PLOT_MACHINE_CHARS];
    for (int k = 0; k < g->n_runs; k++)
        sb_plot_machine_text(g, k, machine[k]);
    bool foreign = g->n_runs > 1 &&
                   !sb_provenance_same_machine(timed(g, 0)->provenance, timed(g, 1)->provenance);
    if (g->n_runs == 1 || (!foreign && strcmp(machine[0], machine[1]) == 0))
        return sb_sheet_key(s, 0, err, "%s.%s%s", machine[0], *rest ? " " : "", rest);
    SB_TRY(sb_sheet_key(
        s, 0, err, "%s: %s. %s: %s.%s", g->runs[0].name, machine[0], g->runs[1].name, machine[1],
        foreign && *rest ? " Times are of different machines: compare ratios." : ""));
    if (*rest)
        SB_TRY(sb_sheet_key(s, 0, err, "%s", rest));
out:
    return st;
}

/* ---- what is not shown ---------------------------------------------------------------------- */

sb_status sb_plot_omissions(sb_sheet *s, const sb_plot_group *g, sb_err *err)
{
    int64_t n_shown = 0;
    sb_status st = SB_OK;
    for (int64_t c = 0; c < g->n_curves; c++)
        n_shown += g->curves[c].slot > 0;
    if (n_shown < g->n_curves)
        SB_TRY(sb_sheet_key(s, 0, err, "%" PRId64 " of %" PRId64 " curves shown.", n_shown,
                            g->n_curves));
    if (g->n_incomplete > 0)
        SB_TRY(sb_sheet_key(s, 0, err, "Settings left out because a layer is missing: %" PRId64 ".",
                            g->n_incomplete));
    if (g->n_mixed > 0)
        SB_TRY(sb_sheet_key(
            s, 0, err, "Times left out, of unlike machines at one length: %" PRId64 " length%s.",
            g->n_mixed, g->n_mixed == 1 ? "" : "s"));
out:
    return st;
}

sb_status sb_plot_once(sb_sheet *s, const sb_plot_group *g, bool errors, sb_err *err)
{
    int64_t n = 0;
    for (int64_t c = 0; c < g->n_curves; c++)
        n += g->curves[c].slot > 0 && sb_plot_repeats(g, c, errors);
    return n == 0 ? SB_OK
                  : sb_sheet_key(s, 0, err,
                                 "Equal in both runs, so drawn once, solid: %" PRId64 " curve%s.",
                                 n, n == 1 ? "" : "s");
}

sb_status sb_plot_labels(sb_sheet *s, const sb_plot_group *g, sb_err *err)
{
    sb_status st = SB_OK;
    for (int64_t c = 0; c < g->n_curves; c++)
        if (g->curves[c].slot > 0)
            SB_TRY(sb_sheet_key(s, g->curves[c].slot, err, "%s", g->curves[c].label));
out:
    return st;
}
