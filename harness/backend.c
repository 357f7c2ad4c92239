#include "harness/backend.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cuda/cudnn.h"

enum { MIN_CC = 80 };

static sb_status open_device(sb_cuda_device *device, sb_err *err)
{
    if (!sb_cuda_available(err))
        return SB_UNAVAILABLE;
    sb_status st = sb_cuda_describe(device, err);
    if (st == SB_OK && device->cc < MIN_CC)
        st = sb_fail(err, SB_UNAVAILABLE, "%s has compute capability %d.%d; expected 8.0 or later",
                     device->name, device->cc / 10, device->cc % 10);
    return st;
}

sb_status sb_backends_open(const char *asked, sb_backend_choice of_config, sb_backends *backends,
                           sb_err *err)
{
    static const char *const names[] = {
        [SB_BACKEND_AUTO] = "auto", [SB_BACKEND_CPU] = "cpu", [SB_BACKEND_CUDA] = "cuda"};
    *backends = (sb_backends){.choice = of_config};
    if (asked) {
        int i = 0;
        while (i <= SB_BACKEND_CUDA && strcmp(asked, names[i]) != 0)
            i++;
        if (i > SB_BACKEND_CUDA)
            return sb_fail(err, SB_USAGE, "backend is '%.40s'; expected cpu, cuda or auto", asked);
        backends->choice = (sb_backend_choice)i;
    }
    if (backends->choice == SB_BACKEND_CPU)
        return SB_OK;
    sb_err why = {0};
    backends->cuda = open_device(&backends->device, &why) == SB_OK;
    if (backends->choice == SB_BACKEND_CUDA && !backends->cuda)
        return sb_fail(err, SB_UNAVAILABLE, "backend cuda: %.400s", why.msg);
    return SB_OK;
}

/* CUDA does not look behind an entry that names none. */
static int n_listed(const char *list)
{
    int n = 0;
    while (*list && *list != ',' && *list != '-') {
        n++;
        list += strcspn(list, ",");
        list += *list == ',';
    }
    return n;
}

void sb_device_pick(int local)
{
    static const char name[] = "CUDA_VISIBLE_DEVICES";
    const char *list = getenv(name);
    int n = list ? n_listed(list) : 0;
    if (list && n == 0)
        return;
    for (int i = 0; list && i < local % n; i++)
        list += strcspn(list, ",") + 1;
    char *one = list ? sb_sprintf("%.*s", (int)strcspn(list, ","), list) : sb_sprintf("%d", local);
    if (one)
        (void)setenv(name, one, 1);
    sb_free(one);
}

sb_backend sb_backend_for(const sb_backends *backends, sb_dtype dtype)
{
    bool takes = backends->choice == SB_BACKEND_CUDA || dtype != SB_F32;
    return backends->cuda && takes ? SB_CUDA : SB_CPU;
}

const char *sb_backend_name(sb_backend backend)
{
    return backend == SB_CUDA ? "cuda" : "cpu";
}

char *sb_backends_provenance(const sb_backends *backends)
{
    const sb_cuda_device *d = &backends->device;
    if (!backends->cuda)
        return sb_strdup("");
    int64_t cudnn = 0;
    sb_err no_cudnn = {0};
    (void)sb_cudnn_open(&cudnn, &no_cudnn);
    sb_cuda_state s = sb_cuda_read_state();
    return sb_sprintf("gpu: \"%s\"\n"
                      "gpu_sms: %d\n"
                      "gpu_compute_capability: \"%d.%d\"\n"
                      "gpu_memory_mib: %" PRId64 "\n"
                      "gpu_l2_kib: %" PRId64 "\n"
                      "gpu_driver: \"%s\"\n"
                      "cuda_driver: \"%d.%d\"\n"
                      "cuda_runtime: \"%d.%d\"\n"
                      "cudnn: \"%" PRId64 ".%" PRId64 ".%" PRId64 "\"\n"
                      "gpu_max_sm_mhz: %d\n"
                      "gpu_memory_mhz: %d\n"
                      "gpu_power_limit_watts: %.0f\n"
                      "gpu_ecc: %s\n"
                      "gpu_nvml: %s\n"
                      "gpu_cache_state: cold L2\n",
                      d->name, d->n_sms, d->cc / 10, d->cc % 10, d->memory_bytes >> 20,
                      d->l2_bytes >> 10, d->driver_version, d->driver / 1000, d->driver % 1000 / 10,
                      d->runtime / 1000, d->runtime % 1000 / 10, cudnn / 10000, cudnn / 100 % 100,
                      cudnn % 100, d->max_sm_mhz, d->memory_mhz, s.limit_watts,
                      d->ecc < 0   ? "unknown"
                      : d->ecc > 0 ? "on"
                                   : "off",
                      s.known ? "true" : "false");
}

double sb_device_peak_gflops(const sb_cuda_device *device)
{
    /* FLOPs an SM and clock, from NVIDIA's A100 and H100 architecture white papers. */
    double per_clock = device->cc == 90 ? 4096 : device->cc == 80 ? 2048 : NAN;
    return device->max_sm_mhz > 0 ? per_clock * device->n_sms * device->max_sm_mhz * 1e-3 : NAN;
}
