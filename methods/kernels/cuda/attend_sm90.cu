/* Block-sparse attention on Hopper: one producer warpgroup (a scheduling and a copying warp) and
 * one or two consumer warpgroups of 64 queries each in a persistent CTA.
 *
 * A consumer issues the next Q K^T with this tile's P V, and takes the softmax of the former while
 * the latter runs; P stays in registers. At d 64, where registers allow, scores are two tiles
 * ahead. Two warpgroups take turns, so that one's softmax meets the other's products. After
 * FlashAttention-3 (arXiv:2407.08608); unlike it, and unlike the block-sparse path of
 * FlashAttention-4, the stream of tiles does not stop at the end of an item: the next item's first
 * Q K^T runs under this one's epilogue. */

#include "methods/kernels/cuda/sm90_consumer.cuh"

namespace
{

using namespace sm90;

template <class V>
__global__ void __launch_bounds__(V::THREADS, V::CTAS) attend(const __grid_constant__ attend_args a)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ __align__(1024) uint8_t raw[];
    shared<V> &m = *(shared<V> *)raw;
    if (threadIdx.x == 0)
        m.init_barriers();
    __syncthreads();
    if (threadIdx.x < 128) {
        registers_down<40>();
        if (threadIdx.x / 32 == 0)
            produce<V>(a, m);
        else if (threadIdx.x / 32 == 1)
            schedule<V>(a, m);
    } else {
        registers_up<V::CONSUMER_REGS>();
        consumer<V>(a, m).run();
    }
#endif
}

/* ---- host ----------------------------------------------------------------------------------- */

typedef CUresult (*encode_fn)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                              const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                              const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                              CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

encode_fn find_encode()
{
    void *fn = nullptr;
    cudaDriverEntryPointQueryResult found;
    cudaError_t e = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &fn, 12000,
                                                     cudaEnableDefault, &found);
    return e == cudaSuccess && found == cudaDriverEntryPointSuccess ? (encode_fn)fn : nullptr;
}

/* Map of [heads, tokens, dim] for boxes of `rows` tokens and all channels, in chunks of 64. */
bool encode(encode_fn fn, CUtensorMap *map, bool half, const void *base, int64_t dim,
            int64_t tokens, int64_t heads, int rows)
{
    cuuint64_t extent[4] = {64, (cuuint64_t)tokens, (cuuint64_t)dim / 64, (cuuint64_t)heads};
    cuuint64_t stride[3] = {(cuuint64_t)dim * 2, 128, (cuuint64_t)(tokens * dim) * 2};
    cuuint32_t box[4] = {64, (cuuint32_t)rows, (cuuint32_t)dim / 64, 1}, step[4] = {1, 1, 1, 1};
    return fn(map, half ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4,
              (void *)base, extent, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
              CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
              CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

template <class V>
cudaError_t launch(const sb_cuda_shape &shape, const sb_inputs &in, const sb_cuda_pattern *pat,
                   const sb_outputs &out, uint32_t *counter, cudaStream_t stream)
{
    static const encode_fn fn = find_encode();
    const int64_t heads = (int64_t)shape.n_batch * shape.n_heads;
    const int64_t kv_heads = (int64_t)shape.n_batch * shape.n_kv_heads;
    attend_args a = {};
    if (!fn || !encode(fn, &a.q, V::HALF, in.q, V::D, shape.q_len, heads, 64) ||
        !encode(fn, &a.o, V::HALF, out.o, V::D, shape.q_len, heads, 64) ||
        !encode(fn, &a.k, V::HALF, in.k, V::D, shape.kv_len, kv_heads, V::KT) ||
        !encode(fn, &a.v, V::HALF, in.v, V::D, shape.kv_len, kv_heads, V::KT))
        return cudaErrorInvalidValue;
    a.shape = shape;
    a.o_plain = out.o;
    a.lse = out.lse;
    a.row_ptr = pat ? pat->row_ptr : nullptr;
    a.col = pat ? pat->col : nullptr;
    a.counter = counter;
    a.max_tiles = V::CG == 1 ? shape.tiles_64 : shape.tiles_128;
    a.n_items = (int)heads * a.max_tiles;
    /* Heads of one section are worked on together: as many as have K and V in half of the L2. */
    const int64_t kv_bytes = (int64_t)shape.kv_len * V::D * 4;
    const int64_t sections = shape.l2_bytes / 2 / kv_bytes;
    const int64_t together = (sections > 1 ? sections : 1) * (shape.n_heads / shape.n_kv_heads);
    a.section = (int)(together < heads ? together : heads);

    cudaError_t e = cudaFuncSetAttribute(attend<V>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         (int)sizeof(shared<V>));
    if (e != cudaSuccess)
        return e;
    const int ctas = shape.n_sm * V::CTAS, grid = a.n_items < ctas ? a.n_items : ctas;
    attend<V><<<grid, V::THREADS, sizeof(shared<V>), stream>>>(a);
    return cudaGetLastError();
}

template <bool HALF>
cudaError_t launch_dim(const sb_cuda_shape &shape, const sb_inputs &in, const sb_cuda_pattern *pat,
                       const sb_outputs &out, uint32_t *counter, cudaStream_t stream)
{
    const bool wide = !pat || shape.block % 128 == 0;
    if (shape.dim == 128)
        return wide ? launch<variant<HALF, 128, 2, 128, 2, 1>>(shape, in, pat, out, counter, stream)
                    : launch<variant<HALF, 128, 1, 64, 2, 2>>(shape, in, pat, out, counter, stream);
    return wide ? launch<variant<HALF, 64, 2, 128, 4, 1>>(shape, in, pat, out, counter, stream)
                : launch<variant<HALF, 64, 1, 64, 4, 2>>(shape, in, pat, out, counter, stream);
}

} // namespace

bool sb_sm90_supports(const sb_cuda_shape &shape)
{
    const int64_t items = (int64_t)shape.n_batch * shape.n_heads * shape.tiles_64;
    return shape.dim == shape.dim_v && (shape.dim == 64 || shape.dim == 128) &&
           items < INT32_MAX / 2;
}

cudaError_t sb_sm90_attend(const sb_cuda_shape &shape, const sb_inputs &in,
                           const sb_cuda_pattern *pat, const sb_outputs &out, uint32_t *counter,
                           cudaStream_t stream)
{
    return shape.half ? launch_dim<true>(shape, in, pat, out, counter, stream)
                      : launch_dim<false>(shape, in, pat, out, counter, stream);
}
