#include "harness/compare_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "methods/method.h"

/* The text that grows into an identity: never longer than what it is made from. */
typedef struct writer {
    char *text;
    size_t used;
} writer;

static void put(writer *w, const char *text, size_t n)
{
    memcpy(w->text + w->used, text, n);
    w->used += n;
    w->text[w->used] = '\0';
}

/* The value of the line "name: value" of a resolved cell, quotes taken off; *n bytes, or NULL. */
static const char *field(const char *config, const char *name, size_t *n)
{
    size_t length = strlen(name);
    for (const char *line = config; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) != 0 || strncmp(line + length, ": ", 2) != 0)
            continue;
        const char *value = line + length + 2;
        *n = strcspn(value, "\n");
        if (*n >= 2 && value[0] == '"' && value[*n - 1] == '"') {
            value++;
            *n -= 2;
        }
        return value;
    }
    return NULL;
}

/* ---- parameters ---------------------------------------------------------------------------- */

static int variant_of(const sb_method *m, const char *text, size_t n)
{
    int at = sb_param_index(m, "variant");
    const char *choice = at >= 0 ? m->params[at].choices : "";
    for (int i = 0; *choice; i++) {
        char word[64];
        size_t length = strcspn(choice, "|");
        int used = snprintf(word, sizeof word, "variant=%.*s", (int)length, choice);
        if (n >= (size_t)used && strncmp(text, word, (size_t)used) == 0 &&
            (n == (size_t)used || strchr("; ", text[used])))
            return i;
        choice += length + (choice[length] == '|');
    }
    return 0;
}

/* Whether "name=value" names no cell: it gives a parameter its default, or what was `solved`. */
static bool is_left_out(const sb_method *m, int variant, bool solved, const char *word, size_t n)
{
    for (int i = 0; i < m->n_params; i++) {
        const sb_param *p = &m->params[i];
        size_t length = strlen(p->name);
        if (n <= length || word[length] != '=' || strncmp(word, p->name, length) != 0)
            continue;
        const char *fallback = sb_param_default(p, variant);
        return (solved && p->solve) ||
               (fallback && strcmp(p->name, "variant") != 0 && strlen(fallback) == n - length - 1 &&
                strncmp(word + length + 1, fallback, n - length - 1) == 0);
    }
    return false;
}

/* Words are parted by `part`, lists within brackets by blanks. */
static size_t word_end(const char *text, size_t i, size_t n, char part)
{
    for (int depth = 0; i < n && (text[i] != part || depth > 0); i++)
        depth += (text[i] == '[') - (text[i] == ']');
    return i;
}

static void put_params(writer *w, const sb_method *m, bool solved, const char *text, size_t n,
                       char part)
{
    int variant = m ? variant_of(m, text, n) : 0;
    bool first = true;
    for (size_t i = 0; i < n;) {
        size_t end = word_end(text, i, n, part);
        if (end > i && (!m || !is_left_out(m, variant, solved, text + i, end - i))) {
            put(w, " ", first ? 0 : 1);
            put(w, text + i, end - i);
            first = false;
        }
        for (i = end + 1; i < n && text[i] == ' ';)
            i++;
    }
}

/* ---- from a resolved cell ------------------------------------------------------------------- */

static sb_status put_field(writer *w, const sb_record *r, const char *name, sb_err *err)
{
    size_t n;
    const char *value = field(r->config, name, &n);
    if (!value)
        return sb_fail(err, SB_BAD_DATA,
                       "record %016" PRIx64 ": its resolved cell has no '%s'; expected one", r->key,
                       name);
    /* How latency is measured changes no fidelity. */
    for (size_t i = 0; strcmp(name, "measure") == 0 && i < n; i++)
        if (strncmp(value + i, ", latency", 9) == 0)
            n = i;
    put(w, value, n);
    return SB_OK;
}

static sb_status id_of_config(const sb_record *r, sb_cell_id *id, sb_err *err)
{
    static const char *const shape[] = {"digest", "layer", "tokens", "dtype", "backend"};
    sb_status st = SB_OK;
    size_t n = 0;
    writer w = {.text = sb_alloc((int64_t)strlen(r->config) + 1, 1)};
    SB_CHECK(w.text, err, SB_NO_MEMORY, "out of memory for a cell");
    for (size_t i = 0; i < sizeof shape / sizeof shape[0]; i++) {
        SB_TRY(put_field(&w, r, shape[i], err));
        put(&w, "\n", 1);
    }
    id->n_shape = (int64_t)w.used;
    SB_TRY(put_field(&w, r, "method", err));
    const sb_method *m = sb_method_find(w.text + id->n_shape);
    id->n_method = (int64_t)w.used;
    put(&w, "\n", 1);
    const char *params = field(r->config, "params", &n);
    SB_CHECK(params, err, SB_BAD_DATA,
             "record %016" PRIx64 ": its resolved cell has no 'params'; expected one", r->key);
    put_params(&w, m, false, params, n, ';');
    id->n_label = (int64_t)w.used;
    put(&w, "\n", 1);
    SB_TRY(put_field(&w, r, "match", err));
    put(&w, "\n", 1);
    SB_TRY(put_field(&w, r, "measure", err));
    id->text = w.text;
    w.text = NULL;
out:
    sb_free(w.text);
    return st;
}

/* ---- from columns --------------------------------------------------------------------------- */

/* The columns that say which cell it is, but for the kernel and the threads. */
static const char *const shape_columns[] = {
    "capture", "model", "layer", "tokens",  "heads",     "kv_heads", "head_dim", "dtype",
    "backend", "task",  "text",  "setting", "layer_set", "head_set", "row_range"};
static const char *const other_columns[] = {"match_target", "variant", "block"};

static const char *column_text(const sb_record *r, const char *name, char number[32])
{
    const sb_column *c = sb_column_find(name);
    const void *field = sb_column_of(c, r);
    if (c->kind == SB_KIND_INT)
        (void)snprintf(number, 32, "%" PRId64, *(const int64_t *)field);
    const char *text = c->kind == SB_KIND_INT ? number : *(char *const *)field;
    return strcmp(name, "capture") == 0 ? sb_base_name(text) : text;
}

static void put_columns(writer *w, const sb_record *r, const char *const *names, size_t n)
{
    char number[32];
    for (size_t i = 0; i < n; i++) {
        const char *text = column_text(r, names[i], number);
        put(w, text, strlen(text));
        put(w, "\n", 1);
    }
}

static size_t columns_room(const sb_record *r)
{
    char number[32];
    size_t room = 1;
    for (int i = 0; i < SB_N_IDENTITY; i++)
        room += strlen(column_text(r, sb_identity_names[i], number)) + 1;
    return room;
}

static sb_status id_of_columns(const sb_record *r, sb_cell_id *id, sb_err *err)
{
    writer w = {.text = sb_alloc((int64_t)columns_room(r), 1)};
    if (!w.text)
        return sb_no_memory(err, "a cell");
    put_columns(&w, r, shape_columns, sizeof shape_columns / sizeof shape_columns[0]);
    id->n_shape = (int64_t)w.used;
    put(&w, r->method, strlen(r->method));
    id->n_method = (int64_t)w.used;
    put(&w, "\n", 1);
    put_params(&w, sb_method_find(r->method), r->match_target[0], r->params, strlen(r->params),
               ' ');
    id->n_label = (int64_t)w.used;
    put(&w, "\n", 1);
    put_columns(&w, r, other_columns, sizeof other_columns / sizeof other_columns[0]);
    id->text = w.text;
    return SB_OK;
}

sb_status sb_cell_id_make(const sb_record *r, bool by_columns, sb_cell_id *id, sb_err *err)
{
    *id = (sb_cell_id){0};
    return by_columns ? id_of_columns(r, id, err) : id_of_config(r, id, err);
}
