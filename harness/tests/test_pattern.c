/* Patterns of blocks and of tokens: what is counted, refused and hashed, against plain loops over
 * queries and keys. */

#include <math.h>
#include <string.h>

#include "harness/flops.h"
#include "harness/mem.h"
#include "harness/pattern.h"
#include "harness/tests/check.h"

typedef struct shape {
    int64_t n_batch, n_heads, q_len, kv_len, block;
    int64_t q_lens[2], kv_lens[2]; /* ragged when q_lens[0] > 0 */
} shape;

static const shape shapes[] = {
    {1, 1, 1, 1, 64, {0}, {0}},     {1, 2, 64, 64, 64, {0}, {0}},
    {1, 2, 213, 213, 64, {0}, {0}}, {1, 3, 100, 213, 64, {0}, {0}},
    {1, 2, 1, 200, 64, {0}, {0}},   {2, 2, 200, 330, 64, {77, 200}, {140, 330}},
    {1, 2, 213, 213, 48, {0}, {0}}, {2, 2, 130, 257, 16, {130, 3}, {257, 65}},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static uint64_t random_state = 1;

static double uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

static sb_problem problem_of(const shape *x)
{
    return (sb_problem){.n_batch = x->n_batch,
                        .n_heads = x->n_heads,
                        .n_kv_heads = 1,
                        .q_len = x->q_len,
                        .kv_len = x->kv_len,
                        .dim = 8,
                        .dim_v = 24,
                        .scale = 1,
                        .q_lens = x->q_lens[0] ? x->q_lens : NULL,
                        .kv_lens = x->q_lens[0] ? x->kv_lens : NULL};
}

/* Masks of one list: any tokens that exist, and the queries' own. */
static void random_tokens(const sb_problem *p, int64_t b, sb_pattern *pat, int64_t list)
{
    int64_t n_k = sb_kv_len(p, b), n_q = sb_q_len(p, b), end = pat->row_ptr[list + 1];
    for (int64_t i = pat->row_ptr[list]; i < end; i++) {
        pat->tokens[i] = 0;
        for (int64_t t = pat->col[i] * 64; t < (pat->col[i] + 1) * 64 && t < n_k; t++)
            if (uniform() < .4 || t % 64 == 0 || (i == end - 1 && t >= n_k - n_q))
                pat->tokens[i] |= UINT64_C(1) << t % 64;
    }
}

static bool make_pattern(const sb_problem *p, int64_t block, bool tokens, sb_pattern *pat)
{
    int64_t n = 0;
    if (sb_pattern_alloc(p, block, sb_causal_blocks(p, block), pat, NULL) != SB_OK ||
        (tokens && sb_pattern_add_tokens(pat, NULL) != SB_OK))
        return false;
    for (int64_t b = 0; b < p->n_batch; b++)
        for (int64_t h = 0; h < p->n_heads; h++)
            for (int64_t r = 0; r < pat->n_rows; r++) {
                int64_t list = sb_pattern_row(pat, b, h, r), last = sb_first_block(p, b, block) + r;
                for (int64_t j = 0; r < sb_n_rows(p, b, block) && j <= last; j++)
                    if (j == last || uniform() < .5)
                        pat->col[n++] = (int32_t)j;
                pat->row_ptr[list + 1] = n;
                if (tokens)
                    random_tokens(p, b, pat, list);
            }
    return true;
}

/* ---- counts --------------------------------------------------------------------------------- */

static bool keeps(const sb_pattern *pat, int64_t list, int64_t key)
{
    for (int64_t i = pat->row_ptr[list]; i < pat->row_ptr[list + 1]; i++)
        if (pat->col[i] == key / pat->block)
            return !pat->tokens || pat->tokens[i] >> (key - pat->col[i] * pat->block) & 1;
    return false;
}

/* Keys and pairs, one at a time. */
static void count(const sb_problem *p, const sb_pattern *pat, sb_pattern_stats *s, double *keys,
                  double *all_keys)
{
    for (int64_t b = 0; b < p->n_batch; b++)
        for (int64_t h = 0; h < p->n_heads; h++) {
            int64_t n_k = sb_kv_len(p, b), start = n_k - sb_q_len(p, b);
            for (int64_t r = 0; r < sb_n_rows(p, b, pat->block); r++) {
                int64_t list = sb_pattern_row(pat, b, h, r), I = start / pat->block + r;
                s->blocks += pat->row_ptr[list + 1] - pat->row_ptr[list];
                s->causal_blocks += I + 1;
                for (int64_t j = 0; j < n_k && j < (I + 1) * pat->block; j++) {
                    *keys += keeps(pat, list, j);
                    (*all_keys)++;
                    for (int64_t t = start; t < n_k; t++) {
                        bool attends = t / pat->block == I && j <= t;
                        s->pairs += attends && keeps(pat, list, j);
                        s->causal_pairs += attends;
                    }
                }
            }
        }
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fabs(b);
}

static void check_counts(const sb_problem *p, const sb_pattern *pat)
{
    sb_pattern_stats naive = {0}, s = sb_pattern_measure(p, pat);
    double keys = 0, all_keys = 0, block = (double)pat->block;
    sb_err err = {0};
    count(p, pat, &naive, &keys, &all_keys);
    EXPECT_MSG(sb_pattern_check(p, pat, &err) == SB_OK, "%s", err.msg);
    EXPECT(s.blocks == naive.blocks && s.causal_blocks == naive.causal_blocks);
    EXPECT(s.pairs == naive.pairs && s.causal_pairs == naive.causal_pairs);
    EXPECT(near(s.pair_density, naive.pairs / naive.causal_pairs));
    EXPECT(near(s.density, pat->tokens ? keys / all_keys
                                       : (double)naive.blocks / (double)naive.causal_blocks));
    EXPECT(s.tile_pairs == block * (pat->tokens ? keys : (double)naive.blocks * block));
    sb_flops f = sb_flops_count(p, pat, 64);
    EXPECT(f.attend == 64 * s.pairs && f.tile == 64 * s.tile_pairs);
    EXPECT(f.dense == 64 * naive.causal_pairs);
}

static void test_counts(void)
{
    TEST("counts are those of plain loops");
    for (int i = 0; i < 2 * N_SHAPES; i++) {
        const shape *x = &shapes[i / 2];
        sb_problem p = problem_of(x);
        sb_pattern pat;
        if (i % 2 && x->block != SB_TOKEN_BLOCK)
            continue;
        REQUIRE(make_pattern(&p, x->block, i % 2, &pat));
        check_counts(&p, &pat);
        sb_pattern_fill_causal(&p, &pat);
        check_counts(&p, &pat);
        EXPECT(sb_pattern_measure(&p, &pat).density == 1);
        EXPECT(sb_pattern_measure(&p, &pat).pair_density == 1);
        sb_pattern_free(&pat);
    }
}

/* ---- refusals and the hash ------------------------------------------------------------------ */

static void refused(const sb_problem *p, const sb_pattern *pat, const char *word)
{
    sb_err err = {0};
    EXPECT_MSG(sb_pattern_check(p, pat, &err) == SB_INTERNAL && strstr(err.msg, word), "%s: '%s'",
               word, err.msg);
}

static void test_lists(void)
{
    TEST("lists that are none are refused");
    sb_problem p = problem_of(&shapes[6]);
    sb_pattern pat;
    REQUIRE(make_pattern(&p, 48, false, &pat));
    sb_pattern_fill_causal(&p, &pat);
    int64_t n_lists = 2 * pat.n_rows;
    pat.row_ptr[0] = 1, refused(&p, &pat, "starts at 1"), pat.row_ptr[0] = 0;
    pat.row_ptr[2]++, refused(&p, &pat, "not ascending"), pat.row_ptr[2]--;
    pat.row_ptr[1]--, refused(&p, &pat, "list 0 does not end"), pat.row_ptr[1]++;
    pat.row_ptr[n_lists]++, refused(&p, &pat, "spans"), pat.row_ptr[n_lists]--;
    pat.col[4] = pat.col[3], refused(&p, &pat, "not ascending"), pat.col[4] = 1;
    pat.col[3] = -1, refused(&p, &pat, "not ascending"), pat.col[3] = 0;
    EXPECT(sb_pattern_check(&p, &pat, NULL) == SB_OK);
    sb_pattern_free(&pat);
    p = problem_of(&shapes[7]);
    REQUIRE(make_pattern(&p, 16, false, &pat));
    pat.col[pat.row_ptr[n_lists = sb_pattern_row(&pat, 1, 1, pat.n_rows)]] = 0;
    pat.row_ptr[n_lists]++, refused(&p, &pat, "past its end");
    sb_pattern_free(&pat);
}

static void test_tokens(void)
{
    TEST("tokens that do not exist, none and a query without its own are refused");
    sb_problem p = problem_of(&shapes[3]); /* queries 113 .. 212, rows 1 to 3 */
    sb_pattern pat;
    REQUIRE(make_pattern(&p, 64, true, &pat));
    sb_pattern_fill_causal(&p, &pat);
    EXPECT(pat.tokens[0] == UINT64_MAX && pat.tokens[8] == (UINT64_C(1) << (213 - 192)) - 1);
    const struct {
        int64_t at;
        uint64_t mask;
        const char *word; /* NULL: taken */
    } cases[] = {
        {0, 0, "keeps tokens 0000000000000000"},
        {0, 1, NULL},
        {8, 0x3fffff, "which has"},
        {8, 0xfffff, "own"},
        {7, 0x8000000000000000u, NULL},
        {1, ~(UINT64_C(1) << 49), "own"}, /* of position 113, the first query */
        {1, ~(UINT64_C(1) << 48), NULL},
        {4, 0x7fffffffffffffffu, "own"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t before = pat.tokens[cases[i].at];
        pat.tokens[cases[i].at] = cases[i].mask;
        if (cases[i].word)
            refused(&p, &pat, cases[i].word);
        else
            EXPECT(sb_pattern_check(&p, &pat, NULL) == SB_OK);
        pat.tokens[cases[i].at] = before;
    }
    pat.block = 32, refused(&p, &pat, "block 32"), pat.block = 64;
    EXPECT(sb_pattern_check(&p, &pat, NULL) == SB_OK);
    sb_pattern_free(&pat);
}

static void test_hash(void)
{
    TEST("the hash sees every list, block and token");
    sb_problem p = problem_of(&shapes[2]);
    sb_pattern pat;
    REQUIRE(make_pattern(&p, 64, true, &pat));
    sb_pattern_fill_causal(&p, &pat);
    uint64_t *tokens = pat.tokens, all = sb_pattern_hash(&pat);
    EXPECT(all == sb_pattern_hash(&pat));
    for (int bit = 0; bit < 64; bit++) {
        tokens[19] ^= UINT64_C(1) << bit;
        EXPECT(sb_pattern_hash(&pat) != all);
        tokens[19] ^= UINT64_C(1) << bit;
    }
    pat.tokens = NULL;
    uint64_t blocks = sb_pattern_hash(&pat);
    EXPECT(blocks != all);
    /* As in results of earlier versions. */
    EXPECT_MSG(blocks == UINT64_C(0xf4d6dfd7f2432de9), "%016llx", (unsigned long long)blocks);
    pat.col[1]++, EXPECT(sb_pattern_hash(&pat) != blocks), pat.col[1]--;
    pat.row_ptr[1]++, EXPECT(sb_pattern_hash(&pat) != blocks), pat.row_ptr[1]--;
    pat.block++, EXPECT(sb_pattern_hash(&pat) != blocks), pat.block--;
    pat.tokens = tokens;
    sb_pattern_free(&pat);
}

static void test_no_memory(void)
{
    TEST("any allocation may fail");
    sb_problem p = problem_of(&shapes[2]);
    sb_pattern pat = {0};
    int64_t live = sb_mem_live();
    for (int64_t n = 1; n <= 3; n++) {
        sb_mem_fail_at(n);
        sb_status st = sb_pattern_alloc(&p, 64, 20, &pat, NULL);
        if (st == SB_OK)
            st = sb_pattern_add_tokens(&pat, NULL);
        sb_mem_fail_at(0);
        EXPECT(st == SB_NO_MEMORY);
        sb_pattern_free(&pat);
        EXPECT(sb_mem_live() == live);
    }
}

int main(void)
{
    test_counts();
    test_lists();
    test_tokens();
    test_hash();
    test_no_memory();
    TEST("nothing leaks");
    EXPECT(sb_mem_live() == 0);
    return sb_tests_done();
}
