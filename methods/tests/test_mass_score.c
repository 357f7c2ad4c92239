/* Score `mass`: logarithms against the float64 oracle, what uniform keeps by them against the
 * oracle method, and masses that vanish. test_stem compares whole masks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/tests/check.h"
#include "methods/kernels/cpu/score.h"
#include "methods/stages.h"
#include "methods/tests/subjects.h"

/* The logarithms of one sequence's masses, at most SB_SCORE_ROWS rows at a time. */
static double worst_log(const sb_rig *rig, const sb_oracle *o, const sb_score *score, int64_t b)
{
    int64_t n = score->n_blocks, own = sb_oracle_n_blocks(o, score->block);
    int64_t n_rows = sb_oracle_n_rows(o, score->block);
    double *wanted = sb_oracle_log_masses(o, score->block), worst = 0;
    float *got = sb_oracle_calloc(3 * n, sizeof *got);
    for (int64_t i = 0; i < o->n_heads * n_rows; i++) {
        int64_t h = i / n_rows, r = i % n_rows, at = r % 3;
        int64_t n_at_once = n_rows - r + at < 3 ? n_rows - r + at : 3;
        if (at == 0)
            sb_score_queries(score, &rig->problem, &rig->in, b, h, r, n_at_once, 0, got);
        for (int64_t J = 0; J <= sb_oracle_first_row(o, score->block) + r; J++)
            worst = fmax(worst, fabs((double)got[at * n + J] - wanted[i * own + J]));
    }
    free(got);
    free(wanted);
    return worst;
}

static void test_logs(void)
{
    static const sb_rig_shape shape = {2,         4,        2,          64,      20,
                                       {700, 62}, {333, 1}, {701, 200}, SB_BF16, 7};
    sb_block_topk_spec spec = {.block = 64, .mass_score = true};
    sb_rig rig;
    sb_score score;
    sb_err err = {0};
    TEST("score mass is the logarithm of the mean mass");
    sb_rig_make(&rig, &shape);
    REQUIRE(sb_score_plan(&rig.problem, &spec, 2, &score, &err) == SB_OK);
    sb_score_keys(&score, &rig.problem, &rig.in);
    for (int64_t b = 0; b < 2; b++) {
        sb_oracle o = sb_oracle_load(&rig.problem, &rig.in, b);
        double worst = worst_log(&rig, &o, &score, b);
        EXPECT_MSG(worst < 1e-5, "sequence %lld: %g nats off", (long long)b, worst);
        sb_oracle_free(&o);
    }
    sb_score_free(&score);
    sb_rig_free(&rig);
}

enum { MOST_LENGTH = 112, MOST_COLUMNS = 70, OUT_ROW = MOST_COLUMNS + 3 };

/* Columns and rows of the same numbers: the same bits, and nothing else written. */
static bool same_bits(int width, int64_t n_rows, int64_t n, int64_t length)
{
    static const float gain[SB_SCORE_ROWS] = {0.5f, 0.3f, 3, 1.7f};
    static float a[SB_SCORE_ROWS * MOST_LENGTH], b[MOST_COLUMNS * MOST_LENGTH];
    static float across[MOST_LENGTH * (MOST_COLUMNS + SB_LANES)];
    float wanted[SB_SCORE_ROWS * OUT_ROW], got[SB_SCORE_ROWS * OUT_ROW];
    int64_t b_row = sb_pad_lanes(n);
    for (int64_t i = 0; i < n_rows * length; i++)
        a[i] = (float)sin((double)(i * i + n));
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < length; i++)
            across[i * b_row + j] = b[j * length + i] = (float)cos((double)(i * 3 + j * j));
    for (int i = 0; i < SB_SCORE_ROWS * OUT_ROW; i++)
        wanted[i] = got[i] = -7;
    sb_score_rows(a, n_rows, b, n, length, gain, OUT_ROW, wanted);
    sb_score_columns(width, a, n_rows, across, n, length, b_row, gain, OUT_ROW, got);
    return memcmp(wanted, got, sizeof got) == 0;
}

static void test_columns(void)
{
    for (int width = 4; width <= sb_columns_width(); width *= 2) {
        TEST("products with columns have the bits of those with rows");
        for (int64_t n = 1; n <= MOST_COLUMNS; n++)
            for (int64_t length = SB_LANES; length <= MOST_LENGTH; length += 48)
                for (int64_t n_rows = 1; n_rows <= SB_SCORE_ROWS; n_rows++)
                    EXPECT_MSG(same_bits(width, n_rows, n, length),
                               "width %d: %lld rows, %lld columns, length %lld", width,
                               (long long)n_rows, (long long)n, (long long)length);
    }
}

static bool select_text(const char *method, const char *text, const sb_rig *rig, sb_pattern *pat)
{
    sb_err err = {0};
    sb_status st = sb_rig_select(sb_method_find(method), text, rig, 2, pat, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s %s: %s", method, text, err.msg);
    return st == SB_OK;
}

/* ---- against the oracle method ------------------------------------------------------------- */

enum { HEADS = 4, BLOCK = 32, N_BLOCKS = (SB_SUBJECT_TOKENS + BLOCK - 1) / BLOCK };

static bool select_k(const char *method, const char *base, int64_t k, const sb_rig *rig,
                     sb_pattern *pat)
{
    char text[SB_SUBJECT_TEXT];
    snprintf(text, sizeof text, "%s block=32 sinks=0 window=1 k=%lld", base, (long long)k);
    return select_text(method, text, rig, pat);
}

static bool same_list(const sb_pattern *a, const sb_pattern *b, int64_t i)
{
    int64_t n = a->row_ptr[i + 1] - a->row_ptr[i];
    return n == b->row_ptr[i + 1] - b->row_ptr[i] &&
           memcmp(a->col + a->row_ptr[i], b->col + b->row_ptr[i], (size_t)n * sizeof *a->col) == 0;
}

/* In uniform the diagonal block competes, and is added where it loses: then the oracle keeps the
 * same with one block more to keep. */
static void test_oracle(const sb_rig *rig)
{
    int64_t n_added = 0, n_within = 0;
    TEST("uniform by mass keeps the blocks of the oracle by row");
    for (int64_t k = 1; k < N_BLOCKS; k += 3) {
        sb_pattern pat = {0}, within = {0}, added = {0};
        if (select_k("uniform", "score=mass", k, rig, &pat) &&
            select_k("oracle", "by=mass scope=row", k, rig, &within) &&
            select_k("oracle", "by=mass scope=row", k + 1, rig, &added))
            for (int64_t i = 0; i < HEADS * N_BLOCKS; i++) {
                bool lost = pat.row_ptr[i + 1] - pat.row_ptr[i] > k;
                n_added += lost;
                n_within += !lost && k < i % N_BLOCKS + 1;
                EXPECT_MSG(same_list(&pat, lost ? &added : &within, i), "k %lld, list %lld",
                           (long long)k, (long long)i);
            }
        sb_pattern_free(&added);
        sb_pattern_free(&within);
        sb_pattern_free(&pat);
    }
    EXPECT_MSG(n_added > 10 && n_within > 10, "%lld and %lld lists", (long long)n_added,
               (long long)n_within);
}

static double select_flops(const char *method, const char *text, const sb_rig *rig)
{
    sb_pattern pat = {0};
    sb_plan *plan = NULL;
    sb_err err = {0};
    sb_status st = sb_rig_select(sb_method_find(method), text, rig, 1, &pat, &plan, &err);
    EXPECT_MSG(st == SB_OK, "%s %s: %s", method, text, err.msg);
    double flops = st == SB_OK ? plan->select_flops : NAN;
    sb_plan_destroy(plan);
    sb_pattern_free(&pat);
    return flops;
}

static void test_flops(const sb_rig *rig)
{
    TEST("and spends a mean and a logarithm of each block more");
    double uniform = select_flops("uniform", "score=mass block=32 sinks=0 window=1 k=5", rig);
    double oracle = select_flops("oracle", "by=mass scope=row block=32 k=5", rig);
    EXPECT_MSG(uniform - oracle == HEADS * N_BLOCKS * (N_BLOCKS + 1), "%g and %g", uniform, oracle);
}

/* ---- masses that vanish -------------------------------------------------------------------- */

/* Blocks of row I, of which `block` is one where it is before the diagonal. */
static void expect_row(const sb_pattern *pat, int64_t I, int64_t n, int64_t block)
{
    EXPECT_MSG(sb_rig_count(pat, 0, 0, I) == n && sb_rig_keeps(pat, 0, 0, I, I) &&
                   (block >= I || sb_rig_keeps(pat, 0, 0, I, block)),
               "row %lld keeps %lld", (long long)I, (long long)sb_rig_count(pat, 0, 0, I));
}

/* Each diagonal block has all the mass of its row, and the values of block 7 are large. */
static void test_vanished(void)
{
    sb_rig rig;
    sb_pattern pat = {0};
    sb_rig_make_rising(&rig, 320, 320, 320, 16);
    rig.problem.scale = 1000;
    float *v = rig.v;
    for (int64_t t = 7 * 16; t < 8 * 16; t++)
        v[t * 8] = 1000;
    TEST("masses that vanish tie");
    REQUIRE(select_text("uniform", "k=2 block=16 sinks=0 window=1 score=mass", &rig, &pat));
    for (int64_t I = 1; I < 20; I++)
        expect_row(&pat, I, 2, 0);
    sb_pattern_free(&pat);
    TEST("until a bonus tells them apart");
    const char *one = "mu=1 k_start=2 beta=1 block=16 sinks=0 window=1 score=mass";
    REQUIRE(select_text("stem", one, &rig, &pat));
    for (int64_t I = 1; I < 20; I++)
        expect_row(&pat, I, 2, I > 7 ? 7 : 0);
    sb_pattern_free(&pat);
    /* ln 1000 = 6.9 against 87.3 */
    TEST("which is above a block with mass where it is larger than the floor is low");
    for (int beta = 10; beta <= 16; beta += 2) {
        char text[SB_SUBJECT_TEXT];
        snprintf(text, sizeof text, "mu=1 k_start=1 beta=%d block=16 sinks=0 window=1 score=mass",
                 beta);
        REQUIRE(select_text("stem", text, &rig, &pat));
        for (int64_t I = 1; I < 20; I++)
            expect_row(&pat, I, I > 7 && beta > 12 ? 2 : 1, beta > 12 ? 7 : I);
        sb_pattern_free(&pat);
    }
    sb_rig_free(&rig);
}

int main(void)
{
    sb_rig rig;
    sb_subject_rig(&rig, HEADS, 2, SB_SUBJECT_TOKENS, 21);
    test_logs();
    test_columns();
    test_oracle(&rig);
    test_flops(&rig);
    test_vanished();
    sb_rig_free(&rig);
    return sb_tests_done();
}
