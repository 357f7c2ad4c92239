#include "harness/plot_sheet.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

sb_status sb_sheet_open(sb_sheet *s, const char *csv_path, const char *key_path, sb_err *err)
{
    *s = (sb_sheet){.csv = fopen(csv_path, "w")};
    if (!s->csv)
        return sb_fail(err, SB_IO, "%s: %s", csv_path, strerror(errno));
    s->key = fopen(key_path, "w");
    if (!s->key)
        return sb_fail(err, SB_IO, "%s: %s", key_path, strerror(errno));
    fputs("slot\ttext\n", s->key);
    return SB_OK;
}

sb_status sb_sheet_close(sb_sheet *s, sb_status st, const char *csv_path, sb_err *err)
{
    FILE *files[] = {s->csv, s->key};
    for (int i = 0; i < 2; i++) {
        bool bad = files[i] && ferror(files[i]);
        bad |= files[i] && fclose(files[i]) != 0;
        if (bad && st == SB_OK)
            st = sb_fail(err, SB_IO, "%s: cannot write plot data", csv_path);
    }
    return st;
}

void sb_sheet_quoted(FILE *f, const char *text)
{
    if (!text || !*text)
        return;
    fputc('"', f);
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            fputc('"', f);
        fputc(*p == '\n' ? ' ' : *p, f);
    }
    fputc('"', f);
}

void sb_sheet_real(FILE *f, double x)
{
    fputc(',', f);
    if (isfinite(x))
        fprintf(f, "%.9g", x);
}

sb_status sb_sheet_key(sb_sheet *s, int slot, sb_err *err, const char *fmt, ...)
{
    char line[640];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n < 0)
        return sb_fail(err, SB_INTERNAL, "cannot format the text of a plot");
    /* gnuplot would end a text at a tab or double quote */
    for (char *p = line; *p; p++)
        *p = *p == '"' ? '\'' : (unsigned char)*p < ' ' ? ' ' : *p;
    fprintf(s->key, "%d\t%s\n", slot, line);
    return SB_OK;
}
