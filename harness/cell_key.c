#include <inttypes.h>
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

/* Everything that decides a result but the place of the capture. */
static char *identity_text(const sb_sweep *sweep, int64_t shape, int64_t variant,
                           const sb_exec *exec)
{
    const sb_shape_cell *s = &sweep->shapes[shape];
    const sb_problem problem = sb_sweep_problem(sweep, shape);
    const sb_variant *v = &sweep->cfg->variants[variant];
    char *measure = measure_text(&sweep->cfg->measure);
    char *params = sb_values_text(v->method, v->values, "; ");
    char *unit = unit_text(&problem, exec);
    char *target = v->target >= 0 ? sb_match_text(sweep->cfg, v, "; ") : sb_strdup("none");
    char *text = NULL;
    if (measure && params && unit && target)
        text = sb_sprintf("digest: %016" PRIx64 "\nlayer: %" PRId64 "\ntokens: %" PRId64
                          "\ndtype: %s\nbackend: %s\nkernel: %s\nthreads: %d\nmethod: %s\n"
                          "params: \"%s\"\nmatch: \"%s\"\nmeasure: %s\n",
                          sweep->captures[s->capture].digest, s->layer, s->tokens,
                          sb_dtype_name(s->dtype), sb_backend_name(exec->backend), unit,
                          exec->n_threads, v->method->name, params, target, measure);
    sb_free(target);
    sb_free(unit);
    sb_free(params);
    sb_free(measure);
    return text;
}

char *sb_cell_config(const sb_sweep *sweep, int64_t shape, int64_t variant, const sb_exec *exec)
{
    char *identity = identity_text(sweep, shape, variant, exec);
    const char *path = sweep->captures[sweep->shapes[shape].capture].path;
    char *text = identity ? sb_sprintf("data: \"%s\"\n%s", path, identity) : NULL;
    sb_free(identity);
    return text;
}

uint64_t sb_cell_key(const sb_sweep *sweep, int64_t shape, int64_t variant, const sb_exec *exec,
                     uint64_t build_id, sb_err *err)
{
    char *identity = identity_text(sweep, shape, variant, exec);
    if (!identity) {
        (void)sb_no_memory(err, "a cell's key");
        return 0;
    }
    uint64_t hash = sb_hash64(identity, strlen(identity), build_id);
    sb_free(identity);
    return hash ? hash : 1;
}
