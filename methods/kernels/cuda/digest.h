#ifndef SB_CUDA_DIGEST_H
#define SB_CUDA_DIGEST_H

#include "harness/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Digest of each of n_parts equal pieces of x, so that outputs can be compared without copying
 * them to the host: the sum, modulo 2^64, over a piece's words of a mix of word and place. Words
 * are 8 bytes where pieces are whole ones and x is aligned to them, else 2.
 *
 * x [n_parts, part_bytes] and digest [n_parts] are device pointers; part_bytes is even. Integer
 * sums: the same in every run. Enqueued on the stream; SB_UNAVAILABLE when the launch failed.
 */
sb_status sb_cuda_digest(const void *x, int64_t n_parts, int64_t part_bytes, uint64_t *digest,
                         sb_stream stream, sb_err *err);

/** What a word adds to its piece's digest. */
#ifdef __CUDACC__
__host__ __device__
#endif
    static inline uint64_t
    sb_digest_word(uint64_t word, uint64_t place)
{
    uint64_t x = word + (place + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#ifdef __cplusplus
}
#endif
#endif
