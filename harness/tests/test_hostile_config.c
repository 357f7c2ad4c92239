/* Hostile configs: the program refuses each with exit code 2 and one line, soon and in little
 * memory. */

#include "harness/synth.h"
#include "harness/tests/hostile_rig.h"

static FILE *start(const char *head)
{
    FILE *file = fopen("c.yaml", "wb");
    if (file)
        (void)fputs(head, file);
    return file;
}

static void repeat(FILE *file, const char *unit, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        (void)fputs(unit, file);
}

/* A config of head, n times unit, tail is refused. */
static void refuse_repeated(const char *name, const char *head, const char *unit, int64_t n,
                            const char *tail, const char *part)
{
    FILE *file = start(head);
    REQUIRE(file);
    repeat(file, unit, n);
    (void)fputs(tail, file);
    EXPECT(fclose(file) == 0);
    hostile_expect(name, 2, part, "check", "c.yaml");
}

static void refuse(const char *name, const char *text, const char *part)
{
    refuse_repeated(name, text, "", 0, "", part);
}

static void refuse_bytes(const char *name, const char *bytes, size_t n, const char *part)
{
    EXPECT(sb_fs_write("c.yaml", bytes, n, NULL) == SB_OK);
    hostile_expect(name, 2, part, "check", "c.yaml");
}

#define DATA "data: s.h5\n"

static void test_text(void)
{
    TEST("depth");
    refuse_repeated("lists", DATA "methods: ", "[", 100000, "", "nested too deep");
    refuse_repeated("maps", DATA "methods: ", "{a: ", 100000, "", "nested too deep");
    refuse_repeated("block lists", DATA "methods:\n  ", "- ", 100000, "", "nested too deep");
    refuse_repeated("keys", DATA, "? ", 100000, "", "a");
    TEST("length");
    refuse_repeated("a name", DATA "name: ", "x", 1000000, "\nmethods: [dense]\n", "name is xxx");
    refuse_repeated("a key", DATA, "x", 1000000, ": 1\n", "expected");
    FILE *file = start(DATA "name: &");
    REQUIRE(file);
    repeat(file, "x", 500000);
    (void)fputs(" n\nmethods: [stem: {mu: 0.", file);
    repeat(file, "1", 500000);
    EXPECT(fputs("}]\n", file) >= 0 && fclose(file) == 0);
    EXPECT_MSG(hostile_run("check", "c.yaml", NULL) == 0, "an anchor and a number: %s", said);
    refuse_repeated("a line", DATA "# ", "x", 10000000, "\n", "larger than 1 MiB");
    refuse_repeated("anchors", DATA "methods: [", "&a dense, ", 100000, "]\n", "anchor too many");
    refuse_repeated("brackets", DATA "methods: [", "[],", 300000, "]\n", "a method is a list");
    refuse_repeated("quotes", DATA "methods: ", "\"", 1000000, "\n", "expected");
    refuse_repeated("tags", DATA "methods: ", "!!a ", 250000, "\n", "expected");
    TEST("bytes");
    static const char nul[] = DATA "name: a\0b\nmethods: [dense]\n";
    refuse_bytes("NUL", nul, sizeof nul - 1, "control characters");
    refuse_bytes("no UTF-8", DATA "name: \xc3\x28\n", sizeof DATA + 9, "UTF-8");
    refuse_bytes("surrogates", DATA "name: \xed\xa0\x80\n", sizeof DATA + 10, "expected");
    refuse_bytes("UTF-16", "\xff\xfe\0d", 4, "expected");
    refuse("escapes", DATA "name: \"\\e[2Jx\"\nmethods: [dense]\n", "name is");
    refuse("escapes in an unknown key", DATA "\"\\e[2J\\nx\": 1\n", "unknown key");
    TEST("aliases");
    refuse("laughs",
           "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
           "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
           "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
           "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n",
           "once aliases are followed");
    refuse("a cycle", "a: &a [*a]\n", "no finished anchor");
    TEST("keys");
    refuse("twice", DATA "methods: [dense]\n" DATA, "given twice");
    refuse("unknown", DATA "methods: [dense]\nrun: rm\n", "unknown key 'run'");
    refuse_repeated("one twice in many", DATA "methods: [stem: {", "mu: 1, ", 100000, "}]\n",
                    "given twice");
}

static void test_axes(void)
{
    TEST("axes of a billion");
    refuse("a product",
           DATA "methods: [uniform: {k: {range: [1, 1000, 1]}, sinks: {range: [1, 1000, 1]},"
                " window: {range: [1, 1000, 1]}}]\n",
           "1000000000 variants");
    refuse("a small step", DATA "methods: [stem: {mu: {range: [1, 2, 1e-300]}}]\n",
           "makes more than");
    refuse("no step", DATA "methods: [stem: {mu: {range: [1, 2, 0]}}]\n", "never gets");
    refuse("a count", DATA "methods: [stem: {mu: {logspace: [1, 2, 1e9]}}]\n",
           "expected a whole number");
    refuse("lengths", DATA "lengths: {range: [1, 1e9, 1]}\nmethods: [dense]\n", "makes more than");
    refuse_repeated(
        "entries",
        DATA "methods: [&e {uniform: {k: {range: [1, 300, 1]}, sinks: {range: [1, 300, 1]}}}",
        ", *e", 4000, "]\n", "variants or more");
    refuse("cells",
           DATA "lengths: {range: [1, 600, 1]}\n"
                "methods: [uniform: {k: {range: [1, 1000, 1]}}]\n",
           "more than 500000 cells");
    refuse("twins", DATA "methods: [dense, dense]\n", "same cell twice");
}

static void test_files(void)
{
    TEST("what is no file");
    EXPECT(mkfifo("fifo", 0600) == 0 && mkdir("folder", 0700) == 0);
    static const char *const files[] = {"fifo", "folder", "/dev/zero", "/dev/stdin"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char text[200];
        hostile_expect(files[i], 2, "not a regular file", "check", files[i]);
        (void)snprintf(text, sizeof text,
                       DATA "methods: [stem: {schedule: {shape: table, table: %s}}]\n", files[i]);
        refuse("a table", text, "not a regular file");
    }
    TEST("a name leads nowhere");
    refuse("up", DATA "name: ../../evil\nmethods: [dense]\n", "name is ../../evil");
    refuse("absolute", DATA "name: /tmp/evil\nmethods: [dense]\n", "name is");
    refuse("a dot", DATA "name: ..\nmethods: [dense]\n", "name is ..");
    refuse("a line", DATA "name: \"a\\nb\"\nmethods: [dense]\n", "name is");
    EXPECT(rename("c.yaml", "...yaml") == 0 &&
           sb_fs_write("...yaml", DATA "methods: [dense]\n", sizeof DATA + 16, NULL) == SB_OK);
    hostile_expect("of its file", 2, "name is", "run", "...yaml");
    refuse("run", DATA "name: ../../evil\nmethods: [dense]\n", "name is");
    hostile_expect("run", 2, "name is", "run", "c.yaml");
    EXPECT(access("results", F_OK) != 0 && access("../evil", F_OK) != 0);
}

int main(void)
{
    sb_synth_options o = sb_synth_defaults();
    o.tokens = 1024;
    o.heads = o.kv_heads = o.layers = 1;
    if (!hostile_open() || sb_synth("s.h5", &o, NULL) != SB_OK)
        return 1;
    test_text();
    test_axes();
    test_files();
    return rig_close();
}
