#include "harness/timing.h"

#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/hash.h"
#include "harness/mem.h"

static const double min_sample_ms = 1;
static const int64_t max_samples = 100000;

double sb_now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double sb_median(double *x, int64_t n)
{
    if (n == 0)
        return NAN;
    qsort(x, (size_t)n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

void sb_median_interval(const double *sorted, int64_t n, double *lo, double *hi)
{
    if (n == 0) {
        *lo = *hi = NAN;
        return;
    }
    /* Outside [x_r, x_{n+1-r}] lies the median with probability 2 P(Binomial(n, 1/2) < r). */
    double log_term = -(double)n * log(2.0), below = exp(log_term);
    int64_t r = 0;
    while (r + 1 <= n / 2 && 2 * below <= 0.05) {
        r++;
        log_term += log((double)(n - r + 1) / (double)r);
        below += exp(log_term);
    }
    *lo = sorted[r > 0 ? r - 1 : 0];
    *hi = sorted[r > 0 ? n - r : n - 1];
}

bool sb_pin_threads(int n_threads)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < n_threads)
        return false;
    int failed = 0;
#pragma omp parallel num_threads(n_threads) reduction(+ : failed)
    {
        int skip = omp_get_thread_num();
        size_t core = 0;
        while (!CPU_ISSET(core, &allowed) || skip-- > 0)
            core++;
        cpu_set_t own;
        CPU_ZERO(&own);
        CPU_SET(core, &own);
        failed += sched_setaffinity(0, sizeof own, &own) != 0;
    }
    return failed == 0;
}

const char *sb_stop_name(sb_stop stop)
{
    static const char *const names[] = {"noise", "plateau", "timeout", "throttled", "failed"};
    return names[stop];
}

void sb_contender_free_samples(sb_contender *c)
{
    sb_free(c->select_ms);
    sb_free(c->attend_ms);
    sb_free(c->total_ms);
    sb_free(c->sm_mhz);
    sb_free(c->watts);
    sb_free(c->celsius);
    sb_free(c->noise);
    sb_free(c->head_hash);
    c->select_ms = c->attend_ms = c->total_ms = c->noise = NULL;
    c->sm_mhz = c->watts = c->celsius = NULL;
    c->head_hash = NULL;
    c->n = c->capacity = 0;
}

sb_status sb_contender_grow(sb_contender *c, sb_err *err)
{
    if (c->n < c->capacity)
        return SB_OK;
    int64_t capacity = c->capacity ? 2 * c->capacity : 16;
    double **series[] = {&c->select_ms, &c->attend_ms, &c->total_ms, &c->noise,
                         &c->sm_mhz,    &c->watts,     &c->celsius};
    for (size_t i = 0; i < sizeof series / sizeof series[0]; i++) {
        double *grown = sb_realloc(*series[i], capacity, sizeof *grown);
        if (!grown)
            return sb_no_memory(err, "latency samples");
        *series[i] = grown;
    }
    c->capacity = capacity;
    return SB_OK;
}

/* ---- two input sets and one checked output ------------------------------------------------ */

typedef struct stage {
    const sb_problem *p;
    sb_inputs sets[2];
    void *rotated[3]; /* owned copies behind sets[1] */
    sb_outputs out;
    size_t o_head_bytes, lse_head_bytes;
} stage;

/* Copy [n_heads, head_bytes] with head h taken from head (h + shift) % n_heads. */
static void *rotate_heads(const void *x, int64_t n_heads, size_t head_bytes, int64_t shift)
{
    char *copy = sb_alloc_uninit(n_heads, head_bytes);
    for (int64_t h = 0; copy && h < n_heads; h++)
        memcpy(copy + (size_t)h * head_bytes,
               (const char *)x + (size_t)((h + shift) % n_heads) * head_bytes, head_bytes);
    return copy;
}

static void stage_free(stage *s)
{
    for (int i = 0; i < 3; i++)
        sb_free(s->rotated[i]);
    sb_free(s->out.o);
    sb_free(s->out.lse);
}

static sb_status stage_open(const sb_problem *p, const sb_inputs *in, stage *s, sb_err *err)
{
    size_t elem = sb_dtype_bytes(p->dtype);
    int64_t group = p->n_heads / p->n_kv_heads;
    *s = (stage){.p = p, .sets = {*in}};
    s->o_head_bytes = (size_t)(p->q_len * p->dim_v) * elem;
    s->lse_head_bytes = (size_t)p->q_len * sizeof(float);
    s->rotated[0] = rotate_heads(in->q, p->n_heads, (size_t)(p->q_len * p->dim) * elem, group);
    s->rotated[1] = rotate_heads(in->k, p->n_kv_heads, (size_t)(p->kv_len * p->dim) * elem, 1);
    s->rotated[2] = rotate_heads(in->v, p->n_kv_heads, (size_t)(p->kv_len * p->dim_v) * elem, 1);
    s->sets[1] = (sb_inputs){s->rotated[0], s->rotated[1], s->rotated[2]};
    s->out.o = sb_alloc_uninit(p->n_heads, s->o_head_bytes);
    s->out.lse = sb_alloc_uninit(p->n_heads, s->lse_head_bytes);
    if (s->rotated[0] && s->rotated[1] && s->rotated[2] && s->out.o && s->out.lse)
        return SB_OK;
    stage_free(s);
    return sb_no_memory(err, "rotated inputs and outputs");
}

/* All bits set is a NaN in every dtype. */
static void poison(const stage *s)
{
    memset(s->out.o, 0xff, (size_t)s->p->n_heads * s->o_head_bytes);
    memset(s->out.lse, 0xff, (size_t)s->p->n_heads * s->lse_head_bytes);
}

static uint64_t hash_head(const stage *s, int64_t h)
{
    const char *o = (const char *)s->out.o + (size_t)h * s->o_head_bytes;
    const char *lse = (const char *)s->out.lse + (size_t)h * s->lse_head_bytes;
    return sb_hash64(lse, s->lse_head_bytes, sb_hash64(o, s->o_head_bytes, 0));
}

/* ---- sampling ------------------------------------------------------------------------------ */

static sb_status run_once(sb_contender *c, const stage *s, int set, double *select_ms,
                          double *attend_ms, sb_err *err)
{
    double start = sb_now_ms();
    sb_status st = sb_plan_select(c->plan, &s->sets[set], c->pat, err);
    double middle = sb_now_ms();
    if (st == SB_OK)
        st = sb_plan_attend(c->plan, &s->sets[set], c->pat, &s->out, err);
    *select_ms += c->plan->method->select ? middle - start : 0;
    *attend_ms += sb_now_ms() - (c->plan->method->select ? middle : start);
    return st;
}

static sb_status check_output(const sb_contender *c, const stage *s, int set, sb_err *err)
{
    int64_t n_heads = s->p->n_heads, shift = set ? n_heads / s->p->n_kv_heads : 0;
    for (int64_t h = 0; h < n_heads; h++)
        if (hash_head(s, h) != c->head_hash[(h + shift) % n_heads])
            return sb_fail(err, SB_INTERNAL,
                           "%s: the output of head %lld changed between timed runs",
                           c->plan->method->name, (long long)h);
    return SB_OK;
}

/* Untimed runs: remember what the output is, warm up, and see how many repeats a sample needs. */
static sb_status warm_up(sb_contender *c, const stage *s, int64_t n_runs, sb_err *err)
{
    double select_ms = 0, attend_ms = 0;
    c->head_hash = sb_alloc(s->p->n_heads, sizeof *c->head_hash);
    if (!c->head_hash)
        return sb_no_memory(err, "output hashes");
    for (int64_t i = 0; i <= n_runs; i++) {
        select_ms = attend_ms = 0;
        poison(s);
        sb_status st = run_once(c, s, 0, &select_ms, &attend_ms, err);
        for (int64_t h = 0; st == SB_OK && i == 0 && h < s->p->n_heads; h++)
            c->head_hash[h] = hash_head(s, h);
        if (st == SB_OK)
            st = check_output(c, s, 0, err);
        if (st != SB_OK)
            return st;
    }
    c->n_repeats =
        (int64_t)fmin(fmax(1, ceil(min_sample_ms / (select_ms + attend_ms + 1e-6))), 1e4);
    return SB_OK;
}

static sb_status take_sample(sb_contender *c, const stage *s, sb_err *err)
{
    sb_status st = sb_contender_grow(c, err);
    double select_ms = 0, attend_ms = 0;
    int set = (int)(c->n % 2);
    for (int64_t i = 0; st == SB_OK && i < c->n_repeats; i++) {
        poison(s);
        st = run_once(c, s, set, &select_ms, &attend_ms, err);
    }
    if (st == SB_OK)
        st = check_output(c, s, set, err);
    if (st != SB_OK)
        return st;
    c->select_ms[c->n] = select_ms / (double)c->n_repeats;
    c->attend_ms[c->n] = attend_ms / (double)c->n_repeats;
    c->total_ms[c->n] = c->select_ms[c->n] + c->attend_ms[c->n];
    c->spent_ms += select_ms + attend_ms;
    c->n++;
    return SB_OK;
}

sb_status sb_contender_judge(sb_contender *c, const sb_latency_options *options, sb_err *err)
{
    double lo, hi;
    double *sorted = sb_alloc_uninit(c->n, sizeof *sorted);
    if (!sorted)
        return sb_no_memory(err, "latency samples");
    memcpy(sorted, c->total_ms, (size_t)c->n * sizeof *sorted);
    double median = sb_median(sorted, c->n);
    sb_median_interval(sorted, c->n, &lo, &hi);
    sb_free(sorted);
    double noise = (hi - lo) / 2 / median;
    c->noise[c->n - 1] = noise;
    if (c->n < options->min_samples || c->spent_ms < options->min_time_s * 1e3)
        return SB_OK;
    c->done = true;
    if (noise <= options->noise)
        c->stop = SB_STOP_NOISE;
    else if (c->n >= 2 * options->min_samples && noise > 0.9 * c->noise[c->n / 2 - 1])
        c->stop = SB_STOP_PLATEAU;
    else if (c->spent_ms >= options->timeout_s * 1e3 || c->n >= max_samples)
        c->stop = SB_STOP_TIMEOUT;
    else
        c->done = false;
    return SB_OK;
}

sb_status sb_time_interleaved(sb_contender *contenders, int64_t n, const sb_problem *p,
                              const sb_inputs *in, const sb_latency_options *options,
                              const volatile int *stop, sb_err *err)
{
    stage s;
    sb_status st = stage_open(p, in, &s, err);
    if (st != SB_OK)
        return st;
    for (int64_t i = 0; i < n; i++)
        SB_TRY(warm_up(&contenders[i], &s, options->warmup, err));
    int64_t n_left = n;
    for (int64_t round = 0; n_left > 0; round++) {
        n_left = 0;
        for (int64_t i = 0; i < n; i++) {
            sb_contender *c = &contenders[round % 2 ? n - 1 - i : i];
            SB_CHECK(!stop || !*stop, err, SB_INTERRUPTED, "interrupted");
            if (c->done)
                continue;
            SB_TRY(take_sample(c, &s, err));
            SB_TRY(sb_contender_judge(c, options, err));
            n_left += !c->done;
        }
    }
out:
    stage_free(&s);
    return st;
}
