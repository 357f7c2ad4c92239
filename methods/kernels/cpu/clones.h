#ifndef SB_CPU_CLONES_H
#define SB_CPU_CLONES_H

/* Wider instructions where the CPU has them; the lanes, and so the bits, stay the same. (clang 14
 * names the clones so that no other file finds them.) */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__) &&                        \
    !defined(__SANITIZE_ADDRESS__)
#define SB_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SB_CLONES
#endif

/* Before a loop over accumulators, which must become registers at -O2 too. */
#if defined(__clang__)
#define SB_UNROLL _Pragma("unroll")
#else
#define SB_UNROLL _Pragma("GCC unroll 16")
#endif

#define SB_ALWAYS_INLINE static inline __attribute__((always_inline))

#endif
