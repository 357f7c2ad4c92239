#ifndef SB_CONFIG_H
#define SB_CONFIG_H

#include "harness/arena.h"
#include "methods/method.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sb_backend_choice {
    SB_BACKEND_AUTO,
    SB_BACKEND_CPU,
    SB_BACKEND_CUDA
} sb_backend_choice;

/** What a matched variant has in common with its target. */
typedef enum sb_match_by {
    SB_MATCH_DENSITY, /**< kept causal blocks / all, as counted from the pattern */
    SB_MATCH_FLOPS    /**< (flops_attend + flops_select) / flops_dense */
} sb_match_by;

/** One fully resolved way to attend: a method and its parameters. */
typedef struct sb_variant {
    const sb_method *method;
    sb_value values[SB_MAX_PARAMS]; /**< resolved; lists are owned by the config */
    int64_t target;                 /**< index of the variant that this one is matched to, or -1 */
} sb_variant;

typedef struct sb_latency_options {
    bool enabled;
    int64_t warmup;      /**< untimed runs before the first sample */
    int64_t min_samples; /**< at least so many samples */
    double min_time_s;   /**< and at least so long in all, seconds */
    double noise;        /**< stop once the relative standard error falls below this */
    double timeout_s;    /**< give up waiting for it after this long, seconds */
} sb_latency_options;

typedef struct sb_measure_options {
    bool fidelity;
    int64_t fidelity_rows; /**< query tokens compared, evenly spread and seeded; 0: all */
    int64_t impl_rows;     /**< query tokens sampled for impl_rel_l2 (each over all heads) */
    uint64_t seed;         /**< of both samples */
    sb_latency_options latency;
} sb_measure_options;

/** An experiment: the product of captures, dtypes, layers, lengths and variants. */
typedef struct sb_config {
    char *path;
    char *name;
    char *text; /**< the file as given, with a comment line for every --set */
    int64_t n_captures;
    char **captures; /**< paths, resolved: as given from the working directory, else beside the
                        config */
    int64_t *capture_lines; /**< [n_captures] line of each in the config, 0 from --set */
    int64_t n_layers;       /**< 0: all layers of each capture */
    int64_t *layers;
    int64_t n_lengths; /**< 0: the whole capture */
    int64_t *lengths;
    int64_t lengths_line, lengths_col, layers_line, layers_col;
    int64_t n_dtypes;
    sb_dtype *dtypes;
    sb_backend_choice backend;
    int64_t n_variants;
    sb_variant *variants;
    sb_match_by match_by;
    sb_measure_options measure;
    struct sb_arena *arena; /**< owns every list */
} sb_config;

/**
 * Load, validate and expand a YAML config. `sets` are n_sets texts "key=value" that override the
 * file: the key is a dotted path ("measure.latency.min_samples", "stem.mu" for every entry of that
 * method), the value any YAML. Errors: SB_USAGE "file:line:col: what; expected what", unknown and
 * duplicate keys included, with the nearest known key as a hint; SB_USAGE too when there is no such
 * file, SB_IO when it cannot be read.
 */
sb_status sb_config_load(const char *path, const char *const *sets, int64_t n_sets, sb_config *cfg,
                         sb_err *err);

/** As sb_config_load, from memory; `path` serves messages and relative paths only. */
sb_status sb_config_parse(const char *text, size_t n_bytes, const char *path,
                          const char *const *sets, int64_t n_sets, sb_config *cfg, sb_err *err);

void sb_config_free(sb_config *cfg);

/**
 * Parse "key=value" method parameters from the command line into values [n_params], then resolve
 * them. Lists keep their memory in *arena (free with sb_arena_free).
 */
sb_status sb_values_from_sets(const sb_method *m, const char *const *sets, int64_t n_sets,
                              sb_value *values, struct sb_arena **arena, sb_err *err);

/** The same from one text "name=value name=value", separated by blanks, as a record's `params`. */
sb_status sb_values_from_text(const sb_method *m, const char *text, sb_value *values,
                              struct sb_arena **arena, sb_err *err);

/** The known name nearest to `word` (edit distance at most 1/2 its length), or NULL. */
const char *sb_nearest(const char *word, const char *const *known, int64_t n_known);

#ifdef __cplusplus
}
#endif
#endif
