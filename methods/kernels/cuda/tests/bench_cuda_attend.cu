/* Times attention over random patterns: cuDNN dense, own dense, then one density after the other,
 * interleaved and back again, each sample one launch between two events with a cold L2. Prints
 * TFLOP/s of attended pairs and conversion = cuDNN's time / sparse time x density.
 *
 * usage: bench_cuda_attend DIM BLOCK ROUNDS TOKENS[,TOKENS...] DENSITY[,DENSITY...] [HEADS
 * KV_HEADS]
 */

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <cuda_runtime.h>

#include "harness/pattern.h"
#include "methods/kernels/cuda/attend.h"
#include "methods/kernels/cuda/cudnn.h"

namespace
{

void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(cudaGetLastError()));
    exit(5);
}

__device__ float uniform_at(uint64_t i)
{
    i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9u;
    i = (i ^ i >> 27) * 0x94d049bb133111ebu;
    return ((float)(uint32_t)(i >> 40) + 0.5f) * 0x1p-24f;
}

__global__ void fill_normal(uint16_t *x, int64_t n, uint64_t seed)
{
    for (int64_t i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) {
        uint64_t at = (uint64_t)i * 2 + seed * 0x9e3779b97f4a7c15u;
        float y = sqrtf(-2 * logf(uniform_at(at))) * cospif(2 * uniform_at(at + 1));
        x[i] = (uint16_t)(__float_as_uint(y) >> 16);
    }
}

void *random_tensor(int64_t n, uint64_t seed)
{
    void *x = nullptr;
    check(cudaMalloc(&x, (size_t)n * 2) == cudaSuccess, "memory");
    fill_normal<<<1024, 256>>>((uint16_t *)x, n, seed);
    return x;
}

/* Blocks that row `row` of n keeps. Density 0 stands for the released Stem schedule at mu 0.7: the
 * first k rows dense, then from k down to 0.7 k (Tencent/AngelSlim, Tencent/hpc-ops). */
int64_t budget(double density, int64_t row, int64_t n)
{
    if (density > 0)
        return std::max<int64_t>(2, llround(density * (double)(row + 1)));
    const int64_t k = n < 56 ? n : n < 160 ? (int64_t)(0.2 * (double)n + 30) : n / 10 + 30;
    if (row < k)
        return row + 1;
    return (int64_t)((double)k *
                     (1 - 0.3 * (double)(row - k) / (double)std::max<int64_t>(1, n - k - 1)));
}

/* Per head and row: the first and last blocks (4 each under the Stem schedule, else 1), and others
 * drawn at random. */
void fill_random(sb_pattern *pat, double density, uint64_t seed)
{
    const int64_t edge = density > 0 ? 1 : 4;
    int64_t at = 0;
    for (int64_t list = 0; list < pat->n_heads * pat->n_rows; list++) {
        const int64_t row = list % pat->n_rows;
        int64_t left = budget(density, row, pat->n_rows) - std::min(2 * edge, row + 1);
        pat->row_ptr[list] = at;
        for (int64_t c = 0; c <= row; c++) {
            const bool forced = c < edge || c > row - edge;
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            if (!forced &&
                (double)(seed >> 11) * 0x1p-53 * (double)(row - edge + 1 - c) >= (double)left)
                continue;
            pat->col[at++] = (int32_t)c;
            left -= !forced;
        }
    }
    pat->row_ptr[pat->n_heads * pat->n_rows] = at;
}

struct contender {
    double density, pairs;
    bool cudnn;
    sb_cuda_pattern pat; /* row_ptr NULL: dense */
    std::vector<float> ms;
};

double median(std::vector<float> x)
{
    std::sort(x.begin(), x.end());
    return x[x.size() / 2];
}

void bench(int64_t dim, int64_t block, int rounds, int64_t tokens, std::vector<double> densities,
           int64_t heads, int64_t kv_heads)
{
    sb_err err = {};
    sb_problem p = {};
    p.n_batch = 1;
    p.n_heads = heads;
    p.n_kv_heads = kv_heads;
    p.q_len = p.kv_len = tokens;
    p.dim = p.dim_v = dim;
    p.dtype = SB_BF16;
    p.scale = 1 / sqrt((double)dim);
    sb_inputs in = {random_tensor(heads * tokens * dim, 1),
                    random_tensor(kv_heads * tokens * dim, 2),
                    random_tensor(kv_heads * tokens * dim, 3)};
    sb_outputs out = {random_tensor(heads * tokens * dim, 4), nullptr};
    check(cudaMalloc((void **)&out.lse, (size_t)(heads * tokens) * 4) == cudaSuccess, "memory");
    void *flush = nullptr;
    check(cudaMalloc(&flush, 128 << 20) == cudaSuccess, "memory");

    std::vector<contender> all;
    const double dense_pairs = (double)heads * (double)tokens * (double)(tokens + 1) / 2;
    sb_cudnn_plan *cudnn = nullptr;
    if (sb_cudnn_plan_create(&p, nullptr, &cudnn, &err) == SB_OK)
        all.push_back({1, dense_pairs, true, {}, {}});
    else
        printf("no cuDNN: %s\n", err.msg);
    all.push_back({1, dense_pairs, false, {}, {}});
    for (double density : densities) {
        sb_pattern pat = {};
        check(sb_pattern_alloc(&p, block, sb_causal_blocks(&p, block), &pat, &err) == SB_OK,
              "pattern");
        fill_random(&pat, density, 7);
        sb_pattern_stats stats = sb_pattern_measure(&p, &pat);
        int64_t lists = heads * pat.n_rows;
        contender x = {
            stats.density, stats.pairs, false, {pat.n_rows, block, nullptr, nullptr}, {}};
        check(cudaMalloc((void **)&x.pat.row_ptr, (size_t)(lists + 1) * 8) == cudaSuccess &&
                  cudaMalloc((void **)&x.pat.col, (size_t)pat.row_ptr[lists] * 4) == cudaSuccess,
              "memory");
        cudaMemcpy((void *)x.pat.row_ptr, pat.row_ptr, (size_t)(lists + 1) * 8,
                   cudaMemcpyHostToDevice);
        cudaMemcpy((void *)x.pat.col, pat.col, (size_t)pat.row_ptr[lists] * 4,
                   cudaMemcpyHostToDevice);
        sb_pattern_free(&pat);
        all.push_back(x);
    }
    sb_cuda_attend_plan *plan = nullptr;
    check(sb_cuda_attend_plan_create(&p, block, nullptr, &plan, &err) == SB_OK, err.msg);
    cudaEvent_t from, to;
    cudaEventCreate(&from);
    cudaEventCreate(&to);
    const size_t n = all.size();
    for (int round = -1; round < rounds; round++)
        for (size_t i = 0; i < n; i++) {
            contender &x = all[round % 2 ? n - 1 - i : i];
            cudaMemsetAsync(flush, round, 128 << 20);
            cudaEventRecord(from);
            sb_status st =
                x.cudnn ? sb_cudnn_attend(cudnn, &in, &out, &err)
                        : sb_cuda_attend(plan, &in, x.pat.row_ptr ? &x.pat : nullptr, &out, &err);
            cudaEventRecord(to);
            check(st == SB_OK && cudaEventSynchronize(to) == cudaSuccess, err.msg);
            float ms = 0;
            cudaEventElapsedTime(&ms, from, to);
            if (round >= 0)
                x.ms.push_back(ms);
        }
    const double dense_ms = median(all[0].ms);
    for (contender &x : all) {
        const double ms = median(x.ms), flops = 4 * (double)dim * x.pairs;
        printf("d %lld block %lld N %6lld %-9s density %.3f %9.3f ms (min %9.3f) %6.1f TFLOP/s "
               "conversion %.3f\n",
               (long long)dim, (long long)block, (long long)tokens,
               x.cudnn         ? "cuDNN"
               : x.pat.row_ptr ? "sparse"
                               : "own dense",
               x.density, ms, *std::min_element(x.ms.begin(), x.ms.end()), flops / ms * 1e-9,
               dense_ms / ms * x.density);
        cudaFree((void *)x.pat.row_ptr);
        cudaFree((void *)x.pat.col);
    }
    fflush(stdout);
    sb_cuda_attend_plan_destroy(plan);
    sb_cudnn_plan_destroy(cudnn);
    for (const void *t :
         {in.q, in.k, in.v, (const void *)out.o, (const void *)out.lse, (const void *)flush})
        cudaFree((void *)t);
}

std::vector<double> numbers(const char *text)
{
    std::vector<double> x;
    for (char *end; *text; text = *end ? end + 1 : end)
        x.push_back(strtod(text, &end));
    return x;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: %s DIM BLOCK ROUNDS TOKENS,... DENSITY,... [HEADS KV_HEADS]\n",
                argv[0]);
        return 2;
    }
    const int64_t heads = argc > 7 ? atoll(argv[6]) : 32, kv_heads = argc > 7 ? atoll(argv[7]) : 8;
    for (double tokens : numbers(argv[4]))
        bench(atoll(argv[1]), atoll(argv[2]), atoi(argv[3]), (int64_t)tokens, numbers(argv[5]),
              heads, kv_heads);
    return 0;
}
