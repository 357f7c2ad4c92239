/* What the record of a cell says of its pattern, in blocks and in tokens, against plain counts. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "harness/config.h"
#include "harness/evaluate.h"
#include "harness/synth.h"
#include "harness/tests/folder_rig.h"

enum { N = 700, H = 4, ROWS = 11 }; /* the last block of 64 has 60 tokens */

static char capture_path[300];

/* A config's only shape, with all that its cells need. */
typedef struct rig {
    sb_config cfg;
    sb_sweep sweep;
    sb_tensors tensors;
    sb_shape_data data;
} rig;

static bool rig_open(rig *r, const char *methods)
{
    char text[1000];
    sb_err err = {0};
    *r = (rig){0};
    (void)snprintf(text, sizeof text,
                   "data: %s\nlayers: [1]\nlengths: [%d]\ndtype: f32\nblock: 64\n"
                   "measure: {fidelity: false, latency: false}\nmethods: [%s]\n",
                   capture_path, N, methods);
    sb_status st = sb_config_parse(text, strlen(text), "c", NULL, 0, &r->cfg, &err);
    if (st == SB_OK)
        st = sb_sweep_open(&r->cfg, &r->sweep, &err);
    if (st == SB_OK)
        st = sb_capture_read(&r->sweep.captures[0], 1, N, SB_F32, &r->tensors, &err);
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
    if (st != SB_OK)
        return false;
    r->data = (sb_shape_data){.problem = sb_sweep_problem(&r->sweep, 0),
                              .exec = {.n_threads = 2},
                              .inputs = {r->tensors.q, r->tensors.k, r->tensors.v}};
    return true;
}

static void rig_free(rig *r)
{
    sb_tensors_free(&r->tensors);
    sb_sweep_close(&r->sweep);
    sb_config_free(&r->cfg);
}

/* Share of the tokens of block j that a list keeps. */
static double share(const sb_pattern *pat, int64_t list, int64_t j)
{
    int64_t kept = 0, n = 0;
    for (int64_t i = pat->row_ptr[list]; i < pat->row_ptr[list + 1]; i++)
        for (int64_t t = 64 * j; pat->col[i] == j && t < 64 * (j + 1) && t < N; t++)
            kept += !pat->tokens || pat->tokens[i] >> (t % 64) & 1;
    for (int64_t t = 64 * j; t < 64 * (j + 1) && t < N; t++)
        n++;
    return (double)kept / (double)n;
}

static void check_series(const sb_cell *cell)
{
    const sb_record *r = &cell->record;
    const sb_series *budget = &r->series[SB_SERIES_BUDGET],
                    *map = &r->series[SB_SERIES_PATTERN_MAP];
    REQUIRE(budget->n == ROWS && map->n == ROWS * ROWS && r->map_side == ROWS);
    for (int64_t row = 0; row < ROWS; row++) {
        double kept = 0;
        for (int64_t j = 0; j < ROWS; j++) {
            double mean = 0;
            for (int64_t h = 0; h < H; h++)
                mean += share(&cell->pattern, h * ROWS + row, j) / H;
            kept += mean;
            EXPECT(fabs(map->data[row * ROWS + j] - (j > row ? -1 : mean)) < 1e-12);
        }
        EXPECT(fabs(budget->data[row] - kept) < 1e-12);
    }
}

static void check_cell(rig *r, int64_t variant, bool tokens, bool published)
{
    sb_cell cell;
    char hash[17];
    REQUIRE(sb_cell_evaluate(&r->sweep, 0, variant, &r->data, &cell, NULL) == SB_OK);
    const sb_record *x = &cell.record;
    EXPECT_MSG(strcmp(x->status, "ok") == 0, "%s", x->reason);
    EXPECT((cell.pattern.tokens != NULL) == tokens);
    EXPECT((strstr(x->kernel, "-tokens") != NULL) == tokens);
    sb_pattern_stats s = sb_pattern_measure(&r->data.problem, &cell.pattern);
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, sb_pattern_hash(&cell.pattern));
    EXPECT(s.density < 1 && x->density == s.density && x->pair_density == s.pair_density);
    EXPECT(strcmp(x->mask_hash, hash) == 0);
    EXPECT(isnan(x->published_pair_density) == !published);
    EXPECT(!published || x->published_pair_density == cell.plan->published_pairs / s.causal_pairs);
    EXPECT(!tokens || x->published_pair_density == x->pair_density);
    check_series(&cell);
    sb_cell_free(&cell);
}

static void test_patterns(void)
{
    TEST("a cell's record describes its pattern");
    rig r;
    REQUIRE(rig_open(&r, "uniform: {k: 2, sinks: 1, window: 1}, "
                         "vecattention: {threshold: 0.5, form: [tokens, blocks]}"));
    check_cell(&r, 0, false, false);
    check_cell(&r, 1, true, true);
    check_cell(&r, 2, false, true);
    rig_free(&r);
}

static void test_dense(void)
{
    TEST("dense has none");
    rig r;
    sb_cell cell;
    REQUIRE(rig_open(&r, "dense"));
    REQUIRE(sb_cell_evaluate(&r.sweep, 0, 0, &r.data, &cell, NULL) == SB_OK);
    EXPECT(cell.record.density == 1 && !cell.record.mask_hash);
    EXPECT(isnan(cell.record.published_pair_density));
    EXPECT(cell.record.series[SB_SERIES_BUDGET].n == 0);
    sb_cell_free(&cell);
    rig_free(&r);
}

int main(void)
{
    sb_err err = {0};
    sb_synth_options o = sb_synth_defaults();
    if (!folder_open())
        return 1;
    (void)snprintf(capture_path, sizeof capture_path, "%s/c.h5", folder);
    o.tokens = N;
    o.heads = H;
    o.dim = o.dim_v = 32;
    TEST("a capture");
    EXPECT_MSG(sb_synth(capture_path, &o, &err) == SB_OK, "%s", err.msg);
    test_patterns();
    test_dense();
    return rig_close();
}
