#ifndef SB_ON_DEVICE_H
#define SB_ON_DEVICE_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Inputs and outputs of one shape (B = 1) in device memory. */
typedef struct sb_on_device {
    sb_problem problem;
    sb_stream stream;
    sb_inputs sets[2]; /**< the inputs, and where asked for a copy with kv heads rotated by one */
    sb_outputs out;    /**< room for one call, guard bytes behind each */
    uint64_t *digest;  /**< [2, H] of o and lse, device */
} sb_on_device;

/** Bytes that sb_on_device_open allocates. */
double sb_on_device_bytes(const sb_problem *p, bool rotated);

/** Allocate everything and upload the inputs; waits for it. SB_UNSUPPORTED with what is needed and
 *  what is free when it does not fit; SB_UNAVAILABLE. */
sb_status sb_on_device_open(const sb_problem *p, const sb_inputs *host, bool rotated,
                            sb_stream stream, sb_on_device *d, sb_err *err);

/** Enqueue filling the outputs and their guards with NaN. */
sb_status sb_on_device_poison(const sb_on_device *d, sb_err *err);

/** Copy the outputs to the host; waits for the stream. SB_INTERNAL when something wrote past their
 *  end since they were poisoned. */
sb_status sb_on_device_fetch(const sb_on_device *d, const sb_outputs *host, sb_err *err);

/** Enqueue a digest of each head's outputs and its copy to `heads` [2, H] on the host. */
sb_status sb_on_device_digest(const sb_on_device *d, uint64_t *heads, sb_err *err);

void sb_on_device_close(sb_on_device *d);

#ifdef __cplusplus
}
#endif
#endif
