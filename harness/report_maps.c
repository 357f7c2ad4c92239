#include "harness/report_maps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "harness/arena.h"
#include "harness/mem.h"
#include "harness/provenance.h"
#include "harness/textfile.h"

static const int64_t most_bytes = 3000000;
static const double most_flops = 2e12; /* of dense attention: half a minute of exact masses */

/* A capture file, opened once. */
typedef struct source {
    const char *path; /* as records name it */
    sb_capture capture;
    bool opened;
} source;

typedef struct maker {
    const sb_report_view *view;
    sb_report_maps *maps;
    int n_threads;
    const char *neighbour; /* a file of the run directory */
    struct sb_arena *arena;
    source *sources; /* [view->n] */
    int64_t n_sources;
    int64_t *shape;     /* [view->n] first record of each record's shape */
    int64_t *mass;      /* [view->n] of a shape's first record: index of its mass, -1 */
    int64_t loaded;     /* the shape that `at` holds, -1 */
    sb_map_why refused; /* why the loaded shape cannot be selected from */
    sb_map_shape at;
    int64_t bytes;
} maker;

/* ---- captures --------------------------------------------------------------------------- */

/* What may fail without spoiling the report: everything but memory. */
static sb_status forgive(sb_status st, sb_err *err)
{
    return st == SB_NO_MEMORY ? sb_no_memory(err, "a capture") : SB_OK;
}

/* Open the capture that a record names; (*found)->opened says whether that went well. */
static sb_status open_source(maker *m, const char *path, source **found, sb_err *err)
{
    sb_err ignored = {0};
    for (int64_t i = 0; i < m->n_sources; i++)
        if (strcmp(m->sources[i].path, path) == 0) {
            *found = &m->sources[i];
            return SB_OK;
        }
    source *s = *found = &m->sources[m->n_sources++];
    s->path = path;
    const char *place = sb_path_resolve(path, m->neighbour, m->arena);
    if (!place)
        return sb_no_memory(err, "a capture's path");
    sb_status st = sb_capture_open(place, &s->capture, &ignored);
    if (st == SB_OK && (st = sb_capture_digest(&s->capture, &ignored)) != SB_OK)
        sb_capture_close(&s->capture);
    s->opened = st == SB_OK;
    return forgive(st, err);
}

static bool same_digest(const sb_record *r, const sb_capture *cap)
{
    int n;
    char digest[17];
    const char *recorded = sb_provenance_value(r->config, "digest", &n);
    (void)snprintf(digest, sizeof digest, "%016" PRIx64, cap->digest);
    return n == 16 && memcmp(recorded, digest, 16) == 0;
}

/* Load what record r selects from; `refused` says why it cannot be. */
static sb_status load(maker *m, const sb_record *r, sb_err *err)
{
    source *s = NULL;
    sb_dtype dtype;
    sb_err ignored = {0};
    sb_tensors_free(&m->at.tensors);
    m->at = (sb_map_shape){.n_threads = m->n_threads};
    m->refused = r->flops_dense > most_flops ? SB_MAP_LARGE : SB_MAP_CAPTURE;
    if (m->refused == SB_MAP_LARGE)
        return SB_OK;
    sb_status st = open_source(m, r->capture, &s, err);
    if (st != SB_OK || !s->opened)
        return st;
    m->refused = same_digest(r, &s->capture) ? SB_MAP_REFUSED : SB_MAP_DIGEST;
    const sb_layer_info *layer = sb_capture_layer(&s->capture, r->layer);
    if (m->refused == SB_MAP_DIGEST || !layer || r->tokens > s->capture.tokens ||
        !sb_dtype_parse(r->dtype, &dtype))
        return SB_OK;
    m->at.problem = sb_capture_problem(&s->capture, layer, r->tokens, dtype);
    st = sb_capture_read(&s->capture, r->layer, r->tokens, dtype, &m->at.tensors, &ignored);
    m->refused = st == SB_OK ? SB_MAP_MADE : SB_MAP_CAPTURE;
    return forgive(st, err);
}

/* ---- maps ------------------------------------------------------------------------------- */

static sb_status add(maker *m, sb_packed_map *list, int64_t *n, const sb_packed_map *map,
                     const sb_head_maps *maps, sb_err *err)
{
    list[*n] = *map;
    list[*n].n_heads = maps->n_heads;
    list[*n].side = maps->side;
    sb_status st =
        sb_pack(maps->values, maps->n_heads * maps->side * maps->side, &list[*n].packed, err);
    m->bytes += list[*n].packed.n;
    *n += st == SB_OK;
    return st;
}

static int64_t finest_block(const maker *m, int64_t shape)
{
    int64_t block = INT64_MAX;
    for (int64_t i = 0; i < m->view->n; i++)
        if (m->shape[i] == shape && sb_map_has_pattern(&m->view->records[i]) &&
            m->view->records[i].block < block)
            block = m->view->records[i].block;
    return block;
}

static sb_status add_mass(maker *m, int64_t shape, sb_err *err)
{
    sb_head_maps values;
    sb_report_maps *maps = m->maps;
    sb_packed_map map = {.record = shape, .mass = -1};
    sb_status st = sb_map_mass(&m->at, finest_block(m, shape), &values, &map.block, err);
    if (st == SB_OK)
        st = add(m, maps->masses, &maps->n_masses, &map, &values, err);
    if (st == SB_OK)
        m->mass[shape] = maps->n_masses - 1;
    sb_free(values.values);
    return st;
}

static sb_status add_pattern(maker *m, int64_t i, sb_err *err)
{
    sb_status st = SB_OK;
    sb_head_maps values = {0};
    sb_report_maps *maps = m->maps;
    const sb_record *r = &m->view->records[i];
    int64_t shape = m->shape[i];
    if (m->loaded != shape) {
        m->loaded = -1;
        SB_TRY(load(m, r, err));
        m->loaded = shape;
    }
    sb_map_why why = m->refused;
    if (why == SB_MAP_MADE)
        SB_TRY(sb_map_pattern(&m->at, r, &values, &why, err));
    if (why == SB_MAP_MADE && m->mass[shape] < 0)
        SB_TRY(add_mass(m, shape, err));
    if (why != SB_MAP_MADE)
        SB_TRY(sb_map_stored(r, &values, err));
    maps->n_of[why]++;
    if (values.n_heads == 0) {
        maps->n_without++;
        goto out;
    }
    const sb_packed_map map = {.record = i, .block = r->block, .mass = m->mass[shape]};
    SB_TRY(add(m, maps->patterns, &maps->n_patterns, &map, &values, err));
out:
    sb_free(values.values);
    return st;
}

static int by_record(const void *a, const void *b)
{
    const sb_packed_map *x = a, *y = b;
    return x->record < y->record ? -1 : x->record > y->record;
}

static void maker_free(maker *m)
{
    sb_tensors_free(&m->at.tensors);
    for (int64_t i = 0; i < m->n_sources; i++)
        if (m->sources[i].opened)
            sb_capture_close(&m->sources[i].capture);
    sb_arena_free(m->arena);
    sb_free(m->mass);
    sb_free(m->shape);
    sb_free(m->sources);
}

sb_status sb_report_maps_make(const sb_report_view *v, const char *run_dir, int n_threads,
                              sb_report_maps *maps, sb_err *err)
{
    sb_status st = SB_OK;
    *maps = (sb_report_maps){0};
    maker m = {.view = v, .maps = maps, .n_threads = n_threads, .loaded = -1};
    char *neighbour = sb_sprintf("%s/config.yaml", run_dir);
    m.neighbour = neighbour;
    m.arena = sb_arena_new();
    m.sources = sb_alloc(v->n, sizeof *m.sources);
    m.shape = sb_alloc(v->n, sizeof *m.shape);
    m.mass = sb_alloc(v->n, sizeof *m.mass);
    maps->order = sb_alloc(v->n, sizeof *maps->order);
    maps->masses = sb_alloc(v->n, sizeof *maps->masses);
    maps->patterns = sb_alloc(v->n, sizeof *maps->patterns);
    SB_CHECK(neighbour && m.arena && m.sources && m.shape && m.mass && maps->order &&
                 maps->masses && maps->patterns,
             err, SB_NO_MEMORY, "out of memory for pattern maps");
    SB_TRY(sb_map_order(v, m.shape, maps->order, &maps->n_order, err));
    for (int64_t i = 0; i < v->n; i++)
        m.mass[i] = -1;
    for (; maps->n_done < maps->n_order && m.bytes < most_bytes; maps->n_done++)
        SB_TRY(add_pattern(&m, maps->order[maps->n_done], err));
    qsort(maps->patterns, (size_t)maps->n_patterns, sizeof *maps->patterns, by_record);
out:
    maker_free(&m);
    sb_free(neighbour);
    return st;
}

void sb_report_maps_free(sb_report_maps *maps)
{
    for (int64_t i = 0; i < maps->n_patterns; i++)
        sb_free(maps->patterns[i].packed.text);
    for (int64_t i = 0; i < maps->n_masses; i++)
        sb_free(maps->masses[i].packed.text);
    sb_free(maps->patterns);
    sb_free(maps->masses);
    sb_free(maps->order);
    *maps = (sb_report_maps){0};
}

/* ---- the note --------------------------------------------------------------------------- */

static void note_means(FILE *out, const sb_report_maps *maps)
{
    static const char *const whys[SB_MAP_N_WHYS] = {
        [SB_MAP_CAPTURE] = "whose capture cannot be read",
        [SB_MAP_DIGEST] = "whose capture is another file now",
        [SB_MAP_LARGE] = "too long to select again",
        [SB_MAP_REFUSED] = "that this build cannot select",
        [SB_MAP_HASH] = "that this build selects otherwise",
    };
    const char *before = "Shown as the mean over heads that the run stored: ";
    for (int i = SB_MAP_MADE + 1; i < SB_MAP_N_WHYS; i++) {
        if (maps->n_of[i] == 0)
            continue;
        fprintf(out, "%s%" PRId64 " pattern%s %s", before, maps->n_of[i],
                maps->n_of[i] == 1 ? "" : "s", whys[i]);
        before = ", ";
    }
    if (*before == ',')
        fputs(". ", out);
    if (maps->n_without > 0)
        fprintf(out, "Of %" PRId64 " of these the run stored none. ", maps->n_without);
}

/* Records come longest first. */
static void note_left_out(FILE *out, const sb_report_view *v, const sb_report_maps *maps)
{
    const char *before = "Left out to keep this file small: ";
    for (int64_t i = maps->n_done, n; i < maps->n_order; i += n) {
        int64_t tokens = v->records[maps->order[i]].tokens;
        for (n = 1; i + n < maps->n_order && v->records[maps->order[i + n]].tokens == tokens;)
            n++;
        fprintf(out, "%s%" PRId64 " pattern%s of %" PRId64 " tokens", before, n, n == 1 ? "" : "s",
                tokens);
        before = ", ";
    }
    if (*before == ',')
        fputs("; of each curve those whose density is farthest from a quarter.", out);
}

void sb_report_maps_note(FILE *out, const sb_report_view *v, const sb_report_maps *maps)
{
    note_means(out, maps);
    note_left_out(out, v, maps);
}
