#include "harness/plot_caption.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path ? path : "";
}

static void layers_text(const int64_t *layers, int64_t n, char *buf, size_t bytes)
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

/* Where the numbers come from; `combined` says how the layers were. */
sb_status sb_plot_caption(sb_sheet *s, const sb_plot_group *g, const int64_t *layers,
                          int64_t n_layers, const char *combined, int64_t tokens, sb_err *err)
{
    const sb_record *r = g->first;
    const char *capture = base_name(r->capture), *model = r->model ? r->model : "";
    char layer_list[160], block[48], length[40] = "";
    layers_text(layers, n_layers, layer_list, sizeof layer_list);
    block_text(g, block, sizeof block);
    if (tokens > 0)
        (void)snprintf(length, sizeof length, ", %" PRId64 " tokens", tokens);
    return sb_sheet_key(s, 0, err, "%s%s%s%s, %s, %s, %s%s%s, %s.", capture, *model ? " (" : "",
                        model, *model ? ")" : "", r->dtype ? r->dtype : "",
                        r->backend ? r->backend : "", layer_list, n_layers > 1 ? combined : "",
                        length, block);
}

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
out:
    return st;
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

sb_status sb_plot_machine(sb_sheet *s, const sb_plot_group *g, const char *rest, sb_err *err)
{
    const sb_record *r = g->first;
    for (int64_t i = 0; i < g->n_points && !isfinite(r->total_ms); i++)
        r = g->points[i].cells[0];
    return sb_sheet_key(s, 0, err, "%s kernel, %" PRId64 " thread%s; %s",
                        r->kernel ? r->kernel : "", r->threads, r->threads == 1 ? "" : "s", rest);
}
