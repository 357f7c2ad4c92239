/* What a valid config means: axes, zip, ranges, match, measure and --set. */
#include <string.h>
#include <time.h>

#include "harness/config.h"
#include "harness/mem.h"
#include "harness/tests/check.h"

static sb_config cfg;

/* Parse into `cfg`, which the next call replaces. */
static bool parse_set(const char *text, const char *const *sets, int64_t n_sets)
{
    sb_err err = {0};
    sb_config_free(&cfg);
    sb_status st = sb_config_parse(text, strlen(text), "dir/quick.yaml", sets, n_sets, &cfg, &err);
    EXPECT_MSG(st == SB_OK, "%s", err.msg);
    return st == SB_OK;
}

static bool parse(const char *text)
{
    return parse_set(text, NULL, 0);
}

/* Parse `methods:` given in flow style. */
static bool parse_methods(const char *methods)
{
    char text[2000];
    (void)snprintf(text, sizeof text, "data: d.h5\nmethods: %s\n", methods);
    return parse(text);
}

static const sb_value *value_of(int64_t variant, const char *name)
{
    return sb_value_of(cfg.variants[variant].method, cfg.variants[variant].values, name);
}

static double number(int64_t variant, const char *name)
{
    return value_of(variant, name)->num;
}

static bool is_method(int64_t variant, const char *name)
{
    return strcmp(cfg.variants[variant].method->name, name) == 0;
}

/* Whether the variants are `n` and take these values of `name` in this order. */
static bool takes(const char *name, int64_t n, const double *expected)
{
    if (cfg.n_variants != n)
        return false;
    for (int64_t i = 0; i < n; i++)
        if (number(i, name) != expected[i])
            return false;
    return true;
}

#define TAKES(name, ...)                                                                           \
    takes(name, (int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)),                       \
          (const double[]){__VA_ARGS__})

static void test_defaults(void)
{
    TEST("defaults");
    REQUIRE(parse("data: d.h5\nmethods: [dense]\n"));
    EXPECT(strcmp(cfg.name, "quick") == 0);
    EXPECT(cfg.n_captures == 1 && strcmp(cfg.captures[0], "d.h5") == 0);
    EXPECT(cfg.capture_lines[0] == 1);
    EXPECT(cfg.n_layers == 0 && cfg.n_lengths == 0);
    EXPECT(cfg.n_dtypes == 1 && cfg.dtypes[0] == SB_BF16);
    EXPECT(cfg.backend == SB_BACKEND_AUTO);
    EXPECT(cfg.n_variants == 1 && is_method(0, "dense") && cfg.variants[0].target == -1);
    const sb_measure_options *m = &cfg.measure;
    EXPECT(m->fidelity && m->fidelity_rows == 0 && m->impl_rows == 64 && m->seed == 1);
    EXPECT(m->latency.enabled && m->latency.warmup == 3 && m->latency.min_samples == 10);
    EXPECT(m->latency.min_time_s == 0.5 && m->latency.noise == 0.005);
    EXPECT(m->latency.timeout_s == 15);
}

static void test_top_level(void)
{
    TEST("every top-level key");
    REQUIRE(parse("name: paper\n"
                  "data: [a.h5,\n  b.h5]\n"
                  "layers: [2, 15, 0]\n"
                  "lengths: 2048\n"
                  "backend: cpu\n"
                  "dtype: [f16, f32]\n"
                  "methods: [dense]\n"
                  "measure:\n"
                  "  fidelity: {rows: 100, impl_rows: 5, seed: 7}\n"
                  "  latency: {warmup: 0, min_samples: 4, min_time: 0, noise: 0.1, timeout: 2}\n"));
    EXPECT(strcmp(cfg.name, "paper") == 0);
    EXPECT(cfg.n_captures == 2 && strcmp(cfg.captures[1], "b.h5") == 0);
    EXPECT(cfg.capture_lines[0] == 2 && cfg.capture_lines[1] == 3);
    EXPECT(cfg.n_layers == 3 && cfg.layers[0] == 2 && cfg.layers[1] == 15 && cfg.layers[2] == 0);
    EXPECT(cfg.layers_line == 4 && cfg.layers_col == 9);
    EXPECT(cfg.n_lengths == 1 && cfg.lengths[0] == 2048);
    EXPECT(cfg.lengths_line == 5 && cfg.lengths_col == 10);
    EXPECT(cfg.backend == SB_BACKEND_CPU);
    EXPECT(cfg.n_dtypes == 2 && cfg.dtypes[0] == SB_F16 && cfg.dtypes[1] == SB_F32);
    const sb_measure_options *m = &cfg.measure;
    EXPECT(m->fidelity && m->fidelity_rows == 100 && m->impl_rows == 5 && m->seed == 7);
    EXPECT(m->latency.enabled && m->latency.warmup == 0 && m->latency.min_samples == 4);
    EXPECT(m->latency.min_time_s == 0 && m->latency.noise == 0.1 && m->latency.timeout_s == 2);

    TEST("words in place of lists and mappings");
    REQUIRE(parse("data: a\nlayers: all\nlengths: all\nmethods: [dense]\n"
                  "measure: {fidelity: false, latency: false}\n"));
    EXPECT(cfg.n_layers == 0 && cfg.n_lengths == 0);
    EXPECT(!cfg.measure.fidelity && !cfg.measure.latency.enabled);
    REQUIRE(parse("data: a\nmethods: [dense]\nlengths: {logspace: [1024, 4096, 3]}\n"
                  "measure: {fidelity: {rows: all}, latency: true}\n"));
    EXPECT(cfg.n_lengths == 3 && cfg.lengths[1] == 2048);
    EXPECT(cfg.measure.fidelity && cfg.measure.fidelity_rows == 0 && cfg.measure.latency.enabled);
}

static void test_axes(void)
{
    TEST("scalars and entries without parameters");
    REQUIRE(parse_methods("[dense, uniform: , stem: {mu: 0.5}]"));
    EXPECT(cfg.n_variants == 3 && is_method(0, "dense") && is_method(1, "uniform"));
    EXPECT(number(2, "mu") == 0.5 && number(2, "beta") == 0.2);

    TEST("lists are axes; the first varies slowest");
    REQUIRE(parse_methods("[stem: {mu: [1, 0.5], beta: [0.1, 0.2, 0.3]}]"));
    EXPECT(TAKES("mu", 1, 1, 1, 0.5, 0.5, 0.5));
    EXPECT(TAKES("beta", 0.1, 0.2, 0.3, 0.1, 0.2, 0.3));
    REQUIRE(parse_methods("[stem: {beta: [0.1, 0.2], mu: [1, 0.5]}]"));
    EXPECT(TAKES("beta", 0.1, 0.1, 0.2, 0.2));

    TEST("block is the slowest axis, and an entry's own block wins");
    REQUIRE(parse("data: d\nblock: [64, 128]\n"
                  "methods: [dense, uniform: {k: [4, 8]}, stem: {block: 32}]\n"));
    REQUIRE(cfg.n_variants == 6);
    EXPECT(number(1, "block") == 64 && number(1, "k") == 4);
    EXPECT(number(2, "block") == 64 && number(2, "k") == 8);
    EXPECT(number(3, "block") == 128 && number(3, "k") == 4);
    EXPECT(is_method(5, "stem") && number(5, "block") == 32);

    TEST("range");
    REQUIRE(parse_methods("[stem: {mu: {range: [0.1, 0.7, 0.1]}}]"));
    EXPECT(TAKES("mu", 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7));
    REQUIRE(parse_methods("[uniform: {k: {range: [9, 2, -3]}}]"));
    EXPECT(TAKES("k", 9, 6, 3));

    TEST("logspace");
    REQUIRE(parse_methods("[uniform: {k: {logspace: [1, 8, 7]}}]"));
    EXPECT(TAKES("k", 1, 2, 3, 4, 6, 8));
    REQUIRE(parse_methods("[uniform: {k: {logspace: [0.1, 0.4, 3]}}]"));
    EXPECT(TAKES("k", 0.1, 0.2, 0.4));
    REQUIRE(parse_methods("[stem: {sinks: {logspace: [64, 1, 3]}}]"));
    EXPECT(TAKES("sinks", 64, 8, 1));

    TEST("zip");
    REQUIRE(parse_methods("[stem: {sinks: [1, 2], zip: {mu: [1, 0.5], beta: [0.1, 0.2]}}]"));
    EXPECT(TAKES("sinks", 1, 1, 2, 2));
    EXPECT(TAKES("mu", 1, 0.5, 1, 0.5));
    EXPECT(TAKES("beta", 0.1, 0.2, 0.1, 0.2));
    REQUIRE(parse_methods("[stem: {zip: [{mu: [1, 0.5], beta: [0.1, 0.2]},"
                          " {sinks: {range: [1, 2, 1]}, window: [3, 4]}]}]"));
    EXPECT(TAKES("mu", 1, 1, 0.5, 0.5));
    EXPECT(TAKES("beta", 0.1, 0.1, 0.2, 0.2));
    EXPECT(TAKES("sinks", 1, 2, 1, 2));
    EXPECT(TAKES("window", 3, 4, 3, 4));

    TEST("the parameter `variant` sets the defaults of its own variants only");
    REQUIRE(parse_methods("[stem: {variant: [paper, hpc]}]"));
    EXPECT(TAKES("stride", 8, 16));
}

static void test_nested(void)
{
    TEST("mappings and dots");
    REQUIRE(parse_methods("[stem: {schedule: {shape: [linear, cosine], hold: 3}},"
                          " stem: {schedule.hold: 4}]"));
    EXPECT(TAKES("schedule.shape", 1, 2, 1));
    EXPECT(TAKES("schedule.hold", 3, 3, 4));
    REQUIRE(parse_methods("[stem: {zip: {schedule: {hold: [1, 2]}, mu: [0.5, 1]}}]"));
    EXPECT(TAKES("schedule.hold", 1, 2));

    TEST("anchors, aliases and tags");
    REQUIRE(parse("data: !!str d\nmethods:\n  - uniform: &p {sinks: !!int 2, window: [1, 3]}\n"
                  "  - stem: *p\n"));
    EXPECT(TAKES("sinks", 2, 2, 2, 2));
    EXPECT(TAKES("window", 1, 3, 1, 3));
}

static bool has_list(int64_t variant, const char *name, int32_t n, const double *expected)
{
    const sb_value *v = value_of(variant, name);
    return v->state == SB_VALUE_SET && v->n_list == n &&
           memcmp(v->list, expected, (size_t)n * sizeof *expected) == 0;
}

static void test_lists(void)
{
    TEST("a list as one value");
    REQUIRE(
        parse_methods("[stem: {schedule: {shape: step, breakpoints: [0.25, 0.5]}, mu: [1, 0.5]}]"));
    REQUIRE(cfg.n_variants == 2);
    EXPECT(has_list(0, "schedule.breakpoints", 2, (double[]){0.25, 0.5}));
    EXPECT(value_of(0, "schedule.breakpoints")->list == value_of(1, "schedule.breakpoints")->list);

    TEST("a list of lists as an axis");
    REQUIRE(parse_methods("[stem: {schedule: {shape: step, breakpoints: [[0.25, 0.5], [0.75]]}}]"));
    REQUIRE(cfg.n_variants == 2);
    EXPECT(has_list(0, "schedule.breakpoints", 2, (double[]){0.25, 0.5}));
    EXPECT(has_list(1, "schedule.breakpoints", 1, (double[]){0.75}));

    TEST("long lists that differ in one number");
    REQUIRE(parse_methods("[stem: {schedule: {shape: table,"
                          " table: [[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"
                          " [1,2,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]]}}]"));
    EXPECT(cfg.n_variants == 2);

    TEST("none");
    REQUIRE(parse_methods("[stem: {schedule: {table: none}}]"));
    EXPECT(value_of(0, "schedule.table")->state == SB_VALUE_NONE);
}

static void test_match(void)
{
    TEST("match copies others for each target and drops their budgets");
    REQUIRE(parse("data: d\nmatch: {to: stem, by: density}\n"
                  "methods: [dense, uniform: {score: [mean, antidiagonal], k: [4, 8, 16]},\n"
                  "          stem: {mu: [1, 0.5]}, uniform: {k: 3, sinks: 1}]\n"));
    /* dense; mean, then antidiagonal for both targets; stem twice; the last uniform twice */
    REQUIRE(cfg.n_variants == 9);
    static const char *const methods[9] = {"dense", "uniform", "uniform", "uniform", "uniform",
                                           "stem",  "stem",    "uniform", "uniform"};
    static const int64_t targets[9] = {-1, 5, 6, 5, 6, -1, -1, 5, 6};
    static const double scores[9] = {0, 1, 1, 0, 0, 0, 0, 0, 0};
    for (int64_t i = 0; i < 9; i++) {
        EXPECT(is_method(i, methods[i]));
        EXPECT(cfg.variants[i].target == targets[i]);
        if (i == 0)
            continue;
        EXPECT(number(i, "score") == scores[i]);
        EXPECT((value_of(i, "schedule.total")->state == SB_VALUE_AUTO) == (targets[i] >= 0));
    }
    EXPECT(number(5, "mu") == 1 && number(6, "mu") == 0.5 && number(7, "sinks") == 1);

    TEST("match by density, unless by flops");
    REQUIRE(parse("data: d\nmatch: {to: stem}\nmethods: [stem, uniform]\n"));
    EXPECT(cfg.match_by == SB_MATCH_DENSITY);
    REQUIRE(parse("data: d\nmatch: {to: stem, by: flops}\nmethods: [stem, uniform]\n"));
    EXPECT(cfg.match_by == SB_MATCH_FLOPS && cfg.variants[1].target == 0);

    TEST("match drops a solved parameter that is no budget");
    REQUIRE(parse("data: d\nmatch: {to: stem}\n"
                  "methods: [cosa: {top_p: [0.5, 0.9], stride: [4, 8]}, stem: {mu: [1, 0.5]}]\n"));
    static const int64_t of_cosa[6] = {4, 5, 4, 5, -1, -1};
    static const double strides[6] = {4, 4, 8, 8, 8, 8};
    REQUIRE(cfg.n_variants == 6);
    for (int64_t i = 0; i < 6; i++) {
        EXPECT(cfg.variants[i].target == of_cosa[i] && number(i, "stride") == strides[i]);
        EXPECT(i >= 4 || value_of(i, "top_p")->state == SB_VALUE_AUTO);
    }

    TEST("match keeps to the same block");
    REQUIRE(parse("data: d\nmatch: {to: stem}\nblock: [128, 64]\n"
                  "methods: [stem: {mu: [1, 0.5]}, uniform: {block: 64}, uniform: {sinks: 1}]\n"));
    /* stem 128 twice, stem 64 twice; uniform 64 -> 2, 3; uniform 128 -> 0, 1; uniform 64 -> 2, 3 */
    static const int64_t same_block[10] = {-1, -1, -1, -1, 2, 3, 0, 1, 2, 3};
    REQUIRE(cfg.n_variants == 10);
    for (int64_t i = 0; i < 10; i++)
        EXPECT(cfg.variants[i].target == same_block[i]);
}

static void test_sets(void)
{
    static const char text[] = "data: d\nmeasure: {latency: {warmup: 9}}\n"
                               "methods: [stem: &p {mu: [1, 0.5]}, stem: {sinks: 1,\n"
                               "  zip: {mu: [0.1, 0.2], beta: [0.3, 0.4]}}, uniform: {k: 4}]";
    TEST("--set of top-level keys");
    static const char *const top[] = {"lengths=[2048, 64]", "measure.latency.min_samples=5",
                                      "measure.fidelity.seed=3", "name=other", "name=last"};
    REQUIRE(parse_set(text, top, 5));
    EXPECT(cfg.n_lengths == 2 && cfg.lengths[1] == 64 && cfg.lengths_line == 0);
    EXPECT(cfg.measure.latency.min_samples == 5 && cfg.measure.latency.warmup == 9);
    EXPECT(cfg.measure.seed == 3 && strcmp(cfg.name, "last") == 0);
    EXPECT(strncmp(cfg.text, text, strlen(text)) == 0);
    EXPECT(strcmp(cfg.text + strlen(text), "\n# --set lengths=[2048, 64]\n"
                                           "# --set measure.latency.min_samples=5\n"
                                           "# --set measure.fidelity.seed=3\n"
                                           "# --set name=other\n# --set name=last\n") == 0);

    TEST("--set of a line break stays a comment");
    static const char *const lines[] = {"name=\n  a"};
    REQUIRE(parse_set(text, lines, 1));
    EXPECT(strcmp(cfg.text + strlen(text), "\n# --set name=   a\n") == 0);

    TEST("--set of a method's parameter, in every entry of it");
    static const char *const mu[] = {"stem.mu=0.7", "stem.schedule={hold: 2}", "uniform.k=[1, 2]"};
    REQUIRE(parse_set(text, mu, 3));
    REQUIRE(cfg.n_variants == 5);
    EXPECT(number(0, "mu") == 0.7 && number(1, "mu") == 0.7 && number(2, "mu") == 0.7);
    EXPECT(number(1, "beta") == 0.3 && number(2, "beta") == 0.4);
    EXPECT(number(0, "schedule.hold") == 2 && number(2, "schedule.hold") == 2);
    EXPECT(number(3, "k") == 1 && number(4, "k") == 2);

    TEST("--set of a zip beside one in the file");
    static const char *const zip[] = {"stem.zip={window: [1, 2], dense_layers: [3, 4]}",
                                      "methods=[stem: {zip: {mu: [0.1, 0.2], beta: [1, 2]}}]"};
    REQUIRE(parse_set(text, zip, 2));
    EXPECT(TAKES("mu", 0.1, 0.1, 0.2, 0.2));
    EXPECT(TAKES("window", 1, 2, 1, 2));
    EXPECT(TAKES("dense_layers", 3, 4, 3, 4));

    TEST("--set spares what shares an anchor");
    static const char *const own[] = {"stem.sinks=2", "measure.latency=false"};
    REQUIRE(parse_set("data: d\nmethods: [stem: &p {sinks: 1}, uniform: *p]\n", own, 2));
    EXPECT(TAKES("sinks", 2, 1));
    EXPECT(!cfg.measure.latency.enabled);
}

static void test_values_from_sets(void)
{
    const sb_method *stem = sb_method_find("stem");
    sb_value values[SB_MAX_PARAMS];
    struct sb_arena *arena = NULL;
    sb_err err = {0};
    TEST("parameters of one method");
    static const char *const sets[] = {"mu=0.1", "schedule.shape=step", "mu=0.25",
                                       "schedule={breakpoints: [0.5, 0.75]}"};
    REQUIRE(sb_values_from_sets(stem, sets, 4, values, &arena, &err) == SB_OK);
    EXPECT(sb_real_of(stem, values, "mu") == 0.25);
    const sb_value *list = sb_value_of(stem, values, "schedule.breakpoints");
    EXPECT(list->n_list == 2 && list->list[1] == 0.75);
    EXPECT(sb_real_of(stem, values, "beta") == 0.2);
    sb_arena_free(arena);

    static const char *const axis[] = {"mu=[0.1, 0.2]"};
    EXPECT(sb_values_from_sets(stem, axis, 1, values, &arena, &err) == SB_USAGE);
    EXPECT_MSG(strcmp(err.msg, "--set mu=[0.1, 0.2]: mu has 2 values; expected one") == 0, "%s",
               err.msg);
    EXPECT(arena == NULL);
}

static void test_large(void)
{
    TEST("a hundred thousand variants");
    clock_t start = clock();
    REQUIRE(parse_methods("[stem: {k_start: {range: [1, 100, 1]}, mu: {range: [0.01, 1, 0.01]},"
                          " beta: {range: [0.1, 1, 0.1]}}]"));
    EXPECT(cfg.n_variants == 100000);
    EXPECT(number(99999, "k_start") == 100 && number(99999, "mu") == 1);
    EXPECT((double)(clock() - start) / CLOCKS_PER_SEC < 2);
}

static void test_nearest(void)
{
    static const char *const known[] = {"layers", "lengths", "name"};
    TEST("nearest names");
    EXPECT(sb_nearest("lenghts", known, 3) == known[1]);
    EXPECT(sb_nearest("layer", known, 3) == known[0]);
    EXPECT(sb_nearest("zzzz", known, 3) == NULL);
    EXPECT(sb_nearest("", known, 3) == NULL);
}

int main(void)
{
    test_defaults();
    test_top_level();
    test_axes();
    test_nested();
    test_lists();
    test_match();
    test_sets();
    test_values_from_sets();
    test_large();
    test_nearest();
    sb_config_free(&cfg);
    TEST("nothing is left allocated");
    EXPECT(sb_mem_live() == 0);
    return sb_tests_done();
}
