/* Configs from any bytes: each is read or refused with one line, and nothing is left allocated.
 * What follows a byte 0xff, which no UTF-8 text has, is one --set each. */

#include <stdint.h>
#include <string.h>

#include "harness/config.h"
#include "harness/tests/fuzz_rig.h"

enum { MAX_FUZZ_SETS = 4 };

/* Cuts the text at its first 0xff. The rest becomes texts that end with a NUL. */
static int64_t split_sets(char *text, size_t *n_bytes, const char **sets)
{
    int64_t n = 0;
    char *end = text + *n_bytes, *at = memchr(text, 0xff, *n_bytes);
    if (at)
        *n_bytes = (size_t)(at - text);
    while (at && n < MAX_FUZZ_SETS) {
        *at++ = '\0';
        sets[n++] = at;
        at = memchr(at, 0xff, (size_t)(end - at));
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    sb_config cfg;
    sb_err err = {0};
    const char *sets[MAX_FUZZ_SETS];
    char *text = fuzz_text(bytes, n_bytes);
    int64_t n_sets = split_sets(text, &n_bytes, sets);
    sb_status st = sb_config_parse(text, n_bytes, "c", sets, n_sets, &cfg, &err);
    fuzz_check(st, SB_USAGE, &err);
    if (st == SB_OK)
        fuzz_require(cfg.n_captures > 0 && cfg.n_variants > 0 && cfg.n_dtypes > 0);
    sb_config_free(&cfg);
    free(text);
    fuzz_require(sb_mem_live() == 0);
    return 0;
}
