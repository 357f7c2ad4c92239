/* results.csv from any bytes: read or refused with one line, nothing left allocated, and what is
 * read is written as a CSV that reads the same. */

#include "harness/results_store.h"
#include "harness/tests/fuzz_rig.h"

/* The records as a CSV, for free(). */
static char *write_all(const sb_record_list *list)
{
    char *text = fuzz_text(NULL, 0), *line = NULL;
    size_t used = 0;
    for (int64_t i = -1; i < list->n; i++) {
        fuzz_require(sb_csv_line(i < 0 ? NULL : &list->items[i], &line, NULL) == SB_OK);
        size_t n = strlen(line);
        text = realloc(text, used + n + 1);
        if (!text)
            abort();
        memcpy(text + used, line, n + 1);
        used += n;
        sb_free(line);
    }
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    sb_record_list list = {0}, again = {0};
    sb_err err = {0};
    char *text = fuzz_text(bytes, n_bytes);
    sb_status st = sb_csv_parse(text, n_bytes, "f", "", &list, &err);
    fuzz_check(st, SB_BAD_DATA, &err);
    if (st == SB_OK) {
        char *first = write_all(&list), *copy = fuzz_text((uint8_t *)first, strlen(first));
        fuzz_require(sb_csv_parse(copy, strlen(first), "f", "", &again, NULL) == SB_OK);
        char *second = write_all(&again);
        fuzz_require(again.n == list.n && strcmp(first, second) == 0);
        free(second);
        free(copy);
        free(first);
    }
    sb_records_free(again.items, again.n);
    sb_records_free(list.items, list.n);
    free(text);
    fuzz_require(sb_mem_live() == 0);
    return 0;
}
