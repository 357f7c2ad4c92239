#include "harness/synth.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "harness/capture_format.h"
#include "harness/dataset.h"
#include "harness/mem.h"

/* Channels of Q and K: one for the sinks, two for each of n_waves frequencies, which carry the
 * noise too, then one for each needle. A wave pair (cos wi, sin wi) has the dot product cos w(i -
 * j), and the mean of those over normally distributed w is the Gaussian exp(-(i - j)^2 window^-2 /
 * 2) (random Fourier features, Rahimi and Recht 2007). */
static int64_t n_waves(const sb_synth_options *o)
{
    return o->dim / 4;
}

static int64_t max_needles(const sb_synth_options *o)
{
    return o->dim - 1 - 2 * n_waves(o);
}

sb_synth_options sb_synth_defaults(void)
{
    return (sb_synth_options){.tokens = 8192,
                              .heads = 8,
                              .kv_heads = 2,
                              .dim = 64,
                              .dim_v = 64,
                              .layers = 2,
                              .dtype = SB_BF16,
                              .seed = 1,
                              .compress = 4,
                              .sinks = 4,
                              .sink_strength = 11,
                              .local_window = 48,
                              .local_strength = 8,
                              .needles = 8,
                              .needle_strength = 16,
                              .noise = 1};
}

sb_status sb_synth_check(const sb_synth_options *o, sb_err *err)
{
    const struct {
        const char *name;
        int64_t n, from, to;
    } counts[] = {
        {"tokens", o->tokens, 1, SB_MAX_TOKENS}, {"heads", o->heads, 1, SB_MAX_HEADS},
        {"kv_heads", o->kv_heads, 1, o->heads},  {"dim", o->dim, 4, SB_MAX_DIM},
        {"dim_v", o->dim_v, 1, SB_MAX_DIM},      {"layers", o->layers, 1, SB_MAX_LAYERS},
        {"sinks", o->sinks, 0, o->tokens},       {"needles", o->needles, 0, max_needles(o)},
        {"compress", o->compress, 0, 9},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i].n < counts[i].from || counts[i].n > counts[i].to)
            return sb_fail(err, SB_USAGE, "%s is %" PRId64 "; expected %" PRId64 " to %" PRId64,
                           counts[i].name, counts[i].n, counts[i].from, counts[i].to);
    const struct {
        const char *name;
        double x, from, to;
    } reals[] = {{"sink_strength", o->sink_strength, 0, 1000},
                 {"local_window", o->local_window, 0.5, SB_MAX_TOKENS},
                 {"local_strength", o->local_strength, 0, 1000},
                 {"needle_strength", o->needle_strength, 0, 1000},
                 {"noise", o->noise, 0, 100}};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++)
        if (!(reals[i].x >= reals[i].from && reals[i].x <= reals[i].to))
            return sb_fail(err, SB_USAGE, "%s is %g; expected %g to %g", reals[i].name, reals[i].x,
                           reals[i].from, reals[i].to);
    if (o->heads % o->kv_heads != 0)
        return sb_fail(err, SB_USAGE,
                       "kv_heads is %" PRId64 "; expected a divisor of heads, %" PRId64,
                       o->kv_heads, o->heads);
    if (o->needles > 0 && (o->tokens / 2 < 2 * o->needles || o->tokens / 2 <= o->sinks))
        return sb_fail(err, SB_USAGE,
                       "tokens is %" PRId64
                       "; expected more than twice the sinks and at least four "
                       "times the needles",
                       o->tokens);
    return SB_OK;
}

/* SplitMix64's output function (Steele, Lea and Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Names one sequence of random numbers: what, in which layer and head. */
enum purpose { NEEDLES, WAVES, NOISE_Q, NOISE_K, VALUES };

static uint64_t stream(const sb_synth_options *o, enum purpose purpose, int64_t layer, int64_t head)
{
    return mix(mix(mix(o->seed) + (uint64_t)purpose) + (uint64_t)(layer * SB_MAX_HEADS + head));
}

/* Element i, uniform in [-1, 1). */
static double uniform(uint64_t key, int64_t i)
{
    return (double)(mix(key + (uint64_t)i) >> 11) * 0x1p-52 - 1;
}

/* Element i, near enough normal, unit variance: the sum of four uniforms. */
static double normal(uint64_t key, int64_t i)
{
    double sum = 0;
    for (int64_t j = 0; j < 4; j++)
        sum += uniform(key, 4 * i + j);
    return sum * 0.8660254037844386;
}

/* Keys lie in the first half; each needle has its own part of the second half, so that no query has
 * two. */
sb_needle sb_synth_needle(const sb_synth_options *o, int64_t i)
{
    uint64_t key = stream(o, NEEDLES, 0, 0);
    double place = 0.5 + 0.5 * uniform(key, 2 * i), start = 0.5 + 0.5 * uniform(key, 2 * i + 1);
    int64_t half = o->tokens / 2, first = o->sinks < half / 8 ? half / 8 : o->sinks;
    int64_t part = half / o->needles, length = sb_ceil_div(part, 4);
    sb_needle needle = {.key = first + (int64_t)(place * (double)(half - first))};
    needle.q0 = half + i * part + (int64_t)(start * (double)(part - length));
    needle.q1 = needle.q0 + length;
    return needle;
}

struct maker {
    const sb_synth_options *o;
    double root_scale; /* dim^(1/4): a channel of sqrt(s) times it on both sides has the logit s */
    float *q, *k, *v;
    sb_needle *needles;
};

/* Where on the waves position t stands, which Q and K share, and noise. */
static void add_background(const struct maker *m, uint64_t noise, uint64_t waves, int64_t t,
                           float *row)
{
    const sb_synth_options *o = m->o;
    int64_t n = n_waves(o);
    double amplitude = sqrt(o->local_strength / (double)n) * m->root_scale;
    /* Variance v in each of 2n channels on both sides makes logits of variance v^2 2n / dim. */
    double spread = sqrt(3 * o->noise * sqrt((double)o->dim / (double)(2 * n)));
    for (int64_t f = 0; f < n; f++) {
        double phase = normal(waves, f) / o->local_window * (double)t;
        double x = spread * uniform(noise, t * o->dim + 2 * f);
        double y = spread * uniform(noise, t * o->dim + 2 * f + 1);
        row[1 + 2 * f] = (float)(amplitude * cos(phase) + x);
        row[2 + 2 * f] = (float)(amplitude * sin(phase) + y);
    }
}

/* A sink's or needle's key is nothing else, so its logit is just its strength. */
static void make_key(const struct maker *m, uint64_t noise, uint64_t waves, int64_t t, float *row)
{
    const sb_synth_options *o = m->o;
    bool planted = t < o->sinks;
    memset(row, 0, (size_t)o->dim * sizeof *row);
    if (planted)
        row[0] = (float)(sqrt(o->sink_strength) * m->root_scale);
    for (int64_t i = 0; i < o->needles; i++)
        if (t == m->needles[i].key) {
            row[1 + 2 * n_waves(o) + i] = (float)(sqrt(o->needle_strength) * m->root_scale);
            planted = true;
        }
    if (!planted)
        add_background(m, noise, waves, t, row);
}

static void make_query(const struct maker *m, uint64_t noise, uint64_t waves, int64_t t, float *row)
{
    const sb_synth_options *o = m->o;
    memset(row, 0, (size_t)o->dim * sizeof *row);
    add_background(m, noise, waves, t, row);
    row[0] = (float)(sqrt(o->sink_strength) * m->root_scale);
    for (int64_t i = 0; i < o->needles; i++)
        if (t >= m->needles[i].q0 && t < m->needles[i].q1)
            row[1 + 2 * n_waves(o) + i] = (float)(sqrt(o->needle_strength) * m->root_scale);
}

/* Values are noise; those of the sinks are small, as in trained models. */
static void make_value(const struct maker *m, uint64_t key, int64_t t, float *row)
{
    double spread = sqrt(3) * (t < m->o->sinks ? 0.1 : 1);
    for (int64_t c = 0; c < m->o->dim_v; c++)
        row[c] = (float)(spread * uniform(key, t * m->o->dim_v + c));
}

static sb_status make_layer(void *user, int64_t layer, sb_layer_data *out, sb_err *err)
{
    struct maker *m = user;
    const sb_synth_options *o = m->o;
    int64_t group = o->heads / o->kv_heads;
    (void)err;
#pragma omp parallel for schedule(dynamic, 1024)
    for (int64_t i = 0; i < o->heads * o->tokens; i++) {
        int64_t h = i / o->tokens, t = i % o->tokens;
        make_query(m, stream(o, NOISE_Q, layer, h), stream(o, WAVES, layer, h / group), t,
                   m->q + i * o->dim);
    }
#pragma omp parallel for schedule(dynamic, 1024)
    for (int64_t i = 0; i < o->kv_heads * o->tokens; i++) {
        int64_t h = i / o->tokens, t = i % o->tokens;
        make_key(m, stream(o, NOISE_K, layer, h), stream(o, WAVES, layer, h), t, m->k + i * o->dim);
        make_value(m, stream(o, VALUES, layer, h), t, m->v + i * o->dim_v);
    }
    *out = (sb_layer_data){.info = {.index = layer,
                                    .n_heads = o->heads,
                                    .n_kv_heads = o->kv_heads,
                                    .tokens = o->tokens,
                                    .dim = o->dim,
                                    .dim_v = o->dim_v,
                                    .dtype = o->dtype},
                           .q = m->q,
                           .k = m->k,
                           .v = m->v};
    return SB_OK;
}

static char *describe(const struct maker *m)
{
    const sb_synth_options *o = m->o;
    char *text = sb_sprintf("synthetic, seed %" PRIu64 "; the first %" PRId64
                            " tokens are sinks; %" PRId64 " needles (queries -> key)",
                            o->seed, o->sinks, o->needles);
    for (int64_t i = 0; i < o->needles && text; i++) {
        const sb_needle *n = &m->needles[i];
        char *longer = sb_sprintf("%s%s %" PRId64 "..%" PRId64 " -> %" PRId64, text,
                                  i == 0 ? ":" : ",", n->q0, n->q1 - 1, n->key);
        sb_free(text);
        text = longer;
    }
    return text;
}

sb_status sb_synth(const char *path, const sb_synth_options *o, sb_err *err)
{
    sb_status st = SB_OK;
    char *source = NULL;
    struct maker m = {.o = o};
    SB_TRY(sb_synth_check(o, err));
    m.root_scale = sqrt(sqrt((double)o->dim));
    m.q = sb_alloc_uninit(o->heads * o->tokens * o->dim, sizeof *m.q);
    m.k = sb_alloc_uninit(o->kv_heads * o->tokens * o->dim, sizeof *m.k);
    m.v = sb_alloc_uninit(o->kv_heads * o->tokens * o->dim_v, sizeof *m.v);
    m.needles = sb_alloc(o->needles, sizeof *m.needles);
    for (int64_t i = 0; i < o->needles && m.needles; i++)
        m.needles[i] = sb_synth_needle(o, i);
    source = m.needles ? describe(&m) : NULL;
    if (!m.q || !m.k || !m.v || !source) {
        st = sb_no_memory(err, "a synthetic layer");
        goto out;
    }
    sb_capture_meta meta = {.model = "synthetic",
                            .source = source,
                            .rope = "none",
                            .tokens = o->tokens,
                            .softmax_scale = 1 / sqrt((double)o->dim),
                            .compress = (unsigned)o->compress};
    SB_TRY(sb_capture_write(path, &meta, o->layers, make_layer, &m, err));
out:
    sb_free(source);
    sb_free(m.needles);
    sb_free(m.v);
    sb_free(m.k);
    sb_free(m.q);
    return st;
}
