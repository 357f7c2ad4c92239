/* Both CUDA attention kernels against attention written by the definition in float64. */

#include <cmath>
#include <cstdlib>
#include <cstring>

#include <cuda_runtime.h>

#include "harness/mem.h"
#include "harness/pattern.h"
#include "harness/tests/check.h"
#include "methods/kernels/cuda/attend.h"

namespace
{

enum { GUARD = 256, POISON = 0xff /* 0xff bytes are a NaN in every dtype */, EXIT_SKIPPED = 77 };

struct shape {
    int64_t n_batch, n_heads, n_kv_heads, q_len, kv_len, dim, dim_v, block;
    double gain; /* of Q: large ones make the softmax steep, and its maximum move */
    int64_t q_lens[3], kv_lens[3]; /* ragged when q_lens[0] > 0 */
};

const shape shapes[] = {
    {1, 1, 1, 1, 1, 64, 64, 64, 1, {0}, {0}},
    {1, 2, 1, 1, 62, 128, 128, 128, 1, {0}, {0}},
    {1, 3, 1, 62, 62, 64, 64, 64, 3, {0}, {0}},
    {1, 2, 1, 213, 213, 64, 64, 128, 1, {0}, {0}},
    {1, 4, 2, 213, 213, 128, 128, 128, 3, {0}, {0}},
    {1, 4, 2, 213, 213, 128, 128, 64, 3, {0}, {0}},
    {1, 6, 3, 100, 213, 64, 64, 64, 1, {0}, {0}},
    {1, 2, 1, 100, 213, 128, 128, 128, 1, {0}, {0}},
    {3, 4, 2, 150, 213, 64, 64, 64, 2, {150, 1, 77}, {213, 62, 100}},
    {3, 4, 2, 150, 213, 64, 64, 128, 2, {150, 1, 77}, {213, 62, 100}},
    {3, 4, 2, 350, 700, 128, 128, 128, 2, {350, 1, 177}, {700, 62, 400}},
    {2, 4, 1, 213, 300, 128, 128, 64, 2, {213, 200}, {300, 201}},
    {1, 8, 2, 1521, 1521, 128, 128, 128, 1, {0}, {0}},
    {1, 8, 2, 1521, 1521, 64, 64, 128, 8, {0}, {0}},
    {1, 4, 1, 1521, 1521, 128, 128, 64, 8, {0}, {0}},
    {1, 4, 1, 1521, 1521, 64, 64, 64, 3, {0}, {0}},
    {1, 4, 2, 1300, 1521, 128, 128, 384, 3, {0}, {0}},
    {1, 4, 2, 1300, 1521, 64, 64, 256, 3, {0}, {0}},
    {1, 4, 2, 1300, 1521, 128, 128, 192, 3, {0}, {0}},
    {1, 2, 1, 6144, 6144, 128, 128, 128, 8, {0}, {0}},
    {2, 8, 4, 4096, 4096, 64, 64, 64, 4, {0}, {0}},
    /* what only the mma kernel takes, at least of the patterns */
    {1, 2, 2, 62, 62, 20, 20, 16, 1, {0}, {0}},
    {1, 2, 1, 62, 62, 20, 33, 48, 1, {0}, {0}},
    {1, 2, 1, 213, 213, 64, 64, 48, 1, {0}, {0}},
    {1, 2, 1, 213, 213, 1, 5, 256, 1, {0}, {0}},
    {1, 4, 2, 213, 213, 80, 80, 48, 1, {0}, {0}},
    {2, 4, 1, 213, 300, 128, 96, 128, 2, {213, 200}, {300, 201}},
    {1, 2, 1, 300, 1521, 256, 256, 128, 2, {0}, {0}},
    {3, 4, 2, 150, 213, 256, 200, 64, 1, {150, 1, 77}, {213, 62, 100}},
};

/* ---- data ------------------------------------------------------------------------------- */

uint64_t random_state;

double uniform()
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

double normal()
{
    return sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform());
}

struct tensor {
    int64_t n;
    float *exact; /* the values after rounding to dtype, NaN where nobody may read */
    void *device;
};

struct setup {
    sb_problem p;
    int64_t block;
    tensor q, k, v;
    sb_pattern pat;
    sb_cuda_pattern device_pat;
};

/* Rows past a sequence's length hold NaN: whoever reads them shows it. */
tensor make_tensor(const sb_problem *p, bool keys, int64_t dim, double gain)
{
    tensor x = {};
    int64_t heads = keys ? p->n_kv_heads : p->n_heads, len = keys ? p->kv_len : p->q_len;
    int64_t rows = p->n_batch * heads * len;
    x.n = rows * dim;
    x.exact = (float *)sb_alloc(x.n, sizeof(float));
    void *host = sb_alloc(x.n, sb_dtype_bytes(p->dtype));
    for (int64_t i = 0; i < x.n; i++) {
        int64_t b = i / dim / len / heads, t = i / dim % len;
        bool valid = t < (keys ? sb_kv_len(p, b) : sb_q_len(p, b));
        x.exact[i] = valid ? (float)(gain * normal()) : NAN;
    }
    sb_from_f32(p->dtype, x.exact, host, x.n);
    sb_to_f32(p->dtype, host, x.exact, x.n);
    EXPECT(cudaMalloc(&x.device, (size_t)x.n * 2) == cudaSuccess);
    EXPECT(cudaMemcpy(x.device, host, (size_t)x.n * 2, cudaMemcpyHostToDevice) == cudaSuccess);
    sb_free(host);
    return x;
}

void free_tensor(tensor *x)
{
    sb_free(x->exact);
    cudaFree(x->device);
}

/* Keeps each block with probability `share`, and the diagonal. */
void make_pattern(setup *s, double share)
{
    const sb_problem *p = &s->p;
    sb_pattern *pat = &s->pat;
    int64_t at = 0;
    for (int64_t list = 0; list < p->n_batch * p->n_heads * pat->n_rows; list++) {
        int64_t b = list / pat->n_rows / p->n_heads, r = list % pat->n_rows;
        pat->row_ptr[list] = at;
        if (r < sb_n_rows(p, b, s->block))
            for (int64_t c = 0, last = sb_first_block(p, b, s->block) + r; c <= last; c++)
                if (c == last || uniform() < share)
                    pat->col[at++] = (int32_t)c;
    }
    pat->row_ptr[p->n_batch * p->n_heads * pat->n_rows] = at;
}

void upload_pattern(setup *s)
{
    const sb_pattern *pat = &s->pat;
    int64_t lists = pat->n_batch * pat->n_heads * pat->n_rows;
    size_t row_bytes = (size_t)(lists + 1) * 8, col_bytes = (size_t)pat->row_ptr[lists] * 4;
    cudaFree((void *)s->device_pat.row_ptr);
    cudaFree((void *)s->device_pat.col);
    void *row_ptr = nullptr, *col = nullptr;
    EXPECT(cudaMalloc(&row_ptr, row_bytes) == cudaSuccess);
    EXPECT(cudaMalloc(&col, col_bytes) == cudaSuccess);
    EXPECT(cudaMemcpy(row_ptr, pat->row_ptr, row_bytes, cudaMemcpyHostToDevice) == cudaSuccess);
    EXPECT(cudaMemcpy(col, pat->col, col_bytes, cudaMemcpyHostToDevice) == cudaSuccess);
    s->device_pat = {pat->n_rows, pat->block, (const int64_t *)row_ptr, (const int32_t *)col};
}

void open_setup(setup *s, const shape *x, sb_dtype dtype)
{
    sb_err err = {};
    *s = {};
    s->p.n_batch = x->n_batch;
    s->p.n_heads = x->n_heads;
    s->p.n_kv_heads = x->n_kv_heads;
    s->p.q_len = x->q_len;
    s->p.kv_len = x->kv_len;
    s->p.dim = x->dim;
    s->p.dim_v = x->dim_v;
    s->p.dtype = dtype;
    s->p.scale = 1 / sqrt((double)x->dim);
    s->p.q_lens = x->q_lens[0] ? x->q_lens : nullptr;
    s->p.kv_lens = x->q_lens[0] ? x->kv_lens : nullptr;
    s->block = x->block;
    random_state = (uint64_t)(x->kv_len * 131 + x->dim);
    s->q = make_tensor(&s->p, false, x->dim, x->gain);
    s->k = make_tensor(&s->p, true, x->dim, 1);
    s->v = make_tensor(&s->p, true, x->dim_v, 1);
    REQUIRE(sb_pattern_alloc(&s->p, s->block, sb_causal_blocks(&s->p, s->block), &s->pat, &err) ==
            SB_OK);
}

void close_setup(setup *s)
{
    cudaFree((void *)s->device_pat.row_ptr);
    cudaFree((void *)s->device_pat.col);
    sb_pattern_free(&s->pat);
    free_tensor(&s->v);
    free_tensor(&s->k);
    free_tensor(&s->q);
}

/* ---- results ---------------------------------------------------------------------------- */

struct result {
    size_t o_bytes, lse_bytes;
    unsigned char *o, *lse; /* with GUARD poisoned bytes on each side */
};

bool poisoned(const unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != POISON)
            return false;
    return true;
}

/* Attends into poisoned memory. */
result attend(const setup *s, sb_cuda_attend_plan *plan, bool dense)
{
    sb_err err = {};
    int64_t rows = s->p.n_batch * s->p.n_heads * s->p.q_len;
    result x = {(size_t)(rows * s->p.dim_v) * 2, (size_t)rows * 4, nullptr, nullptr};
    size_t o_all = x.o_bytes + 2 * GUARD, lse_all = x.lse_bytes + 2 * GUARD;
    unsigned char *o = nullptr, *lse = nullptr;
    x.o = (unsigned char *)sb_alloc((int64_t)o_all, 1);
    x.lse = (unsigned char *)sb_alloc((int64_t)lse_all, 1);
    EXPECT(cudaMalloc((void **)&o, o_all) == cudaSuccess);
    EXPECT(cudaMalloc((void **)&lse, lse_all) == cudaSuccess);
    EXPECT(cudaMemset(o, POISON, o_all) == cudaSuccess);
    EXPECT(cudaMemset(lse, POISON, lse_all) == cudaSuccess);
    sb_inputs in = {s->q.device, s->k.device, s->v.device};
    sb_outputs out = {o + GUARD, (float *)(lse + GUARD)};
    EXPECT_MSG(sb_cuda_attend(plan, &in, dense ? nullptr : &s->device_pat, &out, &err) == SB_OK,
               "%s", err.msg);
    cudaError_t e = cudaDeviceSynchronize();
    EXPECT_MSG(e == cudaSuccess, "%s", cudaGetErrorString(e));
    EXPECT(cudaMemcpy(x.o, o, o_all, cudaMemcpyDeviceToHost) == cudaSuccess);
    EXPECT(cudaMemcpy(x.lse, lse, lse_all, cudaMemcpyDeviceToHost) == cudaSuccess);
    cudaFree(lse);
    cudaFree(o);
    EXPECT(poisoned(x.o, GUARD) && poisoned(x.o + GUARD + x.o_bytes, GUARD));
    EXPECT(poisoned(x.lse, GUARD) && poisoned(x.lse + GUARD + x.lse_bytes, GUARD));
    return x;
}

void free_result(result *x)
{
    sb_free(x->lse);
    sb_free(x->o);
}

bool same_bits(const result *a, const result *b)
{
    return memcmp(a->o, b->o, a->o_bytes + 2 * GUARD) == 0 &&
           memcmp(a->lse, b->lse, a->lse_bytes + 2 * GUARD) == 0;
}

/* ---- oracle ----------------------------------------------------------------------------- */

/* Attention of one query by its definition; keep [blocks]. Returns LSE. */
double oracle(const setup *s, int64_t b, int64_t h, int64_t t, const bool *keep, double *o)
{
    const sb_problem *p = &s->p;
    int64_t pos = sb_kv_len(p, b) - sb_q_len(p, b) + t;
    int64_t kv = b * p->n_kv_heads + h / (p->n_heads / p->n_kv_heads);
    const float *q = s->q.exact + ((b * p->n_heads + h) * p->q_len + t) * p->dim;
    double *score = (double *)sb_alloc(pos + 1, sizeof *score), top = -INFINITY, sum = 0;
    for (int64_t j = 0; j <= pos; j++) {
        const float *k = s->k.exact + (kv * p->kv_len + j) * p->dim;
        score[j] = -INFINITY;
        if (!keep[j / s->block])
            continue;
        double dot = 0;
        for (int64_t c = 0; c < p->dim; c++)
            dot += (double)q[c] * (double)k[c];
        score[j] = dot * p->scale;
        top = fmax(top, score[j]);
    }
    for (int64_t c = 0; c < p->dim_v; c++)
        o[c] = 0;
    for (int64_t j = 0; j <= pos; j++) {
        if (!keep[j / s->block])
            continue;
        const float *v = s->v.exact + (kv * p->kv_len + j) * p->dim_v;
        double weight = exp(score[j] - top);
        sum += weight;
        for (int64_t c = 0; c < p->dim_v; c++)
            o[c] += weight * (double)v[c];
    }
    for (int64_t c = 0; c < p->dim_v; c++)
        o[c] /= sum;
    sb_free(score);
    return top + log(sum);
}

/* Compares every `step`-th query and the last ones with the oracle. */
void check_result(const setup *s, const result *x, bool dense)
{
    const sb_problem *p = &s->p;
    int64_t step = p->q_len > 2000 ? 97 : p->q_len > 1000 ? 13 : 1;
    bool *keep = (bool *)sb_alloc(sb_ceil_div(p->kv_len, s->block), sizeof *keep);
    double wanted[256], error_all = 0, norm_all = 0, worst_row = 0, worst_lse = 0;
    float got[256], lse;
    int64_t leaks = 0;
    for (int64_t row = 0; row < p->n_batch * p->n_heads * p->q_len; row++) {
        int64_t t = row % p->q_len, h = row / p->q_len % p->n_heads;
        int64_t b = row / p->q_len / p->n_heads, q_len = sb_q_len(p, b);
        const unsigned char *o = x->o + GUARD + (size_t)(row * p->dim_v) * 2;
        const unsigned char *l = x->lse + GUARD + (size_t)row * 4;
        if (t >= q_len) {
            leaks += !poisoned(o, (size_t)p->dim_v * 2) || !poisoned(l, 4);
            continue;
        }
        if (t % step != h % step && t + 2 < q_len)
            continue;
        int64_t r = (sb_kv_len(p, b) - q_len + t) / s->block - sb_first_block(p, b, s->block);
        int64_t list = sb_pattern_row(&s->pat, b, h, r);
        memset(keep, dense, (size_t)sb_ceil_div(p->kv_len, s->block));
        for (int64_t i = s->pat.row_ptr[list]; !dense && i < s->pat.row_ptr[list + 1]; i++)
            keep[s->pat.col[i]] = true;
        double wanted_lse = oracle(s, b, h, t, keep, wanted), error = 0, norm = 0;
        sb_to_f32(p->dtype, o, got, p->dim_v);
        memcpy(&lse, l, sizeof lse);
        for (int64_t c = 0; c < p->dim_v; c++) {
            error += (got[c] - wanted[c]) * (got[c] - wanted[c]);
            norm += wanted[c] * wanted[c];
        }
        error_all += error;
        norm_all += norm;
        /* fmax would drop a NaN */
        double row_error = sqrt(error / norm), lse_error = fabs(lse - wanted_lse);
        worst_row = row_error <= worst_row ? worst_row : row_error;
        worst_lse = lse_error <= worst_lse ? worst_lse : lse_error;
    }
    double rel_l2 = sqrt(error_all / norm_all), limit = p->dtype == SB_BF16 ? 4e-3 : 6e-4;
    EXPECT_MSG(rel_l2 <= limit, "relative L2 error %.3g", rel_l2);
    EXPECT_MSG(worst_row <= 5 * limit, "row error %.3g", worst_row);
    EXPECT_MSG(worst_lse <= 2e-4, "LSE off by %.3g", worst_lse);
    EXPECT_MSG(leaks == 0, "%lld rows written past their sequence", (long long)leaks);
    sb_free(keep);
}

/* ---- cases ------------------------------------------------------------------------------ */

void check_shape(const shape *x, sb_dtype dtype)
{
    sb_err err = {};
    setup s;
    sb_cuda_attend_plan *plan = nullptr;
    open_setup(&s, x, dtype);
    EXPECT_MSG(sb_cuda_attend_plan_create(&s.p, s.block, nullptr, &plan, &err) == SB_OK, "%s",
               err.msg);
    if (plan) {
        result dense = attend(&s, plan, true), again = attend(&s, plan, true);
        check_result(&s, &dense, true);
        EXPECT(same_bits(&dense, &again));
        free_result(&again);

        sb_pattern_fill_causal(&s.p, &s.pat);
        upload_pattern(&s);
        result whole = attend(&s, plan, false);
        /* Tiles of dense attention are as wide as the block only then. */
        bool wide = strcmp(sb_cuda_attend_kernel(plan), "cuda-sm90") == 0 ? x->block % 128 == 0
                                                                          : x->block % 64 == 0;
        if (wide)
            EXPECT(same_bits(&dense, &whole));
        else
            check_result(&s, &whole, true);
        free_result(&whole);
        free_result(&dense);

        make_pattern(&s, 0.4);
        upload_pattern(&s);
        result sparse = attend(&s, plan, false);
        check_result(&s, &sparse, false);
        again = attend(&s, plan, false);
        EXPECT(same_bits(&sparse, &again));
        free_result(&again);
        free_result(&sparse);
    }
    sb_cuda_attend_plan_destroy(plan);
    close_setup(&s);
}

void check_refusals()
{
    sb_err err = {};
    sb_cuda_attend_plan *plan = nullptr;
    sb_problem p = {};
    p.n_batch = p.n_heads = p.n_kv_heads = 1;
    p.q_len = p.kv_len = 64;
    p.dim = p.dim_v = 64;
    p.scale = 1;
    TEST("f32 is refused");
    p.dtype = SB_F32;
    EXPECT(sb_cuda_attend_plan_create(&p, 64, nullptr, &plan, &err) == SB_UNSUPPORTED && !plan);
    TEST("large dimensions are refused");
    p.dtype = SB_BF16;
    p.dim = 257;
    EXPECT(sb_cuda_attend_plan_create(&p, 64, nullptr, &plan, &err) == SB_UNSUPPORTED && !plan);
    TEST("a pattern of another block is refused");
    p.dim = 64;
    REQUIRE(sb_cuda_attend_plan_create(&p, 64, nullptr, &plan, nullptr) == SB_OK);
    sb_inputs in = {nullptr, nullptr, nullptr};
    sb_outputs out = {nullptr, nullptr};
    sb_cuda_pattern pat = {1, 128, nullptr, nullptr};
    EXPECT(sb_cuda_attend(plan, &in, &pat, &out, nullptr) == SB_USAGE);
    TEST("a plan without a block attends densely only");
    sb_cuda_attend_plan *dense = nullptr;
    EXPECT(sb_cuda_attend_plan_create(&p, 0, nullptr, &dense, nullptr) == SB_OK);
    pat.block = 64;
    EXPECT(dense && sb_cuda_attend(dense, &in, &pat, &out, nullptr) == SB_USAGE);
    sb_cuda_attend_plan_destroy(dense);
    TEST("misaligned pointers are refused");
    in.k = (const void *)8;
    EXPECT(sb_cuda_attend(plan, &in, nullptr, &out, nullptr) == SB_USAGE);
    sb_cuda_attend_plan_destroy(plan);
}

} // namespace

/* An argument names the one kernel to test: "auto" or "mma". */
int main(int argc, char **argv)
{
    int n_devices = 0;
    cudaError_t e = cudaGetDeviceCount(&n_devices);
    if (e != cudaSuccess || n_devices == 0) {
        printf("skipped: no CUDA device: %s\n", cudaGetErrorString(e));
        return EXIT_SKIPPED;
    }
    static const char *const kernels[] = {"auto", "mma"};
    for (const char *kernel : kernels) {
        if (argc > 1 && strcmp(argv[1], kernel) != 0)
            continue;
        setenv("STEMBENCH_CUDA_KERNEL", kernel, 1);
        for (const shape &x : shapes)
            for (sb_dtype dtype : {SB_BF16, SB_F16}) {
                static char name[128];
                snprintf(name, sizeof name, "%s %s d %lld %lld, tokens %lld of %lld, block %lld",
                         kernel, sb_dtype_name(dtype), (long long)x.dim, (long long)x.dim_v,
                         (long long)x.q_len, (long long)x.kv_len, (long long)x.block);
                TEST(name);
                check_shape(&x, dtype);
            }
    }
    unsetenv("STEMBENCH_CUDA_KERNEL");
    check_refusals();
    return sb_tests_done();
}
