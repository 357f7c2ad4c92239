#ifndef SB_RESULTS_STORE_H
#define SB_RESULTS_STORE_H

/* What the files of harness/results*.c, csv.c and run_dir.c share. */

#include "harness/h5file.h"
#include "harness/keys.h"
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

/** The columns, texts and integers, that say which cell a record is of: all that are not measured.
 */
enum { SB_N_IDENTITY = 22 };
extern const char *const sb_identity_names[SB_N_IDENTITY];

/** Hash of these columns, never 0; the same on every machine. */
uint64_t sb_identity_hash(const sb_record *r);

/** The column of a name, or NULL. */
const sb_column *sb_column_find(const char *name);

/** A growing list of records, owned. */
typedef struct sb_record_list {
    sb_record *items;
    int64_t n, capacity;
} sb_record_list;

/** Add an initialised record and point *r at it; valid until the next push. */
sb_status sb_record_push(sb_record_list *list, sb_record **r, sb_err *err);

/* Names within a run directory. */
#define SB_RESULTS_H5 "results.h5"
#define SB_RESULTS_CSV "results.csv"
#define SB_CELLS_DIR ".cells"
#define SB_PARTS_DIR "parts"
#define SB_PARTS_DONE ".merged" /* parts whose records are in results.h5 */
#define SB_STARTED ".started"
#define SB_NODES ".nodes"
#define SB_ALONE ".alone" /* locks of those that time */
#define SB_PART_FACTS "part.yaml"

/** Parse 16 hexadecimal digits. */
bool sb_key_parse(const char *name, uint64_t *key);

/* ---- a file of records ------------------------------------------------------------------------
 *
 * results.h5, and with one record each the files under .cells:
 *   @format = "stembench-results", @version = 1, @config (results.h5 only)
 *   /records/<key>      attributes: the columns, pos_bin, map_side, config, provenance (a name
 *                       below); datasets: the series that are there, float64
 *   /provenance/<hash>  a text that records share
 *   /rows               see results_rows.h (results.h5 only) */

#define SB_STORE_FORMAT "stembench-results"
enum { SB_STORE_VERSION = 1 };

/** Start an empty store; ends as sb_h5_create does. */
sb_status sb_store_create(const char *path, const char *config, sb_h5_out *out, sb_err *err);

/** Open a store read-only and check what it is; on failure too, the caller closes *file. */
sb_status sb_store_open(const char *path, hid_t *file, sb_err *err);

/** Write a file that holds one record, durably and as a whole. SB_IO. */
sb_status sb_cell_write(const char *path, const sb_record *r, sb_err *err);

/** What is called with each record in turn; it may take the record by initialising it. */
typedef sb_status (*sb_record_visit)(void *user, sb_record *r, sb_err *err);

/** How much of a record is read: the columns and `config`, `provenance` being the name under which
 *  the file keeps the text; or all of it. */
typedef enum sb_extent { SB_COLUMNS, SB_WHOLE } sb_extent;

/** Visit the records of an open store. SB_BAD_DATA when it is damaged. */
sb_status sb_store_visit(hid_t file, sb_extent extent, sb_record_visit visit, void *user,
                         sb_err *err);

/** The same of a file. SB_BAD_DATA, also when it is missing or foreign. */
sb_status sb_file_visit(const char *path, sb_extent extent, sb_record_visit visit, void *user,
                        sb_err *err);

/** Read all of a record of an open store, if it is there. SB_BAD_DATA. */
sb_status sb_store_find(hid_t file, uint64_t key, sb_record *r, bool *found, sb_err *err);

/** The text of that name under /provenance of an open store, for sb_free. SB_BAD_DATA. */
sb_status sb_provenance_load(hid_t file, const char *name, char **text, sb_err *err);

/** Copy a record, known by its columns, with its provenance from an open store to one that has none
 *  of its key. SB_IO. */
sb_status sb_record_copy(hid_t from, const sb_h5_out *to, const sb_record *r, sb_err *err);

/** Give a record's integer column another value. SB_IO. */
sb_status sb_record_renumber(const sb_h5_out *to, uint64_t key, const char *column, int64_t number,
                             sb_err *err);

/** Make HDF5 keep few of a file's objects in memory: where each is met once, that is several times
 *  as fast as its growing cache, and small. */
void sb_store_pass_once(hid_t file);

/* ---- a run directory --------------------------------------------------------------------------
 */

/** Path of a record's own file. NULL when memory runs out. */
char *sb_cell_path(const char *run_path, uint64_t key);

/** A visit that appends the record to a sb_record_list. */
sb_status sb_record_take(void *list, sb_record *r, sb_err *err);

/** Visit the records under .cells, passing over damaged files. */
sb_status sb_cells_visit(const char *run_path, sb_extent extent, sb_record_visit visit, void *user,
                         sb_err *err);

/** Load all records of a run, those not yet folded first. A directory that holds neither but a
 *  results.csv: see sb_csv_load. */
sb_status sb_run_load(const char *run_path, sb_extent extent, sb_record_list *list, sb_err *err);

/** Order records by cell, then key. */
void sb_records_sort(sb_record *records, int64_t n);

/** Lock a run directory, new or ours, for this process alone; `fresh` removes our files, and
 *  config.yaml is written, or must be the same (SB_USAGE). *lock, where >= 0, is for close(). */
sb_status sb_run_claim(const char *path, const char *config_text, bool fresh, int *lock,
                       sb_err *err);

/** What belongs into results.h5 after a fold. */
typedef struct sb_keep {
    const uint64_t *keys; /**< [n] key of cell i; NULL keeps every record and its cell number */
    int64_t n;
} sb_keep;

/** Add the `pending` records' files to results.h5: a new file, renamed into place; *changed is
 * false when all was there as it is to be. The pending files stay. `drops` says that `keep` leaves
 * out records that are there. SB_IO, SB_BAD_DATA. */
sb_status sb_store_fold(const char *run_path, const char *config_text, const sb_keys *pending,
                        const sb_keep *keep, bool drops, bool *changed, sb_err *err);

/** What is known of a record without reading it whole. */
typedef struct sb_stub {
    uint64_t key;
    int64_t cell, node;
    uint64_t digest;     /**< of its capture */
    char provenance[17]; /**< name of the text in its file, "" for none */
    bool failed;
} sb_stub;

typedef struct sb_stub_list {
    sb_stub *items;
    int64_t n, capacity;
} sb_stub_list;

/** Append the records of a run directory, which another process may be writing to: with `keys` the
 *  key alone is read. None when there is no such directory. A record that moves meanwhile may come
 *  twice. SB_BAD_DATA. */
sb_status sb_run_scan(const char *run_path, bool keys, sb_stub_list *list, sb_err *err);

/** Whether a run directory has records that are not in its results.h5 yet. SB_NO_MEMORY. */
sb_status sb_run_has_cells(const char *run_path, bool *has, sb_err *err);

/** Make the CSV line of a record, newline included; r == NULL makes the header. */
sb_status sb_csv_line(const sb_record *r, char **line, sb_err *err);

/** A line of a CSV to be, and what orders it. */
typedef struct sb_csv_row {
    int64_t cell;
    uint64_t key;
    char *line; /**< owned */
} sb_csv_row;

/** Write the header and n lines to a file by rename. SB_IO. */
sb_status sb_csv_save(const char *path, const sb_csv_row *rows, int64_t n, sb_err *err);

/**
 * Append the records of RUN/results.csv, which any program may have written: known columns in any
 * order, `cell`, `status` and `method` among them; a missing column or an empty field keeps the
 * initial value. Their provenance is the text of RUN/provenance.yaml where it is there, their
 * config "", their key the hash of the columns that say which cell it is; they have no series.
 * SB_BAD_DATA "file:line: column name: what; expected what", also when a cell comes twice.
 */
sb_status sb_csv_load(const char *run_path, sb_record_list *list, sb_err *err);

/** The same of text in memory, which is overwritten; text[n_bytes] is NUL. `path` names it. */
sb_status sb_csv_parse(char *text, size_t n_bytes, const char *path, const char *provenance,
                       sb_record_list *list, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
