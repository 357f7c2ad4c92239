/* Stem, variant angelslim, against the masks of the authors' code: data/README.md. */

#include <hdf5.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/tests/check.h"
#include "methods/kernels/cpu/attend.h"
#include "methods/tests/rig.h"

enum { SEGMENT = 384, N_TOPICS = 8, HEAD_TOKENS = 2, HEAD_CHANNELS = 4 };

typedef struct golden {
    hid_t group;
    int64_t seed, tokens, dim, heads, kv_heads, block, stride, sinks, window;
    double mu, beta;
    uint16_t *q, *k, *v; /* bfloat16 [heads, tokens, dim] */
} golden;

static int64_t int_attribute(hid_t group, const char *name)
{
    int64_t value = -1;
    hid_t attribute = H5Aopen(group, name, H5P_DEFAULT);
    H5Aread(attribute, H5T_NATIVE_INT64, &value);
    H5Aclose(attribute);
    return value;
}

static double real_attribute(hid_t group, const char *name)
{
    double value = NAN;
    hid_t attribute = H5Aopen(group, name, H5P_DEFAULT);
    H5Aread(attribute, H5T_NATIVE_DOUBLE, &value);
    H5Aclose(attribute);
    return value;
}

/* A whole dataset; *n elements, to be freed. */
static void *read_dataset(hid_t group, const char *name, hid_t type, size_t bytes, int64_t *n)
{
    hid_t dataset = H5Dopen(group, name, H5P_DEFAULT);
    hid_t space = H5Dget_space(dataset);
    *n = H5Sget_simple_extent_npoints(space);
    void *data = sb_oracle_calloc(*n, bytes);
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        *n = 0;
    H5Sclose(space);
    H5Dclose(dataset);
    return data;
}

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static uint64_t random_bits(int64_t seed, int64_t stream, int64_t i)
{
    return mix(mix((uint64_t)(seed * 1000003 + stream)) + (uint64_t)i);
}

static double uniform(int64_t seed, int64_t stream, int64_t i)
{
    return (double)(random_bits(seed, stream, i) >> 40) / 8388608.0 - 1;
}

static uint16_t to_bf16(double value)
{
    float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static float from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t *generate(const golden *g, int64_t first_stream, int64_t n_heads, bool is_value)
{
    uint16_t *out = sb_oracle_calloc(n_heads * g->tokens * g->dim, sizeof *out);
    for (int64_t i = 0; i < n_heads * g->tokens * g->dim; i++) {
        int64_t c = i % g->dim, t = i / g->dim % g->tokens;
        int64_t stream = first_stream + 10 * (i / g->dim / g->tokens);
        uint64_t choice = random_bits(g->seed, stream + 1, t / SEGMENT);
        double noise = uniform(g->seed, stream, t * g->dim + c);
        int64_t topic = (int64_t)(choice % N_TOPICS);
        double value = is_value ? ldexp(noise, (int)(choice % 4) - 1)
                                : noise + 0.75 * uniform(g->seed, 7777, topic * g->dim + c);
        out[i] = to_bf16(value);
    }
    return out;
}

static void check_generated(const golden *g, const uint16_t *x, int64_t n_heads, const char *sum,
                            const char *head)
{
    int64_t n;
    double total = 0, wanted = real_attribute(g->group, sum);
    for (int64_t i = 0; i < n_heads * g->tokens * g->dim; i++)
        total += (double)from_bf16(x[i]);
    EXPECT_MSG(fabs(total - wanted) < 1e-5, "%s: %.17g, not %.17g", sum, total, wanted);
    float *first = read_dataset(g->group, head, H5T_NATIVE_FLOAT, sizeof *first, &n);
    EXPECT(n == n_heads * HEAD_TOKENS * HEAD_CHANNELS);
    for (int64_t i = 0; i < n; i++) {
        int64_t c = i % HEAD_CHANNELS, t = i / HEAD_CHANNELS % HEAD_TOKENS;
        int64_t h = i / HEAD_CHANNELS / HEAD_TOKENS;
        EXPECT(from_bf16(x[(h * g->tokens + t) * g->dim + c]) == first[i]);
    }
    free(first);
}

static golden load(hid_t group)
{
    golden g = {.group = group,
                .seed = int_attribute(group, "seed"),
                .tokens = int_attribute(group, "tokens"),
                .dim = int_attribute(group, "head_dim"),
                .heads = int_attribute(group, "heads"),
                .kv_heads = int_attribute(group, "kv_heads"),
                .block = int_attribute(group, "block"),
                .stride = int_attribute(group, "stride"),
                .sinks = int_attribute(group, "sinks"),
                .window = int_attribute(group, "window"),
                .mu = real_attribute(group, "mu"),
                .beta = real_attribute(group, "beta")};
    g.q = generate(&g, 100, g.heads, false);
    g.k = generate(&g, 2000, g.kv_heads, false);
    g.v = generate(&g, 4000, g.kv_heads, true);
    return g;
}

static int64_t count_differing(const int64_t *row_ptr, const int32_t *col, const sb_pattern *pat,
                               int64_t n_lists)
{
    int64_t differing = 0;
    for (int64_t i = 0; i < n_lists; i++) {
        int64_t a = row_ptr[i], b = pat->row_ptr[i];
        while (a < row_ptr[i + 1] || b < pat->row_ptr[i + 1]) {
            int64_t A = a < row_ptr[i + 1] ? col[a] : INT64_MAX;
            int64_t B = b < pat->row_ptr[i + 1] ? pat->col[b] : INT64_MAX;
            differing += A != B;
            a += A <= B;
            b += B <= A;
        }
    }
    return differing;
}

static void check_mask(const golden *g, const int64_t *row_ptr, const int32_t *col, int64_t n_lists)
{
    char text[256];
    snprintf(text, sizeof text,
             "variant=angelslim mu=%.17g beta=%.17g block=%lld stride=%lld sinks=%lld window=%lld",
             g->mu, g->beta, (long long)g->block, (long long)g->stride, (long long)g->sinks,
             (long long)g->window);
    sb_rig rig = {.problem = {.n_batch = 1,
                              .n_heads = g->heads,
                              .n_kv_heads = g->kv_heads,
                              .q_len = g->tokens,
                              .kv_len = g->tokens,
                              .dim = g->dim,
                              .dim_v = g->dim,
                              .dtype = SB_BF16,
                              .scale = 1 / sqrt((double)g->dim)},
                  .in = {g->q, g->k, g->v}};
    sb_pattern pat = {0};
    sb_err err = {0};
    sb_status st = sb_rig_select(sb_method_find("stem"), text, &rig, 2, &pat, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
    if (st == SB_OK && pat.n_heads * pat.n_rows == n_lists) {
        int64_t differing = count_differing(row_ptr, col, &pat, n_lists);
        printf("seed %lld: %lld of %lld blocks differ\n", (long long)g->seed, (long long)differing,
               (long long)row_ptr[n_lists]);
        EXPECT(differing == 0 && pat.row_ptr[n_lists] == row_ptr[n_lists]);
    }
    EXPECT(pat.n_heads * pat.n_rows == n_lists);
    sb_pattern_free(&pat);
}

/* Query token t of head 0 as a chunk of one query, so that the file's float64 row is compared
 * without attending all the others. */
static void check_row(const golden *g, const sb_attend_kernel *kernel, const sb_inputs *in,
                      int64_t t, const int64_t *row_ptr, const int32_t *col, const double *o,
                      double lse)
{
    sb_problem p = {.n_batch = 1,
                    .n_heads = 1,
                    .n_kv_heads = 1,
                    .q_len = 1,
                    .kv_len = t + 1,
                    .dim = g->dim,
                    .dim_v = g->dim,
                    .dtype = SB_F32,
                    .scale = 1 / sqrt((double)g->dim)};
    int64_t I = t / g->block, n = row_ptr[I + 1] - row_ptr[I], rows[2] = {0, n};
    sb_pattern pat = {1, 1, 1, g->block, n, rows, NULL, NULL};
    pat.col = sb_oracle_calloc(n, sizeof *pat.col);
    memcpy(pat.col, col + row_ptr[I], (size_t)n * sizeof *pat.col);
    float *out = sb_oracle_calloc(g->dim, sizeof *out), lse_out = NAN, worst = 0;
    size_t bytes = (kernel->scratch_bytes(&p, g->block, 1) + 63) / 64 * 64;
    void *scratch = aligned_alloc(64, bytes > 0 ? bytes : 64);
    sb_inputs row = {(const float *)in->q + t * g->dim, in->k, in->v};
    kernel->attend(&p, &row, &pat, g->block, &(sb_outputs){out, &lse_out}, scratch, 1);
    for (int64_t c = 0; c < g->dim; c++)
        worst = fmaxf(worst, (float)fabs((double)out[c] - o[c]));
    EXPECT_MSG(worst < 1e-6f, "%s, token %lld: off by %g", kernel->name, (long long)t,
               (double)worst);
    EXPECT_MSG(fabs((double)lse_out - lse) < 1e-6 * fmax(1, fabs(lse)),
               "%s, token %lld: LSE %.9g, not %.9g", kernel->name, (long long)t, (double)lse_out,
               lse);
    free(scratch);
    free(out);
    free(pat.col);
}

static float *widen(const uint16_t *x, int64_t n)
{
    float *wide = sb_oracle_calloc(n, sizeof *wide);
    for (int64_t i = 0; i < n; i++)
        wide[i] = from_bf16(x[i]);
    return wide;
}

static void check_attention(const golden *g, const int64_t *row_ptr, const int32_t *col)
{
    int64_t n_rows, n_o, n_lse, n = g->tokens * g->dim;
    int64_t *t = read_dataset(g->group, "check_rows", H5T_NATIVE_INT64, sizeof *t, &n_rows);
    double *o = read_dataset(g->group, "o_head0", H5T_NATIVE_DOUBLE, sizeof *o, &n_o);
    double *lse = read_dataset(g->group, "lse_head0", H5T_NATIVE_DOUBLE, sizeof *lse, &n_lse);
    float *q = widen(g->q, n), *k = widen(g->k, n), *v = widen(g->v, n);
    sb_inputs in = {q, k, v};
    const sb_problem f32 = {.dtype = SB_F32};
    int n_kernels;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n_kernels);
    EXPECT(n_rows > 0 && n_o == n_rows * g->dim && n_lse == n_rows);
    for (int i = 0; i < n_kernels; i++)
        for (int64_t r = 0; r < n_rows && sb_attend_runs(kernels[i], &f32, g->block); r++)
            check_row(g, kernels[i], &in, t[r], row_ptr, col, o + r * g->dim, lse[r]);
    free(v);
    free(k);
    free(q);
    free(lse);
    free(o);
    free(t);
}

static void check_group(hid_t file, const char *name)
{
    char text[64];
    int64_t n_ptr, n_col;
    hid_t group = H5Gopen(file, name, H5P_DEFAULT);
    golden g = load(group);
    int64_t *row_ptr = read_dataset(group, "row_ptr", H5T_NATIVE_INT64, sizeof *row_ptr, &n_ptr);
    int32_t *col = read_dataset(group, "col", H5T_NATIVE_INT32, sizeof *col, &n_col);
    snprintf(text, sizeof text, "%s: the generator", name);
    TEST(text);
    check_generated(&g, g.q, g.heads, "q_sum", "q_head");
    check_generated(&g, g.k, g.kv_heads, "k_sum", "k_head");
    check_generated(&g, g.v, g.kv_heads, "v_sum", "v_head");
    TEST("masks of the authors' code");
    EXPECT(n_ptr == g.heads * ((g.tokens + g.block - 1) / g.block) + 1);
    EXPECT(row_ptr[n_ptr - 1] == n_col);
    check_mask(&g, row_ptr, col, n_ptr - 1);
    TEST("attention over those masks");
    check_attention(&g, row_ptr, col);
    free(col);
    free(row_ptr);
    free(g.v);
    free(g.k);
    free(g.q);
    H5Gclose(group);
}

int main(void)
{
    static const char *const groups[] = {"seed1", "seed2", "seed3", "seed4"};
    const char *path = SB_SOURCE_DIR "/methods/tests/data/stem-angelslim.h5";
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        return 1;
    for (int i = 0; i < 4; i++)
        check_group(file, groups[i]);
    H5Fclose(file);
    return sb_tests_done();
}
