#ifndef SB_CUDA_WGMMA_CUH
#define SB_CUDA_WGMMA_CUH

#include <cstdint>

/* wgmma.mma_async of one warpgroup: D [64, N] float32 in registers += A [64, 16] B [16, N].
 *
 * D: thread t of warp w holds rows 16 w + t / 4 (+ 8) and columns 8 j + 2 (t % 4) + {0, 1} in
 * d[4 j + 2 (row >= 8) + column]. The same layout, rounded to 16 bits, is that of A in registers.
 * Operands in shared memory use the 128-byte swizzle that TMA writes. Layouts: PTX ISA 9.0,
 * "Asynchronous warpgroup level matrix shared memory layout". */

namespace wgmma
{

/* Descriptor of an operand whose rows of 128 bytes (64 elements) follow each other.
 * K-major (rows are M or N): chunk_bytes is not used. MN-major (rows are K): chunk_bytes lies
 * between one 64-column chunk and the next. */
__device__ inline uint64_t descriptor(uint32_t smem_address, uint32_t chunk_bytes)
{
    constexpr uint64_t SWIZZLE_128B = 1, EIGHT_ROWS = 1024 >> 4;
    return SWIZZLE_128B << 62 | EIGHT_ROWS << 32 | (uint64_t)(chunk_bytes >> 4) << 16 |
           (smem_address >> 4 & 0x3fff);
}

/* The descriptor `bytes` further on. */
__device__ inline uint64_t advance(uint64_t descriptor, uint32_t bytes)
{
    return descriptor + (bytes >> 4);
}

__device__ inline void fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ inline void commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Until at most PENDING groups are in flight. */
template <int PENDING> __device__ inline void wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/* Keeps the compiler from moving accesses to accumulators across this point. */
template <int N> __device__ inline void hold(float (&d)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        asm volatile("" : "+f"(d[i])::"memory");
}

/* Operands d[0..31] (and on) under constraint C, and their names in the text. */
#define SB_D8(C, d, i)                                                                             \
    C(d[i]), C(d[i + 1]), C(d[i + 2]), C(d[i + 3]), C(d[i + 4]), C(d[i + 5]), C(d[i + 6]),         \
        C(d[i + 7])
#define SB_D32(C, d, i) SB_D8(C, d, i), SB_D8(C, d, i + 8), SB_D8(C, d, i + 16), SB_D8(C, d, i + 24)
#define SB_TEXT32                                                                                  \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SB_TEXT64                                                                                  \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SB_WGMMA_SS_64(TYPE, C, KEEP)                                                              \
    asm volatile("{\n.reg .pred keep;\nsetp.ne.b32 keep, " KEEP ", 0;\n"                           \
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" SB_TEXT32        \
                 "}, %32, %33, keep, 1, 1, 0, 0;\n}"                                               \
                 : SB_D32(C, d, 0)                                                                 \
                 : "l"(a), "l"(b))
#define SB_WGMMA_RS_64(TYPE)                                                                       \
    asm volatile("{\n.reg .pred keep;\nsetp.ne.b32 keep, %37, 0;\n"                                \
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" SB_TEXT32        \
                 "}, {%32, %33, %34, %35}, %36, keep, 1, 1, 1;\n}"                                 \
                 : SB_D32("+f", d, 0)                                                              \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep))
#define SB_WGMMA_SS_128(TYPE, C, KEEP)                                                             \
    asm volatile("{\n.reg .pred keep;\nsetp.ne.b32 keep, " KEEP ", 0;\n"                           \
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" SB_TEXT64       \
                 "}, %64, %65, keep, 1, 1, 0, 0;\n}"                                               \
                 : SB_D32(C, d, 0), SB_D32(C, d, 32)                                               \
                 : "l"(a), "l"(b))
#define SB_WGMMA_RS_128(TYPE)                                                                      \
    asm volatile("{\n.reg .pred keep;\nsetp.ne.b32 keep, %69, 0;\n"                                \
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" SB_TEXT64       \
                 "}, {%64, %65, %66, %67}, %68, keep, 1, 1, 1;\n}"                                 \
                 : SB_D32("+f", d, 0), SB_D32("+f", d, 32)                                         \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep))

/* D = A B, or D += A B with ADD; A and B K-major in shared memory. Without ADD nothing of D is
 * read, so other values may have lived in its registers while products were in flight. */
template <bool HALF, bool ADD> __device__ inline void mma(float (&d)[32], uint64_t a, uint64_t b)
{
    if constexpr (HALF && ADD)
        SB_WGMMA_SS_64("f16", "+f", "1");
    else if constexpr (HALF)
        SB_WGMMA_SS_64("f16", "=f", "0");
    else if constexpr (ADD)
        SB_WGMMA_SS_64("bf16", "+f", "1");
    else
        SB_WGMMA_SS_64("bf16", "=f", "0");
}

/* D = A B + keep D, A in registers, B MN-major in shared memory. */
template <bool HALF>
__device__ inline void mma(float (&d)[32], const uint32_t (&a)[4], uint64_t b, int keep)
{
    if constexpr (HALF)
        SB_WGMMA_RS_64("f16");
    else
        SB_WGMMA_RS_64("bf16");
}

/* D = A B, or D += A B with ADD; A and B K-major in shared memory. Without ADD nothing of D is
 * read, so other values may have lived in its registers while products were in flight. */
template <bool HALF, bool ADD> __device__ inline void mma(float (&d)[64], uint64_t a, uint64_t b)
{
    if constexpr (HALF && ADD)
        SB_WGMMA_SS_128("f16", "+f", "1");
    else if constexpr (HALF)
        SB_WGMMA_SS_128("f16", "=f", "0");
    else if constexpr (ADD)
        SB_WGMMA_SS_128("bf16", "+f", "1");
    else
        SB_WGMMA_SS_128("bf16", "=f", "0");
}

/* D = A B + keep D, A in registers, B MN-major in shared memory. */
template <bool HALF>
__device__ inline void mma(float (&d)[64], const uint32_t (&a)[4], uint64_t b, int keep)
{
    if constexpr (HALF)
        SB_WGMMA_RS_128("f16");
    else
        SB_WGMMA_RS_128("bf16");
}

#undef SB_D8
#undef SB_D32
#undef SB_TEXT32
#undef SB_TEXT64
#undef SB_WGMMA_SS_64
#undef SB_WGMMA_RS_64
#undef SB_WGMMA_SS_128
#undef SB_WGMMA_RS_128

} // namespace wgmma

#endif
