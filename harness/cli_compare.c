#include <stdio.h>
#include <string.h>

#include "harness/arena.h"
#include "harness/cli.h"
#include "harness/compare_report.h"

typedef void report_writer(const sb_report *report, FILE *out);

static sb_status pick_format(const char *format, report_writer **write, sb_err *err)
{
    if (!format || strcmp(format, "text") == 0)
        *write = sb_report_text;
    else if (strcmp(format, "markdown") == 0)
        *write = sb_report_markdown;
    else if (strcmp(format, "junit") == 0)
        *write = sb_report_junit;
    else
        return sb_fail(err, SB_USAGE, "--format is '%.40s'; expected text, markdown or junit",
                       format);
    return SB_OK;
}

sb_status sb_cmd_compare(const sb_args *args, sb_err *err)
{
    sb_status st = SB_OK;
    char verdict[SB_LINE];
    report_writer *write = NULL;
    sb_where where = {0};
    sb_gates gates = {0};
    sb_comparison c = {0};
    sb_report report = {0};
    struct sb_arena *arena = sb_arena_new();
    SB_CHECK(arena, err, SB_NO_MEMORY, "out of memory for --where");
    SB_TRY(pick_format(args->format, &write, err));
    SB_TRY(sb_where_from_sets(args->sets, args->n_sets, arena, &where, err));
    if (args->gate)
        SB_TRY(sb_gates_load(args->gate, &gates, err));
    SB_TRY(sb_compare(args->operands[0], args->operands[1], &where, args->force, &c, err));
    SB_TRY(sb_report_make(&c, args->gate ? &gates : NULL, &report, err));
    write(&report, stdout);
    if (report.failed)
        st = sb_fail(err, SB_REGRESSED, "%s", sb_describe_verdict(&report, verdict));
out:
    sb_report_free(&report);
    sb_comparison_free(&c);
    sb_gates_free(&gates);
    sb_arena_free(arena);
    return st;
}
