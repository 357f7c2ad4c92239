/* Stem and uniform: masks against the float64 oracle on irregular shapes, limit identities, ties
 * and forced blocks. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/tests/check.h"
#include "methods/tests/rig.h"

static int64_t n_compared, n_differing, n_masks;

/* Scores and bonuses are computed once for a shape, block and score. */
typedef struct scored {
    sb_oracle o;
    double *scores;
    double *bonus[4];
} scored;

static scored score_all(const sb_rig *rig, int64_t b, sb_oracle_rule rule)
{
    scored s = {.o = sb_oracle_load(&rig->problem, &rig->in, b)};
    s.scores = sb_oracle_scores(&s.o, &rule);
    for (int v = 0; v < 4; v++) {
        rule.value = (sb_oracle_value)v;
        s.bonus[v] = sb_oracle_bonus(&s.o, &rule);
    }
    return s;
}

static void scored_free(scored *s)
{
    for (int v = 0; v < 4; v++)
        free(s->bonus[v]);
    free(s->scores);
    sb_oracle_free(&s->o);
}

/* Blocks in which a list differs from keep [row + 1]. A difference is excused where float32 sums
 * can put the block on the other side of the threshold. */
static int64_t compare_list(const sb_pattern *pat, int64_t list, const bool *keep,
                            const double *metric, double threshold, int64_t row, bool *excused)
{
    int64_t at = pat->row_ptr[list], end = pat->row_ptr[list + 1], differing = 0;
    double largest = 0;
    for (int64_t J = 0; J <= row; J++)
        largest = fmax(largest, fabs(metric[J]));
    for (int64_t J = 0; J <= row; J++) {
        bool kept = at < end && pat->col[at] == J;
        at += kept;
        differing += kept != keep[J];
        if (kept != keep[J] && fabs(metric[J] - threshold) > 3e-7 * largest)
            *excused = false;
    }
    *excused = *excused && at == end;
    return differing;
}

/* Blocks of sequence b in which the pattern differs from the oracle's. */
static int64_t compare(const sb_pattern *pat, int64_t b, const scored *s,
                       const sb_oracle_rule *rule, bool *excused)
{
    int64_t n_rows = sb_oracle_n_rows(&s->o, rule->block), differing = 0;
    int64_t first = sb_oracle_first_row(&s->o, rule->block);
    int64_t n_blocks = sb_oracle_n_blocks(&s->o, rule->block);
    sb_oracle_choice c = sb_oracle_select(&s->o, rule, s->scores, s->bonus[rule->value]);
    for (int64_t i = 0; i < s->o.n_heads * n_rows; i++) {
        int64_t row = first + i % n_rows;
        differing +=
            compare_list(pat, sb_pattern_row(pat, b, i / n_rows, i % n_rows), c.keep + i * n_blocks,
                         c.metric + i * n_blocks, c.threshold[i], row, excused);
        n_compared += row + 1;
    }
    sb_oracle_choice_free(&c);
    return differing;
}

static void check_mask(const char *method, const char *text, const sb_rig *rig,
                       const scored *sequences, const sb_oracle_rule *rule)
{
    sb_pattern pat = {0};
    sb_err err = {0};
    sb_status st = sb_rig_select(sb_method_find(method), text, rig, 1, &pat, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s %s: %s", method, text, err.msg);
    for (int64_t b = 0; st == SB_OK && b < rig->problem.n_batch; b++) {
        bool excused = true;
        int64_t differing = compare(&pat, b, &sequences[b], rule, &excused);
        EXPECT_MSG(excused && differing <= 2, "%s %s, sequence %lld: %lld blocks differ", method,
                   text, (long long)b, (long long)differing);
        n_differing += differing;
    }
    n_masks++;
    sb_pattern_free(&pat);
}

static const char *const value_names[] = {"none", "paper", "angelslim", "hpc"};
static const char *const score_names[] = {"antidiagonal", "mean", "mass"};
static const char *const variant_names[] = {"paper", "angelslim", "hpc"};

/* Every variant with every bonus. */
static void check_stem(const sb_rig *rig, const scored *sequences, sb_oracle_rule rule,
                       const char *common)
{
    static const struct {
        const char *text;
        double k_start, mu;
        int64_t hold, sinks, window;
    } schedules[] = {
        {"k_start=5 mu=0.4 schedule.hold=0 sinks=0 window=1", 5, 0.4, 0, 0, 1},
        {"k_start=0.3 mu=0.7 schedule.hold=1 sinks=2 window=3", 0.3, 0.7, 1, 2, 3},
        {"k_start=auto mu=1 schedule.hold=0 sinks=4 window=4", 0, 1, 0, 4, 4},
    };
    char text[256];
    for (int i = 0; i < 3 * 4 * 3; i++) {
        int s = i / 12, value = i % 4, variant = i / 4 % 3;
        rule.k_start = schedules[s].k_start;
        rule.mu = schedules[s].mu;
        rule.hold = schedules[s].hold;
        rule.sinks = schedules[s].sinks;
        rule.window = schedules[s].window;
        rule.value = (sb_oracle_value)value;
        rule.beta = 0.25;
        rule.released = variant > 0;
        snprintf(text, sizeof text, "variant=%s value=%s beta=0.25 %s %s", variant_names[variant],
                 value_names[value], schedules[s].text, common);
        check_mask("stem", text, rig, sequences, &rule);
    }
}

static void check_block(const sb_rig *rig, int64_t block, int64_t stride, sb_oracle_score score)
{
    char common[96], text[160];
    sb_oracle_rule rule = {.block = block, .stride = stride, .score = score, .exponent = 2};
    scored sequences[SB_RIG_BATCH];
    for (int64_t b = 0; b < rig->problem.n_batch; b++)
        sequences[b] = score_all(rig, b, rule);
    snprintf(common, sizeof common, "block=%lld stride=%lld score=%s", (long long)block,
             (long long)stride, score_names[score]);
    rule.shape = SB_ORACLE_LINEAR;
    check_stem(rig, sequences, rule, common);
    rule.shape = SB_ORACLE_CONSTANT;
    rule.k_start = 4;
    rule.sinks = 1;
    rule.window = 2;
    snprintf(text, sizeof text, "k=4 sinks=1 window=2 %s", common);
    check_mask("uniform", text, rig, sequences, &rule);
    for (int64_t b = 0; b < rig->problem.n_batch; b++)
        scored_free(&sequences[b]);
}

static void test_masks(void)
{
    static const sb_rig_shape shapes[] = {
        {1, 2, 2, 64, 64, {1}, {0}, {0}, SB_BF16, 1},
        {1, 4, 2, 20, 20, {62}, {0}, {0}, SB_BF16, 2},
        {1, 3, 1, 80, 40, {213}, {0}, {0}, SB_F16, 3},
        {1, 9, 3, 64, 64, {1521}, {0}, {0}, SB_BF16, 4},
        {2, 2, 1, 20, 28, {213, 1521}, {0}, {0}, SB_F32, 5},
        {1, 3, 3, 80, 80, {813}, {300}, {1521}, SB_BF16, 6},
        {2, 4, 2, 64, 20, {700, 62}, {333, 1}, {701, 2000}, SB_BF16, 7},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char name[96];
        const sb_rig_shape *s = &shapes[i];
        snprintf(name, sizeof name, "masks: %lld + %lld tokens, %lld/%lld heads, d %lld",
                 (long long)s->kv_len[0], (long long)s->kv_len[1], (long long)s->n_heads,
                 (long long)s->n_kv_heads, (long long)s->dim);
        TEST(name);
        sb_rig rig;
        sb_rig_make(&rig, s);
        for (int mean = 0; mean < 2; mean++) {
            sb_oracle_score score = mean ? SB_ORACLE_MEAN : SB_ORACLE_ANTIDIAGONAL;
            check_block(&rig, 16, 4, score);
            check_block(&rig, 64, 8, score);
            check_block(&rig, 128, 16, score);
        }
        check_block(&rig, 64, 8, SB_ORACLE_MASS); /* each selection costs as much as attention */
        sb_rig_free(&rig);
    }
    TEST("masks differ from the oracle nowhere but at rounding");
    EXPECT_MSG(n_differing * 100000 <= n_compared, "%lld of %lld blocks", (long long)n_differing,
               (long long)n_compared);
}

/* The patterns of two parameter sets on one rig. */
static bool same_patterns(const sb_rig *rig, const char *method_a, const char *text_a,
                          const char *method_b, const char *text_b)
{
    sb_pattern a = {0}, b = {0};
    sb_err err = {0};
    bool same = sb_rig_select(sb_method_find(method_a), text_a, rig, 1, &a, NULL, &err) == SB_OK &&
                sb_rig_select(sb_method_find(method_b), text_b, rig, 2, &b, NULL, &err) == SB_OK &&
                sb_rig_same(&a, &b);
    if (err.status != SB_OK)
        fprintf(stderr, "%s\n", err.msg);
    sb_pattern_free(&b);
    sb_pattern_free(&a);
    return same;
}

static int64_t count_last_row(const sb_rig *rig, const char *text)
{
    sb_pattern pat = {0};
    sb_err err = {0};
    sb_status st = sb_rig_select(sb_method_find("stem"), text, rig, 1, &pat, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s: %s", text, err.msg);
    int64_t count = st == SB_OK ? sb_rig_count(&pat, 0, 0, pat.n_rows - 1) : -1;
    sb_pattern_free(&pat);
    return count;
}

static void test_partial_block(void)
{
    sb_rig rig;
    sb_rig_make_rising(&rig, 308, 308, 308, 16);
    float *v = rig.v;
    for (int64_t t = 0; t < 308; t++)
        v[t * 8] = t < 304 ? 1 + (float)(t / 8 % 2) : 1000;
    TEST("a partial block competes with its zero-padded score");
    EXPECT(count_last_row(&rig, "block=16 sinks=0 window=1 k_start=5 mu=1 value=none") == 6);
    TEST("and with the values of its partial group");
    EXPECT(count_last_row(&rig, "block=16 sinks=0 window=1 k_start=5 mu=1 beta=9") == 5);
    EXPECT(count_last_row(&rig, "block=16 sinks=0 window=1 k_start=5 mu=1 beta=9 "
                                "value=angelslim") == 5);
    sb_rig_free(&rig);
}

static void test_identities(void)
{
    static const sb_rig_shape shape = {1, 6, 2, 64, 64, {1521}, {0}, {0}, SB_BF16, 21};
    sb_rig rig;
    sb_rig_make(&rig, &shape);
    TEST("mu 1 and no bonus are uniform");
    EXPECT(same_patterns(&rig, "stem", "mu=1 value=none k_start=7 block=16", "uniform",
                         "k=7 block=16"));
    EXPECT(same_patterns(&rig, "stem", "mu=1 value=none k_start=0.21 block=64 score=mean",
                         "uniform", "k=0.21 block=64 score=mean"));
    TEST("the bonus and the decay matter on these inputs");
    EXPECT(!same_patterns(&rig, "stem", "mu=1 value=paper beta=1 k_start=7 block=16", "uniform",
                          "k=7 block=16"));
    EXPECT(!same_patterns(&rig, "stem", "mu=0.7 value=none k_start=7 block=16", "uniform",
                          "k=7 block=16"));
    EXPECT(!same_patterns(&rig, "stem", "mu=1 value=paper beta=1 k_start=7 block=16 score=mass",
                          "uniform", "k=7 block=16 score=mass"));
    TEST("against masses the released bonuses are one");
    EXPECT(same_patterns(&rig, "stem", "value=hpc beta=1 k_start=7 block=16 score=mass", "stem",
                         "value=angelslim beta=1 k_start=7 block=16 score=mass"));
    TEST("a weight of 0 is no bonus");
    EXPECT(same_patterns(&rig, "stem", "beta=0 k_start=7 block=16", "stem",
                         "value=none k_start=7 block=16"));
    TEST("variant only sets defaults and rounding");
    EXPECT(same_patterns(&rig, "stem",
                         "variant=angelslim block=16 stride=16 value=hpc beta=0.3 k_start=9",
                         "stem", "variant=hpc block=16 k_start=9"));
    TEST("hold auto is k_start rows");
    EXPECT(same_patterns(&rig, "stem", "variant=angelslim block=16 k_start=9", "stem",
                         "variant=angelslim block=16 k_start=9 schedule.hold=9"));
    TEST("breakpoints none is one at 0.5");
    EXPECT(same_patterns(&rig, "stem", "schedule.shape=step block=16 k_start=9", "stem",
                         "schedule.shape=step schedule.breakpoints=[0.5] block=16 k_start=9"));
    TEST("first layers stay dense");
    EXPECT(same_patterns(&rig, "stem", "block=16 k_start=2 dense_layers=6", "uniform",
                         "block=16 k=1000"));
    EXPECT(same_patterns(&rig, "stem", "block=16 k_start=2 dense_layers=5", "stem",
                         "block=16 k_start=2"));
    EXPECT(same_patterns(&rig, "uniform", "block=16 k=2 dense_layers=6", "uniform",
                         "block=16 k=1000"));
    sb_rig_free(&rig);
}

static void test_forced(void)
{
    sb_rig rig;
    sb_pattern pat = {0};
    sb_err err = {0};
    TEST("sinks and window are exactly what is added");
    sb_rig_make_rising(&rig, 320, 320, 320, 16);
    REQUIRE(sb_rig_select(sb_method_find("uniform"), "k=1 block=16 sinks=2 window=3", &rig, 1, &pat,
                          NULL, &err) == SB_OK);
    for (int64_t I = 0; I < 20; I++)
        for (int64_t J = 0; J < 20; J++)
            EXPECT(sb_rig_keeps(&pat, 0, 0, I, J) == (J <= I && (J < 2 || J > I - 3)));
    sb_pattern_free(&pat);
    sb_rig_free(&rig);
}

/* Keys chosen so that all block scores are equal: k of lowest index, then the diagonal. */
static void check_ties(const sb_rig *rig, const char *method, const char *text, int64_t k)
{
    sb_pattern pat = {0};
    sb_err err = {0};
    sb_status st = sb_rig_select(sb_method_find(method), text, rig, 1, &pat, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
    for (int64_t I = 0; st == SB_OK && I < 20; I++)
        for (int64_t J = 0; J < 20; J++)
            EXPECT_MSG(sb_rig_keeps(&pat, 0, 0, I, J) == (J == I || (J < I && J < k)),
                       "%s %s: row %lld, block %lld", method, text, (long long)I, (long long)J);
    sb_pattern_free(&pat);
}

static void test_ties(void)
{
    sb_rig rig;
    sb_rig_make_rising(&rig, 320, 320, 320, 16);
    float *k = rig.k;
    TEST("ties keep the lowest indices");
    for (int64_t t = 0; t < 320; t++)
        k[t * 8] = 0.3f;
    check_ties(&rig, "uniform", "k=5 block=16 sinks=0 window=1", 5);
    check_ties(&rig, "uniform", "k=5 block=16 sinks=0 window=1 score=mean", 5);
    check_ties(&rig, "stem", "k_start=5 mu=1 value=none block=16 sinks=0 window=1", 5);
    TEST("-0 and +0 tie");
    /* The smallest denormal, scaled down, rounds to -0 in the even blocks. */
    for (int64_t t = 0; t < 320; t++)
        k[t * 8] = t % 32 == 0 ? -0x1p-149f : 0.0f;
    check_ties(&rig, "uniform", "k=5 block=16 sinks=0 window=1", 5);
    for (int64_t t = 0; t < 320; t++)
        k[t * 8] = t / 16 % 2 == 0 ? -0.0f : 0.0f;
    check_ties(&rig, "uniform", "k=5 block=16 sinks=0 window=1", 5);
    check_ties(&rig, "uniform", "k=5 block=16 sinks=0 window=1 score=mean", 5);
    sb_rig_free(&rig);
}

static void check_chunks(const char *text, int64_t kv_len, int64_t chunk)
{
    sb_rig_shape shape = {1, 6, 2, 64, 64, {kv_len}, {0}, {kv_len}, SB_BF16, 31};
    sb_rig whole, part;
    sb_pattern all = {0}, some = {0};
    sb_err err = {0};
    const sb_method *m = sb_method_find("stem");
    sb_rig_make(&whole, &shape);
    sb_status st = sb_rig_select(m, text, &whole, 2, &all, NULL, &err);
    for (int64_t t0 = 0; st == SB_OK && t0 < kv_len; t0 += chunk) {
        shape.kv_len[0] = t0 + chunk < kv_len ? t0 + chunk : kv_len;
        shape.q_len[0] = shape.kv_len[0] - t0;
        sb_rig_make(&part, &shape);
        st = sb_rig_select(m, text, &part, 1, &some, NULL, &err);
        for (int64_t h = 0; st == SB_OK && h < 6; h++)
            for (int64_t r = 0; r < some.n_rows; r++) {
                int64_t i = sb_pattern_row(&all, 0, h, t0 / some.block + r);
                int64_t j = sb_pattern_row(&some, 0, h, r),
                        n = some.row_ptr[j + 1] - some.row_ptr[j];
                EXPECT(n == all.row_ptr[i + 1] - all.row_ptr[i] &&
                       memcmp(all.col + all.row_ptr[i], some.col + some.row_ptr[j],
                              (size_t)n * sizeof *some.col) == 0);
            }
        sb_pattern_free(&some);
        sb_rig_free(&part);
    }
    EXPECT_MSG(st == SB_OK, "%s: %s", text, err.msg);
    sb_pattern_free(&all);
    sb_rig_free(&whole);
}

static void test_chunks(void)
{
    TEST("a chunked prefill selects what the whole prompt does");
    check_chunks("block=16 k_start=9", 1521, 256);
    check_chunks("block=64 k_start=0.3 value=none", 1521, 448);
    check_chunks("block=16 k_start=9 score=mean value=none", 1521, 16);
    check_chunks("variant=angelslim block=16 value=none", 1521, 512);
    check_chunks("block=16 k_start=9 score=mass", 1521, 256);
}

int main(void)
{
    test_masks();
    printf("%lld masks, %lld blocks compared, %lld differ\n", (long long)n_masks,
           (long long)n_compared, (long long)n_differing);
    test_partial_block();
    test_identities();
    test_forced();
    test_ties();
    test_chunks();
    return sb_tests_done();
}
