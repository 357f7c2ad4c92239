#ifndef SB_REPORT_TEXT_H
#define SB_REPORT_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Texts and numbers of a report. Whatever a text holds, it stays text: bytes that are not UTF-8
 * become U+FFFD, and NULL is an empty text. */

/** Write a text between tags or in a quoted attribute; controls but line ends and tabs become
 *  U+FFFD. */
void sb_html_text(FILE *out, const char *text);

/** Write a JSON string, quotes included. It holds no '<', so it cannot end the script element that
 *  it stands in. */
void sb_json_text(FILE *out, const char *text);

/** As sb_json_text, without the quotes: a piece of a string. */
void sb_json_piece(FILE *out, const char *text);

/** Write a number with so many significant digits, or null where it is not finite. */
void sb_json_real(FILE *out, double x, int digits);

/** Write n numbers as a list, or null where there are none. */
void sb_json_reals(FILE *out, const double *x, int64_t n, int digits);

#ifdef __cplusplus
}
#endif
#endif
