#ifndef SB_TIMING_H
#define SB_TIMING_H

#include "harness/config.h"
#include "harness/on_device.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Monotonic clock, milliseconds. */
double sb_now_ms(void);

/** Median of x [n], which is sorted in place. NaN when n == 0. */
double sb_median(double *x, int64_t n);

/**
 * Distribution-free interval of the median from order statistics of sorted x [n]: the narrowest
 * symmetric pair whose binomial coverage is at least 95 %; the extremes when n < 6, whose coverage,
 * 1 - 2^(1 - n), is less.
 */
void sb_median_interval(const double *sorted, int64_t n, double *lo, double *hi);

/** Pin OpenMP worker i to the i-th core that the calling thread may use; false when there are too
 *  few. */
bool sb_pin_threads(int n_threads);

typedef enum sb_stop {
    SB_STOP_NOISE,     /**< the median's interval is as narrow as asked */
    SB_STOP_PLATEAU,   /**< twice the samples did not narrow it any more */
    SB_STOP_TIMEOUT,   /**< neither, until time ran out */
    SB_STOP_THROTTLED, /**< the device was held back until time ran out: no sample at all */
    SB_STOP_FAILED     /**< see failure */
} sb_stop;
const char *sb_stop_name(sb_stop stop);

/** One thing to time: a planned method, its pattern, and the samples taken. */
typedef struct sb_contender {
    sb_plan *plan;
    sb_pattern *pat; /**< NULL for dense; select writes it anew in each sample */
    int64_t n;       /**< samples so far */
    double *select_ms, *attend_ms, *total_ms; /**< [n], owned: sb_contender_free_samples */
    sb_stop stop;
    /* Of the device alone. */
    double *sm_mhz, *watts, *celsius; /**< [n] its state under each sample, NaN where unknown */
    int64_t n_throttled;              /**< samples discarded because the device was held back */
    sb_err failure;                   /**< of this contender alone: the others go on */
    /* Private to the clocks. */
    int64_t capacity, n_repeats;
    double spent_ms;
    double *noise;
    uint64_t *head_hash;
    bool done;
} sb_contender;

/** Free the samples of a contender, not its plan and pattern. */
void sb_contender_free_samples(sb_contender *c);

/**
 * Time n contenders of one shape on the CPU, interleaved: A B C, C B A, ... A sample is select and
 * then attend, with the clock read before, between and after, so total_ms = select_ms + attend_ms.
 * Tiny ones repeat inside a sample until it lasts a millisecond. Inside the clock: selection and
 * attention over inputs already in memory; outside: planning, allocation, copies.
 *
 * Samples alternate between the inputs and a copy of them whose kv heads are rotated by one,
 * outputs are poisoned before each, and every output is checked against the first by hash, head by
 * head: a skipped write or a cached result cannot pass (SB_INTERNAL).
 *
 * Each stops once it has min_samples and min_time and its noise (half the median interval over the
 * median) is small enough or has stopped falling, or at the timeout. `stop` is polled between
 * samples (SB_INTERRUPTED).
 */
sb_status sb_time_interleaved(sb_contender *contenders, int64_t n, const sb_problem *p,
                              const sb_inputs *in, const sb_latency_options *options,
                              const volatile int *stop, sb_err *err);

/**
 * As sb_time_interleaved, on the device, for plans whose stream is d->stream; d holds both sets of
 * inputs. A sample is select and then attend between events, after the L2 cache was overwritten and
 * behind a delay that hides launching; total_ms is from the first event to the last. min_time and
 * timeout count the wall clock. Samples under which NVML reports SB_CUDA_THROTTLED are discarded
 * and counted. A contender that fails or whose output changes ends as SB_STOP_FAILED, without
 * samples.
 */
sb_status sb_time_on_device(sb_contender *contenders, int64_t n, const sb_on_device *d,
                            const sb_latency_options *options, const volatile int *stop,
                            sb_err *err);

/* For both clocks: room for one more sample, and whether the samples taken are enough. */
sb_status sb_contender_grow(sb_contender *c, sb_err *err);
sb_status sb_contender_judge(sb_contender *c, const sb_latency_options *options, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
