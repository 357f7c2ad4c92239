#ifndef SB_DATASET_H
#define SB_DATASET_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One captured layer's shape. */
typedef struct sb_layer_info {
    int64_t index; /**< layer index in the model */
    int64_t n_heads, n_kv_heads, tokens, dim, dim_v;
    sb_dtype dtype;    /**< as stored */
    int64_t rehearsed; /**< tokens that were read in a child process, which outlived it */
} sb_layer_info;

/** An open stem-capture file (format version 1: see data/README.md). */
typedef struct sb_capture {
    char *path;
    char *model;
    char *source;
    char *rope;
    int64_t tokens;
    double softmax_scale;
    int64_t n_layers;
    sb_layer_info *layers; /**< ascending by index */
    uint64_t digest;       /**< of the file's bytes; 0 until sb_capture_digest */
    int64_t file;          /**< HDF5 handle */
} sb_capture;

/**
 * Open a capture and check its attributes and every layer's shapes and types, without reading
 * tensors. SB_BAD_DATA naming the file, the dataset's path and what was expected; SB_BAD_DATA too
 * for a missing, truncated or foreign file.
 */
sb_status sb_capture_open(const char *path, sb_capture *cap, sb_err *err);
void sb_capture_close(sb_capture *cap);

/** Hash the file's bytes into cap->digest (64-bit). */
sb_status sb_capture_digest(sb_capture *cap, sb_err *err);

/** The layer of that index, or NULL. */
const sb_layer_info *sb_capture_layer(const sb_capture *cap, int64_t index);

/** The problem of attending over the first n tokens of one of its layers in dtype (B = 1). */
sb_problem sb_capture_problem(const sb_capture *cap, const sb_layer_info *layer, int64_t n,
                              sb_dtype dtype);

/** Q, K and V of one layer, owned. */
typedef struct sb_tensors {
    void *q, *k, *v; /**< [H, n, D], [Hkv, n, D], [Hkv, n, Dv] in dtype */
} sb_tensors;

/**
 * Read the first n tokens of a layer, converted to dtype (nearest even). Refuses NaN and infinity,
 * in the file or made by the conversion, with SB_BAD_DATA and their place. Reads by head and token
 * range: beyond the result only one chunk is in memory.
 */
sb_status sb_capture_read(const sb_capture *cap, int64_t layer, int64_t n, sb_dtype dtype,
                          sb_tensors *out, sb_err *err);
void sb_tensors_free(sb_tensors *t);

/** Summary statistics of one stored tensor ("q", "k" or "v"). */
typedef struct sb_tensor_stats {
    double min, max, mean, std;
    double norm_p50, norm_p99; /**< of row (token) norms */
} sb_tensor_stats;
sb_status sb_capture_stats(const sb_capture *cap, int64_t layer, char which, sb_tensor_stats *out,
                           sb_err *err);

/* ---- writing ---------------------------------------------------------------------------- */

/** What a new capture file says of itself. */
typedef struct sb_capture_meta {
    const char *model, *source, *rope;
    int64_t tokens;
    double softmax_scale;
    unsigned compress; /**< deflate level, 1 to 9; 0 stores tensors as they are */
} sb_capture_meta;

/** One layer to write: float32 tensors [H, N, D], [Hkv, N, D], [Hkv, N, Dv], rounded to dtype. */
typedef struct sb_layer_data {
    sb_layer_info info;
    const float *q, *k, *v;
} sb_layer_data;

/** Callback that yields layer i of n for sb_capture_write; the tensors need only live until the
 * next call. */
typedef sb_status (*sb_layer_source)(void *user, int64_t i, sb_layer_data *out, sb_err *err);

/** Write a capture to a temporary file beside `path`, then rename it into place. */
sb_status sb_capture_write(const char *path, const sb_capture_meta *meta, int64_t n_layers,
                           sb_layer_source source, void *user, sb_err *err);

/** Write a pattern and its attributes for `stembench mask`: row_ptr i64, col i32, of a pattern of
 *  tokens (else NULL) tokens u64 [n_col], and each "name=value" of `attributes` as a string
 *  attribute (numbers as float64 or int64). */
sb_status sb_mask_write(const char *path, const int64_t *row_ptr, int64_t n_lists,
                        const int32_t *col, const uint64_t *tokens, const char *const *attributes,
                        int64_t n_attributes, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
