/* What holds for every sparse method of the table: valid patterns that no thread count changes, a
 * `solve` parameter that is monotone, an honest append_invariant. */

#include <math.h>
#include <string.h>

#include "harness/tests/check.h"
#include "methods/tests/subjects.h"

enum { N_DENSITIES = 4, N_GRID = 9 };

static bool select_text(const sb_subject *s, const char *text, const sb_rig *rig, int n_threads,
                        sb_pattern *pat)
{
    sb_err err = {0};
    sb_status st = sb_rig_select(sb_method_find(s->method), text, rig, n_threads, pat, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s %s: %s", s->method, text, err.msg);
    return st == SB_OK;
}

/* ---- valid, and the same for any number of threads --------------------------------------- */

static bool list_valid(const sb_pattern *pat, int64_t i, int64_t row)
{
    int64_t begin = pat->row_ptr[i], end = pat->row_ptr[i + 1];
    for (int64_t at = begin; at < end; at++)
        if (pat->col[at] < 0 || pat->col[at] > row ||
            (at > begin && pat->col[at] <= pat->col[at - 1]))
            return false;
    if (begin == end || pat->col[end - 1] != row)
        return false;
    int64_t n_own = SB_SUBJECT_TOKENS - row * pat->block < pat->block
                        ? SB_SUBJECT_TOKENS - row * pat->block
                        : pat->block;
    for (int64_t at = begin; pat->tokens && at < end; at++)
        if (pat->tokens[at] == 0)
            return false;
    uint64_t own = n_own < 64 ? (UINT64_C(1) << n_own) - 1 : UINT64_MAX;
    return !pat->tokens || pat->tokens[end - 1] == own;
}

static void test_valid(const sb_subject *s, const sb_rig *rig)
{
    double least = 1;
    for (int d = 0; d < N_DENSITIES; d++) {
        char text[SB_SUBJECT_TEXT];
        sb_pattern pat[3] = {{0}};
        sb_err err = {0};
        sb_subject_write(s, d, N_DENSITIES, text);
        for (int n = 0; n < 3; n++)
            if (!select_text(s, text, rig, n + 1, &pat[n]))
                return;
        EXPECT_MSG(sb_pattern_check(&rig->problem, &pat[0], &err) == SB_OK, "%s %s: %s", s->method,
                   text, err.msg);
        for (int64_t i = 0; i < pat[0].n_heads * pat[0].n_rows; i++)
            EXPECT(list_valid(&pat[0], i, i % pat[0].n_rows));
        EXPECT_MSG(sb_rig_same(&pat[0], &pat[1]) && sb_rig_same(&pat[0], &pat[2]),
                   "%s %s: 1, 2 and 3 threads differ", s->method, text);
        least = fmin(least, sb_pattern_measure(&rig->problem, &pat[0]).density);
        for (int n = 0; n < 3; n++)
            sb_pattern_free(&pat[n]);
    }
    EXPECT_MSG(least < 0.75, "%s %s: density is at least %g", s->method, s->text, least);
}

/* ---- the solve parameter ----------------------------------------------------------------- */

static void test_monotone(const sb_subject *s, const sb_rig *rig)
{
    const sb_param *param = sb_subject_solve(sb_method_find(s->method));
    double previous = 0, first = 0;
    EXPECT(param->solve == (s->from < s->to ? 1 : -1));
    for (int i = 0; i < N_GRID; i++) {
        char text[SB_SUBJECT_TEXT];
        sb_pattern pat = {0};
        sb_subject_write(s, i, N_GRID, text);
        if (!select_text(s, text, rig, 2, &pat))
            return;
        double density = sb_pattern_measure(&rig->problem, &pat).density;
        EXPECT_MSG(density >= previous, "%s %s: density %g after %g", s->method, text, density,
                   previous);
        previous = density;
        first = i == 0 ? density : first;
        sb_pattern_free(&pat);
    }
    EXPECT_MSG(previous > first + 0.1, "%s %s: density %g to %g", s->method, s->text, first,
               previous);
}

/* ---- append-invariance ------------------------------------------------------------------- */

/* Blocks of rows that are whole in a prefix which change when the prompt grows. */
static int64_t count_changed(const sb_subject *s, const char *text, int64_t prefix, uint64_t seed)
{
    sb_rig grown, part;
    sb_pattern all = {0}, some = {0};
    int64_t changed = 0;
    sb_subject_rig(&grown, 4, 2, SB_SUBJECT_TOKENS, seed);
    sb_subject_rig(&part, 4, 2, prefix, seed);
    if (select_text(s, text, &grown, 2, &all) && select_text(s, text, &part, 2, &some))
        for (int64_t h = 0; h < 4; h++)
            for (int64_t I = 0; I < prefix / some.block; I++)
                for (int64_t J = 0; J <= I; J++)
                    changed += sb_rig_tokens(&all, 0, h, I, J) != sb_rig_tokens(&some, 0, h, I, J);
    sb_pattern_free(&some);
    sb_pattern_free(&all);
    sb_rig_free(&part);
    sb_rig_free(&grown);
    return changed;
}

static void test_append(const sb_subject *s)
{
    char text[SB_SUBJECT_TEXT];
    int64_t changed = 0;
    sb_value values[SB_MAX_PARAMS];
    sb_err err = {0};
    const sb_method *m = sb_method_find(s->method);
    for (int d = 0; d < N_DENSITIES; d++) {
        sb_subject_write(s, d, N_DENSITIES, text);
        changed += count_changed(s, text, 513, 3) + count_changed(s, text, 384, 4);
    }
    EXPECT(sb_rig_values(m, text, values, &err) == SB_OK);
    bool declared = !m->append_invariant || m->append_invariant(values);
    EXPECT_MSG(declared == (changed == 0), "%s %s: declared %s, %lld blocks change", s->method,
               s->text, declared ? "invariant" : "not invariant", (long long)changed);
}

/* ---- all --------------------------------------------------------------------------------- */

static void test_every_method(void)
{
    int n;
    const sb_method *const *methods = sb_methods(&n);
    TEST("every method with a solve parameter is a subject, and every subject a method");
    for (int i = 0; i < n; i++) {
        int found = 0;
        for (int s = 0; s < SB_SUBJECTS; s++)
            found += strcmp(sb_subjects[s].method, methods[i]->name) == 0;
        EXPECT_MSG(found > 0 || !sb_subject_solve(methods[i]), "%s", methods[i]->name);
    }
    for (int s = 0; s < SB_SUBJECTS; s++) {
        const sb_method *m = sb_method_find(sb_subjects[s].method);
        EXPECT_MSG(m && sb_subject_solve(m), "%s", sb_subjects[s].method);
    }
}

int main(void)
{
    sb_rig rig;
    sb_subject_rig(&rig, 4, 2, SB_SUBJECT_TOKENS, 21);
    test_every_method();
    for (int i = 0; i < SB_SUBJECTS; i++) {
        TEST(sb_subjects[i].method);
        test_valid(&sb_subjects[i], &rig);
        test_monotone(&sb_subjects[i], &rig);
        test_append(&sb_subjects[i]);
    }
    sb_rig_free(&rig);
    return sb_tests_done();
}
