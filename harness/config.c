#include "harness/config.h"

#include <stdio.h>
#include <string.h>

#include "harness/config_measure.h"
#include "harness/config_sets.h"
#include "harness/config_variants.h"
#include "harness/textfile.h"

enum {
    KEY_NAME,
    KEY_DATA,
    KEY_LAYERS,
    KEY_LENGTHS,
    KEY_BACKEND,
    KEY_DTYPE,
    KEY_BLOCK,
    KEY_METHODS,
    KEY_MATCH,
    KEY_MEASURE,
    N_KEYS
};

static const char *const keys[N_KEYS] = {"name",  "data",  "layers",  "lengths", "backend",
                                         "dtype", "block", "methods", "match",   "measure"};

static const sb_param layers_param = {.name = "layers", .type = SB_INT, .min = 0, .max = 99999};
static const sb_param lengths_param = {.name = "lengths", .type = SB_INT, .min = 1, .max = 1 << 30};
static const sb_param block_param = {.name = "block", .type = SB_INT, .min = 1, .max = 1 << 20};
static const sb_param dtype_param = {.name = "dtype", .type = SB_CHOICE, .choices = "f32|bf16|f16"};
static const sb_param backend_param = {
    .name = "backend", .type = SB_CHOICE, .choices = "auto|cpu|cuda"};
static const sb_param by_param = {.name = "by", .type = SB_CHOICE, .choices = "density|flops"};

enum { MAX_LIST = 10000, MAX_NAME = 64 };

/* The distinct values of a top-level axis, as whole numbers. */
static sb_status read_distinct(const sb_scope *s, const sb_param *param, const sb_node *node,
                               int64_t *n, int64_t **list, sb_err *err)
{
    sb_axis axis;
    sb_status st = sb_axis_read(s, param, node, &axis, err);
    if (st != SB_OK)
        return st;
    if (axis.n > MAX_LIST)
        return sb_node_fail(node, err, "%s has %lld values; expected at most %d", param->name,
                            (long long)axis.n, MAX_LIST);
    *n = axis.n;
    *list = sb_arena_alloc(s->keep, axis.n, sizeof **list);
    if (!*list)
        return sb_no_memory(err, param->name);
    for (int64_t i = 0; i < axis.n; i++) {
        (*list)[i] = (int64_t)axis.values[i].num;
        for (int64_t j = 0; j < i; j++) {
            char text[40];
            if ((*list)[j] != (*list)[i])
                continue;
            (void)sb_value_format(param, &axis.values[i], text, sizeof text);
            return sb_node_fail(sb_axis_node(&axis, node, i), err,
                                "%s has %s twice; expected distinct values", param->name, text);
        }
    }
    return SB_OK;
}

/* As read_distinct; absent or `all` leaves none. */
static sb_status read_selection(const sb_scope *s, const sb_param *param, const sb_node *node,
                                int64_t *n, int64_t **list, int64_t *line, int64_t *col,
                                sb_err *err)
{
    if (!node)
        return SB_OK;
    *line = node->line;
    *col = node->col;
    return sb_node_is(node, "all") ? SB_OK : read_distinct(s, param, node, n, list, err);
}

/* It becomes a folder in results/, and is printed. */
static bool is_name(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f || text[i] == '/' || text[i] == '\\')
            return false;
    return n > 0 && text[0] != '.';
}

/* Without a name of its own, a config is called as its file. */
static sb_status read_name(const sb_scope *s, const sb_node *root, const sb_node *node,
                           sb_config *cfg, sb_err *err)
{
    const char *slash = strrchr(s->path, '/'), *text = slash ? slash + 1 : s->path;
    const char *dot = strrchr(text, '.');
    size_t n = dot && dot > text ? (size_t)(dot - text) : strlen(text);
    char is[80];
    if (node) {
        text = node->text;
        n = strlen(text);
    }
    if (!is_name(text, n) || (node && (n > MAX_NAME || sb_node_is_null(node))))
        return sb_node_fail(node ? node : root, err,
                            "name is %s; expected up to %d characters without slashes, not "
                            "starting with a dot",
                            node ? sb_node_describe(node, is, sizeof is) : "that of the file",
                            MAX_NAME);
    cfg->name = sb_arena_text(s->keep, text, n);
    return cfg->name ? SB_OK : sb_no_memory(err, "name");
}

static sb_status read_path(const sb_scope *s, const sb_node *node, sb_config *cfg, sb_err *err)
{
    char is[80];
    if (node->kind != SB_NODE_SCALAR || sb_node_is_null(node) || node->text[0] == '\0')
        return sb_node_fail(node, err, "data is %s; expected the path of a capture",
                            sb_node_describe(node, is, sizeof is));
    const char *path = sb_path_resolve(node->text, s->path, s->keep);
    if (!path)
        return sb_no_memory(err, "data");
    for (int64_t i = 0; i < cfg->n_captures; i++)
        if (strcmp(cfg->captures[i], path) == 0)
            return sb_node_fail(node, err, "data has %.200s twice; expected distinct captures",
                                path);
    cfg->captures[cfg->n_captures] = sb_arena_text(s->keep, path, strlen(path));
    cfg->capture_lines[cfg->n_captures] = node->line;
    return cfg->captures[cfg->n_captures++] ? SB_OK : sb_no_memory(err, "data");
}

static sb_status read_data(const sb_scope *s, const sb_node *node, sb_config *cfg, sb_err *err)
{
    bool is_list = node->kind == SB_NODE_LIST;
    int64_t n = is_list ? node->n : 1;
    if (n < 1 || n > MAX_LIST)
        return sb_node_fail(node, err, "data is a list of %lld; expected 1 to %d captures",
                            (long long)n, MAX_LIST);
    cfg->captures = sb_arena_alloc(s->keep, n, sizeof *cfg->captures);
    cfg->capture_lines = sb_arena_alloc(s->keep, n, sizeof *cfg->capture_lines);
    if (!cfg->captures || !cfg->capture_lines)
        return sb_no_memory(err, "data");
    for (int64_t i = 0; i < n; i++) {
        sb_status st = read_path(s, is_list ? node->items[i] : node, cfg, err);
        if (st != SB_OK)
            return st;
    }
    return SB_OK;
}

static sb_status read_dtypes(const sb_scope *s, const sb_node *node, sb_config *cfg, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t *list = NULL;
    cfg->n_dtypes = 1;
    if (node)
        SB_TRY(read_distinct(s, &dtype_param, node, &cfg->n_dtypes, &list, err));
    cfg->dtypes = sb_arena_alloc(s->keep, cfg->n_dtypes, sizeof *cfg->dtypes);
    SB_CHECK(cfg->dtypes, err, SB_NO_MEMORY, "out of memory for dtype");
    for (int64_t i = 0; i < cfg->n_dtypes; i++)
        cfg->dtypes[i] = list ? (sb_dtype)list[i] : SB_BF16;
out:
    return st;
}

static sb_status read_backend(const sb_scope *s, const sb_node *node, sb_config *cfg, sb_err *err)
{
    sb_value value;
    if (!node)
        return SB_OK;
    sb_status st = sb_axis_read_one(s, &backend_param, node, &value, err);
    if (st == SB_OK)
        cfg->backend = (sb_backend_choice)value.num;
    return st;
}

static sb_status apply_match(const sb_scope *s, const sb_node *node, sb_variants *variants,
                             sb_match_by *by, sb_err *err)
{
    enum { TO, BY, N };
    static const char *const names[N] = {"to", "by"};
    const sb_node *found[N];
    sb_value by_value = {0};
    char is[80];
    sb_status st = sb_node_fields(node, "match", names, N, found, err);
    if (st != SB_OK)
        return st;
    if (!found[TO])
        return sb_node_fail(node, err, "match has no key 'to'; expected the name of a method");
    if (found[TO]->kind != SB_NODE_SCALAR || sb_node_is_null(found[TO]))
        return sb_node_fail(found[TO], err, "to is %s; expected the name of a method",
                            sb_node_describe(found[TO], is, sizeof is));
    if (found[BY] && (st = sb_axis_read_one(s, &by_param, found[BY], &by_value, err)) != SB_OK)
        return st;
    *by = (sb_match_by)by_value.num;
    const sb_method *to;
    if ((st = sb_method_from_node(found[TO], &to, err)) != SB_OK)
        return st;
    return sb_variants_match(s, to, found[TO], variants, err);
}

static sb_status read_methods(const sb_scope *s, const sb_node *const *found,
                              const sb_override *overrides, int64_t n_overrides, sb_config *cfg,
                              sb_err *err)
{
    sb_status st = SB_OK;
    sb_variants variants = {0};
    int64_t n_blocks, *blocks;
    if (found[KEY_BLOCK])
        SB_TRY(read_distinct(s, &block_param, found[KEY_BLOCK], &n_blocks, &blocks, err));
    SB_TRY(sb_variants_expand(s, found[KEY_METHODS], found[KEY_BLOCK], overrides, n_overrides,
                              found[KEY_MATCH] ? s->temp : s->keep, &variants, err));
    if (found[KEY_MATCH])
        SB_TRY(apply_match(s, found[KEY_MATCH], &variants, &cfg->match_by, err));
    cfg->n_variants = variants.n;
    cfg->variants = variants.list;
out:
    return st;
}

static sb_status read_config(const sb_scope *s, const sb_node *root, const sb_override *overrides,
                             int64_t n_overrides, sb_config *cfg, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_node *found[N_KEYS];
    SB_TRY(sb_node_fields(root, "the config", keys, N_KEYS, found, err));
    for (int k = 0; k < N_KEYS; k++)
        if (!found[k] && (k == KEY_DATA || k == KEY_METHODS))
            return sb_node_fail(root, err, "no key '%s'; expected one", keys[k]);
    SB_TRY(read_name(s, root, found[KEY_NAME], cfg, err));
    SB_TRY(read_data(s, found[KEY_DATA], cfg, err));
    SB_TRY(read_selection(s, &layers_param, found[KEY_LAYERS], &cfg->n_layers, &cfg->layers,
                          &cfg->layers_line, &cfg->layers_col, err));
    SB_TRY(read_selection(s, &lengths_param, found[KEY_LENGTHS], &cfg->n_lengths, &cfg->lengths,
                          &cfg->lengths_line, &cfg->lengths_col, err));
    SB_TRY(read_backend(s, found[KEY_BACKEND], cfg, err));
    SB_TRY(read_dtypes(s, found[KEY_DTYPE], cfg, err));
    SB_TRY(sb_measure_read(s, found[KEY_MEASURE], &cfg->measure, err));
    SB_TRY(read_methods(s, found, overrides, n_overrides, cfg, err));
out:
    return st;
}

static sb_status keep_text(const char *text, size_t n_bytes, const char *const *sets,
                           int64_t n_sets, sb_config *cfg, sb_err *err)
{
    static const char prefix[] = "# --set ";
    size_t bytes = n_bytes + 1;
    for (int64_t i = 0; i < n_sets; i++)
        bytes += sizeof prefix + strlen(sets[i]);
    char *at = cfg->text = sb_arena_alloc(cfg->arena, (int64_t)bytes + 1, 1);
    if (!at)
        return sb_no_memory(err, "the config's text");
    memcpy(at, text, n_bytes);
    at += n_bytes;
    if (n_sets > 0 && n_bytes > 0 && text[n_bytes - 1] != '\n')
        *at++ = '\n';
    for (int64_t i = 0; i < n_sets; i++) {
        char *line = at;
        at += sprintf(at, "%s%s", prefix, sets[i]);
        for (; line < at; line++)
            *line = *line == '\n' || *line == '\r' ? ' ' : *line;
        *at++ = '\n';
    }
    return SB_OK;
}

static sb_status load(const char *text, size_t n_bytes, const char *const *sets, int64_t n_sets,
                      const sb_scope *scope, sb_config *cfg, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_node *root;
    int64_t n_overrides;
    char is[80];
    /* A long path must not push the message out of sb_err; its end tells most. */
    size_t length = strlen(scope->path);
    const char *origin = scope->path + (length > 200 ? length - 200 : 0);
    sb_set *parsed = sb_arena_alloc(scope->temp, n_sets, sizeof *parsed);
    sb_override *overrides = sb_arena_alloc(scope->temp, n_sets, sizeof *overrides);
    cfg->path = sb_arena_text(scope->keep, scope->path, length);
    SB_CHECK(parsed && overrides && cfg->path, err, SB_NO_MEMORY, "out of memory for a config");
    SB_CHECK(n_bytes <= SB_MAX_TEXT_BYTES, err, SB_USAGE, "%s: larger than 1 MiB; expected less",
             origin);
    SB_TRY(keep_text(text, n_bytes, sets, n_sets, cfg, err));
    SB_TRY(sb_yaml_parse(text, n_bytes, origin, true, scope->temp, &root, err));
    if (root->kind != SB_NODE_MAP)
        return sb_node_fail(root, err, "the config is %s; expected a mapping",
                            sb_node_describe(root, is, sizeof is));
    for (int64_t i = 0; i < n_sets; i++)
        SB_TRY(sb_set_parse("--set ", sets[i], scope->temp, &parsed[i], err));
    SB_TRY(sb_sets_apply(parsed, n_sets, keys, N_KEYS, scope->temp, &root, overrides, &n_overrides,
                         err));
    SB_TRY(read_config(scope, root, overrides, n_overrides, cfg, err));
out:
    return st;
}

sb_status sb_config_parse(const char *text, size_t n_bytes, const char *path,
                          const char *const *sets, int64_t n_sets, sb_config *cfg, sb_err *err)
{
    sb_status st = SB_OK;
    *cfg = (sb_config){.arena = sb_arena_new()};
    sb_scope scope = {path, cfg->arena, sb_arena_new()};
    SB_CHECK(scope.keep && scope.temp, err, SB_NO_MEMORY, "out of memory for a config");
    SB_TRY(load(text, n_bytes, sets, n_sets, &scope, cfg, err));
out:
    sb_arena_free(scope.temp);
    if (st != SB_OK)
        sb_config_free(cfg);
    return st;
}

sb_status sb_config_load(const char *path, const char *const *sets, int64_t n_sets, sb_config *cfg,
                         sb_err *err)
{
    const char *text;
    size_t n_bytes;
    *cfg = (sb_config){0};
    struct sb_arena *arena = sb_arena_new();
    if (!arena)
        return sb_no_memory(err, "a config");
    sb_status st = sb_text_read(path, arena, &text, &n_bytes, err);
    if (st == SB_OK)
        st = sb_config_parse(text, n_bytes, path, sets, n_sets, cfg, err);
    sb_arena_free(arena);
    return st;
}

void sb_config_free(sb_config *cfg)
{
    sb_arena_free(cfg->arena);
    *cfg = (sb_config){0};
}
