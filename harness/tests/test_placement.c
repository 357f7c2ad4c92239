/* Where ranks compute: stated properties, over every small case and random larger ones; and which
 * device a worker picks. */
#include <stdlib.h>
#include <string.h>

#include "harness/backend.h"
#include "harness/mem.h"
#include "harness/placement.h"
#include "harness/tests/check.h"

enum { MAX_RANKS = 48, N_SETS = 4 };

static sb_rank_facts facts[MAX_RANKS];
static sb_place places[MAX_RANKS];
static sb_rank_needs needs;
static int n;

static cpu_set_t cores_from_to(int from, int to)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = from; i <= to; i++)
        CPU_SET((size_t)i, &set);
    return set;
}

static int rank_of_first_worker(void)
{
    return n > 1;
}

static bool same_host(int a, int b)
{
    return facts[a].host == facts[b].host;
}

static bool overlap(const cpu_set_t *a, const cpu_set_t *b)
{
    cpu_set_t both;
    CPU_AND(&both, a, b);
    return CPU_COUNT(&both) > 0;
}

static bool within(const cpu_set_t *part, const cpu_set_t *whole)
{
    cpu_set_t both;
    CPU_AND(&both, part, whole);
    return CPU_EQUAL(&both, part);
}

/* Whether no core of `all` outside the part lies between two of the part. */
static bool contiguous(const cpu_set_t *part, const cpu_set_t *all)
{
    int runs = 0;
    bool inside = false;
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET(i, all))
            continue;
        runs += CPU_ISSET(i, part) && !inside;
        inside = CPU_ISSET(i, part);
    }
    return runs == 1;
}

static bool may_work(int r)
{
    return r >= rank_of_first_worker() && (!needs.device || facts[r].device != 0);
}

static bool check_who(void)
{
    bool ok = true;
    for (int r = 0; r < n; r++) {
        bool host_works = false, conflict = false;
        for (int o = 0; o < n; o++) {
            if (!same_host(o, r) || !places[o].works)
                continue;
            host_works = true;
            if (o != r && places[r].works)
                ok &= !needs.alone && (!needs.device || facts[o].device != facts[r].device);
            conflict |=
                o < r && (needs.alone || (needs.device && facts[o].device == facts[r].device));
        }
        ok &= !may_work(r) || host_works;
        ok &= places[r].works == (may_work(r) && !conflict);
        ok &= (places[r].idle != NULL) == (!places[r].works && r >= rank_of_first_worker());
    }
    return ok;
}

static bool check_cores(void)
{
    bool ok = true;
    for (int r = 0; r < n; r++) {
        int sharers = 0;
        cpu_set_t all = places[r].cores;
        const cpu_set_t *own = &places[r].cores, *asked = &facts[r].cores;
        ok &= CPU_COUNT(own) > 0 && within(own, asked) && contiguous(own, asked);
        ok &= places[r].works || CPU_EQUAL(own, asked);
        for (int o = 0; o < n && places[r].works; o++) {
            if (!places[o].works || !same_host(o, r) || !CPU_EQUAL(&facts[o].cores, asked))
                continue;
            sharers++;
            CPU_OR(&all, &all, &places[o].cores);
        }
        if (!places[r].works || sharers > CPU_COUNT(asked))
            continue;
        ok &= CPU_EQUAL(&all, asked);
        int least = CPU_COUNT(asked) / sharers;
        ok &= CPU_COUNT(own) == least || CPU_COUNT(own) == least + 1;
        for (int o = 0; o < n; o++)
            if (o != r && places[o].works && same_host(o, r) && CPU_EQUAL(&facts[o].cores, asked))
                ok &= !overlap(own, &places[o].cores);
    }
    return ok;
}

static void show(void)
{
    for (int r = 0; r < n; r++)
        fprintf(stderr, "    rank %d: host %d device %d, %d cores: %s, %d cores\n", r,
                (int)facts[r].host, (int)facts[r].device, CPU_COUNT(&facts[r].cores),
                places[r].works  ? "works"
                : places[r].idle ? places[r].idle
                                 : "hands out",
                CPU_COUNT(&places[r].cores));
}

/* False once a case failed: one is enough to read. */
static bool holds(void)
{
    memset(places, 0xff, sizeof places);
    sb_places(facts, n, &needs, places);
    bool who = check_who(), cores = check_cores();
    EXPECT(who);
    EXPECT(cores);
    if (!who || !cores)
        show();
    return who && cores;
}

static bool for_all_needs(void)
{
    bool ok = true;
    for (int i = 0; i < 4 && ok; i++) {
        needs = (sb_rank_needs){.device = i & 1, .alone = i & 2};
        ok = holds();
    }
    return ok;
}

static void test_small(void)
{
    TEST("every case of up to 4 ranks on 2 hosts with 2 devices and 3 sets of cores");
    const cpu_set_t sets[] = {cores_from_to(0, 3), cores_from_to(2, 3), cores_from_to(3, 5)};
    enum { KINDS = 2 * 3 * 3 };
    for (n = 1; n <= 4; n++) {
        int n_cases = 1;
        for (int r = 0; r < n; r++)
            n_cases *= KINDS;
        for (int i = 0; i < n_cases; i++) {
            for (int r = 0, rest = i; r < n; r++, rest /= KINDS)
                facts[r] = (sb_rank_facts){rest % 2, (uint64_t)(rest / 2 % 3), sets[rest / 6 % 3]};
            if (!for_all_needs())
                return;
        }
    }
}

static cpu_set_t random_cores(void)
{
    cpu_set_t set;
    int n_cores = 1 + rand() % 40;
    CPU_ZERO(&set);
    while (CPU_COUNT(&set) < n_cores)
        CPU_SET((size_t)(rand() % (rand() % 8 ? 64 : CPU_SETSIZE)), &set);
    return set;
}

static void test_random(void)
{
    TEST("random cases of up to 48 ranks");
    srand(1);
    for (int i = 0; i < 3000; i++) {
        cpu_set_t sets[N_SETS];
        int n_hosts = 1 + rand() % 5, n_devices = 1 + rand() % 9;
        for (int s = 0; s < N_SETS; s++)
            sets[s] = random_cores();
        n = 1 + rand() % MAX_RANKS;
        for (int r = 0; r < n; r++)
            facts[r] = (sb_rank_facts){rand() % n_hosts, (uint64_t)(rand() % n_devices),
                                       sets[rand() % (1 + i % N_SETS)]};
        if (!for_all_needs())
            return;
    }
}

static bool has(int rank, int from, int to)
{
    cpu_set_t set = cores_from_to(from, to);
    return CPU_EQUAL(&places[rank].cores, &set);
}

static void place(int n_ranks, bool device, bool alone)
{
    n = n_ranks;
    needs = (sb_rank_needs){device, alone};
    sb_places(facts, n, &needs, places);
}

static void test_examples(void)
{
    TEST("a rank alone computes on all it has");
    facts[0] = (sb_rank_facts){1, 0, cores_from_to(0, 7)};
    place(1, false, true);
    EXPECT(places[0].works && !places[0].idle && has(0, 0, 7));
    TEST("four ranks on eight cores: one hands out, three divide");
    for (int r = 0; r < 4; r++)
        facts[r] = (sb_rank_facts){1, 0, cores_from_to(0, 7)};
    place(4, false, false);
    EXPECT(!places[0].works && !places[0].idle && has(0, 0, 7));
    EXPECT(has(1, 0, 1) && has(2, 2, 4) && has(3, 5, 7));
    TEST("more ranks than cores share them");
    for (int r = 0; r < 4; r++)
        facts[r].cores = cores_from_to(4, 5);
    place(4, false, false);
    EXPECT(has(1, 4, 4) && has(2, 4, 4) && has(3, 5, 5));
    TEST("timed alone, one works and has all cores; one without a device does not count");
    facts[2].device = facts[3].device = 7;
    place(4, true, true);
    EXPECT(!places[1].works && strstr(places[1].idle, "no CUDA device"));
    EXPECT(places[2].works && has(2, 4, 5));
    EXPECT(!places[3].works && strstr(places[3].idle, "timed alone"));
    TEST("a device of two ranks is the first's; what rank 0 sees is free");
    facts[0].device = 7;
    place(4, true, false);
    EXPECT(places[2].works && !places[3].works && strstr(places[3].idle, "has its CUDA device"));
    facts[3].host = 2;
    place(4, true, false);
    EXPECT(places[3].works);
}

static void expect_device(const char *listed, int local, const char *picked)
{
    static const char name[] = "CUDA_VISIBLE_DEVICES";
    if (listed)
        (void)setenv(name, listed, 1);
    else
        (void)unsetenv(name);
    sb_device_pick(local);
    const char *is = getenv(name);
    EXPECT_MSG(is && strcmp(is, picked) == 0, "%d of '%s': '%s'", local, listed ? listed : "none",
               is ? is : "none");
}

static void test_devices(void)
{
    TEST("which device each worker of a host picks");
    expect_device(NULL, 0, "0");
    expect_device(NULL, 11, "11");
    expect_device("3", 0, "3");
    expect_device("3", 5, "3");
    expect_device("3,1,2", 1, "1");
    expect_device("3,1,2", 2, "2");
    expect_device("3,1,2", 3, "3");
    expect_device("GPU-8932f937-d72c,MIG-GPU-b8ea/1/0", 1, "MIG-GPU-b8ea/1/0");
    expect_device("GPU-8932f937-d72c,MIG-GPU-b8ea/1/0", 4, "GPU-8932f937-d72c");
    TEST("a list ends at what names no device, and an empty one stays");
    expect_device("2,-1,0", 1, "2");
    expect_device("2,", 1, "2");
    expect_device("-1", 1, "-1");
    expect_device("", 1, "");
    expect_device("NoDevFiles", 1, "NoDevFiles");
    TEST("without memory nothing changes");
    sb_mem_fail_at(1);
    expect_device("3,1", 1, "3,1");
    EXPECT(sb_mem_fail_at(0) == 0 && sb_mem_live() == 0);
}

int main(void)
{
    test_devices();
    test_examples();
    test_small();
    test_random();
    return sb_tests_done();
}
