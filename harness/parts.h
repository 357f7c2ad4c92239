#ifndef SB_PARTS_H
#define SB_PARTS_H

#include "harness/results.h"
#include "harness/starts.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A sweep that many processes share. Each writes to a run directory of its own, RUN/parts/NAME: a
 * part. No file has two writers, a process that dies loses the cell it computes and nothing else,
 * and what is finished is the union of what RUN and all parts hold. sb_merge takes the parts into
 * RUN.
 */

/** What a process may write to: a part, or as `name` NULL all of the run directory. */
typedef struct sb_part_options {
    const char *name;
    const char *config_text;
    const char
        *facts; /**< lines that all parts of a merge must agree on: "cells", "build", "data" */
    bool fresh; /**< of the whole run directory only: remove what is there */
    bool retry; /**< forget the cells that killed their process */
} sb_part_options;

typedef struct sb_part {
    sb_run_dir *dir; /**< where finished records go */
    int shared;      /**< lock on RUN, or -1 */
    sb_starts starts;
} sb_part;

/**
 * Open for writing, alone. A part whose facts are others is started anew; the config of RUN must be
 * `config_text` (SB_USAGE), and is written where there is none. SB_IO, also when it is in use;
 * SB_BAD_DATA when its finished records cannot be read. Close in any case.
 */
sb_status sb_part_open(const char *run_path, const sb_part_options *options, sb_part *part,
                       sb_err *err);
void sb_part_close(sb_part *part);

/** SB_CELL_COMPUTED: finished, but by this process itself. */
enum { SB_CELL_COMPUTED = 254, SB_CELL_FINISHED = 255 };

/**
 * What RUN and all of its parts say of the cells with keys[n]: states[n] is SB_CELL_FINISHED, or
 * else how many processes died of it. With `retry` failed cells are not finished, and deaths
 * forgotten. SB_BAD_DATA when finished records cannot be read.
 */
sb_status sb_parts_states(const char *run_path, bool retry, const uint64_t *keys, int64_t n,
                          uint8_t *states, sb_err *err);

/** Names of the parts of a run directory, sorted, for sb_parts_free; none when there is no such
 *  directory. SB_NO_MEMORY. */
sb_status sb_parts_list(const char *run_path, char ***names, int64_t *n, sb_err *err);
void sb_parts_free(char **names, int64_t n);

/** A file of a part, for sb_free; `file` NULL: the part. NULL when memory runs out. */
char *sb_part_path(const char *run_path, const char *name, const char *file);

#ifdef __cplusplus
}
#endif
#endif
