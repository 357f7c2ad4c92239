#ifndef SB_PLOT_SHEET_H
#define SB_PLOT_SHEET_H

#include <stdint.h>
#include <stdio.h>

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SB_SHEET_RUN = -3 /**< slot of the name of the first of two runs; -4: of the second */ };

/** The two files behind a picture: rows of numbers, and the texts of its key (slot 1 and up) and
 *  caption (slot 0, one row a sentence or more). */
typedef struct sb_sheet {
    FILE *csv, *key;
    int64_t n_rows;
} sb_sheet;

/** Create both files; the caller closes the sheet on failure too. SB_IO. */
sb_status sb_sheet_open(sb_sheet *s, const char *csv_path, const char *key_path, sb_err *err);

/** Close both; SB_IO when `st` is SB_OK and anything could not be written, else `st`. */
sb_status sb_sheet_close(sb_sheet *s, sb_status st, const char *csv_path, sb_err *err);

/** Write a text in double quotes; nothing where it is empty, as gnuplot reads "" as a comma. */
void sb_sheet_quoted(FILE *f, const char *text);

/** Write a comma and a number, or nothing after it where the number is not finite. */
void sb_sheet_real(FILE *f, double x);

/** Add a text of the key, or a sentence or more of the caption. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
sb_status
sb_sheet_key(sb_sheet *s, int slot, sb_err *err, const char *fmt, ...);

#ifdef __cplusplus
}
#endif
#endif
