#ifndef SB_DEVICE_CHECK_CUH
#define SB_DEVICE_CHECK_CUH

#include <cuda_runtime.h>

#include "harness/status.h"

/** Pass a CUDA call's failure on as SB_UNAVAILABLE, naming the call. `err` may be NULL. */
static inline sb_status sb_cuda_status(cudaError_t error, const char *what, sb_err *err)
{
    if (error == cudaSuccess)
        return SB_OK;
    return sb_fail(err, SB_UNAVAILABLE, "%s: %s", what, cudaGetErrorString(error));
}

/** As SB_TRY, for a CUDA runtime call. Expects `sb_status st`, `sb_err *err` and a label `out`. */
#define SB_CUDA_TRY(call)                                                                          \
    do {                                                                                           \
        if ((st = sb_cuda_status((call), #call, err)) != SB_OK)                                    \
            goto out;                                                                              \
    } while (0)

/** After a launch: whether it was accepted. */
static inline sb_status sb_cuda_launched(const char *kernel, sb_err *err)
{
    return sb_cuda_status(cudaGetLastError(), kernel, err);
}

#endif
