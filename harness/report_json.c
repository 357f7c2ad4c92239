/* What the page's scripts read: all records, the curves of every group, pattern maps. */
#include <inttypes.h>

#include "harness/report_maps.h"
#include "harness/report_text.h"
#include "harness/results_store.h"

enum { DIGITS = 6, SERIES_DIGITS = 4 };

static void put_comma(FILE *out, int64_t i)
{
    fputs(i > 0 ? ",\n" : "", out);
}

static void put_ints(FILE *out, const int64_t *x, int64_t n)
{
    fputc('[', out);
    for (int64_t i = 0; i < n; i++)
        fprintf(out, "%s%" PRId64, i > 0 ? "," : "", x[i]);
    fputc(']', out);
}

static void put_real(FILE *out, const char *name, double x)
{
    fprintf(out, ",\"%s\":", name);
    sb_json_real(out, x, DIGITS);
}

/* ---- records ---------------------------------------------------------------------------- */

static void put_columns(FILE *out)
{
    static const char *const kinds[] = {
        [SB_KIND_TEXT] = "text", [SB_KIND_INT] = "int", [SB_KIND_REAL] = "real"};
    for (int i = 0; i < sb_n_columns; i++)
        fprintf(out, "%s{\"name\":\"%s\",\"kind\":\"%s\"}", i > 0 ? "," : "", sb_columns[i].name,
                kinds[sb_columns[i].kind]);
}

static void put_field(FILE *out, const sb_column *c, const sb_record *r)
{
    const void *field = sb_column_of(c, r);
    if (c->kind == SB_KIND_TEXT)
        sb_json_text(out, *(char *const *)field);
    else if (c->kind == SB_KIND_INT)
        fprintf(out, "%" PRId64, *(const int64_t *)field);
    else
        sb_json_real(out, *(const double *)field, DIGITS);
}

static void put_records(FILE *out, const sb_report_view *v)
{
    for (int64_t i = 0; i < v->n; i++) {
        put_comma(out, i);
        for (int c = 0; c < sb_n_columns; c++) {
            fputc(c > 0 ? ',' : '[', out);
            put_field(out, &sb_columns[c], &v->records[i]);
        }
        fputc(']', out);
    }
}

static void put_series(FILE *out, const sb_report_view *v)
{
    static const enum sb_series_id ids[] = {SB_SERIES_HEAD_REL_L2, SB_SERIES_HEAD_MASS_RECALL,
                                            SB_SERIES_POS_REL_L2, SB_SERIES_POS_MASS_RECALL,
                                            SB_SERIES_BUDGET};
    for (size_t s = 0; s < sizeof ids / sizeof ids[0]; s++) {
        fprintf(out, "\"%s\":[\n", sb_series_names[ids[s]]);
        for (int64_t i = 0; i < v->n; i++) {
            const sb_series *series = &v->records[i].series[ids[s]];
            put_comma(out, i);
            sb_json_reals(out, series->data, series->n, SERIES_DIGITS);
        }
        fputs("],\n", out);
    }
    fputs("\"pos_bin\":[", out);
    for (int64_t i = 0; i < v->n; i++) {
        fputs(i > 0 ? "," : "", out);
        if (v->records[i].pos_bin > 0)
            fprintf(out, "%" PRId64, v->records[i].pos_bin);
        else
            fputs("null", out);
    }
    fputc(']', out);
}

/* ---- groups ----------------------------------------------------------------------------- */

static void put_point(FILE *out, const sb_plot_group *g, const sb_plot_point *p)
{
    fprintf(out, "{\"curve\":%" PRId64 ",\"tokens\":%" PRId64, p->curve, p->tokens);
    put_real(out, "budget", p->budget);
    put_real(out, "density", p->density);
    put_real(out, "rel_l2", p->rel_l2);
    fprintf(out, ",\"pareto\":%s", p->pareto ? "true" : "false");
    put_real(out, "select_ms", p->select_ms);
    put_real(out, "attend_ms", p->attend_ms);
    put_real(out, "total_ms", p->total_ms);
    put_real(out, "total_ms_lo", p->total_ms_lo);
    put_real(out, "total_ms_hi", p->total_ms_hi);
    for (int64_t l = 0; l < g->n_layers; l++)
        fprintf(out, "%s%" PRId64, l > 0 ? "," : ",\"records\":[",
                (int64_t)(p->cells[l] - g->runs[0].records));
    fputs("],\"params\":", out);
    sb_json_text(out, p->cells[0]->params);
    fputc('}', out);
}

static void put_dense(FILE *out, const char *name, const double *x, int64_t n)
{
    fprintf(out, ",\n\"%s\":", name);
    sb_json_reals(out, x, n, DIGITS);
}

static void put_group(FILE *out, const sb_plot_group *g)
{
    char title[SB_NAME_BYTES];
    fputs("{\"title\":", out);
    sb_json_text(out, sb_report_title(g, title));
    fprintf(out, ",\"model\":%s,\"layers\":", sb_report_is_model(g) ? "true" : "false");
    put_ints(out, g->layers, g->n_layers);
    fputs(",\"lengths\":", out);
    put_ints(out, g->lengths, g->n_lengths);
    fputs(",\n\"curves\":[", out);
    for (int64_t c = 0; c < g->n_curves; c++) {
        fprintf(out, "%s{\"label\":", c > 0 ? "," : "");
        sb_json_text(out, g->curves[c].label);
        fprintf(out, ",\"slot\":%d}", g->curves[c].slot);
    }
    fputs("],\n\"points\":[\n", out);
    for (int64_t i = 0; i < g->n_points; i++) {
        put_comma(out, i);
        put_point(out, g, &g->points[i]);
    }
    fputc(']', out);
    put_dense(out, "dense_ms", g->dense_ms, g->n_lengths);
    put_dense(out, "dense_rel_l2", g->dense_rel_l2, g->n_lengths);
    fputc('}', out);
}

/* ---- maps ------------------------------------------------------------------------------- */

static void put_map(FILE *out, const sb_packed_map *map)
{
    fprintf(out, "\"heads\":%" PRId64 ",\"side\":%" PRId64, map->n_heads, map->side);
    fprintf(out, ",\"data\":\"%s\"}", map->packed.text);
}

static void put_masses(FILE *out, const sb_report_view *v, const sb_report_maps *maps)
{
    for (int64_t i = 0; i < maps->n_masses; i++) {
        const sb_packed_map *map = &maps->masses[i];
        const sb_record *r = &v->records[map->record];
        put_comma(out, i);
        fputs("{\"capture\":", out);
        sb_json_text(out, r->capture);
        fputs(",\"dtype\":", out);
        sb_json_text(out, r->dtype);
        fprintf(out, ",\"layer\":%" PRId64 ",\"tokens\":%" PRId64 ",\"block\":%" PRId64 ",",
                r->layer, r->tokens, map->block);
        put_map(out, map);
    }
}

static void put_patterns(FILE *out, const sb_report_maps *maps)
{
    for (int64_t i = 0; i < maps->n_patterns; i++) {
        const sb_packed_map *map = &maps->patterns[i];
        put_comma(out, i);
        fprintf(out, "{\"record\":%" PRId64 ",\"mass\":", map->record);
        if (map->mass >= 0)
            fprintf(out, "%" PRId64 ",", map->mass);
        else
            fputs("null,", out);
        put_map(out, map);
    }
}

static sb_status put_names(FILE *out, const sb_report_view *v, sb_report_name *name, sb_err *err)
{
    return sb_report_each_name(v, name, ", ", sb_json_piece, out, err);
}

sb_status sb_report_write_json(FILE *out, const sb_report_view *v, const sb_report_maps *maps,
                               sb_err *err)
{
    sb_status st = SB_OK;
    fputs("{\"version\":\"", out);
    SB_TRY(put_names(out, v, sb_report_version, err));
    fputs("\",\n\"name\":", out);
    sb_json_text(out, v->name);
    fputs(",\n\"machine\":\"", out);
    SB_TRY(put_names(out, v, sb_report_kernel, err));
    fputs(" kernel, ", out);
    SB_TRY(put_names(out, v, sb_report_machine, err));
    fputs("\",\n\"columns\":[", out);
    put_columns(out);
    fputs("],\n\"records\":[\n", out);
    put_records(out, v);
    fputs("],\n\"series\":{\n", out);
    put_series(out, v);
    fputs("},\n\"groups\":[\n", out);
    for (int64_t i = 0; i < v->n_groups; i++) {
        put_comma(out, i);
        put_group(out, &v->groups[i]);
    }
    fputs("],\n\"maps\":{\"note\":\"", out);
    sb_report_maps_note(out, v, maps);
    fputs("\",\n\"masses\":[\n", out);
    put_masses(out, v, maps);
    fputs("],\n\"patterns\":[\n", out);
    put_patterns(out, maps);
    fputs("]}}\n", out);
out:
    return st;
}
