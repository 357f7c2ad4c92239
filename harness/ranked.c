#include "harness/ranked.h"

#include <stdlib.h>

static int dearer(const void *a, const void *b)
{
    const sb_ranked *x = a, *y = b;
    if (x->seconds != y->seconds)
        return x->seconds > y->seconds ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

void sb_rank_dearest_first(sb_ranked *ranked, int64_t n)
{
    if (n > 1)
        qsort(ranked, (size_t)n, sizeof *ranked, dearer);
}
