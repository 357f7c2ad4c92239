"""Configs of model_loop.py: YAML -> runs, each one choice of method, parameters, layers, heads, rows and setting.

    name: decay
    tokens: 8192              # or a list
    dtype: bf16               # what the kernels compute in: f32, bf16, f16
    positions: 1024           # logits compared at so many positions, evenly spread (default: all)
    small: {tokens: 4096, texts: 2, positions: 512, only: {block: 64}}     # what --small changes and keeps
    runs:
      - method: stem
        params: {block: [32, 64], schedule: {total: [0.1, 0.2]}}           # a list is an axis, a list in a list a value
        setting: [all, decode]
        rows: [[0, 0.25], [0.25, 0.5]]           # shares of the rows that attend by the method (default [[0, 1]])
        layers: each                             # all, each, a list, or a list of lists; heads likewise
        tasks: [text, needle]                    # model_tasks.py (default text)
        solve: {parameter: threshold, between: [0.1, 0.999], density: [0.1, 0.2]}   # [sparse end, dense end]
        texts: 4                                 # only the first so many
    samples: 4                # of each task and text, tasks other than text

`solve` finds the parameter for which the method keeps that density of the dense model's Q and K, text by text.
"""
import itertools

import yaml

from stem_capture import CaptureError

SETTINGS = ("all", "decode")
CONFIG_KEYS = {"name", "tokens", "dtype", "positions", "samples", "small", "runs"}
RUN_KEYS = {"method", "params", "layers", "heads", "rows", "setting", "tasks", "solve", "texts"}
SMALL_KEYS = {"tokens", "texts", "positions", "samples", "only"}
SOLVE_KEYS = {"parameter", "between", "density"}


def as_text(value):
    if isinstance(value, list):
        return "[" + " ".join(map(as_text, value)) + "]"
    return f"{value:.12g}" if isinstance(value, (int, float)) else str(value)


def flatten(params, prefix=""):
    flat = {}
    for name, value in params.items():
        flat.update(flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


def as_list(value):
    return value if isinstance(value, list) else [value]


def sets_of(what, n, name):
    """The choices of layers or heads: each a tuple of numbers, or None for all."""
    if what == "all":
        return [None]
    if what == "each":
        return [(i,) for i in range(n)]
    choices = what if isinstance(what, list) and what and isinstance(what[0], list) else [what]
    for choice in choices:
        if not isinstance(choice, list) or not choice or not all(isinstance(i, int) and 0 <= i < n for i in choice):
            raise CaptureError(f"{name}: {choice}; expected all, each, or lists of numbers from 0 to {n - 1}", 2)
    return [tuple(choice) for choice in choices]


class Run:
    """One choice of everything; `params` is a dict of texts, `solve` None or (parameter, sparse, dense, density)."""

    def __init__(self, method, params, layers, heads, rows, setting, task, solve, texts):
        self.method, self.params, self.layers, self.heads = method, params, layers, heads
        self.rows, self.setting, self.task, self.solve, self.texts = rows, setting, task, solve, texts

    def text(self, **more):
        return " ".join(f"{name}={value}" for name, value in {**self.params, **more}.items())

    def where(self):
        """layer_set, head_set, row_range, setting, task: as in results.csv."""
        def members(what):
            return "all" if what is None else ",".join(map(str, what))
        return members(self.layers), members(self.heads), "{:g}-{:g}".format(*self.rows), self.setting, self.task

    def key(self):
        """What tells it from all others of the config, before anything is solved."""
        return " ".join((self.method, self.text(), *self.where(), *map(as_text, self.solve or ())))


def check_keys(mapping, known, what):
    if not isinstance(mapping, dict) or set(mapping) - known:
        unknown = sorted(set(mapping) - known) if isinstance(mapping, dict) else mapping
        raise CaptureError(f"{what}: unknown {unknown}; expected some of {', '.join(sorted(known))}", 2)


def products(mapping):
    """Every choice of one value from each list of a mapping."""
    return [dict(zip(mapping, choice)) for choice in itertools.product(*map(as_list, mapping.values()))]


def expand_run(entry, model, what):
    check_keys(entry, RUN_KEYS, what)
    if "method" not in entry:
        raise CaptureError(f"{what}: no method", 2)
    solves = [None]
    if "solve" in entry:
        check_keys(entry["solve"], SOLVE_KEYS, f"{what}, solve")
        if set(entry["solve"]) != SOLVE_KEYS:
            raise CaptureError(f"{what}, solve: expected {', '.join(sorted(SOLVE_KEYS))}", 2)
        ends = entry["solve"]["between"]
        if not isinstance(ends, list) or len(ends) != 2 or min(ends) <= 0:
            raise CaptureError(f"{what}, solve: between {ends}; expected [sparse end, dense end], above 0", 2)
        solves = [(entry["solve"]["parameter"], *ends, x) for x in as_list(entry["solve"]["density"])]
    for params, layers, heads, rows, setting, task, solve in itertools.product(
            products(flatten(entry.get("params", {}))), sets_of(entry.get("layers", "all"), model.n_layers, "layers"),
            sets_of(entry.get("heads", "all"), model.heads, "heads"), entry.get("rows", [[0, 1]]),
            as_list(entry.get("setting", "all")), as_list(entry.get("tasks", "text")), solves):
        if setting not in SETTINGS or len(rows) != 2 or not 0 <= rows[0] < rows[1] <= 1:
            raise CaptureError(f"{what}: setting {setting}, rows {rows}; expected one of {', '.join(SETTINGS)} and "
                               "[from, to] within [0, 1]", 2)
        yield Run(entry["method"], {name: as_text(value) for name, value in params.items()}, layers, heads,
                  tuple(rows), setting, task, solve, entry.get("texts"))


def kept(run, only):
    """Whether a run has, of what `only` names and the run has, the values that it lists."""
    own = dict(run.params, method=run.method, setting=run.setting, task=run.task, rows="{:g}-{:g}".format(*run.rows))
    own.update(zip(("layers", "heads"), run.where()))
    if run.solve:
        own["density"] = as_text(run.solve[3])
    return all(own[name] in [as_text(x) for x in as_list(values)] for name, values in only.items() if name in own)


def read(path, small=False):
    """The config of a file; with `small`, as its section of that name changes it."""
    try:
        with open(path, encoding="utf-8") as file:
            config = yaml.safe_load(file)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}", 2)
    except yaml.YAMLError as error:
        raise CaptureError(f"{path}: {' '.join(str(error).split())}", 2)
    check_keys(config, CONFIG_KEYS, path)
    less = config.pop("small", {})
    check_keys(less, SMALL_KEYS, f"{path}: small")
    if not config.get("runs"):
        raise CaptureError(f"{path}: no runs", 2)
    return {**config, **less} if small else config


def expand(path, config, model):
    """The runs of a config, none twice."""
    runs = {}
    for i, entry in enumerate(config["runs"]):
        for run in expand_run(entry, model, f"{path}: run {i + 1}"):
            if kept(run, config.get("only", {})):
                runs.setdefault(run.key(), run)
    return list(runs.values())
