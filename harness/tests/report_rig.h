#ifndef SB_REPORT_RIG_H
#define SB_REPORT_RIG_H

/* A report read back: its HTML, its data as nodes, its maps as bytes. */

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "harness/arena.h"
#include "harness/report.h"
#include "harness/report_maps.h"
#include "harness/results_store.h"
#include "harness/tests/folder_rig.h"
#include "harness/yaml.h"

static char *html;             /* the report */
static struct sb_arena *arena; /* its data */
static const sb_node *data;    /* or NULL where it does not parse */

static inline const char *file_at(const char *name)
{
    static char path[4][400];
    static int turn;
    char *p = path[turn++ % 4];
    (void)snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static inline void close_report(void)
{
    sb_free(html);
    sb_arena_free(arena);
    html = NULL;
    arena = NULL;
    data = NULL;
}

/* The data element's text, *n bytes. */
static inline const char *data_text(size_t *n)
{
    static const char begin[] = "<script type=\"application/json\" id=\"data\">\n";
    const char *at = html ? strstr(html, begin) : NULL;
    const char *end = at ? strstr(at, "</script>") : NULL;
    *n = end ? (size_t)(end - at) - (sizeof begin - 1) : 0;
    return end ? at + sizeof begin - 1 : NULL;
}

/* Writes the report of a run below the folder, and reads it back. */
static inline void make_report(const char *run)
{
    sb_err err = {0};
    int64_t n_bytes = 0;
    size_t n;
    close_report();
    sb_status st = sb_report_write(file_at(run), file_at("report.html"), 1, &n_bytes, &err);
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
    EXPECT(sb_fs_read(file_at("report.html"), &html, NULL) == SB_OK && html);
    EXPECT(html && (int64_t)strlen(html) == n_bytes);
    const char *text = data_text(&n);
    arena = sb_arena_new();
    st = text ? sb_yaml_parse(text, n, "data", true, arena, &data, &err) : SB_INTERNAL;
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
}

#define SAYS(text) EXPECT_MSG(html &&strstr(html, text), "no '%s'", text)
#define SAYS_NOT(text) EXPECT_MSG(html && !strstr(html, text), "'%s'", text)

/* ---- nodes ----------------------------------------------------------------------------------- */

static inline const sb_node *get(const sb_node *map, const char *key)
{
    for (int64_t i = 0; map && map->kind == SB_NODE_MAP && i < map->n; i++)
        if (strcmp(map->items[2 * i]->text, key) == 0)
            return map->items[2 * i + 1];
    return NULL;
}

static inline const sb_node *nth(const sb_node *list, int64_t i)
{
    return list && list->kind == SB_NODE_LIST && i < list->n ? list->items[i] : NULL;
}

static inline int64_t length(const sb_node *list)
{
    return list && list->kind == SB_NODE_LIST ? list->n : -1;
}

static inline const char *text_of(const sb_node *node)
{
    return node && node->kind == SB_NODE_SCALAR && !node->plain ? node->text : "(no text)";
}

static inline double number(const sb_node *node)
{
    double x = NAN;
    return node && sb_node_number(node, &x) ? x : NAN;
}

static inline bool is_null(const sb_node *node)
{
    return node && sb_node_is_null(node);
}

/* As a number is written with so many digits: null where it is not finite. */
static inline bool equals(const sb_node *node, double x, double digits)
{
    if (!isfinite(x))
        return is_null(node);
    return fabs(number(node) - x) <= fabs(x) * pow(10, 1 - digits);
}

/* ---- maps ------------------------------------------------------------------------------------ */

static inline int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes the map's data to [heads, side, side]; NULL where that is not what it holds. */
static inline unsigned char *decode(const sb_node *map)
{
    const char *text = text_of(get(map, "data"));
    int64_t side = (int64_t)number(get(map, "side")), n_small = 0;
    uLongf n = (uLongf)((int64_t)number(get(map, "heads")) * side * side);
    unsigned char *small = sb_alloc((int64_t)strlen(text), 1),
                  *values = sb_alloc((int64_t)n + 1, 1);
    bool right = strlen(text) % 4 == 0;
    for (const char *p = text; right && *p; p += 4) {
        int a = digit(p[0]), b = digit(p[1]), c = digit(p[2]), d = digit(p[3]);
        right = a >= 0 && b >= 0 && (c >= 0 || p[2] == '=') && (d >= 0 || p[3] == '=') &&
                (d >= 0 || p[4] == '\0') && (c >= 0 || d < 0);
        small[n_small++] = (unsigned char)(a << 2 | b >> 4);
        if (c >= 0)
            small[n_small++] = (unsigned char)(b << 4 | c >> 2);
        if (d >= 0)
            small[n_small++] = (unsigned char)(c << 6 | d);
    }
    uLongf got = n + 1;
    right = right && uncompress(values, &got, small, (uLong)n_small) == Z_OK && got == n;
    sb_free(small);
    if (right)
        return values;
    sb_free(values);
    return NULL;
}

/* The pattern of a record, or NULL. */
static inline const sb_node *pattern_of(int64_t record)
{
    const sb_node *patterns = get(get(data, "maps"), "patterns");
    for (int64_t i = 0; i < length(patterns); i++)
        if (number(get(nth(patterns, i), "record")) == (double)record)
            return nth(patterns, i);
    return NULL;
}

static inline const char *note(void)
{
    return text_of(get(get(data, "maps"), "note"));
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* Writes records as a run directory of its own. */
static inline void write_records(const char *run, const sb_record *records, int64_t n)
{
    sb_run_dir *dir = NULL;
    EXPECT(sb_run_dir_open(file_at(run), "name: made-up # <config>\n", true, &dir, NULL) == SB_OK);
    for (int64_t i = 0; i < n; i++)
        EXPECT(sb_run_dir_append(dir, &records[i], NULL) == SB_OK);
    EXPECT(sb_run_dir_finish(dir, NULL, 0, NULL) == SB_OK);
    sb_run_dir_close(dir);
}

#endif
