#ifndef SB_BACKEND_H
#define SB_BACKEND_H

#include "harness/config.h"
#include "methods/kernels/cuda/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a run may compute on besides the CPU. */
typedef struct sb_backends {
    sb_backend_choice choice;
    bool cuda;             /**< the device may be used */
    sb_cuda_device device; /**< when cuda */
} sb_backends;

/**
 * Resolve a choice: `asked` ("auto", "cpu", "cuda"), or when that is NULL the config's.
 * SB_UNAVAILABLE with the reason when cuda is asked for and cannot run here; SB_USAGE for another
 * word. With auto, cuda says whether a device is usable.
 */
sb_status sb_backends_open(const char *asked, sb_backend_choice of_config, sb_backends *backends,
                           sb_err *err);

/**
 * Have this process see one device alone, before it uses CUDA: where CUDA_VISIBLE_DEVICES lists n,
 * the (local mod n)-th of them, else the local-th of the host. For the processes of a host that are
 * numbered from 0. Nothing changes where the list is empty, or when memory runs out.
 */
void sb_device_pick(int local);

/** Where a problem of that dtype runs: with auto on the device when there is one that takes it. */
sb_backend sb_backend_for(const sb_backends *backends, sb_dtype dtype);

/** "cpu" or "cuda". */
const char *sb_backend_name(sb_backend backend);

/** The device as YAML lines for provenance, its clocks, power and cuDNN as of now; "" without one.
 *  For sb_free; NULL when memory runs out. */
char *sb_backends_provenance(const sb_backends *backends);

/** Dense FLOPs a second, in GFLOP/s, that the device's tensor cores have at its highest clock for
 *  16-bit inputs and float32 sums; NaN where not known. */
double sb_device_peak_gflops(const sb_cuda_device *device);

#ifdef __cplusplus
}
#endif
#endif
