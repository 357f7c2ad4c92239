#include "harness/problem.h"

#include <math.h>
#include <string.h>

enum { MAX_EXTENT = 1 << 27 };

static sb_status check_lengths(const sb_problem *p, sb_err *err)
{
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t t = sb_q_len(p, b), s = sb_kv_len(p, b), full = sb_prompt_len(p, b);
        if (t < 1 || t > p->q_len || s < t || s > p->kv_len || full < s)
            return sb_fail(
                err, SB_USAGE,
                "sequence %lld has %lld queries, %lld keys and a prompt of %lld tokens; "
                "expected 1 <= queries <= keys <= prompt within the padded %lld and %lld",
                (long long)b, (long long)t, (long long)s, (long long)full, (long long)p->q_len,
                (long long)p->kv_len);
    }
    return SB_OK;
}

sb_status sb_problem_check(const sb_problem *p, sb_err *err)
{
    const struct {
        const char *name;
        int64_t n;
    } extents[] = {{"batch", p->n_batch},        {"heads", p->n_heads},
                   {"kv heads", p->n_kv_heads},  {"query length", p->q_len},
                   {"key length", p->kv_len},    {"head dimension", p->dim},
                   {"value dimension", p->dim_v}};
    for (size_t i = 0; i < sizeof extents / sizeof extents[0]; i++)
        if (extents[i].n < 1 || extents[i].n > MAX_EXTENT)
            return sb_fail(err, SB_USAGE, "%s is %lld; expected 1 to %d", extents[i].name,
                           (long long)extents[i].n, MAX_EXTENT);
    if (p->n_heads % p->n_kv_heads != 0)
        return sb_fail(err, SB_USAGE, "%lld query heads over %lld kv heads; expected a multiple",
                       (long long)p->n_heads, (long long)p->n_kv_heads);
    if (p->dtype != SB_F32 && p->dtype != SB_BF16 && p->dtype != SB_F16)
        return sb_fail(err, SB_USAGE, "unknown dtype %d", (int)p->dtype);
    if (!isfinite(p->scale) || p->scale <= 0)
        return sb_fail(err, SB_USAGE, "softmax scale is %g; expected a positive number", p->scale);
    if (p->layer < 0)
        return sb_fail(err, SB_USAGE, "layer is %lld; expected >= 0", (long long)p->layer);
    return check_lengths(p, err);
}

size_t sb_dtype_bytes(sb_dtype dtype)
{
    return dtype == SB_F32 ? 4 : 2;
}

static const char *const dtype_names[] = {"f32", "bf16", "f16"};

const char *sb_dtype_name(sb_dtype dtype)
{
    return dtype_names[dtype];
}

bool sb_dtype_parse(const char *name, sb_dtype *dtype)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(name, dtype_names[i]) == 0) {
            *dtype = (sb_dtype)i;
            return true;
        }
    return false;
}

static float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 0x1fu, mantissa = h & 0x3ffu;
    if (exponent == 0x1f)
        return float_of_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) {
        float magnitude = (float)mantissa * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static uint16_t f32_to_f16(float x)
{
    uint32_t bits = bits_of_float(x), sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* 65520: rounds to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 rounds at the subnormal's last bit */
        float sum = float_of_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_of_float(sum) - 0x3f000000u));
    }
    uint32_t odd = magnitude >> 13 & 1u;
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
}

static uint16_t f32_to_bf16(float x)
{
    uint32_t bits = bits_of_float(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

void sb_to_f32(sb_dtype dtype, const void *src, float *dst, int64_t n)
{
    const uint16_t *half = src;
    switch (dtype) {
    case SB_F32:
        memcpy(dst, src, (size_t)n * sizeof *dst);
        break;
    case SB_BF16:
        for (int64_t i = 0; i < n; i++)
            dst[i] = float_of_bits((uint32_t)half[i] << 16);
        break;
    case SB_F16:
        for (int64_t i = 0; i < n; i++)
            dst[i] = f16_to_f32(half[i]);
        break;
    }
}

void sb_from_f32(sb_dtype dtype, const float *src, void *dst, int64_t n)
{
    uint16_t *half = dst;
    switch (dtype) {
    case SB_F32:
        memcpy(dst, src, (size_t)n * sizeof *src);
        break;
    case SB_BF16:
        for (int64_t i = 0; i < n; i++)
            half[i] = f32_to_bf16(src[i]);
        break;
    case SB_F16:
        for (int64_t i = 0; i < n; i++)
            half[i] = f32_to_f16(src[i]);
        break;
    }
}

int64_t sb_q_len(const sb_problem *p, int64_t b)
{
    return p->q_lens ? p->q_lens[b] : p->q_len;
}

int64_t sb_kv_len(const sb_problem *p, int64_t b)
{
    return p->kv_lens ? p->kv_lens[b] : p->kv_len;
}

int64_t sb_prompt_len(const sb_problem *p, int64_t b)
{
    return p->prompt_lens ? p->prompt_lens[b] : sb_kv_len(p, b);
}

int64_t sb_first_block(const sb_problem *p, int64_t b, int64_t block)
{
    return (sb_kv_len(p, b) - sb_q_len(p, b)) / block;
}

int64_t sb_n_rows(const sb_problem *p, int64_t b, int64_t block)
{
    return sb_ceil_div(sb_kv_len(p, b), block) - sb_first_block(p, b, block);
}

int64_t sb_max_rows(const sb_problem *p, int64_t block)
{
    int64_t most = 0;
    for (int64_t b = 0; b < p->n_batch; b++) {
        int64_t rows = sb_n_rows(p, b, block);
        most = rows > most ? rows : most;
    }
    return most;
}

void sb_row_span(const sb_problem *p, int64_t b, int64_t block, int64_t row, int64_t *t0,
                 int64_t *t1)
{
    int64_t kv_len = sb_kv_len(p, b), start = kv_len - sb_q_len(p, b);
    int64_t from = (sb_first_block(p, b, block) + row) * block, to = from + block;
    *t0 = (from > start ? from : start) - start;
    *t1 = (to < kv_len ? to : kv_len) - start;
}
