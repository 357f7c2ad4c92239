/*
 * A CUDA device made of host memory: the C interfaces of methods/kernels/cuda on the CPU's kernels,
 * linked in place of the CUDA objects, so that everything around them can be tested without a GPU.
 *
 * Device memory cannot be touched by the host, and what is enqueued happens when the stream is
 * synchronised: a device pointer that is followed, a copy that is forgotten and a missing
 * synchronisation all show. Environment STEMBENCH_FAKE holds failures, separated by commas:
 *
 *   absent      there is no device             memory=N    it has N bytes
 *   devices=N   of N devices the first that CUDA_VISIBLE_DEVICES names, else device 0
 *   fail=N      the N-th attention fails, and all work after it
 *   throttle=N  every N-th state is throttled  no-cudnn    cuDNN does not load
 *   overrun     attention writes a byte past the end of o
 *   skip        attention leaves the last row of o unwritten
 *   flaky       attention gives other bits from its fifth call on
 *   stale       attention ignores its inputs from its second call on
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/mem.h"
#include "harness/timing.h"
#include "methods/kernels/cpu/attend.h"
#include "methods/kernels/cuda/cudnn.h"
#include "methods/kernels/cuda/device.h"
#include "methods/kernels/cuda/digest.h"
#include "methods/kernels/cuda/select.h"
#include "methods/stages.h"

enum { MAX_BLOCKS = 4096, MAX_OPS = 4096, PAGE = 4096, DENSE_BLOCK = 128 };

/* The value of a failure of that name, 1 where it has none, 0 where it is not asked for. */
static int64_t asked(const char *name)
{
    const char *text = getenv("STEMBENCH_FAKE");
    size_t n = strlen(name);
    for (; text && *text; text += strcspn(text, ","), text += *text == ',')
        if (strncmp(text, name, n) == 0 && (text[n] == '=' || text[n] == ',' || !text[n]))
            return text[n] == '=' ? strtoll(text + n + 1, NULL, 10) : 1;
    return 0;
}

/* ---- memory --------------------------------------------------------------------------------- */

static struct {
    char *at;
    size_t bytes;
} blocks[MAX_BLOCKS];
static int64_t in_use;

static int64_t room(void)
{
    return asked("memory") ? asked("memory") : INT64_C(1) << 30;
}

static void lock(bool locked)
{
    for (int i = 0; i < MAX_BLOCKS; i++)
        if (blocks[i].at)
            (void)mprotect(blocks[i].at, blocks[i].bytes,
                           locked ? PROT_NONE : PROT_READ | PROT_WRITE);
}

static bool on_device(const void *p)
{
    for (int i = 0; i < MAX_BLOCKS; i++)
        if (blocks[i].at && (const char *)p >= blocks[i].at &&
            (const char *)p < blocks[i].at + blocks[i].bytes)
            return true;
    return false;
}

sb_status sb_cuda_malloc(int64_t n_bytes, const char *what, void **block, sb_err *err)
{
    int i = 0;
    size_t bytes = (size_t)sb_ceil_div(n_bytes, PAGE) * PAGE;
    *block = NULL;
    if (n_bytes == 0)
        return SB_OK;
    if (in_use + (int64_t)bytes > room())
        return sb_fail(err, SB_UNSUPPORTED,
                       "%" PRId64 " bytes for %s do not fit: %" PRId64 " are free", n_bytes, what,
                       room() - in_use);
    while (i < MAX_BLOCKS && blocks[i].at)
        i++;
    void *at = i < MAX_BLOCKS ? mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                              : MAP_FAILED;
    if (at == MAP_FAILED)
        return sb_no_memory(err, what);
    blocks[i].at = *block = at;
    blocks[i].bytes = bytes;
    in_use += (int64_t)bytes;
    return SB_OK;
}

/* ---- what is enqueued ------------------------------------------------------------------------ */

typedef enum op_kind { COPY_IN, COPY_OUT, COPY_ROWS, FILL, ATTEND, SELECT, DIGEST, EVENT } op_kind;

typedef struct op {
    op_kind kind;
    void *dst;
    const void *src;
    int64_t n, m, to_step, from_step;
    void *plan;
    sb_inputs in;
    sb_outputs out;
    sb_cuda_pattern pat;
} op;

struct CUevent_st {
    double at_ms;
};

struct sb_cuda_attend_plan {
    sb_problem problem;
    int64_t block;
    const sb_attend_kernel *kernel;
    void *scratch;
    int n_calls;
};

struct sb_cuda_select_plan {
    sb_problem problem;
    sb_score score;
    sb_bonus bonus;
    sb_budget budget;
    sb_topk topk;
    sb_pattern host;
    sb_cuda_pattern pattern;
    void *row_ptr, *col;
};

static op ops[MAX_OPS];
static int n_ops, n_attended;
static bool broken;

static sb_status enqueue(op o, sb_err *err)
{
    if (n_ops == MAX_OPS)
        return sb_fail(err, SB_UNAVAILABLE, "too much is enqueued");
    ops[n_ops++] = o;
    return SB_OK;
}

static void attend(const op *o)
{
    struct sb_cuda_attend_plan *plan = o->plan;
    const sb_problem *p = &plan->problem;
    sb_pattern pat = {p->n_batch,
                      p->n_heads,
                      o->pat.n_rows,
                      o->pat.block,
                      0,
                      (int64_t *)o->pat.row_ptr,
                      (int32_t *)o->pat.col,
                      NULL};
    size_t elem = sb_dtype_bytes(p->dtype), row = (size_t)p->dim_v * elem;
    size_t o_bytes = (size_t)(p->n_heads * p->q_len) * row;
    char *out = o->out.o, last[4096];
    static sb_inputs first;
    plan->n_calls++;
    broken |= ++n_attended == asked("fail");
    if (broken)
        return;
    memcpy(last, out + o_bytes - row, row);
    if (plan->n_calls == 1 || !asked("stale"))
        first = o->in;
    plan->kernel->attend(p, asked("stale") ? &first : &o->in, o->pat.row_ptr ? &pat : NULL,
                         plan->block, &o->out, plan->scratch, 1);
    if (asked("overrun"))
        out[o_bytes] = 0;
    if (asked("skip"))
        memcpy(out + o_bytes - row, last, row);
    if (asked("flaky") && plan->n_calls >= 5)
        out[0] ^= 1;
}

static void select_blocks(const op *o)
{
    struct sb_cuda_select_plan *s = o->plan;
    const sb_problem *p = &s->problem;
    sb_score_keys(&s->score, p, &o->in);
    if (s->bonus.kind != SB_BONUS_NONE)
        sb_bonus_values(&s->bonus, p, &o->in, 1);
    sb_select_topk(&s->topk, &s->score, &s->bonus, &s->budget, p, &o->in, &s->host);
    int64_t n_lists = p->n_batch * p->n_heads * s->host.n_rows;
    memcpy(s->row_ptr, s->host.row_ptr, (size_t)(n_lists + 1) * sizeof(int64_t));
    memcpy(s->col, s->host.col, (size_t)s->host.row_ptr[n_lists] * sizeof(int32_t));
}

static void digest(const op *o)
{
    const char *x = o->src;
    uint64_t *sums = o->dst;
    for (int64_t part = 0; part < o->n; part++) {
        sums[part] = 0;
        for (int64_t i = 0; i < o->m / 2; i++) {
            uint16_t word;
            memcpy(&word, x + part * o->m + 2 * i, sizeof word);
            sums[part] += sb_digest_word(word, (uint64_t)i);
        }
    }
}

static void perform(const op *o)
{
    switch (o->kind) {
    case COPY_IN:
    case COPY_OUT:
        memcpy(o->dst, o->src, (size_t)o->n);
        break;
    case COPY_ROWS:
        for (int64_t i = 0; i < o->n; i++)
            memcpy((char *)o->dst + i * o->to_step, (const char *)o->src + i * o->from_step,
                   (size_t)o->m);
        break;
    case FILL:
        memset(o->dst, (int)o->m, (size_t)o->n);
        break;
    case ATTEND:
        attend(o);
        break;
    case SELECT:
        select_blocks(o);
        break;
    case DIGEST:
        digest(o);
        break;
    case EVENT:
        ((sb_event)o->dst)->at_ms = sb_now_ms();
        break;
    }
}

sb_status sb_cuda_sync(sb_stream stream, sb_err *err)
{
    (void)stream;
    lock(false);
    for (int i = 0; i < n_ops && !broken; i++)
        perform(&ops[i]);
    lock(true);
    n_ops = 0;
    return broken ? sb_fail(err, SB_UNAVAILABLE, "the fake device fell off the bus") : SB_OK;
}

/* Frees after the work that may use it; nothing needs the result of that work. */
void sb_cuda_free(void *block)
{
    for (int i = 0; block && i < MAX_BLOCKS; i++)
        if (blocks[i].at == block) {
            (void)sb_cuda_sync(NULL, NULL);
            in_use -= (int64_t)blocks[i].bytes;
            (void)munmap(block, blocks[i].bytes);
            blocks[i].at = NULL;
        }
}

static sb_status need_device(const void *p, const char *what, sb_err *err)
{
    return on_device(p) ? SB_OK : sb_fail(err, SB_INTERNAL, "%s is not on the device", what);
}

sb_status sb_cuda_to_device(void *dst, const void *src, int64_t n_bytes, sb_stream stream,
                            sb_err *err)
{
    (void)stream;
    sb_status st = need_device(dst, "the target of a copy", err);
    return st != SB_OK ? st
                       : enqueue((op){.kind = COPY_IN, .dst = dst, .src = src, .n = n_bytes}, err);
}

sb_status sb_cuda_to_host(void *dst, const void *src, int64_t n_bytes, sb_stream stream,
                          sb_err *err)
{
    (void)stream;
    sb_status st = need_device(src, "the source of a copy", err);
    return st != SB_OK ? st
                       : enqueue((op){.kind = COPY_OUT, .dst = dst, .src = src, .n = n_bytes}, err);
}

sb_status sb_cuda_copy_rows(void *to, int64_t to_step, const void *from, int64_t from_step,
                            int64_t row_bytes, int64_t n_rows, sb_stream stream, sb_err *err)
{
    (void)stream;
    sb_status st = need_device(to, "the target of a copy", err);
    if (st == SB_OK)
        st = need_device(from, "the source of a copy", err);
    op o = {.kind = COPY_ROWS, .dst = to, .src = from, .n = n_rows, .m = row_bytes};
    o.to_step = to_step;
    o.from_step = from_step;
    return st != SB_OK ? st : enqueue(o, err);
}

sb_status sb_cuda_fill(void *dst, uint8_t byte, int64_t n_bytes, sb_stream stream, sb_err *err)
{
    (void)stream;
    sb_status st = need_device(dst, "the target of a fill", err);
    return st != SB_OK ? st : enqueue((op){.kind = FILL, .dst = dst, .n = n_bytes, .m = byte}, err);
}

sb_status sb_cuda_digest(const void *x, int64_t n_parts, int64_t part_bytes, uint64_t *sums,
                         sb_stream stream, sb_err *err)
{
    (void)stream;
    sb_status st = need_device(x, "what is digested", err);
    return st != SB_OK
               ? st
               : enqueue((op){.kind = DIGEST, .dst = sums, .src = x, .n = n_parts, .m = part_bytes},
                         err);
}

/* ---- device, streams, events --------------------------------------------------------------------
 */

/* Which device this process sees, or -1. */
static int64_t visible(void)
{
    char *end = NULL;
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    int64_t n = asked("devices") ? asked("devices") : 1, i = list ? strtoll(list, &end, 10) : 0;
    bool names = !list || (end > list && (*end == ',' || !*end));
    return !asked("absent") && names && i >= 0 && i < n ? i : -1;
}

bool sb_cuda_available(sb_err *why)
{
    if (visible() < 0)
        (void)sb_fail(why, SB_UNAVAILABLE, "no CUDA device: the fake one is hidden");
    return visible() >= 0;
}

sb_status sb_cuda_describe(sb_cuda_device *device, sb_err *err)
{
    (void)err;
    *device = (sb_cuda_device){.name = "Fake",
                               .driver_version = "1.2",
                               .cc = 90,
                               .n_sms = 132,
                               .driver = 13000,
                               .runtime = 13000,
                               .max_sm_mhz = 1980,
                               .ecc = 1,
                               .memory_bytes = room(),
                               .free_bytes = room() - in_use,
                               .id = (uint64_t)(visible() + 1)};
    return SB_OK;
}

sb_status sb_cuda_stream_create(sb_stream *stream, sb_err *err)
{
    (void)err;
    *stream = NULL;
    return SB_OK;
}

void sb_cuda_stream_destroy(sb_stream stream)
{
    (void)stream;
}

sb_status sb_cuda_event_create(sb_event *event, sb_err *err)
{
    *event = sb_alloc(1, sizeof **event);
    return *event ? SB_OK : sb_no_memory(err, "an event");
}

void sb_cuda_event_destroy(sb_event event)
{
    sb_free(event);
}

sb_status sb_cuda_event_record(sb_event event, sb_stream stream, sb_err *err)
{
    (void)stream;
    event->at_ms = 0;
    return enqueue((op){.kind = EVENT, .dst = event}, err);
}

sb_status sb_cuda_event_ms(sb_event from, sb_event to, double *ms, sb_err *err)
{
    *ms = to->at_ms - from->at_ms;
    return from->at_ms > 0 && to->at_ms > 0
               ? SB_OK
               : sb_fail(err, SB_UNAVAILABLE, "an event has not happened");
}

sb_status sb_cuda_delay(double microseconds, sb_stream stream, sb_err *err)
{
    (void)microseconds, (void)stream, (void)err;
    return SB_OK;
}

sb_status sb_cuda_flush_create(sb_cuda_flush *flush, sb_err *err)
{
    flush->n_bytes = PAGE;
    return sb_cuda_malloc(flush->n_bytes, "the flush", &flush->block, err);
}

void sb_cuda_flush_destroy(sb_cuda_flush *flush)
{
    sb_cuda_free(flush->block);
}

sb_status sb_cuda_flush_l2(const sb_cuda_flush *flush, sb_stream stream, sb_err *err)
{
    return sb_cuda_fill(flush->block, 0, flush->n_bytes, stream, err);
}

sb_cuda_state sb_cuda_read_state(void)
{
    static int64_t n_read;
    sb_cuda_state s = {.known = true, .sm_mhz = 1500, .celsius = 50, .watts = 400};
    s.limit_watts = 700;
    if (asked("throttle") && ++n_read % asked("throttle") == 0)
        s.throttle = SB_CUDA_THROTTLED & (~SB_CUDA_THROTTLED + 1);
    return s;
}

/* ---- attention and selection --------------------------------------------------------------------
 */

sb_status sb_cuda_attend_plan_create(const sb_problem *p, int64_t block, sb_stream stream,
                                     sb_cuda_attend_plan **plan, sb_err *err)
{
    (void)stream;
    *plan = NULL;
    if (p->dtype == SB_F32)
        return sb_fail(err, SB_UNSUPPORTED, "CUDA attention takes bf16 and f16, not f32");
    const sb_attend_kernel *kernel = sb_cpu_kernel_for(p, block);
    sb_cuda_attend_plan *made = sb_alloc(1, sizeof *made);
    if (!made)
        return sb_no_memory(err, "a plan");
    *made = (sb_cuda_attend_plan){.problem = *p, .block = block, .kernel = kernel};
    made->scratch = sb_alloc((int64_t)kernel->scratch_bytes(p, block, 1), 1);
    if (!made->scratch) {
        sb_free(made);
        return sb_no_memory(err, "scratch");
    }
    *plan = made;
    return SB_OK;
}

const char *sb_cuda_attend_kernel(const sb_cuda_attend_plan *plan)
{
    (void)plan;
    return "cuda-fake";
}

sb_status sb_cuda_attend(sb_cuda_attend_plan *plan, const sb_inputs *in, const sb_cuda_pattern *pat,
                         const sb_outputs *out, sb_err *err)
{
    sb_status st = SB_OK;
    op o = {.kind = ATTEND, .plan = plan, .in = *in, .out = *out};
    if (pat) {
        o.pat = *pat;
        SB_TRY(need_device(pat->row_ptr, "row_ptr", err));
        SB_TRY(need_device(pat->col, "col", err));
        SB_CHECK(pat->block == plan->block, err, SB_USAGE, "a pattern of another block");
    }
    SB_TRY(need_device(in->q, "q", err));
    SB_TRY(need_device(in->k, "k", err));
    SB_TRY(need_device(in->v, "v", err));
    SB_TRY(need_device(out->o, "o", err));
    SB_TRY(need_device(out->lse, "lse", err));
    SB_TRY(enqueue(o, err));
out:
    return st;
}

void sb_cuda_attend_plan_destroy(sb_cuda_attend_plan *plan)
{
    if (!plan)
        return;
    (void)sb_cuda_sync(NULL, NULL);
    sb_free(plan->scratch);
    sb_free(plan);
}

static sb_status copy_budget(const sb_problem *p, const sb_cuda_select_spec *spec, sb_budget *b,
                             sb_err *err)
{
    int64_t n = sb_max_rows(p, spec->block);
    *b = (sb_budget){.n_rows = n, .sinks = spec->sinks, .window = spec->window};
    b->k = sb_alloc(p->n_batch * n, sizeof *b->k);
    b->slot = sb_alloc(p->n_batch * (n + 1), sizeof *b->slot);
    if (!b->k || !b->slot)
        return sb_no_memory(err, "budgets");
    memcpy(b->k, spec->budget, (size_t)(p->n_batch * n) * sizeof *b->k);
    for (int64_t s = 0; s < p->n_batch; s++) {
        int64_t *slot = b->slot + s * (n + 1), first = sb_first_block(p, s, spec->block);
        for (int64_t r = 0; r < n; r++) {
            int64_t kept = b->k[s * n + r] + spec->sinks + spec->window, all = first + r + 1;
            slot[r + 1] = slot[r] + (r >= sb_n_rows(p, s, spec->block) ? 0
                                     : kept < all                      ? kept
                                                                       : all);
        }
        b->capacity += slot[n] * p->n_heads;
    }
    return SB_OK;
}

sb_status sb_cuda_select_plan_create(const sb_problem *p, const sb_cuda_select_spec *spec,
                                     sb_stream stream, sb_cuda_select_plan **plan, sb_err *err)
{
    (void)stream;
    sb_status st = SB_OK;
    const sb_block_topk_spec on_cpu = {.block = spec->block,
                                       .stride = spec->stride,
                                       .mean_score = spec->mean_score,
                                       .unscaled_score = spec->unscaled_score,
                                       .bonus = (sb_bonus_kind)spec->bonus,
                                       .beta = spec->beta};
    sb_cuda_select_plan *s = sb_alloc(1, sizeof *s);
    *plan = s;
    if (!s)
        return sb_no_memory(err, "a plan");
    s->problem = *p;
    SB_TRY(copy_budget(p, spec, &s->budget, err));
    SB_TRY(sb_score_plan(p, &on_cpu, 1, &s->score, err));
    SB_TRY(sb_bonus_plan(p, &on_cpu, 1, &s->bonus, err));
    SB_TRY(sb_topk_plan(p, spec->block, 1, &s->topk, err));
    SB_TRY(sb_pattern_alloc(p, spec->block, s->budget.capacity, &s->host, err));
    int64_t n_lists = p->n_batch * p->n_heads * s->host.n_rows;
    SB_TRY(sb_cuda_malloc((n_lists + 1) * (int64_t)sizeof(int64_t), "lists", &s->row_ptr, err));
    SB_TRY(sb_cuda_malloc(s->budget.capacity * (int64_t)sizeof(int32_t), "lists", &s->col, err));
    s->pattern = (sb_cuda_pattern){s->host.n_rows, spec->block, s->row_ptr, s->col};
    return SB_OK;
out:
    sb_cuda_select_plan_destroy(s);
    *plan = NULL;
    return st;
}

sb_status sb_cuda_select(sb_cuda_select_plan *plan, const sb_inputs *in, sb_err *err)
{
    sb_status st = need_device(in->q, "q", err);
    return st != SB_OK ? st : enqueue((op){.kind = SELECT, .plan = plan, .in = *in}, err);
}

const sb_cuda_pattern *sb_cuda_select_pattern(const sb_cuda_select_plan *plan)
{
    return &plan->pattern;
}

sb_status sb_cuda_select_read(const sb_cuda_select_plan *plan, sb_pattern *pat, sb_err *err)
{
    int64_t n_lists = pat->n_batch * pat->n_heads * pat->n_rows;
    sb_status st = sb_cuda_sync(NULL, err);
    if (st != SB_OK)
        return st;
    memcpy(pat->row_ptr, plan->host.row_ptr, (size_t)(n_lists + 1) * sizeof *pat->row_ptr);
    memcpy(pat->col, plan->host.col, (size_t)pat->row_ptr[n_lists] * sizeof *pat->col);
    return SB_OK;
}

void sb_cuda_select_plan_destroy(sb_cuda_select_plan *s)
{
    if (!s)
        return;
    (void)sb_cuda_sync(NULL, NULL);
    sb_cuda_free(s->col);
    sb_cuda_free(s->row_ptr);
    sb_pattern_free(&s->host);
    sb_topk_free(&s->topk);
    sb_bonus_free(&s->bonus);
    sb_score_free(&s->score);
    sb_budget_free(&s->budget);
    sb_free(s);
}

/* ---- cuDNN ----------------------------------------------------------------------------------- */

sb_status sb_cudnn_open(int64_t *version, sb_err *err)
{
    *version = 91900;
    return asked("no-cudnn") ? sb_fail(err, SB_UNAVAILABLE, "cuDNN: not on the fake device")
                             : SB_OK;
}

struct sb_cudnn_plan {
    sb_cuda_attend_plan *dense;
};

sb_status sb_cudnn_plan_create(const sb_problem *p, sb_stream stream, sb_cudnn_plan **plan,
                               sb_err *err)
{
    sb_cudnn_plan *made = sb_alloc(1, sizeof *made);
    *plan = NULL;
    if (!made)
        return sb_no_memory(err, "a plan");
    sb_status st = sb_cuda_attend_plan_create(p, DENSE_BLOCK, stream, &made->dense, err);
    if (st == SB_OK)
        *plan = made;
    else
        sb_free(made);
    return st;
}

sb_status sb_cudnn_attend(sb_cudnn_plan *plan, const sb_inputs *in, const sb_outputs *out,
                          sb_err *err)
{
    return sb_cuda_attend(plan->dense, in, NULL, out, err);
}

void sb_cudnn_plan_destroy(sb_cudnn_plan *plan)
{
    if (plan)
        sb_cuda_attend_plan_destroy(plan->dense);
    sb_free(plan);
}
