#ifndef SB_TESTS_ORACLE_FIELD_H
#define SB_TESTS_ORACLE_FIELD_H

/* A float64 oracle of what the field's public code selects, written from data/FIELD.md. It calls
 * nothing of the library. Whole prompts alone: q_len equals kv_len. Where the authors do not keep
 * the diagonal block, it is added. */

#include "methods/tests/oracle.h"

/** What one method keeps of one sequence. */
typedef struct sb_field_choice {
    int64_t block, n_lists, n_rows, n_tokens; /**< n_lists = heads x n_rows */
    bool *keep;                               /**< [n_lists, n_rows] blocks */
    bool *tokens;   /**< [n_lists, n_tokens] keys of a pattern of tokens; NULL: whole blocks */
    double *margin; /**< [n_lists] how near the list's nearest decision is to falling the other way,
                         relative to what is compared */
    double pairs;   /**< token pairs as published, over all heads; 0: not counted */
} sb_field_choice;

void sb_field_choice_free(sb_field_choice *c);

sb_field_choice sb_field_streaming(const sb_oracle *o, int64_t block, int64_t sink, int64_t window,
                                   int64_t last);

/** Columns and diagonals; `visited`: the tokens that their kernel visits, else blocks with a pair
 *  of either. */
sb_field_choice sb_field_vertical_slash(const sb_oracle *o, int64_t block, int64_t vertical,
                                        int64_t slash, bool visited);
sb_field_choice sb_field_block_sparse(const sb_oracle *o, int64_t block, int64_t top_k);

sb_field_choice sb_field_flexprefill(const sb_oracle *o, int64_t block, double gamma, double tau,
                                     int64_t min_budget);
sb_field_choice sb_field_xattention(const sb_oracle *o, int64_t block, int64_t stride,
                                    double threshold, int64_t chunk);
sb_field_choice sb_field_cosa(const sb_oracle *o, int64_t block, int64_t stride, double top_p);
sb_field_choice sb_field_flashprefill(const sb_oracle *o, int64_t block, double alpha, int64_t sink,
                                      int64_t window, int64_t last_full);

typedef struct sb_field_sparge_rule {
    int64_t block, block_q, block_k;
    double similarity, cdf, top; /**< one of cdf and top is 0 */
} sb_field_sparge_rule;

sb_field_choice sb_field_sparge(const sb_oracle *o, const sb_field_sparge_rule *rule);

/** Tokens of tiles of 64 rows, by the two forms of VecAttention. */
sb_field_choice sb_field_vec_reference(const sb_oracle *o, double threshold, int64_t band);
sb_field_choice sb_field_vec_kernel(const sb_oracle *o, double threshold, int64_t group);

/* ---- parts ------------------------------------------------------------------------------- */

/** An empty choice; margins are infinite. */
sb_field_choice sb_field_choose_none(const sb_oracle *o, int64_t block, bool tokens);

/** Set the blocks in which tokens are kept. */
void sb_field_mark_blocks(sb_field_choice *c);

/** Head h's queries [T, D] and keys [T, D]. */
const double *sb_field_q(const sb_oracle *o, int64_t h);
const double *sb_field_k(const sb_oracle *o, int64_t h);

double sb_field_dot(const double *a, const double *b, int64_t n);

/** Means over the tokens that exist of each block of x [T, D]: [ceil(T / block), D], to be freed.
 */
double *sb_field_means(const double *x, int64_t n_tokens, int64_t dim, int64_t block);

/** Indices of x [n] by value, descending, ties to the lower index; to be freed. */
int64_t *sb_field_order(const double *x, int64_t n);

/** In place. */
void sb_field_softmax(double *x, int64_t n);

/** Lower a margin to |a - b| / unit. */
void sb_field_near(double *margin, double a, double b, double unit);

#endif
