#ifndef SB_CUDA_SM90_CONSUMER_CUH
#define SB_CUDA_SM90_CONSUMER_CUH

#include "methods/kernels/cuda/sm90_pipeline.cuh"
#include "methods/kernels/cuda/sm90_softmax.cuh"
#include "methods/kernels/cuda/wgmma.cuh"

/* A consumer warpgroup of the sm_90a kernel: 64 queries of each item. */

namespace sm90
{

enum { BAR_TURN = 1, BAR_GROUP = 4 }; /* named barriers; one for each consumer warpgroup */

template <class V> struct consumer {
    static constexpr int NS = V::KT / 2, NO = V::D / 2;
    using scores = float[NS];

    const attend_args &a;
    shared<V> &m;
    const int group, warp, lane;
    const float scale; /* to log2 */
    cursor<V::RING> ring;
    cursor<V::STAGES> k_next, kc, vc; /* K to multiply next, K and V to release next */
    scores s;
    float o[NO];
    uint32_t p[V::KT / 16][4];
    softmax<NS> soft;

    struct item {
        int n, bh, t0, q_len, keys, at;
    };

    /* Whether O is still to be multiplied by `shrink`, in this warp. */
    struct rescaling {
        bool any;
        float shrink[2];
    };

    __device__ consumer(const attend_args &args, shared<V> &mem)
        : a(args), m(mem), group(__shfl_sync(~0u, threadIdx.x / 128, 0) - 1),
          warp(threadIdx.x / 32 % 4), lane(threadIdx.x % 32),
          scale(args.shape.scale * 1.4426950408889634f)
    {
    }

    /* Named barriers give the turns: a group waits for its own and then opens the next one's. */
    __device__ void take_turn()
    {
        if (V::TURNS)
            named_sync(BAR_TURN + group, 256);
    }
    __device__ void pass_turn()
    {
        if (V::TURNS)
            named_arrive(BAR_TURN + (group + 1) % V::CG, 256);
    }

    __device__ void release(uint64_t *bar)
    {
        if (lane == 0)
            barrier_arrive(bar);
    }

    __device__ item take_item()
    {
        barrier_wait(m.slot_full + ring.at, ring.parity);
        const slot &from = m.slots[ring.at];
        /* By shuffle, so that the compiler knows it for uniform and lets products stay in flight
         * across the branches that hang on it. */
        const int n = __shfl_sync(~0u, from.n, 0);
        item x = {n, from.bh, from.t0, from.q_len, from.keys, ring.at};
        barrier_arrive(m.slot_empty + ring.at);
        if (x.n > 0)
            barrier_wait(m.q_full + ring.at, ring.parity);
        ring.step();
        return x;
    }

    __device__ void issue_qk(const item &x, scores &to)
    {
        barrier_wait(m.k_full + k_next.at, k_next.parity);
        const uint64_t q = wgmma::descriptor(smem(m.q[x.at][group]), 16);
        const uint64_t k = wgmma::descriptor(smem(m.k[k_next.at]), 16);
        wgmma::fence();
        wgmma::mma<V::HALF, false>(to, q, k);
#pragma unroll
        for (int i = 1; i < V::D / 16; i++)
            wgmma::mma<V::HALF, true>(to, wgmma::advance(q, i / 4 * 64 * V::ROW_BYTES + i % 4 * 32),
                                      wgmma::advance(k, i / 4 * V::KT * V::ROW_BYTES + i % 4 * 32));
        wgmma::commit();
        k_next.step();
    }

    __device__ void issue_pv(bool fresh)
    {
        const uint64_t v = wgmma::descriptor(smem(m.v[vc.at]), V::KT * V::ROW_BYTES);
        wgmma::fence();
#pragma unroll
        for (int i = 0; i < V::KT / 16; i++)
            wgmma::mma<V::HALF>(o, p[i], wgmma::advance(v, i * 16 * V::ROW_BYTES), i > 0 || !fresh);
        wgmma::commit();
    }

    /* V rows past a shorter sequence's end may hold NaN, and 0 * NaN is NaN. Every group writes the
     * same zeros, so they need not wait for each other. */
    __device__ void wait_v(const item &x, bool diagonal)
    {
        barrier_wait(m.v_full + vc.at, vc.parity);
        if (!diagonal || x.keys >= V::KT)
            return;
        for (int i = threadIdx.x % 128; i < V::KV_BYTES / 16; i += 128)
            if (i / 8 % V::KT >= x.keys)
                ((uint4 *)m.v[vc.at])[i] = make_uint4(0, 0, 0, 0);
        proxy_fence();
        named_sync(BAR_GROUP + group, 128);
    }

    __device__ void k_done()
    {
        release(m.k_empty + kc.at);
        kc.step();
    }
    __device__ void v_done()
    {
        release(m.v_empty + vc.at);
        vc.step();
    }

    __device__ void pack_p(const scores &from)
    {
#pragma unroll
        for (int i = 0; i < NS; i += 2)
            p[i / 8][i / 2 % 4] = pack<V::HALF>(from[i], from[i + 1]);
    }

    /* The diagonal tile, whose scores are there. */
    __device__ void first_tile(scores &x)
    {
        wgmma::hold(x);
        k_done();
        soft.first(x, group, warp * 16 + lane / 4, lane % 4 * 2, scale);
        pack_p(x);
    }

    __device__ void rescale_o(const float (&shrink)[2])
    {
#pragma unroll
        for (int i = 0; i < NO; i++)
            o[i] *= shrink[i / 2 % 2];
    }

    /* Any other tile, whose scores are there, up to its P; a product of scores issued after P V may
     * stay in flight. True when O must be multiplied by `shrink` before the next P V: each warp
     * decides for itself, so nothing that a whole group must do together may hang on it. */
    template <int PENDING> __device__ bool next_tile(scores &x, float (&shrink)[2])
    {
        wgmma::hold(x);
        k_done();
        const bool rescale = soft.next(x, scale, shrink);
        soft.settle();
        wgmma::wait<PENDING>();
        wgmma::hold(o);
        v_done();
        pack_p(x);
        return rescale;
    }

    /* The same when nothing but P V is in flight. */
    __device__ void settled_tile(scores &x)
    {
        float shrink[2];
        if (next_tile<0>(x, shrink))
            rescale_o(shrink);
    }

    /* O / sum through this item's Q buffer to memory, and LSE. */
    __device__ void epilogue(const item &x)
    {
        const int t = x.t0 + group * 64 + warp * 16 + lane / 4;
        const int first = x.t0 + group * 64;
        /* Copies cut a tile at the end of the tensor, not at that of a shorter sequence; and a
         * store from a negative coordinate is an illegal instruction. */
        const bool whole = first >= 0 && (first + 64 <= x.q_len || x.q_len == a.shape.q_len);
        uint8_t *to = m.q[x.at][group];
        float inverse[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float sum = quad_sum(soft.sum[r]);
            const int row = t + 8 * r;
            inverse[r] = __fdividef(1, sum);
            if (a.lse && lane % 4 == 0 && row >= 0 && row < x.q_len)
                a.lse[(int64_t)x.bh * a.shape.q_len + row] = soft.lse(r, sum);
        }
        const int row = warp * 16 + lane % 16;
        const uint32_t base = smem(to) + row * V::ROW_BYTES;
#pragma unroll
        for (int i = 0; i < NO; i += 8) {
            uint32_t two[4];
#pragma unroll
            for (int j = 0; j < 4; j++)
                two[j] =
                    pack<V::HALF>(o[i + 2 * j] * inverse[j % 2], o[i + 2 * j + 1] * inverse[j % 2]);
            const int unit = i / 4 % 8 + lane / 16;
            stmatrix(base + i / 32 * 64 * V::ROW_BYTES + ((unit ^ (row & 7)) << 4), two[0], two[1],
                     two[2], two[3]);
        }
        proxy_fence();
        named_sync(BAR_GROUP + group, 128);
        if (whole) {
            if (threadIdx.x % 128 == 0)
                store_tile(&a.o, to, first, x.bh);
        } else {
            store_rows(x, to);
        }
    }

    /* A tile that ends within the padding of a ragged batch: only its own rows. */
    __device__ void store_rows(const item &x, const uint8_t *from)
    {
        uint4 *o_bhtd = (uint4 *)a.o_plain;
        constexpr int UNITS = V::D / 8;
        for (int i = threadIdx.x % 128; i < 64 * UNITS; i += 128) {
            const int row = i / UNITS, unit = i % UNITS, t = x.t0 + group * 64 + row;
            if (t >= 0 && t < x.q_len)
                o_bhtd[((int64_t)x.bh * a.shape.q_len + t) * UNITS + unit] =
                    *(const uint4 *)(from + (unit / 8 * 64 + row) * V::ROW_BYTES +
                                     ((unit % 8 ^ (row & 7)) << 4));
        }
        named_sync(BAR_GROUP + group, 128);
    }

    __device__ void release_q(const item &x)
    {
        if (threadIdx.x % 128 == 0) {
            store_wait_read();
            barrier_arrive(m.q_empty + x.at);
        }
    }

    /* One tile's scores ahead: the next Q K^T runs with this P V, and its softmax under P V. */
    __device__ void tiles(const item &x, bool &fresh)
    {
        for (int left = x.n - 1; left > 0; left--) {
            take_turn();
            issue_qk(x, s);
            wait_v(x, fresh);
            issue_pv(fresh);
            pass_turn();
            wgmma::wait<1>();
            settled_tile(s);
            fresh = false;
        }
    }

    /* Where registers allow, two tiles' scores ahead: a softmax never waits for its scores.
     * Accumulators may be touched only while no product is in flight, so O is rescaled a tile
     * later than elsewhere. */
    __device__ void begin_step(const item &x, bool fresh, scores &now, const rescaling &due)
    {
        wait_v(x, fresh);
        wgmma::wait<0>();
        wgmma::hold(now);
        if (due.any) {
            wgmma::hold(o);
            rescale_o(due.shrink);
        }
        issue_pv(fresh);
    }
    __device__ void step(const item &x, bool &fresh, scores &now, scores &later, rescaling &due)
    {
        begin_step(x, fresh, now, due);
        issue_qk(x, later);
        due.any = next_tile<1>(now, due.shrink);
        fresh = false;
    }
    __device__ void tiles_deep(const item &x, bool &fresh, scores &other)
    {
        rescaling due = {false, {1, 1}};
        int left = x.n - 1;
        if (left == 0)
            return;
        if (left % 2 == 0) {
            issue_qk(x, s);
            wait_v(x, fresh);
            issue_pv(fresh);
            wgmma::wait<1>();
            settled_tile(s);
            fresh = false;
        }
        issue_qk(x, other);
        for (left = (left - 1) / 2; left > 0; left--) {
            step(x, fresh, other, s, due);
            step(x, fresh, s, other, due);
        }
        begin_step(x, fresh, other, due);
        settled_tile(other);
        fresh = false;
    }

    __device__ void run()
    {
        scores other;
#pragma unroll
        for (int i = 0; i < NO; i++)
            o[i] = 0;
#pragma unroll
        for (int i = 0; i < NS; i++)
            s[i] = other[i] = 0;
        if (V::TURNS && group == V::CG - 1)
            named_arrive(BAR_TURN, 256);
        item x = take_item();
        if (x.n > 0) {
            take_turn();
            issue_qk(x, s);
            pass_turn();
            wgmma::wait<0>();
        }
        while (x.n > 0) {
            bool fresh = true;
            first_tile(s);
            if (V::DEEP)
                tiles_deep(x, fresh, other);
            else
                tiles(x, fresh);
            const item next = take_item();
            take_turn();
            wait_v(x, fresh);
            if (next.n == 0) {
                issue_pv(fresh);
                wgmma::wait<0>();
                wgmma::hold(o);
                epilogue(x);
                pass_turn();
                release_q(x);
                break;
            }
            issue_pv(fresh);
            issue_qk(next, s);
            pass_turn();
            wgmma::wait<1>();
            wgmma::hold(o);
            v_done();
            epilogue(x);
            wgmma::wait<0>();
            release_q(x);
            x = next;
        }
        if (V::TURNS && group == 0)
            named_sync(BAR_TURN, 256);
    }
};

} // namespace sm90

#endif
