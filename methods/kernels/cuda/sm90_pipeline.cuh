#ifndef SB_CUDA_SM90_PIPELINE_CUH
#define SB_CUDA_SM90_PIPELINE_CUH

#include "methods/kernels/cuda/attend_kernels.cuh"
#include "methods/kernels/cuda/sm90.cuh"

/* What the warps of the sm_90a kernel share, and the two warps that feed it: one picks the work,
 * one copies tiles. Work is a stream of items (head, query tile), each a list of key tiles taken
 * from the diagonal down; K of a tile is asked for one step ahead of V of the tile before, also
 * across items, so the consumers meet no bubble between items. */

namespace sm90
{

struct attend_args {
    CUtensorMap q, k, v, o; /* tiles of 64 channels x rows x chunks; heads of all sequences */
    sb_cuda_shape shape;
    void *o_plain;          /* what map o describes */
    float *lse;             /* [B, H, T] or NULL */
    const int64_t *row_ptr; /* NULL: dense */
    const int32_t *col;
    uint32_t *counter;
    int n_items, max_tiles; /* query tiles of the longest sequence */
    int section;            /* query heads whose K and V share the L2 */
};

/* One item, as the scheduling warp publishes it. */
struct slot {
    int n;       /* key tiles; 0 ends the stream */
    int bh, bkv; /* query head and kv head, counted over all sequences */
    int t0;      /* first query token; may be negative or past the end */
    int q_len;   /* tokens that may be written */
    int keys;    /* valid keys of the diagonal tile, where what follows may hold anything */
    int n_cols;  /* kept blocks; 0: dense */
    int n_sub;   /* key tiles in a block */
    const int32_t *col_end;
    int32_t cols[32]; /* the last kept blocks, last first */
};

/* Sizes of one variant: CG consumer warpgroups of 64 queries, key tiles of KT tokens, STAGES of K
 * and of V, RING buffers of Q and of items, CTAS on a multiprocessor. */
template <bool HALF_, int D_, int CG_, int KT_, int STAGES_, int CTAS_> struct variant {
    static constexpr bool HALF = HALF_;
    static constexpr int D = D_, CG = CG_, KT = KT_, STAGES = STAGES_, CTAS = CTAS_;
    static constexpr int QUERIES = 64 * CG, THREADS = 128 * (CG + 1), RING = 2;
    static constexpr int ROW_BYTES = 128;
    /* What the register file leaves beside a producer warpgroup of 40 a thread. */
    static constexpr int CONSUMER_REGS = CTAS == 1 ? 232 : 216;
    /* Scores of two tiles are held at once; what fits, and pays: see KERNELS.md. */
    static constexpr bool DEEP = D == 64;
    static constexpr bool TURNS = CG > 1 && !DEEP;
    static constexpr int Q_BYTES = 64 * D * 2, KV_BYTES = KT * D * 2;
};

template <class V> struct shared {
    alignas(1024) uint8_t q[V::RING][V::CG][V::Q_BYTES]; /* Q, then O of the same item */
    alignas(1024) uint8_t k[V::STAGES][V::KV_BYTES];
    alignas(1024) uint8_t v[V::STAGES][V::KV_BYTES];
    slot slots[V::RING]; /* filled by a warp, read by a warp and all consumers */
    uint64_t slot_full[V::RING], slot_empty[V::RING], q_full[V::RING], q_empty[V::RING];
    uint64_t k_full[V::STAGES], k_empty[V::STAGES], v_full[V::STAGES], v_empty[V::STAGES];

    __device__ void init_barriers()
    {
        for (int i = 0; i < V::RING; i++) {
            barrier_init(slot_full + i, 32);
            barrier_init(slot_empty + i, V::THREADS - 96);
            barrier_init(q_full + i, 1);
            barrier_init(q_empty + i, V::CG);
        }
        for (int i = 0; i < V::STAGES; i++) {
            barrier_init(k_full + i, 1);
            barrier_init(v_full + i, 1);
            barrier_init(k_empty + i, 4 * V::CG);
            barrier_init(v_empty + i, 4 * V::CG);
        }
        barrier_init_fence();
    }
};

/* Position in a ring of N. A consumer waits for `parity`, a producer for the opposite. */
template <int N> struct cursor {
    int at = 0;
    uint32_t parity = 0;

    __device__ void step()
    {
        if (++at == N) {
            at = 0;
            parity ^= 1;
        }
    }
};

/* ---- the scheduling warp -------------------------------------------------------------------- */

/* Decode item `index` into *s; false when that sequence has no such tile. Sections of heads come
 * one after the other; in a section late tiles, the long ones, first, and heads side by side. */
template <class V> __device__ bool decode(const attend_args &a, int index, int lane, slot *s)
{
    const sb_cuda_shape &p = a.shape;
    const int section = index / (a.section * a.max_tiles) * a.section;
    const int heads = min(a.section, p.n_batch * p.n_heads - section);
    const int rest = index - section * a.max_tiles;
    const int bh = section + rest % heads, b = bh / p.n_heads;
    const int q_len = p.seqs[b].q_len, kv_len = p.seqs[b].kv_len, start = kv_len - q_len;
    const int tile = start / V::QUERIES + a.max_tiles - 1 - rest / heads, pos = tile * V::QUERIES;
    if (pos >= kv_len)
        return false;
    int n = pos / V::KT + 1, n_cols = 0, n_sub = 1;
    const int32_t *col_end = nullptr;
    if (a.row_ptr) {
        const int row = pos / p.block - start / p.block;
        const int64_t *ptr = a.row_ptr + (int64_t)bh * p.n_rows + row;
        const int64_t begin = ptr[0], end = ptr[1];
        n_cols = (int)(end - begin);
        col_end = a.col + end;
        n_sub = p.block / V::KT;
        n = (n_cols - 1) * n_sub + pos % p.block / V::KT + 1;
        if (n_cols <= 0)
            return false;
        if (lane < n_cols)
            s->cols[lane] = col_end[-1 - lane];
    }
    if (lane == 0) {
        s->n = n;
        s->bh = bh;
        s->bkv = bh / (p.n_heads / p.n_kv_heads);
        s->t0 = pos - start;
        s->q_len = q_len;
        s->keys = kv_len < p.kv_len ? kv_len - pos : V::KT;
        s->n_cols = n_cols;
        s->n_sub = n_sub;
        s->col_end = col_end;
    }
    return true;
}

template <class V> __device__ void schedule(const attend_args &a, shared<V> &m)
{
    const int lane = threadIdx.x % 32;
    cursor<V::RING> c;
    int index = blockIdx.x;
    for (;;) {
        barrier_wait(m.slot_empty + c.at, c.parity ^ 1);
        const bool more = index < a.n_items;
        if (!more && lane == 0)
            m.slots[c.at].n = 0;
        if (!more || decode<V>(a, index, lane, &m.slots[c.at])) {
            barrier_arrive(m.slot_full + c.at);
            c.step();
        }
        if (!more)
            return;
        /* The counter wraps to zero with the last of the n_items fetches that a launch makes. */
        if (lane == 0)
            index = (int)(atomicInc(a.counter, (unsigned)a.n_items - 1) + gridDim.x);
        index = __shfl_sync(~0u, index, 0);
    }
}

/* ---- the copying warp ----------------------------------------------------------------------- */

template <class V> __device__ void produce(const attend_args &a, shared<V> &m)
{
    const int lane = threadIdx.x % 32;
    cursor<V::RING> ring;
    cursor<V::STAGES> kc, vc;
    int v_key = 0, v_head = -1;

    auto load_v = [&]() {
        barrier_wait(m.v_empty + vc.at, vc.parity ^ 1);
        barrier_expect(m.v_full + vc.at, V::KV_BYTES);
        load_tile(m.v[vc.at], &a.v, v_key, v_head, m.v_full + vc.at, EVICT_LAST);
        vc.step();
    };
    for (;; ring.step()) {
        barrier_wait(m.slot_full + ring.at, ring.parity);
        const slot &s = m.slots[ring.at];
        const int n = s.n, bh = s.bh, bkv = s.bkv, t0 = s.t0, n_cols = s.n_cols, n_sub = s.n_sub;
        const int32_t *col_end = s.col_end;
        if (n == 0)
            break;
        int col = s.cols[lane], col_next = 0;
        barrier_arrive(m.slot_empty + ring.at);
        if (lane == 0) {
            barrier_wait(m.q_empty + ring.at, ring.parity ^ 1);
            barrier_expect(m.q_full + ring.at, V::CG * V::Q_BYTES);
            for (int g = 0; g < V::CG; g++)
                load_tile(m.q[ring.at][g], &a.q, t0 + 64 * g, bh, m.q_full + ring.at, EVICT_FIRST);
        }
        int sub = (n - 1) % n_sub, entry = 0;
        for (int i = 0; i < n; i++) {
            int tile = n - 1 - i;
            if (n_cols) {
                if (sub == n_sub - 1 || i == 0) {
                    /* Blocks come 32 at a time, the next 32 asked for as these are begun. */
                    if (entry % 32 == 0) {
                        if (entry > 0)
                            col = col_next;
                        if (entry + 32 + lane < n_cols)
                            col_next = col_end[-1 - (entry + 32 + lane)];
                    }
                    entry++;
                }
                tile = __shfl_sync(~0u, col, (entry - 1) % 32) * n_sub + sub;
                sub = sub == 0 ? n_sub - 1 : sub - 1;
            }
            if (lane == 0) {
                barrier_wait(m.k_empty + kc.at, kc.parity ^ 1);
                barrier_expect(m.k_full + kc.at, V::KV_BYTES);
                load_tile(m.k[kc.at], &a.k, tile * V::KT, bkv, m.k_full + kc.at, EVICT_LAST);
                kc.step();
                if (v_head >= 0)
                    load_v();
                v_key = tile * V::KT;
                v_head = bkv;
            }
            __syncwarp();
        }
    }
    if (lane == 0 && v_head >= 0)
        load_v();
}

} // namespace sm90

#endif
