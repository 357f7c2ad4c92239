/* Budgets k(I), read off the patterns of inputs whose score rises with the block index: the k best
 * blocks of row I are then the last k, and with window 1 and no sinks nothing is added to them. */

#include <stdlib.h>
#include <string.h>

#include "harness/tests/check.h"
#include "methods/tests/rig.h"

enum { BLOCK = 16 };

static const sb_oracle_rule base = {
    .block = BLOCK, .stride = 8, .k_start = 6, .mu = 0.7, .shape = SB_ORACLE_LINEAR, .exponent = 2};

static int64_t n_rows_checked;

/* Compares every row of a prompt's last q_len tokens; the sum of the counts of all rows. */
static int64_t check_chunk(const char *method, const char *text, const sb_oracle_rule *rule,
                           int64_t tokens, int64_t q_len, int64_t prompt_len)
{
    char all[256];
    snprintf(all, sizeof all, "block=16 stride=8 sinks=0 window=1 %s", text);
    sb_rig rig;
    sb_rig_make_rising(&rig, tokens, q_len, prompt_len, BLOCK);
    sb_pattern pat = {0};
    sb_err err = {0};
    int64_t sum = 0, first = (tokens - q_len) / BLOCK, wrong = 0;
    int64_t *k = sb_oracle_budgets(rule, prompt_len);
    sb_status st = sb_rig_select(sb_method_find(method), all, &rig, 1, &pat, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s %s: %s", method, text, err.msg);
    for (int64_t r = 0; st == SB_OK && r < pat.n_rows; r++) {
        int64_t I = first + r, count = sb_rig_count(&pat, 0, 0, r);
        int64_t lowest = pat.col[pat.row_ptr[r]];
        if (count != k[I] || lowest != I + 1 - count)
            if (wrong++ == 0)
                EXPECT_MSG(count == k[I] && lowest == I + 1 - count,
                           "%s %s, %lld tokens, row %lld: kept %lld from block %lld, k = %lld",
                           method, text, (long long)prompt_len, (long long)I, (long long)count,
                           (long long)lowest, (long long)k[I]);
        sum += count;
        n_rows_checked++;
    }
    EXPECT_MSG(wrong == 0, "%lld rows in all", (long long)wrong);
    free(k);
    sb_pattern_free(&pat);
    sb_rig_free(&rig);
    return sum;
}

static int64_t check(const char *method, const char *text, const sb_oracle_rule *rule,
                     int64_t tokens)
{
    return check_chunk(method, text, rule, tokens, tokens, tokens);
}

static const int64_t lengths[] = {16, 64, 208, 320, 1520};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static void test_uniform(void)
{
    static const double budgets[] = {1, 2, 7, 1000, 0.1, 0.25, 0.3, 0.999};
    TEST("uniform: min(k, I + 1), shares rounded up");
    for (int i = 0; i < 8; i++)
        for (int n = 0; n < N_LENGTHS; n++) {
            char text[64];
            sb_oracle_rule rule = base;
            rule.shape = SB_ORACLE_CONSTANT;
            rule.k_start = budgets[i];
            snprintf(text, sizeof text, "k=%g", budgets[i]);
            check("uniform", text, &rule, lengths[n]);
        }
}

/* `text` and `rule` describe the same schedule; `released` picks the variants. */
static void check_lengths(const char *text, sb_oracle_rule rule, bool released)
{
    static const char *const names[] = {"paper", "angelslim", "hpc"};
    rule.released = released;
    for (int v = released ? 1 : 0; v < (released ? 3 : 1); v++)
        for (int n = 0; n < N_LENGTHS; n++) {
            char all[192];
            int64_t n_blocks = lengths[n] / BLOCK;
            if (rule.hold > n_blocks || rule.total * (double)(n_blocks + 1) < 2 * (rule.total > 0))
                continue; /* refused: see test_stem.c */
            snprintf(all, sizeof all, "variant=%s value=none %s", names[v], text);
            check("stem", all, &rule, lengths[n]);
        }
}

static void test_paper_linear(void)
{
    static const double starts[] = {1, 4, 10, 40, 0.2, 0.5};
    static const double mus[] = {0.1, 0.4, 0.7, 1, 1.5, 4};
    TEST("paper: ceil(k_start - k_start (1 - mu) I / n)");
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
            char text[64];
            sb_oracle_rule rule = base;
            rule.k_start = starts[i];
            rule.mu = mus[j];
            snprintf(text, sizeof text, "k_start=%g mu=%g", starts[i], mus[j]);
            check_lengths(text, rule, false);
        }
    TEST("paper: Eq. 3 by hand");
    sb_rig rig;
    sb_pattern pat = {0};
    sb_err err = {0};
    sb_rig_make_rising(&rig, 320, 320, 320, BLOCK);
    REQUIRE(sb_rig_select(sb_method_find("stem"),
                          "block=16 k_start=10 mu=0.7 value=none sinks=0 window=1", &rig, 1, &pat,
                          NULL, &err) == SB_OK);
    /* 10 - 0.15 I: 8.5 at row 10, 8.35 at 11, 7.15 at 19; exactly 7.6 at 16. */
    EXPECT(sb_rig_count(&pat, 0, 0, 9) == 9 && sb_rig_count(&pat, 0, 0, 10) == 9);
    EXPECT(sb_rig_count(&pat, 0, 0, 14) == 8 && sb_rig_count(&pat, 0, 0, 19) == 8);
    sb_pattern_free(&pat);
    sb_rig_free(&rig);
}

static void test_defaults(void)
{
    sb_oracle_rule rule = base;
    rule.k_start = 0;
    TEST("paper: 0.2 n up to 16384 tokens, 0.1 n above");
    check_lengths("", rule, false);
    check_chunk("stem", "value=none", &rule, 16384, 40, 16384);
    check_chunk("stem", "value=none", &rule, 16000, 40, 16385);
    check_chunk("stem", "value=none", &rule, 16000, 40, 20000);
    TEST("angelslim, hpc: dense below 56 blocks, then floor(0.2 n + 30), from 160 0.1 n + 30");
    static const int64_t blocks[] = {1, 2, 55, 56, 57, 61, 95, 159, 160, 161, 169, 170, 199, 260};
    static const double mus[] = {0.35, 0.7, 0.9, 1};
    rule.released = true;
    rule.hold = -1;
    for (int i = 0; i < 14; i++)
        for (int j = 0; j < 4; j++) {
            char text[96];
            rule.mu = mus[j];
            snprintf(text, sizeof text, "variant=%s value=none mu=%g", j % 2 ? "hpc" : "angelslim",
                     mus[j]);
            check("stem", text, &rule, blocks[i] * BLOCK);
            check_chunk("stem", text, &rule, blocks[i] * BLOCK, 1, blocks[i] * BLOCK + 777);
        }
}

static void check_shape(const char *shape, sb_oracle_rule rule)
{
    static const double mus[] = {0.35, 0.8}, totals[] = {0, 0.4, 0.73};
    static const int64_t holds[] = {0, 9, 20};
    char text[192];
    rule.k_start = 12;
    for (int i = 0; i < 2 * 3 * 3; i++) {
        rule.mu = mus[i % 2];
        rule.hold = holds[i / 2 % 3];
        rule.total = totals[i / 6];
        int used = snprintf(text, sizeof text, "%s k_start=12 mu=%g schedule.hold=%lld", shape,
                            rule.mu, (long long)rule.hold);
        if (rule.total > 0)
            snprintf(text + used, sizeof text - (size_t)used, " schedule.total=%g", rule.total);
        check_lengths(text, rule, false);
        check_lengths(text, rule, true);
    }
    rule.total = 2 * 20 + 1;
    snprintf(text, sizeof text, "value=none k_start=12 mu=0.8 schedule.total=41 %s", shape);
    rule.hold = 0;
    EXPECT(check("stem", text, &rule, 20 * BLOCK) == 41);
}

static void test_shapes(void)
{
    static const double breaks[] = {0.2, 0.25, 0.6}, half[] = {0.5};
    static const double table[] = {0.5, 3, 8, 2.4, 1}, one[] = {3},
                        long_table[] = {9,   8,   7,   6, 5, 4, 3, 2, 1, 0.1,
                                        0.2, 0.3, 0.4, 4, 5, 6, 7, 8, 9, 2};
    static const struct {
        const char *text;
        sb_oracle_shape shape;
        double exponent;
        const double *breakpoints;
        int64_t n_breakpoints;
        const double *table;
        int64_t n_table;
    } cases[] = {
        {"schedule.shape=constant", SB_ORACLE_CONSTANT, 2, NULL, 0, NULL, 0},
        {"schedule.shape=linear", SB_ORACLE_LINEAR, 2, NULL, 0, NULL, 0},
        {"schedule.shape=cosine", SB_ORACLE_COSINE, 2, NULL, 0, NULL, 0},
        {"schedule.shape=exponential", SB_ORACLE_EXPONENTIAL, 2, NULL, 0, NULL, 0},
        {"schedule.shape=power", SB_ORACLE_POWER, 2, NULL, 0, NULL, 0},
        {"schedule.shape=power schedule.exponent=0.5", SB_ORACLE_POWER, 0.5, NULL, 0, NULL, 0},
        {"schedule.shape=step", SB_ORACLE_STEP, 2, half, 1, NULL, 0},
        {"schedule.shape=step schedule.breakpoints=[0.2,0.25,0.6]", SB_ORACLE_STEP, 2, breaks, 3,
         NULL, 0},
        {"schedule.shape=table schedule.table=[0.5,3,8,2.4,1]", SB_ORACLE_TABLE, 2, NULL, 0, table,
         5},
        {"schedule.shape=table schedule.table=[3]", SB_ORACLE_TABLE, 2, NULL, 0, one, 1},
        {"schedule.shape=table "
         "schedule.table=[9,8,7,6,5,4,3,2,1,0.1,0.2,0.3,0.4,4,5,6,7,8,9,2]",
         SB_ORACLE_TABLE, 2, NULL, 0, long_table, 20},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        TEST(cases[c].text);
        sb_oracle_rule rule = base;
        rule.shape = cases[c].shape;
        rule.exponent = cases[c].exponent;
        rule.breakpoints = cases[c].breakpoints;
        rule.n_breakpoints = cases[c].n_breakpoints;
        rule.table = cases[c].table;
        rule.n_table = cases[c].n_table;
        check_shape(cases[c].text, rule);
    }
}

static void test_totals(void)
{
    static const int64_t totals[] = {60, 61, 100, 333, 912, 1829, 1830};
    sb_oracle_rule rule = base;
    TEST("schedule.total is exact");
    for (int i = 0; i < 7; i++) {
        char text[96];
        rule.total = (double)totals[i];
        rule.shape = SB_ORACLE_CONSTANT;
        snprintf(text, sizeof text, "schedule.total=%lld", (long long)totals[i]);
        EXPECT(check("uniform", text, &rule, 60 * BLOCK) == totals[i]);
        rule.shape = SB_ORACLE_LINEAR;
        for (int j = 0; j < 3; j++) {
            rule.mu = (double[]){0.4, 1, 2.5}[j];
            rule.k_start = 0.2;
            snprintf(text, sizeof text, "value=none k_start=0.2 mu=%g schedule.total=%lld", rule.mu,
                     (long long)totals[i]);
            EXPECT(check("stem", text, &rule, 60 * BLOCK) == totals[i]);
        }
    }
    TEST("schedule.total as a share of the causal blocks");
    rule.shape = SB_ORACLE_CONSTANT;
    rule.total = 0.37;
    EXPECT(check("uniform", "schedule.total=0.37", &rule, 60 * BLOCK) == 677);
}

int main(void)
{
    test_uniform();
    test_paper_linear();
    test_defaults();
    test_shapes();
    test_totals();
    printf("%lld rows\n", (long long)n_rows_checked);
    return sb_tests_done();
}
