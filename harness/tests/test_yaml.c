/* YAML documents as nodes: what is refused, the limits, and how words are read. */
#include <stdlib.h>
#include <string.h>

#include "harness/arena.h"
#include "harness/mem.h"
#include "harness/tests/check.h"
#include "harness/yaml.h"

static struct sb_arena *arena;
static const sb_node *root;
static char message[sizeof((sb_err *)0)->msg];

/* Parse into `root`, which the next call replaces; tell the error, or "". */
static const char *parse(const char *text, size_t n_bytes)
{
    sb_err err = {0};
    sb_arena_free(arena);
    arena = sb_arena_new();
    sb_status st = arena ? sb_yaml_parse(text, n_bytes, "c", true, arena, &root, &err) : SB_IO;
    EXPECT(st == SB_OK || (st == SB_USAGE && err.msg[0]));
    memcpy(message, err.msg, sizeof message);
    return message;
}

#define REFUSED_BYTES(text, n, expected)                                                           \
    EXPECT_MSG(strcmp(parse(text, n), "c:" expected) == 0, "%s\n    %s", text, message)
#define REFUSED(text, expected) REFUSED_BYTES(text, strlen(text), expected)
#define READ(text) REQUIRE(parse(text, strlen(text))[0] == '\0')

static void test_refused(void)
{
    TEST("text that is not one YAML document");
    REFUSED("", "1:1: nothing here; expected a value");
    REFUSED("# only this\n", "2:1: nothing here; expected a value");
    REFUSED("a: [d\n", "2:1: while parsing a flow sequence: did not find expected ',' or ']'; "
                       "expected well-formed YAML");
    REFUSED("a: d\n---\nb: d\n", "2:1: a second document; expected one");
    REFUSED("a: d\nb: \"a\\0b\"\n", "2:4: text with a NUL character; expected none");
    REFUSED("a: d\n? [a]\n: 1\n", "2:3: a key is a collection; expected a name");
    REFUSED("a: *d\n", "1:4: alias 'd' has no finished anchor; expected one above");
    REFUSED("a: &d [*d]\n", "1:8: alias 'd' has no finished anchor; expected one above");
    REFUSED("a: d\nna\xffme: x\n", "2:3: invalid leading UTF-8 octet; expected well-formed YAML");
    REFUSED_BYTES("a: d\n\0", 6,
                  "2:1: control characters are not allowed; expected well-formed YAML");
    REFUSED_BYTES("\xff\xfe-\0", 4, "1:1: invalid leading UTF-8 octet; expected well-formed YAML");
}

/* Refuse head, n times unit, tail. */
static void refused_repeat(const char *head, const char *unit, size_t n, const char *tail,
                           const char *expected)
{
    size_t head_bytes = strlen(head), unit_bytes = strlen(unit);
    size_t bytes = head_bytes + n * unit_bytes + strlen(tail);
    char *text = sb_alloc((int64_t)bytes + 1, 1);
    REQUIRE(text);
    memcpy(text, head, head_bytes);
    for (size_t i = 0; i < n; i++)
        memcpy(text + head_bytes + i * unit_bytes, unit, unit_bytes);
    memcpy(text + head_bytes + n * unit_bytes, tail, strlen(tail));
    EXPECT_MSG(strcmp(parse(text, bytes), expected) == 0, "%s", message);
    sb_free(text);
}

static void test_limits(void)
{
    TEST("limits");
    refused_repeat("", "[", 33, "", "c:1:33: nested too deep; expected at most 32 levels");
    refused_repeat("", "[", 31, "x]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "");
    refused_repeat("", "[", 1 << 20, "", "c:1:33: nested too deep; expected at most 32 levels");
    refused_repeat("[", "&a b,", 257, "]", "c:1:1282: one anchor too many; expected at most 256");
    refused_repeat("[", "&a b,", 256, "]", "");
    refused_repeat("a: &a [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]\nc: ", "[", 15, "*a",
                   "c:2:19: nested too deep; expected at most 32 levels");
    refused_repeat("a: &a [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]\nc: ", "[", 14, "*a]]]]]]]]]]]]]]", "");
    REFUSED("a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
            "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
            "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
            "6:4: more than 1000000 values once aliases are followed; expected fewer");
}

static void test_nodes(void)
{
    double x;
    bool b;
    TEST("nodes");
    READ("{a: 1, b: [x, 'y'], c: {}}");
    REQUIRE(root->kind == SB_NODE_MAP && root->n == 3);
    EXPECT(strcmp(root->items[2]->text, "b") == 0);
    const sb_node *list = root->items[3];
    EXPECT(list->kind == SB_NODE_LIST && list->n == 2 && list->line == 1 && list->col == 11);
    EXPECT(list->items[0]->plain && !list->items[1]->plain);
    EXPECT(strcmp(list->items[1]->text, "y") == 0);
    EXPECT(root->items[5]->kind == SB_NODE_MAP && root->items[5]->n == 0);

    TEST("the last anchor of a name counts");
    READ("[&a 1, &a 2, *a]");
    EXPECT(root->items[2] == root->items[1]);

    TEST("words");
    READ("[~, null, '', '~', true, 'true', False]");
    for (int i = 0; i < 7; i++)
        EXPECT(sb_node_is_null(root->items[i]) == (i < 2));
    for (int i = 0; i < 7; i++)
        EXPECT(sb_node_bool(root->items[i], &b) == (i == 4));

    TEST("numbers");
    READ("[-1.5e2, .5, +3, '1', 0x1, nan, inf, 1e999, 1_0, 1.2.3, -, [1]]");
    static const double numbers[] = {-150, 0.5, 3};
    for (int i = 0; i < root->n; i++)
        EXPECT(sb_node_number(root->items[i], &x) == (i < 3) && (i >= 3 || x == numbers[i]));
}

int main(void)
{
    test_refused();
    test_limits();
    test_nodes();
    sb_arena_free(arena);
    TEST("nothing is left allocated");
    EXPECT(sb_mem_live() == 0);
    return sb_tests_done();
}
