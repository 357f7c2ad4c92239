/* The field's methods against a float64 oracle, which itself must select what the authors' code
 * does: random small cases of every method.
 * usage: test_field_oracle [METHOD] */

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "harness/tests/check.h"
#include "methods/tests/field_rig.h"

/* Distance, relative to what is compared, that float32 sums may bridge. */
#define ROUNDING 4e-6

/* ---- random cases ------------------------------------------------------------------------ */

static uint64_t state;

/* A whole number in [min, max]. */
static int64_t draw(int64_t min, int64_t max)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return min + (int64_t)((state >> 33) % (uint64_t)(max - min + 1));
}

static double draw_real(double min, double max)
{
    return min + (max - min) * (double)draw(0, 1 << 20) / (1 << 20);
}

/* Short prompts are the more frequent. */
static int64_t draw_tokens(void)
{
    int64_t root = draw(0, 28);
    return 65 + root * root + draw(0, 50);
}

static void write(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum { TEXT = 256 };

static void write(char *text, const char *format, ...)
{
    size_t used = strlen(text);
    va_list list;
    va_start(list, format);
    vsnprintf(text + used, TEXT - used, format, list);
    va_end(list);
}

static int64_t draw_block(void)
{
    static const int64_t blocks[] = {16, 32, 48, 64, 128};
    return blocks[draw(0, 4)];
}

static void draw_streaming(char *text)
{
    bool tri = draw(0, 1);
    write(text, "variant=%s block=%lld sink=%lld window=%lld", tri ? "tri" : "a_shape",
          (long long)draw_block(), (long long)draw(0, 200), (long long)draw(1, 400));
    if (tri)
        write(text, " last=%lld", (long long)draw(1, 150));
}

static void draw_vertical_slash(char *text)
{
    bool blocks = draw(0, 2) == 0;
    write(text, "variant=vertical_slash vertical=%lld slash=%lld form=%s block=64",
          (long long)draw(1, 120), (long long)draw(1, 300), blocks ? "blocks" : "tokens");
}

static void draw_block_sparse(char *text)
{
    write(text, "variant=block_sparse block=%lld top_k=%lld", (long long)draw_block(),
          (long long)draw(1, 8));
}

static void draw_flexprefill(char *text)
{
    static const double taus[] = {0, 0.05, 0.1, 0.2, 1};
    int64_t block = draw_block();
    write(text, "block=%lld gamma=%.17g tau=%.17g min_budget=%lld", (long long)block,
          draw_real(0.4, 0.98), taus[draw(0, 4)], (long long)draw(1, 3 * block));
}

static void draw_strided(char *text)
{
    int64_t block = draw(1, 8) * 16;
    static const int64_t strides[] = {4, 8, 16};
    write(text, "block=%lld stride=%lld", (long long)block, (long long)strides[draw(0, 2)]);
}

static void draw_xattention(char *text)
{
    draw_strided(text);
    write(text, " threshold=%.17g", draw_real(0.2, 0.97));
    if (draw(0, 2) > 0)
        write(text, " chunk=%lld", (long long)draw(1, 700));
}

static void draw_cosa(char *text)
{
    draw_strided(text);
    write(text, " top_p=%.17g", draw_real(0.2, 0.97));
}

static void draw_flashprefill(char *text)
{
    write(text, "block=%lld alpha=%.17g sink=%lld window=%lld last_full=%lld",
          (long long)draw_block(), draw(0, 9) == 0 ? 1 : draw_real(0.02, 0.95),
          (long long)draw(0, 150), (long long)draw(0, 200), (long long)draw(0, 3));
}

static void draw_sparge(char *text)
{
    static const int64_t sizes[][3] = {{16, 16, 16}, {16, 32, 16},  {16, 16, 32},
                                       {32, 64, 32}, {64, 128, 64}, {64, 64, 128}};
    const int64_t *size = sizes[draw(0, 5)];
    write(text, "block=%lld block_q=%lld block_k=%lld similarity=%.17g variant=%s keep=%.17g",
          (long long)size[0], (long long)size[1], (long long)size[2], draw_real(-0.1, 0.45),
          draw(0, 1) ? "cdf" : "top", draw_real(0.05, 0.98));
}

static void draw_vecattention(char *text)
{
    bool reference = draw(0, 1);
    write(text, "variant=%s form=%s threshold=%.17g", reference ? "reference" : "kernel",
          draw(0, 2) > 0 ? "tokens" : "blocks", draw_real(0.01, 0.95));
    if (reference)
        write(text, " band=%lld", (long long)draw(1, 4));
    else
        write(text, " group=%lld", (long long)(1 << draw(0, 5)));
}

static const struct subject {
    const char *method, *name;
    void (*draw)(char *text);
} subjects[] = {
    {"streaming", "streaming", draw_streaming},
    {"minference", "minference, vertical-slash", draw_vertical_slash},
    {"minference", "minference, block-sparse", draw_block_sparse},
    {"flexprefill", "flexprefill", draw_flexprefill},
    {"xattention", "xattention", draw_xattention},
    {"sparge", "sparge", draw_sparge},
    {"flashprefill", "flashprefill", draw_flashprefill},
    {"cosa", "cosa", draw_cosa},
    {"vecattention", "vecattention", draw_vecattention},
};
enum { N_SUBJECTS = sizeof subjects / sizeof *subjects, N_CASES = 300 };

static sb_rig_shape draw_shape(void)
{
    static const int64_t heads[][2] = {{1, 1}, {2, 1}, {3, 1}, {2, 2}, {4, 2}};
    static const int64_t dims[] = {16, 20, 32, 33, 64};
    const int64_t *h = heads[draw(0, 4)];
    sb_rig_shape s = {.n_batch = draw(0, 5) == 0 ? 2 : 1,
                      .n_heads = h[0],
                      .n_kv_heads = h[1],
                      .dim = dims[draw(0, 4)],
                      .dtype = (sb_dtype)draw(0, 2),
                      .seed = (uint64_t)draw(1, 1 << 30)};
    s.kv_len[0] = draw_tokens();
    s.kv_len[1] = draw_tokens();
    return s;
}

/* Sequences of one selection against the oracle. */
static void compare(const sb_method *m, const char *text, const sb_rig *rig, sb_field_tally *tally)
{
    sb_value values[SB_MAX_PARAMS];
    sb_pattern pat = {0};
    sb_plan *plan = NULL;
    sb_err err = {0};
    double pairs = 0;
    sb_field_tally own = {0};
    sb_status st = sb_rig_select(m, text, rig, 1, &pat, &plan, &err);
    EXPECT_MSG(st == SB_OK, "%s %s: %s", m->name, text, err.msg);
    for (int64_t b = 0; st == SB_OK && b < rig->problem.n_batch; b++) {
        st = sb_rig_values(m, text, values, &err);
        sb_oracle o = sb_oracle_load(&rig->problem, &rig->in, b);
        sb_field_choice c = sb_field_choose(m, values, &o);
        sb_field_compare(&pat, b, &c, ROUNDING, &own);
        pairs += c.pairs;
        sb_field_choice_free(&c);
        sb_oracle_free(&o);
    }
    EXPECT_MSG(own.n_wrong == 0, "%s %s, %lld tokens of %lld: %lld of %lld lists", m->name, text,
               (long long)rig->problem.kv_len, (long long)rig->problem.dim, (long long)own.n_wrong,
               (long long)own.n_lists);
    if (st == SB_OK && own.n_differing == 0)
        EXPECT_MSG(plan->published_pairs == pairs, "%s %s: %.17g pairs, not %.17g", m->name, text,
                   plan->published_pairs, pairs);
    tally->n_lists += own.n_lists;
    tally->n_differing += own.n_differing;
    sb_plan_destroy(plan);
    sb_pattern_free(&pat);
}

static void test_cases(const struct subject *s)
{
    const sb_method *m = sb_method_find(s->method);
    sb_field_tally tally = {0};
    TEST(s->name);
    REQUIRE(m != NULL);
    for (int i = 0; i < N_CASES; i++) {
        char text[TEXT] = "";
        sb_rig rig;
        sb_rig_shape shape = draw_shape();
        sb_rig_make(&rig, &shape);
        /* Sharper attention makes sparser patterns. */
        rig.problem.scale *= (double)draw(1, 6);
        s->draw(text);
        compare(m, text, &rig, &tally);
        sb_rig_free(&rig);
    }
    printf("%-28s %d cases, %lld lists: %lld differ by rounding\n", s->name, N_CASES,
           (long long)tally.n_lists, (long long)tally.n_differing);
    EXPECT(tally.n_differing * 2000 <= tally.n_lists);
}

/* ---- the oracle itself ------------------------------------------------------------------- */

static void test_group(hid_t group, const char *name)
{
    char text[TEXT];
    int s = sb_field_setting_of(name);
    const sb_method *m = sb_method_find(sb_field_settings[s].method);
    sb_golden g = sb_golden_load(group);
    sb_field_tally tally = {0};
    sb_field_text(group, s, text, sizeof text);
    compare(m, text, &g.rig, &tally);
    EXPECT_MSG(tally.n_differing == 0, "%s", name);
    sb_golden_free(&g);
}

/* test_field has it that our methods select what the file says; so must the oracle. */
static void test_oracle(void)
{
    TEST("the oracle selects what the authors' code does");
    hid_t file = H5Fopen(SB_SOURCE_DIR "/methods/tests/data/field.h5", H5F_ACC_RDONLY, H5P_DEFAULT);
    H5G_info_t info = {0};
    REQUIRE(file >= 0 && H5Gget_info(file, &info) >= 0);
    for (hsize_t i = 0; i < info.nlinks; i++) {
        char name[64] = "";
        H5Lget_name_by_idx(file, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name,
                           H5P_DEFAULT);
        hid_t group = H5Gopen(file, name, H5P_DEFAULT);
        if (sb_golden_int(group, "tokens") < 3000)
            test_group(group, name);
        H5Gclose(group);
    }
    H5Fclose(file);
}

int main(int argc, char **argv)
{
    for (int s = 0; s < N_SUBJECTS; s++) {
        state = 1;
        if (argc < 2 || strcmp(argv[1], subjects[s].method) == 0)
            test_cases(&subjects[s]);
    }
    if (argc < 2)
        test_oracle();
    return sb_tests_done();
}
