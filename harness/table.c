#include "harness/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/plot_data.h"

enum { MOST_ROWS = 128 /* of a length */, MOST_UNFINISHED = 10 };

static double mean_recall(const sb_plot_group *g, const sb_plot_point *point)
{
    double sum = 0;
    for (int64_t i = 0; i < g->n_layers; i++)
        sum += point->cells[i]->mass_recall / (double)g->n_layers;
    return sum;
}

/* A number, or a dash where it was not measured. */
static void cell(int width, const char *format, double x)
{
    char text[32];
    if (isnan(x))
        (void)snprintf(text, sizeof text, "-");
    else
        (void)snprintf(text, sizeof text, format, x);
    printf(" %*s", width, text);
}

/* Padded to a column of characters, not of bytes. */
static void print_label(const char *label)
{
    int width = 0;
    for (const char *c = label; *c; c++)
        width += (*c & 0xc0) != 0x80;
    printf("%s%*s", label, width < 36 ? 36 - width : 1, "");
}

static void print_row(const char *label, double density, double budget, double rel_l2,
                      double recall, double select_ms, double attend_ms, double total_ms,
                      double dense_ms)
{
    print_label(label);
    cell(7, "%.3f", density);
    cell(7, "%.3f", budget);
    cell(9, "%.2e", rel_l2);
    cell(7, "%.4f", recall);
    cell(8, "%.2f", select_ms);
    cell(9, "%.2f", attend_ms);
    cell(9, "%.2f", total_ms);
    cell(8, "%.2f", dense_ms / total_ms);
    printf("\n");
}

static bool is_among(const sb_plot_point *const *shown, int64_t n, const sb_plot_point *p)
{
    for (int64_t i = 0; i < n; i++)
        if (shown[i]->budget == p->budget && shown[i]->rel_l2 == p->rel_l2)
            return true;
    return false;
}

/* The settings of a length: all where they are few, else those on the Pareto front if it is known.
 */
static void print_settings(const sb_plot_group *g, int64_t length)
{
    const sb_plot_point *shown[MOST_ROWS];
    int64_t tokens = g->lengths[length], n = 0, n_front = 0, n_shown = 0;
    for (int64_t i = 0; i < g->n_points; i++) {
        n += g->points[i].tokens == tokens;
        n_front += g->points[i].tokens == tokens && g->points[i].pareto;
    }
    bool front = n > MOST_ROWS && n_front > 0;
    for (int64_t i = 0; i < g->n_points && n_shown < MOST_ROWS; i++) {
        const sb_plot_point *p = &g->points[i];
        if (p->tokens != tokens || (front && (!p->pareto || is_among(shown, n_shown, p))))
            continue;
        print_row(g->curves[p->curve].label, p->density, p->budget, p->rel_l2, mean_recall(g, p),
                  p->select_ms, p->attend_ms, p->total_ms, g->dense_ms[length]);
        shown[n_shown++] = p;
    }
    if (n_shown < n)
        printf("... and %" PRId64 " more settings, see results.csv%s\n", n - n_shown,
               front ? "; above: from the Pareto front of FLOPs and error, of equals the first"
                     : "");
}

static void print_length(const sb_plot_group *g, int64_t length)
{
    int64_t tokens = g->lengths[length];
    printf("\n%s, %s, %" PRId64 " tokens, layer%s", g->first->model, g->first->dtype, tokens,
           g->n_layers > 1 ? "s" : "");
    for (int64_t i = 0; i < g->n_layers; i++)
        printf("%s %" PRId64, i ? "," : "", g->layers[i]);
    printf(" (%s kernel, %" PRId64 " threads)\n", g->first->kernel, g->first->threads);
    printf("%-36s %7s %7s %9s %7s %8s %9s %9s %8s\n", "method", "density", "FLOPs", "rel. L2",
           "recall", "select", "attend", "total", "speedup");
    printf("%-36s %7s %7s %9s %7s %8s %9s %9s %8s\n", "", "", "/dense", "error", "", "ms", "ms",
           "ms", "");
    print_row("dense", 1, 1, g->dense_rel_l2[length], 1, NAN, g->dense_ms[length],
              g->dense_ms[length], g->dense_ms[length]);
    print_settings(g, length);
}

static void print_unfinished(const sb_record *records, int64_t n)
{
    int64_t shown = 0;
    for (int64_t i = 0; i < n; i++)
        if (strcmp(records[i].status, "ok") != 0 && shown++ < MOST_UNFINISHED)
            printf("%s: cell %" PRId64 ", layer %" PRId64 ", %" PRId64 " tokens, %s %s: %s\n",
                   records[i].status, records[i].cell, records[i].layer, records[i].tokens,
                   records[i].method, records[i].params, records[i].reason);
    if (shown > MOST_UNFINISHED)
        printf("... and %" PRId64 " more, see results.csv\n", shown - MOST_UNFINISHED);
}

sb_status sb_table_print(const sb_record *records, int64_t n, sb_err *err)
{
    for (int64_t i = 0; i < n; i++) {
        sb_plot_group g = {0};
        if (!sb_plot_opens_group(records, i))
            continue;
        sb_status st = sb_plot_group_build(records, n, &records[i], &g, err);
        if (st != SB_OK)
            return st;
        for (int64_t length = 0; length < g.n_lengths; length++)
            print_length(&g, length);
        sb_plot_group_free(&g);
    }
    print_unfinished(records, n);
    return SB_OK;
}
