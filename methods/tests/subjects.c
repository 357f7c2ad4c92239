#include "methods/tests/subjects.h"

#include <math.h>
#include <stdio.h>

const sb_subject sb_subjects[SB_SUBJECTS] = {
    {"uniform", "block=32 sinks=0 window=1", 0.15, 0.9},
    {"stem", "block=32 sinks=0 window=1", 0.15, 0.9},
    {"uniform", "score=mass block=32 sinks=0 window=1", 0.15, 0.9},
    {"stem", "score=mass block=32 sinks=0 window=1", 0.15, 0.9},
    {"streaming", "block=32 sink=32", 16, 600},
    {"streaming", "variant=tri block=32 sink=32 last=100", 16, 600},
    {"minference", "variant=vertical_slash vertical=300 slash=600", 0.05, 1},
    {"minference", "variant=vertical_slash vertical=300 slash=600 form=blocks", 0.05, 1},
    {"minference", "variant=block_sparse block=32 top_k=20", 0.05, 1},
    {"flexprefill", "block=32 tau=0 min_budget=32", 0.3, 0.999},
    {"flexprefill", "block=32 tau=1 min_budget=32", 0.1, 0.99},
    {"xattention", "block=32 stride=8", 0.05, 0.99},
    {"xattention", "block=32 stride=8 chunk=256", 0.05, 0.99},
    {"sparge", "variant=cdf block=32 block_q=32 block_k=32 similarity=0.1", 0.05, 0.99},
    {"sparge", "variant=top block=32 block_q=64 block_k=32 similarity=0.1", 0.05, 0.9},
    {"flashprefill", "block=32 sink=32 window=32 last_full=0", 0.99, 0.01},
    {"flashprefill", "block=32 sink=32 window=64 last_full=2", 0.99, 0.01},
    {"cosa", "block=32 stride=8", 0.05, 0.99},
    {"vecattention", "variant=kernel group=8", 0.999, 0.01},
    {"vecattention", "variant=kernel group=1024 form=blocks", 0.999, 0.01},
    {"vecattention", "variant=reference band=1", 0.999, 0.01},
    {"vecattention", "variant=reference band=1 form=blocks", 0.999, 0.01},
    {"oracle", "by=mass scope=layer block=32", 0.1, 0.9},
    {"oracle", "by=output scope=layer block=32", 0.1, 0.9},
    {"oracle", "by=mass scope=row block=32", 0.1, 0.9},
    {"oracle", "by=output scope=row block=32", 0.1, 0.9},
    {"random", "block=32 sinks=0", 0.15, 0.9},
};

const sb_param *sb_subject_solve(const sb_method *m)
{
    for (int i = 0; i < m->n_params; i++)
        if (m->params[i].solve != 0)
            return &m->params[i];
    return NULL;
}

void sb_subject_write(const sb_subject *s, int i, int n, char *text)
{
    const sb_param *param = sb_subject_solve(sb_method_find(s->method));
    double x = s->from + (s->to - s->from) * i / (n - 1);
    snprintf(text, SB_SUBJECT_TEXT, "%s %s=%.17g", s->text, param->name,
             param->type == SB_INT ? floor(x) : x);
}

void sb_subject_rig(sb_rig *rig, int64_t n_heads, int64_t n_kv_heads, int64_t tokens, uint64_t seed)
{
    sb_rig_shape shape = {1,        n_heads, n_kv_heads,          32,      32,
                          {tokens}, {0},     {SB_SUBJECT_TOKENS}, SB_BF16, seed};
    sb_rig_make(rig, &shape);
    rig->problem.scale *= 4;
}
