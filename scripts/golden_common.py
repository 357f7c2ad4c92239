"""Parts of golden_field.py: inputs, the authors' functions cut out of checkouts, groups written."""
import ast
import importlib.util
import os
import subprocess

os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported

import numpy as np
import torch

N_TOPICS = 8

# ---- inputs ----------------------------------------------------------------------------------

CASES = {  # q_shift: head h of Q is multiplied by 2^q_shift[h], so that heads differ in sharpness
    "a": dict(seed=101, tokens=4096, head_dim=64, kv_heads=2, segment=400, noise_shift=0,
              q_shift=[0, 1, 2, 3]),
    "b": dict(seed=102, tokens=2999, head_dim=128, kv_heads=1, segment=400, noise_shift=1,
              q_shift=[-1, 0, 1, 2]),
    "c": dict(seed=103, tokens=8192, head_dim=64, kv_heads=2, segment=400, noise_shift=0,
              q_shift=[1, 3]),
    "d": dict(seed=104, tokens=10007, head_dim=32, kv_heads=1, segment=400, noise_shift=0,
              q_shift=[0]),
}


def mix(x):
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return x ^ x >> np.uint64(31)


def bits(seed, stream, n):
    with np.errstate(over="ignore"):
        return mix(mix(np.array([seed * 1000003 + stream], np.uint64))
                   + np.arange(n, dtype=np.uint64))


def uniform(seed, stream, n):
    return (bits(seed, stream, n) >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1


def round_bf16(x):
    b = x.astype(np.float32).view(np.uint32)
    return ((b + np.uint32(0x7FFF) + (b >> np.uint32(16) & np.uint32(1)))
            & np.uint32(0xFFFF0000)).view(np.float32)


def generate(case, first_stream, shifts):
    """float32 [heads, tokens, head_dim], every value a bfloat16."""
    n, d, seed = case["tokens"], case["head_dim"], case["seed"]
    directions = uniform(seed, 7777, N_TOPICS * d).reshape(N_TOPICS, d)
    heads = []
    for h, shift in enumerate(shifts):
        stream = first_stream + 10 * h
        topic = bits(seed, stream + 1, -(-n // case["segment"])) % np.uint64(N_TOPICS)
        noise = uniform(seed, stream, n * d).reshape(n, d) * 2.0 ** -case["noise_shift"]
        topics = topic[np.arange(n) // case["segment"]].astype(int)
        heads.append(round_bf16((noise + 0.75 * directions[topics]) * 2.0**shift))
    return np.stack(heads)


class Inputs:
    """Q and K of a case, K also repeated to the query heads, as torch [1, H, T, D]."""

    def __init__(self, name):
        self.case = CASES[name]
        self.q_np = generate(self.case, 100, self.case["q_shift"])
        self.k_np = generate(self.case, 2000, [0] * self.case["kv_heads"])
        self.heads = len(self.case["q_shift"])
        self.q = torch.from_numpy(self.q_np)[None]
        self.k_kv = torch.from_numpy(self.k_np)[None]
        self.k = self.k_kv.repeat_interleave(self.heads // self.case["kv_heads"], 1)
        self.tokens = self.case["tokens"]


# ---- the authors' code -----------------------------------------------------------------------

class Repository:
    """HEAD of a checkout, of which definitions are imported by name, by way of files in scratch."""

    def __init__(self, path, url, scratch):
        self.path, self.url, self.scratch = path, url, scratch
        self.commit = self.git("rev-parse", "HEAD").strip()

    def git(self, *args):
        return subprocess.run(["git", "-C", self.path, *args], check=True, capture_output=True,
                              text=True).stdout

    def source(self, file):
        return self.git("show", "HEAD:" + file)

    def load(self, file, names=None, given=None, replace=()):
        """A module made of the top-level definitions `names` of a file (all: None), in the file's
        order, with `given` in its name space and the texts of `replace` exchanged."""
        text = self.source(file)
        for old, new in replace:
            if old not in text:
                raise SystemExit(f"{file} at {self.commit} no longer has {old!r}")
            text = text.replace(old, new)
        if names is not None:
            text = cut(text, names, file)
        path = os.path.join(self.scratch, f"m{len(os.listdir(self.scratch))}.py")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text if names is None else IMPORTS + text)
        spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], path)
        module = importlib.util.module_from_spec(spec)
        vars(module).update(given or {})
        spec.loader.exec_module(module)
        vars(module).update(given or {})
        return module


IMPORTS = """import math, warnings
from typing import List, Optional, Tuple, Union
import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from einops import rearrange
"""
TO_CPU = ('"cuda"', '"cpu"')


def cut(text, names, file):
    lines, out, found = text.splitlines(keepends=True), [], set()
    for node in ast.parse(text).body:
        name = getattr(node, "name", None)
        if isinstance(node, ast.Assign):
            name = getattr(node.targets[0], "id", None)
        if name in names:
            first = min([node.lineno] + [d.lineno for d in getattr(node, "decorator_list", [])])
            out.append("".join(lines[first - 1:node.end_lineno]) + "\n\n")
            found.add(name)
    if found != set(names):
        raise SystemExit(f"{file}: no {sorted(set(names) - found)}")
    return "".join(out)


class Captured(Exception):
    """Thrown out of the authors' code where it would attend, with what it would attend over."""


def capture(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Captured as c:
        return c.args[0]
    raise SystemExit(f"{function.__name__} did not attend")


def find_all(text, what):
    return [at for at in range(len(text)) if text.startswith(what, at)]


def throw(pick):
    def attend(*args, **kwargs):
        raise Captured(pick(*args, **kwargs))
    return attend


# ---- the file --------------------------------------------------------------------------------

def to_blocks(keep, block_q, block_k):
    """bool [H, T, T] -> any kept pair of each block, bool [H, n, n]."""
    h, t, _ = keep.shape
    n_q, n_k = -(-t // block_q), -(-t // block_k)
    padded = np.zeros((h, n_q * block_q, n_k * block_k), bool)
    padded[:, :t, :t] = keep
    return padded.reshape(h, n_q, block_q, n_k, block_k).any((2, 4))


def tokens_to_blocks(tokens, block):
    """bool [H, n, T] -> any kept key of each block, bool [H, n, ceil(T / block)]."""
    h, n, t = tokens.shape
    n_k = -(-t // block)
    padded = np.zeros((h, n, n_k * block), bool)
    padded[..., :t] = tokens
    return padded.reshape(h, n, n_k, block).any(-1)


def csr(mask):
    """bool [H, n, m] -> row_ptr i64 [H n + 1], col i32."""
    flat = mask.reshape(-1, mask.shape[-1])
    row_ptr = np.concatenate([[0], flat.sum(1).cumsum()]).astype(np.int64)
    return row_ptr, np.nonzero(flat)[1].astype(np.int32)


def causal(n):
    return np.tril(np.ones((n, n), bool))


def write_group(out, name, method, inputs, block, mask, repository, call, settings, arrays=None):
    """mask: bool [H, n, n] on the grid of `block`; settings become attributes."""
    assert mask.shape[-2:] == (-(-inputs.tokens // block),) * 2, (name, mask.shape)
    assert not (mask & ~causal(mask.shape[-1])).any(), name
    group = out.create_group(name)
    for key, value in inputs.case.items():
        group.attrs[key] = value
    group.attrs["heads"] = inputs.heads
    group.attrs["q_sum"] = inputs.q_np.sum(dtype=np.float64)
    group.attrs["k_sum"] = inputs.k_np.sum(dtype=np.float64)
    group.attrs.update(method=method, block=block, repository=repository.url,
                       commit=repository.commit, call=call)
    for key, value in settings.items():
        group.attrs[key] = value
    kept, n = int(mask.sum()), mask.shape[-1]
    group.attrs["density"] = kept / (mask.shape[0] * n * (n + 1) / 2)
    group.attrs["diagonals_not_kept"] = int((~mask[:, range(n), range(n)]).sum())
    group["q_head"] = inputs.q_np[:, :2, :4]
    group["k_head"] = inputs.k_np[:, :2, :4]
    arrays = dict(zip(("row_ptr", "col"), csr(mask))) | (arrays or {})
    for key, value in arrays.items():
        small = value.ndim == 0 or value.nbytes < 1024
        group.create_dataset(key, data=value, **({} if small else dict(
            compression="gzip", compression_opts=9, shuffle=True)))
    extra = "".join(f", {key} {group.attrs[key]}"
                    for key in ("pairs", "query_aware", "original_differing") if key in group.attrs)
    print(f"{name}: {kept} blocks, density {group.attrs['density']:.3f}, diagonals not kept "
          f"{group.attrs['diagonals_not_kept']}{extra}", flush=True)


def pack(tokens):
    """bool [H, n, T] -> u8 [H n, ceil(T/8)], key t of a row is bit t mod 8 of byte t div 8."""
    return np.packbits(tokens.reshape(-1, tokens.shape[-1]), axis=1, bitorder="little")


def count_pairs(tokens, block):
    """Causal pairs of bool [H, n, T]: every query of a row has the row's keys up to itself."""
    t = tokens.shape[-1]
    before = tokens.cumsum(-1)
    rows = np.arange(t) // block
    return int(sum(h[rows, np.arange(t)].sum() for h in before))


