#!/usr/bin/env python3
"""Put attention methods inside a running GGUF model; measure what comes out against dense attention.

Every run of the config replaces attention in some layers, heads and rows by a method; one row of
results.csv says, for one run and one text, how far logits, losses and the residual stream are from
those of the same model with dense attention through the same kernels. Finished rows are kept: the
same command continues.

example:
  model_loop.py configs/model/rows.yaml --model SmolLM2-135M-Instruct.Q4_1.gguf \\
      --text jargon.txt.gz:52138 --text kjv.txt:1000 --out results/model/rows
"""
import argparse
import csv
import itertools
import os
import sys

import numpy as np
import yaml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "stembench"))
import stembench  # noqa: E402

from gguf_model import Model, encode, forward, output_head  # noqa: E402
from stem_capture import CaptureError, Parser, read_text, run_main  # noqa: E402

COLUMNS = ["status", "capture", "model", "tokens", "heads", "kv_heads", "head_dim", "dtype", "kernel", "method",
           "params", "block", "density", "flops_dense", "flops_select", "flops_attend", "rel_l2",
           "task", "score", "logit_kl", "logit_mse", "top1", "ppl", "text", "layer_set", "row_range", "setting",
           "label"]
KEY = ["text", "method", "params", "layer_set", "row_range", "setting"]
KEYS = {"label", "method", "params", "layers", "heads", "rows", "setting"}
SETTINGS = ("all", "decode")  # decode: the last eighth of the rows is dense, and alone is measured
TAIL = 1 / 8


# ---- configs ----

def product(mapping):
    """Every choice of one value from each list in a mapping; a list of lists holds lists."""
    names = list(mapping)
    options = [value if isinstance(value, list) else [value] for value in mapping.values()]
    return [dict(zip(names, choice)) for choice in itertools.product(*options)]


def flatten(params, prefix=""):
    flat = {}
    for name, value in params.items():
        flat.update(flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


def as_text(value):
    if isinstance(value, list):
        return "[" + " ".join(map(as_text, value)) + "]"
    return f"{value:.12g}" if isinstance(value, (int, float)) else str(value)


def expand(path):
    """The config, and its runs: each a dict with the keys of KEYS, params as text."""
    try:
        with open(path, encoding="utf-8") as file:
            config = yaml.safe_load(file)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}", 2)
    except yaml.YAMLError as error:
        raise CaptureError(f"{path}: {' '.join(str(error).split())}", 2)
    known = {"name", "tokens", "dtype", "positions", "runs"}
    if not isinstance(config, dict) or set(config) - known or not config.get("runs"):
        raise CaptureError(f"{path}: expected runs, and no other keys than {', '.join(sorted(known))}", 2)
    runs = []
    for entry in config["runs"]:
        if set(entry) - KEYS or "method" not in entry:
            raise CaptureError(f"{path}: a run has the keys {sorted(entry)}; expected method and some of "
                               f"{sorted(KEYS - {'method'})}", 2)
        for params, rows, setting in itertools.product(
                product(flatten(entry.get("params", {}))), entry.get("rows", [[0, 1]]),
                entry.get("setting", ["all"])):
            if setting not in SETTINGS or len(rows) != 2 or not 0 <= rows[0] < rows[1] <= 1:
                raise CaptureError(f"{path}: setting {setting}, rows {rows}; expected one of {SETTINGS} and "
                                   "[from, to] within [0, 1]", 2)
            runs.append({"label": entry.get("label", entry["method"]), "method": entry["method"],
                         "params": " ".join(f"{name}={as_text(value)}" for name, value in params.items()),
                         "layers": entry.get("layers", "all"), "heads": entry.get("heads", "all"),
                         "rows": rows, "setting": setting})
    return config, runs


def members(what, n):
    if what != "all" and not all(0 <= i < n for i in what):
        raise CaptureError(f"layers or heads {what}; expected numbers from 0 to {n - 1}", 2)
    return list(range(n)) if what == "all" else list(what)


# ---- attention ----

def rounded(x, dtype):
    """x as the kernels take it. numpy has no bfloat16: its bits, rounded to nearest even."""
    x = np.ascontiguousarray(x, np.float32)
    if dtype != "bf16":
        return x.astype({"f32": np.float32, "f16": np.float16}[dtype])
    bits = x.view(np.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def widened(x):
    return (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x.astype(np.float32)


class Attention:
    """Attention for forward(): a run's method in its layers, heads and rows, dense elsewhere.

    run None: dense everywhere. FLOPs and densities are of the whole model, dense parts included.
    """

    def __init__(self, model, n, dtype, run=None):
        self.n, self.dtype, self.run = n, dtype, run
        self.layers = members(run["layers"], model.n_layers) if run else []
        self.heads = members(run["heads"], model.heads) if run else []
        self.rows = (0, n)
        if run:
            last = n - round(TAIL * n) if run["setting"] == "decode" else n
            self.rows = tuple(min(round(share * n), last) for share in run["rows"])
        self.plans, self.last, self.densities = {}, None, []
        self.flops = dict.fromkeys(("dense", "attend", "select"), 0.0)
        self.kernel, self.block = "", 0

    def attend(self, method, params, layer, q, k, v, scale):
        key = (method, layer if method != "dense" else 0)
        if key not in self.plans:
            self.plans[key] = stembench.Plan(q, k, v, method, params, scale=scale, layer=layer)
        self.last = self.plans[key]
        return widened(self.last(q, k, v)[0])

    def __call__(self, layer, q, k, v, scale):
        q, k, v = (rounded(x, self.dtype) for x in (q, k, v))
        whole = self.rows == (0, self.n) and len(self.heads) == len(q)
        sparse = layer in self.layers
        out = None
        if not (sparse and whole):
            out = self.attend("dense", "", layer, q, k, v, scale)
        if sparse:
            own = self.attend(self.run["method"], self.run["params"], layer, q, k, v, scale)
            if whole:
                out = own
            else:
                lo, hi = self.rows
                out[self.heads, lo:hi] = own[self.heads, lo:hi]
        self.count(self.last)
        return out

    def count(self, plan):
        stats = plan.stats()
        density = 1.0
        if stats.block:
            n_rows = -(-self.n // stats.block)
            kept = np.diff(stats.row_ptr).reshape(-1, n_rows)
            causal = np.broadcast_to(np.arange(1, n_rows + 1), kept.shape)
            start = np.arange(n_rows) * stats.block
            ours = np.ix_(self.heads, np.flatnonzero((start >= self.rows[0]) & (start < self.rows[1])))
            density = 1 - (causal[ours] - kept[ours]).sum() / causal.sum()
            self.flops["select"] += stats.flops_select
            self.block = stats.block
        self.kernel = plan.kernel
        self.densities.append(density)
        self.flops["dense"] += stats.flops_dense
        self.flops["attend"] += stats.flops_dense * density


# ---- measures ----

def log_softmax(logits):
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits


def compare_logits(model, dense, hidden, ids, positions):
    """Means over `positions`: (loss, KL(dense || this), logit MSE, top-1 agreement)."""
    head, targets = output_head(model), np.asarray(ids)[positions + 1]
    sums = np.zeros(4)
    for r in range(0, len(positions), 256):
        rows, target = positions[r:r + 256], targets[r:r + 256]
        a, b = dense[rows] @ head.T, hidden[rows] @ head.T
        mse = np.mean((a - b) ** 2, axis=1)
        same = a.argmax(axis=1) == b.argmax(axis=1)
        a, b = log_softmax(a), log_softmax(b)
        sums += [-b[np.arange(len(b)), target].sum(dtype=np.float64),
                 np.einsum("ij,ij->", np.exp(a), a - b, dtype=np.float64), mse.sum(dtype=np.float64), same.sum()]
    return sums / len(positions)


class Text:
    """A text's tokens, and what dense attention makes of them: computed when first asked for."""

    def __init__(self, model, path, offset, n, dtype, positions=None):
        self.name = f"{os.path.basename(path)}:{offset}"
        self.ids = encode(model, read_text(path, offset))[:n]
        if len(self.ids) < n:
            raise CaptureError(f"{path}: {len(self.ids)} tokens after character {offset}; {n} are needed", 2)
        self.model, self.dtype, self._dense = model, dtype, None
        self.most = positions or n

    def dense(self):
        if self._dense is None:
            residual = []
            hidden = forward(self.model, self.ids, Attention(self.model, len(self.ids), self.dtype),
                             on_residual=lambda layer, h: residual.append(h.copy()))
            self._dense = hidden, residual
        return self._dense

    def measure(self, run):
        """The row of `run` on this text."""
        n, model = len(self.ids), self.model
        dense, residual = self.dense()
        errors = np.zeros(model.n_layers)
        first = n - round(TAIL * n) if run["setting"] == "decode" else 0

        def on_residual(layer, h):
            d = residual[layer][first:]
            errors[layer] = np.linalg.norm(h[first:] - d) / np.linalg.norm(d)

        attention = Attention(model, n, self.dtype, run)
        hidden = forward(model, self.ids, attention, on_residual=on_residual)
        measured = np.linspace(first, n - 2, min(self.most, n - 1 - first)).round().astype(int)
        loss, kl, mse, top1 = compare_logits(model, dense, hidden, self.ids, measured)
        return {"status": "ok", "capture": self.name, "model": model.name, "tokens": n, "heads": model.heads,
                "kv_heads": model.kv_heads, "head_dim": model.d, "dtype": self.dtype, "kernel": attention.kernel,
                "method": run["method"], "params": run["params"], "block": attention.block,
                "density": float(np.mean(attention.densities)), "flops_dense": attention.flops["dense"],
                "flops_select": attention.flops["select"], "flops_attend": attention.flops["attend"],
                "rel_l2": errors[-1], "task": "text", "score": -loss, "logit_kl": kl, "logit_mse": mse,
                "top1": top1, "ppl": np.exp(loss), "text": self.name, "layer_set": describe(run["layers"]),
                "row_range": "{:g}-{:g}".format(*run["rows"]), "setting": run["setting"], "label": run["label"],
                "residual": errors}


def describe(what):
    return what if what == "all" else ",".join(map(str, what))


# ---- results ----

class Results:
    """results.csv, and residual.csv with the residual stream's error after each layer; appended row by row."""

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.path = os.path.join(directory, "results.csv")
        self.residual = os.path.join(directory, "residual.csv")
        self.done = set()
        if os.path.exists(self.path):
            with open(self.path, newline="", encoding="utf-8") as file:
                self.done = {tuple(row[name] for name in KEY) for row in csv.DictReader(file)}

    def has(self, text, run):
        return (text.name, run["method"], run["params"], describe(run["layers"]),
                "{:g}-{:g}".format(*run["rows"]), run["setting"]) in self.done

    def append(self, row):
        errors = row.pop("residual")
        self._write(self.residual, ["text", "label", "params", "row_range", "setting", "layer", "rel_l2"],
                    [{**row, "layer": i, "rel_l2": f"{e:.6g}"} for i, e in enumerate(errors)])
        self._write(self.path, COLUMNS, [{name: f"{x:.9g}" if isinstance(x, float) else x for name, x in row.items()}])

    def _write(self, path, columns, rows):
        new = not os.path.exists(path)
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="YAML file of runs")
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--text", action="append", required=True, metavar="FILE:OFFSET",
                        help="text file (or .gz) and the character to start at; again for each text")
    parser.add_argument("--out", required=True, help="results directory")
    parser.add_argument("--tokens", type=int, help="in place of the config's")
    args = parser.parse_args()

    config, runs = expand(args.config)
    model = Model(args.model, np.float32, keep=True)
    model.name = os.path.splitext(os.path.basename(args.model))[0]
    n = args.tokens or config.get("tokens", model.context)
    results = Results(args.out)
    for spec in args.text:
        path, _, offset = spec.rpartition(":")
        text = Text(model, path or spec, int(offset) if path else 0, n, config.get("dtype", "bf16"), config.get("positions"))
        for i, run in enumerate(runs):
            if results.has(text, run):
                continue
            row = text.measure(run)
            results.append(row)
            print(f"{text.name} {i + 1}/{len(runs)} {run['label']} {run['params']} rows {row['row_range']} "
                  f"{run['setting']}: density {row['density']:.3f} KL {row['logit_kl']:.3g} "
                  f"MSE {row['logit_mse']:.3g} top-1 {row['top1']:.3f} ppl {row['ppl']:.3f}", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
