#ifndef SB_DATASET_STREAM_H
#define SB_DATASET_STREAM_H

#include <hdf5.h>

#include "harness/dataset.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A tensor being read: pieces of step_heads x step_tokens rows that follow its chunks, so that
 *  HDF5 unpacks each chunk once. */
typedef struct sb_layer_stream {
    hid_t group, set, space, type;
    const char *name;
    sb_dtype dtype;
    int64_t heads, tokens, dim;
    int64_t step_heads, step_tokens;
    sb_err *err;
} sb_layer_stream;

/** Takes n rows of one head from token t0 on, as stored. */
typedef sb_status (*sb_row_sink)(void *user, const sb_layer_stream *s, int64_t head, int64_t t0,
                                 int64_t n, const void *rows);

/** Open the first n tokens, rehearsed, of 'q', 'k' or 'v'; to be closed on failure too. */
sb_status sb_layer_stream_open(const sb_capture *cap, const sb_layer_info *layer, char which,
                               int64_t n, sb_layer_stream *s, sb_err *err);
void sb_layer_stream_close(sb_layer_stream *s);

/** Hand all rows to the sink, piece by piece: by heads, then tokens. */
sb_status sb_layer_stream_run(const sb_layer_stream *s, sb_row_sink sink, void *user);

/** Check and read the first n tokens of a layer's tensors in a child process, once. SB_BAD_DATA
 * when it dies.
 */
sb_status sb_layer_rehearse(const sb_capture *cap, sb_layer_info *layer, int64_t n, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
