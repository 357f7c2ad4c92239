#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/dataset_stream.h"
#include "harness/fs.h"
#include "harness/h5util.h"
#include "harness/hash.h"
#include "harness/mem.h"

/* Index of the first infinity or NaN among n elements, or n. Both have all exponent bits set. */
static int64_t first_non_finite(sb_dtype dtype, const void *elements, int64_t n)
{
    int64_t i = 0;
    if (dtype == SB_F32) {
        const uint32_t *bits = elements;
        while (i < n && (bits[i] & 0x7f800000u) != 0x7f800000u)
            i++;
    } else {
        const uint16_t *bits = elements, mask = dtype == SB_BF16 ? 0x7f80u : 0x7c00u;
        while (i < n && (bits[i] & mask) != mask)
            i++;
    }
    return i;
}

static sb_status refuse_value(const sb_layer_stream *s, int64_t head, int64_t t0, int64_t at,
                              const void *rows, const char *wanted)
{
    float value;
    const char *element = (const char *)rows + (size_t)at * sb_dtype_bytes(s->dtype);
    sb_to_f32(s->dtype, element, &value, 1);
    return sb_h5_bad(s->err, s->group, s->name,
                     "%g at head %" PRId64 ", token %" PRId64 ", channel %" PRId64
                     "; expected a value that is finite in %s",
                     (double)value, head, t0 + at / s->dim, at % s->dim, wanted);
}

/* ---- a layer, converted ------------------------------------------------------------------ */

struct conversion {
    sb_dtype dtype;
    char *result;
    float *wide; /* one piece as float32 */
};

static sb_status convert_rows(void *user, const sb_layer_stream *s, int64_t head, int64_t t0,
                              int64_t n, const void *rows)
{
    struct conversion *c = user;
    size_t bytes = sb_dtype_bytes(c->dtype);
    int64_t n_elements = n * s->dim;
    char *result = c->result + (size_t)((head * s->tokens + t0) * s->dim) * bytes;
    if (c->dtype == s->dtype) {
        memcpy(result, rows, (size_t)n_elements * bytes);
    } else {
        sb_to_f32(s->dtype, rows, c->wide, n_elements);
        sb_from_f32(c->dtype, c->wide, result, n_elements);
    }
    int64_t at = first_non_finite(c->dtype, result, n_elements);
    return at == n_elements ? SB_OK : refuse_value(s, head, t0, at, rows, sb_dtype_name(c->dtype));
}

static sb_status read_tensor(const sb_capture *cap, const sb_layer_info *layer, char which,
                             int64_t n, sb_dtype dtype, void **out, sb_err *err)
{
    sb_status st = SB_OK;
    sb_layer_stream s;
    struct conversion c = {.dtype = dtype};
    SB_TRY(sb_layer_stream_open(cap, layer, which, n, &s, err));
    *out = c.result = sb_alloc_uninit(s.heads * n * s.dim, sb_dtype_bytes(dtype));
    c.wide = sb_alloc_uninit(s.step_tokens * s.dim, sizeof *c.wide);
    if (!c.result || !c.wide) {
        st = sb_no_memory(err, "a layer's tensors");
        goto out;
    }
    SB_TRY(sb_layer_stream_run(&s, convert_rows, &c));
out:
    sb_free(c.wide);
    sb_layer_stream_close(&s);
    return st;
}

/* The layer of that index, once n of its tokens can be read. */
static sb_status find_layer(const sb_capture *cap, int64_t index, int64_t n,
                            const sb_layer_info **layer, sb_err *err)
{
    sb_h5_quiet();
    *layer = sb_capture_layer(cap, index);
    if (!*layer)
        return sb_fail(err, SB_USAGE,
                       "%s: no layer %" PRId64 "; expected one of the %" PRId64 " it has",
                       cap->path, index, cap->n_layers);
    return sb_layer_rehearse(cap, &cap->layers[*layer - cap->layers], n, err);
}

sb_status sb_capture_read(const sb_capture *cap, int64_t layer, int64_t n, sb_dtype dtype,
                          sb_tensors *out, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_layer_info *info = NULL;
    *out = (sb_tensors){0};
    SB_CHECK(n >= 1 && n <= cap->tokens, err, SB_USAGE,
             "%s: %" PRId64 " tokens asked for; expected 1 to %" PRId64, cap->path, n, cap->tokens);
    SB_TRY(find_layer(cap, layer, n, &info, err));
    SB_TRY(read_tensor(cap, info, 'q', n, dtype, &out->q, err));
    SB_TRY(read_tensor(cap, info, 'k', n, dtype, &out->k, err));
    SB_TRY(read_tensor(cap, info, 'v', n, dtype, &out->v, err));
out:
    if (st != SB_OK)
        sb_tensors_free(out);
    return st;
}

void sb_tensors_free(sb_tensors *t)
{
    sb_free(t->v);
    sb_free(t->k);
    sb_free(t->q);
    *t = (sb_tensors){0};
}

/* ---- statistics -------------------------------------------------------------------------- */

struct summary {
    float *wide;
    double *norms; /* [heads, tokens] */
    double min, max, sum, sum_squares;
};

static sb_status sum_rows(void *user, const sb_layer_stream *s, int64_t head, int64_t t0, int64_t n,
                          const void *rows)
{
    struct summary *m = user;
    int64_t n_elements = n * s->dim, at = first_non_finite(s->dtype, rows, n_elements);
    if (at < n_elements)
        return refuse_value(s, head, t0, at, rows, sb_dtype_name(s->dtype));
    sb_to_f32(s->dtype, rows, m->wide, n_elements);
    for (int64_t t = 0; t < n; t++) {
        const float *row = m->wide + t * s->dim;
        double squares = 0, sum = 0;
        for (int64_t c = 0; c < s->dim; c++) {
            double x = (double)row[c];
            squares += x * x;
            sum += x;
            m->min = x < m->min ? x : m->min;
            m->max = x > m->max ? x : m->max;
        }
        m->sum += sum;
        m->sum_squares += squares;
        m->norms[head * s->tokens + t0 + t] = sqrt(squares);
    }
    return SB_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

sb_status sb_capture_stats(const sb_capture *cap, int64_t layer, char which, sb_tensor_stats *out,
                           sb_err *err)
{
    sb_status st = SB_OK;
    const sb_layer_info *info = NULL;
    sb_layer_stream s = {.group = -1, .set = -1, .space = -1, .type = -1};
    struct summary m = {.min = INFINITY, .max = -INFINITY};
    SB_TRY(find_layer(cap, layer, cap->tokens, &info, err));
    SB_TRY(sb_layer_stream_open(cap, info, which, cap->tokens, &s, err));
    int64_t n_rows = s.heads * s.tokens;
    m.wide = sb_alloc_uninit(s.step_tokens * s.dim, sizeof *m.wide);
    m.norms = sb_alloc_uninit(n_rows, sizeof *m.norms);
    if (!m.wide || !m.norms) {
        st = sb_no_memory(err, "statistics");
        goto out;
    }
    SB_TRY(sb_layer_stream_run(&s, sum_rows, &m));
    qsort(m.norms, (size_t)n_rows, sizeof *m.norms, ascending);
    double n = (double)n_rows * (double)s.dim, mean = m.sum / n;
    *out = (sb_tensor_stats){.min = m.min,
                             .max = m.max,
                             .mean = mean,
                             .std = sqrt(fmax(m.sum_squares / n - mean * mean, 0)),
                             .norm_p50 = m.norms[(n_rows - 1) / 2],
                             .norm_p99 = m.norms[(n_rows - 1) * 99 / 100]};
out:
    sb_free(m.norms);
    sb_free(m.wide);
    sb_layer_stream_close(&s);
    return st;
}

sb_status sb_capture_digest(sb_capture *cap, sb_err *err)
{
    enum { STEP = 1 << 20 };
    sb_status st = SB_OK;
    uint64_t digest = 0;
    int fd = -1;
    char *buffer = sb_alloc_uninit(STEP, 1);
    if (!buffer) {
        st = sb_no_memory(err, "a file's digest");
        goto out;
    }
    fd = open(cap->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        st = sb_fs_fail(err, cap->path, "open");
        goto out;
    }
    for (size_t n = STEP; n == STEP;) {
        SB_TRY(sb_fs_read_some(fd, cap->path, buffer, STEP, &n, err));
        digest = sb_hash64(buffer, n, digest);
    }
    cap->digest = digest;
out:
    if (fd >= 0)
        (void)close(fd);
    sb_free(buffer);
    return st;
}
