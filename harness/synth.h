#ifndef SB_SYNTH_H
#define SB_SYNTH_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A synthetic capture with known structure. Strengths are attention logits (softmax-scaled scores)
 * above a background of zero mean: a key with logit s outweighs e^s background keys.
 */
typedef struct sb_synth_options {
    int64_t tokens, heads, kv_heads, dim, dim_v;
    int64_t layers; /**< indices 0 .. layers - 1 */
    sb_dtype dtype;
    uint64_t seed;
    int64_t compress;      /**< deflate level of the file, 0 to 9; 0 is several times faster */
    int64_t sinks;         /**< first tokens that every query attends to */
    double sink_strength;  /**< their logit */
    double local_window;   /**< standard deviation of the neighbourhood, tokens */
    double local_strength; /**< logit of a query's own position */
    int64_t needles; /**< planted (query range -> key) pairs, the same in every head and layer */
    double needle_strength;
    double noise; /**< standard deviation of the logits that noise has with itself; with the waves
                     of the neighbourhood, a background key's vary about three times as much */
} sb_synth_options;

/** Queries [q0, q1) attend to `key`, which lies before them. No query belongs to two needles. */
typedef struct sb_needle {
    int64_t q0, q1, key;
} sb_needle;

/** 8192 tokens, 8 heads over 2, dim 64, two layers, bf16, seed 1; 4 sinks and 8 needles. */
sb_synth_options sb_synth_defaults(void);

/** Check every option; SB_USAGE with one line naming the first wrong one. */
sb_status sb_synth_check(const sb_synth_options *o, sb_err *err);

/** Where needle i of a checked set of options lies. */
sb_needle sb_synth_needle(const sb_synth_options *o, int64_t i);

/**
 * Write the capture. Each value depends on the seed and its place alone, so layers can be made in
 * any order and on any number of threads. One layer is in memory, as float32. The `source`
 * attribute lists the sinks and needles. SB_USAGE, SB_IO, SB_NO_MEMORY.
 */
sb_status sb_synth(const char *path, const sb_synth_options *o, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
