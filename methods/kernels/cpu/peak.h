#ifndef SB_CPU_PEAK_H
#define SB_CPU_PEAK_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Measure what the arithmetic unit behind the kernels of an ISA level gives on n_threads threads at
 * once, GFLOP/s: the roofline of a throughput plot. "amx": products of bfloat16 tiles, operands
 * random and loaded from L1, two loads for two products; other levels: multiply-add on float32
 * vectors of that level's width, in registers. The best of three rounds of 10 ms. NAN where no
 * kernel of this build and machine has that level.
 */
double sb_cpu_peak_gflops(const char *isa, int n_threads);

#ifdef __cplusplus
}
#endif
#endif
