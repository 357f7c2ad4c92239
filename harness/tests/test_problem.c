/* Shapes, row spans and element conversions. */
#include <math.h>
#include <string.h>

#include "harness/problem.h"
#include "harness/tests/check.h"

static double f16_value(uint16_t h)
{
    int exponent = h >> 10 & 0x1f, mantissa = h & 0x3ff;
    double magnitude = exponent == 31  ? (mantissa ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(mantissa, -24)
                                       : ldexp(1024 + mantissa, exponent - 25);
    return h & 0x8000 ? -magnitude : magnitude;
}

static double bf16_value(uint16_t h)
{
    int exponent = h >> 7 & 0xff, mantissa = h & 0x7f;
    double magnitude = exponent == 255 ? (mantissa ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(mantissa, -133)
                                       : ldexp(128 + mantissa, exponent - 134);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void widens_every_half(sb_dtype dtype, double (*value)(uint16_t))
{
    int wrong = 0;
    for (int i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i, back;
        float x;
        sb_to_f32(dtype, &h, &x, 1);
        double expected = value(h);
        wrong +=
            isnan(expected) ? !isnan(x) : (double)x != expected || !signbit(x) != !(h & 0x8000);
        sb_from_f32(dtype, &x, &back, 1);
        wrong += !isnan(expected) && back != h;
    }
    EXPECT_MSG(wrong == 0, "%d of 65536 wrong", wrong);
}

/* Between two neighbours the middle goes to the even one, anything else to the nearer. */
static void rounds_to_nearest_even(sb_dtype dtype, double (*value)(uint16_t), uint16_t last_finite)
{
    int wrong = 0;
    for (uint16_t h = 0; h < last_finite; h++) {
        double low = value(h), high = value((uint16_t)(h + 1)), middle = (low + high) / 2;
        float below = nextafterf((float)middle, 0), above = nextafterf((float)middle, INFINITY);
        uint16_t got[3];
        sb_from_f32(dtype, &(float){(float)middle}, &got[0], 1);
        sb_from_f32(dtype, &below, &got[1], 1);
        sb_from_f32(dtype, &above, &got[2], 1);
        bool exact = (double)(float)middle == middle; /* the lowest ones are below float32 */
        wrong += exact && got[0] != (h % 2 ? h + 1 : h);
        wrong += exact && (got[1] != h || got[2] != h + 1);
    }
    EXPECT_MSG(wrong == 0, "%d wrong", wrong);
}

static void overflows_to_infinity(void)
{
    const float big[] = {65519.9f, 65520.0f, 1e30f, -1e30f};
    uint16_t got[4];
    sb_from_f32(SB_F16, big, got, 4);
    EXPECT(got[0] == 0x7bff && got[1] == 0x7c00 && got[2] == 0x7c00 && got[3] == 0xfc00);
    const float huge[] = {0x1.fep127f, 0x1.ffp127f};
    sb_from_f32(SB_BF16, huge, got, 2);
    EXPECT(got[0] == 0x7f7f && got[1] == 0x7f80);
}

static void cuts_rows_at_absolute_positions(void)
{
    /* 100 keys, the last 50 are queries: blocks of 16 start at 50 inside block 3. */
    sb_problem p = {.n_batch = 1,
                    .n_heads = 1,
                    .n_kv_heads = 1,
                    .q_len = 50,
                    .kv_len = 100,
                    .dim = 8,
                    .dim_v = 8,
                    .scale = 1};
    int64_t t0, t1;
    EXPECT(sb_problem_check(&p, NULL) == SB_OK);
    EXPECT(sb_first_block(&p, 0, 16) == 3 && sb_n_rows(&p, 0, 16) == 4);
    sb_row_span(&p, 0, 16, 0, &t0, &t1);
    EXPECT(t0 == 0 && t1 == 14);
    sb_row_span(&p, 0, 16, 1, &t0, &t1);
    EXPECT(t0 == 14 && t1 == 30);
    sb_row_span(&p, 0, 16, 3, &t0, &t1);
    EXPECT(t0 == 46 && t1 == 50);
}

static void refuses(sb_problem p, const char *word)
{
    sb_err err = {0};
    EXPECT_MSG(sb_problem_check(&p, &err) == SB_USAGE && strstr(err.msg, word), "%s: %s", word,
               err.msg);
}

static void refuses_bad_shapes(void)
{
    const int64_t too_long[] = {9}, ok[] = {8}, zero[] = {0};
    sb_problem p = {.n_batch = 1,
                    .n_heads = 6,
                    .n_kv_heads = 3,
                    .q_len = 8,
                    .kv_len = 8,
                    .dim = 4,
                    .dim_v = 4,
                    .scale = 1},
               bad;
    EXPECT(sb_problem_check(&p, NULL) == SB_OK);
    bad = p, bad.n_heads = 7, refuses(bad, "heads");
    bad = p, bad.q_len = 9, refuses(bad, "queries");
    bad = p, bad.dim = 0, refuses(bad, "head dimension");
    bad = p, bad.kv_len = INT64_MAX, refuses(bad, "key length");
    bad = p, bad.scale = NAN, refuses(bad, "scale");
    bad = p, bad.q_lens = zero, bad.kv_lens = ok, refuses(bad, "0 queries");
    bad = p, bad.kv_lens = too_long, refuses(bad, "9 keys");
    bad = p, bad.prompt_lens = zero, refuses(bad, "prompt");
}

int main(void)
{
    TEST("every f16 widens exactly");
    widens_every_half(SB_F16, f16_value);
    TEST("every bf16 widens exactly");
    widens_every_half(SB_BF16, bf16_value);
    TEST("f16 rounds to nearest even");
    rounds_to_nearest_even(SB_F16, f16_value, 0x7bff);
    TEST("bf16 rounds to nearest even");
    rounds_to_nearest_even(SB_BF16, bf16_value, 0x7f7f);
    TEST("overflow gives infinity");
    overflows_to_infinity();
    TEST("rows are cut at absolute positions");
    cuts_rows_at_absolute_positions();
    TEST("bad shapes are refused");
    refuses_bad_shapes();
    return sb_tests_done();
}
