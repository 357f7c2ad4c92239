#include <string.h>

#include "harness/config.h"

enum { MAX_WORD = 63 };

static int least(int a, int b, int c)
{
    int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein distance; both words have at most MAX_WORD characters. */
static int distance(const char *a, const char *b)
{
    int row[MAX_WORD + 1];
    int n = (int)strlen(b);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[n];
}

const char *sb_nearest(const char *word, const char *const *known, int64_t n_known)
{
    size_t length = strlen(word);
    if (length > MAX_WORD)
        return NULL;
    const char *best = NULL;
    int best_distance = (int)length / 2 + 1;
    for (int64_t i = 0; i < n_known; i++) {
        if (strlen(known[i]) > MAX_WORD)
            continue;
        int d = distance(word, known[i]);
        if (d < best_distance) {
            best_distance = d;
            best = known[i];
        }
    }
    return best;
}
