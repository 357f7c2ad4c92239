#ifndef SB_COMPARE_REPORT_H
#define SB_COMPARE_REPORT_H

#include <stdio.h>

#include "harness/gate.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SB_WORST = 10, SB_LINE = 700 };

/** Where within a cell the error grew most. */
typedef struct sb_worst_place {
    int64_t head; /**< -1: not known */
    double head_before, head_after;
    int64_t token, n_tokens; /**< first query token and size of the position bin; -1: not known */
    double tokens_before, tokens_after;
} sb_worst_place;

/** All that a report tells. */
typedef struct sb_report {
    const sb_comparison *c;
    const sb_gates *gates;   /**< NULL: none */
    sb_gate_result *results; /**< [gates->n] */
    int64_t n_gates_failed;
    int64_t n_worst, worst[SB_WORST]; /**< indices of pairs, worst first */
    sb_worst_place places[SB_WORST];
    bool failed; /**< a gate failed, or without gates the comparison regressed, or cells are gone */
} sb_report;

/** Judge the gates and look for the places of the worst cells. Ends as sb_report_free wants it, on
 *  errors too. */
sb_status sb_report_make(const sb_comparison *c, const sb_gates *gates, sb_report *report,
                         sb_err *err);
void sb_report_free(sb_report *report);

/** Whether a cell by itself fails the comparison: gates, where there are any, judge metrics and
 *  patterns in place of the tolerances, but never excuse a cell that is gone. */
bool sb_report_fails(const sb_report *report, const sb_pair *p);

/** Write a report: plain text, Markdown for a comment, or JUnit XML with a test case for each cell
 *  and gate. Times of day and such are left out: equal inputs give equal bytes. */
void sb_report_text(const sb_report *report, FILE *out);
void sb_report_markdown(const sb_report *report, FILE *out);
void sb_report_junit(const sb_report *report, FILE *out);

/* Lines of at most SB_LINE bytes without control characters. Each returns buf. */

/** "REGRESSED: 2 worse, 1 missing of 132 cells" */
const char *sb_describe_verdict(const sb_report *report, char *buf);
/** "131 paired: 129 same, 2 worse; 1 missing" */
const char *sb_describe_cells(const sb_comparison *c, char *buf);
const char *sb_describe_patterns(const sb_comparison *c, char *buf);
const char *sb_describe_latency(const sb_comparison *c, char *buf);
/** "3 of 44 cells do not pass" */
const char *sb_describe_gate(const sb_gate *gate, const sb_gate_result *r, char *buf);
/** "stem mu=0.4, layer 2, 2048 tokens, bf16, cpu, data/x.h5"; of a running model
 *  "stem mu=0.4, 2048 tokens, bf16, cpu, kjv.txt:1000, decode, layers 0,1" */
const char *sb_describe_cell(const sb_comparison *c, const sb_pair *p, char *buf);
/** What became of it: "pattern differs; rel_l2 0.1 -> 0.2 (+100%, tolerance 0.001)" */
const char *sb_describe_change(const sb_comparison *c, const sb_pair *p, char *buf);
/** "head 3: rel_l2 0.1 -> 0.3; tokens 512 to 575: 0.1 -> 0.4", or "" */
const char *sb_describe_place(const sb_worst_place *place, char *buf);
/** One word for an outcome. */
const char *sb_outcome_name(sb_outcome outcome);

#ifdef __cplusplus
}
#endif
#endif
