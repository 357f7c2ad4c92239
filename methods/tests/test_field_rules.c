/* The field's methods: chunks of a prompt, and rules that random inputs do not show. */

#include <string.h>

#include "harness/tests/check.h"
#include "methods/tests/rig.h"

/* ---- chunks ------------------------------------------------------------------------------ */

/* Rows that lie whole in the queries [t0, t1) of a prompt, against those of the whole prompt. */
static void check_chunk(const sb_method *m, const char *text, const sb_pattern *all, int64_t tokens,
                        int64_t t0, int64_t t1)
{
    sb_rig_shape shape = {1, 4, 2, 32, 32, {t1}, {t1 - t0}, {tokens}, SB_BF16, 31};
    sb_rig part;
    sb_pattern some = {0};
    sb_err err = {0};
    sb_rig_make(&part, &shape);
    part.problem.scale *= 3;
    sb_status st = sb_rig_select(m, text, &part, 1, &some, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s %s: %s", m->name, text, err.msg);
    int64_t changed = 0, first = t0 / all->block;
    for (int64_t h = 0; st == SB_OK && h < 4; h++)
        for (int64_t r = t0 % all->block ? 1 : 0; r < some.n_rows; r++)
            for (int64_t J = 0; J <= first + r; J++)
                changed +=
                    sb_rig_tokens(&some, 0, h, r, J) != sb_rig_tokens(all, 0, h, first + r, J);
    EXPECT_MSG(changed == 0, "%s %s, queries %lld to %lld: %lld blocks", m->name, text,
               (long long)t0, (long long)t1, (long long)changed);
    sb_pattern_free(&some);
    sb_rig_free(&part);
}

static void check_chunks(const char *method, const char *text, bool last_alone)
{
    enum { TOKENS = 1000 };
    sb_rig_shape shape = {1, 4, 2, 32, 32, {TOKENS}, {0}, {TOKENS}, SB_BF16, 31};
    const sb_method *m = sb_method_find(method);
    sb_rig whole;
    sb_pattern all = {0};
    sb_err err = {0};
    REQUIRE(m != NULL);
    sb_rig_make(&whole, &shape);
    whole.problem.scale *= 3;
    sb_status st = sb_rig_select(m, text, &whole, 2, &all, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s %s: %s", method, text, err.msg);
    if (st == SB_OK) {
        EXPECT(sb_pattern_measure(&whole.problem, &all).density < 0.95);
        check_chunk(m, text, &all, TOKENS, 640, TOKENS);
        check_chunk(m, text, &all, TOKENS, 700, TOKENS);
        for (int64_t t0 = 0; !last_alone && t0 < TOKENS; t0 += 256)
            check_chunk(m, text, &all, TOKENS, t0, t0 + 256 < TOKENS ? t0 + 256 : TOKENS);
    }
    sb_pattern_free(&all);
    sb_rig_free(&whole);
}

static void test_chunks(void)
{
    TEST("a chunked prefill selects what the whole prompt does");
    check_chunks("streaming", "variant=tri block=32 sink=40 window=100 last=70", false);
    check_chunks("streaming", "block=32 sink=40 window=100", false);
    check_chunks("minference", "variant=block_sparse block=32 top_k=5", false);
    check_chunks("xattention", "block=32 stride=8 threshold=0.6 chunk=320", false);
    check_chunks("flashprefill", "block=32 alpha=0.6 sink=32 window=64 last_full=2", false);
    check_chunks("cosa", "block=32 stride=8 top_p=0.4", false);
    check_chunks("vecattention", "variant=kernel threshold=0.9 group=8", false);
    check_chunks("vecattention", "variant=reference threshold=0.9 band=1", false);
    check_chunks("oracle", "by=mass scope=row block=32 k=4", false);
    check_chunks("random", "block=32 k=4", false);
    TEST("what the last queries choose needs the last chunk");
    check_chunks("minference", "variant=vertical_slash vertical=40 slash=110", true);
    check_chunks("flexprefill", "block=32 tau=0 gamma=0.6 min_budget=32", true);
    check_chunks("sparge", "block=32 block_q=64 block_k=32 similarity=0.1 variant=top keep=0.2",
                 true);
}

/* ---- single rules ------------------------------------------------------------------------ */

static bool same_patterns(const sb_rig *rig, const char *method, const char *a, const char *b)
{
    const sb_method *m = sb_method_find(method);
    sb_pattern one = {0}, two = {0};
    sb_err err = {0};
    bool same = m && sb_rig_select(m, a, rig, 1, &one, NULL, &err) == SB_OK &&
                sb_rig_select(m, b, rig, 2, &two, NULL, &err) == SB_OK && sb_rig_same(&one, &two);
    if (err.status != SB_OK)
        fprintf(stderr, "%s: %s\n", method, err.msg);
    sb_pattern_free(&two);
    sb_pattern_free(&one);
    return same;
}

/* Three equal channels are 0.9993 similar to themselves after rounding to half precision, and all
 * queries are alike; keys have one channel, so that they are 1. */
static void test_half_precision(void)
{
    sb_rig rig;
    TEST("self-similarity is that of unit vectors in half precision");
    sb_rig_make_rising(&rig, 256, 256, 256, 32);
    for (int64_t t = 0; t < 256; t++)
        ((float *)rig.q)[t * 8 + 1] = ((float *)rig.q)[t * 8 + 2] = 1;
    const char *dense = "block=32 block_q=32 block_k=32 variant=top keep=0.1 similarity=0.9996";
    const char *sparse = "block=32 block_q=32 block_k=32 variant=top keep=0.1 similarity=0.999";
    EXPECT(same_patterns(&rig, "sparge", dense, "block=32 block_q=32 block_k=32 similarity=1"));
    EXPECT(!same_patterns(&rig, "sparge", dense, sparse));
    sb_rig_free(&rig);
}

static void test_chunk_rule(void)
{
    sb_rig rig;
    TEST("xattention's chunks follow the published rule of the length");
    sb_rig_make_rising(&rig, 20000, 20000, 20000, 128);
    EXPECT(same_patterns(&rig, "xattention", "stride=16", "stride=16 chunk=8192"));
    EXPECT(!same_patterns(&rig, "xattention", "stride=16", "stride=16 chunk=16384"));
    sb_rig_free(&rig);
    sb_rig_make_rising(&rig, 3000, 3000, 3000, 128);
    EXPECT(same_patterns(&rig, "xattention", "stride=16", "stride=16 chunk=4096"));
    EXPECT(!same_patterns(&rig, "xattention", "stride=16", "stride=16 chunk=2048"));
    sb_rig_free(&rig);
    sb_rig_make_rising(&rig, 2400, 2400, 131072, 128);
    EXPECT(same_patterns(&rig, "xattention", "stride=16", "stride=16 chunk=2048"));
    EXPECT(!same_patterns(&rig, "xattention", "stride=16", "stride=16 chunk=4096"));
    sb_rig_free(&rig);
}

/* Blocks that row 7 keeps under zero keys, which give each of its 8 blocks the same mass. */
static int64_t count_row_7(const sb_rig *rig, const char *method, const char *text)
{
    const sb_method *m = sb_method_find(method);
    sb_pattern pat = {0};
    sb_err err = {0};
    sb_status st = m ? sb_rig_select(m, text, rig, 1, &pat, NULL, &err) : SB_USAGE;
    int64_t n = st == SB_OK ? sb_rig_count(&pat, 0, 0, 7) : -1;
    sb_pattern_free(&pat);
    return n;
}

static void test_reached(void)
{
    sb_rig rig;
    TEST("a share that is just reached is reached");
    sb_rig_make_rising(&rig, 512, 512, 512, 32);
    memset(rig.k, 0, 512 * 8 * sizeof(float));
    EXPECT(count_row_7(&rig, "xattention", "block=32 stride=32 threshold=0.5 chunk=1") == 4);
    EXPECT(count_row_7(&rig, "xattention", "block=32 stride=32 threshold=0.5") == 5);
    EXPECT(count_row_7(&rig, "cosa", "block=32 stride=32 top_p=0.5") == 4);
    sb_rig_free(&rig);
    TEST("cosa keeps all for a share of 1, whatever underflows");
    sb_rig_make_rising(&rig, 512, 512, 512, 32);
    rig.problem.scale = 200;
    EXPECT(count_row_7(&rig, "cosa", "block=32 top_p=1") == 8);
    EXPECT(count_row_7(&rig, "cosa", "block=32 top_p=0.9999") < 8);
    sb_rig_free(&rig);
}

static void test_scale(void)
{
    static const sb_rig_shape shape = {1, 2, 1, 32, 32, {1500}, {0}, {0}, SB_F32, 5};
    sb_rig rig;
    TEST("minference's scale multiplies its counts");
    sb_rig_make(&rig, &shape);
    EXPECT(same_patterns(&rig, "minference", "vertical=100 slash=302 scale=0.5",
                         "vertical=50 slash=151"));
    EXPECT(!same_patterns(&rig, "minference", "vertical=100 slash=302", "vertical=50 slash=151"));
    EXPECT(same_patterns(&rig, "minference", "variant=block_sparse top_k=8 scale=0.5",
                         "variant=block_sparse top_k=4"));
    sb_rig_free(&rig);
}
/* ---- ties -------------------------------------------------------------------------------- */

/* Of blocks that are `step` apart and tie, those kept of a row besides its diagonal come first. */
static void check_ties(const sb_rig *rig, const char *method, const char *text, int64_t step)
{
    const sb_method *m = sb_method_find(method);
    sb_pattern pat = {0};
    sb_err err = {0};
    int64_t n_dropped = 0;
    REQUIRE(m != NULL);
    sb_status st = sb_rig_select(m, text, rig, 1, &pat, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s %s: %s", method, text, err.msg);
    for (int64_t I = 0; st == SB_OK && I < pat.n_rows; I++)
        for (int64_t J = 0; J < I; J++) {
            bool kept = sb_rig_keeps(&pat, 0, 0, I, J);
            n_dropped += !kept;
            EXPECT_MSG(!kept || J < step || sb_rig_keeps(&pat, 0, 0, I, J - step),
                       "%s %s: row %lld keeps %lld, not %lld", method, text, (long long)I,
                       (long long)J, (long long)(J - step));
        }
    EXPECT_MSG(n_dropped > 20, "%s %s: nothing to tie", method, text);
    sb_pattern_free(&pat);
}

static void test_ties(void)
{
    sb_rig rig;
    TEST("ties go to the lower block");
    sb_rig_make_rising(&rig, 512, 512, 512, 32);
    memset(rig.k, 0, 512 * 8 * sizeof(float));
    check_ties(&rig, "minference", "variant=block_sparse block=32 top_k=4", 1);
    check_ties(&rig, "xattention", "block=32 threshold=0.4", 1);
    check_ties(&rig, "cosa", "block=32 top_p=0.4", 1);
    check_ties(&rig, "oracle", "by=mass scope=row block=32 k=4", 1);
    check_ties(&rig, "oracle", "by=mass scope=layer block=32 k=4", 1);
    /* A mean key of 0, and blocks at either side of it. */
    for (int64_t t = 0; t < 512; t++)
        ((float *)rig.k)[t * 8] = t / 32 % 2 ? -1 : 1;
    check_ties(&rig, "sparge", "variant=top block=32 block_q=32 block_k=32 keep=0.2", 2);
    sb_rig_free(&rig);
}

int main(void)
{
    test_chunks();
    test_half_precision();
    test_chunk_rule();
    test_reached();
    test_scale();
    test_ties();
    return sb_tests_done();
}
