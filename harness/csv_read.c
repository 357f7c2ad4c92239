/* Records from results.csv alone, as other programs may have written it: RFC 4180, strictly. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/results_store.h"

/* Together these bound what a hostile directory makes of memory to about a gigabyte. */
enum { MAX_BYTES = 1 << 26, MAX_RECORDS = 1 << 16, MAX_PROVENANCE = 1 << 14 };

#define SB_COLUMN(kind, name) +1
enum {
    MAX_COLUMNS =
#include "harness/results.def"
};
#undef SB_COLUMN

/* Where the record of a key begins. */
struct seen {
    uint64_t key;
    int64_t line;
};

typedef struct reader {
    const char *path;
    char *at;                              /* unread text; a NUL follows its last line */
    int64_t line, next_line;               /* where this record begins, and the next */
    const sb_column *columns[MAX_COLUMNS]; /* [n_columns] of the header, in its order */
    int n_columns;
    sb_err *err;
} reader;

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static sb_status
wrong(const reader *r, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return sb_fail(r->err, SB_BAD_DATA, "%.250s:%" PRId64 ": %s", r->path, r->line, text);
}

static sb_status wrong_field(const reader *r, const sb_column *c, const char *text,
                             const char *expected)
{
    return wrong(r, "column %s: '%.60s'; expected %s", c->name, text, expected);
}

/* ---- fields -------------------------------------------------------------------------------- */

/* Takes a field off the text, in place: quotes off, ended with NUL. *last: it ends the line. */
static sb_status take_field(reader *r, const char **text, bool *last)
{
    char *from = r->at, *to = r->at;
    if (*from == '"') {
        for (from++; *from != '"' || from[1] == '"'; *to++ = *from++) {
            if (*from == '\0')
                return wrong(r, "a quoted field without an end; expected a closing quote");
            from += *from == '"';
            r->next_line += *from == '\n';
        }
        from++;
    } else {
        size_t n = strcspn(from, ",\"\r\n");
        from += n;
        to += n;
    }
    from += from[0] == '\r' && from[1] == '\n';
    if (*from != ',' && *from != '\n')
        return wrong(r, "'%.20s' within a field; expected a comma or the line's end", from);
    *last = *from == '\n';
    r->next_line += *last;
    *text = r->at;
    *to = '\0';
    r->at = from + 1;
    return SB_OK;
}

static bool parse_int(const char *text, int64_t *x)
{
    char *end;
    size_t n = strspn(text, "-0123456789");
    if (n == 0 || text[n] != '\0')
        return false;
    errno = 0;
    *x = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0;
}

/* strtod alone would take "0x10", leading blanks and what overflows. */
static bool parse_real(const char *text, double *x)
{
    char *end;
    *x = strcmp(text, "inf") == 0 ? INFINITY : strcmp(text, "-inf") == 0 ? -INFINITY : NAN;
    if (text[0] == '\0' || strcmp(text, "nan") == 0 || isinf(*x))
        return true;
    if (text[strspn(text, "+-.0123456789eE")] != '\0')
        return false;
    *x = strtod(text, &end);
    return *end == '\0' && isfinite(*x);
}

static bool is_required(const sb_column *c)
{
    return strcmp(c->name, "cell") == 0 || strcmp(c->name, "status") == 0 ||
           strcmp(c->name, "method") == 0;
}

static sb_status set_field(const reader *r, const sb_column *c, const char *text, sb_record *record)
{
    void *field = sb_column_at(c, record);
    if (text[0] == '\0' && is_required(c))
        return wrong_field(r, c, text, "a value");
    if (strcmp(c->name, "status") == 0 && strcmp(text, "ok") != 0 && strcmp(text, "failed") != 0 &&
        strcmp(text, "unsupported") != 0)
        return wrong_field(r, c, text, "ok, failed or unsupported");
    if (c->kind == SB_KIND_TEXT)
        return sb_record_set(field, text, r->err);
    if (c->kind == SB_KIND_REAL)
        return parse_real(text, field) ? SB_OK : wrong_field(r, c, text, "a number or nothing");
    if (text[0] != '\0' && !parse_int(text, field))
        return wrong_field(r, c, text, "a whole number or nothing");
    return SB_OK;
}

/* ---- lines --------------------------------------------------------------------------------- */

static bool has_column(const reader *r, const sb_column *c)
{
    for (int i = 0; i < r->n_columns; i++)
        if (r->columns[i] == c)
            return true;
    return false;
}

static sb_status read_header(reader *r)
{
    for (bool last = false; !last;) {
        const char *name;
        sb_status st = take_field(r, &name, &last);
        if (st != SB_OK)
            return st;
        const sb_column *c = sb_column_find(name);
        if (!c)
            return wrong(r, "column '%.60s'; expected columns of results.csv alone", name);
        if (has_column(r, c))
            return wrong(r, "column '%s' a second time; expected it once", name);
        r->columns[r->n_columns++] = c;
    }
    for (int i = 0; i < sb_n_columns; i++)
        if (is_required(&sb_columns[i]) && !has_column(r, &sb_columns[i]))
            return wrong(r, "no column '%s'; expected one", sb_columns[i].name);
    return SB_OK;
}

/* What no column says keeps its initial value; a text becomes "". */
static sb_status read_record(reader *r, const char *provenance, sb_record *record)
{
    sb_status st = SB_OK;
    for (int i = 0; i < r->n_columns; i++) {
        const char *text;
        bool last;
        SB_TRY(take_field(r, &text, &last));
        if (last != (i + 1 == r->n_columns))
            return wrong(r, "%s fields than the header has; expected %d", last ? "fewer" : "more",
                         r->n_columns);
        SB_TRY(set_field(r, r->columns[i], text, record));
    }
    for (int i = 0; i < sb_n_columns; i++) {
        char **field = sb_column_at(&sb_columns[i], record);
        if (sb_columns[i].kind == SB_KIND_TEXT && !*field)
            SB_TRY(sb_record_set(field, "", r->err));
    }
    SB_TRY(sb_record_set(&record->config, "", r->err));
    SB_TRY(sb_record_set(&record->provenance, provenance, r->err));
    record->key = sb_identity_hash(record);
out:
    return st;
}

static int by_key(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static sb_status check_distinct(reader *r, struct seen *seen, int64_t n)
{
    if (n > 1)
        qsort(seen, (size_t)n, sizeof *seen, by_key);
    const struct seen *twice = NULL;
    for (int64_t i = 1; i < n; i++)
        if (seen[i].key == seen[i - 1].key && (!twice || seen[i].line < twice->line))
            twice = &seen[i];
    if (!twice)
        return SB_OK;
    r->line = twice->line;
    return wrong(r, "the cell of line %" PRId64 " again; expected each cell once", twice[-1].line);
}

/* ---- the file ------------------------------------------------------------------------------ */

/* Refuses what is cut short or no text; *n_lines, at most one beyond what may be. */
static sb_status check_text(const reader *r, const char *text, size_t n_bytes, int64_t *n_lines)
{
    if (memchr(text, '\0', n_bytes))
        return wrong(r, "a NUL byte; expected text");
    if (n_bytes == 0 || text[n_bytes - 1] != '\n')
        return wrong(r, "the last line has no end; expected a whole file");
    for (const char *at = text; *at && *n_lines <= MAX_RECORDS + 1; at = strchr(at, '\n') + 1)
        ++*n_lines;
    return SB_OK;
}

sb_status sb_csv_parse(char *text, size_t n_bytes, const char *path, const char *provenance,
                       sb_record_list *list, sb_err *err)
{
    sb_status st = SB_OK;
    struct seen *seen = NULL;
    int64_t n_lines = 0, n = 0;
    reader r = {.path = path, .at = text, .line = 1, .next_line = 1, .err = err};
    SB_TRY(check_text(&r, text, n_bytes, &n_lines));
    seen = sb_alloc_uninit(n_lines, sizeof *seen);
    SB_CHECK(seen, err, SB_NO_MEMORY, "out of memory for the cells of a run");
    SB_TRY(read_header(&r));
    for (r.line = r.next_line; *r.at; r.line = r.next_line) {
        sb_record *record = NULL;
        if (n == MAX_RECORDS) {
            st = wrong(&r, "more than %d records; expected at most so many", (int)MAX_RECORDS);
            goto out;
        }
        SB_TRY(sb_record_push(list, &record, err));
        SB_TRY(read_record(&r, provenance, record));
        seen[n++] = (struct seen){record->key, r.line};
    }
    SB_TRY(check_distinct(&r, seen, n));
out:
    sb_free(seen);
    return st;
}

/* Reads a regular file of at most `most` bytes; *text is NULL when there is none. */
static sb_status read_file(const char *path, off_t most, char **text, size_t *n_bytes, sb_err *err)
{
    sb_status st = SB_OK;
    struct stat info;
    int fd = -1;
    *text = NULL;
    if (stat(path, &info) != 0 && errno == ENOENT)
        return SB_OK;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait */
    if (fd < 0 || fstat(fd, &info) != 0) {
        st = sb_fs_fail(err, path, "read");
        goto out;
    }
    SB_CHECK(S_ISREG(info.st_mode), err, SB_BAD_DATA, "%s: not a regular file; expected one", path);
    SB_CHECK(info.st_size <= most, err, SB_BAD_DATA, "%s: larger than %lld bytes; expected less",
             path, (long long)most);
    *text = sb_alloc_uninit(info.st_size + 1, 1);
    SB_CHECK(*text, err, SB_NO_MEMORY, "out of memory for %s", path);
    SB_TRY(sb_fs_read_some(fd, path, *text, (size_t)info.st_size, n_bytes, err));
    (*text)[*n_bytes] = '\0';
out:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

sb_status sb_csv_load(const char *run_path, sb_record_list *list, sb_err *err)
{
    sb_status st = SB_OK;
    char *csv = sb_sprintf("%s/" SB_RESULTS_CSV, run_path);
    char *yaml = sb_sprintf("%s/provenance.yaml", run_path);
    char *text = NULL, *provenance = NULL;
    size_t n_text = 0, n_provenance = 0;
    SB_CHECK(csv && yaml, err, SB_NO_MEMORY, "out of memory for a file name");
    SB_TRY(read_file(csv, MAX_BYTES, &text, &n_text, err));
    SB_CHECK(text, err, SB_BAD_DATA, "%s: cannot open: %s; expected a CSV file", csv,
             strerror(errno));
    SB_TRY(read_file(yaml, MAX_PROVENANCE, &provenance, &n_provenance, err));
    SB_TRY(sb_csv_parse(text, n_text, csv, provenance ? provenance : "", list, err));
out:
    sb_free(provenance);
    sb_free(text);
    sb_free(yaml);
    sb_free(csv);
    return st;
}
