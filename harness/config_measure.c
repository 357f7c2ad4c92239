#include "harness/config_measure.h"

/* Every number of `measure:` as a row of a parameter table, whose parser checks it. */
static const sb_param rows_param = {.name = "rows", .type = SB_INT, .min = 1, .max = 1e9};
static const sb_param impl_rows_param = {.name = "impl_rows", .type = SB_INT, .min = 1, .max = 1e9};
static const sb_param seed_param = {.name = "seed", .type = SB_INT, .min = 0, .max = 0x1p53};
static const sb_param warmup_param = {.name = "warmup", .type = SB_INT, .min = 0, .max = 1e6};
static const sb_param min_samples_param = {
    .name = "min_samples", .type = SB_INT, .min = 1, .max = 1e6};
static const sb_param min_time_param = {.name = "min_time", .type = SB_REAL, .min = 0, .max = 3600};
static const sb_param noise_param = {
    .name = "noise", .type = SB_REAL, .min = 0, .min_open = true, .max = 1};
static const sb_param timeout_param = {
    .name = "timeout", .type = SB_REAL, .min = 0, .min_open = true, .max = 86400};

static sb_status read_number(const sb_scope *s, const sb_param *param, const sb_node *node,
                             double *x, sb_err *err)
{
    sb_value value;
    if (!node)
        return SB_OK;
    sb_status st = sb_axis_read_one(s, param, node, &value, err);
    if (st == SB_OK)
        *x = value.num;
    return st;
}

static sb_status read_count(const sb_scope *s, const sb_param *param, const sb_node *node,
                            int64_t *n, sb_err *err)
{
    double x = (double)*n;
    sb_status st = read_number(s, param, node, &x, err);
    *n = (int64_t)x;
    return st;
}

static sb_status wrong_kind(const char *name, const sb_node *node, sb_err *err)
{
    char is[80];
    return sb_node_fail(node, err, "%s is %s; expected true, false or a mapping", name,
                        sb_node_describe(node, is, sizeof is));
}

static sb_status read_fidelity(const sb_scope *s, const sb_node *node, sb_measure_options *m,
                               sb_err *err)
{
    enum { ROWS, IMPL_ROWS, SEED, N };
    static const char *const names[N] = {"rows", "impl_rows", "seed"};
    const sb_node *found[N];
    sb_status st = SB_OK;
    int64_t seed = (int64_t)m->seed;
    if (sb_node_bool(node, &m->fidelity))
        return SB_OK;
    if (node->kind != SB_NODE_MAP)
        return wrong_kind("fidelity", node, err);
    m->fidelity = true;
    SB_TRY(sb_node_fields(node, "fidelity", names, N, found, err));
    if (found[ROWS] && !sb_node_is(found[ROWS], "all"))
        SB_TRY(read_count(s, &rows_param, found[ROWS], &m->fidelity_rows, err));
    SB_TRY(read_count(s, &impl_rows_param, found[IMPL_ROWS], &m->impl_rows, err));
    SB_TRY(read_count(s, &seed_param, found[SEED], &seed, err));
    m->seed = (uint64_t)seed;
out:
    return st;
}

static sb_status read_latency(const sb_scope *s, const sb_node *node, sb_latency_options *l,
                              sb_err *err)
{
    enum { WARMUP, MIN_SAMPLES, MIN_TIME, NOISE, TIMEOUT, N };
    static const char *const names[N] = {"warmup", "min_samples", "min_time", "noise", "timeout"};
    const sb_node *found[N];
    sb_status st = SB_OK;
    if (sb_node_bool(node, &l->enabled))
        return SB_OK;
    if (node->kind != SB_NODE_MAP)
        return wrong_kind("latency", node, err);
    l->enabled = true;
    SB_TRY(sb_node_fields(node, "latency", names, N, found, err));
    SB_TRY(read_count(s, &warmup_param, found[WARMUP], &l->warmup, err));
    SB_TRY(read_count(s, &min_samples_param, found[MIN_SAMPLES], &l->min_samples, err));
    SB_TRY(read_number(s, &min_time_param, found[MIN_TIME], &l->min_time_s, err));
    SB_TRY(read_number(s, &noise_param, found[NOISE], &l->noise, err));
    SB_TRY(read_number(s, &timeout_param, found[TIMEOUT], &l->timeout_s, err));
    if (l->timeout_s < l->min_time_s)
        return sb_node_fail(found[TIMEOUT] ? found[TIMEOUT] : found[MIN_TIME], err,
                            "timeout is %.12g and min_time %.12g; expected timeout >= min_time",
                            l->timeout_s, l->min_time_s);
out:
    return st;
}

sb_status sb_measure_read(const sb_scope *scope, const sb_node *node, sb_measure_options *m,
                          sb_err *err)
{
    enum { FIDELITY, LATENCY, N };
    static const char *const names[N] = {"fidelity", "latency"};
    const sb_node *found[N];
    sb_status st = SB_OK;
    *m = (sb_measure_options){.fidelity = true, .impl_rows = 64, .seed = 1};
    m->latency = (sb_latency_options){true, 3, 10, 0.5, 0.005, 15};
    if (!node)
        return SB_OK;
    SB_TRY(sb_node_fields(node, "measure", names, N, found, err));
    if (found[FIDELITY])
        SB_TRY(read_fidelity(scope, found[FIDELITY], m, err));
    if (found[LATENCY])
        SB_TRY(read_latency(scope, found[LATENCY], &m->latency, err));
out:
    return st;
}
