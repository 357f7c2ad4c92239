/* The parameter tables: complete, with valid defaults, and refusing what is out of range. */

#include <string.h>

#include "harness/mem.h"
#include "harness/tests/check.h"
#include "methods/tests/rig.h"

static void test_table(void)
{
    int n;
    const sb_method *const *methods = sb_methods(&n);
    TEST("the table is complete");
    EXPECT(n >= 3 && sb_method_find("no such method") == NULL);
    for (int i = 0; i < n; i++) {
        const sb_method *m = methods[i];
        sb_value values[SB_MAX_PARAMS] = {0};
        sb_err err = {0};
        EXPECT(sb_method_find(m->name) == m && m->doc && m->source && m->plan);
        EXPECT(m->n_params <= SB_MAX_PARAMS);
        EXPECT_MSG(sb_values_resolve(m, values, &err) == SB_OK, "%s: %s", m->name, err.msg);
        for (int j = 0; j < m->n_params; j++) {
            EXPECT(sb_param_index(m, m->params[j].name) == j && m->params[j].doc);
            EXPECT(values[j].state != SB_VALUE_DEFAULT);
        }
    }
}

static void test_errors(void)
{
    static const struct {
        const char *method, *text;
    } wrong[] = {
        {"stem", "block=128 stride=12"},
        {"uniform", "block=128 stride=12"},
        {"uniform", "block=16 stride=32"},
        {"stem", "block=0"},
        {"stem", "block=16.5"},
        {"stem", "stride=0"},
        {"stem", "mu=-1"},
        {"stem", "mu=0"},
        {"stem", "mu=40"},
        {"stem", "mu=nan"},
        {"stem", "mu=inf"},
        {"stem", "mu=0.7x"},
        {"stem", "mu="},
        {"stem", "mu=none"},
        {"stem", "mu=auto"},
        {"stem", "variant=angelslim mu=1.5"},
        {"stem", "variant=hpc mu=1.01"},
        {"uniform", "k=0"},
        {"uniform", "k=2.5"},
        {"uniform", "k=-3"},
        {"uniform", "k=none"},
        {"uniform", "k=1e300"},
        {"stem", "k_start=0"},
        {"stem", "k_start=1.5"},
        {"stem", "beta=-0.1"},
        {"stem", "value=Paper"},
        {"stem", "variant=tencent"},
        {"stem", "window=0"},
        {"stem", "sinks=-1"},
        {"stem", "schedule.exponent=0"},
        {"stem", "schedule.hold=-1"},
        {"stem", "schedule.hold=21 block=16"},
        {"stem", "schedule.total=19 block=16"},
        {"stem", "schedule.total=211 block=16"},
        {"stem", "schedule.total=2.5 block=16"},
        {"uniform", "schedule.total=19 block=16"},
        {"stem", "schedule.shape=table block=16"},
        {"stem", "schedule.shape=table schedule.table=[-1]"},
        {"stem", "schedule.shape=table schedule.table=[0]"},
        {"stem", "schedule.shape=step schedule.breakpoints=[0.5,0.2]"},
        {"stem", "schedule.shape=step schedule.breakpoints=[0.2,1.5]"},
        {"stem", "schedule.shape=step schedule.breakpoints=[0]"},
        {"stem", "nonsense=1"},
    };
    sb_rig rig;
    sb_rig_make_rising(&rig, 320, 320, 320, 16);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        TEST(wrong[i].text);
        sb_pattern pat = {0};
        sb_err err = {0};
        int64_t live = sb_mem_live();
        sb_status st = sb_rig_select(sb_method_find(wrong[i].method), wrong[i].text, &rig, 1, &pat,
                                     NULL, &err);
        EXPECT_MSG((st == SB_USAGE || st == SB_UNSUPPORTED) && err.status == st &&
                       strlen(err.msg) > 10 && !strchr(err.msg, '\n'),
                   "status %d: %s", (int)st, err.msg);
        EXPECT(sb_mem_live() == live);
        sb_pattern_free(&pat);
    }
    TEST("the largest valid values");
    static const char *const right[] = {
        "mu=4 schedule.hold=20 block=16", "schedule.total=20 block=16",
        "schedule.total=210 block=16",    "k_start=0.999 block=16",
        "block=1 stride=1 sinks=0",       "variant=hpc mu=1 block=16"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        sb_pattern pat = {0};
        sb_err err = {0};
        sb_status st = sb_rig_select(sb_method_find("stem"), right[i], &rig, 1, &pat, NULL, &err);
        EXPECT_MSG(st == SB_OK, "%s: %s", right[i], err.msg);
        sb_pattern_free(&pat);
    }
    sb_rig_free(&rig);
}

int main(void)
{
    test_table();
    test_errors();
    return sb_tests_done();
}
