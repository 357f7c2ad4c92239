#ifndef STEMBENCH_H
#define STEMBENCH_H

/*
 * stembench as a library: causal attention by any of its methods, on the caller's tensors.
 *
 *     sb_attention_spec spec = {.struct_bytes = sizeof spec, .n_batch = 1, .n_heads = 9,
 *                               .n_kv_heads = 3, .q_len = 8192, .kv_len = 8192, .dim = 64,
 *                               .dim_v = 64, .dtype = SB_ATTENTION_BF16};
 *     sb_attention *plan;
 *     char why[SB_ATTENTION_MESSAGE];
 *     if (sb_attention_create(&spec, "stem", "mu=0.7 block=64", &plan, why))
 *         ...
 *     sb_attention_run(plan, &(sb_attention_tensors){q, k, v, o, lse}, why);
 *     sb_attention_destroy(plan);
 *
 * A plan holds all the memory that its runs need. Threads may use plans of their own at the same
 * time, not one plan at the same time; there is no state besides plans but the environment's
 * STEMBENCH_ISA_MAX. Link with -lstembench; symbols carry the version SB_ATTENTION_1.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/** What a call returns. */
enum {
    SB_ATTENTION_OK = 0,
    SB_ATTENTION_USAGE = 2,       /**< a wrong argument; the message names it */
    SB_ATTENTION_UNAVAILABLE = 4, /**< no such backend or device here */
    SB_ATTENTION_INTERNAL = 5,    /**< a defect, or a device that failed */
    SB_ATTENTION_NO_MEMORY = 6,
    SB_ATTENTION_UNSUPPORTED = 7 /**< the method or its kernel does not take this shape */
};

enum { SB_ATTENTION_F32, SB_ATTENTION_BF16, SB_ATTENTION_F16 };
enum { SB_ATTENTION_CPU, SB_ATTENTION_CUDA };
enum { SB_ATTENTION_MESSAGE = 512 }; /**< bytes of a message, its end included */

/** Where element (b, h, t, 0) of a tensor lies, in elements: b batch + h head + t token. Channels
 *  are adjacent. All zero: contiguous [B, H, T, D]. */
typedef struct sb_attention_strides {
    int64_t batch, head, token;
} sb_attention_strides;

/**
 * The shape of one causal attention call. Queries are aligned to the end of the keys: query t
 * stands at position kv_len - q_len + t and sees the keys up to that position.
 */
typedef struct sb_attention_spec {
    size_t struct_bytes; /**< sizeof(sb_attention_spec): what this caller knows of it */
    int64_t n_batch;     /**< B */
    int64_t n_heads;     /**< H, a multiple of n_kv_heads */
    int64_t n_kv_heads;  /**< Hkv */
    int64_t q_len;       /**< T, 1 <= T <= S */
    int64_t kv_len;      /**< S */
    int64_t dim;         /**< D */
    int64_t dim_v;       /**< Dv */
    int64_t prompt_len;  /**< of the whole prompt, which budgets key on; 0: kv_len */
    int64_t layer;       /**< in the model, for methods that treat layers apart */
    double scale;        /**< of the softmax; 0: 1 / sqrt(dim) */
    int32_t dtype;       /**< of q, k, v and o */
    int32_t backend;     /**< where the pointers are valid, and what computes */
    int32_t n_threads;   /**< of the CPU; 0: all cores this process may use */
    void *stream;        /**< cudaStream_t that runs enqueue on; NULL: the default stream */
    sb_attention_strides q, k, v, o; /**< others than contiguous ones cost a copy, O(T D) */
} sb_attention_spec;

/** q [B, H, T, D], k [B, Hkv, S, D], v [B, Hkv, S, Dv] -> o [B, H, T, Dv] in the spec's dtype, and
 *  lse [B, H, T], contiguous float32: the natural logarithm of the softmax's denominator; may be
 *  NULL. Host pointers on the CPU, device pointers on CUDA. */
typedef struct sb_attention_tensors {
    const void *q, *k, *v;
    void *o;
    float *lse;
} sb_attention_tensors;

/** What the last run kept and spent, over all sequences and query heads. */
typedef struct sb_attention_stats {
    size_t struct_bytes; /**< sizeof(sb_attention_stats) */
    double density;      /**< kept causal blocks (of a pattern of tokens: tokens) / all of them */
    double pair_density; /**< attended (query, key) token pairs / all causal pairs */
    double flops_dense;  /**< 2 (D + Dv) for each causal pair */
    double flops_attend; /**< for each attended pair */
    double flops_tile;   /**< for each pair of the executed tiles */
    double flops_select; /**< spent on choosing */
    uint64_t mask_hash;  /**< of the pattern, as in results.csv; 0 for dense */
    int64_t block;       /**< of the pattern, tokens; 0 for dense, which keeps no pattern */
    int64_t n_rows;      /**< query blocks; a chunk of a prompt has the prompt's blocks */
    /** The pattern, the plan's until its next call: list (b, h, r) is col[row_ptr[i]] up to, not
     *  with, col[row_ptr[i + 1]], i = (b H + h) n_rows + r, ascending key blocks; tokens, where not
     *  NULL, has a mask of kept tokens for each (bit i: token i of the block). NULL for dense. */
    const int64_t *row_ptr;
    const int32_t *col;
    const uint64_t *tokens;
} sb_attention_stats;

typedef struct sb_attention sb_attention;

/** Version of this interface that the library has: 1. */
int32_t sb_attention_version(void);

/**
 * Plan `method` ("dense", "stem", ...: `stembench methods`) with `params`, "name=value" separated
 * by blanks ("mu=0.7 schedule.total=0.25"), NULL or "" for the defaults. `message`
 * [SB_ATTENTION_MESSAGE] may be NULL, here and below; it is "" after a call that went well.
 */
int32_t sb_attention_create(const sb_attention_spec *spec, const char *method, const char *params,
                            sb_attention **plan, char *message);

/** Select and attend. On CUDA the work is enqueued on the spec's stream, of the device that was
 *  current at create, and may not be done on return; a method that selects on the CPU waits. */
int32_t sb_attention_run(sb_attention *plan, const sb_attention_tensors *tensors, char *message);

/** Describe the last run; waits for it. Fills what struct_bytes says the caller has room for. */
int32_t sb_attention_read_stats(sb_attention *plan, sb_attention_stats *stats, char *message);

/** Name of what attends: "amx", "portable-avx2", "cuda-sm90". The plan's. */
const char *sb_attention_kernel(const sb_attention *plan);

/** All parameters of the method as resolved, as in results.csv: "name=value name=value", lists as
 *  [1 2]; sb_attention_create takes them. "" for a method without any (dense). The plan's. */
const char *sb_attention_params(const sb_attention *plan);

/** Free a plan; NULL is allowed. */
void sb_attention_destroy(sb_attention *plan);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
