/* Data of the throughput figure: one panel for each capture and dtype of a run, so this picture is
 * of the whole run, not of one group. */

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/plot_caption.h"
#include "harness/plot_peers.h"
#include "harness/plot_sheet.h"

enum {
    MAX_PANELS = 4,
    MAX_STYLES = 4, /* lines that a method can have in the picture */
    DENSE_STYLE = 0,
    PEER_STYLE = MAX_STYLES + 1
};

typedef struct view {
    sb_plot_group panels[MAX_PANELS];
    int n_panels, n_left_out, n_lengths, n_styles;
    bool more_styles;
    int64_t lengths[SB_PLOT_COLOURS]; /* ascending: a colour each */
    const char *styles[MAX_STYLES];   /* labels of curves */
    sb_peer *peers;
    int64_t n_peers;
} view;

/* ---- what is shown ------------------------------------------------------------------------- */

static bool timed(const sb_plot_point *p)
{
    return isfinite(p->attend_ms) && p->attend_ms > 0;
}

static bool has_timed_point(const sb_plot_group *g)
{
    for (int64_t i = 0; i < g->n_points; i++)
        if (timed(&g->points[i]))
            return true;
    return false;
}

static int length_slot(const view *v, int64_t tokens)
{
    for (int i = 0; i < v->n_lengths; i++)
        if (v->lengths[i] == tokens)
            return i + 1;
    return 0;
}

/* Keeps the longest where there are more than colours. */
static void add_length(view *v, int64_t tokens)
{
    bool full = v->n_lengths == SB_PLOT_COLOURS;
    if (length_slot(v, tokens) > 0 || (full && tokens < v->lengths[0]))
        return;
    if (full)
        memmove(v->lengths, v->lengths + 1, sizeof v->lengths - sizeof v->lengths[0]);
    int at = full ? SB_PLOT_COLOURS - 1 : v->n_lengths++;
    for (; at > 0 && v->lengths[at - 1] > tokens; at--)
        v->lengths[at] = v->lengths[at - 1];
    v->lengths[at] = tokens;
}

static int style_of(const view *v, const char *label)
{
    for (int i = 0; i < v->n_styles; i++)
        if (strcmp(v->styles[i], label) == 0)
            return i + 1;
    return 0;
}

static void add_panel(view *v, const sb_plot_group *g)
{
    v->panels[v->n_panels++] = *g;
    for (int64_t i = 0; i < g->n_lengths; i++)
        add_length(v, g->lengths[i]);
    for (int64_t i = 0; i < g->n_points; i++) {
        const char *label = g->curves[g->points[i].curve].label;
        if (!timed(&g->points[i]) || style_of(v, label) > 0)
            continue;
        if (v->n_styles < MAX_STYLES)
            v->styles[v->n_styles++] = label;
        else
            v->more_styles = true;
    }
}

static sb_status view_open(const sb_record *records, int64_t n, const char *run_dir, view *v,
                           sb_err *err)
{
    sb_status st = SB_OK;
    *v = (view){0};
    for (int64_t i = 0; i < n; i++) {
        sb_plot_group g;
        if (!sb_plot_opens_group(records, i))
            continue;
        SB_TRY(sb_plot_group_build(records, n, &records[i], &g, err));
        bool shown = has_timed_point(&g);
        if (shown && v->n_panels < MAX_PANELS) {
            add_panel(v, &g);
            continue;
        }
        v->n_left_out += shown;
        sb_plot_group_free(&g);
    }
    SB_TRY(sb_peers_read(run_dir, &v->peers, &v->n_peers, err));
out:
    return st;
}

static void view_close(view *v)
{
    sb_free(v->peers);
    for (int i = 0; i < v->n_panels; i++)
        sb_plot_group_free(&v->panels[i]);
}

/* ---- rates --------------------------------------------------------------------------------- */

static double dense_ms(const sb_plot_group *g, int64_t tokens)
{
    for (int64_t i = 0; i < g->n_lengths; i++)
        if (g->lengths[i] == tokens)
            return g->dense_ms[i];
    return NAN;
}

/* One dense baseline, which the records of a length share: the mean over them. */
static double baseline_ms(const sb_plot_group *g, int64_t tokens, size_t field)
{
    double sum = 0;
    int64_t n = 0;
    if (!isfinite(dense_ms(g, tokens)))
        return NAN;
    for (int64_t i = 0; i < g->n_points; i++)
        for (int64_t l = 0; g->points[i].tokens == tokens && l < g->n_layers; l++) {
            double ms = *(const double *)((const char *)g->points[i].cells[l] + field);
            sum += isfinite(ms) ? ms : 0;
            n += isfinite(ms);
        }
    return n > 0 ? sum / (double)n : NAN;
}

/* FLOPs of a layer, mean: what dense attention needs, or what a setting attends. */
static double mean_flops(const sb_plot_group *g, const sb_plot_point *p, bool dense)
{
    double sum = 0;
    for (int64_t l = 0; l < g->n_layers; l++)
        sum += dense ? p->cells[l]->flops_dense : p->cells[l]->flops_attend;
    return sum / (double)g->n_layers;
}

static double dense_flops(const sb_plot_group *g, int64_t tokens)
{
    for (int64_t i = 0; i < g->n_points; i++)
        if (g->points[i].tokens == tokens)
            return mean_flops(g, &g->points[i], true);
    return NAN;
}

static double roof_of(const sb_plot_group *g)
{
    double roof = NAN;
    for (int64_t i = 0; i < g->n_points; i++)
        for (int64_t l = 0; l < g->n_layers; l++)
            roof = fmax(roof, g->points[i].cells[l]->peak_gflops);
    return roof;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void put_row(sb_sheet *s, const view *v, int panel, int style, int64_t tokens,
                    const char *curve, double density, double gflops, double conversion)
{
    const sb_record *r = v->panels[panel].first;
    char title[96];
    /* gnuplot splits at a comma within quotes too */
    (void)snprintf(title, sizeof title, "%s d %" PRId64 " (%" PRId64 " / %" PRId64 " heads)",
                   r->dtype, r->head_dim, r->heads, r->kv_heads);
    fprintf(s->csv, "%d,", panel + 1);
    sb_sheet_quoted(s->csv, title);
    sb_sheet_real(s->csv, roof_of(&v->panels[panel]));
    fprintf(s->csv, ",%d,%d,%" PRId64 ",", length_slot(v, tokens), style, tokens);
    sb_sheet_quoted(s->csv, curve);
    sb_sheet_real(s->csv, density);
    sb_sheet_real(s->csv, gflops);
    sb_sheet_real(s->csv, conversion);
    fputc('\n', s->csv);
    s->n_rows++;
}

/* The settings of one curve at one length, and dense, where they all lead. */
static void put_curve(sb_sheet *s, const view *v, int panel, int style, int64_t tokens)
{
    const sb_plot_group *g = &v->panels[panel];
    double dense = dense_ms(g, tokens);
    bool any = false;
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        const char *label = g->curves[p->curve].label;
        if (p->tokens != tokens || !timed(p) || style_of(v, label) != style)
            continue;
        put_row(s, v, panel, style, tokens, label, p->density,
                mean_flops(g, p, false) / p->attend_ms * 1e-6, dense / p->attend_ms * p->density);
        any = true;
    }
    if (any && isfinite(dense))
        put_row(s, v, panel, style, tokens, v->styles[style - 1], 1,
                dense_flops(g, tokens) / dense * 1e-6, 1);
}

static void put_panel(sb_sheet *s, const view *v, int panel)
{
    const sb_plot_group *g = &v->panels[panel];
    for (int i = 0; i < v->n_lengths; i++) {
        int64_t tokens = v->lengths[i];
        for (int style = 1; style <= v->n_styles; style++)
            put_curve(s, v, panel, style, tokens);
        double own = baseline_ms(g, tokens, offsetof(sb_record, own_dense_ms));
        double cudnn = baseline_ms(g, tokens, offsetof(sb_record, cudnn_ms));
        own = isfinite(own) ? own : dense_ms(g, tokens);
        if (isfinite(own))
            put_row(s, v, panel, DENSE_STYLE, tokens, "dense", 1,
                    dense_flops(g, tokens) / own * 1e-6, dense_ms(g, tokens) / own);
        if (isfinite(cudnn))
            put_row(s, v, panel, PEER_STYLE, tokens, "cuDNN", 1,
                    dense_flops(g, tokens) / cudnn * 1e-6, dense_ms(g, tokens) / cudnn);
        for (int64_t p = 0; p < v->n_peers; p++) {
            const sb_peer *peer = &v->peers[p];
            if (peer->tokens == tokens && peer->head_dim == g->first->head_dim &&
                strcmp(peer->dtype, g->first->dtype) == 0)
                put_row(s, v, panel, PEER_STYLE, tokens, peer->name, 1,
                        dense_flops(g, tokens) / peer->peer_ms * 1e-6, NAN);
        }
    }
}

/* ---- texts --------------------------------------------------------------------------------- */

static void length_text(int64_t tokens, char *buf, size_t bytes)
{
    if (tokens % 1024 == 0)
        (void)snprintf(buf, bytes, "%" PRId64 "K", tokens / 1024);
    else
        (void)snprintf(buf, bytes, "%" PRId64, tokens);
}

/* "PyTorch 2.15.0, dense, in turns with ours: its time / ours is 2.31 (d 64, 8K, bf16), ..." */
static sb_status peers_text(sb_sheet *s, const view *v, sb_err *err)
{
    char line[480], length[24];
    int used = 0;
    for (int64_t i = 0; i < v->n_peers; i++) {
        const sb_peer *p = &v->peers[i];
        bool last = i + 1 == v->n_peers || strcmp(v->peers[i + 1].name, p->name) != 0;
        if (used == 0)
            used = snprintf(line, sizeof line, "%s, dense, in turns with ours: its time / ours is",
                            p->name);
        length_text(p->tokens, length, sizeof length);
        used += snprintf(line + used, sizeof line - (size_t)used, " %.2f (d %" PRId64 ", %s, %s)%s",
                         p->ratio, p->head_dim, length, p->dtype, last ? "." : ",");
        if (!last && used < (int)sizeof line - 64)
            continue;
        sb_status st = sb_sheet_key(s, 0, err, "%s", line);
        if (st != SB_OK)
            return st;
        used = 0;
    }
    return SB_OK;
}

static sb_status put_texts(sb_sheet *s, const view *v, sb_err *err)
{
    sb_status st = SB_OK;
    char length[24], machine[SB_PLOT_MACHINE_CHARS], last[SB_PLOT_MACHINE_CHARS] = "";
    for (int i = 0; i < v->n_lengths; i++) {
        length_text(v->lengths[i], length, sizeof length);
        SB_TRY(sb_sheet_key(s, i + 1, err, "%s tokens", length));
    }
    for (int i = 0; i < v->n_panels; i++) {
        const sb_plot_group *g = &v->panels[i];
        SB_TRY(sb_plot_caption(s, g, g->layers, g->n_layers, " (mean)", 0, err));
    }
    for (int i = 0; i < v->n_panels; i++) {
        sb_plot_machine_text(&v->panels[i], 0, machine);
        if (strcmp(machine, last) != 0)
            SB_TRY(sb_sheet_key(s, 0, err, "%s.", machine));
        memcpy(last, machine, sizeof last);
    }
    SB_TRY(
        sb_sheet_key(s, 0, err,
                     "Throughput: FLOPs of attended pairs / time of attend, selection excluded. "
                     "Conversion: dense time / time of attend x density, in the same rounds. "
                     "Peak: the kernel's unit alone, on the CPU measured in the same run, on a GPU "
                     "nominal at its highest clock. " SB_PLOT_DENSITY_NOTE));
    SB_TRY(peers_text(s, v, err));
    if (v->more_styles)
        SB_TRY(sb_sheet_key(s, 0, err, "Only the first %d curves are shown.", v->n_styles));
    if (v->n_left_out > 0)
        SB_TRY(sb_sheet_key(s, 0, err, "Captures and dtypes left out: %d.", v->n_left_out));
out:
    return st;
}

sb_status sb_plot_write_throughput(const sb_record *records, int64_t n, const char *run_dir,
                                   const char *csv_path, const char *key_path, int64_t *n_rows,
                                   sb_err *err)
{
    view v;
    sb_sheet s = {0};
    sb_status st = SB_OK;
    SB_TRY(view_open(records, n, run_dir, &v, err));
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs("panel,title,roof,slot,style,tokens,curve,density,gflops,conversion\n", s.csv);
    for (int i = 0; i < v.n_panels; i++)
        put_panel(&s, &v, i);
    SB_TRY(put_texts(&s, &v, err));
out:
    *n_rows = s.n_rows;
    view_close(&v);
    return sb_sheet_close(&s, st, csv_path, err);
}
