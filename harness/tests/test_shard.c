/* Work items, and how they are divided among shards. */

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "harness/cli.h"
#include "harness/evaluate.h"
#include "harness/hash.h"
#include "harness/ranked.h"
#include "harness/shard.h"
#include "harness/tests/folder_rig.h"

enum { MAX_ITEMS = 400, MAX_USED = 64 };

static uint64_t state = 1;

/* In (0, 1), the same on every run. */
static double chance(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 40) + .5) / 0x1p24;
}

/* n_layers layers of n_each items; costs vary by a factor of `spread`. */
static int64_t make_items(sb_item *items, int64_t n_layers, int64_t n_each, double spread,
                          double reference_s)
{
    int64_t n = 0;
    for (int64_t l = 0; l < n_layers; l++)
        for (int64_t i = 0; i < n_each; i++, n++)
            items[n] = (sb_item){.shape = l,
                                 .first = i,
                                 .n = 1,
                                 .seconds = pow(spread, chance()),
                                 .layer = l,
                                 .reference_s = reference_s};
    return n;
}

/* Seconds of the slowest shard, from the definition. */
static double slowest(const sb_item *items, int64_t n, const int32_t *of_item, int64_t n_shards)
{
    double most = 0;
    for (int64_t s = 0; s < n_shards; s++) {
        double seconds = 0, reference[MAX_USED] = {0};
        for (int64_t i = 0; i < n; i++) {
            if (of_item[i] != s)
                continue;
            seconds += items[i].seconds;
            reference[items[i].layer] = fmax(reference[items[i].layer], items[i].reference_s);
        }
        for (int l = 0; l < MAX_USED; l++)
            seconds += reference[l];
        most = fmax(most, seconds);
    }
    return most;
}

static double assigned(const sb_item *items, int64_t n, int64_t n_shards, int32_t *of_item)
{
    int32_t again[MAX_ITEMS];
    double seconds[MAX_ITEMS], most = 0;
    EXPECT(sb_shard_assign(items, n, n_shards, of_item, NULL) == SB_OK);
    EXPECT(sb_shard_assign(items, n, n_shards, again, NULL) == SB_OK);
    EXPECT(memcmp(of_item, again, (size_t)n * sizeof *again) == 0);
    for (int64_t i = 0; i < n; i++)
        EXPECT(of_item[i] >= 0 && of_item[i] < n_shards);
    EXPECT(sb_shard_seconds(items, n, of_item, n_shards, seconds, NULL) == SB_OK);
    for (int64_t s = 0; s < n_shards; s++)
        most = fmax(most, seconds[s]);
    double told = slowest(items, n, of_item, n_shards);
    EXPECT_MSG(fabs(most - told) <= 1e-9 * told, "%g, not %g", most, told);
    return most;
}

static void test_balance(void)
{
    sb_item items[MAX_ITEMS];
    int32_t of_item[MAX_ITEMS];
    static const int64_t shards[] = {1, 2, 3, 7, 16, 61, 399};
    TEST("no shard is longer than a fair share and one item");
    for (int round = 0; round < 20; round++)
        for (size_t k = 0; k < sizeof shards / sizeof shards[0]; k++) {
            int64_t n = make_items(items, 5, 2 + round * 3, round % 2 ? 1000 : 3, 0);
            double sum = 0, dearest = 0;
            for (int64_t i = 0; i < n; i++) {
                sum += items[i].seconds;
                dearest = fmax(dearest, items[i].seconds);
            }
            double most = assigned(items, n, shards[k], of_item);
            double fair = sum / (double)shards[k];
            EXPECT_MSG(most <= (fair + dearest) * (1 + 1e-6), "%g of %g + %g", most, fair, dearest);
        }

    TEST("dearest first is within 4/3 of the best");
    for (int round = 0; round < 50; round++) {
        int64_t n = make_items(items, 1, 9, 20, 0);
        double best = INFINITY;
        for (int code = 0; code < 19683; code++) { /* all ways among three */
            for (int64_t i = 0, rest = code; i < n; i++, rest /= 3)
                of_item[i] = (int32_t)(rest % 3);
            best = fmin(best, slowest(items, n, of_item, 3));
        }
        double most = assigned(items, n, 3, of_item);
        EXPECT_MSG(most <= best * 4 / 3, "%g, best %g", most, best);
    }
}

static void test_references(void)
{
    sb_item items[MAX_ITEMS];
    int32_t of_item[MAX_ITEMS];
    TEST("a dear reference is computed by few");
    int64_t n = make_items(items, 8, 20, 1, 1000);
    EXPECT(assigned(items, n, 8, of_item) == 1020);
    EXPECT(assigned(items, n, 2, of_item) == 4080);
    for (int64_t i = 0; i < n; i++)
        EXPECT(of_item[i] == items[i].layer / 4);
    EXPECT(assigned(items, n, 16, of_item) <= 1020);

    TEST("a reference is that of the longest shape");
    n = make_items(items, 2, 3, 1, 10);
    items[1].reference_s = 30;
    EXPECT(sb_items_seconds(items, n) == 6 + 30 + 10);
    EXPECT(sb_items_seconds(items, 1) == 11 && sb_items_seconds(items, 0) == 0);
}

static void test_edges(void)
{
    sb_item items[MAX_ITEMS];
    int32_t of_item[MAX_ITEMS];
    TEST("more shards than items, one shard, nothing, and items for free");
    int64_t n = make_items(items, 1, 5, 1, 0);
    EXPECT(assigned(items, n, 300, of_item) == 1);
    EXPECT(assigned(items, n, 1, of_item) == 5);
    EXPECT(assigned(items, 0, 3, of_item) == 0);
    for (int64_t i = 0; i < n; i++)
        items[i].seconds = 0;
    EXPECT(assigned(items, n, 3, of_item) == 0);

    TEST("i/n");
    sb_shard shard;
    EXPECT(sb_shard_parse("3/7", &shard, NULL) == SB_OK && shard.i == 3 && shard.n == 7);
    EXPECT(sb_shard_parse("1/1", &shard, NULL) == SB_OK);
    static const char *const bad[] = {
        "",        "3",  "0/3", "4/3", "-1/3", "1/0",   "1/-2",
        "1/3x",    "1/", "/3",  "a/b", "1//2", "1/2/3", "1/99999999999999999999",
        "1/100001"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        EXPECT_MSG(sb_shard_parse(bad[i], &shard, NULL) == SB_USAGE, "%s", bad[i]);

    TEST("dearest first");
    sb_ranked ranked[MAX_ITEMS];
    n = make_items(items, 3, 30, 4, 0);
    for (int64_t i = 0; i < n; i++)
        items[i].seconds = floor(items[i].seconds);
    for (int64_t i = 0; i < n; i++)
        ranked[i] = (sb_ranked){items[i].seconds, i};
    sb_rank_dearest_first(ranked, n);
    for (int64_t i = 1; i < n; i++) {
        const sb_item *a = &items[ranked[i - 1].item], *b = &items[ranked[i].item];
        EXPECT(a->seconds > b->seconds ||
               (a->seconds == b->seconds &&
                (a->shape < b->shape || (a->shape == b->shape && a->first < b->first))));
    }
}

static const char text[] =
    "name: items\n"
    "data: small.h5\n"
    "lengths: [64, 96]\n"
    "block: 16\n"
    "methods:\n"
    "  - dense\n"
    "  - uniform: {k: {range: [1, 6, 1]}, sinks: [0, 1], window: [1, 2, 3]}\n"
    "  - stem: {k_start: {range: [1, 6, 1]}, mu: [1.0, 0.9, 0.8, 0.7, 0.6]}\n";

/* The items of a sweep hold each cell once, in order. */
static void expect_items(const char *set, int64_t most, int64_t n_expected)
{
    sb_config cfg;
    sb_sweep sweep;
    sb_item *items = NULL;
    int64_t n = 0, next = 0, largest = 0;
    const sb_backends backends = {.choice = SB_BACKEND_CPU};
    const sb_rates rates = sb_rates_nominal();
    REQUIRE(sb_config_parse(text, strlen(text), "items.yaml", &set, 1, &cfg, NULL) == SB_OK);
    REQUIRE(sb_sweep_open(&cfg, &sweep, NULL) == SB_OK);
    sb_mem_fail_at(1);
    EXPECT(sb_items_make(&sweep, &backends, &rates, &items, &n, NULL) == SB_NO_MEMORY && !items);
    sb_mem_fail_at(0);
    EXPECT(sb_items_make(&sweep, &backends, &rates, &items, &n, NULL) == SB_OK);
    for (int64_t i = 0; i < n; i++) {
        EXPECT(items[i].shape * cfg.n_variants + items[i].first == next && items[i].n > 0);
        EXPECT(items[i].first + items[i].n <= cfg.n_variants && items[i].seconds > 0);
        EXPECT(items[i].layer == items[i].shape / 2 * 2); /* two lengths share a reference */
        next += items[i].n;
        largest = items[i].n > largest ? items[i].n : largest;
    }
    EXPECT_MSG(next == sweep.n_cells && n == n_expected && largest == most,
               "%lld cells, %lld items of at most %lld", (long long)next, (long long)n,
               (long long)largest);
    sb_free(items);
    sb_sweep_close(&sweep);
    sb_config_free(&cfg);
}

/* A key is the hash of all that names the cell but the place of its capture. */
static void expect_keys(void)
{
    sb_config cfg;
    sb_sweep sweep;
    uint64_t keys[4 * 67];
    const sb_exec exec = {.backend = SB_CPU, .n_threads = 3},
                  *execs[4] = {&exec, &exec, &exec, &exec};
    TEST("keys");
    REQUIRE(sb_config_parse(text, strlen(text), "items.yaml", NULL, 0, &cfg, NULL) == SB_OK);
    REQUIRE(sb_sweep_open(&cfg, &sweep, NULL) == SB_OK && sweep.n_cells == 4 * 67);
    EXPECT(sb_cell_keys(&sweep, execs, 5, keys, NULL) == SB_OK);
    for (int64_t i = 0; i < sweep.n_cells; i++) {
        char *named = sb_cell_config(&sweep, i / 67, i % 67, &exec);
        const char *rest = strchr(named, '\n') + 1;
        EXPECT(keys[i] == sb_hash64(rest, strlen(rest), 5));
        sb_free(named);
    }
    sb_sweep_close(&sweep);
    sb_config_free(&cfg);
}

static void test_items(void)
{
    const char *const synth[] = {"stembench", "synth", "--out",     "small.h5", "--tokens",   "96",
                                 "--heads",   "2",     "--dim",     "16",       "--kv-heads", "1",
                                 "--layers",  "2",     "--needles", "2"};
    char *argv[17];
    for (int i = 0; i < 16; i++)
        argv[i] = (char *)(size_t)synth[i]; /* as main's, which are not const */
    TEST("items of a sweep");
    REQUIRE(chdir(folder) == 0 && sb_main(16, argv) == 0);
    /* 1 + 36 + 30 settings of four shapes: a bundle of 64 and one of 3 each. */
    expect_items("measure.latency={min_time: 0.1}", 64, 8);
    expect_items("measure.latency=false", 1, 4 * 67);
    expect_keys();
    EXPECT(chdir("/") == 0);
}

int main(void)
{
    if (!folder_open())
        return 1;
    test_balance();
    test_references();
    test_edges();
    test_items();
    return rig_close();
}
