#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/dataset.h"
#include "harness/fs.h"
#include "harness/h5chunk.h"
#include "harness/h5util.h"
#include "harness/hash.h"
#include "harness/mem.h"

enum { MIN_TOKENS = 512 /* read at once, at least */ };

/* A tensor being read: pieces of n_heads x n_tokens rows that follow its chunks, so that HDF5
 * unpacks each chunk once. */
struct stream {
    hid_t group, set, space, type;
    const char *name;
    sb_dtype dtype;
    int64_t heads, tokens, dim;
    int64_t step_heads, step_tokens;
    sb_err *err;
};

/* Takes n rows of one head from token t0 on, as stored. */
typedef sb_status (*row_sink)(void *user, const struct stream *s, int64_t head, int64_t t0,
                              int64_t n, const void *rows);

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void choose_steps(struct stream *s)
{
    hsize_t chunk[3] = {1, MIN_TOKENS, (hsize_t)s->dim};
    hid_t create = H5Dget_create_plist(s->set);
    if (H5Pget_layout(create) == H5D_CHUNKED)
        (void)H5Pget_chunk(create, 3, chunk);
    sb_h5_close(create);
    int64_t tokens = (int64_t)chunk[1];
    s->step_heads = least((int64_t)chunk[0], s->heads);
    s->step_tokens = least(tokens * sb_ceil_div(MIN_TOKENS, tokens), s->tokens);
}

static sb_status open_stream(const sb_capture *cap, const sb_layer_info *layer, char which,
                             int64_t n, struct stream *s, sb_err *err)
{
    static const char *const names[] = {"q", "k", "v"};
    char at[32];
    int i = which == 'q' ? 0 : which == 'k' ? 1 : 2;
    (void)snprintf(at, sizeof at, "/layers/%" PRId64, layer->index);
    *s = (struct stream){.group = -1, .set = -1, .space = -1, .type = -1, .err = err};
    s->name = names[i];
    s->dtype = layer->dtype;
    s->heads = i == 0 ? layer->n_heads : layer->n_kv_heads;
    s->dim = i == 2 ? layer->dim_v : layer->dim;
    s->tokens = n;
    s->group = H5Gopen2(cap->file, at, H5P_DEFAULT);
    s->set = H5Dopen2(s->group, s->name, H5P_DEFAULT);
    s->space = H5Dget_space(s->set);
    s->type = sb_h5_float_type(s->dtype);
    if (s->space < 0)
        return sb_h5_bad(err, cap->file, at, "cannot open; expected a layer");
    choose_steps(s);
    return sb_h5_check_chunks(s->group, s->name, s->set, n, err);
}

static void close_stream(struct stream *s)
{
    sb_h5_close(s->type);
    sb_h5_close(s->space);
    sb_h5_close(s->set);
    sb_h5_close(s->group);
}

static sb_status read_piece(const struct stream *s, int64_t h0, int64_t t0, int64_t n_heads,
                            int64_t n_tokens, void *piece)
{
    const hsize_t start[3] = {(hsize_t)h0, (hsize_t)t0, 0};
    const hsize_t count[3] = {(hsize_t)n_heads, (hsize_t)n_tokens, (hsize_t)s->dim};
    (void)H5Sselect_hyperslab(s->space, H5S_SELECT_SET, start, NULL, count, NULL);
    hid_t memory = H5Screate_simple(3, count, NULL);
    herr_t got = H5Dread(s->set, s->type, memory, s->space, H5P_DEFAULT, piece);
    sb_h5_close(memory);
    return got >= 0 ? SB_OK
                    : sb_h5_bad(s->err, s->group, s->name,
                                "unreadable from head %" PRId64 ", token %" PRId64
                                "; expected a whole file",
                                h0, t0);
}

static sb_status run_stream(const struct stream *s, row_sink sink, void *user)
{
    sb_status st = SB_OK;
    size_t row = (size_t)s->dim * sb_dtype_bytes(s->dtype);
    char *piece = sb_alloc_uninit(s->step_heads * s->step_tokens, row);
    if (!piece)
        return sb_no_memory(s->err, "a piece of a tensor");
    for (int64_t h0 = 0; h0 < s->heads; h0 += s->step_heads)
        for (int64_t t0 = 0; t0 < s->tokens; t0 += s->step_tokens) {
            int64_t n_heads = least(s->step_heads, s->heads - h0);
            int64_t n_tokens = least(s->step_tokens, s->tokens - t0);
            SB_TRY(read_piece(s, h0, t0, n_heads, n_tokens, piece));
            for (int64_t h = 0; h < n_heads; h++)
                SB_TRY(sink(user, s, h0 + h, t0, n_tokens, piece + (size_t)(h * n_tokens) * row));
        }
out:
    sb_free(piece);
    return st;
}

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

static sb_status refuse_value(const struct stream *s, int64_t head, int64_t t0, int64_t at,
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

static sb_status convert_rows(void *user, const struct stream *s, int64_t head, int64_t t0,
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
    struct stream s;
    struct conversion c = {.dtype = dtype};
    SB_TRY(open_stream(cap, layer, which, n, &s, err));
    *out = c.result = sb_alloc_uninit(s.heads * n * s.dim, sb_dtype_bytes(dtype));
    c.wide = sb_alloc_uninit(s.step_tokens * s.dim, sizeof *c.wide);
    if (!c.result || !c.wide) {
        st = sb_no_memory(err, "a layer's tensors");
        goto out;
    }
    SB_TRY(run_stream(&s, convert_rows, &c));
out:
    sb_free(c.wide);
    close_stream(&s);
    return st;
}

static sb_status find_layer(const sb_capture *cap, int64_t index, const sb_layer_info **layer,
                            sb_err *err)
{
    sb_h5_quiet();
    *layer = sb_capture_layer(cap, index);
    return *layer ? SB_OK
                  : sb_fail(err, SB_USAGE,
                            "%s: no layer %" PRId64 "; expected one of the %" PRId64 " it has",
                            cap->path, index, cap->n_layers);
}

sb_status sb_capture_read(const sb_capture *cap, int64_t layer, int64_t n, sb_dtype dtype,
                          sb_tensors *out, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_layer_info *info = NULL;
    *out = (sb_tensors){0};
    SB_TRY(find_layer(cap, layer, &info, err));
    SB_CHECK(n >= 1 && n <= cap->tokens, err, SB_USAGE,
             "%s: %" PRId64 " tokens asked for; expected 1 to %" PRId64, cap->path, n, cap->tokens);
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

static sb_status sum_rows(void *user, const struct stream *s, int64_t head, int64_t t0, int64_t n,
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
    struct stream s = {.group = -1, .set = -1, .space = -1, .type = -1};
    struct summary m = {.min = INFINITY, .max = -INFINITY};
    SB_TRY(find_layer(cap, layer, &info, err));
    SB_TRY(open_stream(cap, info, which, cap->tokens, &s, err));
    int64_t n_rows = s.heads * s.tokens;
    m.wide = sb_alloc_uninit(s.step_tokens * s.dim, sizeof *m.wide);
    m.norms = sb_alloc_uninit(n_rows, sizeof *m.norms);
    if (!m.wide || !m.norms) {
        st = sb_no_memory(err, "statistics");
        goto out;
    }
    SB_TRY(run_stream(&s, sum_rows, &m));
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
    close_stream(&s);
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
