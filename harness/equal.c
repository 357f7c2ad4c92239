#include "harness/equal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"

typedef struct numbered {
    char *text;
    int64_t i;
} numbered;

static int by_text(const void *a, const void *b)
{
    const numbered *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order != 0 ? order : x->i < y->i ? -1 : x->i > y->i;
}

sb_status sb_first_equal(const void *things, int64_t n, sb_text_of *text, int64_t *first,
                         sb_err *err)
{
    sb_status st = SB_OK;
    numbered *sorted = sb_alloc(n, sizeof *sorted);
    SB_CHECK(sorted, err, SB_NO_MEMORY, "out of memory for texts to compare");
    for (int64_t i = 0; i < n; i++) {
        sorted[i] = (numbered){text(things, i), i};
        SB_CHECK(sorted[i].text, err, SB_NO_MEMORY, "out of memory for texts to compare");
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_text);
    for (int64_t i = 0; i < n; i++) {
        bool same = i > 0 && strcmp(sorted[i].text, sorted[i - 1].text) == 0;
        first[sorted[i].i] = same ? first[sorted[i - 1].i] : sorted[i].i;
    }
out:
    for (int64_t i = 0; sorted && i < n; i++)
        sb_free(sorted[i].text);
    sb_free(sorted);
    return st;
}
