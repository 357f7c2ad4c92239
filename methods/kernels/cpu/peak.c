#include "methods/kernels/cpu/peak.h"

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "methods/kernels/cpu/attend.h"

#if defined(__x86_64__)
#include "methods/kernels/cpu/tiles.h"
#endif

/* A loop takes some 20 us: short beside a round, long beside reading the clock. */
enum { STEPS = 4096, TILE_BYTES = 1024, N_TILES = 16 };
static const double round_s = .01;

/* Does its work, on random operands where it needs memory, and says how many FLOPs that was. */
typedef double (*loop)(const uint16_t *tiles);

/* ---- float32 vectors ----------------------------------------------------------------------- */

/* Ten chains of multiply-adds cover the latency of two units and fit 16 registers. They all tend to
 * y / (1 - 0.75), so the values stay normal numbers. */
#define VECTOR_LOOP(name, attributes, lanes)                                                       \
    attributes static double name(const uint16_t *tiles)                                           \
    {                                                                                              \
        typedef float vf __attribute__((vector_size((lanes) * sizeof(float))));                    \
        volatile float factor = .75f, sink;                                                        \
        vf x, y;                                                                                   \
        for (int i = 0; i < (lanes); i++) {                                                        \
            x[i] = factor;                                                                         \
            y[i] = (float)(1 + tiles[i] % 16);                                                     \
        }                                                                                          \
        vf a = y, b = a + y, c = b + y, d = c + y, e = d + y;                                      \
        vf f = e + y, g = f + y, h = g + y, k = h + y, l = k + y;                                  \
        for (int i = 0; i < STEPS; i++) {                                                          \
            a = a * x + y, b = b * x + y, c = c * x + y, d = d * x + y, e = e * x + y;             \
            f = f * x + y, g = g * x + y, h = h * x + y, k = k * x + y, l = l * x + y;             \
        }                                                                                          \
        vf sum = a + b + c + d + e + f + g + h + k + l;                                            \
        for (int i = 0; i < (lanes); i++)                                                          \
            sink = sum[i];                                                                         \
        (void)sink;                                                                                \
        return 2.0 * 10 * (lanes)*STEPS;                                                           \
    }

VECTOR_LOOP(vector_4, , 4)

#if defined(__x86_64__)
VECTOR_LOOP(vector_8, __attribute__((target("avx2,fma"))), 8)
VECTOR_LOOP(vector_16, __attribute__((target("avx512f"))), 16)

/* ---- tiles --------------------------------------------------------------------------------- */

/* A matrix of two tiles by one of two: two loads feed two products. */
__attribute__((target("amx-tile,amx-bf16"))) static double tile_products(const uint16_t *tiles)
{
    sb_configure_tiles();
    /* The tile loads read what fill() wrote, unseen by the compiler. */
    __asm__ volatile("" : : "r"(tiles) : "memory");
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int i = 0; i < STEPS / 4; i++) {
        const char *at = (const char *)tiles + 4 * i % N_TILES * TILE_BYTES;
        _tile_loadd(4, at, 64);
        _tile_loadd(5, at + TILE_BYTES, 64);
        _tile_loadd(6, at + 2 * TILE_BYTES, 64);
        _tile_loadd(7, at + 3 * TILE_BYTES, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return 2.0 * 16 * 16 * 32 * STEPS;
}
#endif

/* ---- the probe ----------------------------------------------------------------------------- */

static loop loop_of(const char *isa)
{
#if defined(__x86_64__)
    if (strcmp(isa, "amx") == 0)
        return tile_products;
    if (strcmp(isa, "avx512") == 0)
        return vector_16;
    if (strcmp(isa, "avx2") == 0)
        return vector_8;
#else
    (void)isa;
#endif
    return vector_4;
}

static bool runs_here(const char *isa)
{
    int n;
    const sb_attend_kernel *const *kernels = sb_cpu_kernels(&n);
    for (int i = 0; i < n; i++)
        if (strcmp(kernels[i]->isa, isa) == 0 && kernels[i]->available())
            return true;
    return false;
}

/* bfloat16 of either sign from 1/2 to 2: products of zeros or of equal numbers would be faster. */
static void fill(uint16_t *tiles)
{
    uint64_t state = 1;
    for (int i = 0; i < N_TILES * TILE_BYTES / 2; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        tiles[i] = (uint16_t)(0x3f00 | (state >> 48 & 0x80ff));
    }
}

double sb_cpu_peak_gflops(const char *isa, int n_threads)
{
    _Alignas(64) uint16_t tiles[N_TILES * TILE_BYTES / 2];
    const loop run = loop_of(isa);
    double best = NAN;
    fill(tiles);
    for (int round = 0; round < 4 && runs_here(isa); round++) {
        double flops = 0, start = 0;
#pragma omp parallel num_threads(n_threads) reduction(+ : flops)
        {
#pragma omp single
            start = omp_get_wtime();
            do {
                flops += run(tiles);
            } while (omp_get_wtime() - start < round_s);
        }
        /* The first round wakes the threads and the unit. */
        if (round > 0)
            best = fmax(best, flops / (omp_get_wtime() - start) * 1e-9);
    }
    return best;
}
