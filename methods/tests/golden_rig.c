#include "methods/tests/golden_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_TOPICS = 8, HEAD_TOKENS = 2, HEAD_CHANNELS = 4, MAX_HEADS = 16 };

int64_t sb_golden_int(hid_t group, const char *name)
{
    int64_t value = INT64_MIN;
    hid_t attribute = H5Aopen(group, name, H5P_DEFAULT);
    H5Aread(attribute, H5T_NATIVE_INT64, &value);
    H5Aclose(attribute);
    return value;
}

double sb_golden_real(hid_t group, const char *name)
{
    double value = NAN;
    hid_t attribute = H5Aopen(group, name, H5P_DEFAULT);
    H5Aread(attribute, H5T_NATIVE_DOUBLE, &value);
    H5Aclose(attribute);
    return value;
}

void *sb_golden_read(hid_t group, const char *name, hid_t type, size_t bytes, int64_t *n)
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

float sb_golden_widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* How a group's numbers are made; the first file has neither shifts nor a segment of its own. */
typedef struct recipe {
    int64_t seed, segment, noise_shift;
    int32_t q_shift[MAX_HEADS];
} recipe;

static recipe read_recipe(hid_t group)
{
    recipe r = {.seed = sb_golden_int(group, "seed"), .segment = 384};
    if (H5Aexists(group, "segment") > 0) {
        r.segment = sb_golden_int(group, "segment");
        r.noise_shift = sb_golden_int(group, "noise_shift");
        hid_t attribute = H5Aopen(group, "q_shift", H5P_DEFAULT);
        H5Aread(attribute, H5T_NATIVE_INT32, r.q_shift);
        H5Aclose(attribute);
    }
    return r;
}

/* One head [tokens, dim] of q or k; of v where `is_value`. */
static void generate_head(const sb_golden *g, const recipe *r, int64_t stream, int shift,
                          bool is_value, uint16_t *out)
{
    for (int64_t t = 0; t < g->tokens; t++) {
        uint64_t choice = random_bits(r->seed, stream + 1, t / r->segment);
        int64_t topic = (int64_t)(choice % N_TOPICS) * g->dim;
        for (int64_t c = 0; c < g->dim; c++) {
            double noise = uniform(r->seed, stream, t * g->dim + c);
            double topical =
                ldexp(noise, -(int)r->noise_shift) + 0.75 * uniform(r->seed, 7777, topic + c);
            out[t * g->dim + c] =
                to_bf16(is_value ? ldexp(noise, (int)(choice % 4) - 1) : ldexp(topical, shift));
        }
    }
}

static uint16_t *generate(const sb_golden *g, const recipe *r, int64_t first_stream,
                          int64_t n_heads, const int32_t *shift, bool is_value)
{
    int64_t head = g->tokens * g->dim;
    uint16_t *out = sb_oracle_calloc(n_heads * head, sizeof *out);
    for (int64_t h = 0; h < n_heads; h++)
        generate_head(g, r, first_stream + 10 * h, shift ? shift[h] : 0, is_value, out + h * head);
    return out;
}

sb_golden sb_golden_load(hid_t group)
{
    sb_golden g = {.group = group,
                   .tokens = sb_golden_int(group, "tokens"),
                   .dim = sb_golden_int(group, "head_dim"),
                   .heads = sb_golden_int(group, "heads"),
                   .kv_heads = sb_golden_int(group, "kv_heads"),
                   .block = sb_golden_int(group, "block")};
    recipe r = read_recipe(group);
    g.n_lists = g.heads * ((g.tokens + g.block - 1) / g.block);
    g.q = generate(&g, &r, 100, g.heads, r.q_shift, false);
    g.k = generate(&g, &r, 2000, g.kv_heads, NULL, false);
    g.v = H5Aexists(group, "v_sum") > 0 ? generate(&g, &r, 4000, g.kv_heads, NULL, true) : NULL;
    g.rig = (sb_rig){.problem = {.n_batch = 1,
                                 .n_heads = g.heads,
                                 .n_kv_heads = g.kv_heads,
                                 .q_len = g.tokens,
                                 .kv_len = g.tokens,
                                 .dim = g.dim,
                                 .dim_v = g.dim,
                                 .dtype = SB_BF16,
                                 .scale = 1 / sqrt((double)g.dim)},
                     .in = {g.q, g.k, g.v ? g.v : g.k}};
    return g;
}

void sb_golden_free(sb_golden *g)
{
    free(g->v);
    free(g->k);
    free(g->q);
    *g = (sb_golden){0};
}

bool sb_golden_as_stated(const sb_golden *g, char tensor)
{
    const char sum_name[] = {tensor, '_', 's', 'u', 'm', '\0'};
    const char head_name[] = {tensor, '_', 'h', 'e', 'a', 'd', '\0'};
    const uint16_t *x = tensor == 'q' ? g->q : tensor == 'k' ? g->k : g->v;
    int64_t n_heads = tensor == 'q' ? g->heads : g->kv_heads, n;
    double sum = 0;
    for (int64_t i = 0; i < n_heads * g->tokens * g->dim; i++)
        sum += (double)sb_golden_widen(x[i]);
    float *first = sb_golden_read(g->group, head_name, H5T_NATIVE_FLOAT, sizeof *first, &n);
    bool same = n == n_heads * HEAD_TOKENS * HEAD_CHANNELS &&
                fabs(sum - sb_golden_real(g->group, sum_name)) < 1e-5;
    for (int64_t i = 0; same && i < n; i++) {
        int64_t c = i % HEAD_CHANNELS, t = i / HEAD_CHANNELS % HEAD_TOKENS;
        int64_t h = i / HEAD_CHANNELS / HEAD_TOKENS;
        same = sb_golden_widen(x[(h * g->tokens + t) * g->dim + c]) == first[i];
    }
    free(first);
    return same;
}

sb_golden_mask sb_golden_mask_read(hid_t group, const char *row_ptr, const char *col)
{
    int64_t n_ptr, n_col;
    sb_golden_mask mask = {0};
    mask.row_ptr = sb_golden_read(group, row_ptr, H5T_NATIVE_INT64, sizeof *mask.row_ptr, &n_ptr);
    mask.col = sb_golden_read(group, col, H5T_NATIVE_INT32, sizeof *mask.col, &n_col);
    mask.n_lists = n_ptr > 0 && mask.row_ptr[n_ptr - 1] == n_col ? n_ptr - 1 : 0;
    return mask;
}

void sb_golden_mask_free(sb_golden_mask *mask)
{
    free(mask->col);
    free(mask->row_ptr);
    *mask = (sb_golden_mask){0};
}

int64_t sb_golden_differing(const sb_golden_mask *mask, const sb_pattern *pat)
{
    int64_t differing = 0;
    if (mask->n_lists != pat->n_batch * pat->n_heads * pat->n_rows)
        return -1;
    for (int64_t i = 0; i < mask->n_lists; i++) {
        int64_t a = mask->row_ptr[i], b = pat->row_ptr[i];
        while (a < mask->row_ptr[i + 1] || b < pat->row_ptr[i + 1]) {
            int64_t A = a < mask->row_ptr[i + 1] ? mask->col[a] : INT64_MAX;
            int64_t B = b < pat->row_ptr[i + 1] ? pat->col[b] : INT64_MAX;
            differing += A != B;
            a += A <= B;
            b += B <= A;
        }
    }
    return differing;
}
