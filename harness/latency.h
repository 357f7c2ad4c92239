#ifndef SB_LATENCY_H
#define SB_LATENCY_H

#include "harness/evaluate.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SB_MAX_UNITS = 8 };

/** What the machine's arithmetic units give: the CPU's as found when first asked for, by the ISA
 *  level that uses them; the device's from its architecture. */
typedef struct sb_peaks {
    const struct sb_cuda_device *device;
    struct {
        const char *isa;
        double gflops;
    } cpu[SB_MAX_UNITS];
} sb_peaks;

/**
 * Time n evaluated cells of a shape and dense against each other, and keep it in their records. On
 * the device there are two dense baselines, our own and cuDNN's where it loads, and the faster one
 * is `dense_ms`. Cells that failed before are left alone; on the device one that fails here becomes
 * a failed record.
 */
sb_status sb_bundle_time(sb_cell *cells, int64_t n, const sb_shape_data *data,
                         const sb_latency_options *options, sb_peaks *peaks, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
