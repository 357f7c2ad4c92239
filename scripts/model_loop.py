#!/usr/bin/env python3
"""Put attention methods inside a running GGUF model; measure what comes out against dense attention.

Every run of a config (model_config.py) replaces attention in some layers, heads and rows by a method. For each run
and text, --out gets one row of results.csv: how far logits, losses and the residual stream are from those of the same
model with dense attention through the same kernels; beside it residual.csv (its relative error after each layer) and
positions.csv (KL and equal first choices in 16 equal parts of the measured positions). `stembench plot`, `compare`
and `report` read the folder. Finished rows are kept: the same command continues.

example:
  model_loop.py configs/model/1-rows.yaml --model SmolLM2-135M-Instruct.Q4_1.gguf \\
      --text jargon.txt.gz:52138 --text kjv.txt:1000 --out results/model/1-rows
"""
import argparse
import hashlib
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "stembench"))

import model_config  # noqa: E402
import model_engines  # noqa: E402
import model_tasks  # noqa: E402
import stembench  # noqa: E402
from model_attention import Mix, density_of, prefill_length, solve  # noqa: E402
from model_records import PARTS, Results, provenance  # noqa: E402
from stem_capture import CaptureError, Parser, read_text, run_main  # noqa: E402


# ---- measures ----

class Text:
    """Tokens, what is measured of them, and what dense attention makes of them: computed when first asked for."""

    def __init__(self, engine, task, path, offset, sample, n):
        self.engine, self.task, self.file = engine, task, os.path.basename(path)
        self.name = f"{self.file}:{offset}" + (f"#{sample}" if task != "text" else "")
        prose = read_text(path, offset)[:12 * n]
        if task == "text":
            self.ids, self.answer = engine.encode(prose)[:n], None
            if len(self.ids) < n:
                raise CaptureError(f"{path}: {len(self.ids)} tokens after character {offset}; {n} are needed", 2)
        else:
            seed = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4], "little")
            self.ids, self.answer = model_tasks.make(task, engine.encode, prose, n, seed)
        self._dense = self._inputs = None

    def measured(self, setting, most):
        """Positions whose next token is predicted."""
        if self.answer:
            return np.arange(self.answer.start - 1, self.answer.stop - 1)
        first, last = (prefill_length(len(self.ids), "decode") if setting == "decode" else 0), len(self.ids) - 2
        return np.linspace(first, last, min(most or last + 1, last + 1 - first)).round().astype(int)

    def dense(self):
        """(final hidden states, residual stream after each layer) of dense attention."""
        if self._dense is None:
            residual = []
            hidden = self.engine.forward(self.ids, Mix(self.engine, len(self.ids)),
                                         lambda layer, h: residual.append(self.engine.copy(h)))
            self._dense = hidden, residual
        return self._dense

    def inputs(self):
        """Dense attention's [(q, k, v, scale)] by layer, as the kernels take them."""
        if self._inputs is None:
            mix, self._inputs, engine = Mix(self.engine, len(self.ids)), [], self.engine

            def attention(layer, q, k, v, scale):
                self._inputs.append((engine.copy(engine.narrow(q)), engine.copy(engine.narrow(k)),
                                     engine.copy(engine.narrow(v)), scale))
                return mix(layer, q, k, v, scale)
            engine.forward(self.ids, attention)
        return self._inputs

    def params_of(self, run, solved):
        """The run's parameters; what it solves for is solved on this text, from where `solved` ended before."""
        if not run.solve:
            return run.text()
        name, sparse, dense, target = run.solve

        def density(x):
            return density_of(self.engine, self.inputs(), run, run.text(**{name: model_config.as_text(x)}))
        solved[run.key()] = solve(density, sparse, dense, target, solved.get(run.key()))
        return run.text(**{name: model_config.as_text(solved[run.key()])})

    def head(self, run, params, status="ok", reason=""):
        """What a row says of its run."""
        engine = self.engine
        layer_set, head_set, row_range, setting, task = run.where()
        return {"status": status, "reason": reason, "capture": self.file, "model": engine.name, "layer": -1,
                "tokens": len(self.ids), "heads": engine.heads, "kv_heads": engine.kv_heads, "head_dim": engine.d,
                "dtype": engine.dtype, "backend": engine.backend.replace("torch-", ""),
                "threads": len(os.sched_getaffinity(0)), "method": run.method, "params": params, "task": task,
                "text": self.name, "layer_set": layer_set, "head_set": head_set, "row_range": row_range,
                "setting": setting}

    def measure(self, run, params, most):
        """The row of `run`; residual errors by layer; KL and first choices by part."""
        engine, n = self.engine, len(self.ids)
        hidden_dense, residual = self.dense()
        positions, errors = self.measured(run.setting, most), np.zeros(engine.n_layers)
        first = prefill_length(n, run.setting) if run.setting == "decode" else 0

        def on_residual(layer, h):
            errors[layer] = engine.distance(h[first:], residual[layer][first:])
        if run.method == "dense":
            mix, hidden = Mix(engine, n), hidden_dense
            for _ in range(engine.n_layers):
                mix.count(next(iter(engine.dense_plans.values())), None)
        else:
            mix = Mix(engine, n, run, params)
            hidden = engine.forward(self.ids, mix, on_residual)
        targets = np.asarray(self.ids)[positions + 1]
        by_position = engine.compare(hidden_dense, hidden, targets, positions)
        loss, kl, mse, same, right = by_position.mean(axis=1)
        row = {**self.head(run, mix.resolved or params), "kernel": mix.kernel, "block": mix.block,
               "density": mix.density, **{f"flops_{name}": value for name, value in mix.flops.items()},
               "rel_l2": errors[-1], "score": -loss, "logit_kl": kl, "logit_mse": mse, "top1": same,
               "ppl": np.exp(loss), "exact": int(right == 1) if self.answer else ""}
        if run.solve:
            row.update(match_target=f"density={run.solve[3]:g}", match_residual=mix.density / run.solve[3] - 1)
        if self.answer:
            return row, [], []
        parts = np.array_split(by_position[[1, 3]], PARTS, axis=1)
        return row, errors, [float(part[i].mean()) for i in (0, 1) for part in parts]


# ---- the loop ----

def plan_cells(config, runs, texts):
    """(cell number, (tokens, task, text index, sample, run)) of everything, for each task, setting and text dense first."""
    cells = []
    lengths = model_config.as_list(config["tokens"])
    dense = {(run.task, run.setting): model_config.Run("dense", {}, None, None, (0, 1), run.setting, run.task, None, None)
             for run in runs}
    for tokens in lengths:
        for task in dict.fromkeys(run.task for run in runs):
            for text in range(len(texts)):
                own = [run for key, run in dense.items() if key[0] == task]
                own += [run for run in runs if run.task == task and (run.texts is None or text < run.texts)]
                cells += [(tokens, task, text, sample, run)
                          for sample in range(1 if task == "text" else config.get("samples", 1)) for run in own]
    return list(enumerate(cells))


def attempt(text, run, solved, positions):
    """Text.measure of a run; a row with the reason where the method does not take the shape."""
    params = run.text()
    try:
        params = text.params_of(run, solved)
        return text.measure(run, params, positions)
    except stembench.StembenchError as error:
        if error.code != "unsupported":
            raise CaptureError(f"{run.method} {params}: {error}", 2)
        return text.head(run, params, status="unsupported", reason=str(error)), [], []


def report(total, cell, row):
    if row["status"] != "ok":
        print(f"{cell + 1}/{total} {row['text']} {row['task']} {row['setting']} {row['method']} {row['params']}: "
              f"{row['status']}, {row['reason']}", flush=True)
        return
    print(f"{cell + 1}/{total} {row['text']} {row['task']} {row['setting']} {row['method']} {row['params']}"
          f" layers {row['layer_set']} heads {row['head_set']} rows {row['row_range']}: density {row['density']:.3f}"
          f" KL {row['logit_kl']:.3g} MSE {row['logit_mse']:.3g} top-1 {row['top1']:.3f} ppl {row['ppl']:.3f}", flush=True)


def parse(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="YAML file of runs")
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--text", action="append", required=True, metavar="FILE:OFFSET",
                        help="text file (or .gz) and the character to start at; again for each text")
    parser.add_argument("--out", required=True, help="results directory")
    parser.add_argument("--backend", default="cpu", choices=("cpu", "torch-cpu", "cuda"),
                        help="cpu: numpy; cuda: transformers on the GPU; torch-cpu: the same on the CPU (default cpu)")
    parser.add_argument("--small", action="store_true", help="what the config's section `small` leaves")
    parser.add_argument("--tokens", type=int, help="in place of the config's")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="only the texts I, I + N, ...: for several GPUs")
    parser.add_argument("--quiet", action="store_true", help="no line for each row")
    args = parser.parse_args(argv)
    args.texts = []
    for spec in args.text:
        path, _, offset = spec.rpartition(":")
        if not path or not offset.isdigit():
            raise CaptureError(f"--text {spec}; expected FILE:OFFSET", 2)
        args.texts.append((path, int(offset)))
    return args


def main():
    args = parse()
    config = model_config.read(args.config, args.small)
    engine = model_engines.make(args.model, args.backend, config.get("dtype", "bf16"))
    runs = model_config.expand(args.config, config, engine)
    config["tokens"] = args.tokens or config.get("tokens", engine.context)
    texts = args.texts[:config.get("texts", len(args.texts))]
    results = Results(args.out, args.config, provenance(engine, args, config), engine.n_layers)
    part, n_parts = map(int, args.part.split("/"))
    cells = plan_cells(config, runs, texts)
    current, text, solved = None, None, {}
    for cell, (tokens, task, i, sample, run) in cells:
        if cell in results.done or i % n_parts != part - 1:
            continue
        if current != (tokens, task, i, sample):
            current, text = (tokens, task, i, sample), Text(engine, task, *texts[i], sample, tokens)
        row, errors, parts = attempt(text, run, solved, config.get("positions"))
        results.append(cell, row, errors, parts)
        if not args.quiet:
            report(len(cells), cell, row)
    return 0


if __name__ == "__main__":
    run_main(main)
