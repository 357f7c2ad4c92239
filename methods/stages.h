#ifndef SB_STAGES_H
#define SB_STAGES_H

#include "methods/method.h"
#include "methods/score_mass.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The stages that block-selecting methods share. A method plans those it needs, calls them in turn
 * from its select, and differs from another only in the stage it swaps. */

/* ---- budget: how many blocks a row keeps ------------------------------------------------- */

typedef enum sb_shape {
    SB_SHAPE_CONSTANT,
    SB_SHAPE_LINEAR,
    SB_SHAPE_COSINE,
    SB_SHAPE_EXPONENTIAL,
    SB_SHAPE_POWER,
    SB_SHAPE_STEP,
    SB_SHAPE_TABLE
} sb_shape;

/** A budget schedule k(I). Shares are of n, the prompt's number of blocks. */
typedef struct sb_schedule {
    sb_shape shape;
    double k_start;  /**< blocks (>= 1), a share (< 1), or 0: the convention's own */
    double mu;       /**< last row's budget over the first's */
    bool released;   /**< rounding of the released code (floor, both ends included) in place of the
                          paper's (ceil, the end excluded) */
    int64_t hold;    /**< rows before the decay starts; -1: k_start of them */
    double exponent; /**< of SB_SHAPE_POWER */
    const double *breakpoints; /**< SB_SHAPE_STEP: ascending shares of the decaying rows */
    int64_t n_breakpoints;
    const double *table; /**< SB_SHAPE_TABLE: blocks or shares, spread evenly over the rows */
    int64_t n_table;
    double total; /**< rescale so that one head keeps so many causal blocks (a whole number) or such
                       a share of them; 0: no rescaling */
} sb_schedule;

typedef enum sb_bonus_kind { SB_BONUS_NONE, SB_BONUS_PAPER, SB_BONUS_RELEASED } sb_bonus_kind;

/** What a method of the family "block scores + row budgets + forced blocks" is made of. */
typedef struct sb_block_topk_spec {
    int64_t block, stride;
    bool mean_score;
    bool mass_score;     /**< logarithms of exact masses, by CPU alone; stride then counts in the
                              bonus alone, and unscaled_score means nothing */
    bool unscaled_score; /**< as in hpc-ops: without 1 / (S sqrt(D)) */
    sb_bonus_kind bonus;
    double beta;
    sb_schedule schedule;
    int64_t sinks, window;
    int64_t dense_layers; /**< layers below it keep every block */
} sb_block_topk_spec;

/** SB_UNSUPPORTED when `total` cannot be met with n blocks, or `hold` is beyond them. */
sb_status sb_schedule_check(const sb_schedule *s, int64_t n, sb_err *err);

/**
 * k[I] for I = 0..n-1, each in [1, I + 1], for a prompt of prompt_len tokens in n blocks. With a
 * total, the sum is met exactly: fractions carry over from row to row.
 */
void sb_schedule_fill(const sb_schedule *s, int64_t n, int64_t prompt_len, int32_t *k);

/** Budgets of every row of a problem, and where each row's list may start in the pattern. */
typedef struct sb_budget {
    int64_t n_rows;
    int32_t *k;    /**< [B, n_rows] */
    int64_t *slot; /**< [B, n_rows + 1] running sum of room a row needs, within one head */
    int64_t sinks, window;
    int64_t capacity; /**< blocks over all sequences and heads */
} sb_budget;

sb_status sb_budget_plan(const sb_problem *p, const sb_block_topk_spec *spec, sb_budget *budget,
                         sb_err *err);
void sb_budget_free(sb_budget *budget);

/* ---- score: which blocks matter ---------------------------------------------------------- */

/**
 * Block scores as one product of group sums: score[I, J] = scale / (R^2 S) * sum_g <Qg[I][g],
 * Kg[J][S-1-g]>, where group g of a block sums its tokens with index g modulo S. This equals the
 * mean over the block's sub-tiles of anti-diagonal sampling (arXiv:2603.06274, after XAttention); S
 * = 1 is the product of mean-pooled blocks. Or, exact: ln of the block's mass (score_mass.h), with
 * nothing of the rest but block and n_blocks.
 */
typedef struct sb_score {
    int64_t block, stride;
    bool mean;        /**< divide by the tokens a block has; else a partial block is zero-padded */
    double scale;     /**< of a product of means */
    int64_t n_blocks; /**< key blocks of the longest sequence */
    int64_t length;   /**< floats in one block's groups */
    int n_threads;
    float *key_groups;  /**< [B, Hkv, n_blocks, length], groups in reverse */
    float *thread_room; /**< [n_threads, room] */
    int64_t room;
    bool exact;
    sb_block_mass masses;
} sb_score;

sb_status sb_score_plan(const sb_problem *p, const sb_block_topk_spec *spec, int n_threads,
                        sb_score *score, sb_err *err);
void sb_score_free(sb_score *score);

/** Sum the groups of every key block; exact: find the mass of every causal block. */
void sb_score_keys(sb_score *score, const sb_problem *p, const sb_inputs *in);

/** Scores of rows r .. r + n_rows - 1, at most SB_SCORE_ROWS, of head h, sequence b, to
 *  out [n_rows, n_blocks]: each against key blocks 0..I; what follows in its line is unspecified.
 *  Uses thread `worker`'s room. */
void sb_score_queries(const sb_score *score, const sb_problem *p, const sb_inputs *in, int64_t b,
                      int64_t h, int64_t r, int64_t n_rows, int worker, float *out);

/** FLOPs of the key groups and of scoring the rows that keep fewer than all blocks; exact: of every
 *  causal block. */
double sb_score_flops(const sb_score *score, const sb_problem *p, const sb_budget *budget);

/* ---- value bonus: what a block carries ---------------------------------------------------- */

/** Additive value bonus of each key block, one for all query heads of a kv head. */
typedef struct sb_bonus {
    sb_bonus_kind kind;
    double beta;
    int64_t block;
    int64_t group; /**< tokens whose largest norm counts: a block (paper), a stride (released) */
    int64_t n_blocks, n_groups;
    float *group_norm;  /**< [B, Hkv, n_groups] */
    float *block_bonus; /**< [B, Hkv, n_blocks] */
    float *thread_room; /**< [n_threads, room] */
    int64_t room;
} sb_bonus;

sb_status sb_bonus_plan(const sb_problem *p, const sb_block_topk_spec *spec, int n_threads,
                        sb_bonus *bonus, sb_err *err);
void sb_bonus_free(sb_bonus *bonus);
void sb_bonus_values(sb_bonus *bonus, const sb_problem *p, const sb_inputs *in, int n_threads);
double sb_bonus_flops(const sb_bonus *bonus, const sb_problem *p);

/* ---- rows: fill a pattern row by row ------------------------------------------------------- */

/** Rows r .. r + n - 1 of head h, sequence b, given to thread `worker`; row r is query block
 *  `first`, and sees key blocks 0 .. first. */
typedef struct sb_rows {
    int64_t b, h, r, n, first;
    int worker;
} sb_rows;

/** Where the list of one row goes: `col` has room for its slot, `n` is to be set. Of a pattern of
 *  tokens, `tokens` takes the tokens kept of each block. */
typedef struct sb_row_list {
    int32_t *col;
    uint64_t *tokens; /**< NULL: whole blocks */
    int64_t n;
} sb_row_list;

/** Write the lists of some rows, each ascending and with its diagonal block. */
typedef void sb_fill_rows(void *self, const sb_problem *p, const sb_inputs *in, const sb_rows *rows,
                          sb_row_list *lists);

enum { SB_MAX_ROWS_AT_ONCE = 16 };

typedef struct sb_row_job {
    int n_threads;
    int64_t n_at_once;    /**< rows in one call, at most SB_MAX_ROWS_AT_ONCE */
    const int64_t *slots; /**< as sb_budget.slot; NULL: a row has room for all its causal blocks */
    sb_fill_rows *fill;
    void *self; /**< given to `fill`, which may write only what belongs to its rows or worker */
} sb_row_job;

/** Fill the pattern, whose capacity is that of all slots; allocates nothing. The pattern does not
 *  depend on the number of threads. */
void sb_select_rows(const sb_row_job *job, const sb_problem *p, const sb_inputs *in,
                    sb_pattern *pat);

/* ---- select: fill the budget --------------------------------------------------------------- */

/** Room for the scores of SB_SCORE_ROWS rows in each thread. */
typedef struct sb_topk {
    int64_t n_blocks;
    int n_threads;
    float *score;  /**< [n_threads, SB_SCORE_ROWS, n_blocks] */
    uint32_t *key; /**< [n_threads, n_blocks] */
} sb_topk;

sb_status sb_topk_plan(const sb_problem *p, int64_t block, int n_threads, sb_topk *topk,
                       sb_err *err);
void sb_topk_free(sb_topk *topk);

/** Scores of at most SB_SCORE_ROWS rows to out [rows->n, sb_topk.n_blocks], each against the key
 *  blocks it sees; what follows in its line is unspecified. */
typedef void sb_score_rows_of(const void *self, const sb_problem *p, const sb_inputs *in,
                              const sb_rows *rows, float *out);

/** For each row: the k(I) blocks of largest score, ties to the lower block, then the sinks and the
 *  window. */
void sb_select_best(sb_topk *topk, sb_score_rows_of *scores, const void *self,
                    const sb_budget *budget, const sb_problem *p, const sb_inputs *in,
                    sb_pattern *pat);

/** The same by score + bonus; bonus may be NULL. */
void sb_select_topk(sb_topk *topk, const sb_score *score, const sb_bonus *bonus,
                    const sb_budget *budget, const sb_problem *p, const sb_inputs *in,
                    sb_pattern *pat);

/** Comparisons of filling the rows that keep fewer than all blocks. */
double sb_topk_flops(const sb_problem *p, int64_t block, const sb_budget *budget);

/* ---- the stages together ------------------------------------------------------------------ */

/** Plan of such a method. */
typedef struct sb_block_topk {
    sb_plan plan;
    sb_budget budget;
    sb_score score;
    sb_bonus bonus;
    sb_topk topk;
} sb_block_topk;

/** Rows that all keep `k` blocks, or as many as add up to `schedule.total`, besides `sinks` and
 *  `window`, in blocks of `block`: from the values of those names. */
sb_block_topk_spec sb_constant_spec(const sb_method *m, const sb_value *values);

sb_status sb_block_topk_supports(const sb_block_topk_spec *spec, const sb_problem *p, sb_err *err);
double sb_block_topk_expected(const sb_block_topk_spec *spec, const sb_problem *p);
sb_status sb_block_topk_plan(const sb_block_topk_spec *spec, const sb_problem *p,
                             const sb_exec *exec, sb_plan **plan, sb_err *err);
void sb_block_topk_destroy(sb_plan *plan);

/** SB_USAGE unless the value `stride` divides the value `block`. */
sb_status sb_check_stride(const sb_method *m, const sb_value *values, sb_err *err);

/* Rows of the parameter table that such methods share. */
#define SB_PARAM_BLOCK                                                                             \
    {                                                                                              \
        .name = "block", .type = SB_INT, .min = 1, .max = 1024, .fallback = {"128"},               \
        .doc = "query and key block size, tokens"                                                  \
    }
enum { SB_SCORE_ANTIDIAGONAL, SB_SCORE_MEAN, SB_SCORE_MASS };
#define SB_PARAM_SCORE                                                                             \
    {                                                                                              \
        .name = "score", .type = SB_CHOICE, .choices = "antidiagonal|mean|mass",                   \
        .fallback = {"antidiagonal"},                                                              \
        .doc = "block score: anti-diagonal sampling, mean pooling, or the logarithm of the exact " \
               "attention mass (on the CPU alone, at the cost of dense attention)"                 \
    }
#define SB_PARAM_TOTAL                                                                             \
    {                                                                                              \
        .name = "schedule.total", .type = SB_BUDGET, .optional = true, .solve = 1,                 \
        .fallback = {"none"},                                                                      \
        .doc = "rescale the budgets so that a head keeps exactly so many causal blocks (or share)" \
    }
#define SB_PARAM_SINKS                                                                             \
    {                                                                                              \
        .name = "sinks", .type = SB_INT, .min = 0, .max = 1 << 20, .fallback = {"4"},              \
        .doc = "first blocks always kept"                                                          \
    }
#define SB_PARAM_WINDOW                                                                            \
    {                                                                                              \
        .name = "window", .type = SB_INT, .min = 1, .max = 1 << 20, .fallback = {"4"},             \
        .doc = "last blocks always kept, the diagonal block among them"                            \
    }
#define SB_PARAM_DENSE_LAYERS                                                                      \
    {                                                                                              \
        .name = "dense_layers", .type = SB_INT, .min = 0, .max = 1 << 20, .fallback = {"0"},       \
        .doc = "first layers of the model that keep every block"                                   \
    }

#ifdef __cplusplus
}
#endif
#endif
