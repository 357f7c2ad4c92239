/*
 * From bit masks to lists: each thread block finds where its SEGMENT lists start from the sums of
 * the segments before, and writes their blocks in ascending order.
 */
#include "methods/kernels/cuda/select_stages.cuh"

namespace sb_select
{
namespace
{

enum { THREADS = 256, WARPS = THREADS / 32 };
static_assert(SEGMENT == 32, "a warp scans a segment");

__global__ void __launch_bounds__(THREADS)
    lists_kernel(const __grid_constant__ stages s, int64_t n_lists)
{
    __shared__ unsigned long long base;
    __shared__ int64_t start[SEGMENT];
    __shared__ int32_t lines[WARPS][1024];
    int64_t first = (int64_t)blockIdx.x * SEGMENT, before = 0;
    int lane = threadIdx.x % 32;
    if (threadIdx.x == 0)
        base = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < (int)blockIdx.x; i += THREADS)
        before += s.segment[i].n_kept;
    for (int width = 16; width > 0; width /= 2)
        before += __shfl_xor_sync(~0u, before, width);
    if (lane == 0)
        atomicAdd(&base, (unsigned long long)before);
    __syncthreads();
    if (threadIdx.x < 32) {
        int64_t at = first + lane, n = at < n_lists ? s.count[at] : 0, upto = n;
        for (int width = 1; width < 32; width *= 2) {
            int64_t left = __shfl_up_sync(~0u, upto, width);
            upto += lane >= width ? left : 0;
        }
        start[lane] = (int64_t)base + upto - n;
        if (at < n_lists)
            s.row_ptr[at + 1] = (int64_t)base + upto;
        if (at == 0)
            s.row_ptr[0] = 0;
    }
    __syncthreads();
    int32_t *line = lines[threadIdx.x / 32];
    for (int i = threadIdx.x / 32; i < SEGMENT && first + i < n_lists; i += WARPS) {
        int32_t *col = s.col + start[i];
        for (int w0 = 0; w0 < s.mask_words; w0 += 32) {
            uint32_t word =
                w0 + lane < s.mask_words ? s.mask[(first + i) * s.mask_words + w0 + lane] : 0;
            int upto = __popc(word);
            for (int width = 1; width < 32; width *= 2) {
                int left = __shfl_up_sync(~0u, upto, width);
                upto += lane >= width ? left : 0;
            }
            int n = __shfl_sync(~0u, upto, 31), at = upto - __popc(word);
            /* By way of shared memory, so that what is written to the list is in one piece. */
            for (; word; word &= word - 1)
                line[at++] = (w0 + lane) * 32 + __ffs(word) - 1;
            __syncwarp();
            for (int j = lane; j < n; j += 32)
                col[j] = line[j];
            __syncwarp();
            col += n;
        }
    }
}

} // namespace

void launch_lists(const stages &s, cudaStream_t stream)
{
    int64_t n_lists = (int64_t)s.n_batch * s.n_heads * s.n_rows;
    lists_kernel<<<(unsigned)sb_ceil_div(n_lists, SEGMENT), THREADS, 0, stream>>>(s, n_lists);
}

} // namespace sb_select
