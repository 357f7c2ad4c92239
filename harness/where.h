#ifndef SB_WHERE_H
#define SB_WHERE_H

#include "harness/results_store.h"
#include "harness/yaml.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One condition: a column's text matches one of the globs. */
typedef struct sb_condition {
    const sb_column *column;
    const sb_node *globs; /**< a scalar or a list of scalars */
} sb_condition;

/** Conditions that a record meets all of; none: every record. */
typedef struct sb_where {
    int n;
    sb_condition list[SB_N_IDENTITY];
} sb_where;

/**
 * Read a mapping of column to glob, or to a list of globs of which one must match. Globs are those
 * of fnmatch(3). Of `params` each word of the glob must match a word of the column:
 * "mu=0.7 value=*". SB_USAGE with the position. The nodes must outlive *where.
 */
sb_status sb_where_read(const sb_node *map, sb_where *where, sb_err *err);

/** Add conditions "column=glob" from the command line, values in YAML. */
sb_status sb_where_from_sets(const char *const *sets, int64_t n_sets, struct sb_arena *arena,
                             sb_where *where, sb_err *err);

bool sb_where_meets(const sb_where *where, const sb_record *r);

#ifdef __cplusplus
}
#endif
#endif
