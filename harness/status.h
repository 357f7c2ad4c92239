#ifndef SB_STATUS_H
#define SB_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/** What a call can end with. sb_exit_code() maps each to the program's exit code. */
typedef enum sb_status {
    SB_OK = 0,
    SB_REGRESSED,   /**< a gate failed or a comparison regressed (exit 1) */
    SB_USAGE,       /**< wrong command line or config (exit 2) */
    SB_BAD_DATA,    /**< unreadable, malformed or non-finite input data (exit 3) */
    SB_UNAVAILABLE, /**< the asked backend, ISA or device is not there (exit 4) */
    SB_IO,          /**< reading or writing failed (exit 5) */
    SB_NO_MEMORY,   /**< an allocation failed (exit 5) */
    SB_INTERNAL,    /**< a broken invariant: a defect of ours (exit 5) */
    SB_INTERRUPTED, /**< stopped by SIGINT or SIGTERM (exit 130) */
    SB_UNSUPPORTED  /**< a method does not take this shape: a skipped row, not a failure */
} sb_status;

/** The first error of a call chain. Start it as {0}. */
typedef struct sb_err {
    sb_status status;
    char msg[512]; /**< one line: what, where, what was expected */
} sb_err;

/**
 * Record an error unless one is recorded already, and return `status`. Control characters become
 * blanks.
 * `err` may be NULL.
 */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
sb_status
sb_fail(sb_err *err, sb_status status, const char *fmt, ...);

/** Record that memory ran out while making `what`, and return SB_NO_MEMORY. */
sb_status sb_no_memory(sb_err *err, const char *what);

/** Process exit code of a status (0 to 5, or 130 when interrupted). */
int sb_exit_code(sb_status status);

/* Both expect a local `sb_status st` and a label `out` that frees and returns st. */
#define SB_TRY(expr)                                                                               \
    do {                                                                                           \
        if ((st = (expr)) != SB_OK)                                                                \
            goto out;                                                                              \
    } while (0)
#define SB_CHECK(cond, ...)                                                                        \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            st = sb_fail(__VA_ARGS__);                                                             \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
