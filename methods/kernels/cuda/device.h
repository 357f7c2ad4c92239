#ifndef SB_CUDA_DEVICE_H
#define SB_CUDA_DEVICE_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The device behind plain C: what it is, its memory, streams, events, and the state it ran in.
 * Calls work on the current device of the calling thread. A failed CUDA call is SB_UNAVAILABLE. */

typedef struct CUevent_st *sb_event;

/** What the device is, as recorded in results. */
typedef struct sb_cuda_device {
    char name[256];
    char driver_version[80]; /**< of the installed driver, "" without NVML */
    int cc;                  /**< compute capability, 10 x major + minor: 90 */
    int n_sms;
    int driver, runtime;  /**< CUDA versions, 1000 x major + 10 x minor */
    int max_sm_mhz;       /**< highest clock of the SMs, 0 when unknown */
    int memory_mhz;       /**< highest clock of the memory, 0 when unknown */
    int ecc;              /**< 1 on, 0 off, -1 unknown */
    int64_t l2_bytes;     /**< of the L2 cache */
    int64_t shared_bytes; /**< shared memory that one thread block can have */
    int64_t memory_bytes; /**< of device memory */
    int64_t free_bytes;   /**< of device memory, now */
    uint64_t id;          /**< a hash of its UUID, never 0: the same in each process of a host; it
                               is not recorded */
} sb_cuda_device;

/** Whether a CUDA device can be used; SB_UNAVAILABLE with the reason in `why` (may be NULL). */
bool sb_cuda_available(sb_err *why);

sb_status sb_cuda_describe(sb_cuda_device *device, sb_err *err);

/* ---- memory -------------------------------------------------------------------------------- */

/**
 * Allocate device memory of unspecified contents for `what`; n_bytes == 0 gives NULL.
 * SB_UNSUPPORTED, with what was asked and what is free, when it does not fit: the shape is too
 * large for this device, which is a result and not a failure.
 */
sb_status sb_cuda_malloc(int64_t n_bytes, const char *what, void **block, sb_err *err);

/** Free device memory; NULL is allowed. Waits for work that may use it. */
void sb_cuda_free(void *block);

/* Enqueue a copy or a fill. The host side of a copy must stay until the stream was synchronised. */
sb_status sb_cuda_to_device(void *dst, const void *src, int64_t n_bytes, sb_stream stream,
                            sb_err *err);
sb_status sb_cuda_to_host(void *dst, const void *src, int64_t n_bytes, sb_stream stream,
                          sb_err *err);
/** Copy n_rows of row_bytes within the device's memory, each from_step (to_step) bytes, at least
 *  row_bytes, after the one before. */
sb_status sb_cuda_copy_rows(void *to, int64_t to_step, const void *from, int64_t from_step,
                            int64_t row_bytes, int64_t n_rows, sb_stream stream, sb_err *err);
sb_status sb_cuda_fill(void *dst, uint8_t byte, int64_t n_bytes, sb_stream stream, sb_err *err);

/* ---- streams and time ----------------------------------------------------------------------- */

sb_status sb_cuda_stream_create(sb_stream *stream, sb_err *err);
void sb_cuda_stream_destroy(sb_stream stream);

/** Wait for the stream; reports what failed in it since the last call. */
sb_status sb_cuda_sync(sb_stream stream, sb_err *err);

sb_status sb_cuda_event_create(sb_event *event, sb_err *err);
void sb_cuda_event_destroy(sb_event event);
sb_status sb_cuda_event_record(sb_event event, sb_stream stream, sb_err *err);

/** Milliseconds between two recorded events, once the later one has happened. */
sb_status sb_cuda_event_ms(sb_event from, sb_event to, double *ms, sb_err *err);

/**
 * Keep the stream busy for about so many microseconds. What is enqueued meanwhile starts back to
 * back, so that events around it see the device and not the launching thread.
 */
sb_status sb_cuda_delay(double microseconds, sb_stream stream, sb_err *err);

/** Twice the L2 cache, to write over between cold samples. */
typedef struct sb_cuda_flush {
    void *block;
    int64_t n_bytes;
} sb_cuda_flush;

sb_status sb_cuda_flush_create(sb_cuda_flush *flush, sb_err *err);
void sb_cuda_flush_destroy(sb_cuda_flush *flush);

/** Evict everything from the L2 cache. */
sb_status sb_cuda_flush_l2(const sb_cuda_flush *flush, sb_stream stream, sb_err *err);

/* ---- state ---------------------------------------------------------------------------------- */

/** Clocks, power and what held them back, at one moment. */
typedef struct sb_cuda_state {
    bool known; /**< false, with all else 0, where NVML is not there */
    int sm_mhz, memory_mhz;
    int celsius;
    double watts, limit_watts;
    uint64_t throttle; /**< NVML's clock event reasons, a bit each */
} sb_cuda_state;

/** Bits of `throttle` under which timings are not to be trusted: hardware slowdown, thermal and
 *  power-brake. The software power cap is not among them: a busy tensor core meets it always. */
#define SB_CUDA_THROTTLED UINT64_C(0xe8)

/** Read the state by NVML, loaded when first asked for. */
sb_cuda_state sb_cuda_read_state(void);

#ifdef __cplusplus
}
#endif
#endif
