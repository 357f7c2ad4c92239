#ifndef SB_REPORT_MAPS_H
#define SB_REPORT_MAPS_H

#include "harness/dataset.h"
#include "harness/report_view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Pattern maps of single heads, which a run does not store: selected again from its captures. */

/** Why a pattern is shown as the run's stored mean over heads, or not at all. */
typedef enum sb_map_why {
    SB_MAP_MADE,    /**< it is shown head by head */
    SB_MAP_CAPTURE, /**< its capture cannot be read */
    SB_MAP_DIGEST,  /**< its capture is another file now */
    SB_MAP_LARGE,   /**< selecting it again would take too long */
    SB_MAP_REFUSED, /**< this build does not select it: method, parameters or shape */
    SB_MAP_HASH,    /**< this build selects another pattern */
    SB_MAP_N_WHYS
} sb_map_why;

/** Bytes as text: deflated, in base64. */
typedef struct sb_packed {
    char *text;
    int64_t n; /**< characters */
} sb_packed;

/** Pack n bytes; the text is for sb_free. The same bytes give the same text. SB_NO_MEMORY. */
sb_status sb_pack(const unsigned char *bytes, int64_t n, sb_packed *packed, sb_err *err);

/** Maps of heads, row = query, column = key; coded as harness/report_select.c says. */
typedef struct sb_head_maps {
    int64_t n_heads, side;
    unsigned char *values; /**< [n_heads, side, side] */
} sb_head_maps;

/** A layer of a capture up to some token, in some type: what records select from. */
typedef struct sb_map_shape {
    sb_problem problem;
    sb_tensors tensors;
    int n_threads;
} sb_map_shape;

/** Select a record's pattern again: its maps, or *why there are none. SB_NO_MEMORY. */
sb_status sb_map_pattern(const sb_map_shape *shape, const sb_record *r, sb_head_maps *maps,
                         sb_map_why *why, sb_err *err);

/** The exact attention mass of key blocks: of the `finest` that patterns have, or of such as fill a
 *  map of SB_MAP_MAX; of so many tokens are the blocks. SB_NO_MEMORY. */
sb_status sb_map_mass(const sb_map_shape *shape, int64_t finest, sb_head_maps *maps, int64_t *block,
                      sb_err *err);

/** The record's stored map as the map of one head; none (n_heads 0) where it has none.
 * SB_NO_MEMORY. */
sb_status sb_map_stored(const sb_record *r, sb_head_maps *maps, sb_err *err);

/** Whether a record is finished and has a pattern: dense attention has none. */
bool sb_map_has_pattern(const sb_record *r);

/** Find the first record of each record's shape (what it selects from), shape [v->n], and the order
 *  [*n] of the records that have patterns, most useful first. SB_NO_MEMORY. */
sb_status sb_map_order(const sb_report_view *v, int64_t *shape, int64_t *order, int64_t *n,
                       sb_err *err);

/** A pattern, or a mass (of the shape of `record`), packed. */
typedef struct sb_packed_map {
    int64_t record;
    int64_t n_heads, side, block;
    int64_t mass; /**< of a pattern: index of its mass, or -1 */
    sb_packed packed;
} sb_packed_map;

typedef struct sb_report_maps {
    int64_t n_masses, n_patterns;
    sb_packed_map *masses, *patterns; /**< patterns ascending by record */
    int64_t n_of[SB_MAP_N_WHYS];      /**< patterns by why they are what they are */
    int64_t n_without;                /**< that have no map at all */
    int64_t n_order, n_done;
    int64_t *order; /**< records, most useful first; those from n_done on are left out for size */
} sb_report_maps;

/** Make the maps of a view's records, up to about 3 MB; captures are looked for as a config's are,
 *  beside `run_dir`'s own. Bad captures and records only leave their reason. SB_NO_MEMORY. */
sb_status sb_report_maps_make(const sb_report_view *v, const char *run_dir, int n_threads,
                              sb_report_maps *maps, sb_err *err);
void sb_report_maps_free(sb_report_maps *maps);

/** Write what is not shown head by head, and why; nothing where all is. Plain text without marks.
 */
void sb_report_maps_note(FILE *out, const sb_report_view *v, const sb_report_maps *maps);

/** Write what the page's scripts read, as JSON without '<'. SB_NO_MEMORY. */
sb_status sb_report_write_json(FILE *out, const sb_report_view *v, const sb_report_maps *maps,
                               sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
