#ifndef SB_FUZZ_RIG_H
#define SB_FUZZ_RIG_H

/* What the fuzz targets share: an input of the heap, where a read beyond it is seen, and what must
 * hold of every error. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define fuzz_require(cond)                                                                         \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #cond);                    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The input as text; the caller frees it. */
static inline char *fuzz_text(const uint8_t *bytes, size_t n_bytes)
{
    char *text = malloc(n_bytes + 1);
    if (!text)
        abort();
    if (n_bytes > 0)
        memcpy(text, bytes, n_bytes);
    text[n_bytes] = '\0';
    return text;
}

/* A call succeeded without a message, or failed with `refusal` and one line that can be printed. */
static inline void fuzz_check(sb_status st, sb_status refusal, const sb_err *err)
{
    bool one_line = true;
    for (const char *c = err->msg; *c; c++)
        one_line &= (unsigned char)*c >= ' ' && *c != 0x7f;
    if (st != SB_OK && st != refusal)
        fprintf(stderr, "status %d: %s\n", (int)st, err->msg);
    fuzz_require(st == SB_OK || st == refusal);
    fuzz_require(st == err->status && (st == SB_OK) == (err->msg[0] == '\0'));
    fuzz_require(one_line);
}

#endif
