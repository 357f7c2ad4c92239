#include "harness/dataset.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/capture_format.h"
#include "harness/child.h"
#include "harness/h5chunk.h"
#include "harness/h5util.h"
#include "harness/mem.h"

/* Checks one tensor and reads its shape and type. */
static sb_status check_tensor(hid_t group, const char *name, int64_t *dims, sb_dtype *dtype,
                              sb_err *err)
{
    static const hsize_t most[] = {SB_MAX_HEADS, SB_MAX_TOKENS, SB_MAX_DIM};
    sb_status st = SB_OK;
    hsize_t extent[H5S_MAX_RANK] = {0};
    hid_t type = -1, space = -1;
    hid_t set = sb_h5_owns(group, name) ? H5Dopen2(group, name, H5P_DEFAULT) : -1;
    if (set < 0)
        return sb_h5_bad(err, group, name, "missing; expected a dataset [heads, tokens, dim]");
    SB_TRY(sb_h5_check_inside(group, name, set, err));
    type = H5Dget_type(set);
    space = H5Dget_space(set);
    int rank = H5Sget_simple_extent_dims(space, extent, NULL);
    if (rank != 3) {
        st = sb_h5_bad(err, group, name, "rank %d; expected 3: [heads, tokens, dim]", rank);
        goto out;
    }
    for (int i = 0; i < 3; i++) {
        if (extent[i] < 1 || extent[i] > most[i]) {
            st = sb_h5_bad(err, group, name, "extent %d is %llu; expected 1 to %llu", i,
                           (unsigned long long)extent[i], (unsigned long long)most[i]);
            goto out;
        }
        dims[i] = (int64_t)extent[i];
    }
    if (!sb_h5_float_dtype(type, dtype)) {
        st = sb_h5_bad(err, group, name, "another element type; expected f32, f16 or bfloat16");
        goto out;
    }
    SB_TRY(sb_h5_check_storage(group, name, set, dims, sb_dtype_bytes(*dtype), err));
out:
    sb_h5_close(space);
    sb_h5_close(type);
    sb_h5_close(set);
    return st;
}

static sb_status check_layer(hid_t group, int64_t tokens, sb_layer_info *info, sb_err *err)
{
    sb_status st = SB_OK;
    static const char *const names[] = {"q", "k", "v"};
    int64_t dims[3][3];
    sb_dtype types[3];
    for (int i = 0; i < 3; i++) {
        SB_TRY(check_tensor(group, names[i], dims[i], &types[i], err));
        if (dims[i][1] != tokens)
            st = sb_h5_bad(err, group, names[i],
                           "%" PRId64 " tokens; expected %" PRId64 ", as attribute tokens says",
                           dims[i][1], tokens);
        else if (types[i] != types[0])
            st = sb_h5_bad(err, group, names[i], "element type %s; expected %s, as q has",
                           sb_dtype_name(types[i]), sb_dtype_name(types[0]));
        if (st != SB_OK)
            goto out;
    }
    const int64_t *q = dims[0], *k = dims[1], *v = dims[2];
    if (k[2] != q[2])
        st = sb_h5_bad(err, group, "k", "dim %" PRId64 "; expected %" PRId64 ", as q has", k[2],
                       q[2]);
    else if (v[0] != k[0])
        st = sb_h5_bad(err, group, "v", "%" PRId64 " heads; expected %" PRId64 ", as k has", v[0],
                       k[0]);
    else if (q[0] % k[0] != 0)
        st = sb_h5_bad(err, group, "q", "%" PRId64 " heads; expected a multiple of k's %" PRId64,
                       q[0], k[0]);
    info->n_heads = q[0];
    info->n_kv_heads = k[0];
    info->tokens = tokens;
    info->dim = q[2];
    info->dim_v = v[2];
    info->dtype = types[0];
out:
    return st;
}

/* A layer's group is named by its index, written one way only. */
static bool parse_index(const char *name, int64_t *index)
{
    size_t n = strspn(name, "0123456789");
    if (n < 1 || n > 5 || name[n] != '\0' || (n > 1 && name[0] == '0'))
        return false;
    *index = strtoll(name, NULL, 10);
    return true;
}

struct listing {
    sb_capture *cap;
    int64_t capacity;
    sb_err *err;
    sb_status st;
};

static herr_t list_layer(hid_t layers, const char *name, const H5L_info_t *link, void *user)
{
    struct listing *l = user;
    sb_capture *cap = l->cap;
    sb_layer_info info = {0};
    hid_t group = -1;
    (void)link;
    if (cap->n_layers >= l->capacity || !parse_index(name, &info.index))
        l->st =
            sb_h5_bad(l->err, layers, name, "unknown entry; expected a layer index, 0 to 99999");
    if (l->st == SB_OK)
        l->st = sb_h5_open_group(layers, name, &group, l->err);
    if (l->st == SB_OK)
        l->st = check_layer(group, cap->tokens, &info, l->err);
    if (l->st == SB_OK)
        cap->layers[cap->n_layers++] = info;
    sb_h5_close(group);
    return l->st == SB_OK ? 0 : -1;
}

static int by_index(const void *a, const void *b)
{
    const sb_layer_info *x = a, *y = b;
    return x->index < y->index ? -1 : x->index > y->index;
}

static sb_status list_layers(sb_capture *cap, sb_err *err)
{
    sb_status st = SB_OK;
    hid_t layers = -1;
    H5G_info_t info = {0};
    struct listing l = {.cap = cap, .err = err};
    SB_TRY(sb_h5_open_group(cap->file, "layers", &layers, err));
    if (H5Gget_info(layers, &info) < 0 || info.nlinks < 1 || info.nlinks > SB_MAX_LAYERS) {
        st = sb_h5_bad(err, layers, NULL, "%llu entries; expected 1 to %d layers",
                       (unsigned long long)info.nlinks, SB_MAX_LAYERS);
        goto out;
    }
    l.capacity = (int64_t)info.nlinks;
    cap->layers = sb_alloc(l.capacity, sizeof *cap->layers);
    if (!cap->layers) {
        st = sb_no_memory(err, "the list of layers");
        goto out;
    }
    if (H5Literate(layers, H5_INDEX_NAME, H5_ITER_INC, NULL, list_layer, &l) < 0)
        st = l.st != SB_OK ? l.st : sb_h5_bad(err, layers, NULL, "damaged; expected layers");
    else
        qsort(cap->layers, (size_t)cap->n_layers, sizeof *cap->layers, by_index);
out:
    sb_h5_close(layers);
    return st;
}

static sb_status expect_text(const sb_capture *cap, const char *name, const char *expected,
                             sb_err *err)
{
    char *text = NULL, at[32];
    sb_status st = sb_h5_get_text(cap->file, name, &text, err);
    (void)snprintf(at, sizeof at, "@%s", name);
    if (st == SB_OK && strcmp(text, expected) != 0)
        st = sb_h5_bad(err, cap->file, at, "attribute is '%.64s'; expected '%s'", text, expected);
    sb_free(text);
    return st;
}

/* Names and descriptions are printed: they hold one line, and nothing that a terminal obeys. */
static sb_status get_line(hid_t file, const char *name, char **text, sb_err *err)
{
    sb_status st = sb_h5_get_text(file, name, text, err);
    for (char *c = *text; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return st;
}

static sb_status read_attributes(sb_capture *cap, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t version = 0;
    SB_TRY(expect_text(cap, "format", SB_CAPTURE_FORMAT, err));
    SB_TRY(sb_h5_get_int(cap->file, "version", &version, err));
    if (version != SB_CAPTURE_VERSION) {
        st = sb_h5_bad(err, cap->file, "@version", "attribute is %" PRId64 "; expected %d", version,
                       SB_CAPTURE_VERSION);
        goto out;
    }
    SB_TRY(expect_text(cap, "block_order", SB_CAPTURE_ORDER, err));
    SB_TRY(get_line(cap->file, "model", &cap->model, err));
    SB_TRY(get_line(cap->file, "source", &cap->source, err));
    SB_TRY(get_line(cap->file, "rope", &cap->rope, err));
    SB_TRY(sb_h5_get_int(cap->file, "tokens", &cap->tokens, err));
    SB_TRY(sb_h5_get_real(cap->file, "softmax_scale", &cap->softmax_scale, err));
    if (cap->tokens < 1 || cap->tokens > SB_MAX_TOKENS)
        st = sb_h5_bad(err, cap->file, "@tokens", "attribute is %" PRId64 "; expected 1 to %d",
                       cap->tokens, SB_MAX_TOKENS);
    else if (!isfinite(cap->softmax_scale) || cap->softmax_scale <= 0)
        st = sb_h5_bad(err, cap->file, "@softmax_scale",
                       "attribute is %g; expected a positive number", cap->softmax_scale);
out:
    return st;
}

static sb_status open_capture(const char *path, sb_capture *cap, sb_err *err)
{
    sb_status st = SB_OK;
    *cap = (sb_capture){.file = -1};
    cap->path = sb_strdup(path);
    if (!cap->path) {
        st = sb_no_memory(err, "a file name");
        goto out;
    }
    SB_TRY(sb_h5_open(path, &cap->file, err));
    SB_TRY(read_attributes(cap, err));
    SB_TRY(list_layers(cap, err));
out:
    if (st != SB_OK)
        sb_capture_close(cap);
    return st;
}

enum { OPEN_SECONDS = 4 /* of computing */ };

static sb_status try_capture(const void *path, sb_err *err)
{
    sb_capture cap;
    sb_status st = open_capture(path, &cap, err);
    sb_capture_close(&cap);
    return st;
}

sb_status sb_capture_open(const char *path, sb_capture *cap, sb_err *err)
{
    *cap = (sb_capture){.file = -1};
    sb_h5_quiet();
    /* HDF5 1.10 crashes on many damaged files. */
    sb_status st = sb_try_in_child(try_capture, path, path, OPEN_SECONDS, err);
    return st == SB_OK ? open_capture(path, cap, err) : st;
}

void sb_capture_close(sb_capture *cap)
{
    if (cap->file > 0) /* a zeroed capture was never opened */
        sb_h5_close(cap->file);
    sb_free(cap->layers);
    sb_free(cap->rope);
    sb_free(cap->source);
    sb_free(cap->model);
    sb_free(cap->path);
    *cap = (sb_capture){.file = -1};
}

const sb_layer_info *sb_capture_layer(const sb_capture *cap, int64_t index)
{
    for (int64_t i = 0; i < cap->n_layers; i++)
        if (cap->layers[i].index == index)
            return &cap->layers[i];
    return NULL;
}

sb_problem sb_capture_problem(const sb_capture *cap, const sb_layer_info *layer, int64_t n,
                              sb_dtype dtype)
{
    return (sb_problem){
        .n_batch = 1,
        .n_heads = layer->n_heads,
        .n_kv_heads = layer->n_kv_heads,
        .q_len = n,
        .kv_len = n,
        .dim = layer->dim,
        .dim_v = layer->dim_v,
        .dtype = dtype,
        .scale = cap->softmax_scale,
        .layer = layer->index,
    };
}
