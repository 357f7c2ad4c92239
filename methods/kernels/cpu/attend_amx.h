#ifndef SB_ATTEND_AMX_H
#define SB_ATTEND_AMX_H

/* What the two halves of the AMX kernel share: attend_amx.c lays out memory, packs and walks the
 * pattern; attend_amx_item.c attends one column of queries against one chunk of keys. */

#include <immintrin.h>

#include "methods/kernels/cpu/attend.h"

/* A tile is 16 rows of 64 bytes. Keys come in groups of two tiles, queries in columns of two. */
enum { TILE = 16, GROUP = 2 * TILE, COLUMN = 2 * TILE, MAX_GROUPS = 2, N_ITEMS = 3 };
enum { CHUNK = MAX_GROUPS * GROUP, TILE_ELEMS = TILE * GROUP };

typedef uint16_t bf16;

typedef struct sb_amx_shape {
    const sb_problem *p;
    const sb_inputs *in;
    const sb_pattern *pat;
    const sb_outputs *out;
    int64_t block;
    int64_t dim, dim_v;   /* padded to GROUP */
    int64_t n_blocks;     /* of the keys */
    int64_t block_groups; /* groups of keys in a block */
    int64_t block_bytes;  /* of its tiles */
    int64_t n_columns;    /* columns of the longest row */
    float gain;           /* scores to powers of two */
    int64_t wave;         /* kv heads packed and attended at a time */
    int64_t n_slots;      /* kv heads whose tiles are kept */
    /* [n_slots][n_blocks]: tiles of K^T [block_groups][2][dim / GROUP], then of V
     * [block_groups][dim_v / TILE] */
    bf16 *tiles;
} sb_amx_shape;

/* COLUMN queries of one row of one head, and their state. */
typedef struct sb_amx_column {
    __m512 sum[2][COLUMN]; /* of exponentials, in 16 parts; items write them in turn */
    float max[COLUMN];     /* scores times gain, in base 2 */
    int64_t turn;          /* which sums are valid */
    int64_t position;      /* of query 0 */
    int64_t n_queries;
    int64_t at;     /* row of query 0 in q, o and lse */
    const bf16 *q;  /* [COLUMN] rows, q_step apart */
    int64_t q_step; /* elements */
    bf16 *q_copy;   /* [COLUMN][dim]: of queries that cannot be read in place */
    float *o;       /* [dim_v / TILE][2] tiles of TILE floats */
} sb_amx_column;

typedef struct sb_amx_item {
    sb_amx_column *col;
    const bf16 *k, *v; /* tiles */
    int64_t key;       /* position of the first key */
    int64_t n_keys;    /* at most CHUNK */
    int64_t n_groups;  /* of keys */
    bool first, last;  /* of the column */
} sb_amx_item;

/* Memory to be brought into the L2 cache, a few lines at a time: the rest of a range, then the
 * blocks listed. */
typedef struct sb_amx_ahead {
    const char *at, *end;
    const char *tiles;   /* of the kv head's block 0 */
    const int32_t *kept; /* NULL: every block */
    int64_t i, n;
} sb_amx_ahead;

/* One thread: items pass through scores, softmax and output, one item apart. */
typedef struct sb_amx_pipeline {
    const sb_amx_shape *x;
    sb_amx_column *strips; /* [N_STRIPS][n_columns] */
    int64_t n_units, n_items;
    sb_amx_item items[N_ITEMS];
    sb_amx_ahead ahead;
    float *s; /* [MAX_GROUPS][COLUMN][GROUP] scores */
    bf16 *p;  /* [MAX_GROUPS][COLUMN][GROUP] exponentials: keys i, TILE + i side by side */
} sb_amx_pipeline;

/** Take the next item in; an item without keys drains the pipeline. The tiles must be configured.
 */
void sb_amx_push(sb_amx_pipeline *w, const sb_amx_item *it);

static inline __mmask32 first_bits(int64_t n)
{
    return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (1u << n) - 1;
}

#endif
