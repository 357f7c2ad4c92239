#include "methods/tests/rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static double uniform(uint64_t seed, uint64_t stream, int64_t i)
{
    return (double)(mix(mix(seed * 1000003 + stream) + (uint64_t)i) >> 40) / 8388608.0 - 1;
}

enum { SPAN = 40, N_TOPICS = 5 };

static double element(uint64_t seed, uint64_t stream, int64_t t, int64_t c, int64_t dim,
                      bool is_value)
{
    uint64_t choice = mix(mix(seed * 31 + stream) + (uint64_t)(t / SPAN));
    double noise = uniform(seed, stream, t * dim + c);
    if (is_value)
        return ldexp(noise, (int)(choice % 4) - 4);
    return noise + 0.75 * uniform(seed, 7777, (int64_t)(choice % N_TOPICS) * dim + c);
}

/* [B, n_heads, padded, dim]; position 0 of a sequence is token `skip[b]` of its stream. */
static void *make_tensor(const sb_rig_shape *s, uint64_t stream, int64_t n_heads, int64_t padded,
                         const int64_t *valid, const int64_t *skip, int64_t dim, bool is_value)
{
    int64_t n = s->n_batch * n_heads * padded * dim;
    float *wide = sb_oracle_calloc(n, sizeof *wide);
    for (int64_t i = 0; i < n; i++) {
        int64_t c = i % dim, t = i / dim % padded, head = i / dim / padded;
        int64_t b = head / n_heads;
        uint64_t own = stream + 10 * (uint64_t)head;
        wide[i] = t < valid[b] ? (float)element(s->seed, own, skip[b] + t, c, dim, is_value) : NAN;
    }
    void *narrow = sb_oracle_calloc(n, sb_dtype_bytes(s->dtype));
    sb_from_f32(s->dtype, wide, narrow, n);
    free(wide);
    return narrow;
}

static int64_t largest(const int64_t *values, int64_t n)
{
    int64_t max = values[0];
    for (int64_t i = 1; i < n; i++)
        max = values[i] > max ? values[i] : max;
    return max;
}

static void set_problem(sb_rig *rig, const sb_rig_shape *s)
{
    *rig = (sb_rig){0};
    for (int64_t b = 0; b < s->n_batch; b++) {
        rig->kv_lens[b] = s->kv_len[b];
        rig->q_lens[b] = s->q_len[b] ? s->q_len[b] : s->kv_len[b];
        rig->prompt_lens[b] = s->prompt_len[b] ? s->prompt_len[b] : s->kv_len[b];
    }
    rig->problem = (sb_problem){.n_batch = s->n_batch,
                                .n_heads = s->n_heads,
                                .n_kv_heads = s->n_kv_heads,
                                .q_len = largest(rig->q_lens, s->n_batch),
                                .kv_len = largest(rig->kv_lens, s->n_batch),
                                .dim = s->dim,
                                .dim_v = s->dim_v ? s->dim_v : s->dim,
                                .dtype = s->dtype,
                                .scale = 1 / sqrt((double)s->dim),
                                .layer = 5};
    if (s->n_batch > 1) {
        rig->problem.q_lens = rig->q_lens;
        rig->problem.kv_lens = rig->kv_lens;
    }
    if (s->prompt_len[0])
        rig->problem.prompt_lens = rig->prompt_lens;
}

void sb_rig_make(sb_rig *rig, const sb_rig_shape *s)
{
    set_problem(rig, s);
    const sb_problem *p = &rig->problem;
    int64_t start[SB_RIG_BATCH] = {0}, skip[SB_RIG_BATCH] = {0};
    for (int64_t b = 0; b < s->n_batch; b++)
        skip[b] = rig->kv_lens[b] - rig->q_lens[b];
    rig->q = make_tensor(s, 100, p->n_heads, p->q_len, rig->q_lens, skip, p->dim, false);
    rig->k = make_tensor(s, 2000, p->n_kv_heads, p->kv_len, rig->kv_lens, start, p->dim, false);
    rig->v = make_tensor(s, 4000, p->n_kv_heads, p->kv_len, rig->kv_lens, start, p->dim_v, true);
    rig->in = (sb_inputs){rig->q, rig->k, rig->v};
}

void sb_rig_make_rising(sb_rig *rig, int64_t kv_len, int64_t q_len, int64_t prompt_len,
                        int64_t block)
{
    const int64_t dim = 8;
    sb_rig_shape s = {.n_batch = 1, .n_heads = 1, .n_kv_heads = 1, .dim = dim, .dtype = SB_F32};
    s.kv_len[0] = kv_len;
    s.q_len[0] = q_len;
    s.prompt_len[0] = prompt_len;
    set_problem(rig, &s);
    float *q = sb_oracle_calloc(q_len * dim, sizeof *q);
    float *k = sb_oracle_calloc(kv_len * dim, sizeof *k);
    for (int64_t t = 0; t < q_len; t++)
        q[t * dim] = 1;
    for (int64_t t = 0; t < kv_len; t++)
        k[t * dim] = (float)(t / block);
    rig->q = q;
    rig->k = k;
    rig->v = sb_oracle_calloc(kv_len * dim, sizeof(float));
    rig->in = (sb_inputs){rig->q, rig->k, rig->v};
}

void sb_rig_free(sb_rig *rig)
{
    free(rig->v);
    free(rig->k);
    free(rig->q);
    *rig = (sb_rig){0};
}

static sb_status parse_list(const sb_param *param, char *text, double *list, sb_value *value,
                            sb_err *err)
{
    int32_t n = 0;
    for (char *save = NULL, *item = strtok_r(text, "[,]", &save); item;
         item = strtok_r(NULL, "[,]", &save))
        list[n++] = strtod(item, NULL);
    *value = (sb_value){.state = SB_VALUE_SET, .n_list = n, .list = list};
    return sb_value_check_list(param, list, n, err);
}

sb_status sb_rig_values(const sb_method *m, const char *text, sb_value *values, sb_err *err)
{
    static double lists[4][64];
    int n_lists = 0;
    char copy[512];
    snprintf(copy, sizeof copy, "%s", text);
    memset(values, 0, SB_MAX_PARAMS * sizeof *values);
    for (char *save = NULL, *item = strtok_r(copy, " ", &save); item;
         item = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(item, '=');
        *equals = '\0';
        int i = sb_param_index(m, item);
        if (i < 0)
            return sb_fail(err, SB_USAGE, "%s has no parameter %s", m->name, item);
        const sb_param *param = &m->params[i];
        sb_status st = param->type == SB_LIST && equals[1] == '['
                           ? parse_list(param, equals + 1, lists[n_lists++], &values[i], err)
                           : sb_value_parse(param, equals + 1, &values[i], err);
        if (st != SB_OK)
            return st;
    }
    return sb_values_resolve(m, values, err);
}

sb_status sb_rig_select(const sb_method *m, const char *text, const sb_rig *rig, int n_threads,
                        sb_pattern *pat, sb_plan **plan, sb_err *err)
{
    sb_value values[SB_MAX_PARAMS];
    sb_exec exec = {.backend = SB_CPU, .n_threads = n_threads};
    sb_plan *own = NULL;
    sb_status st;
    SB_TRY(sb_rig_values(m, text, values, err));
    SB_TRY(sb_plan_create(m, &rig->problem, &exec, values, &own, err));
    SB_TRY(sb_pattern_alloc(&rig->problem, own->block, own->pattern_capacity, pat, err));
    if (own->tokens)
        SB_TRY(sb_pattern_add_tokens(pat, err));
    SB_TRY(sb_plan_select(own, &rig->in, pat, err));
    if (plan) {
        *plan = own;
        own = NULL;
    }
out:
    sb_plan_destroy(own);
    return st;
}

int64_t sb_rig_count(const sb_pattern *pat, int64_t b, int64_t h, int64_t r)
{
    int64_t i = (b * pat->n_heads + h) * pat->n_rows + r;
    return pat->row_ptr[i + 1] - pat->row_ptr[i];
}

uint64_t sb_rig_tokens(const sb_pattern *pat, int64_t b, int64_t h, int64_t r, int64_t J)
{
    int64_t i = sb_pattern_row(pat, b, h, r);
    for (int64_t at = pat->row_ptr[i]; at < pat->row_ptr[i + 1]; at++)
        if (pat->col[at] == J)
            return pat->tokens ? pat->tokens[at] : UINT64_MAX;
    return 0;
}

bool sb_rig_keeps(const sb_pattern *pat, int64_t b, int64_t h, int64_t r, int64_t J)
{
    return sb_rig_tokens(pat, b, h, r, J) != 0;
}

bool sb_rig_same(const sb_pattern *a, const sb_pattern *b)
{
    int64_t n = a->n_batch * a->n_heads * a->n_rows;
    return n == b->n_batch * b->n_heads * b->n_rows && a->block == b->block &&
           memcmp(a->row_ptr, b->row_ptr, (size_t)(n + 1) * sizeof *a->row_ptr) == 0 &&
           memcmp(a->col, b->col, (size_t)a->row_ptr[n] * sizeof *a->col) == 0 &&
           !a->tokens == !b->tokens &&
           (!a->tokens ||
            memcmp(a->tokens, b->tokens, (size_t)a->row_ptr[n] * sizeof *a->tokens) == 0);
}
