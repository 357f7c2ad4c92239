#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/backend.h"
#include "harness/evaluate.h"
#include "harness/hash.h"
#include "harness/match.h"
#include "harness/mem.h"
#include "methods/kernels/cpu/attend.h"

static char *measure_text(const sb_measure_options *m)
{
    const sb_latency_options *l = &m->latency;
    if (!l->enabled)
        return sb_sprintf("{fidelity: %d, rows: %" PRId64 ", impl_rows: %" PRId64 ", seed: %" PRIu64
                          ", latency: false}",
                          m->fidelity, m->fidelity_rows, m->impl_rows, m->seed);
    return sb_sprintf("{fidelity: %d, rows: %" PRId64 ", impl_rows: %" PRId64 ", seed: %" PRIu64
                      ", latency: {warmup: %" PRId64 ", min_samples: %" PRId64
                      ", min_time: %g, noise: %g, timeout: %g}}",
                      m->fidelity, m->fidelity_rows, m->impl_rows, m->seed, l->warmup,
                      l->min_samples, l->min_time_s, l->noise, l->timeout_s);
}

char *sb_values_text(const sb_method *m, const sb_value *values, const char *sep)
{
    int n = sb_values_format(m, values, sep, NULL, 0);
    char *text = sb_alloc_uninit(n + 1, 1);
    if (text)
        (void)sb_values_format(m, values, sep, text, (size_t)n + 1);
    return text;
}

/* Which of the device's kernels attends is decided by the shape and, in tests, the environment. */
static char *unit_text(const sb_problem *p, const sb_exec *exec)
{
    if (exec->backend == SB_CPU)
        return sb_strdup(sb_cpu_kernel_for(p, SB_DENSE_TILE)->name);
    const char *forced = getenv("STEMBENCH_CUDA_KERNEL");
    return sb_sprintf("\"%s%s%s\"", exec->device, forced ? ", " : "", forced ? forced : "");
}

/* The number of threads decides times on the CPU, and nothing else. */
static const char *threads_text(const sb_sweep *sweep, const sb_exec *exec, char *buf, size_t bytes)
{
    if (!sweep->cfg->measure.latency.enabled || exec->backend != SB_CPU)
        return "any";
    (void)snprintf(buf, bytes, "%d", exec->n_threads);
    return buf;
}

/* Everything that decides a result but the place of the capture. */
static char *identity_text(const sb_sweep *sweep, int64_t shape, const sb_variant *v,
                           const sb_exec *exec, const char *unit, const char *params,
                           const char *target, const char *measure)
{
    char threads[16];
    const sb_shape_cell *s = &sweep->shapes[shape];
    return sb_sprintf("digest: %016" PRIx64 "\nlayer: %" PRId64 "\ntokens: %" PRId64
                      "\ndtype: %s\nbackend: %s\nkernel: %s\nthreads: %s\nmethod: %s\n"
                      "params: \"%s\"\nmatch: \"%s\"\nmeasure: %s\n",
                      sweep->captures[s->capture].digest, s->layer, s->tokens,
                      sb_dtype_name(s->dtype), sb_backend_name(exec->backend), unit,
                      threads_text(sweep, exec, threads, sizeof threads), v->method->name, params,
                      target, measure);
}

static char *target_text(const sb_sweep *sweep, const sb_variant *v)
{
    return v->target >= 0 ? sb_match_text(sweep->cfg, v, "; ") : sb_strdup("none");
}

char *sb_cell_config(const sb_sweep *sweep, int64_t shape, int64_t variant, const sb_exec *exec)
{
    const sb_problem problem = sb_sweep_problem(sweep, shape);
    const sb_variant *v = &sweep->cfg->variants[variant];
    char *unit = unit_text(&problem, exec), *params = sb_values_text(v->method, v->values, "; ");
    char *target = target_text(sweep, v), *measure = measure_text(&sweep->cfg->measure);
    bool all = unit && params && target && measure;
    char *identity =
        all ? identity_text(sweep, shape, v, exec, unit, params, target, measure) : NULL;
    const char *path = sweep->captures[sweep->shapes[shape].capture].path;
    char *text = identity ? sb_sprintf("data: \"%s\"\n%s", path, identity) : NULL;
    sb_free(identity);
    sb_free(measure);
    sb_free(target);
    sb_free(params);
    sb_free(unit);
    return text;
}

/* The keys of one variant on all shapes: its own texts are made once. */
static bool variant_keys(const sb_sweep *sweep, int64_t variant, const sb_exec *const *execs,
                         char *const *units, const char *measure, uint64_t build_id, uint64_t *keys)
{
    const sb_variant *v = &sweep->cfg->variants[variant];
    char *params = sb_values_text(v->method, v->values, "; "), *target = target_text(sweep, v);
    bool all = params && target;
    for (int64_t s = 0; s < sweep->n_shapes && all; s++) {
        char *text = identity_text(sweep, s, v, execs[s], units[s], params, target, measure);
        uint64_t hash = text ? sb_hash64(text, strlen(text), build_id) : 0;
        keys[s * sweep->cfg->n_variants + variant] = hash ? hash : 1;
        all = text != NULL;
        sb_free(text);
    }
    sb_free(target);
    sb_free(params);
    return all;
}

sb_status sb_cell_keys(const sb_sweep *sweep, const sb_exec *const *execs, uint64_t build_id,
                       uint64_t *keys, sb_err *err)
{
    char *measure = measure_text(&sweep->cfg->measure);
    char **units = sb_alloc(sweep->n_shapes, sizeof *units);
    bool all = measure && units;
    for (int64_t s = 0; s < sweep->n_shapes && all; s++) {
        const sb_problem problem = sb_sweep_problem(sweep, s);
        units[s] = unit_text(&problem, execs[s]);
        all = units[s] != NULL;
    }
    for (int64_t v = 0; v < sweep->cfg->n_variants && all; v++)
        all = variant_keys(sweep, v, execs, units, measure, build_id, keys);
    for (int64_t s = 0; units && s < sweep->n_shapes; s++)
        sb_free(units[s]);
    sb_free(units);
    sb_free(measure);
    return all ? SB_OK : sb_no_memory(err, "the cells' keys");
}
