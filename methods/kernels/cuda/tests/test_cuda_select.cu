/* Selection on the device against selection on the CPU: the same lists, block for block. */

#include <cmath>
#include <cstdlib>
#include <cstring>

#include <cuda_runtime.h>
#include <omp.h>

#include "harness/mem.h"
#include "harness/tests/check.h"
#include "methods/kernels/cuda/device.h"
#include "methods/kernels/cuda/select.h"
#include "methods/stages.h"

namespace
{

enum { EXIT_SKIPPED = 77 };

/* What makes choosing hard. */
enum data {
    NORMAL,  /* scores far apart */
    SHIFTED, /* one large part in common: norms far above the scores' spread */
    TWINS,   /* each block like one of eight, exactly: ties to the lower */
    NEAR,    /* the same, but for the last bit of one element: no ties, and closer than any bound */
    ZEROS,
    HUGE_, /* scores beyond float32: infinities and NaN */
    N_DATA
};

const char *const data_names[] = {"normal", "shifted", "twins", "near", "zeros", "huge"};

struct shape {
    int64_t n_batch, n_heads, n_kv_heads, q_len, kv_len, dim, dim_v, block, stride;
    int64_t q_lens[3], kv_lens[3]; /* ragged when q_lens[0] > 0 */
};

const shape shapes[] = {
    {1, 1, 1, 1, 1, 64, 64, 16, 4, {0}, {0}},
    {1, 2, 1, 62, 62, 64, 64, 16, 1, {0}, {0}},
    {1, 3, 1, 213, 213, 64, 64, 16, 16, {0}, {0}},
    {1, 4, 2, 1521, 1521, 128, 128, 16, 8, {0}, {0}},
    {1, 4, 2, 1300, 1521, 128, 128, 32, 8, {0}, {0}},
    {3, 4, 2, 1500, 2000, 64, 64, 32, 4, {1500, 1, 777}, {2000, 62, 1000}},
    {2, 4, 1, 1500, 2000, 128, 64, 64, 16, {1500, 1499}, {2000, 1999}},
    {1, 2, 2, 1000, 1000, 20, 33, 24, 3, {0}, {0}},
    {1, 2, 1, 500, 900, 80, 80, 48, 12, {0}, {0}},
    {1, 2, 1, 1521, 1521, 1, 5, 16, 2, {0}, {0}},
    {1, 2, 1, 3000, 3000, 256, 256, 64, 8, {0}, {0}},
    {1, 4, 1, 8192, 8192, 64, 64, 64, 8, {0}, {0}},
    {1, 4, 1, 8000, 16384, 128, 128, 128, 16, {0}, {0}},
    {1, 2, 1, 16384, 16384, 128, 128, 256, 16, {0}, {0}},
    {1, 2, 1, 9000, 9000, 64, 64, 1024, 8, {0}, {0}},
    /* lists of 512 to 1024 blocks, and longer ones */
    {1, 2, 1, 12000, 12000, 64, 64, 16, 4, {0}, {0}},
    {1, 1, 1, 1000, 20000, 32, 32, 16, 8, {0}, {0}},
    {1, 1, 1, 300, 40000, 16, 16, 4, 2, {0}, {0}},
};

struct variant {
    const char *name;
    bool mean, unscaled, released;
    sb_bonus_kind bonus;
    double beta, k_start;
    int64_t sinks, window;
};

const variant variants[] = {
    {"plain", false, false, false, SB_BONUS_NONE, 0, .2, 4, 4},
    {"mean", true, false, false, SB_BONUS_NONE, 0, .3, 1, 1},
    {"paper", false, false, false, SB_BONUS_PAPER, .2, .1, 4, 4},
    {"angelslim", false, false, true, SB_BONUS_RELEASED, .2, 0, 4, 4},
    {"hpc", false, true, true, SB_BONUS_RELEASED, .3, .15, 0, 1},
    {"few", false, false, false, SB_BONUS_PAPER, 5, 2, 0, 40},
};

/* ---- data -------------------------------------------------------------------------------- */

uint64_t hash(uint64_t x)
{
    x = (x ^ (x >> 31)) * 0x7fb5d329728ea185u;
    x = (x ^ (x >> 27)) * 0x81dadef4bc2dd44du;
    return x ^ (x >> 33);
}

float normal(uint64_t seed, uint64_t i)
{
    uint64_t a = hash(seed * 0x9e3779b97f4a7c15u + i), b = hash(a + 0x632be59bd9b4e019u);
    double u = (double)((a >> 11) + 1) * 0x1p-53, v = (double)(b >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* A tensor of `heads` times `tokens` lines of `dim`. */
void *make_tensor(const shape &x, data what, bool is_query, sb_dtype dtype, uint64_t seed,
                  int64_t heads, int64_t tokens, int64_t dim)
{
    int64_t n = heads * tokens * dim;
    float *values = (float *)sb_alloc(n, sizeof *values);
    void *rounded = sb_alloc(n, sb_dtype_bytes(dtype));
#pragma omp parallel for
    for (int64_t line = 0; line < heads * tokens; line++) {
        int64_t t = line % tokens, twin = line - t + t % x.block + t / x.block % 8 * x.block;
        bool repeats = !is_query && (what == TWINS || what == NEAR);
        for (int64_t c = 0; c < dim; c++) {
            float value = normal(seed, (uint64_t)((repeats ? twin : line) * dim + c));
            if (what == SHIFTED)
                value = value / 16 + 2 * normal(seed + 1, (uint64_t)c);
            if (what == HUGE_)
                value *= dtype == SB_F16 ? 3e4f : 1e19f;
            if (what == NEAR && repeats && t % x.block == 0 && c == 0)
                value += 0x1p-7f * (float)(hash((uint64_t)line) % 8);
            values[line * dim + c] = what == ZEROS ? 0 : value;
        }
    }
    sb_from_f32(dtype, values, rounded, n);
    sb_free(values);
    return rounded;
}

/* ---- one case ----------------------------------------------------------------------------- */

struct work {
    sb_problem p;
    sb_inputs host, device;
    sb_pattern expected, got;
    sb_budget budget;
    sb_score score;
    sb_bonus bonus;
    sb_topk topk;
    sb_cuda_select_plan *plan;
    sb_stream stream;
};

void *on_device(const void *host, int64_t n_bytes, sb_stream stream)
{
    void *copy;
    if (sb_cuda_malloc(n_bytes, "a test's input", &copy, NULL) != SB_OK ||
        sb_cuda_to_device(copy, host, n_bytes, stream, NULL) != SB_OK)
        return NULL;
    return copy;
}

void expect_same(const work &w)
{
    int64_t n_lists = w.p.n_batch * w.p.n_heads * w.expected.n_rows, n_wrong = 0;
    for (int64_t i = 0; i < n_lists; i++) {
        const int64_t *a = w.expected.row_ptr + i, *b = w.got.row_ptr + i;
        bool same = a[0] == b[0] && a[1] == b[1] &&
                    memcmp(w.expected.col + a[0], w.got.col + b[0],
                           (size_t)(a[1] - a[0]) * sizeof *w.got.col) == 0;
        n_wrong += !same;
        EXPECT_MSG(same || n_wrong > 3, "list %lld: %lld blocks at %lld, expected %lld at %lld",
                   (long long)i, (long long)(b[1] - b[0]), (long long)b[0],
                   (long long)(a[1] - a[0]), (long long)a[0]);
        if (a[0] != b[0] || a[1] != b[1])
            return;
    }
    EXPECT_MSG(n_wrong == 0, "%lld of %lld lists differ", (long long)n_wrong, (long long)n_lists);
}

void select_twice(work *w, const sb_block_topk_spec &spec)
{
    sb_err err = {};
    int n_threads = omp_get_max_threads();
    REQUIRE(sb_budget_plan(&w->p, &spec, &w->budget, &err) == SB_OK);
    REQUIRE(sb_score_plan(&w->p, &spec, n_threads, &w->score, &err) == SB_OK);
    REQUIRE(sb_bonus_plan(&w->p, &spec, n_threads, &w->bonus, &err) == SB_OK);
    REQUIRE(sb_topk_plan(&w->p, spec.block, n_threads, &w->topk, &err) == SB_OK);
    REQUIRE(sb_pattern_alloc(&w->p, spec.block, w->budget.capacity, &w->expected, &err) == SB_OK);
    REQUIRE(sb_pattern_alloc(&w->p, spec.block, w->budget.capacity, &w->got, &err) == SB_OK);
    sb_score_keys(&w->score, &w->p, &w->host);
    sb_bonus_values(&w->bonus, &w->p, &w->host, n_threads);
    sb_select_topk(&w->topk, &w->score, &w->bonus, &w->budget, &w->p, &w->host, &w->expected);

    sb_cuda_select_spec same = {};
    same.block = spec.block, same.stride = spec.stride;
    same.mean_score = spec.mean_score, same.unscaled_score = spec.unscaled_score;
    same.bonus = (sb_cuda_bonus)spec.bonus, same.beta = spec.beta;
    same.sinks = spec.sinks, same.window = spec.window;
    same.budget = w->budget.k;
    sb_status st = sb_cuda_select_plan_create(&w->p, &same, w->stream, &w->plan, &err);
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
    REQUIRE(st == SB_OK);
    EXPECT(sb_cuda_select_capacity(w->plan) == w->budget.capacity);
    /* Twice: what one run leaves behind must not show in the next. */
    for (int i = 0; i < 2; i++) {
        memset(w->got.col, 0xff, (size_t)w->got.capacity * sizeof *w->got.col);
        st = sb_cuda_select(w->plan, &w->device, &err);
        st = st == SB_OK ? sb_cuda_select_read(w->plan, &w->got, &err) : st;
        EXPECT_MSG(st == SB_OK, "%s", err.msg);
        REQUIRE(st == SB_OK);
        expect_same(*w);
    }
}

int64_t n_rescored[N_DATA], n_causal[N_DATA];

/* Inputs of one kind, on either side: drawing them takes longer than selecting from them. */
struct inputs {
    sb_problem p;
    sb_inputs host, device;
    sb_stream stream;
};

bool make_inputs(const shape &x, data what, sb_dtype dtype, uint64_t seed, inputs *in)
{
    sb_problem &p = in->p;
    p.n_batch = x.n_batch, p.n_heads = x.n_heads, p.n_kv_heads = x.n_kv_heads;
    p.q_len = x.q_len, p.kv_len = x.kv_len, p.dim = x.dim, p.dim_v = x.dim_v;
    p.dtype = dtype, p.scale = 1 / sqrt((double)x.dim);
    if (x.q_lens[0] > 0)
        p.q_lens = x.q_lens, p.kv_lens = x.kv_lens;
    int64_t bytes = (int64_t)sb_dtype_bytes(dtype);
    int64_t heads = x.n_batch * x.n_heads, kv_heads = x.n_batch * x.n_kv_heads;
    in->host.q = make_tensor(x, what, true, dtype, seed, heads, x.q_len, x.dim);
    in->host.k = make_tensor(x, what, false, dtype, seed + 2, kv_heads, x.kv_len, x.dim);
    in->host.v = make_tensor(x, what, false, dtype, seed + 4, kv_heads, x.kv_len, x.dim_v);
    if (sb_cuda_stream_create(&in->stream, NULL) != SB_OK)
        return false;
    in->device.q = on_device(in->host.q, heads * x.q_len * x.dim * bytes, in->stream);
    in->device.k = on_device(in->host.k, kv_heads * x.kv_len * x.dim * bytes, in->stream);
    in->device.v = on_device(in->host.v, kv_heads * x.kv_len * x.dim_v * bytes, in->stream);
    return in->device.q && in->device.k && in->device.v;
}

void free_inputs(inputs *in)
{
    for (const void *block : {in->device.q, in->device.k, in->device.v})
        sb_cuda_free((void *)block);
    for (const void *block : {in->host.q, in->host.k, in->host.v})
        sb_free((void *)block);
    sb_cuda_stream_destroy(in->stream);
}

void check_case(const inputs &in, const shape &x, const variant &v, data what)
{
    work w = {};
    w.p = in.p, w.host = in.host, w.device = in.device, w.stream = in.stream;
    int64_t n = sb_ceil_div(x.kv_len, x.block), n_again = 0;
    sb_block_topk_spec spec = {};
    spec.block = x.block, spec.stride = x.stride;
    spec.mean_score = v.mean, spec.unscaled_score = v.unscaled;
    spec.bonus = v.bonus, spec.beta = v.beta;
    spec.schedule.shape = SB_SHAPE_LINEAR, spec.schedule.mu = .7;
    spec.schedule.released = v.released, spec.schedule.hold = v.released ? -1 : 0;
    spec.schedule.k_start = v.k_start < 1 ? v.k_start * (double)n : v.k_start;
    if (spec.schedule.k_start < 1 && !v.released)
        spec.schedule.k_start = 1;
    spec.sinks = v.sinks, spec.window = v.window;
    select_twice(&w, spec);
    if (sb_cuda_select_rescored(w.plan, &n_again, NULL) == SB_OK) {
        n_rescored[what] += n_again;
        n_causal[what] += sb_causal_blocks(&w.p, x.block);
    }
    sb_cuda_select_plan_destroy(w.plan);
    sb_pattern_free(&w.expected), sb_pattern_free(&w.got);
    sb_budget_free(&w.budget), sb_score_free(&w.score), sb_bonus_free(&w.bonus);
    sb_topk_free(&w.topk);
}

/* Every variant of one shape on inputs of one kind. */
void check_inputs(const shape &x, data what, sb_dtype dtype, uint64_t seed)
{
    inputs in = {};
    bool made = make_inputs(x, what, dtype, seed, &in);
    EXPECT(made);
    for (const variant &v : variants) {
        static char name[160];
        snprintf(name, sizeof name,
                 "%s %s %s, tokens %lld of %lld, d %lld, block %lld, stride %lld", v.name,
                 data_names[what], sb_dtype_name(dtype), (long long)x.q_len, (long long)x.kv_len,
                 (long long)x.dim, (long long)x.block, (long long)x.stride);
        TEST(name);
        if (made)
            check_case(in, x, v, what);
    }
    free_inputs(&in);
}

void check_refusals()
{
    sb_problem p = {};
    p.n_batch = p.n_heads = p.n_kv_heads = 1;
    p.q_len = 1, p.kv_len = 40000, p.dim = p.dim_v = 16, p.scale = 1;
    int32_t budget[1] = {1};
    sb_cuda_select_spec spec = {};
    spec.block = 1, spec.stride = 1, spec.window = 1, spec.budget = budget;
    sb_cuda_select_plan *plan;
    sb_err err = {};
    TEST("more blocks than selection takes");
    EXPECT(sb_cuda_select_plan_create(&p, &spec, NULL, &plan, &err) == SB_UNSUPPORTED);
    TEST("stride does not divide block");
    spec.block = 16, spec.stride = 3;
    EXPECT(sb_cuda_select_plan_create(&p, &spec, NULL, &plan, NULL) == SB_USAGE);
    TEST("no budget");
    spec.stride = 4, budget[0] = 0;
    EXPECT(sb_cuda_select_plan_create(&p, &spec, NULL, &plan, NULL) == SB_USAGE);
    TEST("a shape that does not fit");
    p.n_batch = 1 << 16, p.n_heads = 1 << 12, budget[0] = 1, spec.block = 16;
    int32_t *many = (int32_t *)sb_alloc(p.n_batch, sizeof *many);
    for (int64_t i = 0; i < p.n_batch; i++)
        many[i] = 1;
    spec.budget = many;
    err = {};
    EXPECT(sb_cuda_select_plan_create(&p, &spec, NULL, &plan, &err) == SB_UNSUPPORTED);
    EXPECT_MSG(strstr(err.msg, "MiB") != NULL, "%s", err.msg);
    sb_free(many);
}

/* The size at which selection is to be fast: 128K tokens, 32 heads over 8. */
void check_large()
{
    const shape x = {1, 32, 8, 131072, 131072, 128, 128, 128, 8, {0}, {0}};
    for (data what : {NORMAL, SHIFTED})
        check_inputs(x, what, SB_BF16, 7);
}

} // namespace

/* test_cuda_select [seeds [shape]] or test_cuda_select large */
int main(int argc, char **argv)
{
    sb_err why = {};
    if (!sb_cuda_available(&why)) {
        printf("skipped: %s\n", why.msg);
        return EXIT_SKIPPED;
    }
    if (argc > 1 && strcmp(argv[1], "large") == 0) {
        check_large();
        return sb_tests_done();
    }
    int n_seeds = argc > 1 ? atoi(argv[1]) : 1, only = argc > 2 ? atoi(argv[2]) : -1, at = 0;
    for (const shape &x : shapes) {
        if (only >= 0 && at++ != only)
            continue;
        for (int what = 0; what < N_DATA; what++)
            for (sb_dtype dtype : {SB_BF16, SB_F16, SB_F32})
                for (int seed = 0; seed < n_seeds; seed++)
                    check_inputs(x, (data)what, dtype, 1000u * (uint64_t)seed + 7);
    }
    check_refusals();
    for (int what = 0; what < N_DATA; what++)
        printf("%s: %.4f %% of causal blocks scored twice\n", data_names[what],
               100.0 * (double)n_rescored[what] / fmax(1, (double)n_causal[what]));
    return sb_tests_done();
}
