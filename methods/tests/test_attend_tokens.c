/* The kernels of this machine that take patterns of tokens, or that of the ISA level that is named
 * as the argument, against attention written by the definition. */

#include "methods/method.h"
#include "methods/tests/attend_rig.h"

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 1, 1, 64, {0}, {0}},
    {1, 2, 2, 1, 62, 20, 20, 64, {0}, {0}},
    {1, 2, 1, 64, 64, 16, 16, 64, {0}, {0}},
    {1, 2, 1, 65, 65, 17, 33, 64, {0}, {0}},
    {1, 4, 2, 213, 213, 80, 81, 64, {0}, {0}},
    {1, 2, 1, 100, 213, 64, 64, 64, {0}, {0}},
    {1, 3, 3, 62, 213, 37, 20, 64, {0}, {0}},
    {1, 2, 1, 127, 255, 256, 128, 64, {0}, {0}},
    {3, 4, 2, 150, 213, 64, 48, 64, {150, 1, 77}, {213, 62, 100}},
    {2, 6, 2, 213, 300, 128, 96, 64, {213, 200}, {300, 201}},
    {1, 1, 1, 777, 777, 64, 64, 64, {0}, {0}},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

/* ---- patterns ---------------------------------------------------------------------------- */

/* How many tokens of a block are kept. */
typedef enum amount { SINGLE, RUN, SOME, MOST, ALL, N_AMOUNTS } amount;

static uint64_t random_mask(amount how)
{
    uint64_t mask = 0;
    int at = (int)(64 * uniform()), n = (int)(64 * uniform());
    if (how == SINGLE)
        return UINT64_C(1) << at;
    for (int i = 0; i < 64; i++) {
        bool keeps = how == RUN    ? i >= at && i <= at + n
                     : how == SOME ? uniform() < 0.3
                     : how == MOST ? uniform() < 0.97
                                   : true;
        mask |= (uint64_t)keeps << i;
    }
    return mask ? mask : UINT64_C(1) << at;
}

/* Of each block of the pattern some tokens: as many of all blocks, or mixed (N_AMOUNTS). */
static void thin_out(const sb_problem *p, sb_pattern *pat, amount how)
{
    for (int64_t b = 0; b < p->n_batch; b++)
        for (int64_t h = 0; h < p->n_heads; h++)
            for (int64_t r = 0; r < pat->n_rows; r++) {
                int64_t list = sb_pattern_row(pat, b, h, r), n_k = sb_kv_len(p, b);
                for (int64_t i = pat->row_ptr[list]; i < pat->row_ptr[list + 1]; i++) {
                    amount some = how < N_AMOUNTS ? how : (amount)(N_AMOUNTS * uniform());
                    uint64_t exists = 0, own = 0;
                    for (int64_t t = pat->col[i] * 64; t < (pat->col[i] + 1) * 64 && t < n_k; t++) {
                        exists |= UINT64_C(1) << t % 64;
                        if (i == pat->row_ptr[list + 1] - 1 && t >= n_k - sb_q_len(p, b))
                            own |= UINT64_C(1) << t % 64;
                    }
                    do
                        pat->tokens[i] = (random_mask(some) & exists) | own;
                    while (!pat->tokens[i]);
                }
            }
}

/* ---- cases ------------------------------------------------------------------------------- */

static void test_shapes(void)
{
    TEST("every shape, dtype and amount of tokens");
    for (int i = 0; i < N_SHAPES; i++)
        for (int dtype = SB_F32; dtype <= SB_F16; dtype++) {
            setup s;
            sb_err err = {0};
            REQUIRE(make_setup(&s, &shapes[i], (sb_dtype)dtype));
            REQUIRE(sb_pattern_add_tokens(&s.pat, &err) == SB_OK);
            for (int how = 0; how <= N_AMOUNTS; how++) {
                thin_out(&s.p, &s.pat, (amount)how);
                EXPECT_MSG(sb_pattern_check(&s.p, &s.pat, &err) == SB_OK, "%s", err.msg);
                oracle(&s, &s.pat);
                check_kernels(&s, &s.pat);
            }
            free_setup(&s);
        }
}

/* What a kernel does with a pattern of blocks, and with the same one and masks. */
static void same_without_masks(const setup *s, sb_pattern *pat)
{
    int n;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n);
    for (int i = 0; i < n; i++) {
        if (!is_asked(kernels[i], true) || !sb_attend_runs(kernels[i], &s->p, s->block))
            continue;
        sb_pattern blocks = *pat;
        blocks.tokens = NULL;
        result with = run(kernels[i], s, pat, 3), without = run(kernels[i], s, &blocks, 1);
        EXPECT(same_bits(&with, &without));
        free_result(&without);
        free_result(&with);
    }
}

static void test_whole(void)
{
    TEST("all tokens of the blocks: the bits of whole blocks");
    for (int i = 0; i < N_SHAPES; i++) {
        setup s;
        REQUIRE(make_setup(&s, &shapes[i], i % 2 ? SB_BF16 : SB_F32));
        REQUIRE(sb_pattern_add_tokens(&s.pat, NULL) == SB_OK);
        REQUIRE(sb_pattern_add_tokens(&s.whole, NULL) == SB_OK);
        sb_pattern_fill_causal(&s.p, &s.whole);
        EXPECT(sb_pattern_check(&s.p, &s.whole, NULL) == SB_OK);
        thin_out(&s.p, &s.pat, ALL);
        same_without_masks(&s, &s.whole);
        same_without_masks(&s, &s.pat);
        free_setup(&s);
    }
}

/* Whether a list of the group of kv head keeps the key. */
static bool kept_by_any(const setup *s, int64_t kv_head, int64_t key)
{
    int64_t group = s->p.n_heads / s->p.n_kv_heads, n_lists = group * s->pat.n_rows;
    for (int64_t i = 0; i < n_lists; i++)
        if (kept(&s->pat, kv_head * n_lists + i, key))
            return true;
    return false;
}

static void test_unread(void)
{
    TEST("keys that no list keeps are not read");
    const shape x = {1, 2, 2, 100, 300, 64, 48, 64, {0}, {0}};
    for (int dtype = SB_F32; dtype <= SB_F16; dtype++) {
        setup s;
        int64_t n_unread = 0;
        REQUIRE(make_setup(&s, &x, (sb_dtype)dtype));
        REQUIRE(sb_pattern_add_tokens(&s.pat, NULL) == SB_OK);
        thin_out(&s.p, &s.pat, SOME);
        oracle(&s, &s.pat);
        for (int64_t row = 0; row < s.p.n_kv_heads * s.p.kv_len; row++) {
            if (kept_by_any(&s, row / s.p.kv_len, row % s.p.kv_len))
                continue;
            int64_t bytes = (int64_t)sb_dtype_bytes(s.p.dtype);
            memset((char *)s.tensor[1] + row * s.p.dim * bytes, POISON, (size_t)(s.p.dim * bytes));
            memset((char *)s.tensor[2] + row * s.p.dim_v * bytes, POISON,
                   (size_t)(s.p.dim_v * bytes));
            n_unread++;
        }
        EXPECT(n_unread > 100);
        check_kernels(&s, &s.pat);
        free_setup(&s);
    }
}

/* ---- a plan ------------------------------------------------------------------------------ */

static sb_status tokens_plan(const sb_problem *p, const sb_exec *exec, const sb_value *values,
                             sb_plan **plan, sb_err *err)
{
    (void)exec, (void)values;
    *plan = sb_alloc(1, sizeof **plan);
    if (!*plan)
        return sb_no_memory(err, "a plan");
    (*plan)->block = SB_TOKEN_BLOCK;
    (*plan)->pattern_capacity = sb_causal_blocks(p, SB_TOKEN_BLOCK);
    (*plan)->tokens = true;
    return SB_OK;
}

static sb_status tokens_select(sb_plan *plan, const sb_inputs *in, sb_pattern *pat, sb_err *err)
{
    (void)in, (void)err;
    sb_pattern_fill_causal(&plan->problem, pat);
    random_state = 5;
    thin_out(&plan->problem, pat, SOME);
    return SB_OK;
}

static void tokens_destroy(sb_plan *plan)
{
    sb_free(plan);
}

/* In bfloat16 the best kernel of the machine may not take tokens. */
static void test_plan(void)
{
    TEST("a plan of tokens attends with a kernel that takes them, and says so");
    const sb_method m = {
        .name = "tokens", .plan = tokens_plan, .select = tokens_select, .destroy = tokens_destroy};
    const sb_exec exec = {.backend = SB_CPU, .n_threads = 2};
    setup s;
    sb_plan *plan = NULL;
    sb_err err = {0};
    REQUIRE(make_setup(&s, &shapes[4], SB_BF16));
    REQUIRE(sb_pattern_add_tokens(&s.pat, NULL) == SB_OK);
    REQUIRE(sb_plan_create(&m, &s.p, &exec, NULL, &plan, &err) == SB_OK);
    EXPECT(plan->kernel == sb_cpu_token_kernel_for(&s.p) && plan->kernel->tokens);
    EXPECT(strstr(plan->kernel_name, plan->kernel->name) == plan->kernel_name);
    EXPECT(strcmp(plan->kernel_name + strlen(plan->kernel->name), "-tokens") == 0);

    const sb_inputs in = {s.tensor[0], s.tensor[1], s.tensor[2]};
    int64_t rows = tensor_rows(&s.p, 0);
    result x = {.o_bytes = rows * s.p.dim_v * 2, .lse_bytes = rows * 4};
    x.o = poisoned(x.o_bytes);
    x.lse = poisoned(x.lse_bytes);
    const sb_outputs out = {x.o + GUARD, (float *)(void *)(x.lse + GUARD)};
    EXPECT(sb_plan_select(plan, &in, &s.pat, &err) == SB_OK);
    EXPECT(sb_plan_attend(plan, &in, &s.pat, &out, &err) == SB_OK);
    result direct = run(plan->kernel, &s, &s.pat, 1);
    EXPECT(same_bits(&x, &direct));
    free_result(&direct);
    free_result(&x);
    sb_plan_destroy(plan);
    free_setup(&s);
}

int main(int argc, char **argv)
{
    asked_isa = argc > 1 ? argv[1] : NULL;
    test_shapes();
    test_whole();
    test_unread();
    test_plan();
    TEST("some kernel was checked");
    EXPECT_MSG(n_checked > 0, "none of level %s runs here", asked_isa ? asked_isa : "any");
    TEST("nothing leaks");
    EXPECT(sb_mem_live() == 0);
    return sb_tests_done();
}
