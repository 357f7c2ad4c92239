/* Every CPU attention kernel of this machine, or those of the ISA level that is named as the
 * argument, against attention written by the definition. */

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "methods/tests/attend_rig.h"

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 1, 1, 16, {0}, {0}},
    {1, 2, 2, 1, 62, 20, 20, 16, {0}, {0}},
    {1, 3, 1, 62, 62, 64, 64, 16, {0}, {0}},
    {1, 2, 1, 62, 62, 20, 33, 48, {0}, {0}},
    {1, 4, 2, 213, 213, 80, 80, 48, {0}, {0}},
    {1, 3, 1, 213, 213, 64, 20, 64, {0}, {0}},
    {1, 2, 2, 213, 213, 128, 128, 128, {0}, {0}},
    {1, 2, 1, 213, 213, 1, 5, 256, {0}, {0}},
    {1, 2, 1, 100, 213, 64, 64, 64, {0}, {0}},
    {1, 2, 2, 62, 213, 20, 20, 16, {0}, {0}},
    {1, 3, 3, 128, 256, 64, 64, 64, {0}, {0}},
    {3, 4, 2, 150, 213, 64, 48, 48, {150, 1, 77}, {213, 62, 100}},
    {2, 6, 2, 213, 213, 20, 20, 64, {213, 5}, {213, 5}},
    {1, 1, 1, 1521, 1521, 64, 64, 64, {0}, {0}},
    {1, 1, 1, 1521, 1521, 128, 128, 256, {0}, {0}},
    {1, 3, 1, 300, 1521, 80, 64, 128, {0}, {0}},
    {1, 2, 1, 62, 62, 20, 33, 32, {0}, {0}},
    {1, 2, 1, 100, 213, 80, 20, 96, {0}, {0}},
    {3, 4, 2, 150, 213, 64, 48, 32, {150, 1, 77}, {213, 62, 100}},
    {2, 4, 1, 213, 300, 128, 96, 128, {213, 200}, {300, 201}},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

/* ---- cases ------------------------------------------------------------------------------- */

static void test_shapes(void)
{
    TEST("every shape, dtype and pattern");
    for (int i = 0; i < N_SHAPES; i++)
        for (int dtype = SB_F32; dtype <= SB_F16; dtype++) {
            setup s;
            REQUIRE(make_setup(&s, &shapes[i], (sb_dtype)dtype));
            oracle(&s, NULL);
            check_kernels(&s, NULL);
            oracle(&s, &s.pat);
            check_kernels(&s, &s.pat);
            free_setup(&s);
        }
}

static void test_long(void)
{
    TEST("8192 keys and peaked scores hold 1e-6, with and without a common offset of V");
    for (int i = 0; i < 4; i++) {
        const int64_t dim = i / 2 ? 128 : 64;
        const shape x = {1, 2, 1, 40, 8192, dim, dim, 64, {0}, {0}};
        setup s;
        REQUIRE(make_setup(&s, &x, SB_F32));
        sb_free(s.tensor[2]);
        sb_free(s.exact[2]);
        fill_tensor(&s, 2, i % 2);
        s.p.scale *= 3;
        oracle(&s, NULL);
        check_kernels(&s, NULL);
        free_setup(&s);
    }
}

/* Integer scores, exact in float32 and from bfloat16, far beyond the range of exp: maxima keep
 * rising along the keys. */
static void test_large(void)
{
    TEST("large scores neither overflow nor lose the maximum");
    const shape x = {1, 2, 1, 213, 213, 64, 64, 64, {0}, {0}};
    for (int sign = -1; sign <= 1; sign++)
        for (int dtype = SB_F32; dtype <= SB_BF16; dtype++) {
            setup s;
            REQUIRE(make_setup(&s, &x, (sb_dtype)dtype));
            for (int i = 0; i < 2; i++) {
                int64_t n = tensor_rows(&s.p, i) * s.p.dim;
                for (int64_t j = 0; j < n; j++) {
                    float value = rintf(16 * s.exact[i][j]);
                    if (sign != 0)
                        value = i == 0 ? fabsf(value) : (float)sign * fabsf(value);
                    s.exact[i][j] = value;
                }
                sb_from_f32(s.p.dtype, s.exact[i], s.tensor[i], n);
            }
            oracle(&s, NULL);
            check_kernels(&s, NULL);
            oracle(&s, &s.pat);
            check_kernels(&s, &s.pat);
            free_setup(&s);
        }
}

/* Two keys, scores 0 and -x in base 2: O = 2^-x / (1 + 2^-x) shows the exponential itself. */
static void test_exponential(void)
{
    TEST("the exponential is right to the last places");
    const shape x = {1, 4096, 1, 1, 2, 1, 1, 16, {0}, {0}};
    setup s;
    REQUIRE(make_setup(&s, &x, SB_F32));
    s.p.scale = log(2.0);
    float *q = s.tensor[0], *k = s.tensor[1], *v = s.tensor[2];
    k[0] = v[0] = 0;
    k[1] = -1;
    v[1] = 1;
    for (int64_t h = 0; h < s.p.n_heads; h++)
        q[h] = (float)(uniform() * uniform() * 100);
    int n;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n);
    for (int i = 0; i < n; i++) {
        if (!is_asked(kernels[i], false) || !sb_attend_runs(kernels[i], &s.p, s.block))
            continue;
        result r = run(kernels[i], &s, NULL, 1);
        double worst = 0;
        for (int64_t h = 0; h < s.p.n_heads; h++) {
            float o;
            memcpy(&o, r.o + GUARD + 4 * h, sizeof o);
            double p = exp2(-(double)q[h]), expected = p / (1 + p);
            worst = fmax(worst, fabs((double)o - expected) / expected);
        }
        EXPECT_MSG(worst <= 4 * 0x1p-23, "%s: %.2f ulp", kernels[i]->name, worst * 0x1p23);
        free_result(&r);
    }
    free_setup(&s);
}

/* A tensor whose last byte is the last one readable. */
static void *before_a_wall(const void *tensor, int64_t n_bytes, char **map, size_t *map_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = (size_t)n_bytes;
    size_t pages = (n + page - 1) / page;
    *map_bytes = (pages + 1) * page;
    *map = mmap(NULL, *map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*map == MAP_FAILED || mprotect(*map + pages * page, page, PROT_NONE) != 0)
        return NULL;
    return memcpy(*map + pages * page - n, tensor, n);
}

static void test_ends(void)
{
    TEST("nothing is read past the end of an input");
    const shape x = {1, 1, 1, 201, 201, 64, 64, 64, {0}, {0}};
    for (int dtype = SB_F32; dtype <= SB_F16; dtype++) {
        setup s;
        REQUIRE(make_setup(&s, &x, (sb_dtype)dtype));
        oracle(&s, NULL);
        void *tensor[3];
        char *map[3];
        size_t map_bytes[3];
        for (int i = 0; i < 3; i++) {
            tensor[i] = s.tensor[i];
            s.tensor[i] = before_a_wall(
                tensor[i], tensor_rows(&s.p, i) * 64 * (int64_t)sb_dtype_bytes((sb_dtype)dtype),
                &map[i], &map_bytes[i]);
            REQUIRE(s.tensor[i] != NULL);
        }
        check_kernels(&s, NULL);
        for (int i = 0; i < 3; i++) {
            s.tensor[i] = tensor[i];
            EXPECT(munmap(map[i], map_bytes[i]) == 0);
        }
        free_setup(&s);
    }
}

/* The first kernel of the table from i on that takes patterns of tokens here. */
static const sb_attend_kernel *best_for_tokens(int i)
{
    int n;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n);
    while (i < n - 1 && !(kernels[i]->tokens && kernels[i]->available()))
        i++;
    EXPECT(kernels[i]->tokens);
    return kernels[i];
}

static void test_dispatch(void)
{
    TEST("the best kernel obeys STEMBENCH_ISA_MAX");
    int n;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n);
    unsetenv("STEMBENCH_ISA_MAX");
    for (int dtype = SB_F32; dtype <= SB_F16; dtype++)
        for (int64_t block = 8; block <= 64; block *= 2) {
            sb_problem p = {.dtype = (sb_dtype)dtype};
            const sb_attend_kernel *best = sb_cpu_kernel_for(&p, block);
            EXPECT(sb_attend_runs(best, &p, block));
            for (int i = 0; i < n && kernels[i] != best; i++)
                EXPECT(!sb_attend_runs(kernels[i], &p, block));
        }
    const sb_problem any = {.dtype = SB_BF16};
    for (int i = 0; i < n; i++) {
        setenv("STEMBENCH_ISA_MAX", kernels[i]->isa, 1);
        if (!kernels[i]->available())
            continue;
        EXPECT(sb_cpu_kernel_for(&any, 64) == kernels[i]);
        EXPECT(sb_cpu_token_kernel_for(&any) == best_for_tokens(i));
    }
    setenv("STEMBENCH_ISA_MAX", "unheard-of", 1);
    EXPECT(sb_cpu_kernel_for(&any, 64) == kernels[n - 1]);
    EXPECT(sb_cpu_token_kernel_for(&any) == kernels[n - 1]);
    unsetenv("STEMBENCH_ISA_MAX");
}

/* The last test: the limit stays. */
static void test_limit(void)
{
    TEST("a limit that is asked for wins over STEMBENCH_ISA_MAX, and must be there");
    int n;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n);
    const sb_problem any = {.dtype = SB_BF16};
    sb_err err = {0};
    EXPECT(sb_isa_limit("sse9", &err) == SB_USAGE && strstr(err.msg, "avx512") != NULL);
    setenv("STEMBENCH_ISA_MAX", kernels[n - 1]->isa, 1);
    for (int i = 0; i < n; i++) {
        err = (sb_err){0};
        if (!kernels[i]->available()) {
            EXPECT(sb_isa_limit(kernels[i]->isa, &err) == SB_UNAVAILABLE);
            continue;
        }
        EXPECT(sb_isa_limit(kernels[i]->isa, &err) == SB_OK);
        EXPECT(sb_cpu_kernel_for(&any, 64) == kernels[i]);
        EXPECT(sb_cpu_token_kernel_for(&any) == best_for_tokens(i));
    }
    unsetenv("STEMBENCH_ISA_MAX");
}

int main(int argc, char **argv)
{
    asked_isa = argc > 1 ? argv[1] : NULL;
    test_shapes();
    test_long();
    test_large();
    test_exponential();
    test_ends();
    test_dispatch();
    test_limit();
    TEST("some kernel was checked");
    EXPECT_MSG(n_checked > 0, "none of level %s runs here", asked_isa ? asked_isa : "any");
    TEST("nothing leaks");
    EXPECT(sb_mem_live() == 0);
    return sb_tests_done();
}
