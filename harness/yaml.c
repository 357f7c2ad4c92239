#include "harness/yaml.h"

#include <string.h>
#include <yaml.h>

#include "harness/arena.h"
#include "harness/mem.h"

enum { MAX_DEPTH = 32, MAX_ANCHORS = 256, MAX_NODES = 1000000 };

typedef struct anchor {
    const char *name;
    const sb_node *node;
} anchor;

typedef struct reader {
    yaml_parser_t parser;
    const char *text;
    const char *origin;
    bool positions;
    struct sb_arena *arena;
    const sb_node **stack; /* children of the collections that are still open */
    int64_t n_stack, capacity;
    int n_anchors;
    anchor anchors[MAX_ANCHORS];
} reader;

static sb_node node_at(const reader *r, size_t line, size_t col)
{
    sb_node node = {.origin = r->origin, .text = "", .size = 1, .height = 1};
    if (r->positions) {
        node.line = (int32_t)line + 1;
        node.col = (int32_t)col + 1;
    }
    return node;
}

static sb_status parser_error(const reader *r, sb_err *err)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return sb_no_memory(err, "YAML");
    size_t line = p->problem_mark.line, col = p->problem_mark.column;
    if (p->error == YAML_READER_ERROR) {
        /* The reader fails ahead of the marks and knows a byte offset only. */
        line = col = 0;
        for (size_t i = 0; i < p->problem_offset; i++) {
            col = r->text[i] == '\n' ? 0 : col + 1;
            line += r->text[i] == '\n';
        }
    }
    sb_node where = node_at(r, line, col);
    return sb_node_fail(&where, err, "%s%s%s; expected well-formed YAML",
                        p->context ? p->context : "", p->context ? ": " : "",
                        p->problem ? p->problem : "malformed");
}

static sb_status next_event(reader *r, yaml_event_t *event, sb_err *err)
{
    return yaml_parser_parse(&r->parser, event) ? SB_OK : parser_error(r, err);
}

static sb_status push(reader *r, const sb_node *node, sb_err *err)
{
    const sb_node **stack = sb_grow(r->stack, r->n_stack, &r->capacity, sizeof *stack);
    if (!stack)
        return sb_no_memory(err, "YAML");
    r->stack = stack;
    r->stack[r->n_stack++] = node;
    return SB_OK;
}

static sb_status add_anchor(reader *r, const yaml_char_t *name, const sb_node *node, sb_err *err)
{
    if (r->n_anchors == MAX_ANCHORS)
        return sb_node_fail(node, err, "one anchor too many; expected at most %d", MAX_ANCHORS);
    const char *copy = sb_arena_text(r->arena, (const char *)name, strlen((const char *)name));
    if (!copy)
        return sb_no_memory(err, "YAML");
    r->anchors[r->n_anchors++] = (anchor){copy, node};
    return SB_OK;
}

static sb_status follow_alias(const reader *r, const yaml_event_t *event, int depth,
                              const sb_node **out, sb_err *err)
{
    const char *name = (const char *)event->data.alias.anchor;
    sb_node here = node_at(r, event->start_mark.line, event->start_mark.column);
    for (int i = r->n_anchors - 1; i >= 0; i--) {
        if (strcmp(r->anchors[i].name, name) != 0)
            continue;
        *out = r->anchors[i].node;
        if (depth + (*out)->height - 1 > MAX_DEPTH)
            return sb_node_fail(&here, err, "nested too deep; expected at most %d levels",
                                MAX_DEPTH);
        return SB_OK;
    }
    return sb_node_fail(&here, err, "alias '%.60s' has no finished anchor; expected one above",
                        name);
}

static sb_status read_node(reader *r, int depth, const sb_node **out, sb_err *err);

static sb_status adopt_child(sb_node *node, const sb_node *child, bool is_key, sb_err *err)
{
    if (is_key && child->kind != SB_NODE_SCALAR)
        return sb_node_fail(child, err, "a key is a collection; expected a name");
    node->size += child->size;
    if (node->height < child->height + 1)
        node->height = child->height + 1;
    if (node->size > MAX_NODES)
        return sb_node_fail(node, err,
                            "more than %d values once aliases are followed; expected "
                            "fewer",
                            MAX_NODES);
    return SB_OK;
}

static sb_status read_children(reader *r, int depth, sb_node *node, sb_err *err)
{
    int64_t base = r->n_stack;
    for (;;) {
        const sb_node *child;
        sb_status st = read_node(r, depth + 1, &child, err);
        if (st != SB_OK || !child) {
            if (st != SB_OK)
                return st;
            break;
        }
        bool is_key = node->kind == SB_NODE_MAP && (r->n_stack - base) % 2 == 0;
        if ((st = adopt_child(node, child, is_key, err)) != SB_OK ||
            (st = push(r, child, err)) != SB_OK)
            return st;
    }
    int64_t n = r->n_stack - base;
    const sb_node **items = sb_arena_alloc(r->arena, n, sizeof *items);
    if (!items)
        return sb_no_memory(err, "YAML");
    if (n > 0)
        memcpy(items, r->stack + base, (size_t)n * sizeof *items);
    r->n_stack = base;
    node->items = items;
    node->n = node->kind == SB_NODE_MAP ? n / 2 : n;
    return SB_OK;
}

static sb_status fill_scalar(reader *r, const yaml_event_t *event, sb_node *node, sb_err *err)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (memchr(text, '\0', length))
        return sb_node_fail(node, err, "text with a NUL character; expected none");
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text = sb_arena_text(r->arena, text, length);
    return node->text ? SB_OK : sb_no_memory(err, "YAML");
}

/* The node that `event` starts. */
static sb_status make_node(reader *r, const yaml_event_t *event, int depth, const sb_node **out,
                           sb_err *err)
{
    sb_status st = SB_OK;
    sb_node *node = sb_arena_alloc(r->arena, 1, sizeof *node);
    const yaml_char_t *anchor_name;
    SB_CHECK(node, err, SB_NO_MEMORY, "out of memory for YAML");
    *node = node_at(r, event->start_mark.line, event->start_mark.column);
    if (depth > MAX_DEPTH)
        return sb_node_fail(node, err, "nested too deep; expected at most %d levels", MAX_DEPTH);
    if (event->type == YAML_SCALAR_EVENT) {
        anchor_name = event->data.scalar.anchor;
        SB_TRY(fill_scalar(r, event, node, err));
    } else {
        bool is_map = event->type == YAML_MAPPING_START_EVENT;
        node->kind = is_map ? SB_NODE_MAP : SB_NODE_LIST;
        anchor_name = is_map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
        SB_TRY(read_children(r, depth, node, err));
    }
    if (anchor_name)
        SB_TRY(add_anchor(r, anchor_name, node, err));
    *out = node;
out:
    return st;
}

/* Read the next node, or NULL where the collection or the document ends. */
static sb_status read_node(reader *r, int depth, const sb_node **out, sb_err *err)
{
    yaml_event_t event;
    *out = NULL;
    sb_status st = next_event(r, &event, err);
    if (st != SB_OK)
        return st;
    if (event.type == YAML_ALIAS_EVENT)
        st = follow_alias(r, &event, depth, out, err);
    else if (event.type == YAML_SCALAR_EVENT || event.type == YAML_SEQUENCE_START_EVENT ||
             event.type == YAML_MAPPING_START_EVENT)
        st = make_node(r, &event, depth, out, err);
    yaml_event_delete(&event);
    return st;
}

/* Take an event that carries no data, and tell its type and where it was. */
static sb_status skip_event(reader *r, yaml_event_type_t *type, sb_node *where, sb_err *err)
{
    yaml_event_t event;
    sb_status st = next_event(r, &event, err);
    if (st != SB_OK)
        return st;
    *type = event.type;
    *where = node_at(r, event.start_mark.line, event.start_mark.column);
    yaml_event_delete(&event);
    return SB_OK;
}

static sb_status read_document(reader *r, const sb_node **root, sb_err *err)
{
    sb_status st = SB_OK;
    yaml_event_type_t type;
    sb_node where;
    SB_TRY(skip_event(r, &type, &where, err));
    SB_TRY(skip_event(r, &type, &where, err));
    if (type == YAML_STREAM_END_EVENT)
        return sb_node_fail(&where, err, "nothing here; expected a value");
    SB_TRY(read_node(r, 1, root, err));
    SB_TRY(skip_event(r, &type, &where, err));
    SB_TRY(skip_event(r, &type, &where, err));
    if (type != YAML_STREAM_END_EVENT)
        return sb_node_fail(&where, err, "a second document; expected one");
out:
    return st;
}

sb_status sb_yaml_parse(const char *text, size_t n_bytes, const char *origin, bool positions,
                        struct sb_arena *arena, const sb_node **root, sb_err *err)
{
    reader *r = sb_alloc(1, sizeof *r);
    if (!r)
        return sb_no_memory(err, "YAML");
    if (!yaml_parser_initialize(&r->parser)) {
        sb_free(r);
        return sb_no_memory(err, "YAML");
    }
    r->text = text;
    r->origin = origin;
    r->positions = positions;
    r->arena = arena;
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, n_bytes);
    sb_status st = read_document(r, root, err);
    yaml_parser_delete(&r->parser);
    sb_free(r->stack);
    sb_free(r);
    return st;
}
