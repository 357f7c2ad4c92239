#ifndef SB_PROBLEM_H
#define SB_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Dimension letters, used everywhere: B batch, H query heads, Hkv key/value heads, G = H / Hkv,
 * T query tokens, S key tokens, D head dimension, Dv value dimension. */

typedef enum sb_dtype { SB_F32, SB_BF16, SB_F16 } sb_dtype;

typedef enum sb_backend { SB_CPU, SB_CUDA } sb_backend;

typedef struct CUstream_st *sb_stream;

/** Where and how wide to run. */
typedef struct sb_exec {
    sb_backend backend;
    int n_threads;      /**< CPU threads, >= 1 */
    sb_stream stream;   /**< CUDA stream; NULL is the default stream */
    const char *device; /**< name of the CUDA device, for records; NULL on the CPU */
} sb_exec;

/**
 * The shape of one causal attention call. Queries are aligned to the end of the keys: query t of
 * sequence b stands at position kv_len - q_len + t and sees the keys up to that position.
 */
typedef struct sb_problem {
    int64_t n_batch;            /**< B */
    int64_t n_heads;            /**< H, a multiple of n_kv_heads */
    int64_t n_kv_heads;         /**< Hkv */
    int64_t q_len;              /**< T, 1 <= T <= S; the padded length when q_lens is set */
    int64_t kv_len;             /**< S; the padded length when kv_lens is set */
    int64_t dim;                /**< D */
    int64_t dim_v;              /**< Dv */
    sb_dtype dtype;             /**< element type of Q, K, V and O */
    double scale;               /**< softmax scale, usually 1 / sqrt(D) */
    const int64_t *q_lens;      /**< [B] valid queries of each sequence, or NULL: all T */
    const int64_t *kv_lens;     /**< [B] valid keys of each sequence, or NULL: all S */
    const int64_t *prompt_lens; /**< [B] full prompt lengths that budgets key on when only a chunk
                                     is attended, each >= its kv_len; NULL: kv_lens */
    int64_t layer;              /**< index in the model, for methods that treat layers apart */
} sb_problem;

/** Inputs, contiguous, in problem.dtype: q [B, H, T, D], k [B, Hkv, S, D], v [B, Hkv, S, Dv]. */
typedef struct sb_inputs {
    const void *q;
    const void *k;
    const void *v;
} sb_inputs;

/**
 * Outputs: o [B, H, T, Dv] in problem.dtype, lse [B, H, T] float32, the natural logarithm of the
 * softmax denominator of the scaled scores. Rows past a sequence's q_len are left untouched.
 */
typedef struct sb_outputs {
    void *o;
    float *lse;
} sb_outputs;

/** Check every field; SB_USAGE with one line naming the first wrong one. */
sb_status sb_problem_check(const sb_problem *p, sb_err *err);

/** Bytes of one element. */
size_t sb_dtype_bytes(sb_dtype dtype);

/** "f32", "bf16" or "f16". */
const char *sb_dtype_name(sb_dtype dtype);

/** Parse a dtype name; false when there is no such dtype. */
bool sb_dtype_parse(const char *name, sb_dtype *dtype);

/** Convert n elements to float32 (exact). */
void sb_to_f32(sb_dtype dtype, const void *src, float *dst, int64_t n);

/** Convert n float32 elements to dtype, rounding to nearest even. */
void sb_from_f32(sb_dtype dtype, const float *src, void *dst, int64_t n);

/* Lengths of sequence b. */
int64_t sb_q_len(const sb_problem *p, int64_t b);
int64_t sb_kv_len(const sb_problem *p, int64_t b);
int64_t sb_prompt_len(const sb_problem *p, int64_t b);

/* Query blocks are cut at absolute positions, so a chunk of a prompt has the whole prompt's rows.
 * Row r of sequence b is the query block I = sb_first_block + r and sees key blocks 0..I. */
static inline int64_t sb_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
int64_t sb_first_block(const sb_problem *p, int64_t b, int64_t block);
int64_t sb_n_rows(const sb_problem *p, int64_t b, int64_t block);

/** Largest sb_n_rows of the batch. */
int64_t sb_max_rows(const sb_problem *p, int64_t block);

/** Query tokens [*t0, *t1) of row r, counted from the sequence's own first query. */
void sb_row_span(const sb_problem *p, int64_t b, int64_t block, int64_t row, int64_t *t0,
                 int64_t *t1);

#ifdef __cplusplus
}
#endif
#endif
