/* The installed header and the shared library, as another program sees them: nothing else of the
 * project is included, and attention is computed here anew from the definition. */
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "harness/stembench.h"
#include "harness/tests/check.h"

enum { B = 2, H = 4, HKV = 2, T = 150, S = 213, D = 16, DV = 24, MOST = B * H * S * 2 * DV };

typedef struct tensors {
    float *q, *k, *v, *o, *lse;
} tensors;

static sb_attention_spec make_spec(void)
{
    return (sb_attention_spec){.struct_bytes = sizeof(sb_attention_spec),
                               .n_batch = B,
                               .n_heads = H,
                               .n_kv_heads = HKV,
                               .q_len = T,
                               .kv_len = S,
                               .dim = D,
                               .dim_v = DV,
                               .dtype = SB_ATTENTION_F32,
                               .n_threads = 2};
}

static float *noise(uint32_t seed)
{
    float *x = malloc(MOST * sizeof *x);
    for (int i = 0; x && i < MOST; i++) {
        seed = seed * 1664525 + 1013904223;
        x[i] = (float)(seed >> 8) * 0x1p-22f - 2;
    }
    return x;
}

static tensors make_tensors(void)
{
    return (tensors){noise(1), noise(2), noise(3), noise(4), noise(5)};
}

static void free_tensors(tensors *x)
{
    free(x->q);
    free(x->k);
    free(x->v);
    free(x->o);
    free(x->lse);
}

static int32_t run(sb_attention *plan, const tensors *x, char *why)
{
    sb_attention_tensors args = {x->q, x->k, x->v, x->o, x->lse};
    return sb_attention_run(plan, &args, why);
}

/* ---- the definition ------------------------------------------------------------------------ */

static int64_t at(const sb_attention_strides *s, int64_t b, int64_t h, int64_t t)
{
    return b * s->batch + h * s->head + t * s->token;
}

static bool kept(const sb_attention_stats *s, int64_t b, int64_t h, int64_t query, int64_t key)
{
    if (!s->row_ptr)
        return true;
    int64_t first = (S - T) / s->block;
    int64_t list = (b * H + h) * s->n_rows + query / s->block - first;
    for (int64_t i = s->row_ptr[list]; i < s->row_ptr[list + 1]; i++)
        if (s->col[i] == key / s->block)
            return !s->tokens || (s->tokens[i] >> key % s->block & 1);
    return false;
}

/* Largest error of o and lse against attention over the pattern that the library reports. */
static double worst_error(const sb_attention_spec *spec, const sb_attention_stats *s,
                          const tensors *x)
{
    double worst = 0;
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++) {
                int64_t position = S - T + t, g = h / (H / HKV);
                double sum = 0, o[DV] = {0};
                for (int64_t j = 0; j <= position; j++) {
                    double dot = 0;
                    if (!kept(s, b, h, position, j))
                        continue;
                    for (int64_t d = 0; d < D; d++)
                        dot += (double)x->q[at(&spec->q, b, h, t) + d] *
                               (double)x->k[at(&spec->k, b, g, j) + d];
                    double p = exp(dot / sqrt(D));
                    sum += p;
                    for (int64_t d = 0; d < DV; d++)
                        o[d] += p * (double)x->v[at(&spec->v, b, g, j) + d];
                }
                for (int64_t d = 0; d < DV; d++)
                    worst = fmax(worst, fabs((double)x->o[at(&spec->o, b, h, t) + d] - o[d] / sum));
                worst = fmax(worst, fabs((double)x->lse[(b * H + h) * T + t] - log(sum)));
            }
    return worst;
}

static sb_attention_strides contiguous(int64_t heads, int64_t tokens, int64_t dim)
{
    return (sb_attention_strides){heads * tokens * dim, tokens * dim, dim};
}

/* [B, T, H, D], with room between the tokens. */
static sb_attention_strides by_token(int64_t heads, int64_t tokens, int64_t dim)
{
    return (sb_attention_strides){tokens * heads * (dim + 3), dim + 3, heads * (dim + 3)};
}

static void check_method(const char *method, const char *params, bool transposed)
{
    char why[SB_ATTENTION_MESSAGE];
    sb_attention *plan = NULL;
    sb_attention_stats s = {.struct_bytes = sizeof s};
    tensors x = make_tensors();
    sb_attention_spec spec = make_spec();
    sb_attention_strides (*layout)(int64_t, int64_t, int64_t) = transposed ? by_token : contiguous;
    spec.q = layout(H, T, D);
    spec.k = layout(HKV, S, D);
    spec.v = layout(HKV, S, DV);
    spec.o = layout(H, T, DV);
    EXPECT_MSG(sb_attention_create(&spec, method, params, &plan, why) == 0, "%s", why);
    for (int turn = 0; turn < 2 && plan; turn++) {
        memset(x.o, 0xff, MOST * sizeof *x.o);
        EXPECT_MSG(run(plan, &x, why) == 0 && !why[0], "%s", why);
    }
    EXPECT_MSG(plan && sb_attention_read_stats(plan, &s, why) == 0, "%s", why);
    double worst = worst_error(&spec, &s, &x);
    EXPECT_MSG(worst < 1e-4, "%s %s: %g", method, params ? params : "", worst);
    if (transposed)
        EXPECT_MSG(isnan(x.o[DV]), "%s wrote between its rows", method);
    EXPECT(sb_attention_kernel(plan)[0] != '\0');
    sb_attention_destroy(plan);
    free_tensors(&x);
}

static void test_methods(void)
{
    TEST("methods attend over the patterns they report");
    for (int transposed = 0; transposed < 2; transposed++) {
        check_method("dense", NULL, transposed);
        check_method("uniform", "block=32 k=2 sinks=1 window=1", transposed);
        check_method(
            "stem",
            "block=16 stride=8 schedule.shape=table schedule.table=[3 2 2] sinks=1 window=1",
            transposed);
        check_method("vecattention", "variant=reference", transposed);
    }
}

static void test_stats(void)
{
    char why[SB_ATTENTION_MESSAGE];
    sb_attention *plan = NULL;
    sb_attention_spec spec = make_spec();
    sb_attention_stats s = {.struct_bytes = sizeof s};
    tensors x = make_tensors();
    TEST("statistics");
    double pairs = 0, kept_pairs = 0;
    REQUIRE(sb_attention_create(&spec, "uniform", "block=32 k=1 sinks=0 window=1", &plan, why) ==
            0);
    EXPECT(sb_attention_read_stats(plan, &s, why) == SB_ATTENTION_USAGE && strstr(why, "no run"));
    EXPECT(run(plan, &x, why) == 0);
    s.struct_bytes--;
    EXPECT(sb_attention_read_stats(plan, &s, why) == SB_ATTENTION_USAGE && strstr(why, "struct"));
    s.struct_bytes++;
    EXPECT(sb_attention_read_stats(plan, &s, NULL) == 0);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = S - T; i < S; i++)
                for (int64_t j = 0; j <= i; j++) {
                    pairs++;
                    kept_pairs += kept(&s, b, h, i, j);
                }
    EXPECT(s.flops_dense == pairs * 2 * (D + DV) && s.flops_attend == kept_pairs * 2 * (D + DV));
    EXPECT(s.pair_density == kept_pairs / pairs && s.flops_tile >= s.flops_attend);
    EXPECT(s.density > s.pair_density && s.density < 1 && s.flops_select > 0 && s.mask_hash != 0);
    sb_attention_destroy(plan);
    free_tensors(&x);
}

static void expect_params(const char *method, const char *params, const char *resolved)
{
    char why[SB_ATTENTION_MESSAGE];
    sb_attention *plan = NULL, *again = NULL;
    sb_attention_spec spec = make_spec();
    REQUIRE(sb_attention_create(&spec, method, params, &plan, why) == 0);
    const char *got = sb_attention_params(plan);
    EXPECT_MSG(strcmp(got, resolved) == 0, "%s", got);
    EXPECT_MSG(sb_attention_create(&spec, method, got, &again, why) == 0, "%s", why);
    EXPECT(again && strcmp(sb_attention_params(again), resolved) == 0);
    sb_attention_destroy(again);
    sb_attention_destroy(plan);
}

static void test_params(void)
{
    TEST("parameters as resolved, which make the same plan again");
    expect_params("dense", NULL, "");
    expect_params("uniform", "k=0.25 block=32",
                  "block=32 stride=8 score=antidiagonal k=0.25 schedule.total=none sinks=4 "
                  "window=4 dense_layers=0");
    expect_params("stem",
                  "variant=hpc score=mass schedule.shape=table schedule.table=[3 0.25 2] mu=0.1",
                  "variant=hpc block=128 stride=16 score=mass k_start=auto mu=0.1 value=hpc "
                  "beta=0.3 schedule.shape=table schedule.hold=auto schedule.exponent=2 "
                  "schedule.breakpoints=none schedule.table=[3 0.25 2] schedule.total=none sinks=4 "
                  "window=4 dense_layers=0");
}

static void test_no_lse(void)
{
    sb_attention *plan = NULL;
    sb_attention_spec spec = make_spec();
    tensors x = make_tensors();
    TEST("lse may be left out");
    sb_attention_tensors args = {x.q, x.k, x.v, x.o, NULL};
    REQUIRE(sb_attention_create(&spec, "dense", "", &plan, NULL) == 0);
    EXPECT(sb_attention_run(plan, &args, NULL) == 0);
    args.v = NULL;
    EXPECT(sb_attention_run(plan, &args, NULL) == SB_ATTENTION_USAGE);
    sb_attention_destroy(plan);
    sb_attention_destroy(NULL);
    free_tensors(&x);
}

/* ---- what is refused ----------------------------------------------------------------------- */

static void expect_refusal(const sb_attention_spec *spec, const char *method, const char *params,
                           int32_t code, const char *part)
{
    char why[SB_ATTENTION_MESSAGE];
    sb_attention *plan = NULL;
    int32_t got = sb_attention_create(spec, method, params, &plan, why);
    EXPECT_MSG(got == code && !plan && strstr(why, part) && !strchr(why, '\n'), "%d, %s", got, why);
}

static void test_refusals(void)
{
    sb_attention_spec good = make_spec(), s;
    TEST("wrong arguments are named");
    expect_refusal(NULL, "dense", "", SB_ATTENTION_USAGE, "no spec");
    expect_refusal(&good, "denser", "", SB_ATTENTION_USAGE, "no method 'denser'");
    expect_refusal(&good, "stem", "mu=9", SB_ATTENTION_USAGE, "(0, 4]");
    expect_refusal(&good, "stem", "nu=1", SB_ATTENTION_USAGE, "nu");
    expect_refusal(&good, "stem", "mu", SB_ATTENTION_USAGE, "expected key=value");
    s = good, s.struct_bytes = 8;
    expect_refusal(&s, "dense", "", SB_ATTENTION_USAGE, "struct_bytes");
    s = good, s.n_heads = 3;
    expect_refusal(&s, "dense", "", SB_ATTENTION_USAGE, "heads");
    s = good, s.q_len = S + 1;
    expect_refusal(&s, "dense", "", SB_ATTENTION_USAGE, "queries");
    s = good, s.dtype = 3;
    expect_refusal(&s, "dense", "", SB_ATTENTION_USAGE, "dtype");
    s = good, s.k.token = D - 1;
    expect_refusal(&s, "dense", "", SB_ATTENTION_USAGE, "strides of k");
    s = good, s.prompt_len = S - 1;
    expect_refusal(&s, "dense", "", SB_ATTENTION_USAGE, "prompt");
    EXPECT(sb_attention_version() == 1);
}

/* ---- chunks and threads -------------------------------------------------------------------- */

static void test_chunk(void)
{
    sb_attention *whole = NULL, *chunk = NULL;
    sb_attention_spec spec = make_spec();
    TEST("a chunk of a prompt attends as the whole prompt does");
    tensors x = make_tensors(), y = x;
    y.o = noise(6);
    spec.n_batch = 1;
    spec.q_len = S;
    const char *params = "block=32 k_start=3 sinks=1 window=1";
    REQUIRE(sb_attention_create(&spec, "stem", params, &whole, NULL) == 0);
    EXPECT(run(whole, &x, NULL) == 0);
    /* the first 100 tokens of the same tensors */
    spec.q = spec.o = (sb_attention_strides){0};
    spec.q = contiguous(H, S, D);
    spec.k = contiguous(HKV, S, D);
    spec.v = contiguous(HKV, S, DV);
    spec.o = contiguous(H, S, DV);
    spec.q_len = spec.kv_len = 100;
    spec.prompt_len = S;
    REQUIRE(sb_attention_create(&spec, "stem", params, &chunk, NULL) == 0);
    sb_attention_tensors args = {y.q, y.k, y.v, y.o, NULL};
    EXPECT(sb_attention_run(chunk, &args, NULL) == 0);
    for (int64_t h = 0; h < H; h++)
        for (int64_t t = 0; t < 96; t++)
            for (int64_t d = 0; d < DV; d++) {
                int64_t i = (h * S + t) * DV + d;
                EXPECT(fabsf(x.o[i] - y.o[i]) < 1e-5f);
            }
    sb_attention_destroy(chunk);
    sb_attention_destroy(whole);
    free(y.o);
    free_tensors(&x);
}

static void *loop(void *user)
{
    tensors *x = user;
    sb_attention_spec spec = make_spec();
    for (int turn = 0; turn < 20; turn++) {
        sb_attention *plan = NULL;
        if (sb_attention_create(&spec, "stem", "block=32 k_start=2", &plan, NULL) != 0 ||
            run(plan, x, NULL) != 0)
            return NULL;
        sb_attention_destroy(plan);
    }
    return x;
}

static void test_threads(void)
{
    pthread_t threads[4];
    tensors x[4];
    TEST("plans in different threads");
    for (int i = 0; i < 4; i++) {
        x[i] = make_tensors();
        memset(x[i].o, 0, MOST * sizeof(float));
        REQUIRE(pthread_create(&threads[i], NULL, loop, &x[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        void *ended = NULL;
        EXPECT(pthread_join(threads[i], &ended) == 0 && ended == &x[i]);
        EXPECT(memcmp(x[i].o, x[0].o, MOST * sizeof(float)) == 0);
    }
    for (int i = 0; i < 4; i++)
        free_tensors(&x[i]);
}

int main(void)
{
    test_methods();
    test_stats();
    test_params();
    test_no_lse();
    test_refusals();
    test_chunk();
    test_threads();
    return sb_tests_done();
}
