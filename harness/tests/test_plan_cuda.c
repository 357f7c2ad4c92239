/* Plans on the (fake) device: methods that select there, on the CPU or not at all, and what does
 * not fit. */
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/on_device.h"
#include "harness/tests/check.h"
#include "methods/kernels/cuda/device.h"
#include "methods/stages.h"

enum { H = 4, HKV = 2, N = 150, D = 16, BLOCK = 16 };

static uint16_t q[H * N * D], k[HKV * N * D], v[HKV * N * D];

static sb_problem make_problem(void)
{
    uint32_t state = 1;
    uint16_t *tensors[] = {q, k, v};
    const int64_t sizes[] = {H * N * D, HKV * N * D, HKV * N * D};
    for (int i = 0; i < 3; i++)
        for (int64_t j = 0; j < sizes[i]; j++) {
            state = state * 1664525 + 1013904223;
            float x = (float)(state >> 8) * 0x1p-23f - 1;
            sb_from_f32(SB_BF16, &x, &tensors[i][j], 1);
        }
    return (sb_problem){.n_batch = 1,
                        .n_heads = H,
                        .n_kv_heads = HKV,
                        .q_len = N,
                        .kv_len = N,
                        .dim = D,
                        .dim_v = D,
                        .dtype = SB_BF16,
                        .scale = 0.25};
}

/* ---- a method that knows nothing of devices ----------------------------------------------------
 */

static sb_status host_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                           sb_plan **plan, sb_err *err)
{
    (void)exec, (void)values;
    *plan = sb_alloc(1, sizeof **plan);
    if (!*plan)
        return sb_no_memory(err, "a plan");
    (*plan)->block = BLOCK;
    (*plan)->pattern_capacity = sb_causal_blocks(p, BLOCK);
    return SB_OK;
}

/* The diagonal block, and the first one where the row's first query begins with a positive number:
 * it must read the inputs. */
static sb_status host_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)err;
    int64_t n = 0;
    for (int64_t h = 0; h < H; h++)
        for (int64_t r = 0; r < pat->n_rows; r++) {
            uint16_t first = ((const uint16_t *)in->q)[(h * plan->problem.q_len + r * BLOCK) * D];
            if (r > 0 && first >> 15 == 0)
                pat->col[n++] = 0;
            pat->col[n++] = (int32_t)r;
            pat->row_ptr[sb_pattern_row(pat, 0, h, r) + 1] = n;
        }
    return SB_OK;
}

static void host_destroy(sb_plan *plan)
{
    sb_free(plan);
}

static const sb_method host_method = {.name = "host",
                                      .doc = "",
                                      .source = "",
                                      .plan = host_plan,
                                      .select = host_select,
                                      .destroy = host_destroy};

static sb_status host_attend(sb_plan *plan, const sb_inputs *in, const sb_pattern *pat,
                             const sb_outputs *out, sb_err *err)
{
    (void)plan, (void)in, (void)pat, (void)out, (void)err;
    return SB_OK;
}

/* ---- the same on either side
 * --------------------------------------------------------------------- */

typedef struct result {
    char kernel[48];
    sb_pattern pat;
    uint16_t o[H * N * D];
    float lse[H * N];
} result;

static sb_status run(const sb_method *m, const sb_value *values, sb_backend backend, result *r,
                     sb_err *err)
{
    sb_status st = SB_OK;
    sb_problem p = make_problem();
    sb_exec exec = {.backend = backend, .n_threads = 1};
    sb_inputs in = {q, k, v};
    sb_outputs out = {r->o, r->lse};
    sb_on_device d = {0};
    sb_plan *plan = NULL;
    memset(r, 0, sizeof *r);
    if (backend == SB_CUDA)
        SB_TRY(sb_on_device_open(&p, &in, false, NULL, &d, err));
    const sb_inputs *at = backend == SB_CUDA ? &d.sets[0] : &in;
    SB_TRY(sb_plan_create(m, &p, &exec, values, &plan, err));
    memcpy(r->kernel, plan->kernel_name, sizeof r->kernel);
    if (m->select)
        SB_TRY(sb_pattern_alloc(&p, plan->block, plan->pattern_capacity, &r->pat, err));
    SB_TRY(sb_plan_select(plan, at, &r->pat, err));
    SB_TRY(sb_plan_read_pattern(plan, &r->pat, err));
    if (backend == SB_CUDA)
        SB_TRY(sb_on_device_poison(&d, err));
    SB_TRY(sb_plan_attend(plan, at, &r->pat, backend == SB_CUDA ? &d.out : &out, err));
    if (backend == SB_CUDA)
        SB_TRY(sb_on_device_fetch(&d, &out, err));
out:
    sb_plan_destroy(plan);
    sb_on_device_close(&d);
    return st;
}

static void same_on_both(const sb_method *m, const sb_value *values, const char *kernel)
{
    static result cpu, cuda;
    sb_err err = {0};
    EXPECT_MSG(run(m, values, SB_CPU, &cpu, &err) == SB_OK, "%s", err.msg);
    EXPECT_MSG(run(m, values, SB_CUDA, &cuda, &err) == SB_OK, "%s", err.msg);
    EXPECT_MSG(strcmp(cuda.kernel, kernel) == 0, "%s", cuda.kernel);
    EXPECT(memcmp(cpu.o, cuda.o, sizeof cpu.o) == 0);
    EXPECT(memcmp(cpu.lse, cuda.lse, sizeof cpu.lse) == 0);
    if (m->select)
        EXPECT(sb_pattern_hash(&cpu.pat) == sb_pattern_hash(&cuda.pat));
    sb_pattern_free(&cpu.pat);
    sb_pattern_free(&cuda.pat);
    EXPECT(sb_mem_live() == 0);
}

static void stem_with(const char *name, double x)
{
    const sb_method *m = &sb_method_stem;
    sb_value values[SB_MAX_PARAMS] = {0};
    values[sb_param_index(m, "block")] = (sb_value){.state = SB_VALUE_SET, .num = BLOCK};
    values[sb_param_index(m, "k_start")] = (sb_value){.state = SB_VALUE_SET, .num = 3};
    values[sb_param_index(m, name)] = (sb_value){.state = SB_VALUE_SET, .num = x};
    sb_err err = {0};
    REQUIRE(sb_values_resolve(m, values, &err) == SB_OK);
    same_on_both(m, values, "cuda-fake");
}

static void own_attention_stays_where_it_runs(void)
{
    sb_method m = host_method;
    static result r;
    sb_err err = {0};
    m.attend = host_attend;
    EXPECT(run(&m, NULL, SB_CUDA, &r, &err) == SB_UNSUPPORTED && strstr(err.msg, "the CPU alone"));
    m.attends_on_device = true;
    err = (sb_err){0};
    EXPECT(run(&m, NULL, SB_CPU, &r, &err) == SB_UNSUPPORTED && strstr(err.msg, "CUDA alone"));
    EXPECT(sb_mem_live() == 0);
}

static sb_status tokens_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                             sb_plan **plan, sb_err *err)
{
    sb_status st = host_plan(p, exec, values, plan, err);
    if (st == SB_OK)
        (*plan)->tokens = true;
    return st;
}

static void tokens_stay_on_the_cpu(void)
{
    sb_method m = host_method;
    static result r;
    sb_err err = {0};
    m.plan = tokens_plan;
    EXPECT(run(&m, NULL, SB_CUDA, &r, &err) == SB_UNSUPPORTED && strstr(err.msg, "form: blocks"));
    EXPECT(sb_mem_live() == 0);
}

/* With ever more memory, planning fails cleanly until it succeeds. */
static void too_little_memory_leaks_nothing(void)
{
    static result r;
    int n_refused = 0;
    for (int bytes = 4096;; bytes += 4096) {
        char text[40];
        sb_err err = {0};
        (void)snprintf(text, sizeof text, "memory=%d", bytes);
        (void)setenv("STEMBENCH_FAKE", text, 1);
        sb_status st = run(&host_method, NULL, SB_CUDA, &r, &err);
        sb_pattern_free(&r.pat);
        EXPECT(sb_mem_live() == 0);
        if (st == SB_OK || bytes > 1 << 22)
            break;
        EXPECT_MSG(st == SB_UNSUPPORTED && strstr(err.msg, "do not fit"), "%s", err.msg);
        n_refused++;
    }
    sb_cuda_device device;
    (void)unsetenv("STEMBENCH_FAKE");
    EXPECT(n_refused > 5);
    EXPECT(sb_cuda_describe(&device, NULL) == SB_OK && device.free_bytes == device.memory_bytes);
}

/* The n-th allocation on the host fails, until none does. */
static void failing_allocations_leak_nothing(void)
{
    static result r;
    for (int n = 1;; n++) {
        sb_err err = {0};
        sb_mem_fail_at(n);
        sb_status st = run(&host_method, NULL, SB_CUDA, &r, &err);
        sb_mem_fail_at(0);
        sb_pattern_free(&r.pat);
        EXPECT(sb_mem_live() == 0);
        if (st == SB_OK)
            break;
        EXPECT_MSG(st == SB_NO_MEMORY, "%d: %s", n, err.msg);
    }
}

int main(void)
{
    TEST("dense");
    same_on_both(&sb_method_dense, NULL, "cuda-fake");
    TEST("selected on the device");
    stem_with("mu", 0.5);
    TEST("selected with the released bonus");
    stem_with("variant", 1);
    TEST("every block kept");
    stem_with("dense_layers", 1);
    TEST("selected on the CPU");
    same_on_both(&host_method, NULL, "cuda-fake+cpu-select");
    TEST("a method's own attention stays where it runs");
    own_attention_stays_where_it_runs();
    TEST("a pattern of tokens stays on the CPU");
    tokens_stay_on_the_cpu();
    TEST("too little memory leaks nothing");
    too_little_memory_leaks_nothing();
    TEST("failing allocations leak nothing");
    failing_allocations_leak_nothing();
    return sb_tests_done();
}
