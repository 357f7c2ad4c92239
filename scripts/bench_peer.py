#!/usr/bin/env python3
"""Time PyTorch's causal scaled_dot_product_attention on request: the other side of scripts/bench_cpu.sh.

usage: bench_peer.py THREADS

Prints "ready VERSION", then answers each line of standard input with one line:
  load HEADS KV_HEADS DIM TOKENS DTYPE PREFIX   read PREFIX.q, .k, .v (stembench inspect --out) and say how
                                                shared kv heads are passed: whichever is faster, passing them
                                                as they are (enable_gqa) or expanded beforehand, outside the clock
  time                                          the median of at least 5 calls and 0.3 s, after one more, in ms
"""
import statistics
import sys
import time

import torch
from torch.nn.functional import scaled_dot_product_attention

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def read(path, heads, tokens, dim, dtype):
    flat = torch.from_file(path, size=heads * tokens * dim, dtype=DTYPES[dtype])
    return flat.clone().view(1, heads, tokens, dim)


def median_ms(call, min_samples, min_seconds):
    samples = []
    call()
    while len(samples) < min_samples or sum(samples) < 1e3 * min_seconds:
        start = time.perf_counter()
        call()
        samples.append(1e3 * (time.perf_counter() - start))
    return statistics.median(samples)


def load(heads, kv_heads, dim, tokens, dtype, prefix):
    """The call to time, and how it passes shared kv heads."""
    heads, kv_heads, dim, tokens = int(heads), int(kv_heads), int(dim), int(tokens)
    q = read(prefix + ".q", heads, tokens, dim, dtype)
    k = read(prefix + ".k", kv_heads, tokens, dim, dtype)
    v = read(prefix + ".v", kv_heads, tokens, dim, dtype)
    if heads == kv_heads:
        return lambda: scaled_dot_product_attention(q, k, v, is_causal=True), "own kv heads"
    k_all, v_all = (x.repeat_interleave(heads // kv_heads, dim=1) for x in (k, v))
    ways = {
        "expanded kv heads": lambda: scaled_dot_product_attention(q, k_all, v_all, is_causal=True),
        "enable_gqa": lambda: scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True),
    }
    way = min(ways, key=lambda name: median_ms(ways[name], 3, 0.1))
    return ways[way], way


def main():
    torch.set_num_threads(int(sys.argv[1]))
    call = None
    print("ready", torch.__version__, flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            command, *words = line.split()
            if command == "load":
                call, way = load(*words)
                print(way, flush=True)
            else:
                print(f"{median_ms(call, 5, 0.3):.4f}", flush=True)


if __name__ == "__main__":
    main()
