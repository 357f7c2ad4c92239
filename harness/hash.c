#include "harness/hash.h"

/* FNV's prime over 64-bit words. The shift brings high bits down: a bare product never does, and
 * flips of the top bit of two words would cancel. */
static uint64_t step(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

uint64_t sb_hash64(const void *bytes, size_t n, uint64_t seed)
{
    const unsigned char *p = bytes;
    uint64_t hash = seed ^ UINT64_C(0xcbf29ce484222325);
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word = 0;
        for (int i = 0; i < 8; i++)
            word |= (uint64_t)p[i] << 8 * i;
        hash = step(hash, word);
    }
    uint64_t tail = (uint64_t)n << 56;
    for (size_t i = 0; i < n; i++)
        tail |= (uint64_t)p[i] << 8 * i;
    return n > 0 ? step(hash, tail) : hash;
}
