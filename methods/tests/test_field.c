/* The other methods against the masks of their authors' code: data/field.h5, data/FIELD.md.
 * usage: test_field [PREFIX]    the groups whose names start so; else all */

#include <stdlib.h>
#include <string.h>

#include "harness/tests/check.h"
#include "methods/tests/field_rig.h"

typedef struct summary {
    int64_t n_groups, n_blocks, n_tokens, n_differing;
} summary;

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Adds the diagonal to the lists that lack it; returns how many do. */
static int64_t add_diagonals(sb_golden_mask *mask, int64_t n_rows)
{
    int64_t n_added = 0, n = 0;
    int64_t n_col = mask->row_ptr[mask->n_lists];
    int32_t *col = sb_oracle_calloc(n_col + mask->n_lists, sizeof *col);
    for (int64_t i = 0, begin = 0; i < mask->n_lists; i++) {
        int64_t end = mask->row_ptr[i + 1];
        memcpy(col + n, mask->col + begin, (size_t)(end - begin) * sizeof *col);
        n += end - begin;
        if (begin == end || col[n - 1] != i % n_rows) {
            col[n++] = (int32_t)(i % n_rows);
            n_added++;
        }
        begin = end;
        mask->row_ptr[i + 1] = n;
    }
    free(mask->col);
    mask->col = col;
    return n_added;
}

/* The tokens of block J in line i of stored bits [n_lists, n_bytes]. */
static uint64_t stored_tokens(const uint8_t *bits, int64_t n_bytes, int64_t i, int64_t J)
{
    uint64_t tokens = 0;
    for (int64_t at = 0; at < 8 && J * 8 + at < n_bytes; at++)
        tokens |= (uint64_t)bits[i * n_bytes + J * 8 + at] << (8 * at);
    return tokens;
}

static int64_t count_bits(uint64_t x)
{
    int64_t n = 0;
    for (; x; x &= x - 1)
        n++;
    return n;
}

/* Tokens in one and not in the other; those stored are added to *n_tokens. */
static int64_t differing_tokens(const sb_golden *g, const char *name, const sb_pattern *pat,
                                int64_t *n_tokens)
{
    int64_t n, n_bytes = (g->tokens + 7) / 8, n_rows = g->n_lists / g->heads, differing = 0;
    uint8_t *bits = sb_golden_read(g->group, name, H5T_NATIVE_UINT8, 1, &n);
    for (int64_t i = 0; n == g->n_lists * n_bytes && pat->tokens && i < g->n_lists; i++)
        for (int64_t J = 0, at = pat->row_ptr[i]; J < n_rows; J++) {
            uint64_t stored = stored_tokens(bits, n_bytes, i, J);
            bool kept = at < pat->row_ptr[i + 1] && pat->col[at] == J;
            differing += count_bits(stored ^ (kept ? pat->tokens[at] : 0));
            *n_tokens += count_bits(stored);
            at += kept;
        }
    free(bits);
    return n == g->n_lists * n_bytes && pat->tokens ? differing : -1;
}

/* One form of a group's mask: its sets, and the attributes that count its pairs (NULL: none). */
typedef struct form {
    const char *extra, *row_ptr, *col, *bits, *pairs, *published;
} form;

static void check_form(const sb_golden *g, int s, const form *f, summary *sum)
{
    char text[320];
    sb_pattern pat = {0};
    sb_plan *plan = NULL;
    sb_err err = {0};
    sb_field_text(g->group, s, text, sizeof text);
    strncat(text, f->extra, sizeof text - strlen(text) - 1);
    const sb_method *m = sb_method_find(sb_field_settings[s].method);
    EXPECT_MSG(m, "no method %s", sb_field_settings[s].method);
    sb_status st = m ? sb_rig_select(m, text, &g->rig, 2, &pat, &plan, &err) : SB_USAGE;
    EXPECT_MSG(st == SB_OK, "%s: %s", text, err.msg);
    if (st == SB_OK) {
        sb_golden_mask mask = sb_golden_mask_read(g->group, f->row_ptr, f->col);
        EXPECT(mask.n_lists == g->n_lists);
        EXPECT(add_diagonals(&mask, g->n_lists / g->heads) ==
               sb_golden_int(g->group, "diagonals_not_kept"));
        int64_t blocks = sb_golden_differing(&mask, &pat), tokens = 0;
        if (f->bits)
            tokens = differing_tokens(g, f->bits, &pat, &sum->n_tokens);
        EXPECT_MSG(blocks == 0 && tokens == 0, "%s: %lld blocks, %lld tokens differ", text,
                   (long long)blocks, (long long)tokens);
        sum->n_blocks += mask.row_ptr[mask.n_lists];
        sum->n_differing += blocks + tokens;
        sb_golden_mask_free(&mask);
        EXPECT(sb_pattern_check(&g->rig.problem, &pat, &err) == SB_OK);
        if (f->pairs)
            EXPECT(sb_pattern_measure(&g->rig.problem, &pat).pairs ==
                   sb_golden_real(g->group, f->pairs));
        double published = f->published ? sb_golden_real(g->group, f->published) : 0;
        EXPECT_MSG(plan->published_pairs == published, "%s: %.17g published pairs, not %.17g", text,
                   plan->published_pairs, published);
    }
    sb_plan_destroy(plan);
    sb_pattern_free(&pat);
}

static void check_forms(const sb_golden *g, const char *name, int s, summary *sum)
{
    static const form blocks = {"", "row_ptr", "col", NULL, NULL, NULL};
    form published = {"", "row_ptr", "col", NULL, NULL, "pairs"};
    if (starts_with(name, "minference_vs")) {
        check_form(g, s,
                   &(form){" form=tokens", "kernel_row_ptr", "kernel_col", "kernel_bits",
                           "kernel_pairs", "pairs"},
                   sum);
        published.extra = " form=blocks";
        check_form(g, s, &published, sum);
    } else if (starts_with(name, "vecattention")) {
        check_form(g, s, &(form){" form=tokens", "row_ptr", "col", "token_bits", "pairs", "pairs"},
                   sum);
        published.extra = " form=blocks";
        check_form(g, s, &published, sum);
    } else if (starts_with(name, "streaming")) {
        check_form(g, s, &published, sum);
    } else {
        check_form(g, s, &blocks, sum);
    }
}

static void check_group(hid_t file, const char *name, summary *sums)
{
    char text[96];
    hid_t group = H5Gopen(file, name, H5P_DEFAULT);
    sb_golden g = sb_golden_load(group);
    snprintf(text, sizeof text, "%s: the generator", name);
    TEST(text);
    EXPECT(sb_golden_as_stated(&g, 'q'));
    EXPECT(sb_golden_as_stated(&g, 'k'));
    snprintf(text, sizeof text, "%s: the authors' mask", name);
    TEST(text);
    int s = sb_field_setting_of(name);
    EXPECT(s >= 0);
    if (s >= 0) {
        sums[s].n_groups++;
        check_forms(&g, name, s, &sums[s]);
    }
    sb_golden_free(&g);
    H5Gclose(group);
}

int main(int argc, char **argv)
{
    enum { N_GROUPS = 56 };
    const char *prefix = argc > 1 ? argv[1] : "";
    summary sums[SB_FIELD_SETTINGS] = {{0}};
    hid_t file = H5Fopen(SB_SOURCE_DIR "/methods/tests/data/field.h5", H5F_ACC_RDONLY, H5P_DEFAULT);
    H5G_info_t info = {0};
    if (file < 0 || H5Gget_info(file, &info) < 0 || info.nlinks != N_GROUPS)
        return 1;
    for (hsize_t i = 0; i < N_GROUPS; i++) {
        char name[64] = "";
        H5Lget_name_by_idx(file, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name,
                           H5P_DEFAULT);
        if (starts_with(name, prefix))
            check_group(file, name, sums);
    }
    H5Fclose(file);
    for (int s = 0; s < SB_FIELD_SETTINGS; s++)
        if (sums[s].n_groups)
            printf("%-22s %2lld groups, %6lld blocks, %9lld tokens: %lld differ\n",
                   sb_field_settings[s].group, (long long)sums[s].n_groups,
                   (long long)sums[s].n_blocks, (long long)sums[s].n_tokens,
                   (long long)sums[s].n_differing);
    return sb_tests_done();
}
