#ifndef SB_TESTS_SUBJECTS_H
#define SB_TESTS_SUBJECTS_H

/* Every sparse method of the table with the range of its `solve` parameter, for the tests of what
 * holds for all of them and between them. */

#include "methods/tests/rig.h"

enum { SB_SUBJECT_TOKENS = 700, SB_SUBJECT_TEXT = 256, SB_SUBJECTS = 27 };

/** A method, and where its `solve` parameter goes from sparse to dense. */
typedef struct sb_subject {
    const char *method, *text;
    double from, to;
} sb_subject;

extern const sb_subject sb_subjects[SB_SUBJECTS];

/** The parameter that `match` solves for; NULL where there is none. */
const sb_param *sb_subject_solve(const sb_method *m);

/** The subject's parameters at step i of n from sparse to dense, to text [SB_SUBJECT_TEXT]. */
void sb_subject_write(const sb_subject *s, int i, int n, char *text);

/** A prompt of so many of SB_SUBJECT_TOKENS tokens, sharp enough for methods to differ. */
void sb_subject_rig(sb_rig *rig, int64_t n_heads, int64_t n_kv_heads, int64_t tokens,
                    uint64_t seed);

#endif
