#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/results_store.h"

/* RFC 4180: a field that holds a separator is quoted, quotes within are doubled. */
static size_t quoted_length(const char *text)
{
    size_t n = strlen(text), n_quotes = 0;
    for (const char *p = text; *p; p++)
        n_quotes += *p == '"';
    return n_quotes > 0 || strpbrk(text, ",\r\n") ? n + n_quotes + 2 : n;
}

static char *put_text(char *at, const char *text)
{
    size_t n = strlen(text);
    if (quoted_length(text) == n) {
        memcpy(at, text, n);
        return at + n;
    }
    *at++ = '"';
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            *at++ = '"';
        *at++ = *p;
    }
    *at++ = '"';
    return at;
}

enum { NUMBER = 32 }; /* characters that any number fits in */

static char *put_number(char *at, const sb_column *c, const sb_record *r)
{
    int n = 0;
    if (c->kind == SB_KIND_INT) {
        n = snprintf(at, NUMBER, "%" PRId64, *(const int64_t *)sb_column_of(c, r));
    } else {
        double x = *(const double *)sb_column_of(c, r);
        n = isnan(x) ? 0 : snprintf(at, NUMBER, "%.9g", x);
    }
    return at + n;
}

static const char *text_of(const sb_column *c, const sb_record *r)
{
    const char *text = r ? *(char *const *)sb_column_of(c, r) : c->name;
    return text ? text : "";
}

sb_status sb_csv_line(const sb_record *r, char **line, sb_err *err)
{
    size_t room = 1;
    for (int i = 0; i < sb_n_columns; i++) {
        const sb_column *c = &sb_columns[i];
        room += 1 + (r && c->kind != SB_KIND_TEXT ? NUMBER : quoted_length(text_of(c, r)));
    }
    char *at = *line = sb_alloc_uninit((int64_t)room, 1);
    if (!at)
        return sb_no_memory(err, "a line of the CSV");
    for (int i = 0; i < sb_n_columns; i++) {
        const sb_column *c = &sb_columns[i];
        at = r && c->kind != SB_KIND_TEXT ? put_number(at, c, r) : put_text(at, text_of(c, r));
        *at++ = i + 1 < sb_n_columns ? ',' : '\n';
    }
    *at++ = '\0';
    char *fitting = sb_realloc(*line, at - *line, 1);
    if (!fitting) {
        sb_free(*line);
        *line = NULL;
        return sb_no_memory(err, "a line of the CSV");
    }
    *line = fitting;
    return SB_OK;
}

static sb_status write_lines(FILE *file, const char *path, const sb_csv_row *rows, int64_t n,
                             sb_err *err)
{
    char *header = NULL;
    sb_status st = sb_csv_line(NULL, &header, err);
    bool wrote = st == SB_OK && fputs(header, file) != EOF;
    for (int64_t i = 0; i < n && wrote; i++)
        wrote = fputs(rows[i].line, file) != EOF;
    if (st == SB_OK && !wrote)
        st = sb_fs_fail(err, path, "write");
    sb_free(header);
    return st;
}

sb_status sb_csv_save(const char *path, const sb_csv_row *rows, int64_t n, sb_err *err)
{
    sb_status st = SB_OK;
    FILE *file = NULL;
    char *temporary = sb_sprintf("%s.tmp", path);
    if (!temporary)
        return sb_no_memory(err, "a file name");
    file = fopen(temporary, "we");
    if (!file) {
        st = sb_fs_fail(err, temporary, "create");
        goto out;
    }
    st = write_lines(file, temporary, rows, n, err);
    if (fclose(file) != 0 && st == SB_OK)
        st = sb_fs_fail(err, temporary, "write");
    if (st == SB_OK)
        st = sb_fs_commit(temporary, path, err);
    else
        (void)unlink(temporary);
out:
    sb_free(temporary);
    return st;
}
