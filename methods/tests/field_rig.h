#ifndef SB_TESTS_FIELD_RIG_H
#define SB_TESTS_FIELD_RIG_H

/* What the tests of the field's methods share: from a golden group's attributes to a method's
 * parameters, and from those to the oracle's selection. */

#include "methods/tests/golden_rig.h"
#include "methods/tests/oracle_field.h"

enum { SB_FIELD_SETTINGS = 10 };

/** Which groups belong together: the beginning of their names, and the method. */
extern const struct sb_field_setting {
    const char *group, *method, *text;
} sb_field_settings[SB_FIELD_SETTINGS];

/** The setting of a group's name, or -1. */
int sb_field_setting_of(const char *group_name);

/** Writes a group's parameters as text. */
void sb_field_text(hid_t group, int setting, char *text, size_t bytes);

/** What the oracle selects under these resolved values. */
sb_field_choice sb_field_choose(const sb_method *m, const sb_value *values, const sb_oracle *o);

/** How a sequence of a pattern differs from a choice. */
typedef struct sb_field_tally {
    int64_t n_lists, n_differing; /**< lists, and those that differ */
    int64_t n_wrong;              /**< of those, with all decisions beyond rounding */
} sb_field_tally;

/** Compare sequence b; lists that differ are wrong where their margin is above `rounding`. */
void sb_field_compare(const sb_pattern *pat, int64_t b, const sb_field_choice *c, double rounding,
                      sb_field_tally *tally);

#endif
