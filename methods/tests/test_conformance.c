/* What every method of the table must do, whatever it selects: valid patterns, exact attention over
 * them, the same bits for any thread count, no allocation while timed, clean failures. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/tests/check.h"
#include "methods/tests/rig.h"

enum { GUARD = 64, POISON = 0x7d };

/* A method with parameters under which small shapes give sparse patterns. */
typedef struct subject {
    const sb_method *method;
    char text[128];
} subject;

/* Space for `n` elements between guards, all poisoned. */
static unsigned char *guarded(int64_t n, size_t bytes)
{
    size_t all = (size_t)n * bytes + 2 * GUARD;
    unsigned char *block = sb_oracle_calloc((int64_t)all, 1);
    memset(block, POISON, all);
    return block;
}

static bool poisoned(const unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != POISON)
            return false;
    return true;
}

static bool guards_intact(const unsigned char *block, int64_t n, size_t bytes)
{
    return poisoned(block, GUARD) && poisoned(block + GUARD + (size_t)n * bytes, GUARD);
}

typedef struct outcome {
    sb_pattern pat;
    int64_t n_o, n_lse;
    size_t o_bytes;
    unsigned char *o, *lse; /* guarded */
} outcome;

static void outcome_free(outcome *r)
{
    free(r->lse);
    free(r->o);
    sb_pattern_free(&r->pat);
    *r = (outcome){0};
}

/* Selects and attends into poisoned memory; nothing may be allocated meanwhile. */
static void run_plan(sb_plan *plan, const sb_rig *rig, outcome *r)
{
    const sb_problem *p = &rig->problem;
    sb_err err = {0};
    *r =
        (outcome){.n_lse = p->n_batch * p->n_heads * p->q_len, .o_bytes = sb_dtype_bytes(p->dtype)};
    r->n_o = r->n_lse * p->dim_v;
    r->o = guarded(r->n_o, r->o_bytes);
    r->lse = guarded(r->n_lse, sizeof(float));
    bool sparse = plan->method->select != NULL;
    int64_t capacity = plan->pattern_capacity;
    if (sparse) {
        REQUIRE(sb_pattern_alloc(p, plan->block, capacity + GUARD, &r->pat, &err) == SB_OK);
        if (plan->tokens) {
            REQUIRE(sb_pattern_add_tokens(&r->pat, &err) == SB_OK);
            memset(r->pat.tokens, POISON, (size_t)(capacity + GUARD) * sizeof *r->pat.tokens);
        }
        r->pat.capacity = capacity;
        memset(r->pat.col, POISON, (size_t)(capacity + GUARD) * sizeof *r->pat.col);
        memset(r->pat.row_ptr, POISON,
               (size_t)(p->n_batch * p->n_heads * r->pat.n_rows) * sizeof *r->pat.row_ptr);
    }
    sb_outputs out = {r->o + GUARD, (float *)(void *)(r->lse + GUARD)};
    int64_t live = sb_mem_live();
    sb_mem_fail_at(1);
    sb_status selected = sb_plan_select(plan, &rig->in, &r->pat, &err);
    sb_status attended = sb_plan_attend(plan, &rig->in, sparse ? &r->pat : NULL, &out, &err);
    void *still_armed = sb_alloc(1, 1);
    sb_mem_fail_at(0);
    EXPECT_MSG(selected == SB_OK && attended == SB_OK, "%s", err.msg);
    EXPECT(still_armed == NULL);
    EXPECT(sb_mem_live() == live);
    sb_free(still_armed);
    if (sparse)
        EXPECT(poisoned((unsigned char *)(r->pat.col + capacity), GUARD * sizeof *r->pat.col));
    if (plan->tokens)
        EXPECT(
            poisoned((unsigned char *)(r->pat.tokens + capacity), GUARD * sizeof *r->pat.tokens));
    EXPECT(guards_intact(r->o, r->n_o, r->o_bytes));
    EXPECT(guards_intact(r->lse, r->n_lse, sizeof(float)));
}

static sb_status make_plan(const subject *s, const sb_rig *rig, int n_threads, sb_plan **plan)
{
    sb_value values[SB_MAX_PARAMS];
    sb_err err = {0};
    sb_exec exec = {.backend = SB_CPU, .n_threads = n_threads};
    sb_status st;
    *plan = NULL;
    SB_TRY(sb_rig_values(s->method, s->text, values, &err));
    SB_TRY(sb_plan_create(s->method, &rig->problem, &exec, values, plan, &err));
out:
    EXPECT_MSG(st == SB_OK, "%s %s: %s", s->method->name, s->text, err.msg);
    return st;
}

static bool same_outcome(const outcome *a, const outcome *b)
{
    return a->n_o == b->n_o && memcmp(a->o, b->o, (size_t)a->n_o * a->o_bytes + 2 * GUARD) == 0 &&
           memcmp(a->lse, b->lse, (size_t)a->n_lse * sizeof(float) + 2 * GUARD) == 0 &&
           (!a->pat.row_ptr || sb_rig_same(&a->pat, &b->pat));
}

/* The list as flags of keys [n_keys]; counts the blocks and checks the list's form. */
static int64_t unpack(const sb_pattern *pat, int64_t list, int64_t row, int64_t n_keys, bool *keep)
{
    int64_t begin = pat->row_ptr[list], end = pat->row_ptr[list + 1];
    bool valid = begin < end && end <= pat->capacity && pat->col[end - 1] == row;
    for (int64_t at = begin; valid && at < end; at++) {
        int64_t first = pat->col[at] * pat->block;
        bool some = false;
        valid = pat->col[at] >= 0 && pat->col[at] <= row &&
                (at == begin || pat->col[at] > pat->col[at - 1]);
        for (int64_t j = first; valid && j < first + pat->block; j++) {
            bool kept = !pat->tokens || (pat->tokens[at] >> (j - first) & 1);
            valid = !pat->tokens || !kept || j < n_keys;
            some = some || kept;
            if (j < n_keys)
                keep[j] = kept;
        }
        valid = valid && some;
    }
    EXPECT(valid);
    return valid ? end - begin : 0;
}

typedef struct tally {
    int64_t blocks, causal_blocks, tokens, causal_tokens; /* tokens: keys that a list keeps */
    double pairs, causal_pairs;
} tally;

/* In bfloat16 a kernel may also round the probabilities, which shows relative to the whole row. */
static double tolerance(sb_dtype dtype, double value, double row_rms)
{
    static const double unit[] = {[SB_F32] = 1e-6, [SB_BF16] = 1.0 / 256, [SB_F16] = 1.0 / 2048};
    return unit[dtype] * fabs(value) + 4e-6 + (dtype == SB_BF16 ? row_rms / 64 : 0);
}

/* One query token against the float64 attention over the keys kept. */
static void check_token(const sb_rig *rig, const sb_oracle *o, const outcome *r, int64_t b,
                        int64_t h, int64_t t, const bool *keep)
{
    const sb_problem *p = &rig->problem;
    double wanted[128];
    float got[128], lse;
    int64_t at = (b * p->n_heads + h) * p->q_len + t;
    double wanted_lse = sb_oracle_attend(o, 1, h, t, keep, wanted);
    sb_to_f32(p->dtype, r->o + GUARD + (size_t)(at * p->dim_v) * r->o_bytes, got, p->dim_v);
    memcpy(&lse, r->lse + GUARD + (size_t)at * sizeof lse, sizeof lse);
    int64_t wrong = 0;
    double row_rms = 0;
    for (int64_t c = 0; c < p->dim_v; c++)
        row_rms += wanted[c] * wanted[c] / (double)p->dim_v;
    row_rms = sqrt(row_rms);
    for (int64_t c = 0; c < p->dim_v; c++)
        wrong += !(fabs((double)got[c] - wanted[c]) <= tolerance(p->dtype, wanted[c], row_rms));
    EXPECT_MSG(wrong == 0, "sequence %lld, head %lld, query %lld: %lld channels", (long long)b,
               (long long)h, (long long)t, (long long)wrong);
    double lse_unit = p->dtype == SB_BF16 ? 1.1e-4 : 3e-6;
    EXPECT_MSG(fabs((double)lse - wanted_lse) <= lse_unit * fmax(1, fabs(wanted_lse)),
               "LSE %.9g, not %.9g", (double)lse, wanted_lse);
}

/* Checks sequence b of an outcome; every `step`-th query and the last two are attended again. */
static void check_sequence(const sb_rig *rig, const outcome *r, int64_t b, int64_t block,
                           int64_t step, tally *sum)
{
    const sb_problem *p = &rig->problem;
    sb_oracle o = sb_oracle_load(p, &rig->in, b);
    int64_t first = sb_oracle_first_row(&o, block), n_rows = sb_oracle_n_rows(&o, block);
    int64_t start = o.kv_len - o.q_len;
    bool *keep = sb_oracle_calloc(o.kv_len, sizeof *keep);
    for (int64_t i = 0; i < o.n_heads * n_rows; i++) {
        int64_t h = i / n_rows, row = first + i % n_rows;
        memset(keep, r->pat.col ? 0 : 1, (size_t)o.kv_len * sizeof *keep);
        if (r->pat.col)
            sum->blocks += unpack(&r->pat, (b * o.n_heads + h) * r->pat.n_rows + i % n_rows, row,
                                  o.kv_len, keep);
        sum->causal_blocks += row + 1;
        for (int64_t j = 0; j < (row + 1) * block && j < o.kv_len; j++) {
            sum->tokens += keep[j];
            sum->causal_tokens++;
        }
        for (int64_t position = row * block; position < (row + 1) * block; position++) {
            if (position < start || position >= o.kv_len)
                continue;
            for (int64_t j = 0; j <= position; j++) {
                sum->pairs += keep[j];
                sum->causal_pairs++;
            }
            EXPECT(keep[position]);
            if (position % step == 0 || position + 2 >= o.kv_len)
                check_token(rig, &o, r, b, h, position - start, keep);
        }
    }
    for (int64_t h = 0; h < o.n_heads; h++) {
        int64_t at = (b * o.n_heads + h) * p->q_len + o.q_len, rest = p->q_len - o.q_len;
        size_t row_bytes = (size_t)p->dim_v * r->o_bytes;
        EXPECT(poisoned(r->o + GUARD + (size_t)at * row_bytes, (size_t)rest * row_bytes));
        EXPECT(poisoned(r->lse + GUARD + (size_t)at * 4, (size_t)rest * 4));
        for (int64_t row = n_rows; r->pat.col && row < r->pat.n_rows; row++)
            EXPECT(sb_rig_count(&r->pat, b, h, row) == 0);
    }
    free(keep);
    sb_oracle_free(&o);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fabs(b);
}

static void check_outcome(const sb_rig *rig, const outcome *r, int64_t block, int64_t step)
{
    tally sum = {0};
    sb_err err = {0};
    for (int64_t b = 0; b < rig->problem.n_batch; b++)
        check_sequence(rig, r, b, block, step, &sum);
    if (!r->pat.col)
        return;
    EXPECT_MSG(sb_pattern_check(&rig->problem, &r->pat, &err) == SB_OK, "%s", err.msg);
    sb_pattern_stats stats = sb_pattern_measure(&rig->problem, &r->pat);
    EXPECT(stats.blocks == sum.blocks && stats.causal_blocks == sum.causal_blocks);
    EXPECT(near(stats.pairs, sum.pairs) && near(stats.causal_pairs, sum.causal_pairs));
    if (r->pat.tokens) {
        EXPECT(near(stats.tile_pairs, (double)(sum.tokens * block)));
        EXPECT(near(stats.density, (double)sum.tokens / (double)sum.causal_tokens));
    } else {
        EXPECT(near(stats.tile_pairs, (double)(sum.blocks * block * block)));
        EXPECT(near(stats.density, (double)sum.blocks / (double)sum.causal_blocks));
    }
    EXPECT(near(stats.pair_density, sum.pairs / sum.causal_pairs));
}

static void check_estimate(const subject *s, const sb_rig *rig, const sb_plan *plan)
{
    sb_value values[SB_MAX_PARAMS];
    sb_err err = {0};
    if (s->method->select)
        EXPECT(plan->select_flops > 0 && isfinite(plan->select_flops));
    if (!s->method->expected_blocks)
        return;
    REQUIRE(sb_rig_values(s->method, s->text, values, &err) == SB_OK);
    double blocks = s->method->expected_blocks(&rig->problem, values);
    EXPECT_MSG(blocks >= 1 && blocks <= (double)sb_causal_blocks(&rig->problem, plan->block),
               "%s %s: expects %g blocks", s->method->name, s->text, blocks);
}

static void check_shape(const subject *s, const sb_rig *rig, const sb_rig *other, int64_t step)
{
    sb_plan *one = NULL, *two = NULL;
    outcome first = {0}, again = {0}, rotated = {0};
    if (make_plan(s, rig, 1, &one) == SB_OK && make_plan(s, rig, 2, &two) == SB_OK) {
        run_plan(one, rig, &first);
        check_outcome(rig, &first, one->block ? one->block : 64, step);
        check_estimate(s, rig, one);
        run_plan(two, other, &rotated);
        run_plan(two, rig, &again);
        EXPECT_MSG(same_outcome(&first, &again), "%s %s: 1 and 2 threads differ", s->method->name,
                   s->text);
        EXPECT(!same_outcome(&first, &rotated));
    }
    outcome_free(&rotated);
    outcome_free(&again);
    outcome_free(&first);
    sb_plan_destroy(two);
    sb_plan_destroy(one);
}

static void check_allocation_failures(const subject *s, const sb_rig *rig)
{
    sb_value values[SB_MAX_PARAMS];
    sb_exec exec = {.backend = SB_CPU, .n_threads = 2};
    sb_err err = {0};
    REQUIRE(sb_rig_values(s->method, s->text, values, &err) == SB_OK);
    int64_t live = sb_mem_live(), n = 1;
    for (sb_status st = SB_NO_MEMORY; st != SB_OK && n < 100; n++) {
        sb_plan *plan = NULL;
        err = (sb_err){0};
        sb_mem_fail_at(n);
        st = sb_plan_create(s->method, &rig->problem, &exec, values, &plan, &err);
        sb_mem_fail_at(0);
        EXPECT(st == SB_OK ? plan != NULL : st == SB_NO_MEMORY && err.status == st && !plan);
        sb_plan_destroy(plan);
        EXPECT_MSG(sb_mem_live() == live, "%s: allocation %lld leaks", s->method->name,
                   (long long)n);
    }
    EXPECT(n > 2 && n < 100);
}

/* Rows that are whole in a prefix keep their lists when the prompt grows, if the method says so;
 * the budget's prompt length stays the same. Blocks that change otherwise. */
static int64_t check_append(const subject *s, bool *invariant)
{
    sb_value values[SB_MAX_PARAMS];
    sb_err err = {0};
    sb_rig_shape shape = {1, 4, 2, 32, 32, {1100}, {0}, {1100}, SB_BF16, 77};
    sb_rig grown, prefix;
    sb_pattern all = {0}, some = {0};
    sb_rig_make(&grown, &shape);
    shape.kv_len[0] = 600;
    sb_rig_make(&prefix, &shape);
    EXPECT(sb_rig_select(s->method, s->text, &grown, 1, &all, NULL, &err) == SB_OK);
    EXPECT(sb_rig_select(s->method, s->text, &prefix, 1, &some, NULL, &err) == SB_OK);
    EXPECT(sb_rig_values(s->method, s->text, values, &err) == SB_OK);
    int64_t changed = 0;
    for (int64_t h = 0; h < 4; h++)
        for (int64_t I = 0; I < 600 / some.block; I++)
            for (int64_t J = 0; J <= I; J++)
                changed += sb_rig_tokens(&all, 0, h, I, J) != sb_rig_tokens(&some, 0, h, I, J);
    *invariant = !s->method->append_invariant || s->method->append_invariant(values);
    EXPECT_MSG(!*invariant || changed == 0, "%s %s: %lld blocks change", s->method->name, s->text,
               (long long)changed);
    sb_pattern_free(&some);
    sb_pattern_free(&all);
    sb_rig_free(&prefix);
    sb_rig_free(&grown);
    return changed;
}

static const sb_rig_shape shapes[] = {
    {1, 1, 1, 64, 64, {1}, {0}, {0}, SB_BF16, 11},
    {1, 4, 2, 20, 20, {62}, {0}, {0}, SB_F32, 12},
    {2, 3, 1, 64, 40, {213, 130}, {0}, {0}, SB_BF16, 13},
    {2, 3, 3, 80, 80, {400, 62}, {150, 1}, {900, 62}, SB_F16, 14},
    {1, 9, 3, 64, 64, {1521}, {0}, {0}, SB_F32, 15},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* How methods are made sparse on small shapes; one that is not here has the defaults of each of its
 * variants, and a budget of a quarter. */
static const struct preset {
    const char *method, *text;
    bool own_block; /* of 64, whatever is asked */
} presets[] = {
    {"streaming", "sink=20 window=50", false},
    {"streaming", "variant=tri sink=20 window=50 last=30", false},
    {"minference", "vertical=30 slash=100 form=tokens", true},
    {"minference", "vertical=30 slash=100 form=blocks", false},
    {"minference", "variant=block_sparse top_k=3", false},
    {"flexprefill", "gamma=0.5 tau=0 min_budget=16", false},
    {"flexprefill", "gamma=0.5 tau=1 min_budget=16", false},
    {"xattention", "threshold=0.5 chunk=128", false},
    {"sparge", "variant=cdf keep=0.5 similarity=0.1 block_q=128 block_k=128", false},
    {"sparge", "variant=top keep=0.3 similarity=0.1 block_q=128 block_k=128", false},
    {"flashprefill", "alpha=0.9 sink=16 window=32 last_full=1", false},
    {"cosa", "top_p=0.4", false},
    {"vecattention", "variant=kernel threshold=0.9 form=tokens", true},
    {"vecattention", "variant=kernel threshold=0.9 group=8192 form=blocks", true},
    {"vecattention", "variant=reference threshold=0.9 band=1 form=tokens", true},
    {"vecattention", "variant=reference threshold=0.9 band=1 form=blocks", true},
    {"oracle", "by=mass scope=layer k=0.25", false},
    {"oracle", "by=output scope=layer k=0.25", false},
    {"oracle", "by=mass scope=row k=0.25", false},
    {"oracle", "by=output scope=row k=0.25", false},
};
enum { N_PRESETS = sizeof presets / sizeof *presets };

static bool has_preset(const sb_method *m)
{
    for (int i = 0; i < N_PRESETS; i++)
        if (strcmp(presets[i].method, m->name) == 0)
            return true;
    return false;
}

/* `text` with the block and a quarter for each budget that it leaves open. */
static subject make_subject(const sb_method *m, const char *text, int64_t block)
{
    subject s = {.method = m};
    size_t used = (size_t)snprintf(s.text, sizeof s.text, "%s ", text);
    if (sb_param_index(m, "block") >= 0)
        used +=
            (size_t)snprintf(s.text + used, sizeof s.text - used, "block=%lld ", (long long)block);
    for (int i = 0; i < m->n_params; i++)
        if (m->params[i].type == SB_BUDGET && !m->params[i].optional && !strstr(text, "k="))
            used += (size_t)snprintf(s.text + used, sizeof s.text - used, "%s=0.25 ",
                                     m->params[i].name);
    return s;
}

/* Two sets of inputs for each shape. */
static sb_rig rigs[N_SHAPES], others[N_SHAPES];

static void check_method(const sb_method *m, const char *text, bool own_block)
{
    static const int64_t blocks[] = {16, 64, 128};
    char name[256];
    for (int i = 0; i < N_SHAPES * 3; i++) {
        int64_t tokens = shapes[i / 3].kv_len[0];
        subject s = make_subject(m, text, blocks[i % 3]);
        if (own_block && blocks[i % 3] != 64)
            continue;
        snprintf(name, sizeof name, "%s %s%lld tokens", m->name, s.text, (long long)tokens);
        TEST(name);
        check_shape(&s, &rigs[i / 3], &others[i / 3], tokens > 1000 ? 61 : 7);
        if (i % 3 == 0 || own_block)
            check_allocation_failures(&s, &rigs[i / 3]);
    }
    if (m->select) {
        TEST("append_invariant is true");
        subject s = make_subject(m, text, own_block ? 64 : 16);
        bool invariant;
        check_append(&s, &invariant);
    }
}

static void check_variants(const sb_method *m)
{
    char choices[128] = "", text[160];
    int v = sb_param_index(m, "variant");
    if (v < 0) {
        check_method(m, "", false);
        return;
    }
    snprintf(choices, sizeof choices, "%s", m->params[v].choices);
    for (char *save = NULL, *word = strtok_r(choices, "|", &save); word;
         word = strtok_r(NULL, "|", &save)) {
        snprintf(text, sizeof text, "variant=%s", word);
        check_method(m, text, false);
    }
}

static void test_methods(void)
{
    int n;
    const sb_method *const *methods = sb_methods(&n);
    for (int i = 0; i < n; i++)
        if (!has_preset(methods[i]))
            check_variants(methods[i]);
    for (int i = 0; i < N_PRESETS; i++) {
        const sb_method *m = sb_method_find(presets[i].method);
        EXPECT_MSG(m, "no method %s", presets[i].method);
        if (m)
            check_method(m, presets[i].text, presets[i].own_block);
    }
    check_method(sb_method_find("uniform"), "score=mass", false);
    check_method(sb_method_find("stem"), "score=mass", false);
    TEST("a bonus that changes earlier rows says so");
    static const char *const bonuses[] = {"none", "paper", "angelslim", "hpc"};
    for (int i = 0; i < 4; i++) {
        subject s = {.method = sb_method_find("stem")};
        snprintf(s.text, sizeof s.text, "block=16 k_start=0.25 beta=3 value=%s", bonuses[i]);
        bool invariant;
        EXPECT((check_append(&s, &invariant) == 0) == invariant);
    }
}

/* With every block kept, the outputs are those of dense: the same bits where dense runs on tiles
 * of the same size. */
static void test_all_blocks(void)
{
    static const char *const sparse[] = {"stem", "uniform"};
    static const char *const budget[] = {"k_start=1000 mu=1", "k=1000"};
    TEST("all blocks kept are dense");
    for (int i = 0; i < N_SHAPES * 2; i++) {
        const sb_rig *rig = &rigs[i / 2];
        sb_plan *dense = NULL, *all = NULL;
        outcome a = {0}, b = {0};
        subject s = {.method = sb_method_find(sparse[i % 2])};
        subject d = {.method = sb_method_find("dense")};
        snprintf(s.text, sizeof s.text, "%s block=64", budget[i % 2]);
        if (make_plan(&s, rig, 1, &all) == SB_OK && make_plan(&d, rig, 2, &dense) == SB_OK) {
            run_plan(all, rig, &a);
            run_plan(dense, rig, &b);
            EXPECT(sb_pattern_measure(&rig->problem, &a.pat).density == 1);
            EXPECT(memcmp(a.o, b.o, (size_t)a.n_o * a.o_bytes) == 0);
            EXPECT(memcmp(a.lse, b.lse, (size_t)a.n_lse * sizeof(float)) == 0);
        }
        outcome_free(&b);
        outcome_free(&a);
        sb_plan_destroy(dense);
        sb_plan_destroy(all);
    }
}

int main(void)
{
    for (int i = 0; i < N_SHAPES; i++) {
        sb_rig_shape shape = shapes[i];
        sb_rig_make(&rigs[i], &shape);
        shape.seed += 100;
        sb_rig_make(&others[i], &shape);
    }
    test_methods();
    test_all_blocks();
    for (int i = 0; i < N_SHAPES; i++) {
        sb_rig_free(&others[i]);
        sb_rig_free(&rigs[i]);
    }
    return sb_tests_done();
}
