#ifndef SB_CHECK_H
#define SB_CHECK_H

/* The whole test framework: TEST() names a case, EXPECT() states a fact and goes on, REQUIRE()
 * states one without which the case makes no sense. A test program ends with `return
 * sb_tests_done();`. */

#include <stdio.h>

static int sb_n_passed_, sb_n_failed_, sb_case_failed_;
static const char *sb_case_;

static inline void sb_case_end_(void)
{
    if (!sb_case_)
        return;
    if (sb_case_failed_)
        sb_n_failed_++;
    else
        sb_n_passed_++;
    sb_case_ = NULL;
}

static inline void sb_case_begin_(const char *name)
{
    sb_case_end_();
    sb_case_ = name;
    sb_case_failed_ = 0;
}

static inline int sb_expect_(int ok, const char *file, int line, const char *text)
{
    if (!ok) {
        sb_case_failed_ = 1;
        fprintf(stderr, "%s:%d: %s: expected %s\n", file, line, sb_case_ ? sb_case_ : "?", text);
    }
    return ok;
}

#define TEST(name) sb_case_begin_(name)
#define EXPECT(cond) ((void)sb_expect_(!!(cond), __FILE__, __LINE__, #cond))
#define REQUIRE(cond)                                                                              \
    do {                                                                                           \
        if (!sb_expect_(!!(cond), __FILE__, __LINE__, #cond))                                      \
            return;                                                                                \
    } while (0)
/* As EXPECT, with values to read when it fails. */
#define EXPECT_MSG(cond, ...)                                                                      \
    do {                                                                                           \
        if (!sb_expect_(!!(cond), __FILE__, __LINE__, #cond)) {                                    \
            fprintf(stderr, "    ");                                                               \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
        }                                                                                          \
    } while (0)

static inline int sb_tests_done(void)
{
    sb_case_end_();
    printf("%d passed, %d failed\n", sb_n_passed_, sb_n_failed_);
    return sb_n_failed_ > 0 || sb_n_passed_ == 0;
}

#endif
