#include "methods/kernels/cpu/score.h"

#include <math.h>
#include <string.h>

/* Wider instructions where the CPU has them; the lanes, and so the bits, stay the same. (clang 14
 * names the clones so that no other file finds them.) */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__) &&                        \
    !defined(__SANITIZE_ADDRESS__)
#define SB_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SB_CLONES
#endif

typedef float lanes __attribute__((vector_size(SB_LANES * sizeof(float)), aligned(4)));

static inline float tree_sum(const lanes *v)
{
    float x[SB_LANES];
    memcpy(x, v, sizeof x);
    for (int width = SB_LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            x[i] += x[i + width];
    return x[0];
}

SB_CLONES
void sb_score_row(const float *a, const float *b, int64_t n, int64_t length, float gain, float *out)
{
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        const float *b0 = b + j * length, *b1 = b0 + length, *b2 = b1 + length, *b3 = b2 + length;
        lanes s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        for (int64_t i = 0; i < length; i += SB_LANES) {
            lanes x = *(const lanes *)(const void *)(a + i);
            s0 += x * *(const lanes *)(const void *)(b0 + i);
            s1 += x * *(const lanes *)(const void *)(b1 + i);
            s2 += x * *(const lanes *)(const void *)(b2 + i);
            s3 += x * *(const lanes *)(const void *)(b3 + i);
        }
        out[j] = gain * tree_sum(&s0);
        out[j + 1] = gain * tree_sum(&s1);
        out[j + 2] = gain * tree_sum(&s2);
        out[j + 3] = gain * tree_sum(&s3);
    }
    for (; j < n; j++) {
        lanes s = {0};
        for (int64_t i = 0; i < length; i += SB_LANES)
            s += *(const lanes *)(const void *)(a + i) *
                 *(const lanes *)(const void *)(b + j * length + i);
        out[j] = gain * tree_sum(&s);
    }
}

SB_CLONES
static void add_f32(float *sum, const float *x, int64_t dim)
{
#pragma omp simd
    for (int64_t c = 0; c < dim; c++)
        sum[c] += x[c];
}

/* Widening is a shift: worth doing on the way in, since this pass reads all of Q and K. */
SB_CLONES
static void add_bf16(float *sum, const uint16_t *x, int64_t dim)
{
#pragma omp simd
    for (int64_t c = 0; c < dim; c++) {
        union {
            uint32_t bits;
            float value;
        } wide = {(uint32_t)x[c] << 16};
        sum[c] += wide.value;
    }
}

void sb_group_sums(sb_dtype dtype, const void *x, int64_t n, int64_t dim, int64_t first,
                   int64_t n_groups, bool reversed, float *line, float *sum)
{
    int64_t stride = sb_pad_lanes(dim), g = first % n_groups;
    size_t line_bytes = (size_t)dim * sb_dtype_bytes(dtype);
    memset(sum, 0, (size_t)(n_groups * stride) * sizeof *sum);
    for (int64_t t = 0; t < n; t++, g = g + 1 < n_groups ? g + 1 : 0) {
        const void *token = (const char *)x + (size_t)t * line_bytes;
        float *to = sum + (reversed ? n_groups - 1 - g : g) * stride;
        if (dtype == SB_BF16) {
            add_bf16(to, token, dim);
        } else {
            sb_to_f32(dtype, token, line, dim);
            add_f32(to, line, dim);
        }
    }
}

void sb_row_norms(sb_dtype dtype, const void *x, int64_t n, int64_t dim, float *line, float *norm)
{
    int64_t padded = sb_pad_lanes(dim);
    size_t line_bytes = (size_t)dim * sb_dtype_bytes(dtype);
    memset(line, 0, (size_t)padded * sizeof *line);
    for (int64_t t = 0; t < n; t++) {
        float square;
        sb_to_f32(dtype, (const char *)x + (size_t)t * line_bytes, line, dim);
        sb_score_row(line, line, 1, padded, 1.0f, &square);
        norm[t] = sqrtf(square);
    }
}
