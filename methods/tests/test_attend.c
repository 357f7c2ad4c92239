/* Every CPU attention kernel of this machine, or those of the ISA level that is named as the
 * argument, against attention written by the definition. */

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/mem.h"
#include "harness/tests/check.h"
#include "methods/kernels/cpu/attend.h"

enum { GUARD = 64, POISON = 0xff /* 0xff bytes are a NaN in every dtype */ };

typedef struct shape {
    int64_t n_batch, n_heads, n_kv_heads, q_len, kv_len, dim, dim_v, block;
    int64_t q_lens[3], kv_lens[3]; /* ragged when q_lens[0] > 0 */
} shape;

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

/* ---- data ------------------------------------------------------------------------------- */

static uint64_t random_state;

static double uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

static double normal(void)
{
    return sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform());
}

typedef struct setup {
    sb_problem p;
    int64_t block;
    void *tensor[3];  /* q, k, v in dtype */
    float *exact[3];  /* the same values */
    double *o, *lse;  /* oracle */
    sb_pattern pat;   /* random */
    sb_pattern whole; /* every causal block */
} setup;

static int64_t tensor_rows(const sb_problem *p, int i)
{
    return i == 0 ? p->n_batch * p->n_heads * p->q_len : p->n_batch * p->n_kv_heads * p->kv_len;
}

/* Rows past a sequence's length hold NaN: whoever reads them shows it. */
static bool row_is_valid(const sb_problem *p, int i, int64_t row)
{
    if (i == 0)
        return row % p->q_len < sb_q_len(p, row / p->q_len / p->n_heads);
    return row % p->kv_len < sb_kv_len(p, row / p->kv_len / p->n_kv_heads);
}

static void fill_tensor(setup *s, int i, double mean)
{
    const sb_problem *p = &s->p;
    int64_t dim = i == 2 ? p->dim_v : p->dim, n = tensor_rows(p, i) * dim;
    s->tensor[i] = sb_alloc(n, 4);
    s->exact[i] = sb_alloc(n, 4);
    for (int64_t j = 0; j < n; j++)
        s->exact[i][j] = row_is_valid(p, i, j / dim) ? (float)(mean + normal()) : (float)NAN;
    sb_from_f32(p->dtype, s->exact[i], s->tensor[i], n);
    sb_to_f32(p->dtype, s->tensor[i], s->exact[i], n);
}

/* Each block below the diagonal kept with probability `share`. */
static void random_pattern(const sb_problem *p, double share, sb_pattern *pat)
{
    int64_t n = 0;
    for (int64_t b = 0; b < p->n_batch; b++)
        for (int64_t h = 0; h < p->n_heads; h++)
            for (int64_t r = 0; r < pat->n_rows; r++) {
                int64_t last = sb_first_block(p, b, pat->block) + r;
                if (r < sb_n_rows(p, b, pat->block))
                    for (int64_t j = 0; j <= last; j++)
                        if (j == last || uniform() < share)
                            pat->col[n++] = (int32_t)j;
                pat->row_ptr[sb_pattern_row(pat, b, h, r) + 1] = n;
            }
}

static bool make_setup(setup *s, const shape *x, sb_dtype dtype)
{
    sb_problem p = {.n_batch = x->n_batch,
                    .n_heads = x->n_heads,
                    .n_kv_heads = x->n_kv_heads,
                    .q_len = x->q_len,
                    .kv_len = x->kv_len,
                    .dim = x->dim,
                    .dim_v = x->dim_v,
                    .dtype = dtype,
                    .scale = 1 / sqrt((double)x->dim),
                    .q_lens = x->q_lens[0] ? x->q_lens : NULL,
                    .kv_lens = x->q_lens[0] ? x->kv_lens : NULL};
    *s = (setup){.p = p, .block = x->block};
    random_state = (uint64_t)(x->q_len * 1000 + x->dim);
    for (int i = 0; i < 3; i++)
        fill_tensor(s, i, 0);
    s->o = sb_alloc(tensor_rows(&p, 0) * p.dim_v, sizeof *s->o);
    s->lse = sb_alloc(tensor_rows(&p, 0), sizeof *s->lse);
    int64_t all = sb_causal_blocks(&p, x->block);
    if (sb_pattern_alloc(&p, x->block, all, &s->pat, NULL) != SB_OK ||
        sb_pattern_alloc(&p, x->block, all, &s->whole, NULL) != SB_OK)
        return false;
    random_pattern(&p, .4, &s->pat);
    sb_pattern_fill_causal(&p, &s->whole);
    return true;
}

static void free_setup(setup *s)
{
    sb_pattern_free(&s->whole);
    sb_pattern_free(&s->pat);
    sb_free(s->lse);
    sb_free(s->o);
    for (int i = 0; i < 3; i++) {
        sb_free(s->exact[i]);
        sb_free(s->tensor[i]);
    }
}

/* ---- the oracle: the definition, in double ------------------------------------------------ */

static bool kept(const sb_pattern *pat, int64_t list, int64_t key)
{
    for (int64_t i = pat->row_ptr[list]; i < pat->row_ptr[list + 1]; i++)
        if (pat->col[i] == key / pat->block)
            return true;
    return false;
}

static void oracle_row(setup *s, const sb_pattern *pat, int64_t b, int64_t h, int64_t t, double *w)
{
    const sb_problem *p = &s->p;
    int64_t n_q = p->q_lens ? p->q_lens[b] : p->q_len, n_k = p->kv_lens ? p->kv_lens[b] : p->kv_len;
    int64_t position = n_k - n_q + t, kv_head = h * p->n_kv_heads / p->n_heads;
    int64_t at = (b * p->n_heads + h) * p->q_len + t;
    const float *q = s->exact[0] + at * p->dim;
    const float *k = s->exact[1] + (b * p->n_kv_heads + kv_head) * p->kv_len * p->dim;
    const float *v = s->exact[2] + (b * p->n_kv_heads + kv_head) * p->kv_len * p->dim_v;
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j <= position; j++) {
        w[j] = 0;
        for (int64_t c = 0; c < p->dim; c++)
            w[j] += (double)q[c] * (double)k[j * p->dim + c];
        w[j] *= p->scale;
        if (pat) {
            int64_t row = position / pat->block - (n_k - n_q) / pat->block;
            if (!kept(pat, (b * p->n_heads + h) * pat->n_rows + row, j))
                w[j] = -INFINITY;
        }
        max = fmax(max, w[j]);
    }
    for (int64_t j = 0; j <= position; j++)
        sum += w[j] = exp(w[j] - max);
    for (int64_t c = 0; c < p->dim_v; c++)
        s->o[at * p->dim_v + c] = 0;
    for (int64_t j = 0; j <= position; j++)
        for (int64_t c = 0; c < p->dim_v; c++)
            s->o[at * p->dim_v + c] += w[j] / sum * (double)v[j * p->dim_v + c];
    s->lse[at] = max + log(sum);
}

static void oracle(setup *s, const sb_pattern *pat)
{
    double *w = sb_alloc(s->p.kv_len, sizeof *w);
    for (int64_t b = 0; b < s->p.n_batch; b++)
        for (int64_t h = 0; h < s->p.n_heads; h++)
            for (int64_t t = 0; t < (s->p.q_lens ? s->p.q_lens[b] : s->p.q_len); t++)
                oracle_row(s, pat, b, h, t, w);
    sb_free(w);
}

/* ---- running a kernel on guarded buffers --------------------------------------------------- */

typedef struct result {
    int64_t o_bytes, lse_bytes;
    unsigned char *o, *lse; /* GUARD bytes before and after */
} result;

static unsigned char *poisoned(int64_t n_bytes)
{
    unsigned char *block = sb_alloc(n_bytes + 2 * GUARD, 1);
    memset(block, POISON, (size_t)n_bytes + 2 * GUARD);
    return block;
}

static bool untouched(const unsigned char *x, int64_t n_bytes)
{
    for (int64_t i = 0; i < n_bytes; i++)
        if (x[i] != POISON)
            return false;
    return true;
}

static bool guards_hold(const unsigned char *block, int64_t n_bytes)
{
    return untouched(block, GUARD) && untouched(block + GUARD + n_bytes, GUARD);
}

static result run(const sb_attend_kernel *kernel, const setup *s, const sb_pattern *pat,
                  int n_threads)
{
    const sb_problem *p = &s->p;
    int64_t rows = tensor_rows(p, 0);
    result x = {.o_bytes = rows * p->dim_v * (int64_t)sb_dtype_bytes(p->dtype),
                .lse_bytes = rows * (int64_t)sizeof(float)};
    x.o = poisoned(x.o_bytes);
    x.lse = poisoned(x.lse_bytes);
    int64_t scratch_bytes = (int64_t)kernel->scratch_bytes(p, s->block, n_threads);
    unsigned char *scratch = poisoned(scratch_bytes);
    sb_inputs in = {s->tensor[0], s->tensor[1], s->tensor[2]};
    sb_outputs out = {x.o + GUARD, (float *)(void *)(x.lse + GUARD)};
    kernel->attend(p, &in, pat, s->block, &out, scratch + GUARD, n_threads);
    EXPECT(guards_hold(x.o, x.o_bytes));
    EXPECT(guards_hold(x.lse, x.lse_bytes));
    EXPECT(guards_hold(scratch, scratch_bytes));
    sb_free(scratch);
    return x;
}

static void free_result(result *x)
{
    sb_free(x->lse);
    sb_free(x->o);
}

static bool same_bits(const result *a, const result *b)
{
    return memcmp(a->o, b->o, (size_t)a->o_bytes + 2 * GUARD) == 0 &&
           memcmp(a->lse, b->lse, (size_t)a->lse_bytes + 2 * GUARD) == 0;
}

/* Relative L2 error over all rows, worst row, worst LSE; infinite where a value is not finite. */
typedef struct error {
    double all, row, lse;
} error;

static error compare(const setup *s, const result *x)
{
    const sb_problem *p = &s->p;
    int64_t dim = p->dim_v, bytes = (int64_t)sb_dtype_bytes(p->dtype);
    double err2 = 0, ref2 = 0;
    error e = {0};
    float *o = sb_alloc(dim, sizeof *o);
    for (int64_t i = 0; i < tensor_rows(p, 0); i++) {
        const unsigned char *o_row = x->o + GUARD + i * dim * bytes,
                            *lse_at = x->lse + GUARD + 4 * i;
        if (!row_is_valid(p, 0, i)) {
            EXPECT(untouched(o_row, dim * bytes) && untouched(lse_at, 4));
            continue;
        }
        double row_err2 = 0, row_ref2 = 0;
        sb_to_f32(p->dtype, o_row, o, dim);
        for (int64_t c = 0; c < dim; c++) {
            row_err2 += pow((double)o[c] - s->o[i * dim + c], 2);
            row_ref2 += pow(s->o[i * dim + c], 2);
        }
        float lse;
        memcpy(&lse, lse_at, sizeof lse);
        double lse_err = fabs((double)lse - s->lse[i]) / fmax(1, fabs(s->lse[i]));
        if (!isfinite(row_err2) || !isfinite(lse_err))
            row_err2 = lse_err = INFINITY;
        err2 += row_err2;
        ref2 += row_ref2;
        e.row = fmax(e.row, sqrt(row_err2 / row_ref2));
        e.lse = fmax(e.lse, lse_err);
    }
    sb_free(o);
    e.all = sqrt(err2 / ref2);
    return e;
}

/* ---- cases -------------------------------------------------------------------------------- */

static double limit_of(sb_dtype dtype)
{
    return dtype == SB_F32 ? 1e-6 : dtype == SB_BF16 ? 4e-3 : 5e-4;
}

/* In bfloat16 a kernel may take exponentials that are exact to 1.1e-4 only. */
static double lse_limit_of(sb_dtype dtype)
{
    return dtype == SB_BF16 ? 1.1e-4 : 2e-6;
}

static const char *asked_isa; /* NULL: every level */
static int n_checked;

static bool is_asked(const sb_attend_kernel *kernel)
{
    return !asked_isa || strcmp(kernel->isa, asked_isa) == 0;
}

static void check_kernel(const sb_attend_kernel *kernel, const setup *s, const sb_pattern *pat)
{
    n_checked++;
    result one = run(kernel, s, pat, 1), two = run(kernel, s, pat, 2);
    error e = compare(s, &one);
    const sb_problem *p = &s->p;
    /* One row may cancel more than the whole; the floor of one is still rounding. */
    EXPECT_MSG(e.all <= limit_of(p->dtype) && e.row <= 8 * limit_of(p->dtype) &&
                   e.lse <= lse_limit_of(p->dtype),
               "%s %s %s T %d S %d D %d block %d: rel L2 %.2e, row %.2e, LSE %.2e", kernel->name,
               sb_dtype_name(p->dtype), pat ? "blocks" : "dense", (int)p->q_len, (int)p->kv_len,
               (int)p->dim, (int)s->block, e.all, e.row, e.lse);
    EXPECT(same_bits(&one, &two));
    if (!pat) {
        result all = run(kernel, s, &s->whole, 2);
        EXPECT(same_bits(&one, &all));
        free_result(&all);
    }
    free_result(&two);
    free_result(&one);
}

static void check_kernels(const setup *s, const sb_pattern *pat)
{
    int n;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n);
    for (int i = 0; i < n; i++)
        if (is_asked(kernels[i]) && sb_attend_runs(kernels[i], &s->p, s->block))
            check_kernel(kernels[i], s, pat);
}

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
        if (!is_asked(kernels[i]) || !sb_attend_runs(kernels[i], &s.p, s.block))
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
        if (kernels[i]->available())
            EXPECT(sb_cpu_kernel_for(&any, 64) == kernels[i]);
    }
    setenv("STEMBENCH_ISA_MAX", "unheard-of", 1);
    EXPECT(sb_cpu_kernel_for(&any, 64) == kernels[n - 1]);
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
