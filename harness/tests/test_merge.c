/* Parts of a run: what is noted before a cell starts, which host made what, and how they are
 * merged. */

#include <fcntl.h>

#include "harness/merge.h"
#include "harness/nodes.h"
#include "harness/parts.h"
#include "harness/starts.h"
#include "harness/tests/results_rig.h"

static const char facts[] = "cells: 6\nbuild: 00000000000000aa\ndata: 00000000000000d1\n";

/* ---- starts and nodes ---------------------------------------------------------------------------
 */

static int64_t deaths(uint64_t key)
{
    sb_keys died = {0};
    EXPECT(sb_starts_read(run, &died, NULL) == SB_OK);
    sb_keys_sort(&died);
    int64_t n = sb_keys_count(&died, key);
    sb_free(died.list);
    return n;
}

/* A process that notes some cells and ends as `how` says. */
typedef enum ending { DIES, SETTLES, IS_STOPPED } ending;

static void process(const uint64_t *keys, int64_t n, bool forget, ending how)
{
    sb_starts starts;
    REQUIRE(sb_starts_open(run, forget, &starts, NULL) == SB_OK);
    EXPECT(sb_starts_note(&starts, keys, n, NULL) == SB_OK);
    if (how == SETTLES)
        sb_starts_settle(&starts);
    if (how == IS_STOPPED)
        sb_starts_forgive();
    sb_starts_close(&starts);
}

static void test_starts(void)
{
    const uint64_t keys[] = {7, UINT64_MAX, 0xabcdef};
    TEST("a death is counted, an end and a signal are not");
    clear();
    EXPECT(sb_fs_make_dirs(run, NULL) == SB_OK && deaths(7) == 0);
    process(keys, 3, false, SETTLES);
    process(keys, 3, false, IS_STOPPED);
    EXPECT(deaths(7) == 0);
    process(keys, 3, false, DIES);
    process(keys + 1, 1, false, DIES);
    process(keys, 2, false, SETTLES);
    EXPECT(deaths(7) == 1 && deaths(UINT64_MAX) == 2 && deaths(0xabcdef) == 1 && deaths(8) == 0);

    TEST("a line that a dead node left unfinished");
    int fd = open(at(".started"), O_WRONLY | O_APPEND);
    EXPECT(write(fd, "0000000000000007 00000000", 25) == 25 && close(fd) == 0);
    EXPECT(deaths(7) == 1);
    process(keys, 1, false, DIES);
    EXPECT(deaths(7) == 2 && deaths(UINT64_MAX) == 2);

    TEST("deaths are forgotten where asked");
    process(keys, 1, true, DIES);
    EXPECT(deaths(7) == 1 && deaths(UINT64_MAX) == 0);
    sb_starts_forgive(); /* with no file open */
    EXPECT(deaths(7) == 1);
}

static int64_t node_of(int64_t host)
{
    sb_nodes nodes;
    int64_t number = -1;
    EXPECT(sb_nodes_open(run, &nodes, NULL) == SB_OK);
    EXPECT(sb_nodes_number(&nodes, host, &number, NULL) == SB_OK);
    EXPECT(sb_nodes_save(&nodes, NULL) == SB_OK);
    sb_nodes_close(&nodes);
    return number;
}

static void test_nodes(void)
{
    TEST("hosts are numbered from 0 and keep their numbers");
    clear();
    EXPECT(sb_fs_make_dirs(run, NULL) == SB_OK);
    EXPECT(node_of(INT64_MAX) == 0 && node_of(5) == 1 && node_of(INT64_MAX) == 0);
    EXPECT(node_of(0) == 2 && node_of(5) == 1);
    EXPECT(sb_host_id() >= 0 && sb_host_id() == sb_host_id());
}

/* ---- parts
 * --------------------------------------------------------------------------------------- */

/* A record as a part holds it; the key is of the cell unless given. */
typedef struct made {
    int64_t cell;
    const char *status, *utc;
    int64_t node;
    uint64_t key;
} made;

static void make(sb_record *r, const made *m)
{
    char provenance[128];
    fill(r, m->key ? m->key : (uint64_t)m->cell + 100, m->cell);
    r->node = m->node;
    (void)snprintf(provenance, sizeof provenance, "build_id: 00000000000000aa\nutc: %s\n", m->utc);
    (void)sb_record_set(&r->status, m->status, NULL);
    (void)sb_record_set(&r->provenance, provenance, NULL);
    (void)sb_record_set(&r->config, "data: x\ndigest: 00000000000000d1\n", NULL);
}

static bool finished(uint64_t key, bool retry)
{
    uint8_t state = 1;
    EXPECT(sb_parts_states(run, retry, &key, 1, &state, NULL) == SB_OK);
    return state == SB_CELL_FINISHED;
}

static sb_status open_part(const char *name, const char *text, sb_part *part, sb_err *err)
{
    const sb_part_options options = {
        .name = name, .config_text = config, .facts = name ? text : NULL};
    return sb_part_open(run, &options, part, err);
}

static void add(const char *name, const made *list, int64_t n)
{
    sb_part part;
    sb_err err = {0};
    EXPECT_MSG(open_part(name, facts, &part, &err) == SB_OK, "%s", err.msg);
    for (int64_t i = 0; i < n; i++) {
        sb_record r;
        make(&r, &list[i]);
        EXPECT(sb_run_dir_append(part.dir, &r, NULL) == SB_OK);
        sb_record_free(&r);
    }
    sb_part_close(&part);
}

static void expect_merged(const made *wanted, int64_t n)
{
    sb_record *records = NULL;
    int64_t n_read = 0;
    EXPECT(sb_results_read(run, &records, &n_read, NULL) == SB_OK);
    EXPECT_MSG(n_read == n, "%" PRId64 " records", n_read);
    for (int64_t i = 0; i < n && i < n_read; i++) {
        sb_record r;
        make(&r, &wanted[i]);
        EXPECT_MSG(same(&records[i], &r), "cell %" PRId64 ", node %" PRId64, records[i].cell,
                   records[i].node);
        sb_record_free(&r);
    }
    sb_records_free(records, n_read);
    EXPECT(csv_records() == n && !there("parts") && !there(".merged"));
    expect_rows();
}

static sb_status merged(bool force, int64_t n_missing, const char *says)
{
    sb_merge_summary s;
    sb_err err = {0};
    sb_status st = sb_merge(run, force, &s, &err);
    EXPECT_MSG(strstr(err.msg, says) != NULL, "%s", err.msg);
    EXPECT(s.n_missing == n_missing);
    return st;
}

/* Three parts of six cells: one cell failed in one of them, one was computed twice. */
static const made first[] = {{4, "ok", "2026-01-01", 77, 0},
                             {0, "ok", "2026-01-01", 55, 0},
                             {2, "failed", "2026-01-03", 55, 0}};
static const made second[] = {{2, "ok", "2026-01-02", 77, 0},
                              {1, "failed", "2026-01-02", 77, 0},
                              {3, "ok", "2026-01-02", 77, 900}};
static const made third[] = {{3, "ok", "2026-01-04", 55, 901}, {5, "unsupported", "2026", 99, 0}};
static const made all[] = {{0, "ok", "2026-01-01", 0, 0}, {1, "failed", "2026-01-02", 1, 0},
                           {2, "ok", "2026-01-02", 1, 0}, {3, "ok", "2026-01-04", 0, 901},
                           {4, "ok", "2026-01-01", 1, 0}, {5, "unsupported", "2026", 2, 0}};

static void make_small_parts(void)
{
    clear();
    add("a", first, 1);
    add("b", third + 1, 1);
}

static void make_parts(void)
{
    clear();
    add("shard-2-of-3", second, 3);
    add("shard-10-of-3", third, 2);
    add("shard-1-of-3", first, 3);
}

static void test_merging(void)
{
    TEST("parts become one run, in the order of cells");
    make_parts();
    EXPECT(sb_fs_make_dirs(at("parts/a-killed/.cells"), NULL) == SB_OK);
    EXPECT(sb_fs_make_dirs(at("parts/z-killed"), NULL) == SB_OK);
    EXPECT(merged(false, 0, "") == SB_OK);
    expect_merged(all, 6);
    EXPECT(merged(false, 0, "") == SB_OK);
    expect_merged(all, 6);

    TEST("a cell that is missing is named");
    clear();
    add("a", first, 2);
    add("b", second + 1, 1);
    EXPECT(merged(false, 3, "3 of 6 cells are missing: 2, 3, 5;") == SB_REGRESSED);
    EXPECT(there("parts/a") && there("parts/b"));
    EXPECT(merged(true, 3, "") == SB_OK);
    const made some[] = {{0, "ok", "2026-01-01", 0, 0},
                         {1, "failed", "2026-01-02", 1, 0},
                         {4, "ok", "2026-01-01", 1, 0}};
    expect_merged(some, 3);

    TEST("what is merged counts when more is");
    add("c", (const made[]){{2, "ok", "2026-01-02", 77, 0}, {1, "ok", "2026-01-01", 99, 0}}, 2);
    add("d", third, 2);
    EXPECT(merged(false, 0, "") == SB_OK);
    const made more[] = {{0, "ok", "2026-01-01", 0, 0}, {1, "ok", "2026-01-01", 2, 0},
                         {2, "ok", "2026-01-02", 1, 0}, {3, "ok", "2026-01-04", 0, 901},
                         {4, "ok", "2026-01-01", 1, 0}, {5, "unsupported", "2026", 2, 0}};
    expect_merged(more, 6);
}

static void replace_fact(const char *text)
{
    EXPECT(sb_fs_write(at("parts/shard-2-of-3/part.yaml"), text, strlen(text), NULL) == SB_OK);
}

static void test_disagreement(void)
{
    TEST("parts that disagree are named, and nothing is merged");
    make_parts();
    replace_fact("cells: 6\nbuild: 00000000000000ab\ndata: 00000000000000d1\n");
    EXPECT(merged(true, 0, "parts/shard-2-of-3: made by another build than part shard-1-of-3") ==
           SB_BAD_DATA);
    replace_fact("cells: 6\nbuild: 00000000000000aa\ndata: 00000000000000d2\n");
    EXPECT(merged(true, 0, "parts/shard-2-of-3: of other data") == SB_BAD_DATA);
    replace_fact("cells: 5\nbuild: 00000000000000aa\ndata: 00000000000000d1\n");
    EXPECT(merged(true, 0, "shard-2-of-3: of another number of cells") == SB_BAD_DATA);
    replace_fact("");
    EXPECT(merged(true, 0, "shard-2-of-3: made by another build") == SB_BAD_DATA);
    EXPECT(unlink(at("parts/shard-2-of-3/part.yaml")) == 0);
    EXPECT(merged(true, 0, "shard-2-of-3/part.yaml: missing") == SB_BAD_DATA);
    replace_fact(facts);
    EXPECT(sb_fs_write(at("parts/shard-10-of-3/config.yaml"), "x", 1, NULL) == SB_OK);
    EXPECT(merged(true, 0, "parts/shard-10-of-3: of another config") == SB_BAD_DATA);
    EXPECT(sb_fs_write(at("parts/shard-10-of-3/config.yaml"), config, strlen(config), NULL) ==
           SB_OK);
    EXPECT(merged(false, 0, "") == SB_OK);
    expect_merged(all, 6);

    TEST("records of another build or other data make way for parts");
    add("later", all, 0);
    sb_part part;
    EXPECT(sb_fs_write(at("parts/later/part.yaml"), "cells: 7\nbuild: ab\ndata: d1\n", 24, NULL) ==
           SB_OK);
    EXPECT(merged(true, 7, "") == SB_OK);
    expect_merged(all, 0);

    TEST("no run, no parts");
    clear();
    EXPECT(merged(false, 0, "neither a run nor parts of one") == SB_USAGE && !there(""));

    TEST("a part of another build is started anew, one of another config refused");
    make_parts();
    EXPECT(open_part("shard-1-of-3", facts, &part, NULL) == SB_OK);
    EXPECT(finished(100, false) && finished(901, false));
    sb_part_close(&part);
    EXPECT(open_part("shard-1-of-3", "cells: 6\nbuild: 1\ndata: 2\n", &part, NULL) == SB_OK);
    EXPECT(!finished(100, false) && finished(901, false));
    sb_part_close(&part);
    sb_err err = {0};
    const sb_part_options other = {.name = "x", .config_text = "other", .facts = facts};
    EXPECT(sb_part_open(run, &other, &part, &err) == SB_USAGE && strstr(err.msg, "another config"));
    sb_part_close(&part);
    EXPECT(!there("parts/x"));
}

static void test_in_use(void)
{
    sb_part part, more;
    sb_err err = {0};
    TEST("parts share a run, and keep out who wants all of it");
    make_parts();
    EXPECT(open_part("shard-1-of-3", facts, &part, NULL) == SB_OK);
    EXPECT(open_part("shard-2-of-3", facts, &more, NULL) == SB_OK);
    sb_part_close(&more);
    EXPECT(open_part("shard-1-of-3", facts, &more, &err) == SB_IO);
    EXPECT(strstr(err.msg, "parts/shard-1-of-3: in use by another process") != NULL);
    sb_part_close(&more);
    EXPECT(open_part(NULL, NULL, &more, NULL) == SB_IO);
    sb_part_close(&more);
    EXPECT(merged(true, 0, "run: in use by another process") == SB_IO);
    sb_part_close(&part);
    EXPECT(open_part(NULL, NULL, &part, NULL) == SB_OK);
    EXPECT(finished(101, false)); /* failed is finished, too */
    EXPECT(open_part("shard-1-of-3", facts, &more, NULL) == SB_IO);
    sb_part_close(&more);
    sb_part_close(&part);

    TEST("with retry a failed cell is not finished, unless it is elsewhere");
    const sb_part_options again = {
        .name = "shard-1-of-3", .config_text = config, .facts = facts, .retry = true};
    EXPECT(sb_part_open(run, &again, &part, NULL) == SB_OK);
    EXPECT(!finished(101, true) && finished(102, true));
    sb_part_close(&part);
}

static void test_memory(void)
{
    TEST("memory that runs out while merging loses nothing");
    make_small_parts();
    int64_t n = 1, live = sb_mem_live();
    for (bool happened = true; happened; n++) {
        sb_merge_summary s;
        sb_mem_fail_at(n);
        sb_status st = sb_merge(run, true, &s, NULL);
        happened = sb_mem_fail_at(0) == 0;
        EXPECT_MSG(st == (happened ? SB_NO_MEMORY : SB_OK), "allocation %" PRId64 ": %d", n, st);
        EXPECT_MSG(sb_mem_live() == live, "allocation %" PRId64 " leaks", n);
    }
    EXPECT_MSG(n > 70, "%" PRId64 " allocations", n);
    const made both[] = {{4, "ok", "2026-01-01", 0, 0}, {5, "unsupported", "2026", 1, 0}};
    expect_merged(both, 2);

    TEST("memory that runs out while a part is opened, and its cells looked up");
    make_small_parts();
    n = 1;
    for (bool happened = true; happened; n++) {
        sb_part part;
        sb_mem_fail_at(n);
        sb_status st = open_part(n % 2 ? "a" : "new", facts, &part, NULL);
        if (st == SB_OK)
            st = sb_parts_states(run, false, &(uint64_t){100}, 1, &(uint8_t){0}, NULL);
        happened = sb_mem_fail_at(0) == 0;
        EXPECT_MSG(st == (happened ? SB_NO_MEMORY : SB_OK), "allocation %" PRId64 ": %d", n, st);
        sb_part_close(&part);
        EXPECT_MSG(sb_mem_live() == live, "allocation %" PRId64 " leaks", n);
    }
    EXPECT(n > 100);
}

int main(void)
{
    if (!rig_open())
        return 1;
    test_starts();
    test_nodes();
    test_merging();
    test_disagreement();
    test_in_use();
    test_memory();
    return rig_close();
}
