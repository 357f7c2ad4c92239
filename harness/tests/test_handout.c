/* Who gets what next: against the definition of the policy, in random orders of what workers say.
 */

#include "harness/handout.h"

#include "harness/mem.h"
#include "harness/tests/handout_rig.h"

enum { MAX_WORKERS = 40 };

/* ---- the policy, by looking at every item each time -------------------------------------------
 */

typedef struct policy {
    const sweep *s;
    bool taken[MAX_ITEMS], there[MAX_SHAPES]; /* there, computing: [layer] */
    int64_t computing[MAX_SHAPES];            /* by which worker, or -1 */
    int64_t shape[MAX_WORKERS];
    int64_t n_workers, n_left;
} policy;

static void begin_policy(policy *p, const sweep *s, int64_t n_workers)
{
    *p = (policy){.s = s, .n_workers = n_workers, .n_left = s->n};
    for (int64_t l = 0; l < MAX_SHAPES; l++) {
        p->computing[l] = -1;
        p->there[l] = s->reference_s[l] == 0;
    }
    for (int64_t w = 0; w < MAX_WORKERS; w++)
        p->shape[w] = -1;
}

/* The dearest item left of a shape, or -1 where there is none, or none for this moment. */
static int64_t dearest_of(const policy *p, int64_t shape, double *left_s)
{
    int64_t best = -1;
    *left_s = 0;
    for (int64_t i = 0; i < p->s->n; i++) {
        const sb_item *it = &p->s->items[i];
        if (it->shape != shape || p->taken[i] || p->computing[it->layer] >= 0)
            continue;
        *left_s += it->seconds;
        if (best < 0 || it->seconds > p->s->items[best].seconds)
            best = i;
    }
    return best;
}

static int64_t most_urgent(const policy *p)
{
    int64_t best = SB_HANDOUT_WAIT;
    double most = -1;
    bool begins_best = false;
    for (int64_t shape = 0; shape < p->s->n_shapes; shape++) {
        double left_s, n_there = 0;
        int64_t i = dearest_of(p, shape, &left_s);
        if (i < 0)
            continue;
        const sb_item *it = &p->s->items[i];
        for (int64_t w = 0; w < p->n_workers; w++)
            n_there += p->shape[w] == shape;
        bool begins = !p->there[it->layer];
        double urgency_s =
            fmax(it->seconds, left_s / (n_there + 1)) + (begins ? p->s->reference_s[it->layer] : 0);
        if (begins > begins_best || (begins == begins_best && urgency_s > most)) {
            best = i;
            most = urgency_s;
            begins_best = begins;
        }
    }
    return best;
}

static int64_t next_by_policy(policy *p, int64_t w)
{
    double left_s;
    if (p->n_left == 0)
        return SB_HANDOUT_DONE;
    int64_t i = p->shape[w] >= 0 ? dearest_of(p, p->shape[w], &left_s) : -1;
    if (i < 0)
        i = most_urgent(p);
    if (i < 0)
        return i;
    const sb_item *it = &p->s->items[i];
    p->taken[i] = true;
    p->n_left--;
    p->shape[w] = it->shape;
    if (!p->there[it->layer])
        p->computing[it->layer] = w;
    return i;
}

/* Its reference is there, or it gave up. */
static void settle_by_policy(policy *p, int64_t w, int64_t item, bool there)
{
    int64_t layer = p->s->items[item].layer;
    if (p->computing[layer] == w) {
        p->computing[layer] = -1;
        p->there[layer] = there;
    }
}

/* ---- random orders ----------------------------------------------------------------------------
 */

typedef struct played {
    int64_t item[MAX_WORKERS]; /* at hand, or the last answer */
    bool held[MAX_WORKERS];
    int64_t last[MAX_SHAPES]; /* item handed out of a shape, or -1 */
    int64_t n_handed, n_at_work, n_done;
} played;

static void ask(sb_handout *h, policy *p, played *now, int64_t w)
{
    const sb_item *items = p->s->items;
    int64_t i = sb_handout_next(h, w), told = next_by_policy(p, w);
    EXPECT_MSG(i == told, "item %lld, by the policy %lld", (long long)i, (long long)told);
    now->item[w] = i;
    now->held[w] = false;
    now->n_done += i == SB_HANDOUT_DONE;
    EXPECT(i != SB_HANDOUT_WAIT || now->n_at_work > 0);
    EXPECT(i != SB_HANDOUT_DONE || now->n_handed == p->s->n);
    if (i < 0)
        return;
    int64_t *last = &now->last[items[i].shape];
    EXPECT(*last < 0 || items[*last].seconds >= items[i].seconds);
    *last = i;
    now->n_handed++;
    now->n_at_work++;
}

/* One thing that a worker may do. */
static void step(sb_handout *h, policy *p, played *now, int64_t w)
{
    if (now->item[w] == SB_HANDOUT_DONE)
        return;
    if (now->item[w] < 0) {
        ask(h, p, now, w);
    } else if (!now->held[w] && pick(4) > 0) {
        now->held[w] = true;
        sb_handout_held(h, w);
        settle_by_policy(p, w, now->item[w], true);
    } else {
        sb_handout_ended(h, w);
        settle_by_policy(p, w, now->item[w], false);
        now->item[w] = SB_HANDOUT_WAIT;
        now->n_at_work--;
    }
}

static void play(const sweep *s, int64_t n_workers)
{
    static policy p;
    sb_handout *h = NULL;
    played now = {0};
    begin_policy(&p, s, n_workers);
    for (int64_t w = 0; w < n_workers; w++)
        now.item[w] = SB_HANDOUT_WAIT;
    for (int64_t shape = 0; shape < MAX_SHAPES; shape++)
        now.last[shape] = -1;
    REQUIRE(sb_handout_open(s->items, s->n, n_workers, &h, NULL) == SB_OK);
    /* Everybody steps often enough: each item takes three steps, and WAIT ends when others step. */
    for (int64_t left = 100 * (s->n + n_workers) * n_workers; now.n_done < n_workers; left--) {
        REQUIRE(left > 0 && !sb_case_failed_);
        step(h, &p, &now, pick(n_workers));
    }
    EXPECT(now.n_handed == s->n && now.n_at_work == 0);
    sb_handout_close(h);
}

static void test_policy(void)
{
    static sweep s;
    TEST("every answer is that of the policy, each item is handed out once, nobody waits for ever");
    for (uint64_t seed = 1; seed <= 300; seed++) {
        make_sweep(&s, seed);
        play(&s, 1 + pick(seed % 3 ? 6 : MAX_WORKERS));
    }
}

/* ---- by hand ----------------------------------------------------------------------------------
 */

static void test_spread(void)
{
    static sweep s;
    sb_handout *h = NULL;
    TEST("workers spread in proportion to what is left, and stay");
    s = (sweep){0};
    for (int i = 0; i < 30; i++)
        add_item(&s, 0, 0, 0, 1);
    for (int i = 0; i < 60; i++)
        add_item(&s, 1, 1, 0, 1);
    add_item(&s, 2, 2, 0, 25);
    REQUIRE(sb_handout_open(s.items, s.n, 7, &h, NULL) == SB_OK);
    static const int64_t shapes[] = {1, 0, 1, 2, 1, 0, 1};
    for (int64_t w = 0; w < 7; w++) {
        int64_t i = sb_handout_next(h, w);
        EXPECT_MSG(s.items[i].shape == shapes[w], "worker %d at %d", (int)w, (int)s.items[i].shape);
    }
    for (int64_t w = 0; w < 7; w++)
        if (w != 3) {
            sb_handout_ended(h, w);
            EXPECT(s.items[sb_handout_next(h, w)].shape == shapes[w]);
        }
    sb_handout_close(h);
}

static void test_reference(void)
{
    static sweep s;
    sb_handout *h = NULL;
    TEST("references begin first, and each is computed by one worker, who may give up");
    s = (sweep){0};
    add_item(&s, 0, 0, 0, 1000);
    add_item(&s, 1, 1, 5, 1);
    add_item(&s, 2, 1, 7, 2); /* shares the reference of shape 1 */
    add_item(&s, 2, 1, 7, 3);
    REQUIRE(sb_handout_open(s.items, s.n, 3, &h, NULL) == SB_OK);
    EXPECT(sb_handout_next(h, 0) == 3);
    EXPECT(sb_handout_next(h, 1) == 0);
    sb_handout_held(h, 1);
    EXPECT(sb_handout_next(h, 2) == SB_HANDOUT_WAIT);
    sb_handout_ended(h, 0); /* without the reference */
    EXPECT(sb_handout_next(h, 2) == 2);
    EXPECT(sb_handout_next(h, 0) == SB_HANDOUT_WAIT);
    sb_handout_held(h, 2);
    EXPECT(sb_handout_next(h, 0) == 1);
    sb_handout_ended(h, 0);
    EXPECT(sb_handout_next(h, 0) == SB_HANDOUT_DONE);
    sb_handout_close(h);
}

static void test_edges(void)
{
    static sweep s;
    sb_handout *h = NULL;
    TEST("nothing to hand out; no memory");
    REQUIRE(sb_handout_open(s.items, 0, 2, &h, NULL) == SB_OK);
    EXPECT(sb_handout_next(h, 1) == SB_HANDOUT_DONE);
    sb_handout_close(h);
    sb_handout_close(NULL);
    make_sweep(&s, 1);
    sb_status st;
    int64_t n_failed = -1;
    do {
        h = NULL;
        sb_mem_fail_at(++n_failed + 1);
        st = sb_handout_open(s.items, s.n, 2, &h, NULL);
        EXPECT(st == SB_OK || (st == SB_NO_MEMORY && !h));
        sb_mem_fail_at(0);
        sb_handout_close(h);
        EXPECT(sb_mem_live() == 0);
    } while (st != SB_OK && n_failed < 100);
    EXPECT(n_failed == 6);
}

int main(void)
{
    test_policy();
    test_spread();
    test_reference();
    test_edges();
    return sb_tests_done();
}
