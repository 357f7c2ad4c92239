#include "harness/status.h"

#include <stdarg.h>
#include <stdio.h>

sb_status sb_fail(sb_err *err, sb_status status, const char *fmt, ...)
{
    if (err && err->status == SB_OK) {
        va_list args;
        va_start(args, fmt);
        err->status = status;
        (void)vsnprintf(err->msg, sizeof err->msg, fmt, args);
        va_end(args);
        for (char *c = err->msg; *c; c++) /* what files and names hold stays on one line */
            if ((unsigned char)*c < ' ' || *c == 0x7f)
                *c = ' ';
    }
    return status;
}

sb_status sb_no_memory(sb_err *err, const char *what)
{
    return sb_fail(err, SB_NO_MEMORY, "out of memory for %s", what);
}

int sb_exit_code(sb_status status)
{
    switch (status) {
    case SB_OK:
        return 0;
    case SB_REGRESSED:
        return 1;
    case SB_USAGE:
        return 2;
    case SB_BAD_DATA:
        return 3;
    case SB_UNAVAILABLE:
    case SB_UNSUPPORTED:
        return 4;
    case SB_INTERRUPTED:
        return 130;
    case SB_IO:
    case SB_NO_MEMORY:
    case SB_INTERNAL:
        break;
    }
    return 5;
}
