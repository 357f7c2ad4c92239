#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/capture_format.h"
#include "harness/dataset.h"
#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/results_store.h"

enum { CHUNK_TOKENS = 1024, MASK_LEVEL = 4 };

static sb_status put_meta(const sb_h5_out *out, const sb_capture_meta *meta, sb_err *err)
{
    sb_status st = SB_OK;
    hid_t root = out->file;
    SB_TRY(sb_h5_put_text(out, root, "format", SB_CAPTURE_FORMAT, err));
    SB_TRY(sb_h5_put_int(out, root, "version", SB_CAPTURE_VERSION, err));
    SB_TRY(sb_h5_put_text(out, root, "model", meta->model, err));
    SB_TRY(sb_h5_put_text(out, root, "source", meta->source, err));
    SB_TRY(sb_h5_put_int(out, root, "tokens", meta->tokens, err));
    SB_TRY(sb_h5_put_real(out, root, "softmax_scale", meta->softmax_scale, err));
    SB_TRY(sb_h5_put_text(out, root, "rope", meta->rope, err));
    SB_TRY(sb_h5_put_text(out, root, "block_order", SB_CAPTURE_ORDER, err));
out:
    return st;
}

static sb_status check_info(const sb_layer_info *l, const sb_capture_meta *meta, sb_err *err)
{
    const struct {
        const char *name;
        int64_t n, most;
    } extents[] = {{"index", l->index + 1, SB_MAX_LAYERS},
                   {"heads", l->n_heads, SB_MAX_HEADS},
                   {"kv heads", l->n_kv_heads, SB_MAX_HEADS},
                   {"tokens", l->tokens, SB_MAX_TOKENS},
                   {"dim", l->dim, SB_MAX_DIM},
                   {"value dim", l->dim_v, SB_MAX_DIM}};
    for (size_t i = 0; i < sizeof extents / sizeof extents[0]; i++)
        if (extents[i].n < 1 || extents[i].n > extents[i].most)
            return sb_fail(err, SB_USAGE,
                           "layer %" PRId64 ": %s is out of range; expected up to %" PRId64,
                           l->index, extents[i].name, extents[i].most);
    if (l->n_heads % l->n_kv_heads != 0 || l->tokens != meta->tokens)
        return sb_fail(err, SB_USAGE,
                       "layer %" PRId64 ": heads or tokens do not fit; expected a "
                       "multiple of the kv heads, and %" PRId64 " tokens",
                       l->index, meta->tokens);
    return SB_OK;
}

/* One tensor on its way into the file. */
struct tensor {
    const char *name;
    const float *values; /* [heads, tokens, dim] */
    int64_t heads, tokens, dim;
};

/* Rounds and writes rows [t0, t0 + n) of head h; `rounded` and `wide` hold one chunk. */
static sb_status put_chunk(const sb_h5_out *out, hid_t set, hid_t type, const struct tensor *t,
                           sb_dtype dtype, int64_t h, int64_t t0, void *rounded, float *wide,
                           sb_err *err)
{
    int64_t n = t->tokens - t0 < CHUNK_TOKENS ? t->tokens - t0 : CHUNK_TOKENS;
    const float *values = t->values + (h * t->tokens + t0) * t->dim;
    sb_from_f32(dtype, values, rounded, n * t->dim);
    sb_to_f32(dtype, rounded, wide, n * t->dim);
    for (int64_t i = 0; i < n * t->dim; i++)
        if (!isfinite(wide[i]))
            return sb_fail(err, SB_BAD_DATA,
                           "%s: %s: %g at head %" PRId64 ", token %" PRId64 ", channel %" PRId64
                           "; expected a value that is finite in %s",
                           out->path, t->name, (double)values[i], h, t0 + i / t->dim, i % t->dim,
                           sb_dtype_name(dtype));
    const hsize_t start[3] = {(hsize_t)h, (hsize_t)t0, 0};
    const hsize_t count[3] = {1, (hsize_t)n, (hsize_t)t->dim};
    hid_t space = H5Dget_space(set), memory = H5Screate_simple(3, count, NULL);
    (void)H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
    herr_t wrote = H5Dwrite(set, type, memory, space, H5P_DEFAULT, rounded);
    sb_h5_close(memory);
    sb_h5_close(space);
    return sb_h5_wrote(out, wrote, err);
}

static sb_status put_tensor(const sb_h5_out *out, hid_t group, const struct tensor *t,
                            sb_dtype dtype, unsigned compress, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t step = t->tokens < CHUNK_TOKENS ? t->tokens : CHUNK_TOKENS;
    const hsize_t dims[3] = {(hsize_t)t->heads, (hsize_t)t->tokens, (hsize_t)t->dim};
    const hsize_t chunk[3] = {1, (hsize_t)step, (hsize_t)t->dim};
    hid_t type = sb_h5_float_type(dtype), space = H5Screate_simple(3, dims, NULL);
    hid_t packed = sb_h5_packed(3, chunk, compress);
    hid_t set = H5Dcreate2(group, t->name, type, space, H5P_DEFAULT, packed, H5P_DEFAULT);
    void *rounded = sb_alloc_uninit(step * t->dim, sb_dtype_bytes(dtype));
    float *wide = sb_alloc_uninit(step * t->dim, sizeof *wide);
    if (!rounded || !wide) {
        st = sb_no_memory(err, "a piece of a tensor");
        goto out;
    }
    SB_TRY(sb_h5_wrote(out, set, err));
    for (int64_t h = 0; h < t->heads; h++)
        for (int64_t t0 = 0; t0 < t->tokens; t0 += step)
            SB_TRY(put_chunk(out, set, type, t, dtype, h, t0, rounded, wide, err));
out:
    sb_free(wide);
    sb_free(rounded);
    sb_h5_close(set);
    sb_h5_close(packed);
    sb_h5_close(space);
    sb_h5_close(type);
    return st;
}

static sb_status put_layer(const sb_h5_out *out, hid_t layers, const sb_layer_data *data,
                           unsigned compress, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_layer_info *l = &data->info;
    const struct tensor tensors[] = {{"q", data->q, l->n_heads, l->tokens, l->dim},
                                     {"k", data->k, l->n_kv_heads, l->tokens, l->dim},
                                     {"v", data->v, l->n_kv_heads, l->tokens, l->dim_v}};
    char name[32];
    hid_t group = -1;
    (void)snprintf(name, sizeof name, "%" PRId64, l->index);
    SB_CHECK(H5Lexists(layers, name, H5P_DEFAULT) == 0, err, SB_USAGE,
             "%s: layer %s is given twice", out->path, name);
    group = H5Gcreate2(layers, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    SB_TRY(sb_h5_wrote(out, group, err));
    for (int i = 0; i < 3; i++)
        SB_TRY(put_tensor(out, group, &tensors[i], l->dtype, compress, err));
out:
    sb_h5_close(group);
    return st;
}

sb_status sb_capture_write(const char *path, const sb_capture_meta *meta, int64_t n_layers,
                           sb_layer_source source, void *user, sb_err *err)
{
    sb_status st = SB_OK;
    sb_h5_out out = {0};
    hid_t layers = -1;
    SB_TRY(sb_h5_create(path, SB_H5_COMMON, &out, err));
    SB_TRY(put_meta(&out, meta, err));
    layers = H5Gcreate2(out.file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    SB_TRY(sb_h5_wrote(&out, layers, err));
    for (int64_t i = 0; i < n_layers; i++) {
        sb_layer_data data = {0};
        SB_TRY(source(user, i, &data, err));
        SB_TRY(check_info(&data.info, meta, err));
        SB_TRY(put_layer(&out, layers, &data, meta->compress, err));
    }
    sb_h5_close(layers);
    layers = -1;
    SB_TRY(sb_h5_commit(&out, err));
out:
    sb_h5_close(layers);
    sb_h5_discard(&out);
    return st;
}

/* ---- masks ------------------------------------------------------------------------------- */

static bool is_text_column(const char *name)
{
    for (int i = 0; i < sb_n_columns; i++)
        if (sb_columns[i].kind == SB_KIND_TEXT && strcmp(sb_columns[i].name, name) == 0)
            return true;
    return false;
}

/* Columns keep their type: a mask hash may be all digits. Otherwise what reads as a number is one.
 */
static sb_status put_attribute(const sb_h5_out *out, const char *attribute, sb_err *err)
{
    const char *value = strchr(attribute, '=');
    if (!value)
        return sb_fail(err, SB_INTERNAL, "attribute '%s'; expected name=value", attribute);
    char *name = sb_sprintf("%.*s", (int)(value - attribute), attribute), *end;
    if (!name)
        return sb_no_memory(err, "an attribute's name");
    sb_status st = SB_OK;
    value++;
    errno = 0;
    int64_t whole = strtoll(value, &end, 10);
    if (is_text_column(name) || value[0] == '\0') {
        st = sb_h5_put_text(out, out->file, name, value, err);
    } else if (*end == '\0' && errno == 0) {
        st = sb_h5_put_int(out, out->file, name, whole, err);
    } else {
        double real = strtod(value, &end);
        st = *end == '\0' ? sb_h5_put_real(out, out->file, name, real, err)
                          : sb_h5_put_text(out, out->file, name, value, err);
    }
    sb_free(name);
    return st;
}

sb_status sb_mask_write(const char *path, const int64_t *row_ptr, int64_t n_lists,
                        const int32_t *col, const uint64_t *tokens, const char *const *attributes,
                        int64_t n_attributes, sb_err *err)
{
    sb_status st = SB_OK;
    sb_h5_out out = {0};
    const hsize_t n_rows = (hsize_t)n_lists + 1, n_cols = (hsize_t)row_ptr[n_lists];
    const hsize_t chunk = 1 << 16;
    const hsize_t row_chunk = n_rows < chunk ? n_rows : chunk;
    const hsize_t col_chunk = n_cols < 1 ? 1 : n_cols < chunk ? n_cols : chunk;
    hid_t rows = sb_h5_packed(1, &row_chunk, MASK_LEVEL),
          cols = sb_h5_packed(1, &col_chunk, MASK_LEVEL);
    SB_TRY(sb_h5_create(path, SB_H5_COMMON, &out, err));
    for (int64_t i = 0; i < n_attributes; i++)
        SB_TRY(put_attribute(&out, attributes[i], err));
    SB_TRY(sb_h5_put_dataset(&out, out.file, "row_ptr", H5T_NATIVE_INT64, 1, &n_rows, rows, row_ptr,
                             err));
    SB_TRY(sb_h5_put_dataset(&out, out.file, "col", H5T_NATIVE_INT32, 1, &n_cols, cols, col, err));
    if (tokens)
        SB_TRY(sb_h5_put_dataset(&out, out.file, "tokens", H5T_NATIVE_UINT64, 1, &n_cols, cols,
                                 tokens, err));
    SB_TRY(sb_h5_commit(&out, err));
out:
    sb_h5_discard(&out);
    sb_h5_close(cols);
    sb_h5_close(rows);
    return st;
}
