#include "harness/shard.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/ranked.h"

sb_status sb_shard_parse(const char *text, sb_shard *shard, sb_err *err)
{
    char *slash, *end;
    errno = 0;
    long long i = strtoll(text, &slash, 10);
    long long n = *slash == '/' ? strtoll(slash + 1, &end, 10) : 0;
    bool whole = !errno && slash != text && *slash == '/' && end != slash + 1 && *end == '\0';
    if (!whole || n < 1 || n > SB_MAX_SHARDS || i < 1 || i > n)
        return sb_fail(err, SB_USAGE, "--shard is '%.40s'; expected i/n with 1 <= i <= n <= %d",
                       text, SB_MAX_SHARDS);
    *shard = (sb_shard){i, n};
    return SB_OK;
}

sb_status sb_shard_seconds(const sb_item *items, int64_t n, const int32_t *of_item,
                           int64_t n_shards, double *seconds, sb_err *err)
{
    sb_load *loads = sb_alloc(n_shards, sizeof *loads);
    if (!loads)
        return sb_no_memory(err, "the shards");
    for (int64_t s = 0; s < n_shards; s++)
        loads[s].layer = -1;
    for (int64_t i = 0; i < n; i++)
        sb_load_add(&loads[of_item[i]], &items[i]);
    for (int64_t s = 0; s < n_shards; s++)
        seconds[s] = loads[s].seconds;
    sb_free(loads);
    return SB_OK;
}

/* ---- runs of neighbours ------------------------------------------------------------------------
 */

/* Shards that it takes when each is filled up to `limit` seconds; of_item may be NULL. */
static int64_t fill(const sb_item *items, int64_t n, double limit, int32_t *of_item)
{
    int64_t shard = 0;
    sb_load load = {.layer = -1};
    for (int64_t i = 0; i < n; i++) {
        if (load.layer >= 0 && load.seconds + sb_load_added(&load, &items[i]) > limit) {
            load = (sb_load){.layer = -1};
            shard++;
        }
        sb_load_add(&load, &items[i]);
        if (of_item)
            of_item[i] = (int32_t)shard;
    }
    return shard + 1;
}

/* The least limit, to a millionth, at which n_shards are enough: at least the dearest item. */
static void assign_runs(const sb_item *items, int64_t n, int64_t n_shards, int32_t *of_item)
{
    double low = 0, high = sb_items_seconds(items, n);
    for (int64_t i = 0; i < n; i++)
        low = fmax(low, items[i].seconds + items[i].reference_s);
    if (fill(items, n, low, NULL) <= n_shards)
        high = low;
    while (high - low > 1e-6 * high) {
        double limit = (low + high) / 2;
        if (fill(items, n, limit, NULL) <= n_shards)
            high = limit;
        else
            low = limit;
    }
    (void)fill(items, n, high, of_item);
}

/* ---- dearest first -----------------------------------------------------------------------------
 */

/* A shard in a heap, the least loaded at the root; where equal, the first. */
typedef struct slot {
    double seconds;
    int32_t shard;
} slot;

static bool before(const slot *a, const slot *b)
{
    return a->seconds != b->seconds ? a->seconds < b->seconds : a->shard < b->shard;
}

static void sink_root(slot *heap, int64_t n)
{
    for (int64_t at = 0, child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &heap[at]))
            return;
        slot moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
    }
}

static sb_status assign_dearest(const sb_item *items, int64_t n, int64_t n_shards, int32_t *of_item,
                                sb_err *err)
{
    sb_status st = SB_OK;
    slot *heap = sb_alloc(n_shards, sizeof *heap);
    sb_ranked *order = sb_alloc(n, sizeof *order);
    SB_CHECK(heap && order, err, SB_NO_MEMORY, "out of memory for the shards");
    for (int32_t s = 0; s < n_shards; s++)
        heap[s].shard = s;
    for (int64_t i = 0; i < n; i++)
        order[i] = (sb_ranked){items[i].seconds, i};
    sb_rank_dearest_first(order, n);
    for (int64_t i = 0; i < n; i++) {
        of_item[order[i].item] = heap->shard;
        heap->seconds += order[i].seconds;
        sink_root(heap, n_shards);
    }
out:
    sb_free(order);
    sb_free(heap);
    return st;
}

/* ---- the better of the two ----------------------------------------------------------------------
 */

static sb_status slowest(const sb_item *items, int64_t n, const int32_t *of_item, int64_t n_shards,
                         double *seconds, double *most, sb_err *err)
{
    sb_status st = sb_shard_seconds(items, n, of_item, n_shards, seconds, err);
    *most = 0;
    for (int64_t s = 0; s < n_shards && st == SB_OK; s++)
        *most = fmax(*most, seconds[s]);
    return st;
}

sb_status sb_shard_assign(const sb_item *items, int64_t n, int64_t n_shards, int32_t *of_item,
                          sb_err *err)
{
    sb_status st = SB_OK;
    double by_runs, by_cost;
    int32_t *other = sb_alloc(n, sizeof *other);
    double *seconds = sb_alloc(n_shards, sizeof *seconds);
    SB_CHECK(other && seconds, err, SB_NO_MEMORY, "out of memory for the shards");
    assign_runs(items, n, n_shards, of_item);
    SB_TRY(assign_dearest(items, n, n_shards, other, err));
    SB_TRY(slowest(items, n, of_item, n_shards, seconds, &by_runs, err));
    SB_TRY(slowest(items, n, other, n_shards, seconds, &by_cost, err));
    if (by_cost < by_runs)
        memcpy(of_item, other, (size_t)n * sizeof *other);
out:
    sb_free(seconds);
    sb_free(other);
    return st;
}
