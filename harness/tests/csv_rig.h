/* For tests of runs that are a results.csv alone. */
#ifndef SB_CSV_RIG_H
#define SB_CSV_RIG_H

#include "harness/mem.h"
#include "harness/results_store.h"

/* Records in the order in which they are given. */
static sb_status save_csv(const char *path, const sb_record *records, int64_t n, sb_err *err)
{
    sb_csv_row *rows = sb_alloc(n, sizeof *rows);
    sb_status st = rows ? SB_OK : sb_no_memory(err, "the lines of a CSV");
    for (int64_t i = 0; i < n && st == SB_OK; i++)
        st = sb_csv_line(&records[i], &rows[i].line, err);
    if (st == SB_OK)
        st = sb_csv_save(path, rows, n, err);
    for (int64_t i = 0; i < n && rows; i++)
        sb_free(rows[i].line);
    sb_free(rows);
    return st;
}

#endif
