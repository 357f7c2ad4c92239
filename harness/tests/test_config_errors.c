/* What a wrong config is told, to the column, and that nothing crashes or leaks on the way. */
#include <stdlib.h>
#include <string.h>

#include "harness/config.h"
#include "harness/mem.h"
#include "harness/tests/check.h"

static char message[sizeof((sb_err *)0)->msg];

/* The error of a text, without allocations left behind; "" when there is none. */
static const char *error_of(const char *text, size_t n_bytes, const char *set)
{
    sb_config cfg;
    sb_err err = {0};
    int64_t live = sb_mem_live();
    sb_status st = sb_config_parse(text, n_bytes, "c", &set, set ? 1 : 0, &cfg, &err);
    EXPECT((st == SB_OK) == (err.msg[0] == '\0') && st == err.status);
    EXPECT(st == SB_OK || st == SB_USAGE);
    sb_config_free(&cfg);
    EXPECT(sb_mem_live() == live);
    memcpy(message, err.msg, sizeof message);
    return message;
}

/* A message that ends with "..." stands for all that start so. */
static bool matches(const char *got, const char *expected)
{
    size_t n = strlen(expected);
    if (n > 3 && strcmp(expected + n - 3, "...") == 0)
        return strncmp(got, expected, n - 3) == 0;
    return strcmp(got, expected) == 0;
}

#define REFUSED(text, expected)                                                                    \
    EXPECT_MSG(matches(error_of(text, strlen(text), NULL), expected), "%s\n    %s", text, message)

/* Of a line `methods: [...]` that is line 2. */
#define METHODS_REFUSED(methods, expected)                                                         \
    REFUSED("data: d\nmethods: [" methods "]\n", "c:2:" expected)

#define SET_REFUSED(set, expected)                                                                 \
    do {                                                                                           \
        static const char text_[] = "data: d\nmeasure: {latency: false}\nmethods: [uniform]\n";    \
        EXPECT_MSG(matches(error_of(text_, strlen(text_), set), "--set " set ": " expected), "%s", \
                   message);                                                                       \
    } while (0)

static void test_keys(void)
{
    TEST("keys");
    REFUSED("data: d\nlenghts: 1\nmethods: [dense]\n",
            "c:2:1: unknown key 'lenghts'; did you mean 'lengths'?");
    REFUSED("data: d\nfrobnicate: 1\n", "c:2:1: unknown key 'frobnicate'; expected one of name, "
                                        "data, layers, lengths, backend, dtype, block, methods, "
                                        "match, measure");
    REFUSED("data: d\nmethods: [dense]\ndata: e\n",
            "c:3:1: key 'data' is given twice; expected once");
    REFUSED("methods: [dense]\n", "c:1:1: no key 'data'; expected one");
    REFUSED("data: d\n", "c:1:1: no key 'methods'; expected one");
    REFUSED("- data\n", "c:1:1: the config is a list; expected a mapping");
    REFUSED("data: d\n? [a]\n: 1\n", "c:2:3: a key is a collection; expected a name");
    REFUSED("data: d\nmethods: [dense]\nmeasure: {latency: {warmpu: 1}}\n",
            "c:3:21: unknown key 'warmpu'; did you mean 'warmup'?");
    REFUSED("data: d\nmethods: [dense]\nmeasure: {speed: 1}\n",
            "c:3:11: unknown key 'speed'; expected one of fidelity, latency");
}

static void test_values(void)
{
    TEST("values of top-level keys");
    REFUSED("name: a/b\ndata: d\nmethods: [dense]\n",
            "c:1:7: name is a/b; expected up to 64 characters without slashes, not starting with "
            "a dot");
    REFUSED("data:\nmethods: [dense]\n", "c:1:6: data is empty; expected the path of a capture");
    REFUSED("data: []\nmethods: [dense]\n",
            "c:1:7: data is a list of 0; expected 1 to 10000 captures");
    REFUSED("name: ~\ndata: d\nmethods: [dense]\n", "c:1:7: name is empty; expected...");
    REFUSED("name: \"a/\\nb\"\ndata: d\nmethods: [dense]\n",
            "c:1:7: name is \"a/ b\"; expected...");
    REFUSED("data: [a, [b]]\nmethods: [dense]\n",
            "c:1:11: data is a list; expected the path of a capture");
    REFUSED("data: [a, b, a]\nmethods: [dense]\n",
            "c:1:14: data has a twice; expected distinct captures");
    REFUSED("data: d\nlayers: [1, -1]\nmethods: [dense]\n",
            "c:2:13: layers is -1; expected a whole number in [0, 99999]");
    REFUSED("data: d\nlayers: [3, 1, 3]\nmethods: [dense]\n",
            "c:2:16: layers has 3 twice; expected distinct values");
    REFUSED("data: d\nlayers: []\nmethods: [dense]\n",
            "c:2:9: layers is an empty list; expected at least one value");
    REFUSED("data: d\nlayers: {range: [0, 20000, 1]}\nmethods: [dense]\n",
            "c:2:9: layers has 20001 values; expected at most 10000");
    REFUSED("data: d\nlengths: 0\nmethods: [dense]\n",
            "c:2:10: lengths is 0; expected a whole number in [1, 1073741824]");
    REFUSED("data: d\nlengths: [8, 2.5]\nmethods: [dense]\n",
            "c:2:14: lengths is 2.5; expected a whole number in [1, 1073741824]");
    REFUSED("data: d\nlengths: '8'\nmethods: [dense]\n",
            "c:2:10: lengths is \"8\"; expected a whole number in [1, 1073741824]");
    REFUSED("data: d\nbackend: gpu\nmethods: [dense]\n",
            "c:2:10: backend is gpu; expected one of auto|cpu|cuda");
    REFUSED("data: d\nbackend: [cpu, cuda]\nmethods: [dense]\n",
            "c:2:10: backend is a list; expected one of auto|cpu|cuda");
    REFUSED("data: d\ndtype: [f16, f64]\nmethods: [dense]\n",
            "c:2:14: dtype is f64; expected one of f32|bf16|f16");
    REFUSED("data: d\ndtype: [f16, f16]\nmethods: [dense]\n",
            "c:2:14: dtype has f16 twice; expected distinct values");
    REFUSED("data: d\nblock: [64, 64]\nmethods: [dense]\n",
            "c:2:13: block has 64 twice; expected distinct values");
    REFUSED("data: d\nblock: [64, 4096]\nmethods: [dense, uniform: ]\n",
            "c:2:13: block is 4096; expected a whole number in [1, 1024]");

    TEST("values of measure");
    REFUSED("data: d\nmethods: [dense]\nmeasure: true\n",
            "c:3:10: measure is true; expected a mapping");
    REFUSED("data: d\nmethods: [dense]\nmeasure: {fidelity: yes}\n",
            "c:3:21: fidelity is yes; expected true, false or a mapping");
    REFUSED("data: d\nmethods: [dense]\nmeasure: {fidelity: {rows: 0}}\n",
            "c:3:28: rows is 0; expected a whole number in [1, 1000000000]");
    REFUSED("data: d\nmethods: [dense]\nmeasure: {latency: {noise: 0}}\n",
            "c:3:28: noise is 0; expected a number in (0, 1]");
    REFUSED("data: d\nmethods: [dense]\nmeasure: {latency: {min_samples: 1.5}}\n",
            "c:3:34: min_samples is 1.5; expected a whole number in [1, 1000000]");
    REFUSED("data: d\nmethods: [dense]\nmeasure: {latency: {timeout: 0.1}}\n",
            "c:3:30: timeout is 0.1 and min_time 0.5; expected timeout >= min_time");
}

static void test_methods(void)
{
    TEST("methods");
    REFUSED("data: d\nmethods: dense\n", "c:2:10: methods is dense; expected a list of methods");
    METHODS_REFUSED("", "10: methods is an empty list; expected a list of methods");
    METHODS_REFUSED("stme", "11: unknown method 'stme'; did you mean 'stem'?");
    METHODS_REFUSED("dense, [stem]", "18: a method is a list; expected a name");
    METHODS_REFUSED("{stem: {}, dense: {}}", "11: an entry with 2 names; expected one method");
    METHODS_REFUSED("stem: 3", "17: stem is 3; expected a mapping of parameters");
    METHODS_REFUSED("dense: {mu: 1}", "19: unknown parameter of dense 'mu'; expected zip");
    METHODS_REFUSED("stem: {mue: 1}", "18: unknown parameter of stem 'mue'; did you mean 'mu'?");
    METHODS_REFUSED("stem: {schedule: {hodl: 1}}",
                    "29: unknown parameter of stem 'schedule.hodl'; did you mean 'schedule.hold'?");
    METHODS_REFUSED("stem: {shedule: {}}",
                    "18: unknown parameter of stem 'shedule'; did you mean 'schedule'?");
    METHODS_REFUSED("stem: {schedule: linear}", "28: schedule is linear; expected a mapping");
    METHODS_REFUSED("stem: {mu: 1, beta: 0, mu: 1}", "34: mu is given twice; expected once");
    METHODS_REFUSED("stem: {schedule: {hold: 1}, schedule.hold: 2}",
                    "39: schedule.hold is given twice; expected once");

    TEST("values of parameters");
    METHODS_REFUSED("stem: {mu: -1}", "22: mu is -1; expected a number in (0, 4]");
    METHODS_REFUSED("stem: {mu: [1, 40]}", "26: mu is 40; expected a number in (0, 4]");
    METHODS_REFUSED("stem: {mu: .nan}", "22: mu is .nan; expected a number in (0, 4]");
    METHODS_REFUSED("stem: {mu: '1'}", "22: mu is \"1\"; expected a number in (0, 4]");
    METHODS_REFUSED("stem: {mu: [[1]]}", "23: mu is a list; expected a number in (0, 4]");
    METHODS_REFUSED("stem: {mu: }", "22: mu is empty; expected a number in (0, 4]");
    METHODS_REFUSED("stem: {mu: []}", "22: mu is an empty list; expected at least one value");
    METHODS_REFUSED("uniform: {k: -3}", "24: k is -3; expected a whole number >= 1 (blocks) or a "
                                        "number in (0, 1) (a share)");
    METHODS_REFUSED("uniform: {k: 0}", "24: k is 0; expected a whole number >= 1...");
    METHODS_REFUSED("uniform: {k: 2.5}", "24: k is 2.5; expected a whole number >= 1...");
    METHODS_REFUSED("stem: {value: papr}",
                    "25: value is papr; expected one of none|paper|angelslim|hpc");
    METHODS_REFUSED("uniform: {block: 60}", "11: uniform: ...");
    METHODS_REFUSED("stem: {schedule: {table: 3}}", "36: schedule.table is 3; expected a list...");
    METHODS_REFUSED("stem: {schedule: {table: []}}", "36: schedule.table is empty; expected a...");
    METHODS_REFUSED("stem: {schedule: {table: [1, x]}}",
                    "40: schedule.table is x; expected a list of numbers in...");
    METHODS_REFUSED("stem: {schedule: {table: [[1], [-2]]}}",
                    "42: schedule.table is -2; expected a list of numbers in...");
    METHODS_REFUSED("stem: {schedule: {table: {range: [1, 2, 1]}}}",
                    "36: schedule.table is a mapping; expected a list of numbers in...");
    METHODS_REFUSED("stem: {schedule: {table: gone.csv}}",
                    "36: gone.csv: No such file or directory; expected a readable file");
}

static void test_axes(void)
{
    TEST("range, logspace and zip");
    METHODS_REFUSED("stem: {mu: {}}", "22: mu has an empty mapping; expected range or logspace");
    METHODS_REFUSED("stem: {mu: {rnage: 1}}", "23: unknown key 'rnage'; did you mean 'range'?");
    METHODS_REFUSED("stem: {mu: {range: [1, 2, 1], logspace: [1, 2, 2]}}",
                    "22: mu has both range and logspace; expected range or logspace");
    METHODS_REFUSED("stem: {mu: {range: 3}}", "30: range is 3; expected [start, stop, step]");
    METHODS_REFUSED("stem: {mu: {range: [1, 2]}}",
                    "30: range has 2 values; expected [start, stop, step]");
    METHODS_REFUSED("stem: {mu: {range: [1, a, 2]}}",
                    "34: range has a in it; expected numbers [start, stop, step]");
    METHODS_REFUSED("stem: {mu: {range: ['1', 2, 1]}}", "31: range has \"1\" in it; expected...");
    METHODS_REFUSED("stem: {mu: {range: [0x1, 2, 1]}}", "31: range has 0x1 in it; expected...");
    METHODS_REFUSED("stem: {mu: {range: [1, 2, 0]}}", "30: range never gets from 1 to 2 by 0; "
                                                      "expected a step towards the end");
    METHODS_REFUSED("stem: {mu: {range: [1, 2, -1]}}", "30: range never gets from 1 to 2 by -1...");
    METHODS_REFUSED("stem: {mu: {range: [0, 2, 1]}}", "30: mu is 0; expected a number in (0, 4]");
    METHODS_REFUSED("stem: {sinks: {range: [0, 1e9, 1]}}",
                    "33: range makes more than 100000 values; expected fewer");
    METHODS_REFUSED("stem: {mu: {logspace: [0, 2, 3]}}",
                    "33: logspace from 0 to 2; expected both above 0");
    METHODS_REFUSED("stem: {mu: {logspace: [1, 2, 1]}}",
                    "33: logspace of 1 values; expected a whole number in [2, 100000]");
    METHODS_REFUSED("stem: {mu: {logspace: [1, 2, 2.5]}}",
                    "33: logspace of 2.5 values; expected...");
    METHODS_REFUSED("uniform: {k: {logspace: [0.5, 2, 3]}}",
                    "35: logspace from 0.5 to 2; expected both below 1 (shares) or both at least "
                    "1 (blocks)");
    METHODS_REFUSED("stem: {zip: {mu: [1, 2], beta: [1, 2, 3]}}",
                    "42: zip pairs mu (2 values) with beta (3); expected lists of one length");
    METHODS_REFUSED("stem: {zip: {}}", "23: zip is an empty mapping; expected a mapping of lists");
    METHODS_REFUSED("stem: {zip: [3]}", "24: zip is 3; expected a mapping of lists");
    METHODS_REFUSED("stem: {zip: {zip: {mu: [1]}}}", "24: a zip in a zip; expected parameters");
    METHODS_REFUSED("stem: {mu: 1, zip: {mu: [1]}}", "31: mu is given twice; expected once");

    TEST("twins");
    REFUSED("data: d\nmethods:\n  - stem: {mu: 0.7}\n  - dense\n  - stem: {beta: 0.2}\n",
            "c:5:5: same cell twice, first on line 3: stem variant=paper...");
    METHODS_REFUSED("dense, dense",
                    "18: same cell twice, first on line 2: dense; expected distinct variants");
    METHODS_REFUSED("uniform: {k: [4, 4]}", "11: same cell twice, first on line 2: uniform...");

    TEST("too many variants");
    METHODS_REFUSED("stem: {mu: {range: [0.0001, 1, 0.0001]}, sinks: {range: [1, 1001, 1]}}",
                    "10: expands to 10010000 variants or more; expected at most 500000");
    REFUSED("data: d\nmethods: [uniform: {sinks: {range: [1, 10000, 1]}},\n"
            "  stem: {sinks: {range: [1, 10000, 1]}}]\nmatch: {to: stem}\n",
            "c:4:13: expands to 100010000 variants or more; expected at most 500000");
}

static void test_match(void)
{
    TEST("match");
    REFUSED("data: d\nmethods: [dense]\nmatch: stem\n", "c:3:8: match is stem; expected a mapping");
    REFUSED("data: d\nmethods: [dense]\nmatch: {by: density}\n",
            "c:3:8: match has no key 'to'; expected the name of a method");
    REFUSED("data: d\nmethods: [dense]\nmatch: {to: stme}\n",
            "c:3:13: unknown method 'stme'; did you mean 'stem'?");
    REFUSED("data: d\nmethods: [dense]\nmatch: {to: [stem]}\n",
            "c:3:13: to is a list; expected the name of a method");
    REFUSED("data: d\nmethods: [dense]\nmatch: {to: stem}\n",
            "c:3:13: methods has no stem to match; expected an entry of it");
    REFUSED("data: d\nmethods: [stem]\nmatch: {to: stem, by: time}\n",
            "c:3:23: by is time; expected one of density|flops");
    REFUSED("data: d\nmethods: [stem]\nmatch: {to: stem, by: [flops]}\n",
            "c:3:23: by is a list...");
    REFUSED("data: d\nmethods: [stem]\nmatch: {to: stem, by: }\n",
            "c:3:23: by is empty; expected one of density|flops");
    REFUSED("data: d\nmethods: [stem: , uniform: {block: 64}]\nmatch: {to: stem}\n",
            "c:2:19: uniform has block 64, and no variant of stem has; expected one to match");
}

static void test_sets(void)
{
    TEST("--set");
    SET_REFUSED("lengths", "no '='; expected key=value");
    SET_REFUSED("=1", "no key; expected key=value");
    SET_REFUSED("lengths=", "nothing here; expected a value");
    SET_REFUSED("lenghts=1", "unknown key 'lenghts'; did you mean 'lengths'?");
    SET_REFUSED("lengths=[1, 0]", "lengths is 0; expected a whole number in [1, 1073741824]");
    SET_REFUSED("measure.latency.warmup=1",
                "'latency' is false; expected a mapping to set 'warmup' in");
    SET_REFUSED("measure.lateny=false", "unknown key 'lateny'; did you mean 'latency'?");
    SET_REFUSED("uniform.k=0", "k is 0; expected a whole number >= 1...");
    SET_REFUSED("uniform.mu=1", "unknown parameter of uniform 'mu'...");
    SET_REFUSED("uniform=4", "uniform is 4; expected a mapping of parameters");
    SET_REFUSED("stem.mu=1", "methods of c:3 has no stem; expected an entry of it");
    char long_key[300];
    memset(long_key, '.', sizeof long_key);
    memcpy(long_key + sizeof long_key - 3, "=1", 3);
    static const char any[] = "data: d\nmethods: [dense]\n";
    EXPECT(strstr(error_of(any, strlen(any), long_key), "a key of more than 200 characters"));
    SET_REFUSED("measure=[]", "measure is a list; expected a mapping");
    EXPECT_MSG(
        matches(error_of("\n  name: n\n", 11, "data=d"), "c:2:3: no key 'methods'; expected one"),
        "%s", message);
    SET_REFUSED("lengths=[1", "while parsing a flow sequence: did not find expected ',' or ']'; "
                              "expected well-formed YAML");
}

static const char valid[] =
    "name: quick\ndata: [data/a.h5, 'b']\nlayers: [2, 15]\nlengths: {logspace: [64, 8192, 4]}\n"
    "backend: auto\ndtype: [bf16, f32]\nblock: [64]\nmethods:\n  - dense\n"
    "  - uniform: {score: antidiagonal, k: [4, 8, 16]}\n"
    "  - stem: &s {variant: paper, k_start: [4, 0.1], mu: {range: [0.2, 1, 0.4]},\n"
    "      schedule: {shape: step, breakpoints: [[0.25], [0.5, 0.75]]},\n"
    "      zip: {value: [none, paper], beta: [0.1, 0.2]}}\n"
    "  - uniform: {block: 64, score: mean}\nmatch: {to: stem, by: density}\n"
    "measure:\n  fidelity: {rows: all, seed: 3}\n"
    "  latency: {warmup: 3, min_samples: 10, min_time: 0.5, noise: 0.005, timeout: 15}\n";

static void test_no_memory(void)
{
    static const char *const sets[] = {"stem.sinks=2", "measure.latency.warmup=1"};
    int64_t live = sb_mem_live(), n = 0;
    sb_status st = SB_NO_MEMORY;
    TEST("running out of memory at each allocation");
    while (st != SB_OK && n < 10000) {
        sb_config cfg;
        sb_err err = {0};
        sb_mem_fail_at(++n);
        st = sb_config_parse(valid, strlen(valid), "c", sets, 2, &cfg, &err);
        sb_mem_fail_at(0);
        EXPECT_MSG(st == SB_OK || st == SB_NO_MEMORY, "allocation %lld: %s", (long long)n, err.msg);
        sb_config_free(&cfg);
        EXPECT(sb_mem_live() == live);
    }
    EXPECT(st == SB_OK && n > 5);
}

/* A byte of a config replaced, dropped or doubled by one that means something to YAML. */
static size_t mutate(char *text, size_t n, uint32_t random)
{
    static const char alphabet[] = "[]{}:,-#&*!|>'\"%@`\n\t .0159eax?\\\xff\x80\xc3";
    size_t at = random % n;
    char byte = alphabet[(random >> 16) % (sizeof alphabet - 1)];
    switch ((random >> 24) % 3) {
    case 0:
        text[at] = byte;
        return n;
    case 1:
        memmove(text + at, text + at + 1, n - at - 1);
        return n - 1;
    default:
        memmove(text + at + 1, text + at, n - at);
        text[at] = byte;
        return n + 1;
    }
}

static void test_mutations(void)
{
    uint32_t state = 1;
    int64_t n_valid = 0,
            n_runs = getenv("SB_TEST_MUTATIONS") ? atoll(getenv("SB_TEST_MUTATIONS")) : 3000;
    TEST("mutated configs neither crash nor leak");
    EXPECT_MSG(error_of(valid, strlen(valid), NULL)[0] == '\0', "%s", message);
    for (int64_t run = 0; run < n_runs; run++) {
        char text[2 * sizeof valid];
        size_t n = strlen(valid);
        memcpy(text, valid, n);
        for (int64_t i = 0; i <= run % 6; i++) {
            state = state * 1664525u + 1013904223u;
            n = mutate(text, n, state ^ (state >> 13));
        }
        n_valid += error_of(text, n, NULL)[0] == '\0';
    }
    EXPECT(n_valid > 0 && n_valid < n_runs);
}

int main(void)
{
    test_keys();
    test_values();
    test_methods();
    test_axes();
    test_match();
    test_sets();
    test_no_memory();
    test_mutations();
    return sb_tests_done();
}
