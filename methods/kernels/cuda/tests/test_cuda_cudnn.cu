/* cuDNN's fused attention, as planned here, against attention by the definition in float64. */

#include <cmath>
#include <cstring>

#include "harness/mem.h"
#include "harness/tests/check.h"
#include "methods/kernels/cuda/cudnn.h"
#include "methods/kernels/cuda/device.h"

namespace
{

enum { EXIT_SKIPPED = 77 };

struct shape {
    int64_t n_batch, n_heads, n_kv_heads, q_len, kv_len, dim;
};

const shape shapes[] = {
    {1, 2, 1, 128, 128, 64}, {1, 4, 2, 384, 384, 128}, {2, 4, 1, 200, 200, 128},
    {1, 4, 2, 128, 512, 64}, {2, 4, 2, 100, 300, 128},
};

double next_normal(uint64_t *state)
{
    double u[2];
    for (double &x : u) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        x = (double)((*state >> 11) + 1) * 0x1p-53;
    }
    return sqrt(-2 * log(u[0])) * cos(6.283185307179586 * u[1]);
}

struct tensor {
    int64_t n;
    float *values; /* after rounding */
    void *device;
};

tensor make_tensor(sb_dtype dtype, int64_t n, uint64_t seed)
{
    int64_t n_bytes = n * (int64_t)sb_dtype_bytes(dtype);
    tensor t = {n, (float *)sb_alloc(n, sizeof(float)), NULL};
    void *rounded = sb_alloc(n, sb_dtype_bytes(dtype));
    for (int64_t i = 0; i < n; i++)
        t.values[i] = (float)next_normal(&seed);
    sb_from_f32(dtype, t.values, rounded, n);
    sb_to_f32(dtype, rounded, t.values, n);
    if (sb_cuda_malloc(n_bytes, "a test's tensor", &t.device, NULL) == SB_OK)
        sb_cuda_to_device(t.device, rounded, n_bytes, NULL, NULL);
    sb_cuda_sync(NULL, NULL);
    sb_free(rounded);
    return t;
}

void free_tensor(tensor *t)
{
    sb_cuda_free(t->device);
    sb_free(t->values);
}

/* One query's output to o [dim]; returns the logarithm of the softmax denominator. */
double attend_query(const shape &x, const float *q, const float *k, const float *v, int64_t n,
                    double *o)
{
    double most = -INFINITY, sum = 0;
    double *score = (double *)sb_alloc(n, sizeof *score);
    for (int64_t j = 0; j < n; j++) {
        for (int64_t c = 0; c < x.dim; c++)
            score[j] += (double)q[c] * k[j * x.dim + c] / sqrt((double)x.dim);
        most = fmax(most, score[j]);
    }
    for (int64_t c = 0; c < x.dim; c++)
        o[c] = 0;
    for (int64_t j = 0; j < n; j++) {
        double share = exp(score[j] - most);
        sum += share;
        for (int64_t c = 0; c < x.dim; c++)
            o[c] += share * v[j * x.dim + c];
    }
    for (int64_t c = 0; c < x.dim; c++)
        o[c] /= sum;
    sb_free(score);
    return most + log(sum);
}

void compare(const shape &x, const tensor &q, const tensor &k, const tensor &v, const float *o,
             const float *lse)
{
    double diff = 0, norm = 0, lse_off = 0, *row = (double *)sb_alloc(x.dim, sizeof *row);
    for (int64_t i = 0; i < x.n_batch * x.n_heads * x.q_len; i++) {
        int64_t kv_head = i / x.q_len / (x.n_heads / x.n_kv_heads);
        int64_t at = kv_head * x.kv_len * x.dim, n = x.kv_len - x.q_len + i % x.q_len + 1;
        double exact = attend_query(x, q.values + i * x.dim, k.values + at, v.values + at, n, row);
        lse_off = fmax(lse_off, fabs(exact - lse[i]));
        for (int64_t c = 0; c < x.dim; c++) {
            double off = o[i * x.dim + c] - row[c];
            diff += off * off, norm += row[c] * row[c];
        }
    }
    EXPECT_MSG(sqrt(diff / norm) <= 4e-3, "relative error %g", sqrt(diff / norm));
    EXPECT_MSG(lse_off <= 1e-3, "LSE off by %g", lse_off);
    sb_free(row);
}

void check_shape(const shape &x, sb_dtype dtype)
{
    sb_err err = {};
    sb_problem p = {};
    p.n_batch = x.n_batch, p.n_heads = x.n_heads, p.n_kv_heads = x.n_kv_heads;
    p.q_len = x.q_len, p.kv_len = x.kv_len, p.dim = p.dim_v = x.dim;
    p.dtype = dtype, p.scale = 1 / sqrt((double)x.dim);
    int64_t n_rows = x.n_batch * x.n_heads * x.q_len;
    int64_t n_keys = x.n_batch * x.n_kv_heads * x.kv_len;
    tensor q = make_tensor(dtype, n_rows * x.dim, 1), k = make_tensor(dtype, n_keys * x.dim, 2);
    tensor v = make_tensor(dtype, n_keys * x.dim, 3), o = make_tensor(dtype, n_rows * x.dim, 4);
    tensor lse = make_tensor(SB_F32, n_rows, 5);
    void *rounded = sb_alloc(o.n, sb_dtype_bytes(dtype));
    int64_t o_bytes = o.n * (int64_t)sb_dtype_bytes(dtype), lse_bytes = n_rows * 4;
    sb_inputs in = {q.device, k.device, v.device};
    sb_outputs out = {o.device, (float *)lse.device};
    sb_cudnn_plan *plan = NULL;
    sb_status st = sb_cudnn_plan_create(&p, NULL, &plan, &err);
    for (int i = 0; i < 2 && st == SB_OK; i++) {
        sb_cuda_fill(o.device, 0xff, o_bytes, NULL, &err);
        sb_cuda_fill(lse.device, 0xff, lse_bytes, NULL, &err);
        st = sb_cudnn_attend(plan, &in, &out, &err);
        sb_cuda_to_host(rounded, o.device, o_bytes, NULL, &err);
        sb_cuda_to_host(lse.values, lse.device, lse_bytes, NULL, &err);
        sb_cuda_sync(NULL, &err);
        sb_to_f32(dtype, rounded, o.values, o.n);
        if (st == SB_OK)
            compare(x, q, k, v, o.values, lse.values);
    }
    EXPECT_MSG(st == SB_OK && err.status == SB_OK, "%s", err.msg);
    sb_cudnn_plan_destroy(plan);
    sb_free(rounded);
    for (tensor *t : {&q, &k, &v, &o, &lse})
        free_tensor(t);
}

} // namespace

int main(void)
{
    sb_err why = {};
    int64_t version;
    if (!sb_cuda_available(&why) || sb_cudnn_open(&version, &why) != SB_OK) {
        printf("skipped: %s\n", why.msg);
        return EXIT_SKIPPED;
    }
    printf("cuDNN %lld\n", (long long)version);
    for (const shape &x : shapes)
        for (sb_dtype dtype : {SB_BF16, SB_F16}) {
            static char name[128];
            snprintf(name, sizeof name, "cudnn %s d %lld, tokens %lld of %lld",
                     sb_dtype_name(dtype), (long long)x.dim, (long long)x.q_len,
                     (long long)x.kv_len);
            TEST(name);
            check_shape(x, dtype);
        }
    TEST("float32 is refused");
    sb_problem p = {};
    p.n_batch = p.n_heads = p.n_kv_heads = p.q_len = p.kv_len = 1;
    p.dim = p.dim_v = 64, p.scale = 1, p.dtype = SB_F32;
    sb_cudnn_plan *plan;
    EXPECT(sb_cudnn_plan_create(&p, NULL, &plan, NULL) == SB_UNSUPPORTED && !plan);
    return sb_tests_done();
}
