/* Fidelity metrics against numbers worked out by hand and against their definitions. */

#include "harness/metrics.h"

#include <math.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/tests/check.h"

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * (1 + fabs(b));
}

/* Two heads, four queries of which 0, 1 and 3 are compared, Dv 2, bins of one token. Head 0: right,
 * off by (3, 4) against (6, 8), turned by a right angle. Head 1: right in all three. */
static int64_t rows[] = {0, 1, 3};
static float ref_o[] = {1, 0, 6, 8, 2, 0, 0, 5, 1, 1, 3, 4};
static double ref_lse[] = {0, 1, 2, 3, 4, 5};
static const float by_hand_o[] = {1, 0, 9, 12, 77, 77, 0, 2, 0, 5, 1, 1, 77, 77, 3, 4};
static const float by_hand_lse[] = {0, .5f, 77, 2, 3, 3, 77, 5};

static const sb_problem problem = {.n_batch = 1,
                                   .n_heads = 2,
                                   .n_kv_heads = 1,
                                   .q_len = 4,
                                   .kv_len = 4,
                                   .dim = 8,
                                   .dim_v = 2,
                                   .dtype = SB_F32,
                                   .scale = 1};
static const sb_reference reference = {2, 2, 3, rows, ref_o, ref_lse};

static void test_by_hand(void)
{
    TEST("worked by hand");
    float o[16], lse[8];
    memcpy(o, by_hand_o, sizeof o);
    memcpy(lse, by_hand_lse, sizeof lse);
    sb_outputs out = {o, lse};
    sb_fidelity f;
    REQUIRE(sb_fidelity_measure(&problem, &out, &reference, 1, 2, &f, NULL) == SB_OK);
    /* Squared norms: 1, 100, 4 and 25, 2, 25; errors: 0, 25, 8 and 0, 0, 0. */
    EXPECT(near(f.rel_l2, sqrt(33.0 / 157)));
    EXPECT(near(f.rel_l2_p50, 0));
    EXPECT(near(f.rel_l2_p95, sqrt(2.0)));
    EXPECT(near(f.rel_l2_max, sqrt(2.0)));
    EXPECT(near(f.cosine_mean, 5.0 / 6));
    EXPECT(near(f.cosine_min, 0));
    EXPECT(near(f.max_abs, 4));
    EXPECT(near(f.mass_recall, (1 + exp(-.5) + 1 + 1 + exp(-1) + 1) / 6));
    EXPECT(near(f.lse_err, 1.5 / 6));
    EXPECT(f.n_heads == 2 && f.n_bins == 4 && f.bin_tokens == 1);
    EXPECT(near(f.head_rel_l2[0], sqrt(33.0 / 105)) && near(f.head_rel_l2[1], 0));
    EXPECT(near(f.head_mass_recall[0], (2 + exp(-.5)) / 3));
    EXPECT(near(f.head_mass_recall[1], (2 + exp(-1)) / 3));
    EXPECT(near(f.pos_rel_l2[0], 0) && near(f.pos_rel_l2[1], sqrt(25.0 / 102)));
    EXPECT(isnan(f.pos_rel_l2[2]) && isnan(f.pos_mass_recall[2]));
    EXPECT(near(f.pos_rel_l2[3], sqrt(8.0 / 29)));
    EXPECT(near(f.pos_mass_recall[1], (exp(-.5) + exp(-1)) / 2));
    sb_fidelity_free(&f);

    REQUIRE(sb_fidelity_measure(&problem, &out, &reference, 3, 1, &f, NULL) == SB_OK);
    EXPECT(f.n_bins == 2 && near(f.pos_rel_l2[0], sqrt(25.0 / 128)));
    EXPECT(near(f.pos_rel_l2[1], sqrt(8.0 / 29)));
    sb_fidelity_free(&f);
}

static void test_zero_rows(void)
{
    TEST("a zero reference row: equal is exact, anything else infinitely wrong");
    float o[] = {0, 0, 1, 1}, lse[] = {0, 0}, r[] = {0, 0, 0, 0};
    double r_lse[] = {0, 0};
    int64_t both[] = {0, 1};
    sb_problem p = problem;
    p.n_heads = 1;
    p.q_len = p.kv_len = 2;
    sb_outputs out = {o, lse};
    sb_reference ref = {1, 2, 2, both, r, r_lse};
    sb_fidelity f;
    REQUIRE(sb_fidelity_measure(&p, &out, &ref, 1, 1, &f, NULL) == SB_OK);
    EXPECT(f.pos_rel_l2[0] == 0 && isinf(f.pos_rel_l2[1]) && isinf(f.rel_l2_max));
    EXPECT(near(f.cosine_mean, .5) && f.cosine_min == 0);
    sb_fidelity_free(&f);
}

static void test_not_finite(void)
{
    TEST("NaN and infinity are named with their place");
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 6; i++) {
        float o[16], lse[8];
        memcpy(o, by_hand_o, sizeof o);
        memcpy(lse, by_hand_lse, sizeof lse);
        if (i % 2)
            o[2 * (4 + 3) + 1] = bad[i / 2];
        else
            lse[4 + 3] = bad[i / 2];
        sb_outputs out = {o, lse};
        sb_fidelity f;
        sb_err err = {0};
        EXPECT(sb_fidelity_measure(&problem, &out, &reference, 1, 2, &f, &err) == SB_INTERNAL);
        EXPECT(strstr(err.msg, "head 1, query 3") != NULL);
        EXPECT(strstr(err.msg, i % 2 ? "output" : "LSE") != NULL);
    }
}

static void test_shape(void)
{
    TEST("a reference of another shape is refused");
    float o[16] = {0}, lse[8] = {0};
    sb_outputs out = {o, lse};
    sb_fidelity f;
    sb_problem p = problem;
    p.q_len = 3;
    EXPECT(sb_fidelity_measure(&p, &out, &reference, 1, 1, &f, NULL) == SB_USAGE);
    p = problem;
    p.dim_v = 1;
    EXPECT(sb_fidelity_measure(&p, &out, &reference, 1, 1, &f, NULL) == SB_USAGE);
}

enum { H = 3, T = 301, DV = 20 };

/* Rows in bf16 whose relative error grows with the token: percentiles are then known rows'. */
static void test_percentiles(void)
{
    TEST("percentiles, 16-bit outputs, same bits for any number of threads");
    float *o = sb_alloc(H * T * DV, sizeof *o), *lse = sb_alloc(H * T, sizeof *lse);
    float *r = sb_alloc(H * T * DV, sizeof *r);
    double *r_lse = sb_alloc(H * T, sizeof *r_lse);
    uint16_t *half = sb_alloc(H * T * DV, sizeof *half);
    int64_t *all = sb_alloc(T, sizeof *all);
    for (int64_t i = 0; i < H * T * DV; i++) {
        int64_t t = i / DV % T;
        all[t] = t;
        o[i] = (float)(t + 1) * ((i * 7 % 5 < 2) ? -1.0f : 1.0f);
        r[i] = 512 * (o[i] < 0 ? -1.0f : 1.0f);
    }
    sb_from_f32(SB_BF16, o, half, H * T * DV);
    sb_to_f32(SB_BF16, half, o, H * T * DV);
    sb_problem p = problem;
    p.n_heads = H;
    p.q_len = p.kv_len = T;
    p.dim_v = DV;
    p.dtype = SB_BF16;
    sb_outputs out = {half, lse};
    sb_reference ref = {H, DV, T, all, r, r_lse};
    sb_fidelity f, g;
    REQUIRE(sb_fidelity_measure(&p, &out, &ref, 64, 1, &f, NULL) == SB_OK);
    REQUIRE(sb_fidelity_measure(&p, &out, &ref, 64, 3, &g, NULL) == SB_OK);
    /* Errors fall with t: the median token of 301 is t = 150, the 286th smallest t = 15. */
    EXPECT(near(f.rel_l2_p50, 1 - fabs((double)o[150 * DV]) / 512));
    EXPECT(near(f.rel_l2_p95, 1 - fabs((double)o[15 * DV]) / 512));
    EXPECT(near(f.rel_l2_max, 511.0 / 512) && near(f.cosine_min, 1) && f.n_bins == 5);
    EXPECT(f.rel_l2 == g.rel_l2 && f.cosine_mean == g.cosine_mean);
    EXPECT(memcmp(f.pos_rel_l2, g.pos_rel_l2, 5 * sizeof(double)) == 0);
    sb_fidelity_free(&g);
    sb_fidelity_free(&f);
    sb_free(all);
    sb_free(half);
    sb_free(r_lse);
    sb_free(r);
    sb_free(lse);
    sb_free(o);
}

static void test_no_memory(void)
{
    TEST("any allocation may fail");
    float o[16], lse[8];
    memcpy(o, by_hand_o, sizeof o);
    memcpy(lse, by_hand_lse, sizeof lse);
    sb_outputs out = {o, lse};
    sb_fidelity f;
    int64_t n = 1;
    for (;; n++) {
        sb_mem_fail_at(n);
        sb_status st = sb_fidelity_measure(&problem, &out, &reference, 1, 2, &f, NULL);
        sb_mem_fail_at(0);
        if (st == SB_OK)
            break;
        EXPECT(st == SB_NO_MEMORY && sb_mem_live() == 0);
    }
    EXPECT(n > 4);
    sb_fidelity_free(&f);
}

int main(void)
{
    test_by_hand();
    test_zero_rows();
    test_not_finite();
    test_shape();
    test_percentiles();
    test_no_memory();
    TEST("nothing leaks");
    EXPECT(sb_mem_live() == 0);
    return sb_tests_done();
}
