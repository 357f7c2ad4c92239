#include "harness/compare_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/method.h"

/* The text that grows into an identity: never longer than the resolved cell it is made from. */
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

/* Whether "name=value" gives a parameter its default. */
static bool is_default(const sb_method *m, int variant, const char *word, size_t n)
{
    for (int i = 0; i < m->n_params; i++) {
        const sb_param *p = &m->params[i];
        size_t length = strlen(p->name);
        if (n <= length || word[length] != '=' || strncmp(word, p->name, length) != 0)
            continue;
        const char *fallback = sb_param_default(p, variant);
        return fallback && strcmp(p->name, "variant") != 0 && strlen(fallback) == n - length - 1 &&
               strncmp(word + length + 1, fallback, n - length - 1) == 0;
    }
    return false;
}

/* Values hold no "; ", lists within them blanks. */
static void put_params(writer *w, const sb_method *m, const char *text, size_t n)
{
    int variant = m ? variant_of(m, text, n) : 0;
    bool first = true;
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && text[end] != ';')
            end++;
        if (!m || !is_default(m, variant, text + i, end - i)) {
            put(w, " ", first ? 0 : 1);
            put(w, text + i, end - i);
            first = false;
        }
        i = end + 1 < n && text[end + 1] == ' ' ? end + 2 : end + 1;
    }
}

/* ---- the identity -------------------------------------------------------------------------- */

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

sb_status sb_cell_id_make(const sb_record *r, sb_cell_id *id, sb_err *err)
{
    static const char *const shape[] = {"digest", "layer", "tokens", "dtype", "backend"};
    sb_status st = SB_OK;
    size_t n = 0;
    *id = (sb_cell_id){0};
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
    put_params(&w, m, params, n);
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
