#ifndef SB_CHILD_H
#define SB_CHILD_H

#include "harness/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Make call(what) in a child process, whose effects on memory are lost, and return its status and
 * error. For parsers that crash on damaged files: SB_BAD_DATA naming `path` when the child dies or
 * computes for more than `seconds`. As the child starts as a copy of this process, the same call
 * made next in this process does the same. SB_IO when there can be no child.
 */
sb_status sb_try_in_child(sb_status (*call)(const void *what, sb_err *err), const void *what,
                          const char *path, double seconds, sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
