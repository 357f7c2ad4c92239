#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/cli.h"
#include "harness/config.h"
#include "harness/dataset.h"
#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/synth.h"

/* ---- options ------------------------------------------------------------------------------- */

static sb_status need(bool given, const char *option, sb_err *err)
{
    return given ? SB_OK : sb_fail(err, SB_USAGE, "missing --%s; see --help", option);
}

static sb_status parse_dtype(const char *name, sb_dtype *dtype, sb_err *err)
{
    *dtype = SB_BF16;
    if (name && !sb_dtype_parse(name, dtype))
        return sb_fail(err, SB_USAGE, "dtype is '%.40s'; expected f32, bf16 or f16", name);
    return SB_OK;
}

static sb_status open_problem(const sb_args *args, const sb_capture *cap, sb_problem *p,
                              sb_err *err)
{
    const sb_layer_info *layer = sb_capture_layer(cap, args->layer);
    if (!layer)
        return sb_fail(err, SB_USAGE, "layer %" PRId64 " is not in %s; see: stembench inspect",
                       args->layer, cap->path);
    int64_t tokens = args->tokens > 0 ? args->tokens : cap->tokens;
    if (tokens > cap->tokens)
        return sb_fail(err, SB_USAGE, "--tokens is %" PRId64 "; expected at most %" PRId64, tokens,
                       cap->tokens);
    sb_dtype dtype;
    sb_status st = parse_dtype(args->dtype, &dtype, err);
    if (st == SB_OK)
        *p = sb_capture_problem(cap, layer, tokens, dtype);
    return st;
}

/* ---- inspect ------------------------------------------------------------------------------- */

static sb_status print_stats(const sb_capture *cap, const sb_layer_info *layer, sb_err *err)
{
    for (const char *which = "qkv"; *which; which++) {
        sb_tensor_stats s;
        sb_status st = sb_capture_stats(cap, layer->index, *which, &s, err);
        if (st != SB_OK)
            return st;
        printf("    %c  min %9.3f  max %9.3f  mean %8.4f  std %7.4f  token norm p50 %8.3f  p99 "
               "%8.3f\n",
               *which, s.min, s.max, s.mean, s.std, s.norm_p50, s.norm_p99);
    }
    return SB_OK;
}

/* PREFIX.q, PREFIX.k and PREFIX.v: one layer for programs that do not read HDF5. */
static sb_status write_raw(const sb_args *args, const sb_capture *cap, sb_err *err)
{
    sb_status st = SB_OK;
    sb_problem p;
    sb_tensors x = {0};
    char *path = NULL;
    SB_TRY(need(args->layer >= 0, "layer", err));
    SB_TRY(open_problem(args, cap, &p, err));
    SB_TRY(sb_capture_read(cap, p.layer, p.kv_len, p.dtype, &x, err));
    const int64_t q = p.n_heads * p.dim, k = p.n_kv_heads * p.dim, v = p.n_kv_heads * p.dim_v;
    const struct {
        const char *name;
        const void *data;
        int64_t per_token;
    } tensors[] = {{"q", x.q, q}, {"k", x.k, k}, {"v", x.v, v}};
    for (int i = 0; i < 3; i++) {
        size_t bytes = (size_t)(tensors[i].per_token * p.kv_len) * sb_dtype_bytes(p.dtype);
        sb_free(path);
        path = sb_sprintf("%s.%s", args->out, tensors[i].name);
        SB_CHECK(path, err, SB_NO_MEMORY, "out of memory for a path");
        SB_TRY(sb_fs_write(path, tensors[i].data, bytes, err));
    }
    printf("%s.q, .k, .v: layer %" PRId64 ", %" PRId64 " tokens, %" PRId64 " query and %" PRId64
           " kv heads, d %" PRId64 ", dv %" PRId64 ", %s\n",
           args->out, p.layer, p.kv_len, p.n_heads, p.n_kv_heads, p.dim, p.dim_v,
           sb_dtype_name(p.dtype));
out:
    sb_free(path);
    sb_tensors_free(&x);
    return st;
}

sb_status sb_cmd_inspect(const sb_args *args, sb_err *err)
{
    sb_capture cap;
    sb_status st = sb_capture_open(args->operands[0], &cap, err);
    if (st != SB_OK)
        return st;
    if (args->out) {
        st = write_raw(args, &cap, err);
        goto out;
    }
    SB_TRY(sb_capture_digest(&cap, err));
    printf("%s\n  model   %s\n  source  %s\n  rope    %s\n  tokens  %" PRId64
           "\n  scale   %.9g\n  digest  %016" PRIx64 "\n",
           cap.path, cap.model, cap.source, cap.rope, cap.tokens, cap.softmax_scale, cap.digest);
    for (int64_t i = 0; i < cap.n_layers; i++) {
        const sb_layer_info *l = &cap.layers[i];
        printf("  layer %" PRId64 ": %" PRId64 " query heads, %" PRId64 " kv heads, d %" PRId64
               ", dv %" PRId64 ", %s\n",
               l->index, l->n_heads, l->n_kv_heads, l->dim, l->dim_v, sb_dtype_name(l->dtype));
        SB_TRY(print_stats(&cap, l, err));
    }
out:
    sb_capture_close(&cap);
    return st;
}

/* ---- mask ---------------------------------------------------------------------------------- */

static sb_status write_mask(const sb_args *args, const sb_capture *cap, const sb_problem *p,
                            const sb_method *m, const sb_value *values, const sb_pattern *pat,
                            sb_err *err)
{
    sb_status st = SB_OK;
    char params[1024];
    char *attributes[12] = {0};
    int64_t n = 0;
    sb_pattern_stats s = sb_pattern_measure(p, pat);
    (void)sb_values_format(m, values, " ", params, sizeof params);
    attributes[n++] = sb_sprintf("capture=%s", cap->path);
    attributes[n++] = sb_sprintf("model=%s", cap->model);
    attributes[n++] = sb_sprintf("layer=%" PRId64, p->layer);
    attributes[n++] = sb_sprintf("tokens=%" PRId64, p->kv_len);
    attributes[n++] = sb_sprintf("heads=%" PRId64, p->n_heads);
    attributes[n++] = sb_sprintf("kv_heads=%" PRId64, p->n_kv_heads);
    attributes[n++] = sb_sprintf("dtype=%s", sb_dtype_name(p->dtype));
    attributes[n++] = sb_sprintf("method=%s", m->name);
    attributes[n++] = sb_sprintf("params=%s", params);
    attributes[n++] = sb_sprintf("block=%" PRId64, pat->block);
    attributes[n++] = sb_sprintf("density=%.17g", s.density);
    attributes[n++] = sb_sprintf("mask_hash=%016" PRIx64, sb_pattern_hash(pat));
    for (int64_t i = 0; i < n; i++)
        SB_CHECK(attributes[i], err, SB_NO_MEMORY, "out of memory for attributes");
    SB_TRY(sb_mask_write(args->out, pat->row_ptr, p->n_heads * pat->n_rows, pat->col, pat->tokens,
                         (const char *const *)attributes, n, err));
    printf("%s: %s, layer %" PRId64 ", %" PRId64 " tokens: %s%" PRId64 " of %" PRId64
           " causal blocks, density %.4f, hash %016" PRIx64 "\n",
           args->out, m->name, p->layer, p->kv_len, pat->tokens ? "tokens of " : "", s.blocks,
           s.causal_blocks, s.density, sb_pattern_hash(pat));
out:
    for (int64_t i = 0; i < n; i++)
        sb_free(attributes[i]);
    return st;
}

sb_status sb_cmd_mask(const sb_args *args, sb_err *err)
{
    sb_status st = SB_OK;
    sb_capture cap = {0};
    sb_problem p;
    sb_value values[SB_MAX_PARAMS] = {0};
    struct sb_arena *arena = NULL;
    sb_tensors tensors = {0};
    sb_plan *plan = NULL;
    sb_pattern pat = {0};
    sb_exec exec = {.backend = SB_CPU, .n_threads = sb_threads_of(args)};
    SB_TRY(sb_limit_isa(args, err));
    SB_TRY(need(args->layer >= 0, "layer", err));
    SB_TRY(need(args->method != NULL, "method", err));
    SB_TRY(need(args->out != NULL, "out", err));
    const sb_method *m = sb_method_find(args->method);
    SB_CHECK(m, err, SB_USAGE, "no method '%.60s'; see: stembench methods", args->method);
    SB_CHECK(m->select, err, SB_USAGE, "method %s selects no pattern: it keeps every block",
             m->name);
    SB_TRY(sb_values_from_sets(m, args->sets, args->n_sets, values, &arena, err));
    SB_TRY(sb_capture_open(args->operands[0], &cap, err));
    SB_TRY(open_problem(args, &cap, &p, err));
    SB_TRY(sb_capture_read(&cap, p.layer, p.kv_len, p.dtype, &tensors, err));
    sb_inputs in = {tensors.q, tensors.k, tensors.v};
    SB_TRY(sb_plan_create(m, &p, &exec, values, &plan, err));
    SB_TRY(sb_pattern_alloc(&p, plan->block, plan->pattern_capacity, &pat, err));
    if (plan->tokens)
        SB_TRY(sb_pattern_add_tokens(&pat, err));
    SB_TRY(sb_plan_select(plan, &in, &pat, err));
    SB_TRY(sb_pattern_check(&p, &pat, err));
    SB_TRY(write_mask(args, &cap, &p, m, values, &pat, err));
out:
    sb_pattern_free(&pat);
    sb_plan_destroy(plan);
    sb_tensors_free(&tensors);
    sb_capture_close(&cap);
    sb_arena_free(arena);
    return st;
}

/* ---- synth --------------------------------------------------------------------------------- */

static void override(int64_t *field, int64_t given)
{
    if (given >= 0)
        *field = given;
}

sb_status sb_cmd_synth(const sb_args *args, sb_err *err)
{
    sb_synth_options o = sb_synth_defaults();
    sb_status st = need(args->out != NULL, "out", err);
    if (st != SB_OK)
        return st;
    override(&o.tokens, args->tokens);
    override(&o.heads, args->heads);
    override(&o.kv_heads, args->kv_heads);
    override(&o.dim, args->dim);
    override(&o.dim_v, args->dim_v >= 0 ? args->dim_v : args->dim);
    override(&o.layers, args->layers);
    override(&o.sinks, args->sinks);
    override(&o.needles, args->needles);
    override(&o.compress, args->compress);
    o.seed = args->seed >= 0 ? (uint64_t)args->seed : o.seed;
    SB_TRY(parse_dtype(args->dtype, &o.dtype, err));
    SB_TRY(sb_synth_check(&o, err));
    SB_TRY(sb_synth(args->out, &o, err));
    printf("%s: %" PRId64 " layers, %" PRId64 " tokens, %" PRId64 " query and %" PRId64
           " kv heads, d %" PRId64 ", seed %" PRIu64 "\n",
           args->out, o.layers, o.tokens, o.heads, o.kv_heads, o.dim, o.seed);
    for (int64_t i = 0; i < o.needles; i++) {
        sb_needle n = sb_synth_needle(&o, i);
        printf("  needle %" PRId64 ": queries %" PRId64 " to %" PRId64 " attend to key %" PRId64
               "\n",
               i, n.q0, n.q1 - 1, n.key);
    }
out:
    return st;
}
