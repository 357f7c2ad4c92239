/* The float64 reference, its samples, prefixes and cache file. */

#include "harness/reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/mem.h"
#include "harness/tests/check.h"

typedef struct shape {
    int64_t n_heads, n_kv_heads, q_len, kv_len, dim, dim_v, block, n_sampled;
    sb_dtype dtype;
} shape;

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 1, 16, 0, SB_F32},           {2, 1, 62, 62, 20, 33, 16, 0, SB_BF16},
    {6, 2, 100, 213, 64, 64, 48, 0, SB_F32},     {3, 3, 213, 213, 80, 8, 64, 40, SB_F16},
    {2, 2, 213, 213, 128, 128, 256, 7, SB_BF16}, {4, 2, 1, 300, 7, 9, 64, 0, SB_F32},
    {2, 1, 100, 213, 20, 33, 64, 0, SB_BF16},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static uint64_t random_state = 1;

static float noise(void)
{
    double sum = 0;
    for (int i = 0; i < 6; i++) {
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(random_state >> 11) * 0x1p-53 - .5;
    }
    return (float)(1.4 * sum);
}

typedef struct setup {
    sb_problem p;
    float *exact[3];
    void *tensor[3];
    sb_inputs in;
    sb_pattern pat, tokens; /* tokens: of pat's blocks, where those are of 64 */
    int64_t *rows, n_rows;
} setup;

static int64_t tensor_size(const sb_problem *p, int i)
{
    return i == 0   ? p->n_heads * p->q_len * p->dim
           : i == 1 ? p->n_kv_heads * p->kv_len * p->dim
                    : p->n_kv_heads * p->kv_len * p->dim_v;
}

/* Half of the tokens in runs, and the queries' own: those after the first query's. */
static void make_tokens(setup *s)
{
    int64_t n_lists = s->p.n_heads * s->pat.n_rows, start = s->p.kv_len - s->p.q_len;
    (void)sb_pattern_alloc(&s->p, 64, s->pat.capacity, &s->tokens, NULL);
    (void)sb_pattern_add_tokens(&s->tokens, NULL);
    memcpy(s->tokens.row_ptr, s->pat.row_ptr, (size_t)(n_lists + 1) * sizeof *s->pat.row_ptr);
    memcpy(s->tokens.col, s->pat.col, (size_t)s->pat.row_ptr[n_lists] * sizeof *s->pat.col);
    for (int64_t list = 0; list < n_lists; list++)
        for (int64_t i = s->pat.row_ptr[list]; i < s->pat.row_ptr[list + 1]; i++) {
            bool diagonal = i == s->pat.row_ptr[list + 1] - 1, inside = true;
            s->tokens.tokens[i] = 0;
            for (int64_t j = 0; j < 64 && s->pat.col[i] * 64 + j < s->p.kv_len; j++) {
                bool own = diagonal && s->pat.col[i] * 64 + j >= start;
                if (inside || own)
                    s->tokens.tokens[i] |= UINT64_C(1) << j;
                inside ^= noise() > 0;
            }
        }
}

static void make_setup(setup *s, const shape *x)
{
    sb_problem p = {.n_batch = 1,
                    .n_heads = x->n_heads,
                    .n_kv_heads = x->n_kv_heads,
                    .q_len = x->q_len,
                    .kv_len = x->kv_len,
                    .dim = x->dim,
                    .dim_v = x->dim_v,
                    .dtype = x->dtype,
                    .scale = 1 / sqrt((double)x->dim)};
    *s = (setup){.p = p};
    for (int i = 0; i < 3; i++) {
        int64_t n = tensor_size(&p, i);
        s->exact[i] = sb_alloc(n, 4);
        s->tensor[i] = sb_alloc(n, 4);
        for (int64_t j = 0; j < n; j++)
            s->exact[i][j] = noise();
        sb_from_f32(p.dtype, s->exact[i], s->tensor[i], n);
        sb_to_f32(p.dtype, s->tensor[i], s->exact[i], n);
    }
    s->in = (sb_inputs){s->tensor[0], s->tensor[1], s->tensor[2]};
    (void)sb_pattern_alloc(&p, x->block, sb_causal_blocks(&p, x->block), &s->pat, NULL);
    int64_t n = 0;
    for (int64_t h = 0; h < p.n_heads; h++)
        for (int64_t r = 0; r < s->pat.n_rows; r++) {
            int64_t last = sb_first_block(&p, 0, x->block) + r;
            for (int64_t j = 0; j <= last; j++)
                if (j == last || noise() > 0)
                    s->pat.col[n++] = (int32_t)j;
            s->pat.row_ptr[h * s->pat.n_rows + r + 1] = n;
        }
    if (x->block == SB_TOKEN_BLOCK)
        make_tokens(s);
    s->rows = sb_alloc(p.q_len, sizeof *s->rows);
    s->n_rows = sb_sample_rows(p.q_len, x->n_sampled, 3, s->rows);
}

static void free_setup(setup *s)
{
    sb_free(s->rows);
    sb_pattern_free(&s->tokens);
    sb_pattern_free(&s->pat);
    for (int i = 0; i < 3; i++) {
        sb_free(s->tensor[i]);
        sb_free(s->exact[i]);
    }
}

static sb_status compute(const setup *s, const sb_pattern *pat, int n_threads, sb_reference *ref)
{
    return sb_reference_compute(&s->p, &s->in, pat, s->rows, s->n_rows, n_threads, NULL, ref, NULL);
}

/* ---- against the definition, in long double ------------------------------------------------ */

static bool attended(const setup *s, const sb_pattern *pat, int64_t h, int64_t position,
                     int64_t key)
{
    if (key > position)
        return false;
    if (!pat)
        return true;
    int64_t start = s->p.kv_len - s->p.q_len;
    int64_t list = h * pat->n_rows + position / pat->block - start / pat->block;
    for (int64_t i = pat->row_ptr[list]; i < pat->row_ptr[list + 1]; i++)
        if (key >= pat->col[i] * pat->block && key < (pat->col[i] + 1) * pat->block)
            return !pat->tokens || pat->tokens[i] >> (key - pat->col[i] * pat->block) & 1;
    return false;
}

/* O of one row to o [Dv]; returns its LSE. Scores here are small: no maximum is needed. */
static long double define_row(const setup *s, const sb_pattern *pat, int64_t h, int64_t t,
                              long double *o)
{
    const sb_problem *p = &s->p;
    int64_t position = p->kv_len - p->q_len + t, kv_head = h / (p->n_heads / p->n_kv_heads);
    long double sum = 0;
    for (int64_t c = 0; c < p->dim_v; c++)
        o[c] = 0;
    for (int64_t j = 0; j < p->kv_len; j++) {
        if (!attended(s, pat, h, position, j))
            continue;
        long double dot = 0;
        for (int64_t c = 0; c < p->dim; c++)
            dot += (long double)s->exact[0][(h * p->q_len + t) * p->dim + c] *
                   (long double)s->exact[1][(kv_head * p->kv_len + j) * p->dim + c];
        long double weight = expl(dot * (long double)p->scale);
        sum += weight;
        for (int64_t c = 0; c < p->dim_v; c++)
            o[c] += weight * (long double)s->exact[2][(kv_head * p->kv_len + j) * p->dim_v + c];
    }
    for (int64_t c = 0; c < p->dim_v; c++)
        o[c] /= sum;
    return logl(sum);
}

static void check_against_definition(const setup *s, const sb_pattern *pat, const sb_reference *ref)
{
    int64_t dim = s->p.dim_v, wrong = 0;
    long double *o = sb_alloc(dim, sizeof *o);
    for (int64_t h = 0; h < s->p.n_heads; h++)
        for (int64_t i = 0; i < s->n_rows; i++) {
            int64_t at = h * s->n_rows + i;
            long double lse = define_row(s, pat, h, s->rows[i], o);
            wrong += !(fabsl((long double)ref->lse[at] - lse) < 1e-13L * (1 + fabsl(lse)));
            for (int64_t c = 0; c < dim; c++) /* half a float32 ulp, and float64 cancellation */
                wrong += !(fabsl((long double)ref->o[at * dim + c] - o[c]) <=
                           0x1.0001p-24L * fabsl(o[c]) + 1e-14L);
        }
    EXPECT_MSG(wrong == 0, "T %d S %d D %d, %s: %d values differ", (int)s->p.q_len,
               (int)s->p.kv_len, (int)s->p.dim,
               !pat          ? "dense"
               : pat->tokens ? "tokens"
                             : "blocks",
               (int)wrong);
    sb_free(o);
}

static bool same(const sb_reference *a, const sb_reference *b)
{
    int64_t n = a->n_heads * a->n_rows;
    return a->n_heads == b->n_heads && a->dim_v == b->dim_v && a->n_rows == b->n_rows &&
           memcmp(a->rows, b->rows, (size_t)a->n_rows * sizeof *a->rows) == 0 &&
           memcmp(a->o, b->o, (size_t)(n * a->dim_v) * sizeof *a->o) == 0 &&
           memcmp(a->lse, b->lse, (size_t)n * sizeof *a->lse) == 0;
}

static void test_definition(void)
{
    TEST("the reference is the definition, for any number of threads");
    for (int i = 0; i < 3 * N_SHAPES; i++) {
        setup s;
        sb_reference one, three;
        make_setup(&s, &shapes[i / 3]);
        const sb_pattern *patterns[] = {NULL, &s.pat, s.tokens.tokens ? &s.tokens : NULL};
        const sb_pattern *pat = patterns[i % 3];
        REQUIRE(compute(&s, pat, 1, &one) == SB_OK);
        REQUIRE(compute(&s, pat, 3, &three) == SB_OK);
        check_against_definition(&s, pat, &one);
        EXPECT(same(&one, &three));
        sb_reference_free(&three);
        sb_reference_free(&one);
        free_setup(&s);
    }
}

static void test_future(void)
{
    TEST("a row reads no later key");
    setup s;
    sb_reference before, after;
    make_setup(&s, &shapes[2]);
    s.n_rows = 50;
    REQUIRE(compute(&s, NULL, 2, &before) == SB_OK);
    int64_t seen = s.p.kv_len - s.p.q_len + s.rows[s.n_rows - 1] + 1;
    for (int64_t h = 0; h < s.p.n_kv_heads; h++)
        for (int i = 1; i < 3; i++) {
            int64_t dim = i == 1 ? s.p.dim : s.p.dim_v;
            for (int64_t j = seen * dim; j < s.p.kv_len * dim; j++)
                ((float *)s.tensor[i])[h * s.p.kv_len * dim + j] = NAN;
        }
    REQUIRE(compute(&s, NULL, 2, &after) == SB_OK);
    EXPECT(same(&before, &after));
    sb_reference_free(&after);
    sb_reference_free(&before);
    free_setup(&s);
}

static void test_refusals(void)
{
    TEST("wrong rows, a batch and an interrupt are refused");
    setup s;
    sb_reference ref;
    sb_err err = {0};
    make_setup(&s, &shapes[2]);
    volatile int stop = 1;
    EXPECT(sb_reference_compute(&s.p, &s.in, NULL, s.rows, s.n_rows, 2, &stop, &ref, &err) ==
           SB_INTERRUPTED);
    int64_t bad[3][2] = {{0, 100}, {5, 5}, {-1, 3}};
    for (int i = 0; i < 3; i++)
        EXPECT(sb_reference_compute(&s.p, &s.in, NULL, bad[i], 2, 1, NULL, &ref, NULL) == SB_USAGE);
    s.p.n_batch = 2;
    EXPECT(compute(&s, NULL, 1, &ref) == SB_USAGE);
    free_setup(&s);
}

static void test_prefix(void)
{
    TEST("a prefix is the reference of the shorter problem");
    setup s;
    sb_reference whole, part, shorter;
    make_setup(&s, &shapes[3]);
    REQUIRE(compute(&s, NULL, 2, &whole) == SB_OK);
    int64_t limit = s.rows[17];
    REQUIRE(sb_reference_prefix(&whole, limit, &part, NULL) == SB_OK);
    s.n_rows = 17;
    REQUIRE(compute(&s, NULL, 2, &shorter) == SB_OK);
    EXPECT(same(&part, &shorter));
    sb_reference_free(&shorter);
    sb_reference_free(&part);
    sb_reference_free(&whole);
    free_setup(&s);
}

static void test_sample(void)
{
    TEST("sampled rows are ascending, spread, seeded, and hold both ends");
    enum { TOTAL = 1000 };
    int64_t a[TOTAL], b[TOTAL];
    for (int64_t total = 1; total <= TOTAL; total = total * 3 + 1)
        for (int64_t n = 0; n <= total + 1; n += n < 9 ? 1 : 97) {
            int64_t got = sb_sample_rows(total, n, 42, a);
            EXPECT(got == (n == 0 || n > total ? total : n));
            EXPECT(a[got - 1] == total - 1 && (got == 1 || a[0] == 0));
            for (int64_t i = 1; i < got; i++) {
                EXPECT(a[i] > a[i - 1]);
                EXPECT((a[i] - a[i - 1]) * got <= 3 * total);
            }
        }
    (void)sb_sample_rows(TOTAL, 50, 42, a);
    (void)sb_sample_rows(TOTAL, 50, 42, b);
    EXPECT(memcmp(a, b, 50 * sizeof *a) == 0);
    (void)sb_sample_rows(TOTAL, 50, 43, b);
    EXPECT(memcmp(a, b, 50 * sizeof *a) != 0);
}

/* ---- the cache file ------------------------------------------------------------------------ */

static bool loads(const char *path, uint64_t key)
{
    sb_reference ref;
    bool found = true;
    EXPECT(sb_reference_load(&ref, path, key, &found, NULL) == SB_OK);
    EXPECT(found == (ref.rows != NULL));
    sb_reference_free(&ref);
    return found;
}

static void rewrite(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    REQUIRE(file != NULL);
    EXPECT(fwrite(bytes, 1, n, file) == n);
    EXPECT(fclose(file) == 0);
}

/* Every truncation and every flipped byte of a small file must be noticed. */
static void damage(const char *path)
{
    static char bytes[4096], worse[4096];
    FILE *file = fopen(path, "rb");
    REQUIRE(file != NULL);
    size_t n = fread(bytes, 1, sizeof bytes, file);
    EXPECT(fclose(file) == 0);
    REQUIRE(n > 60 && n < sizeof bytes);
    for (size_t i = 0; i < n; i++) {
        memcpy(worse, bytes, n);
        worse[i] = (char)(worse[i] ^ 0x10);
        rewrite(path, worse, n);
        EXPECT_MSG(!loads(path, 7), "byte %d flipped", (int)i);
        rewrite(path, bytes, i);
        EXPECT_MSG(!loads(path, 7), "cut to %d bytes", (int)i);
    }
    rewrite(path, bytes, n + 1);
    EXPECT(!loads(path, 7));
    rewrite(path, bytes, n);
    EXPECT(loads(path, 7));
}

static void test_cache(void)
{
    TEST("the cache file gives back what was saved, or nothing");
    char dir[] = "/tmp/stembench-reference-XXXXXX", path[128], below[160];
    setup s;
    sb_reference ref, back;
    bool found = false;
    REQUIRE(mkdtemp(dir) != NULL);
    (void)snprintf(path, sizeof path, "%s/new/cache", dir);
    (void)snprintf(below, sizeof below, "%s/cache", path);
    make_setup(&s, &shapes[0]);
    REQUIRE(compute(&s, NULL, 1, &ref) == SB_OK);
    EXPECT(!loads(path, 7));
    REQUIRE(sb_reference_save(&ref, path, 7, NULL) == SB_OK);
    REQUIRE(sb_reference_load(&back, path, 7, &found, NULL) == SB_OK && found);
    EXPECT(same(&ref, &back));
    sb_reference_free(&back);
    EXPECT(!loads(path, 8));
    damage(path);
    EXPECT(sb_reference_save(&ref, path, 8, NULL) == SB_OK && loads(path, 8));
    EXPECT(sb_reference_save(&ref, below, 8, NULL) == SB_IO);

    int64_t live = sb_mem_live();
    EXPECT(unlink(path) == 0);
    *strrchr(path, '/') = '\0';
    EXPECT(rmdir(path) == 0); /* no temporary file was left */
    EXPECT(rmdir(dir) == 0);
    EXPECT(sb_mem_live() == live);
    sb_reference_free(&ref);
    free_setup(&s);
}

static void test_no_memory(void)
{
    TEST("any allocation may fail");
    setup s;
    sb_reference ref;
    make_setup(&s, &shapes[1]);
    int64_t live = sb_mem_live(), n = 1;
    for (;; n++) {
        sb_mem_fail_at(n);
        sb_status st = compute(&s, &s.pat, 2, &ref);
        sb_mem_fail_at(0);
        if (st == SB_OK)
            break;
        EXPECT(st == SB_NO_MEMORY && sb_mem_live() == live);
    }
    EXPECT(n > 10);
    sb_reference_free(&ref);
    free_setup(&s);
}

int main(void)
{
    test_definition();
    test_future();
    test_refusals();
    test_prefix();
    test_sample();
    test_cache();
    test_no_memory();
    TEST("nothing leaks");
    EXPECT(sb_mem_live() == 0);
    return sb_tests_done();
}
