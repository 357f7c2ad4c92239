#!/usr/bin/env python3
"""Write methods/tests/data/field.h5: the masks that the public code of the field's authors selects.

    golden_field.py --minference DIR --flexprefill DIR --xattention DIR --sparge DIR \
                    --angelslim DIR [--flashprefill DIR] --out FILE

Every DIR is a git checkout or a bare clone; what is read is its HEAD. The authors' functions are
cut out of their files by name and run on the CPU in float32, Triton kernels in Triton's own
interpreter, MInference's CUDA index kernel compiled as C++. Nothing of theirs is stored. What is
patched, and what each group holds: methods/tests/data/README.md.

Needs: numpy, h5py, torch, triton, einops, a C++ compiler.
"""
import argparse
import ctypes
import os
import subprocess
import sys
import tempfile

from golden_common import (TO_CPU, Inputs, Repository, capture, causal, count_pairs, csr, find_all,
                           pack, throw, to_blocks, tokens_to_blocks, write_group)

import h5py
import numpy as np
import torch

MINFERENCE_VS = "minference/modules/minference_forward.py"
MINFERENCE_ATTEND = "minference/ops/pit_sparse_flash_attention_v2.py"
MINFERENCE_BLOCK = "minference/ops/block_sparse_flash_attention.py"
FLASHPREFILL = "ops/flashprefill_native_forward.py"
ANGELSLIM = "angelslim/compressor/sparsity/algorithms/"


def streaming(out, repos):
    reference = repos["angelslim"].load(ANGELSLIM + "minference/reference.py")
    seen = []

    def masked(q, k, v, keep):
        seen.append(keep[0, 0].numpy())
        return torch.zeros_like(q)

    reference._masked_softmax_attention = masked
    runs = [("b", 4, 512, 0), ("c", 128, 3968, 0), ("d", 1024, 8192, 0), ("b", 128, 512, 100),
            ("c", 8, 512, 128), ("c", 128, 3968, 100)]
    for i, (case, sink, window, last) in enumerate(runs):
        inputs = Inputs(case)
        q = torch.zeros(1, 1, inputs.tokens, 16)
        seen.clear()
        if last:
            reference.tri_shape_attention(q, q, q, sink, window, last)
            keep = np.zeros((inputs.tokens,) * 2, bool)
            keep[:-last, :-last], keep[-last:] = seen
        else:
            reference.a_shape_attention(q, q, q, sink, window)
            keep = seen[0]
        mask = np.repeat(to_blocks(keep[None], 128, 128), inputs.heads, 0)
        write_group(out, f"streaming_{i}", "streaming", inputs, 128, mask, repos["angelslim"],
                    "tri_shape_attention" if last else "a_shape_attention",
                    dict(sink=sink, window=window, tri=last, pairs=int(keep.sum()) * inputs.heads))


CPU_GRID = """#include <algorithm>
using std::max;
#define __device__
#define __global__
struct dim {{ int x, y, z; }};
static dim blockIdx, threadIdx, blockDim = {{1, 1, 1}};
{kernel}
extern "C" void rows(const int *len, const int *v, const int *s, int *block_count,
                     int *block_offset, int *column_count, int *column_index, int heads, int n,
                     int nv, int ns)
{{
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < n; i++) {{
            blockIdx = {{h, 0, i}};
            convert_vertical_slash_indexes_kernel(len, v, s, block_count, block_offset,
                                                  column_count, column_index, heads, n, 64, 64,
                                                  nv, ns);
        }}
}}
"""


def compile_index_kernel(repository):
    """MInference's CUDA kernel that turns columns and diagonals into ranges, as a C++ function."""
    text = repository.source("csrc/vertical_slash_index.cu")
    kernel = text[text.index("__device__ void save_blocks"):
                  text.index("void convert_vertical_slash_indexes_64x64")]
    path = os.path.join(repository.scratch, "index")
    with open(path + ".cpp", "w", encoding="utf-8") as f:
        f.write(CPU_GRID.format(kernel=kernel))
    subprocess.run(["g++", "-O1", "-shared", "-fPIC", "-o", path + ".so", path + ".cpp"],
                   check=True)
    rows = ctypes.CDLL(path + ".so").rows

    def convert(seqlens, v_idx, s_idx, context_size, block_q, block_k):
        assert block_q == block_k == 64
        heads, nv, ns = v_idx.shape[1], v_idx.shape[2], s_idx.shape[2]
        n = -(-context_size // 64)
        made = [torch.zeros(1, heads, n, *tail, dtype=torch.int32)
                for tail in ((), (ns,), (), (nv,))]
        arrays = [seqlens, v_idx.contiguous(), s_idx.contiguous(), *made]
        rows(*(ctypes.c_void_p(a.data_ptr()) for a in arrays), heads, n, nv, ns)
        return made

    return convert


def minference_tokens(counts, tokens):
    """What the attention kernel visits: bool [n, T] of one head."""
    block_count, block_offset, column_count, column_index = (x[0, 0].numpy() for x in counts)
    visited = np.zeros((len(block_count), tokens), bool)
    for i, row in enumerate(visited):
        for start in block_offset[i, :block_count[i]]:
            row[start:start + 64] = True
        row[column_index[i, :column_count[i]]] = True
        row[(i + 1) * 64:] = False
    return visited


def minference(out, repos):
    repository = repos["minference"]
    attend = repository.load(
        MINFERENCE_ATTEND, ["vertical_slash_sparse_attention"],
        dict(convert_vertical_slash_indexes_opt=None, sparse_attn_func=None,
             convert_vertical_slash_indexes=compile_index_kernel(repository),
             _triton_mixed_sparse_attention=throw(lambda q, k, v, n, *rest: rest[:4])))
    seen = {}

    def vertical_slash(q, k, v, v_idx, s_idx):
        seen.update(v=v_idx.flatten().sort().values.numpy().astype(np.int32),
                    s=s_idx.flatten().sort().values.numpy().astype(np.int32))
        return attend.vertical_slash_sparse_attention(q, k, v, v_idx, s_idx)

    blocks = repository.load(
        MINFERENCE_BLOCK, ["_build_block_index", "block_sparse_attention"],
        dict(_triton_block_sparse_attention=throw(lambda q, k, v, n, index, *rest: index)))
    forward = repository.load(
        MINFERENCE_VS,
        ["last_q", "arange", "LAST_Q_MASK", "sum_all_diagonal_matrix", "minference_prefill_kernel"],
        dict(vertical_slash_sparse_attention=vertical_slash, streaming_forward=None), [TO_CPU])

    def prefill(inputs, h, kind, v_size, s_size):
        config = {"best_pattern": [{"0": (kind, v_size, s_size, 1)}]}
        q, k = inputs.q[:, h:h + 1], inputs.k[:, h:h + 1]
        return capture(forward.minference_prefill_kernel, q, k, k, 0, 0, config)

    runs = [("a", 512, 2048), ("a", 100, 800), ("b", 30, 800), ("b", 500, 700), ("c", 1000, 6096),
            ("c", 3500, 100)]
    for i, (case, v_size, s_size) in enumerate(runs):
        inputs = Inputs(case)
        t = inputs.tokens
        visited, exact, v_all, s_all, pairs = [], [], [], [], 0
        for h in range(inputs.heads):
            visited.append(minference_tokens(
                prefill(inputs, h, "vertical_and_slash", v_size, s_size), t))
            v_all.append(seen["v"])
            s_all.append(seen["s"])
            is_v, is_s = np.zeros(t, bool), np.zeros(t, bool)
            is_v[seen["v"]] = is_s[seen["s"]] = True
            keep = is_s[np.abs(np.subtract.outer(np.arange(t), np.arange(t)))] | is_v
            keep &= causal(t)
            pairs += int(keep.sum())
            exact.append(to_blocks(keep[None], 64, 64)[0])
        visited = np.stack(visited)
        ptr, col = csr(tokens_to_blocks(visited, 64))
        write_group(out, f"minference_vs_{i}", "minference", inputs, 64, np.stack(exact),
                    repository, "minference_prefill_kernel",
                    dict(mode="vertical_slash", vertical=v_size, slash=s_size, pairs=pairs,
                         kernel_pairs=count_pairs(visited, 64)),
                    dict(v_idx=np.stack(v_all), s_idx=np.stack(s_all), kernel_row_ptr=ptr,
                         kernel_col=col, kernel_bits=pack(visited)))
    for i, (case, top_k) in enumerate([("c", 100), ("a", 16), ("b", 8)]):
        inputs = Inputs(case)
        n = -(-inputs.tokens // 64)
        mask = np.zeros((inputs.heads, n, n), bool)
        for h in range(inputs.heads):
            q, k = inputs.q[:, h:h + 1], inputs.k[:, h:h + 1]
            index = capture(blocks.block_sparse_attention, q, k, k, top_k)[0, 0].numpy()
            for row in range(n):
                mask[h, row, index[row, :min(row + 1, index.shape[-1])]] = True
        write_group(out, f"minference_block_{i}", "minference", inputs, 64, mask, repository,
                    "block_sparse_attention", dict(mode="block_sparse", top_k=top_k))


def flexprefill(out, repos):
    repository = repos["flexprefill"]
    names = ["bnhd_pool_kernel", "triton_bnhd_pool", "torch_bhn_sumpool", "score_cover_topk",
             "score_cover_idx", "sum_all_diagonal_matrix", "transform_veritcal_slash_idx",
             "causal_mask", "square_root_js_divergence", "get_active_blocks",
             "flex_prefill_attention"]
    flex = repository.load("flex_prefill/ops/flex_prefill_attention.py", names, dict(
        triton_block_wise_attention=throw(lambda q, k, v, index, *rest, **named: index)))
    divergence, seen = flex.square_root_js_divergence, []

    def recorded(p, q):
        seen.append(divergence(p, q))
        return seen[-1]

    flex.square_root_js_divergence = recorded
    runs = [("a", 0.9, 0.1, 512), ("b", 0.9, 0.1, 512), ("a", 0.95, 0.1, 1024),
            ("b", 0.95, 0.3, 0), ("c", 0.9, 0.1, 0), ("a", 0.7, 0.3, 0)]
    for i, (case, gamma, tau, budget) in enumerate(runs):
        inputs = Inputs(case)
        n = -(-inputs.tokens // 128)
        seen.clear()
        q, k = inputs.q.transpose(1, 2), inputs.k_kv.transpose(1, 2)
        index = capture(flex.flex_prefill_attention, q, k, k, gamma, tau,
                        min_budget=budget or None, block_size=128)[0]
        mask = np.zeros((inputs.heads, n * n), bool)
        for h in range(inputs.heads):
            mask[h, index[h].numpy()] = True
        jsd = seen[0][0].numpy().astype(np.float64)
        write_group(out, f"flexprefill_{i}", "flexprefill", inputs, 128,
                    mask.reshape(inputs.heads, n, n), repository, "flex_prefill_attention",
                    dict(gamma=gamma, tau=tau, min_budget=budget, root_jsd=jsd,
                         query_aware=(jsd < tau).astype(np.int64)))


def xattention(out, repos):
    repository = repos["xattention"]
    chosen = repository.load("xattn/src/utils.py", ["find_blocks_chunked"])
    kernels = repository.load("xattn/src/kernels.py")
    prefill = repository.load(
        "xattn/src/Xattention.py", ["xattn_estimate", "Xattention_prefill"],
        dict(find_blocks_chunked=chosen.find_blocks_chunked,
             flat_group_gemm_fuse_reshape=kernels.flat_group_gemm_fuse_reshape,
             softmax_fuse_block_sum=kernels.softmax_fuse_block_sum,
             block_sparse_attn_func=throw(lambda *args, **named: args[7])),
        [TO_CPU, ("torch.cuda.get_device_properties(torch.cuda.current_device()).name", '"A100"')])
    runs = [("a", 8, 0.9, None, False), ("a", 16, 0.9, None, False), ("b", 8, 0.9, None, False),
            ("b", 16, 0.8, None, False), ("c", 16, 0.5, None, False), ("b", 8, 0.9, 2048, False),
            ("b", 8, 0.9, 2048, True), ("a", 8, 0.9, 2048, True), ("a", 16, 0.9, None, True)]
    for i, (case, stride, threshold, chunk, triton) in enumerate(runs):
        inputs = Inputs(case)
        mask = capture(prefill.Xattention_prefill, inputs.q, inputs.k, inputs.k, stride,
                       threshold=threshold, use_triton=triton, chunk_size=chunk)[0].numpy()
        auto = max(2048, 1 << (inputs.tokens - 1).bit_length())  # of theirs, up to 16384 tokens
        write_group(out, f"xattention_{i}", "xattention", inputs, 128, mask, repository,
                    "Xattention_prefill",
                    dict(stride=stride, threshold=threshold, chunk=chunk or auto,
                         path="triton" if triton else "torch"))


def sparge(out, repos):
    repository = repos["sparge"]
    utils = repository.load("spas_sage_attn/utils.py")
    runs = [("b", 64, 128, 0.6, 0.98, 0), ("b", 128, 64, 0.6, 0.98, 0),
            ("a", 128, 64, -0.1, 0, 0.5), ("b", 128, 64, -0.1, 0, 0.5),
            ("b", 64, 128, 0.5, 0.9, 0), ("a", 128, 64, 0.2, 0.9, 0), ("b", 64, 128, -0.1, 0, 0.3)]
    for i, (case, block_q, block_k, sim, cdf, top) in enumerate(runs):
        inputs = Inputs(case)
        native = utils.get_block_map_meansim_fuse_quant(
            inputs.q, inputs.k, inputs.k.mean(dim=-2, keepdim=True), is_causal=True, BLKQ=block_q,
            BLKK=block_k, simthreshd1=sim, cdfthreshd=cdf or None, topk=top or None)[0][0].numpy()
        n = -(-inputs.tokens // 64)
        mask = native.repeat(block_q // 64, 1).repeat(block_k // 64, 2)[:, :n, :n] & causal(n)
        ptr, col = csr(native)
        write_group(out, f"sparge_{i}", "sparge", inputs, 64, mask, repository,
                    "get_block_map_meansim_fuse_quant",
                    dict(block_q=block_q, block_k=block_k, similarity=sim, cdf=cdf, top=top),
                    dict(native_row_ptr=ptr, native_col=col))


def flashprefill_original(repository):
    """FlashPrefill's own selection, as a function of Inputs and settings -> bool [H, n, n]."""
    text = repository.source(FLASHPREFILL)
    tuned = [text[at:text.index("@triton.jit", at)] for at in find_all(text, "@triton.autotune")]
    replace = [(decorator, "") for decorator in tuned[:2]] + [
        ('@torch.compile(mode="reduce-overhead")\n', ""), ("@torch.compile\n", ""),
        ("            K_STRIDE=k_stride,", "            K_STRIDE=k_stride, K_TILE_SIZE=64,"),
        ("(query_tile_index < tl.cdiv(query_len, BLOCK_SIZE)) & ", "")]  # true in the whole grid
    attend = throw(lambda q, k, v, o, index, counts, *rest, **named: (index, counts))
    names = ["compute_mean_vector", "compute_block_score", "deal_output_score", "normalize_scores",
             "FlashPrefill", "flash_prefill"]
    own = repository.load(FLASHPREFILL, names, dict(
        contiguous=lambda f: f, autocast_custom_fwd=lambda f: f,
        _flash_forward=type("Grid", (), {"__getitem__": lambda self, grid: attend})()), replace)

    def select(inputs, alpha, sink, window, last):
        q, k = inputs.q.transpose(1, 2).contiguous(), inputs.k_kv.transpose(1, 2).contiguous()
        index, counts = capture(own.flash_prefill, q, k, k, torch.empty_like(q), 128,
                                max(1, sink // 128), max(1, window // 128), alpha, last, 0)
        n = index.shape[1]
        mask = np.zeros((inputs.heads, n, n), bool)
        for h, row in np.ndindex(inputs.heads, n):
            mask[h, row, index[0, row, :counts[0, row, h], h].numpy()] = True
        return mask

    return select


def flashprefill(out, repos):
    repository = repos["angelslim"]
    build = repository.load(ANGELSLIM + "flashprefill/blockmask.py").build_block_keep_mask
    original = flashprefill_original(repos["flashprefill"]) if "flashprefill" in repos else None
    runs = [("a", 0.2, 256, 512, 2), ("b", 0.2, 256, 512, 2), ("a", 0.12, 256, 512, 2),
            ("b", 0.08, 128, 256, 1), ("c", 0.5, 0, 0, 0)]
    for i, (case, alpha, sink, window, last) in enumerate(runs):
        inputs = Inputs(case)
        mask = build(inputs.q, inputs.k, alpha=alpha, sink=sink, window=window,
                     last_n_block_full=last)[0].numpy()
        settings = dict(alpha=alpha, sink=sink, window=window, last_full=last)
        if original:
            differing = int((original(inputs, *settings.values()) ^ mask).sum())
            settings |= dict(original_commit=repos["flashprefill"].commit,
                             original_differing=differing)
        write_group(out, f"flashprefill_{i}", "flashprefill", inputs, 128, mask, repository,
                    "build_block_keep_mask", settings)


def cosa(out, repos):
    repository = repos["angelslim"]
    estimate = repository.load(ANGELSLIM + "cosa/ops/proxy.py").cosa_estimate
    size = repository.load(ANGELSLIM + "cosa/prefill.py", ["default_chunk_size"]).default_chunk_size
    runs = [("a", 8, 0.8), ("b", 8, 0.8), ("a", 8, 0.95), ("b", 16, 0.5), ("c", 16, 0.8)]
    for i, (case, stride, top_p) in enumerate(runs):
        inputs = Inputs(case)
        n = -(-inputs.tokens // 128)
        order = estimate(inputs.q, inputs.k, 128, stride, top_p, size(inputs.tokens))[1][0].numpy()
        mask = np.zeros((inputs.heads, n, n), bool)
        for h, row, at in zip(*np.nonzero(order >= 0)):
            mask[h, row, order[h, row, at]] = True
        write_group(out, f"cosa_{i}", "cosa", inputs, 128, mask, repository, "cosa_estimate",
                    dict(stride=stride, top_p=top_p))


def sort_rows(x):
    """tl.sort of the interpreter's tensors, which takes more than a second there."""
    return type(x)(type(x.handle)(np.sort(x.handle.data, 1), x.handle.dtype), x.type)


def vecattention(out, repos):
    repository = repos["angelslim"]
    keep = repository.load(ANGELSLIM + "vecattention/reference.py").build_vecattention_keep_mask
    runs = [("a", 0.1, 16), ("b", 0.1, 16), ("a", 0.3, 2), ("b", 0.01, 1)]
    for i, (case, threshold, band) in enumerate(runs):
        inputs = Inputs(case)
        tokens = keep(inputs.q, inputs.k, threshold=threshold, block_size_k=band)[0].numpy()
        write_group(out, f"vecattention_reference_{i}", "vecattention", inputs, 64,
                    tokens_to_blocks(tokens, 64), repository, "build_vecattention_keep_mask",
                    dict(form="reference", threshold=threshold, block_k=band,
                         pairs=count_pairs(tokens, 64)), dict(token_bits=pack(tokens)))
    kernel = repository.load(
        ANGELSLIM + "vecattention/ops/vecattention_kernel.py", given=dict(sort_rows=sort_rows),
        replace=[("tl.sort(idx, dim=1, descending=False)", "sort_rows(idx)")])
    forward = repository.load(
        ANGELSLIM + "vecattention/modules/forward.py", ["vecattention_forward"],
        dict(average_vector=kernel.average_vector,
             fuse_qk_softmax_minp_wo_causal=kernel.fuse_qk_softmax_minp_wo_causal,
             sparse_attn_func=throw(lambda q, k, v, size, *rest, **named: rest)))
    for i, (case, threshold, group) in enumerate(
            [("a", 0.1, 16), ("b", 0.1, 16), ("a", 0.3, 16), ("b", 0.1, 8192), ("c", 0.01, 16)]):
        inputs = Inputs(case)
        tokens = vecattention_kernel_tokens(capture(
            forward.vecattention_forward, inputs.q, inputs.k, inputs.k, threshold, 64, 16, group,
            chunk_size=64 * 1024), inputs.tokens)
        write_group(out, f"vecattention_kernel_{i}", "vecattention", inputs, 64,
                    tokens_to_blocks(tokens, 64), repository, "vecattention_forward",
                    dict(form="kernel", threshold=threshold, block_k=16, group=group,
                         pairs=count_pairs(tokens, 64)), dict(token_bits=pack(tokens)))


def vecattention_kernel_tokens(counts, t):
    blk_count, blk_idx, col_count, col_idx = (x[0].numpy() for x in counts)
    heads, n = blk_count.shape
    tokens = np.zeros((heads, n, t), bool)
    for h, i in np.ndindex(heads, n):
        for start in blk_idx[h, i, :blk_count[h, i]]:
            tokens[h, i, start:start + 64] = True
        tokens[h, i, col_idx[h, i, :col_count[h, i]]] = True
    return tokens


METHODS = (streaming, minference, flexprefill, xattention, sparge, flashprefill, cosa, vecattention)
URLS = {"minference": "microsoft/MInference", "flexprefill": "ByteDance-Seed/FlexPrefill",
        "xattention": "mit-han-lab/x-attention", "sparge": "thu-ml/SpargeAttn",
        "angelslim": "Tencent/AngelSlim"}
OPTIONAL = {"flashprefill": "qhfan/FlashPrefill"}  # has no licence: only compared with, a count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, url in URLS.items():
        parser.add_argument("--" + name, required=True, metavar="DIR", help=url)
    for name, url in OPTIONAL.items():
        parser.add_argument("--" + name, metavar="DIR", help=url)
    parser.add_argument("--out", required=True, metavar="FILE")
    parser.add_argument("--only", nargs="*", help="methods to run; default: all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    urls = {name: url for name, url in (URLS | OPTIONAL).items() if getattr(args, name)}
    with tempfile.TemporaryDirectory() as scratch, h5py.File(args.out, "w") as out:
        repos = {name: Repository(getattr(args, name), url, scratch) for name, url in urls.items()}
        for method in METHODS:
            if not args.only or method.__name__ in args.only:
                method(out, repos)
    return 0


if __name__ == "__main__":
    sys.exit(main())
