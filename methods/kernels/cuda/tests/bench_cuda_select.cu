/*
 * Times selection and its stages against cuDNN's dense attention of the same shape.
 *
 * In the timing window: events around the launches, which start back to back behind a delay kernel;
 * the L2 cache is flushed before each sample. Inputs are normal, plus a part in common.
 */

/* The plan is opened up, to time its stages apart. */
#include "methods/kernels/cuda/select_plan.cu"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include <cuda_bf16.h>

#include "methods/kernels/cuda/cudnn.h"
#include "methods/stages.h"

namespace
{

__device__ uint32_t mix(uint64_t x)
{
    x = (x ^ (x >> 31)) * 0x7fb5d329728ea185u;
    x = (x ^ (x >> 27)) * 0x81dadef4bc2dd44du;
    return (uint32_t)(x >> 32);
}

__global__ void fill_normal(__nv_bfloat16 *x, int64_t n, int dim, uint64_t seed, float shared_part)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += step) {
        float u = ((float)mix(seed * 77 + 2 * (uint64_t)i) + 1) * 0x1p-32f;
        float v = (float)mix(seed * 77 + 2 * (uint64_t)i + 1) * 0x1p-32f;
        float common = (float)mix(9999 + i % dim) * 0x1p-31f - 1;
        x[i] = __float2bfloat16(sqrtf(-2 * logf(u)) * cospif(2 * v) + shared_part * common);
    }
}

struct timer {
    sb_stream stream;
    sb_event from, to;
    sb_cuda_flush flush;
};

/* `before` runs ahead, outside the window. */
double sample_ms(const timer &t, const std::function<void()> &before,
                 const std::function<void()> &work)
{
    double ms;
    sb_err err = {};
    before();
    sb_cuda_flush_l2(&t.flush, t.stream, NULL);
    sb_cuda_delay(200, t.stream, NULL);
    sb_cuda_event_record(t.from, t.stream, NULL);
    work();
    sb_cuda_event_record(t.to, t.stream, NULL);
    if (sb_cuda_event_ms(t.from, t.to, &ms, &err) != SB_OK) {
        printf("%s\n", err.msg);
        exit(1);
    }
    return ms;
}

double median(std::vector<double> samples)
{
    std::sort(samples.begin(), samples.end());
    return samples[samples.size() / 2];
}

double median_ms(const timer &t, const std::function<void()> &before,
                 const std::function<void()> &work)
{
    std::vector<double> samples;
    for (int i = 0; i < 11; i++)
        samples.push_back(sample_ms(t, before, work));
    return median(std::vector<double>(samples.begin() + 2, samples.end()));
}

void *device_tensor(int64_t n, int dim, uint64_t seed, float shared_part)
{
    void *x;
    sb_err err = {};
    if (sb_cuda_malloc(2 * n, "bench", &x, &err) != SB_OK) {
        printf("%s\n", err.msg);
        exit(1);
    }
    fill_normal<<<4096, 256>>>((__nv_bfloat16 *)x, n, dim, seed, shared_part);
    return x;
}

void bench(const timer &t, int64_t tokens, int64_t dim, bool hpc, float shared_part, bool dense)
{
    sb_err err = {};
    sb_problem p = {};
    p.n_batch = 1, p.n_heads = 32, p.n_kv_heads = 8, p.q_len = p.kv_len = tokens;
    p.dim = p.dim_v = dim, p.dtype = SB_BF16, p.scale = 1 / sqrt((double)dim);
    sb_block_topk_spec spec = {};
    spec.block = 128, spec.stride = hpc ? 16 : 8;
    spec.schedule.shape = SB_SHAPE_LINEAR, spec.schedule.mu = .7, spec.schedule.released = true;
    spec.schedule.hold = -1;
    spec.sinks = spec.window = 4;
    sb_budget budget = {};
    sb_budget_plan(&p, &spec, &budget, NULL);
    sb_cuda_select_spec same = {};
    same.block = spec.block, same.stride = spec.stride, same.unscaled_score = hpc;
    same.bonus = SB_CUDA_BONUS_RELEASED, same.beta = hpc ? .3 : .2;
    same.sinks = same.window = 4, same.budget = budget.k;

    int64_t n_q = 32 * tokens * dim, n_k = 8 * tokens * dim;
    sb_inputs in = {device_tensor(n_q, (int)dim, 1, shared_part),
                    device_tensor(n_k, (int)dim, 2, shared_part),
                    device_tensor(n_k, (int)dim, 3, 0)};
    sb_cuda_select_plan *plan;
    if (sb_cuda_select_plan_create(&p, &same, t.stream, &plan, &err) != SB_OK) {
        printf("%s\n", err.msg);
        exit(1);
    }
    const stages &s = plan->s;
    cudaDeviceSynchronize();
    auto nothing = [] {};
    auto select = [&] { sb_cuda_select(plan, &in, NULL); };
    auto restart = [&] {
        select();
        sb_cuda_fill(s.segment, 0, plan->n_segments * (int64_t)sizeof *s.segment, t.stream, NULL);
    };
    double all = median_ms(t, nothing, select);
    int64_t n_again;
    sb_cuda_select_rescored(plan, &n_again, NULL);
    auto clear = [&] { sb_cuda_fill(plan->memory, 0, plan->n_zeroed, t.stream, NULL); };
    double sums = median_ms(t, clear, [&] { launch_sums(s, in, t.stream); });
    double scores = median_ms(t, nothing, [&] {
        (plan->sm90 ? launch_scores_sm90 : launch_scores)(s, 0, s.heads_at_once, t.stream);
    });
    double topk = median_ms(t, restart, [&] { launch_topk(s, 0, s.heads_at_once, t.stream); });
    double lists = median_ms(t, select, [&] { launch_lists(s, t.stream); });
    double cudnn = 0;
    if (dense) {
        sb_outputs out = {};
        sb_cudnn_plan *baseline = NULL;
        out.o = device_tensor(n_q, (int)dim, 4, 0);
        sb_cuda_malloc(32 * tokens * 4, "bench", (void **)&out.lse, NULL);
        if (sb_cudnn_plan_create(&p, t.stream, &baseline, &err) != SB_OK) {
            printf("%s\n", err.msg);
            exit(1);
        }
        /* The two in turn, so that their ratio is of one state of the device. */
        std::vector<double> of_select, of_cudnn;
        for (int i = 0; i < 5; i++) {
            of_cudnn.push_back(
                sample_ms(t, nothing, [&] { sb_cudnn_attend(baseline, &in, &out, NULL); }));
            of_select.push_back(sample_ms(t, nothing, select));
        }
        cudnn = median(of_cudnn), all = median(of_select);
        sb_cudnn_plan_destroy(baseline);
        sb_cuda_free(out.o), sb_cuda_free(out.lse);
    }
    double bytes = 2.0 * (double)(n_q + 2 * n_k);
    double kept = (double)s.length * s.n_blocks * s.n_blocks * 32 * 3;
    printf(
        "%6lld d%-3lld S%-2d shared %g: all %.4f = sums %.4f (%.0f GB/s) scores %.4f "
        "(%.0f TF/s) topk %.4f lists %.4f | cudnn %.3f (%.0f TF/s) share %.2f %% | rescored %.2f "
        "a list, %.0f MiB\n",
        (long long)tokens, (long long)dim, s.stride, shared_part, all, sums, bytes / sums / 1e6,
        scores, kept / scores / 1e9, topk, lists, cudnn,
        cudnn > 0 ? 2.0 * (double)tokens * (double)tokens * (double)dim * 32 / cudnn / 1e9 : 0,
        cudnn > 0 ? 100 * all / cudnn : 0, (double)n_again / (double)plan->n_lists,
        (double)plan->n_bytes / 0x1p20);
    fflush(stdout);
    sb_cuda_select_plan_destroy(plan);
    sb_budget_free(&budget);
    sb_cuda_free((void *)in.q), sb_cuda_free((void *)in.k), sb_cuda_free((void *)in.v);
}

} // namespace

/* bench_cuda_select [dense 0|1] */
int main(int argc, char **argv)
{
    bool dense = argc < 2 || atoi(argv[1]) != 0;
    sb_cuda_device device;
    sb_err err = {};
    timer t = {};
    if (sb_cuda_describe(&device, &err) != SB_OK) {
        printf("skipped: %s\n", err.msg);
        return 77;
    }
    printf("%s, cc %d, %d SMs, driver %s, L2 %lld MiB, %d MHz\n", device.name, device.cc,
           device.n_sms, device.driver_version, (long long)(device.l2_bytes >> 20),
           device.max_sm_mhz);
    sb_cuda_stream_create(&t.stream, NULL);
    sb_cuda_event_create(&t.from, NULL), sb_cuda_event_create(&t.to, NULL);
    sb_cuda_flush_create(&t.flush, NULL);
    for (int64_t dim : {128, 64})
        for (int64_t tokens : {8192, 16384, 32768, 65536, 131072}) {
            bench(t, tokens, dim, false, 0, dense);
            if (tokens == 131072) {
                bench(t, tokens, dim, false, 2, false);
                bench(t, tokens, dim, true, 0, false);
            }
        }
    sb_cuda_state state = sb_cuda_read_state();
    printf("state: %d MHz, %.0f of %.0f W, %d C, throttle %llx\n", state.sm_mhz, state.watts,
           state.limit_watts, state.celsius, (unsigned long long)state.throttle);
    return 0;
}
