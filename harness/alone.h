#ifndef SB_ALONE_H
#define SB_ALONE_H

#include <stdint.h>

#include "harness/progress.h"
#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The right to compute what is timed: of the processes of one sweep on one machine, who has it for
 * the CPU is the only one that computes, who has it for a device the only one on that device, with
 * nobody on the CPU. It consists of locks on files in RUN/.alone, one for the machine and one for
 * each of its devices, and ends with the process. The file system has to know locks, as it has for
 * any run directory.
 */
typedef struct sb_alone {
    int machine, device; /**< open files, or -1 */
} sb_alone;

/**
 * Wait until this process may compute on a device (sb_cuda_device.id), or on the CPU where `device`
 * is 0, and say so on `progress`. Turns are taken: who gives it back and wants it again comes after
 * one that waited. SB_INTERRUPTED once *stop is set; SB_IO. Give back in any case.
 */
sb_status sb_alone_take(const char *run_path, uint64_t device, const volatile int *stop,
                        sb_progress *progress, sb_alone *alone, sb_err *err);
void sb_alone_give(sb_alone *alone);

#ifdef __cplusplus
}
#endif
#endif
