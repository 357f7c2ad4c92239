/* The oracle above all other methods, and random below: exact masses in float64. */

#include <math.h>
#include <stdlib.h>

#include "harness/tests/check.h"
#include "methods/tests/subjects.h"

enum { N_DENSITIES = 4 };

static bool select_text(const sb_subject *s, const char *text, const sb_rig *rig, int n_threads,
                        sb_pattern *pat)
{
    sb_err err = {0};
    sb_status st = sb_rig_select(sb_method_find(s->method), text, rig, n_threads, pat, NULL, &err);
    EXPECT_MSG(st == SB_OK, "%s %s: %s", s->method, text, err.msg);
    return st == SB_OK;
}

/* What keys j0..j1 - 1 give to a query: their mass, or the norm of what they add to the output. */
static double share(const sb_oracle *o, int64_t h, const double *p, int64_t j0, int64_t j1,
                    bool output)
{
    const double *v = o->v + h / (o->n_heads / o->n_kv_heads) * o->kv_len * o->dim_v;
    double mass = 0, square = 0;
    for (int64_t j = j0; j < j1; j++)
        mass += p[j];
    for (int64_t c = 0; output && c < o->dim_v; c++) {
        double sum = 0;
        for (int64_t j = j0; j < j1; j++)
            sum += p[j] * v[j * o->dim_v + c];
        square += sum * sum;
    }
    return output ? sqrt(square) : mass;
}

/* What each (head, row, key block) gives, [H, n, n], a mean over queries. */
static double *shares(const sb_rig *rig, int64_t block, bool output)
{
    sb_oracle o = sb_oracle_load(&rig->problem, &rig->in, 0);
    int64_t n = sb_oracle_n_blocks(&o, block);
    double *all = sb_oracle_calloc(o.n_heads * n * n, sizeof *all);
    double *p = sb_oracle_calloc(o.kv_len, sizeof *p);
    for (int64_t row = 0; row < o.n_heads * o.q_len; row++) {
        int64_t h = row / o.q_len, i = row % o.q_len;
        sb_oracle_probabilities(&o, h, i, p);
        for (int64_t J = 0; J <= i / block; J++) {
            int64_t end = (J + 1) * block < i + 1 ? (J + 1) * block : i + 1;
            all[(h * n + i / block) * n + J] +=
                share(&o, h, p, J * block, end, output) / (double)(o.n_heads * o.q_len);
        }
    }
    free(p);
    sb_oracle_free(&o);
    return all;
}

static double recall(const double *mass, const sb_pattern *pat)
{
    double sum = 0;
    for (int64_t i = 0; i < pat->n_heads * pat->n_rows; i++)
        for (int64_t at = pat->row_ptr[i]; at < pat->row_ptr[i + 1]; at++)
            sum += mass[i * pat->n_rows + pat->col[at]];
    return sum;
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The largest recall of n_kept blocks of the lists first .. first + n_lists - 1, their diagonals
 * among them. */
static double best_recall(const double *mass, int64_t n, int64_t first, int64_t n_lists,
                          int64_t n_kept)
{
    double *others = sb_oracle_calloc(n_lists * n, sizeof *others), sum = 0;
    for (int64_t i = 0; i < n_lists * n; i++) {
        bool diagonal = i % n == (first + i / n) % n;
        sum += diagonal ? mass[first * n + i] : 0;
        others[i] = diagonal ? 0 : mass[first * n + i];
    }
    qsort(others, (size_t)(n_lists * n), sizeof *others, descending);
    for (int64_t i = 0; i < n_kept - n_lists; i++)
        sum += others[i];
    free(others);
    return sum;
}

/* Recall of a method's pattern of so many blocks a head; 0 where it keeps another number. */
static double recall_at(const char *method, const char *base, int64_t total, const sb_rig *rig,
                        const double *mass)
{
    const sb_subject s = {method, base, 0, 0};
    char text[SB_SUBJECT_TEXT];
    sb_pattern pat = {0};
    double found = 0;
    snprintf(text, sizeof text, "%s schedule.total=%lld", base, (long long)total);
    if (select_text(&s, text, rig, 2, &pat) &&
        pat.row_ptr[pat.n_heads * pat.n_rows] == pat.n_heads * total)
        found = recall(mass, &pat);
    sb_pattern_free(&pat);
    return found;
}

enum { HEADS = 4, BLOCK = 32, N_BLOCKS = (SB_SUBJECT_TOKENS + BLOCK - 1) / BLOCK };

static void check_layer(const sb_rig *rig, const char *text, const double *mass)
{
    for (int64_t total = N_BLOCKS; total <= N_BLOCKS * (N_BLOCKS + 1) / 2; total += 33) {
        double found = recall_at("oracle", text, total, rig, mass);
        double best = best_recall(mass, N_BLOCKS, 0, HEADS * N_BLOCKS, HEADS * total);
        EXPECT_MSG(fabs(found - best) < 1e-6, "%s, %lld blocks a head: recall %.9g, not %.9g", text,
                   (long long)total, found, best);
    }
}

static void check_rows(const sb_rig *rig, const char *text, const double *mass)
{
    const sb_subject s = {"oracle", text, 0, 0};
    sb_pattern pat = {0};
    double best = 0;
    if (!select_text(&s, text, rig, 2, &pat))
        return;
    for (int64_t i = 0; i < HEADS * N_BLOCKS; i++)
        best += best_recall(mass, N_BLOCKS, i, 1, pat.row_ptr[i + 1] - pat.row_ptr[i]);
    EXPECT_MSG(fabs(recall(mass, &pat) - best) < 1e-6, "%s: recall %.9g, not %.9g", text,
               recall(mass, &pat), best);
    for (int64_t r = 0; r < N_BLOCKS; r++)
        EXPECT(sb_rig_count(&pat, 0, HEADS - 1, r) == (r < 5 ? r + 1 : 5));
    sb_pattern_free(&pat);
}

static void test_oracle(const sb_rig *rig)
{
    double *mass = shares(rig, BLOCK, false), *output = shares(rig, BLOCK, true);
    TEST("oracle keeps the blocks that give most over all rows and heads");
    check_layer(rig, "by=mass scope=layer block=32", mass);
    check_layer(rig, "by=output scope=layer block=32", output);
    TEST("or in each row");
    check_rows(rig, "by=mass scope=row block=32 k=5", mass);
    check_rows(rig, "by=output scope=row block=32 k=5", output);
    free(output);
    free(mass);
}

/* One head, so that any number of blocks can be asked of the oracle. */
static void test_ceiling(const sb_rig *rig)
{
    TEST("no pattern of blocks has more mass than the oracle's of the same size");
    double *mass32 = shares(rig, 32, false), *mass64 = shares(rig, 64, false);
    for (int i = 0; i < SB_SUBJECTS * N_DENSITIES; i++) {
        const sb_subject *s = &sb_subjects[i / N_DENSITIES];
        char text[SB_SUBJECT_TEXT];
        sb_pattern pat = {0};
        sb_subject_write(s, i % N_DENSITIES, N_DENSITIES, text);
        if (!select_text(s, text, rig, 2, &pat))
            continue;
        const double *mass = pat.block == 32 ? mass32 : mass64;
        const char *oracle =
            pat.block == 32 ? "by=mass scope=layer block=32" : "by=mass scope=layer block=64";
        int64_t n_kept = pat.row_ptr[pat.n_rows];
        double best = recall_at("oracle", oracle, n_kept, rig, mass);
        double own = pat.tokens ? 0 : recall(mass, &pat);
        EXPECT_MSG(best > 0 && own <= best + 1e-6, "%s %s: recall %.9g of %lld blocks, oracle %.9g",
                   s->method, text, own, (long long)n_kept, best);
        sb_pattern_free(&pat);
    }
    free(mass64);
    free(mass32);
}

static void test_floor(const sb_rig *rig)
{
    TEST("random is well below the oracle");
    double *mass = shares(rig, 32, false);
    for (int64_t total = 60; total <= 180; total += 40) {
        double best = recall_at("oracle", "by=mass scope=layer block=32", total, rig, mass);
        double row = recall_at("oracle", "by=mass scope=row block=32", total, rig, mass);
        double floor_ = recall_at("random", "block=32", total, rig, mass);
        EXPECT_MSG(floor_ > 0 && floor_ + 0.05 < row && row < best,
                   "%lld blocks a head: random %g, oracle by row %g, by layer %g", (long long)total,
                   floor_, row, best);
    }
    free(mass);
}

static void test_seeds(const sb_rig *rig)
{
    static const sb_subject s = {"random", "", 0, 0};
    sb_pattern one = {0}, again = {0}, two = {0}, layer = {0};
    sb_rig other = *rig;
    TEST("random follows its seed and the layer");
    other.problem.layer++;
    if (select_text(&s, "block=32 k=4 seed=1", rig, 1, &one) &&
        select_text(&s, "block=32 k=4", rig, 2, &again) &&
        select_text(&s, "block=32 k=4 seed=2", rig, 1, &two) &&
        select_text(&s, "block=32 k=4 seed=1", &other, 1, &layer)) {
        EXPECT(sb_rig_same(&one, &again));
        EXPECT(!sb_rig_same(&one, &two));
        EXPECT(!sb_rig_same(&one, &layer));
    }
    sb_pattern_free(&layer);
    sb_pattern_free(&two);
    sb_pattern_free(&again);
    sb_pattern_free(&one);
}

int main(void)
{
    sb_rig rig, single;
    sb_subject_rig(&rig, HEADS, 2, SB_SUBJECT_TOKENS, 21);
    sb_subject_rig(&single, 1, 1, SB_SUBJECT_TOKENS, 22);
    test_oracle(&rig);
    test_ceiling(&single);
    test_floor(&rig);
    test_seeds(&rig);
    sb_rig_free(&single);
    sb_rig_free(&rig);
    return sb_tests_done();
}
