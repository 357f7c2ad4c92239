/* Stem, variant angelslim, against the masks of the authors' code: data/README.md. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/tests/check.h"
#include "methods/kernels/cpu/attend.h"
#include "methods/tests/golden_rig.h"

static void check_mask(const sb_golden *g, const sb_golden_mask *mask)
{
    char text[256];
    snprintf(text, sizeof text,
             "variant=angelslim mu=%.17g beta=%.17g block=%lld stride=%lld sinks=%lld window=%lld",
             sb_golden_real(g->group, "mu"), sb_golden_real(g->group, "beta"), (long long)g->block,
             (long long)sb_golden_int(g->group, "stride"),
             (long long)sb_golden_int(g->group, "sinks"),
             (long long)sb_golden_int(g->group, "window"));
    sb_pattern pat = {0};
    sb_err err = {0};
    sb_status st = sb_rig_select(sb_method_find("stem"), text, &g->rig, 2, &pat, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
    if (st == SB_OK) {
        int64_t differing = sb_golden_differing(mask, &pat);
        printf("seed %lld: %lld of %lld blocks differ\n",
               (long long)sb_golden_int(g->group, "seed"), (long long)differing,
               (long long)mask->row_ptr[mask->n_lists]);
        EXPECT(differing == 0);
    }
    sb_pattern_free(&pat);
}

/* Query token t of head 0 as a chunk of one query, so that the file's float64 row is compared
 * without attending all the others. */
static void check_row(const sb_golden *g, const sb_attend_kernel *kernel, const sb_inputs *in,
                      int64_t t, const int64_t *row_ptr, const int32_t *col, const double *o,
                      double lse)
{
    sb_problem p = {.n_batch = 1,
                    .n_heads = 1,
                    .n_kv_heads = 1,
                    .q_len = 1,
                    .kv_len = t + 1,
                    .dim = g->dim,
                    .dim_v = g->dim,
                    .dtype = SB_F32,
                    .scale = 1 / sqrt((double)g->dim)};
    int64_t I = t / g->block, n = row_ptr[I + 1] - row_ptr[I], rows[2] = {0, n};
    sb_pattern pat = {1, 1, 1, g->block, n, rows, NULL, NULL};
    pat.col = sb_oracle_calloc(n, sizeof *pat.col);
    memcpy(pat.col, col + row_ptr[I], (size_t)n * sizeof *pat.col);
    float *out = sb_oracle_calloc(g->dim, sizeof *out), lse_out = NAN, worst = 0;
    size_t bytes = (kernel->scratch_bytes(&p, g->block, 1) + 63) / 64 * 64;
    void *scratch = aligned_alloc(64, bytes > 0 ? bytes : 64);
    sb_inputs row = {(const float *)in->q + t * g->dim, in->k, in->v};
    kernel->attend(&p, &row, &pat, g->block, &(sb_outputs){out, &lse_out}, scratch, 1);
    for (int64_t c = 0; c < g->dim; c++)
        worst = fmaxf(worst, (float)fabs((double)out[c] - o[c]));
    EXPECT_MSG(worst < 1e-6f, "%s, token %lld: off by %g", kernel->name, (long long)t,
               (double)worst);
    EXPECT_MSG(fabs((double)lse_out - lse) < 1e-6 * fmax(1, fabs(lse)),
               "%s, token %lld: LSE %.9g, not %.9g", kernel->name, (long long)t, (double)lse_out,
               lse);
    free(scratch);
    free(out);
    free(pat.col);
}

static float *widen(const uint16_t *x, int64_t n)
{
    float *wide = sb_oracle_calloc(n, sizeof *wide);
    for (int64_t i = 0; i < n; i++)
        wide[i] = sb_golden_widen(x[i]);
    return wide;
}

static void check_attention(const sb_golden *g, const int64_t *row_ptr, const int32_t *col)
{
    int64_t n_rows, n_o, n_lse, n = g->tokens * g->dim;
    int64_t *t = sb_golden_read(g->group, "check_rows", H5T_NATIVE_INT64, sizeof *t, &n_rows);
    double *o = sb_golden_read(g->group, "o_head0", H5T_NATIVE_DOUBLE, sizeof *o, &n_o);
    double *lse = sb_golden_read(g->group, "lse_head0", H5T_NATIVE_DOUBLE, sizeof *lse, &n_lse);
    float *q = widen(g->q, n), *k = widen(g->k, n), *v = widen(g->v, n);
    sb_inputs in = {q, k, v};
    const sb_problem f32 = {.dtype = SB_F32};
    int n_kernels;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n_kernels);
    EXPECT(n_rows > 0 && n_o == n_rows * g->dim && n_lse == n_rows);
    for (int i = 0; i < n_kernels; i++)
        for (int64_t r = 0; r < n_rows && sb_attend_runs(kernels[i], &f32, g->block); r++)
            check_row(g, kernels[i], &in, t[r], row_ptr, col, o + r * g->dim, lse[r]);
    free(v);
    free(k);
    free(q);
    free(lse);
    free(o);
    free(t);
}

static void check_group(hid_t file, const char *name)
{
    char text[64];
    hid_t group = H5Gopen(file, name, H5P_DEFAULT);
    sb_golden g = sb_golden_load(group);
    sb_golden_mask mask = sb_golden_mask_read(group, "row_ptr", "col");
    snprintf(text, sizeof text, "%s: the generator", name);
    TEST(text);
    EXPECT(sb_golden_as_stated(&g, 'q'));
    EXPECT(sb_golden_as_stated(&g, 'k'));
    EXPECT(sb_golden_as_stated(&g, 'v'));
    TEST("masks of the authors' code");
    EXPECT(mask.n_lists == g.n_lists);
    check_mask(&g, &mask);
    TEST("attention over those masks");
    check_attention(&g, mask.row_ptr, mask.col);
    sb_golden_mask_free(&mask);
    sb_golden_free(&g);
    H5Gclose(group);
}

int main(void)
{
    static const char *const groups[] = {"seed1", "seed2", "seed3", "seed4"};
    const char *path = SB_SOURCE_DIR "/methods/tests/data/stem-angelslim.h5";
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        return 1;
    for (int i = 0; i < 4; i++)
        check_group(file, groups[i]);
    H5Fclose(file);
    return sb_tests_done();
}
