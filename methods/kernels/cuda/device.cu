#include "methods/kernels/cuda/device.h"

#include <dlfcn.h>
#include <stdio.h>

#include "harness/hash.h"
#include "methods/kernels/cuda/device_check.cuh"

namespace
{

/* NVML is declared by hand, since the toolkit can come without its header; the interface is stable.
 */
struct nvml {
    using device = struct nvmlDevice_st *;
    bool loaded;
    device dev;
    int (*system_driver)(char *, unsigned);
    int (*clock)(device, int, unsigned *);
    int (*power)(device, unsigned *);
    int (*power_limit)(device, unsigned *);
    int (*temperature)(device, int, unsigned *);
    int (*throttle)(device, unsigned long long *);
};

enum { NVML_SM = 1, NVML_MEMORY = 2 };

template <typename F> bool find(void *library, const char *name, F *function)
{
    *function = reinterpret_cast<F>(dlsym(library, name));
    return *function != nullptr;
}

nvml load_nvml()
{
    nvml n = {};
    int (*init)(void), (*by_bus_id)(const char *, nvml::device *);
    char bus_id[32];
    int device;
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return n;
    bool all = find(library, "nvmlInit_v2", &init) &&
               find(library, "nvmlDeviceGetHandleByPciBusId_v2", &by_bus_id) &&
               find(library, "nvmlSystemGetDriverVersion", &n.system_driver) &&
               find(library, "nvmlDeviceGetClockInfo", &n.clock) &&
               find(library, "nvmlDeviceGetPowerUsage", &n.power) &&
               find(library, "nvmlDeviceGetEnforcedPowerLimit", &n.power_limit) &&
               find(library, "nvmlDeviceGetTemperature", &n.temperature) &&
               find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", &n.throttle);
    n.loaded = all && cudaGetDevice(&device) == cudaSuccess &&
               cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, device) == cudaSuccess && init() == 0 &&
               by_bus_id(bus_id, &n.dev) == 0;
    return n;
}

const nvml &the_nvml()
{
    static const nvml n = load_nvml();
    return n;
}

__global__ void wait_clocks(long long n_clocks)
{
    long long start = clock64();
    while (clock64() - start < n_clocks)
        __nanosleep(200);
}

int attribute(cudaDeviceAttr which)
{
    int device = 0, value = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&value, which, device) != cudaSuccess)
        return 0;
    return value;
}

} // namespace

bool sb_cuda_available(sb_err *why)
{
    int n_devices = 0;
    cudaError_t error = cudaGetDeviceCount(&n_devices);
    if (error == cudaSuccess && n_devices > 0)
        return true;
    /* Without this, the next call would report this failure as its own. */
    cudaGetLastError();
    sb_fail(why, SB_UNAVAILABLE, "no CUDA device: %s",
            error == cudaSuccess ? "none is visible" : cudaGetErrorString(error));
    return false;
}

sb_status sb_cuda_describe(sb_cuda_device *device, sb_err *err)
{
    sb_status st = SB_OK;
    int index;
    size_t n_free, n_total;
    cudaDeviceProp prop;
    const nvml &n = the_nvml();
    *device = sb_cuda_device{};
    device->ecc = -1;
    if (!sb_cuda_available(err))
        return SB_UNAVAILABLE;
    SB_CUDA_TRY(cudaGetDevice(&index));
    SB_CUDA_TRY(cudaGetDeviceProperties(&prop, index));
    SB_CUDA_TRY(cudaMemGetInfo(&n_free, &n_total));
    SB_CUDA_TRY(cudaDriverGetVersion(&device->driver));
    SB_CUDA_TRY(cudaRuntimeGetVersion(&device->runtime));
    snprintf(device->name, sizeof device->name, "%s", prop.name);
    device->cc = 10 * prop.major + prop.minor;
    device->n_sms = prop.multiProcessorCount;
    device->l2_bytes = prop.l2CacheSize;
    device->shared_bytes = (int64_t)prop.sharedMemPerBlockOptin;
    device->memory_bytes = (int64_t)n_total;
    device->free_bytes = (int64_t)n_free;
    device->id = sb_hash64(&prop.uuid, sizeof prop.uuid, 0) | 1;
    device->max_sm_mhz = attribute(cudaDevAttrClockRate) / 1000;
    device->memory_mhz = attribute(cudaDevAttrMemoryClockRate) / 1000;
    device->ecc = attribute(cudaDevAttrEccEnabled);
    if (n.loaded)
        n.system_driver(device->driver_version, sizeof device->driver_version);
out:
    return st;
}

sb_status sb_cuda_malloc(int64_t n_bytes, const char *what, void **block, sb_err *err)
{
    size_t n_free = 0, n_total = 0;
    *block = nullptr;
    if (n_bytes == 0)
        return SB_OK;
    cudaError_t error = cudaMalloc(block, (size_t)n_bytes);
    if (error != cudaErrorMemoryAllocation)
        return sb_cuda_status(error, what, err);
    cudaGetLastError();
    cudaMemGetInfo(&n_free, &n_total);
    return sb_fail(err, SB_UNSUPPORTED,
                   "%s: %.1f MiB of device memory asked for, %.1f MiB of %.1f are free", what,
                   (double)n_bytes / 0x1p20, (double)n_free / 0x1p20, (double)n_total / 0x1p20);
}

void sb_cuda_free(void *block)
{
    cudaFree(block);
}

sb_status sb_cuda_to_device(void *dst, const void *src, int64_t n_bytes, sb_stream stream,
                            sb_err *err)
{
    return sb_cuda_status(
        cudaMemcpyAsync(dst, src, (size_t)n_bytes, cudaMemcpyHostToDevice, stream),
        "copying to the device", err);
}

sb_status sb_cuda_to_host(void *dst, const void *src, int64_t n_bytes, sb_stream stream,
                          sb_err *err)
{
    return sb_cuda_status(
        cudaMemcpyAsync(dst, src, (size_t)n_bytes, cudaMemcpyDeviceToHost, stream),
        "copying from the device", err);
}

sb_status sb_cuda_copy_rows(void *to, int64_t to_step, const void *from, int64_t from_step,
                            int64_t row_bytes, int64_t n_rows, sb_stream stream, sb_err *err)
{
    return sb_cuda_status(cudaMemcpy2DAsync(to, (size_t)to_step, from, (size_t)from_step,
                                            (size_t)row_bytes, (size_t)n_rows,
                                            cudaMemcpyDeviceToDevice, stream),
                          "copying on the device", err);
}

sb_status sb_cuda_fill(void *dst, uint8_t byte, int64_t n_bytes, sb_stream stream, sb_err *err)
{
    return sb_cuda_status(cudaMemsetAsync(dst, byte, (size_t)n_bytes, stream),
                          "filling device memory", err);
}

sb_status sb_cuda_stream_create(sb_stream *stream, sb_err *err)
{
    *stream = nullptr;
    return sb_cuda_status(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking),
                          "creating a stream", err);
}

void sb_cuda_stream_destroy(sb_stream stream)
{
    if (stream)
        cudaStreamDestroy(stream);
}

sb_status sb_cuda_sync(sb_stream stream, sb_err *err)
{
    return sb_cuda_status(cudaStreamSynchronize(stream), "work on the device", err);
}

sb_status sb_cuda_event_create(sb_event *event, sb_err *err)
{
    *event = nullptr;
    return sb_cuda_status(cudaEventCreate(event), "creating an event", err);
}

void sb_cuda_event_destroy(sb_event event)
{
    if (event)
        cudaEventDestroy(event);
}

sb_status sb_cuda_event_record(sb_event event, sb_stream stream, sb_err *err)
{
    return sb_cuda_status(cudaEventRecord(event, stream), "recording an event", err);
}

sb_status sb_cuda_event_ms(sb_event from, sb_event to, double *ms, sb_err *err)
{
    sb_status st = SB_OK;
    float elapsed = 0;
    SB_CUDA_TRY(cudaEventSynchronize(to));
    SB_CUDA_TRY(cudaEventElapsedTime(&elapsed, from, to));
out:
    *ms = elapsed;
    return st;
}

sb_status sb_cuda_delay(double microseconds, sb_stream stream, sb_err *err)
{
    static const int khz = attribute(cudaDevAttrClockRate);
    wait_clocks<<<1, 1, 0, stream>>>((long long)(microseconds * khz / 1000));
    return sb_cuda_launched("wait_clocks", err);
}

sb_status sb_cuda_flush_create(sb_cuda_flush *flush, sb_err *err)
{
    flush->n_bytes = 2 * (int64_t)attribute(cudaDevAttrL2CacheSize);
    return sb_cuda_malloc(flush->n_bytes, "flushing the L2 cache", &flush->block, err);
}

void sb_cuda_flush_destroy(sb_cuda_flush *flush)
{
    sb_cuda_free(flush->block);
    *flush = sb_cuda_flush{};
}

sb_status sb_cuda_flush_l2(const sb_cuda_flush *flush, sb_stream stream, sb_err *err)
{
    return sb_cuda_fill(flush->block, 0, flush->n_bytes, stream, err);
}

sb_cuda_state sb_cuda_read_state(void)
{
    sb_cuda_state state = {};
    unsigned sm = 0, memory = 0, power = 0, limit = 0, celsius = 0;
    unsigned long long throttle = 0;
    const nvml &n = the_nvml();
    if (!n.loaded || n.clock(n.dev, NVML_SM, &sm) != 0)
        return state;
    /* What a card does not report stays 0. */
    n.clock(n.dev, NVML_MEMORY, &memory);
    n.power(n.dev, &power);
    n.power_limit(n.dev, &limit);
    n.temperature(n.dev, 0, &celsius);
    n.throttle(n.dev, &throttle);
    state.known = true;
    state.sm_mhz = (int)sm;
    state.memory_mhz = (int)memory;
    state.celsius = (int)celsius;
    state.watts = power / 1000.0;
    state.limit_watts = limit / 1000.0;
    state.throttle = throttle;
    return state;
}
