/*
 * Maps of a shape, head by head, on a grid of at most SB_MAP_MAX x SB_MAP_MAX. Of a pattern: 0
 * above the diagonal, 1 nothing kept, 255 all kept, between them the share of the blocks or tokens
 * of the grid's cell. Of exact mass: 0 above the diagonal or nothing, else 255 + 51 log10(share of
 * the mass of the cell's queries), at least 1.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/evaluate.h"
#include "harness/mem.h"
#include "harness/report_maps.h"
#include "methods/score_mass.h"

static int64_t side_of(int64_t n_blocks)
{
    return n_blocks < SB_MAP_MAX ? n_blocks : SB_MAP_MAX;
}

static sb_status allocate(sb_head_maps *maps, int64_t n_heads, int64_t side, sb_err *err)
{
    *maps = (sb_head_maps){n_heads, side, sb_alloc(n_heads * side * side, 1)};
    return maps->values ? SB_OK : sb_no_memory(err, "pattern maps");
}

static unsigned char share_code(double share)
{
    double code = 1 + 254 * share;
    return (unsigned char)(share > 0 && code < 2 ? 2 : lround(code));
}

static unsigned char mass_code(double share)
{
    double code = share > 0 ? fmax(1, 255 + 51 * log10(share)) : 0;
    return (unsigned char)lround(fmin(255, code));
}

/* ---- patterns --------------------------------------------------------------------------- */

/* kept and all are [side, side]. */
static void reduce_head(const sb_problem *p, const sb_pattern *pat, int64_t head, int64_t side,
                        double *kept, double *all, unsigned char *values)
{
    int64_t n = pat->n_rows;
    memset(kept, 0, (size_t)(side * side) * sizeof *kept);
    memset(all, 0, (size_t)(side * side) * sizeof *all);
    for (int64_t row = 0; row < n; row++) {
        int64_t at = row * side / n * side, list = sb_pattern_row(pat, 0, head, row);
        for (int64_t j = 0; j <= row; j++)
            all[at + j * side / n]++;
        for (int64_t e = pat->row_ptr[list]; e < pat->row_ptr[list + 1]; e++)
            kept[at + pat->col[e] * side / n] += sb_kept_share(p, pat, e);
    }
    for (int64_t i = 0; i < side * side; i++)
        values[i] = all[i] > 0 ? share_code(kept[i] / all[i]) : 0;
}

static sb_status reduce_pattern(const sb_problem *p, const sb_pattern *pat, sb_head_maps *maps,
                                sb_err *err)
{
    sb_status st = SB_OK;
    int64_t side = side_of(pat->n_rows), cells = side * side;
    double *kept = sb_alloc(cells, sizeof *kept), *all = sb_alloc(cells, sizeof *all);
    SB_CHECK(kept && all, err, SB_NO_MEMORY, "out of memory for a pattern map");
    SB_TRY(allocate(maps, pat->n_heads, side, err));
    for (int64_t h = 0; h < pat->n_heads; h++)
        reduce_head(p, pat, h, side, kept, all, maps->values + h * cells);
out:
    sb_free(all);
    sb_free(kept);
    return st;
}

static sb_status select_again(const sb_map_shape *shape, const sb_method *m, const sb_record *r,
                              sb_pattern *pat, sb_err *err)
{
    sb_status st = SB_OK;
    sb_value values[SB_MAX_PARAMS] = {0};
    struct sb_arena *arena = NULL;
    sb_plan *plan = NULL;
    const sb_tensors *t = &shape->tensors;
    const sb_shape_data data = {.problem = shape->problem,
                                .exec = {.backend = SB_CPU, .n_threads = shape->n_threads},
                                .inputs = {t->q, t->k, t->v}};
    SB_TRY(sb_values_from_text(m, r->params, values, &arena, err));
    SB_TRY(sb_plan_and_select(m, values, &data, &plan, pat, err));
out:
    sb_plan_destroy(plan);
    sb_arena_free(arena);
    return st;
}

sb_status sb_map_pattern(const sb_map_shape *shape, const sb_record *r, sb_head_maps *maps,
                         sb_map_why *why, sb_err *err)
{
    sb_err refused = {0};
    sb_pattern pat = {0};
    char hash[17];
    const sb_method *m = sb_method_find(r->method);
    *maps = (sb_head_maps){0};
    *why = SB_MAP_REFUSED;
    if (!m || !m->select)
        return SB_OK;
    sb_status st = select_again(shape, m, r, &pat, &refused);
    if (st != SB_OK)
        return st == SB_NO_MEMORY ? sb_no_memory(err, "a pattern") : SB_OK;
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, sb_pattern_hash(&pat));
    *why = strcmp(hash, r->mask_hash) == 0 ? SB_MAP_MADE : SB_MAP_HASH;
    if (*why == SB_MAP_MADE)
        st = reduce_pattern(&shape->problem, &pat, maps, err);
    sb_pattern_free(&pat);
    return st;
}

sb_status sb_map_stored(const sb_record *r, sb_head_maps *maps, sb_err *err)
{
    const sb_series *s = &r->series[SB_SERIES_PATTERN_MAP];
    int64_t side = r->map_side;
    *maps = (sb_head_maps){0};
    if (side < 1 || side > SB_MAP_MAX || s->n != side * side)
        return SB_OK;
    sb_status st = allocate(maps, 1, side, err);
    for (int64_t i = 0; i < s->n && st == SB_OK; i++)
        maps->values[i] = s->data[i] >= 0 ? share_code(fmin(s->data[i], 1)) : 0;
    return st;
}

/* ---- mass ------------------------------------------------------------------------------- */

/* sum is [side, side], queries [side]. */
static void mass_of_head(const sb_problem *p, const sb_block_mass *s, int64_t head, int64_t side,
                         double *sum, double *queries, unsigned char *values)
{
    int64_t n = s->n_rows, t0, t1;
    memset(sum, 0, (size_t)(side * side) * sizeof *sum);
    memset(queries, 0, (size_t)side * sizeof *queries);
    for (int64_t row = 0; row < n; row++) {
        const float *score = s->score + s->list[head * n + row];
        sb_row_span(p, 0, s->mass.block, row, &t0, &t1);
        queries[row * side / n] += (double)(t1 - t0);
        for (int64_t j = 0; j <= row; j++)
            sum[row * side / n * side + j * side / n] += (double)score[j];
    }
    for (int64_t i = 0; i < side * side; i++)
        values[i] = mass_code(sum[i] / queries[i / side]);
}

sb_status sb_map_mass(const sb_map_shape *shape, int64_t finest, sb_head_maps *maps, int64_t *block,
                      sb_err *err)
{
    sb_status st = SB_OK;
    const sb_problem *p = &shape->problem;
    const sb_inputs in = {shape->tensors.q, shape->tensors.k, shape->tensors.v};
    int64_t least = p->kv_len / SB_MAP_MAX;
    *block = finest > least ? finest : least; /* finer ones would only be joined again */
    int64_t side = side_of(sb_max_rows(p, *block));
    sb_block_mass s = {0};
    double *sum = sb_alloc(side * side, sizeof *sum), *queries = sb_alloc(side, sizeof *queries);
    *maps = (sb_head_maps){0};
    SB_CHECK(sum && queries, err, SB_NO_MEMORY, "out of memory for attention masses");
    SB_TRY(sb_block_mass_plan(p, *block, false, shape->n_threads, &s, err));
    sb_block_mass_fill(&s, p, &in);
    SB_TRY(allocate(maps, p->n_heads, side, err));
    for (int64_t h = 0; h < p->n_heads; h++)
        mass_of_head(p, &s, h, side, sum, queries, maps->values + h * side * side);
out:
    sb_block_mass_free(&s);
    sb_free(queries);
    sb_free(sum);
    return st;
}
