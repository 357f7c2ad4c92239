#include "methods/tests/field_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* @name stands for the value of that attribute. */
const struct sb_field_setting sb_field_settings[SB_FIELD_SETTINGS] = {
    {"streaming", "streaming", "block=@block sink=@sink window=@window last=@tri"},
    {"minference_vs", "minference", "variant=vertical_slash vertical=@vertical slash=@slash"},
    {"minference_block", "minference", "variant=block_sparse block=@block top_k=@top_k"},
    {"flexprefill", "flexprefill", "block=@block gamma=@gamma tau=@tau min_budget=@min_budget"},
    {"xattention", "xattention", "block=@block stride=@stride threshold=@threshold chunk=@chunk"},
    {"sparge", "sparge", "block=@block block_q=@block_q block_k=@block_k similarity=@similarity"},
    {"flashprefill", "flashprefill",
     "block=@block alpha=@alpha sink=@sink window=@window last_full=@last_full"},
    {"cosa", "cosa", "block=@block stride=@stride top_p=@top_p"},
    {"vecattention_kernel", "vecattention", "variant=kernel threshold=@threshold group=@group"},
    {"vecattention_reference", "vecattention",
     "variant=reference threshold=@threshold band=@block_k"},
};

int sb_field_setting_of(const char *group_name)
{
    for (int s = 0; s < SB_FIELD_SETTINGS; s++)
        if (strncmp(group_name, sb_field_settings[s].group, strlen(sb_field_settings[s].group)) ==
            0)
            return s;
    return -1;
}

void sb_field_text(hid_t group, int setting, char *text, size_t bytes)
{
    size_t used = 0;
    for (const char *from = sb_field_settings[setting].text; *from && used + 1 < bytes;) {
        if (*from != '@') {
            text[used++] = *from++;
            continue;
        }
        char name[32];
        size_t n = strcspn(++from, " ");
        snprintf(name, sizeof name, "%.*s", (int)n, from);
        used += (size_t)snprintf(text + used, bytes - used, "%.17g", sb_golden_real(group, name));
        from += n;
    }
    text[used] = '\0';
    if (strcmp(sb_field_settings[setting].method, "sparge") == 0) {
        double cdf = sb_golden_real(group, "cdf"), top = sb_golden_real(group, "top");
        snprintf(text + used, bytes - used, " variant=%s keep=%.17g", cdf > 0 ? "cdf" : "top",
                 cdf > 0 ? cdf : top);
    }
}

/* ---- the oracle by a method's values ----------------------------------------------------- */

typedef struct given {
    const sb_method *m;
    const sb_value *values;
} given;

static int64_t whole(const given *g, const char *name)
{
    return sb_int_of(g->m, g->values, name);
}

static double real(const given *g, const char *name)
{
    return sb_real_of(g->m, g->values, name);
}

static sb_field_choice choose_minference(const given *g, const sb_oracle *o)
{
    enum { VERTICAL_SLASH, BLOCK_SPARSE };
    if (whole(g, "variant") == BLOCK_SPARSE)
        return sb_field_block_sparse(o, whole(g, "block"), whole(g, "top_k"));
    return sb_field_vertical_slash(o, whole(g, "block"), whole(g, "vertical"), whole(g, "slash"),
                                   whole(g, "form") == 0);
}

static sb_field_choice choose_sparge(const given *g, const sb_oracle *o)
{
    enum { CDF, TOP };
    bool by_cdf = whole(g, "variant") == CDF;
    return sb_field_sparge(o, &(sb_field_sparge_rule){.block = whole(g, "block"),
                                                      .block_q = whole(g, "block_q"),
                                                      .block_k = whole(g, "block_k"),
                                                      .similarity = real(g, "similarity"),
                                                      .cdf = by_cdf ? real(g, "keep") : 0,
                                                      .top = by_cdf ? 0 : real(g, "keep")});
}

/* In a form of blocks the tokens only tell which. */
static sb_field_choice choose_vecattention(const given *g, const sb_oracle *o)
{
    enum { KERNEL, REFERENCE };
    double threshold = real(g, "threshold");
    sb_field_choice c = whole(g, "variant") == REFERENCE
                            ? sb_field_vec_reference(o, threshold, whole(g, "band"))
                            : sb_field_vec_kernel(o, threshold, whole(g, "group"));
    if (whole(g, "form") != 0) {
        free(c.tokens);
        c.tokens = NULL;
    }
    return c;
}

/* As published: a power of two of at least 2048 tokens, and at most 2^28 scores of a chunk. */
static int64_t chunk_of(const given *g, const sb_oracle *o)
{
    int64_t p = 1;
    if (sb_value_of(g->m, g->values, "chunk")->state != SB_VALUE_AUTO)
        return whole(g, "chunk");
    while (p < o->kv_len)
        p *= 2;
    int64_t chunk = p > 2048 ? p : 2048;
    chunk = chunk < (1 << 28) / p ? chunk : (1 << 28) / p;
    return chunk > 2048 ? chunk : 2048;
}

sb_field_choice sb_field_choose(const sb_method *m, const sb_value *values, const sb_oracle *o)
{
    const given g = {m, values};
    if (strcmp(m->name, "minference") == 0)
        return choose_minference(&g, o);
    if (strcmp(m->name, "sparge") == 0)
        return choose_sparge(&g, o);
    if (strcmp(m->name, "vecattention") == 0)
        return choose_vecattention(&g, o);
    int64_t block = whole(&g, "block");
    if (strcmp(m->name, "streaming") == 0)
        return sb_field_streaming(o, block, whole(&g, "sink"), whole(&g, "window"),
                                  whole(&g, "last"));
    if (strcmp(m->name, "flexprefill") == 0)
        return sb_field_flexprefill(o, block, real(&g, "gamma"), real(&g, "tau"),
                                    whole(&g, "min_budget"));
    if (strcmp(m->name, "xattention") == 0)
        return sb_field_xattention(o, block, whole(&g, "stride"), real(&g, "threshold"),
                                   chunk_of(&g, o));
    if (strcmp(m->name, "cosa") == 0)
        return sb_field_cosa(o, block, whole(&g, "stride"), real(&g, "top_p"));
    if (strcmp(m->name, "flashprefill") == 0)
        return sb_field_flashprefill(o, block, real(&g, "alpha"), whole(&g, "sink"),
                                     whole(&g, "window"), whole(&g, "last_full"));
    abort();
}

/* ---- comparison -------------------------------------------------------------------------- */

/* Whether list `at` .. of a pattern is list i of a choice. */
static bool same_list(const sb_pattern *pat, int64_t list, const sb_field_choice *c, int64_t i)
{
    int64_t at = pat->row_ptr[list], end = pat->row_ptr[list + 1];
    if (!c->tokens != !pat->tokens)
        return false;
    for (int64_t J = 0; J < c->n_rows; J++) {
        bool kept = at < end && pat->col[at] == J;
        if (kept != c->keep[i * c->n_rows + J])
            return false;
        for (int64_t j = J * c->block; kept && c->tokens && j < (J + 1) * c->block; j++) {
            bool token = pat->tokens[at] >> (j - J * c->block) & 1;
            if (token != (j < c->n_tokens && c->tokens[i * c->n_tokens + j]))
                return false;
        }
        at += kept;
    }
    return at == end;
}

void sb_field_compare(const sb_pattern *pat, int64_t b, const sb_field_choice *c, double rounding,
                      sb_field_tally *tally)
{
    for (int64_t i = 0; i < c->n_lists; i++) {
        int64_t list = sb_pattern_row(pat, b, i / c->n_rows, i % c->n_rows);
        bool same = pat->block == c->block && same_list(pat, list, c, i);
        tally->n_lists++;
        tally->n_differing += !same;
        tally->n_wrong += !same && !(c->margin[i] <= rounding);
    }
}
