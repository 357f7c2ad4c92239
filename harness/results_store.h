#ifndef SB_RESULTS_STORE_H
#define SB_RESULTS_STORE_H

/* What the files of harness/results*.c, csv.c and run_dir.c share. */

#include "harness/h5file.h"
#include "harness/results.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sb_kind { SB_KIND_TEXT, SB_KIND_INT, SB_KIND_REAL } sb_kind;

/** One column of results.def and where it lies in a record. */
typedef struct sb_column {
    const char *name;
    sb_kind kind;
    size_t offset;
} sb_column;

extern const sb_column sb_columns[];
extern const int sb_n_columns;

static inline void *sb_column_at(const sb_column *c, sb_record *r)
{
    return (char *)r + c->offset;
}
static inline const void *sb_column_of(const sb_column *c, const sb_record *r)
{
    return (const char *)r + c->offset;
}

/** A growing list of records, owned. */
typedef struct sb_record_list {
    sb_record *items;
    int64_t n, capacity;
} sb_record_list;

/** Add an initialised record and point *r at it; valid until the next push. */
sb_status sb_record_push(sb_record_list *list, sb_record **r, sb_err *err);

/** An ascending set of record keys. */
typedef struct sb_key_set {
    uint64_t *keys;
    int64_t n, capacity;
} sb_key_set;

bool sb_key_has(const sb_key_set *set, uint64_t key);
sb_status sb_key_add(sb_key_set *set, uint64_t key, sb_err *err);

/* Names within a run directory. */
#define SB_RESULTS_H5 "results.h5"
#define SB_RESULTS_CSV "results.csv"
#define SB_CELLS_DIR ".cells"

/** Parse 16 hexadecimal digits. */
bool sb_key_parse(const char *name, uint64_t *key);

/* A file of one record has the format of results.h5:
 *   @format = "stembench-results", @version = 1, @config (results.h5 only)
 *   /records/<key>      attributes: the columns, pos_bin, map_side, config, provenance (a name
 * below); datasets: the series that are there, float64, shuffle + deflate /provenance/<hash>  a
 * text that records share */

/** Start an empty store; ends as sb_h5_create does. */
sb_status sb_store_create(const char *path, const char *config, sb_h5_out *out, sb_err *err);

/** Open a store read-only and check what it is; on failure too, the caller closes *file. */
sb_status sb_store_open(const char *path, hid_t *file, sb_err *err);

/** Write a file that holds one record, durably and as a whole. SB_IO. */
sb_status sb_cell_write(const char *path, const sb_record *r, sb_err *err);

/** Append the records of a file to the list, but those whose key is in `skip` (NULL: none). Without
 *  `whole`, only the columns and `config` are read, and `provenance` is the name under which the
 *  file keeps the text. SB_BAD_DATA when it is missing, foreign or damaged. */
sb_status sb_store_load(const char *path, bool whole, const sb_key_set *skip, sb_record_list *list,
                        sb_err *err);

/** Append the records under .cells, passing over damaged files. SB_NO_MEMORY. */
sb_status sb_cells_load(const char *run_path, bool whole, sb_record_list *list, sb_err *err);

/** Load all records of a run: first the *n_cells not yet folded, then those of results.h5. */
sb_status sb_run_load(const char *run_path, bool whole, sb_record_list *list, int64_t *n_cells,
                      sb_err *err);

/** Order records by cell, then key. */
void sb_records_sort(sb_record *records, int64_t n);

/** Path of a record's own file. NULL when memory runs out. */
char *sb_cell_path(const char *run_path, uint64_t key);

/** What belongs into results.h5 after a fold. */
typedef struct sb_keep {
    const uint64_t *keys; /**< [n] key of cell i; NULL keeps every record and its cell number */
    int64_t n;
} sb_keep;

/** Add the `pending` records' files to results.h5: a new file, renamed into place. The pending
 * files stay. `drops` says that `keep` leaves out records that are there. SB_IO, SB_BAD_DATA. */
sb_status sb_store_fold(const char *run_path, const char *config_text, const sb_key_set *pending,
                        const sb_keep *keep, bool drops, sb_err *err);

/** Make the CSV line of a record, newline included; r == NULL makes the header. */
sb_status sb_csv_line(const sb_record *r, char **line, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
