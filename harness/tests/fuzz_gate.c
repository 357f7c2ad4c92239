/* Gate files from any bytes: each is read or refused with one line, and nothing is left allocated.
 */

#include <stdint.h>

#include "harness/gate.h"
#include "harness/tests/fuzz_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    sb_gates gates;
    sb_err err = {0};
    char *text = fuzz_text(bytes, n_bytes);
    sb_status st = sb_gates_parse(text, n_bytes, "g", &gates, &err);
    fuzz_check(st, SB_USAGE, &err);
    fuzz_require(st != SB_OK || gates.n > 0);
    sb_gates_free(&gates);
    free(text);
    fuzz_require(sb_mem_live() == 0);
    return 0;
}
