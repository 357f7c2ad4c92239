/* The library on the (fake) device: strided tensors there, and what does not fit. */
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/stembench.h"
#include "harness/tests/check.h"
#include "methods/kernels/cuda/device.h"

enum { H = 4, HKV = 2, N = 150, D = 16, PAD = 8, ROW = D + PAD, MOST = H * N * ROW };

static const char sparse[] = "block=32 k_start=2 sinks=1 window=1";
static const char by_mass[] = "block=32 k_start=2 sinks=1 window=1 score=mass";

static sb_attention_spec make_spec(int32_t backend, bool by_token)
{
    sb_attention_spec s = {.struct_bytes = sizeof s,
                           .n_batch = 1,
                           .n_heads = H,
                           .n_kv_heads = HKV,
                           .q_len = N,
                           .kv_len = N,
                           .dim = D,
                           .dim_v = D,
                           .dtype = SB_ATTENTION_BF16,
                           .backend = backend,
                           .n_threads = 1};
    if (by_token) {
        s.q = s.o = (sb_attention_strides){0, ROW, H * ROW};
        s.k = s.v = (sb_attention_strides){0, ROW, HKV * ROW};
    }
    return s;
}

/* [heads, N, D], or by token [N, heads, ROW]. */
static void fill(uint16_t *x, int64_t heads, bool by_token, uint32_t seed)
{
    for (int64_t h = 0; h < heads; h++)
        for (int64_t t = 0; t < N; t++)
            for (int64_t d = 0; d < D; d++) {
                seed = seed * 1664525 + 1013904223;
                float value = (float)(seed >> 8) * 0x1p-23f - 1;
                int64_t at = by_token ? (t * heads + h) * ROW + d : (h * N + t) * D + d;
                sb_from_f32(SB_BF16, &value, &x[at], 1);
            }
}

/* Three inputs and the output, on the device where `backend` is CUDA. */
typedef struct operands {
    uint16_t host[4][MOST];
    void *device[4];
} operands;

static sb_status to_device(operands *x)
{
    sb_status st = SB_OK;
    for (int i = 0; i < 4; i++) {
        SB_TRY(sb_cuda_malloc(sizeof x->host[i], "a tensor", &x->device[i], NULL));
        SB_TRY(sb_cuda_to_device(x->device[i], x->host[i], sizeof x->host[i], NULL, NULL));
    }
    SB_TRY(sb_cuda_sync(NULL, NULL));
out:
    return st;
}

static void free_device(operands *x)
{
    for (int i = 0; i < 4; i++)
        sb_cuda_free(x->device[i]);
}

static int32_t attend(const sb_attention_spec *spec, operands *x, const char *params,
                      uint64_t *mask_hash)
{
    sb_attention *plan = NULL;
    sb_attention_stats s = {.struct_bytes = sizeof s};
    bool cuda = spec->backend == SB_ATTENTION_CUDA;
    void *at[4];
    for (int i = 0; i < 4; i++)
        at[i] = cuda ? x->device[i] : x->host[i];
    int32_t code = sb_attention_create(spec, "stem", params, &plan, NULL);
    sb_attention_tensors tensors = {at[0], at[1], at[2], at[3], NULL};
    for (int turn = 0; turn < 2 && code == 0; turn++)
        code = sb_attention_run(plan, &tensors, NULL);
    if (code == 0)
        code = sb_attention_read_stats(plan, &s, NULL);
    *mask_hash = s.mask_hash;
    if (code == 0 && cuda)
        EXPECT(sb_cuda_to_host(x->host[3], at[3], sizeof x->host[3], NULL, NULL) == SB_OK &&
               sb_cuda_sync(NULL, NULL) == SB_OK);
    sb_attention_destroy(plan);
    return code;
}

static void make(operands *x, bool by_token)
{
    memset(x, 0xff, sizeof *x);
    memset(x->device, 0, sizeof x->device);
    fill(x->host[0], H, by_token, 1);
    fill(x->host[1], HKV, by_token, 2);
    fill(x->host[2], HKV, by_token, 3);
}

static void test_device(void)
{
    static operands here, there;
    uint64_t hash_here, hash_there;
    sb_attention_spec cpu = make_spec(SB_ATTENTION_CPU, false);
    sb_attention_spec cuda = make_spec(SB_ATTENTION_CUDA, true);
    TEST("strided tensors on the device give what contiguous ones give on the CPU");
    make(&here, false);
    make(&there, true);
    REQUIRE(to_device(&there) == SB_OK);
    EXPECT(attend(&cpu, &here, sparse, &hash_here) == 0);
    EXPECT(attend(&cuda, &there, sparse, &hash_there) == 0);
    EXPECT(hash_here == hash_there && hash_here != 0);
    for (int64_t h = 0; h < H; h++)
        for (int64_t t = 0; t < N; t++) {
            const uint16_t *row = &there.host[3][(t * H + h) * ROW];
            EXPECT(memcmp(&here.host[3][(h * N + t) * D], row, D * sizeof *row) == 0);
            for (int64_t d = D; d < ROW; d++)
                EXPECT(row[d] == 0xffff);
        }
    free_device(&there);
    EXPECT(sb_mem_live() == 0);
}

/* The device has no exact masses. */
static void test_masses(void)
{
    static operands here, there;
    uint64_t hash_here, hash_there, hash_sampled;
    sb_attention *plan = NULL;
    sb_attention_spec cpu = make_spec(SB_ATTENTION_CPU, false);
    sb_attention_spec cuda = make_spec(SB_ATTENTION_CUDA, false);
    TEST("score mass selects on the CPU for either side");
    make(&here, false);
    make(&there, false);
    REQUIRE(to_device(&there) == SB_OK);
    EXPECT(attend(&cpu, &here, sparse, &hash_sampled) == 0);
    EXPECT(attend(&cpu, &here, by_mass, &hash_here) == 0);
    EXPECT(attend(&cuda, &there, by_mass, &hash_there) == 0);
    EXPECT(hash_here == hash_there && hash_here != hash_sampled);
    EXPECT(memcmp(here.host[3], there.host[3], H * N * D * sizeof(uint16_t)) == 0);
    EXPECT(sb_attention_create(&cuda, "stem", by_mass, &plan, NULL) == 0 &&
           strcmp(sb_attention_kernel(plan), "cuda-fake+cpu-select") == 0);
    sb_attention_destroy(plan);
    free_device(&there);
    EXPECT(sb_mem_live() == 0);
}

static void test_no_device(void)
{
    char why[SB_ATTENTION_MESSAGE];
    sb_attention *plan = NULL;
    sb_attention_spec spec = make_spec(SB_ATTENTION_CUDA, false);
    TEST("no device");
    (void)setenv("STEMBENCH_FAKE", "absent", 1);
    EXPECT(sb_attention_create(&spec, "dense", NULL, &plan, why) == SB_ATTENTION_UNAVAILABLE &&
           !plan && strstr(why, "backend cuda"));
    (void)unsetenv("STEMBENCH_FAKE");
}

/* Less memory of the device than is needed, then enough. */
static void test_full_device(void)
{
    static operands x;
    uint64_t hash;
    int n_refused = 0;
    sb_attention_spec spec = make_spec(SB_ATTENTION_CUDA, true);
    TEST("what does not fit on the device is unsupported, and leaks nothing");
    for (int64_t bytes = 4 * (int64_t)sizeof x.host[0] + (1 << 14);; bytes += 4096) {
        char text[40];
        (void)snprintf(text, sizeof text, "memory=%lld", (long long)bytes);
        (void)setenv("STEMBENCH_FAKE", text, 1);
        make(&x, true);
        REQUIRE(to_device(&x) == SB_OK);
        int32_t code = attend(&spec, &x, sparse, &hash);
        free_device(&x);
        EXPECT(sb_mem_live() == 0);
        if (code == 0 || bytes > 1 << 22)
            break;
        REQUIRE(code == SB_ATTENTION_UNSUPPORTED);
        n_refused++;
    }
    (void)unsetenv("STEMBENCH_FAKE");
    EXPECT(n_refused > 5);
}

static void test_no_memory(void)
{
    static operands x;
    uint64_t hash;
    TEST("failing allocations leak nothing");
    for (int32_t backend = SB_ATTENTION_CPU; backend <= SB_ATTENTION_CUDA; backend++) {
        sb_attention_spec spec = make_spec(backend, true);
        make(&x, true);
        REQUIRE(to_device(&x) == SB_OK);
        for (int n = 1;; n++) {
            sb_mem_fail_at(n);
            int32_t code = attend(&spec, &x, sparse, &hash);
            bool has_failed = sb_mem_fail_at(0) == 0;
            EXPECT(sb_mem_live() == 0);
            EXPECT(code == (has_failed ? SB_ATTENTION_NO_MEMORY : 0));
            if (!has_failed)
                break;
        }
        free_device(&x);
    }
}

int main(void)
{
    test_device();
    test_masses();
    test_no_device();
    test_full_device();
    test_no_memory();
    return sb_tests_done();
}
