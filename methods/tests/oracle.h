#ifndef SB_TESTS_ORACLE_H
#define SB_TESTS_ORACLE_H

/* A float64 oracle of block scores, value bonuses, budgets, top-k selection and block attention,
 * written from the definitions of Stem (arXiv:2603.06274, Tencent/AngelSlim 67394ce,
 * Tencent/hpc-ops). It calls nothing of the library; only its plain structs are read. */

#include "harness/problem.h"

/** One sequence, decoded: q [H, T, D], k [Hkv, S, D], v [Hkv, S, Dv]. */
typedef struct sb_oracle {
    int64_t n_heads, n_kv_heads, q_len, kv_len, prompt_len, dim, dim_v, layer;
    double scale;
    double *q, *k, *v;
} sb_oracle;

typedef enum sb_oracle_score {
    SB_ORACLE_ANTIDIAGONAL, /**< anti-diagonal sampling */
    SB_ORACLE_MEAN,         /**< mean pooling */
    SB_ORACLE_MASS          /**< ln of the exact softmax mass, at least 2^-126 */
} sb_oracle_score;

typedef enum sb_oracle_value {
    SB_ORACLE_NONE,
    SB_ORACLE_PAPER,
    SB_ORACLE_ANGELSLIM,
    SB_ORACLE_HPC
} sb_oracle_value;

typedef enum sb_oracle_shape {
    SB_ORACLE_CONSTANT,
    SB_ORACLE_LINEAR,
    SB_ORACLE_COSINE,
    SB_ORACLE_EXPONENTIAL,
    SB_ORACLE_POWER,
    SB_ORACLE_STEP,
    SB_ORACLE_TABLE
} sb_oracle_shape;

/** How to select; every field stands for itself, nothing is defaulted. */
typedef struct sb_oracle_rule {
    int64_t block, stride;
    sb_oracle_score score;
    sb_oracle_value value;
    double beta;
    int64_t sinks, window, dense_layers;
    bool released;  /**< the released codes' schedule: both ends included, floor */
    double k_start; /**< blocks, or a share of n in (0, 1); 0: the variant's own function of n */
    double mu;
    sb_oracle_shape shape;
    int64_t hold; /**< -1: k_start */
    double exponent;
    const double *breakpoints;
    int64_t n_breakpoints;
    const double *table;
    int64_t n_table;
    double total; /**< blocks of a head, a share in (0, 1), or 0: not rescaled */
} sb_oracle_rule;

/** Decode sequence b. Free with sb_oracle_free. */
sb_oracle sb_oracle_load(const sb_problem *p, const sb_inputs *in, int64_t b);
void sb_oracle_free(sb_oracle *o);

int64_t sb_oracle_first_row(const sb_oracle *o, int64_t block);
int64_t sb_oracle_n_rows(const sb_oracle *o, int64_t block);
int64_t sb_oracle_n_blocks(const sb_oracle *o, int64_t block);

/** k(I) of every row of a prompt of `tokens` tokens, each in [1, I + 1]; to be freed. */
int64_t *sb_oracle_budgets(const sb_oracle_rule *rule, int64_t tokens);

/** The softmax of query t of head h over the keys up to its position, to p. */
void sb_oracle_probabilities(const sb_oracle *o, int64_t h, int64_t t, double *p);

/** Scores SB_ORACLE_MASS [H, n_rows, n_blocks]: ln of the mean over a row's queries of a block's
 *  probability; to be freed. */
double *sb_oracle_log_masses(const sb_oracle *o, int64_t block);

/** Block scores [H, n_rows, n_blocks], softmax scale applied; to be freed. */
double *sb_oracle_scores(const sb_oracle *o, const sb_oracle_rule *rule);

/** Value bonuses [Hkv, n_blocks] of weight 1; to be freed. */
double *sb_oracle_bonus(const sb_oracle *o, const sb_oracle_rule *rule);

/** What a rule selects; n_blocks entries a list, lists [H, n_rows]. */
typedef struct sb_oracle_choice {
    double *metric;    /**< [H, n_rows, n_blocks] score + weighted bonus */
    double *threshold; /**< [H, n_rows] the k(I)-th largest metric */
    bool *keep;        /**< [H, n_rows, n_blocks] */
} sb_oracle_choice;

/**
 * Keep the k(I) blocks of largest metric in every row, then the forced ones. Metrics are rounded
 * to float32 before they are compared, ties keep the lower block. Value `hpc` weighs against
 * scores without 1 / (S sqrt(d)), but against masses as `angelslim`.
 */
sb_oracle_choice sb_oracle_select(const sb_oracle *o, const sb_oracle_rule *rule,
                                  const double *scores, const double *bonus);
void sb_oracle_choice_free(sb_oracle_choice *c);

/** Attention of query t of head h over the blocks keep [n_blocks]: out [Dv] and its LSE. */
double sb_oracle_attend(const sb_oracle *o, int64_t block, int64_t h, int64_t t, const bool *keep,
                        double *out);

/** calloc or abort: a test has no other way. */
void *sb_oracle_calloc(int64_t n, size_t bytes);

#endif
