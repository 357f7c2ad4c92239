#ifndef SB_RESULTS_H
#define SB_RESULTS_H

#include "harness/status.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Fields of a record, one for each CSV column. */
#define SB_FIELD_TEXT char *
#define SB_FIELD_INT int64_t
#define SB_FIELD_REAL double

enum { SB_MAP_MAX = 128 }; /**< side of the largest stored pattern map */

/** A named array of a record, float64. */
typedef struct sb_series {
    const char *name; /**< one of sb_series_names */
    int64_t n;
    double *data; /**< owned by the record */
} sb_series;

/** The arrays a record can hold, as datasets of its group in results.h5. */
enum sb_series_id {
    SB_SERIES_SELECT_MS, /**< raw latency samples */
    SB_SERIES_ATTEND_MS,
    SB_SERIES_TOTAL_MS,
    SB_SERIES_DENSE_MS, /**< the dense baseline's samples of the same rounds */
    SB_SERIES_OWN_DENSE_MS,
    SB_SERIES_CUDNN_MS,
    SB_SERIES_SM_MHZ, /**< the device's clock, power and temperature under each sample */
    SB_SERIES_WATTS,
    SB_SERIES_CELSIUS,
    SB_SERIES_HEAD_REL_L2,
    SB_SERIES_HEAD_MASS_RECALL,
    SB_SERIES_POS_REL_L2, /**< by bins of pos_bin query tokens */
    SB_SERIES_POS_MASS_RECALL,
    SB_SERIES_BUDGET,      /**< mean kept blocks of each block row, over heads; a block of which
                                a share of the tokens is kept counts as that share */
    SB_SERIES_PATTERN_MAP, /**< [m, m] share of kept blocks over heads, rows by keys, m = map_side;
                                negative above the diagonal */
    SB_N_SERIES
};
extern const char *const sb_series_names[SB_N_SERIES];

/** One result row: the CSV's columns, plus what only results.h5 keeps. */
typedef struct sb_record {
    uint64_t key; /**< hash of data digest, resolved cell and build */
#define SB_COLUMN(kind, name) SB_FIELD_##kind name;
#include "harness/results.def"
#undef SB_COLUMN
    int64_t pos_bin;  /**< query tokens in one position bin */
    int64_t map_side; /**< m of the pattern map, 0 when none */
    char *config;     /**< the resolved cell, YAML */
    char *provenance; /**< of the process that made it, YAML */
    sb_series series[SB_N_SERIES];
} sb_record;

/** Start a record: texts NULL (written as empty), reals NaN, integers 0. */
void sb_record_init(sb_record *r);
void sb_record_free(sb_record *r);

/** Set a text field to a copy; SB_NO_MEMORY. NULL clears it. */
sb_status sb_record_set(char **field, const char *text, sb_err *err);

/** Store a copy of n numbers as series `id`. */
sb_status sb_record_series(sb_record *r, enum sb_series_id id, const double *data, int64_t n,
                           sb_err *err);

/**
 * A run directory: results.h5, results.csv, config.yaml. Every finished record is made durable on
 * its own (a small file under .cells/, written aside, synced and renamed) before append returns;
 * records are folded into results.h5 from time to time and on close, again by rename. So a kill at
 * any moment loses no appended record, and results.h5 is whole whenever it exists.
 */
typedef struct sb_run_dir sb_run_dir;

/**
 * Create or reopen. `config_text` goes to config.yaml; a directory that holds results of another
 * config is refused (SB_USAGE) unless `fresh`, which removes our own files there first (and only
 * those). A second process on the directory is refused (SB_IO, "in use"). SB_IO when unwritable.
 */
sb_status sb_run_dir_open(const char *path, const char *config_text, bool fresh, sb_run_dir **dir,
                          sb_err *err);

/** Create or reopen a directory that other processes share, each writing to a run directory of its
 *  own below it: *lock, where >= 0 for close(), keeps out who wants all of it. As sb_run_dir_open
 *  otherwise. */
sb_status sb_run_dir_share(const char *path, int *lock, sb_err *err);

/** Whether a finished record with that key is there. */
bool sb_run_dir_has(const sb_run_dir *dir, uint64_t key);

/** Make a record durable and add its line to results.csv. The record stays the caller's. A record
 *  with the key of an earlier one replaces it; the earlier line leaves the CSV at the next open or
 *  finish. SB_IO leaves all earlier records intact. */
sb_status sb_run_dir_append(sb_run_dir *dir, const sb_record *r, sb_err *err);

/**
 * Fold all records into results.h5 and rewrite results.csv in order of `cell`. `keys` [n] are the
 * records that belong to the config as it stands, keys[i] being cell i: others are dropped, and
 * kept ones get their cell number. keys == NULL keeps all.
 */
sb_status sb_run_dir_finish(sb_run_dir *dir, const uint64_t *keys, int64_t n, sb_err *err);

/** Read all records again, after results.h5 was written by other means than these, and rewrite
 *  results.csv. */
sb_status sb_run_dir_reload(sb_run_dir *dir, sb_err *err);

/** Release the lock and free. Records appended stay durable without finish. NULL is allowed. */
void sb_run_dir_close(sb_run_dir *dir);

/**
 * Read all records of a run directory for reporting, ascending by cell; read-only, takes no lock.
 * Texts are never NULL. SB_BAD_DATA when it is none or damaged.
 */
sb_status sb_results_read(const char *path, sb_record **records, int64_t *n, sb_err *err);
void sb_records_free(sb_record *records, int64_t n);

/** The same for who needs the columns alone, which takes a fiftieth of the time and memory: without
 *  series, pos_bin and map_side, and `provenance` is a name that records share. */
sb_status sb_results_columns(const char *path, sb_record **records, int64_t *n, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
