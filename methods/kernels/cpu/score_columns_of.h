/* sb_score_columns on vectors of WIDTH floats, TILE_VECTORS of which are taken at once, for the
 * instruction set TARGET: score_columns.c includes this once for each. */

#define PASTE(a, b) a##b
#define OF_WIDTH(name, width) PASTE(name, width)
#define VECTOR OF_WIDTH(vector_, WIDTH)

typedef float VECTOR __attribute__((vector_size(WIDTH * sizeof(float)), aligned(4)));

/* out [SB_SCORE_ROWS, n_vec WIDTH], rows n_out apart. The products that one lane of sb_score_rows
 * sums, 16 apart, are summed first, then the tree. */
SB_ALWAYS_INLINE void OF_WIDTH(score_tile_, WIDTH)(const float *const *row, const float *b,
                                                   int64_t length, int64_t b_row, int n_vec,
                                                   const float *gain, int64_t n_out, float *out)
{
    VECTOR stack[TREE_DEPTH][SB_SCORE_ROWS * TILE_VECTORS];
    int top = 0;
    for (int visit = 0; visit < SB_LANES; visit++) {
        VECTOR sum[SB_SCORE_ROWS * TILE_VECTORS];
        SB_UNROLL
        for (int i = 0; i < SB_SCORE_ROWS * n_vec; i++)
            sum[i] = (VECTOR){0};
        for (int64_t c = lane_order[visit]; c < length; c += SB_LANES) {
            SB_UNROLL
            for (int v = 0; v < n_vec; v++) {
                VECTOR column = *(const VECTOR *)(const void *)(b + c * b_row + v * WIDTH);
                SB_UNROLL
                for (int r = 0; r < SB_SCORE_ROWS; r++)
                    sum[r * n_vec + v] += row[r][c] * column;
            }
        }
        for (int subtree = visit; subtree & 1; subtree >>= 1) {
            top--;
            SB_UNROLL
            for (int i = 0; i < SB_SCORE_ROWS * n_vec; i++)
                sum[i] += stack[top][i];
        }
        SB_UNROLL
        for (int i = 0; i < SB_SCORE_ROWS * n_vec; i++)
            stack[top][i] = sum[i];
        top++;
    }
    for (int r = 0; r < SB_SCORE_ROWS; r++)
        for (int v = 0; v < n_vec; v++)
            *(VECTOR *)(void *)(out + r * n_out + v * WIDTH) = gain[r] * stack[0][r * n_vec + v];
}

TARGET
static void OF_WIDTH(score_columns_, WIDTH)(const float *a, int64_t n_rows, const float *b,
                                            int64_t n, int64_t length, int64_t b_row,
                                            const float *gain, int64_t n_out, float *out)
{
    const float *row[SB_SCORE_ROWS];
    float row_gain[SB_SCORE_ROWS], part[SB_SCORE_ROWS * WIDTH];
    int64_t j = 0;
    /* Rows that are missing repeat the last: the same instructions for every shape. */
    for (int r = 0; r < SB_SCORE_ROWS; r++) {
        row[r] = a + (r < n_rows ? r : n_rows - 1) * length;
        row_gain[r] = gain[r < n_rows ? r : n_rows - 1];
    }
    for (; n_rows == SB_SCORE_ROWS && j + TILE_VECTORS * WIDTH <= n; j += TILE_VECTORS * WIDTH)
        OF_WIDTH(score_tile_, WIDTH)
    (row, b + j, length, b_row, TILE_VECTORS, row_gain, n_out, out + j);
    for (; j < n; j += WIDTH) {
        OF_WIDTH(score_tile_, WIDTH)(row, b + j, length, b_row, 1, row_gain, WIDTH, part);
        for (int r = 0; r < n_rows; r++)
            memcpy(out + r * n_out + j, part + r * WIDTH,
                   (size_t)(n - j < WIDTH ? n - j : WIDTH) * sizeof *out);
    }
}

#undef VECTOR
#undef OF_WIDTH
#undef PASTE
#undef TARGET
#undef TILE_VECTORS
#undef WIDTH
