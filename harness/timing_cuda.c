#include <math.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/timing.h"
#include "methods/kernels/cuda/device.h"

/* Longer than enqueuing a selection and an attention takes. */
static const double hide_launches_us = 200;

enum { START, SELECTED, ATTENDED, N_EVENTS };

typedef struct clock {
    const sb_on_device *d;
    sb_event events[N_EVENTS];
    sb_cuda_flush flush;
    uint64_t *heads; /* [2, H] digests of the last output */
} clock;

typedef struct sample {
    double select_ms, attend_ms, total_ms;
    sb_cuda_state state;
} sample;

static void clock_close(clock *k)
{
    sb_free(k->heads);
    sb_cuda_flush_destroy(&k->flush);
    for (int i = 0; i < N_EVENTS; i++)
        sb_cuda_event_destroy(k->events[i]);
}

static sb_status clock_open(const sb_on_device *d, clock *k, sb_err *err)
{
    sb_status st = SB_OK;
    *k = (clock){.d = d};
    for (int i = 0; i < N_EVENTS; i++)
        SB_TRY(sb_cuda_event_create(&k->events[i], err));
    SB_TRY(sb_cuda_flush_create(&k->flush, err));
    k->heads = sb_alloc(2 * d->problem.n_heads, sizeof *k->heads);
    SB_CHECK(k->heads, err, SB_NO_MEMORY, "out of memory for digests");
    return SB_OK;
out:
    clock_close(k);
    return st;
}

/* ---- one sample ---------------------------------------------------------------------------- */

static sb_status run_once(const sb_contender *c, const clock *k, int set, sample *s, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_on_device *d = k->d;
    SB_TRY(sb_on_device_poison(d, err));
    SB_TRY(sb_cuda_flush_l2(&k->flush, d->stream, err));
    SB_TRY(sb_cuda_delay(hide_launches_us, d->stream, err));
    SB_TRY(sb_cuda_event_record(k->events[START], d->stream, err));
    SB_TRY(sb_plan_select(c->plan, &d->sets[set], NULL, err));
    SB_TRY(sb_cuda_event_record(k->events[SELECTED], d->stream, err));
    SB_TRY(sb_plan_attend(c->plan, &d->sets[set], NULL, &d->out, err));
    SB_TRY(sb_cuda_event_record(k->events[ATTENDED], d->stream, err));
    SB_TRY(sb_on_device_digest(d, k->heads, err));
    s->state = sb_cuda_read_state(); /* everything is enqueued: this is the state under the work */
    SB_TRY(sb_cuda_sync(d->stream, err));
    SB_TRY(sb_cuda_event_ms(k->events[START], k->events[SELECTED], &s->select_ms, err));
    SB_TRY(sb_cuda_event_ms(k->events[SELECTED], k->events[ATTENDED], &s->attend_ms, err));
    SB_TRY(sb_cuda_event_ms(k->events[START], k->events[ATTENDED], &s->total_ms, err));
    if (!c->plan->method->select) {
        s->select_ms = 0;
        s->attend_ms = s->total_ms;
    }
out:
    return st;
}

static sb_status check_output(const sb_contender *c, const clock *k, int set, sb_err *err)
{
    const sb_problem *p = &k->d->problem;
    int64_t n = p->n_heads, shift = set ? n / p->n_kv_heads : 0;
    for (int64_t h = 0; h < n; h++) {
        int64_t from = (h + shift) % n;
        if (k->heads[h] != c->head_hash[from] || k->heads[n + h] != c->head_hash[n + from])
            return sb_fail(err, SB_INTERNAL,
                           "%s: the output of head %lld changed between timed runs",
                           c->plan->method->name, (long long)h);
    }
    return SB_OK;
}

/* Untimed runs, of which the first says what the output is. */
static sb_status warm_up(sb_contender *c, const clock *k, int64_t n_runs, sb_err *err)
{
    sample s;
    int64_t n = 2 * k->d->problem.n_heads;
    c->head_hash = sb_alloc(n, sizeof *c->head_hash);
    if (!c->head_hash)
        return sb_no_memory(err, "output digests");
    for (int64_t i = 0; i <= n_runs; i++) {
        sb_status st = run_once(c, k, 0, &s, err);
        if (st == SB_OK && i == 0)
            memcpy(c->head_hash, k->heads, (size_t)n * sizeof *c->head_hash);
        if (st == SB_OK)
            st = check_output(c, k, 0, err);
        if (st != SB_OK)
            return st;
    }
    return SB_OK;
}

static void keep(sb_contender *c, const sample *s)
{
    bool known = s->state.known;
    c->select_ms[c->n] = s->select_ms;
    c->attend_ms[c->n] = s->attend_ms;
    c->total_ms[c->n] = s->total_ms;
    c->sm_mhz[c->n] = known ? (double)s->state.sm_mhz : NAN;
    c->watts[c->n] = known ? s->state.watts : NAN;
    c->celsius[c->n] = known ? (double)s->state.celsius : NAN;
    c->n++;
}

static sb_status take_sample(sb_contender *c, const clock *k, const sb_latency_options *options,
                             sb_err *err)
{
    sample s;
    double start = sb_now_ms();
    int set = (int)((c->n + c->n_throttled) % 2);
    sb_status st = sb_contender_grow(c, err);
    if (st == SB_OK)
        st = run_once(c, k, set, &s, err);
    if (st == SB_OK)
        st = check_output(c, k, set, err);
    if (st != SB_OK)
        return st;
    c->spent_ms += sb_now_ms() - start;
    if ((s.state.throttle & SB_CUDA_THROTTLED) == 0) {
        keep(c, &s);
        return sb_contender_judge(c, options, err);
    }
    c->n_throttled++;
    if (c->spent_ms >= options->timeout_s * 1e3) {
        c->done = true;
        c->stop = c->n > 0 ? SB_STOP_TIMEOUT : SB_STOP_THROTTLED;
    }
    return SB_OK;
}

/* What goes wrong with one contender is its own result; running out of host memory is not. */
static sb_status isolate(sb_contender *c, sb_status st, const sb_err *why, sb_err *err)
{
    if (st == SB_OK)
        return SB_OK;
    if (st == SB_NO_MEMORY)
        return sb_fail(err, st, "%s", why->msg);
    c->failure = *why;
    c->done = true;
    c->stop = SB_STOP_FAILED;
    c->n = 0;
    return SB_OK;
}

sb_status sb_time_on_device(sb_contender *contenders, int64_t n, const sb_on_device *d,
                            const sb_latency_options *options, const volatile int *stop,
                            sb_err *err)
{
    clock k;
    sb_status st = clock_open(d, &k, err);
    if (st != SB_OK)
        return st;
    for (int64_t i = 0; i < n; i++) {
        sb_err why = {0};
        SB_CHECK(!stop || !*stop, err, SB_INTERRUPTED, "interrupted");
        st = warm_up(&contenders[i], &k, options->warmup, &why);
        SB_TRY(isolate(&contenders[i], st, &why, err));
    }
    int64_t n_left = n;
    for (int64_t round = 0; n_left > 0; round++) {
        n_left = 0;
        for (int64_t i = 0; i < n; i++) {
            sb_err why = {0};
            sb_contender *c = &contenders[round % 2 ? n - 1 - i : i];
            SB_CHECK(!stop || !*stop, err, SB_INTERRUPTED, "interrupted");
            if (c->done)
                continue;
            st = take_sample(c, &k, options, &why);
            SB_TRY(isolate(c, st, &why, err));
            n_left += !c->done;
        }
    }
out:
    clock_close(&k);
    return st;
}
