#include "harness/where.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/arena.h"
#include "harness/mem.h"

/* ---- reading ------------------------------------------------------------------------------- */

static sb_status check_glob(const sb_node *glob, const char *name, sb_err *err)
{
    char is[80];
    if (glob->kind != SB_NODE_SCALAR || sb_node_is_null(glob))
        return sb_node_fail(glob, err, "%s is %s; expected a value or a glob such as 'a*'", name,
                            sb_node_describe(glob, is, sizeof is));
    return SB_OK;
}

static sb_status add(sb_where *where, const sb_node *key, const sb_node *globs, sb_err *err)
{
    sb_status st = SB_OK;
    int i = 0;
    while (i < SB_N_IDENTITY && strcmp(sb_identity_names[i], key->text) != 0)
        i++;
    if (i == SB_N_IDENTITY)
        return sb_node_unknown(key, "column", key->text, sb_identity_names, SB_N_IDENTITY, err);
    const char *name = sb_identity_names[i];
    for (int j = 0; j < where->n; j++)
        if (strcmp(where->list[j].column->name, name) == 0)
            return sb_node_fail(key, err, "'%s' is given twice; expected once, with a list", name);
    if (globs->kind != SB_NODE_LIST)
        SB_TRY(check_glob(globs, name, err));
    else if (globs->n == 0)
        return sb_node_fail(globs, err, "%s is an empty list; expected globs", name);
    for (int64_t j = 0; globs->kind == SB_NODE_LIST && j < globs->n; j++)
        SB_TRY(check_glob(globs->items[j], name, err));
    where->list[where->n++] = (sb_condition){sb_column_find(name), globs};
out:
    return st;
}

sb_status sb_where_read(const sb_node *map, sb_where *where, sb_err *err)
{
    char is[80];
    sb_status st = SB_OK;
    if (map->kind != SB_NODE_MAP)
        return sb_node_fail(map, err, "where is %s; expected a mapping such as {method: stem}",
                            sb_node_describe(map, is, sizeof is));
    for (int64_t i = 0; i < map->n && st == SB_OK; i++)
        st = add(where, map->items[2 * i], map->items[2 * i + 1], err);
    return st;
}

static sb_status add_set(const char *text, struct sb_arena *arena, sb_where *where, sb_err *err)
{
    char shown[120];
    const char *equals = strchr(text, '=');
    const sb_node *value = NULL;
    (void)snprintf(shown, sizeof shown, "--where %.100s", text);
    char *origin = sb_arena_text(arena, shown, strlen(shown));
    char *name = sb_arena_text(arena, text, equals ? (size_t)(equals - text) : 0);
    if (!origin || !name)
        return sb_no_memory(err, "--where");
    for (char *c = origin; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    sb_node key = {.origin = origin, .text = name};
    if (!equals || equals == text)
        return sb_node_fail(&key, err, "no column; expected COLUMN=GLOB, such as layer=2");
    sb_status st = sb_yaml_parse(equals + 1, strlen(equals + 1), origin, false, arena, &value, err);
    return st == SB_OK ? add(where, &key, value, err) : st;
}

sb_status sb_where_from_sets(const char *const *sets, int64_t n_sets, struct sb_arena *arena,
                             sb_where *where, sb_err *err)
{
    sb_status st = SB_OK;
    for (int64_t i = 0; i < n_sets && st == SB_OK; i++)
        st = add_set(sets[i], arena, where, err);
    return st;
}

/* ---- matching ------------------------------------------------------------------------------ */

enum { MAX_WORD = 256 };

/* Moves *at to behind its next word, which is copied, cut to fit. */
static bool next_word(const char **at, char *word)
{
    const char *start = *at + strspn(*at, " ");
    size_t n = strcspn(start, " ");
    *at = start + n;
    (void)snprintf(word, MAX_WORD, "%.*s", (int)n, start);
    return n > 0;
}

static bool has_word(const char *text, const char *glob)
{
    char word[MAX_WORD];
    while (next_word(&text, word))
        if (fnmatch(glob, word, 0) == 0)
            return true;
    return false;
}

static bool matches(const char *glob, const char *text, bool by_words)
{
    char word[MAX_WORD];
    if (!by_words)
        return fnmatch(glob, text, 0) == 0;
    while (next_word(&glob, word))
        if (!has_word(text, word))
            return false;
    return true;
}

static bool meets(const sb_condition *c, const sb_record *r)
{
    char number[32];
    const void *field = sb_column_of(c->column, r);
    const char *text = number;
    bool by_words = strcmp(c->column->name, "params") == 0;
    if (c->column->kind == SB_KIND_INT)
        (void)snprintf(number, sizeof number, "%" PRId64, *(const int64_t *)field);
    else
        text = *(char *const *)field;
    if (!text)
        text = "";
    if (c->globs->kind == SB_NODE_SCALAR)
        return matches(c->globs->text, text, by_words);
    for (int64_t i = 0; i < c->globs->n; i++)
        if (matches(c->globs->items[i]->text, text, by_words))
            return true;
    return false;
}

bool sb_where_meets(const sb_where *where, const sb_record *r)
{
    for (int i = 0; i < where->n; i++)
        if (!meets(&where->list[i], r))
            return false;
    return true;
}
