#ifndef SB_ATTEND_AMX_H
#define SB_ATTEND_AMX_H

/* What the two halves of the AMX kernel share: attend_amx.c lays out memory, packs and walks the
 * pattern; attend_amx_item.c attends one column of queries against one chunk of keys. */

#include <immintrin.h>

#include "methods/kernels/cpu/attend.h"

/* A tile is 16 rows of 64 bytes. Products come in groups of two tiles by two. */
enum { TILE = 16, GROUP = 2 * TILE, COLUMN = GROUP, N_ITEMS = 3 };

typedef uint16_t bf16;

typedef struct sb_amx_shape {
    const sb_problem *p;
    const sb_inputs *in;
    const sb_pattern *pat;
    const sb_outputs *out;
    int64_t block;
    int64_t dim, dim_v;   /* padded to GROUP */
    int64_t chunk;        /* keys of an item at most */
    int64_t n_blocks;     /* of the keys */
    int64_t block_groups; /* groups of GROUP keys in a block */
    int64_t k_rows;       /* rows of k_copy for one head */
    int64_t n_columns;    /* columns of the longest row */
    float gain;           /* scores to powers of two */
    bf16 *v_tiles;        /* [B Hkv][n_blocks][block_groups][dim_v / TILE][TILE][GROUP] */
    bf16 *k_copy;         /* [B Hkv][k_rows][dim]: the rows from first_copied() on */
} sb_amx_shape;

/* COLUMN queries of one row of one head, and their state. */
typedef struct sb_amx_column {
    __m512 max[2], sum[2]; /* scores times gain, in base 2 */
    int64_t position;      /* of lane 0 */
    int64_t n_queries;
    int64_t at; /* row of lane 0 in q, o and lse */
    bf16 *q;    /* [dim / GROUP][2] tiles: pairs of channels, queries */
    float *o;   /* [dim_v][COLUMN] */
} sb_amx_column;

typedef struct sb_amx_item {
    sb_amx_column *col;
    const bf16 *k, *v; /* rows of k, k_step apart; tiles of v */
    int64_t k_step;
    int64_t key;      /* position of the first key */
    int64_t n_keys;   /* at most shape.chunk */
    int64_t n_groups; /* of keys */
    bool first, last; /* of the column */
} sb_amx_item;

/* Memory to be brought into the L2 cache, a few lines at a time. */
typedef struct sb_amx_ahead {
    const char *at, *end;
} sb_amx_ahead;

/* One thread: items pass through scores, softmax and output, one item apart. */
typedef struct sb_amx_pipeline {
    const sb_amx_shape *x;
    sb_amx_column *strips; /* [N_STRIPS][n_columns] */
    int64_t n_units, n_items;
    sb_amx_item items[N_ITEMS];
    sb_amx_ahead k, v; /* of the next block */
    float *s;          /* [chunk][COLUMN] */
    bf16 *pt[2];       /* [chunk / GROUP][2] tiles: pairs of keys, queries */
} sb_amx_pipeline;

/** Take the next item in; an item without keys drains the pipeline. The tiles must be configured.
 */
void sb_amx_push(sb_amx_pipeline *w, const sb_amx_item *it);

/* Transpose 16 x 16 words of 32 bits. */
static inline __attribute__((always_inline)) void transpose(__m512i *x)
{
    __m512i y[TILE];
    for (int i = 0; i < TILE; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < TILE; i += 4)
        for (int j = 0; j < 2; j++) {
            x[i + 2 * j] = _mm512_unpacklo_epi64(y[i + j], y[i + j + 2]);
            x[i + 2 * j + 1] = _mm512_unpackhi_epi64(y[i + j], y[i + j + 2]);
        }
    for (int i = 0; i < TILE; i += 8)
        for (int j = 0; j < 4; j++) {
            y[i + j] = _mm512_shuffle_i32x4(x[i + j], x[i + j + 4], 0x88);
            y[i + j + 4] = _mm512_shuffle_i32x4(x[i + j], x[i + j + 4], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        x[j] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0x88);
        x[j + 8] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0xdd);
    }
}

static inline __mmask32 first_bits(int64_t n)
{
    return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (1u << n) - 1;
}

#endif
