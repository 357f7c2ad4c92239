#include "harness/dataset_stream.h"

#include <inttypes.h>
#include <stdio.h>

#include "harness/child.h"
#include "harness/h5chunk.h"
#include "harness/h5util.h"
#include "harness/mem.h"

enum { MIN_TOKENS = 512 /* read at once, at least */ };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void choose_steps(sb_layer_stream *s)
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

sb_status sb_layer_stream_open(const sb_capture *cap, const sb_layer_info *layer, char which,
                               int64_t n, sb_layer_stream *s, sb_err *err)
{
    static const char *const names[] = {"q", "k", "v"};
    char at[32];
    int i = which == 'q' ? 0 : which == 'k' ? 1 : 2;
    (void)snprintf(at, sizeof at, "/layers/%" PRId64, layer->index);
    *s = (sb_layer_stream){.group = -1, .set = -1, .space = -1, .type = -1, .err = err};
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
    return SB_OK;
}

void sb_layer_stream_close(sb_layer_stream *s)
{
    sb_h5_close(s->type);
    sb_h5_close(s->space);
    sb_h5_close(s->set);
    sb_h5_close(s->group);
}

static sb_status read_piece(const sb_layer_stream *s, int64_t h0, int64_t t0, int64_t n_heads,
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

sb_status sb_layer_stream_run(const sb_layer_stream *s, sb_row_sink sink, void *user)
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

/* ---- rehearsal ----------------------------------------------------------------------------- */

/* HDF5 1.10 reads beyond its buffers where a damaged file tells it to, in more ways than are
 * checked for; so the first reading of a layer is a child's. */
struct rehearsal {
    const sb_capture *cap;
    const sb_layer_info *layer;
    int64_t n;
};

static sb_status ignore_rows(void *user, const sb_layer_stream *s, int64_t head, int64_t t0,
                             int64_t n, const void *rows)
{
    (void)user, (void)s, (void)head, (void)t0, (void)n, (void)rows;
    return SB_OK;
}

static sb_status read_in_vain(const void *what, sb_err *err)
{
    const struct rehearsal *r = what;
    sb_status st = SB_OK;
    for (const char *which = "qkv"; *which && st == SB_OK; which++) {
        sb_layer_stream s;
        st = sb_layer_stream_open(r->cap, r->layer, *which, r->n, &s, err);
        if (st == SB_OK)
            st = sb_h5_check_chunks(s.group, s.name, s.set, r->n, err);
        if (st == SB_OK)
            st = sb_layer_stream_run(&s, ignore_rows, NULL);
        sb_layer_stream_close(&s);
    }
    return st;
}

sb_status sb_layer_rehearse(const sb_capture *cap, sb_layer_info *layer, int64_t n, sb_err *err)
{
    static const double slow = 2e7; /* bytes a second */
    double per_token = (double)(layer->n_heads * layer->dim) +
                       (double)layer->n_kv_heads * (double)(layer->dim + layer->dim_v);
    double bytes = (double)n * per_token * (double)sb_dtype_bytes(layer->dtype);
    struct rehearsal r = {cap, layer, n};
    if (n <= layer->rehearsed)
        return SB_OK;
    sb_status st = sb_try_in_child(read_in_vain, &r, cap->path, 4 + bytes / slow, err);
    if (st == SB_OK)
        layer->rehearsed = n;
    return st;
}
