#ifndef SB_CPU_TILES_H
#define SB_CPU_TILES_H

#include <immintrin.h>
#include <stdint.h>

/* Make all eight tile registers 16 rows of 64 bytes. The process must have been lent them. */
__attribute__((target("amx-tile"))) static inline void sb_configure_tiles(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t n_rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.n_rows[i] = 16;
    }
    /* gcc takes the instruction to read a pointer's worth of memory at most. */
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

#endif
