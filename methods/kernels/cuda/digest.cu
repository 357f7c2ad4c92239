/* Digests of outputs: one read of them, at the speed of memory. */
#include "methods/kernels/cuda/digest.h"

#include <cuda_runtime.h>

#include "methods/kernels/cuda/device_check.cuh"

namespace
{

enum { THREADS = 256, BLOCKS_A_PART = 64, MAX_PARTS_A_LAUNCH = 65535 };

template <typename Word>
__global__ void digest_parts(const Word *x, int64_t part_words, unsigned long long *digest)
{
    const Word *part = x + blockIdx.y * part_words;
    unsigned long long sum = 0;
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < part_words;
         i += (int64_t)gridDim.x * THREADS)
        sum += sb_digest_word(part[i], (uint64_t)i);
    for (int lane = 16; lane > 0; lane /= 2)
        sum += __shfl_xor_sync(~0u, sum, lane);
    if (threadIdx.x % 32 == 0)
        atomicAdd(&digest[blockIdx.y], sum);
}

template <typename Word>
void launch(const void *x, int64_t n_parts, int64_t part_bytes, uint64_t *digest, sb_stream stream)
{
    int64_t words = part_bytes / (int64_t)sizeof(Word);
    dim3 grid(BLOCKS_A_PART, (unsigned)n_parts);
    digest_parts<<<grid, THREADS, 0, stream>>>((const Word *)x, words,
                                               (unsigned long long *)digest);
}

} // namespace

sb_status sb_cuda_digest(const void *x, int64_t n_parts, int64_t part_bytes, uint64_t *digest,
                         sb_stream stream, sb_err *err)
{
    sb_status st = SB_OK;
    bool wide = part_bytes % 8 == 0 && (uintptr_t)x % 8 == 0;
    SB_CHECK(n_parts <= MAX_PARTS_A_LAUNCH && part_bytes % 2 == 0, err, SB_USAGE,
             "%lld pieces of %lld bytes to digest; expected up to %d of an even size",
             (long long)n_parts, (long long)part_bytes, MAX_PARTS_A_LAUNCH);
    SB_CUDA_TRY(cudaMemsetAsync(digest, 0, (size_t)n_parts * sizeof *digest, stream));
    if (wide)
        launch<unsigned long long>(x, n_parts, part_bytes, digest, stream);
    else
        launch<unsigned short>(x, n_parts, part_bytes, digest, stream);
    SB_CUDA_TRY(cudaGetLastError());
out:
    return st;
}
