#ifndef SB_HASH_H
#define SB_HASH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** 64-bit hash of n bytes, started from `seed`: 0, or the hash of what comes before. Not
 *  cryptographic; the same on every machine. */
uint64_t sb_hash64(const void *bytes, size_t n, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif
