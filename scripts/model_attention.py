"""Attention for a running model: a run's method in its layers, heads and rows, dense elsewhere."""
import numpy as np

import stembench

TAIL = 1 / 8  # setting decode: this last share of the tokens attends densely, and alone is measured


def prefill_length(n, setting):
    """Tokens that a method may attend for: all, or those before the tail."""
    return n - round(TAIL * n) if setting == "decode" else n


class Mix:
    """Callable (layer, q [H, N, D], k, v [Hkv, N, D], scale) -> [H, N, D]; run None: dense everywhere.

    In setting decode the method sees a prompt that ends before the tail, as a prefill would.
    Densities and FLOPs are of the prompt over all layers and heads, dense ones included.
    """

    def __init__(self, engine, n, run=None, params=""):
        self.engine, self.run, self.params, self.n = engine, run, params, n
        self.prompt = prefill_length(n, run.setting) if run else n
        self.heads = list(range(engine.heads)) if not run or run.heads is None else list(run.heads)
        self.rows = tuple(round(share * self.prompt) for share in (run.rows if run else (0, 1)))
        self.whole = len(self.heads) == engine.heads and self.rows == (0, self.prompt)
        self.plans, self.densities = {}, []
        self.flops = dict.fromkeys(("dense", "attend", "tile", "select"), 0.0)
        self.kernel, self.block, self.resolved = "", 0, ""

    def attend(self, method, params, layer, q, k, v, scale):
        # Plans are for a shape; only these ask which layer it is.
        layer = layer if method == "random" or "dense_layers" in params else 0
        key = (method, layer, q.shape[1], k.shape[1])
        plans = self.engine.dense_plans if method == "dense" else self.plans
        if key not in plans:
            plans[key] = stembench.Plan(q, k, v, method, params, scale=scale, layer=layer, stream=self.engine.stream())
        return plans[key], plans[key](q, k, v)[0]

    def __call__(self, layer, q, k, v, scale):
        q, k, v = map(self.engine.narrow, (q, k, v))
        if not self.run or (self.run.layers is not None and layer not in self.run.layers):
            plan, out = self.attend("dense", "", layer, q, k, v, scale)
            self.count(plan, None)
            return self.engine.widen(out)
        out = self.engine.empty_like(q)
        end = self.prompt
        if not (self.whole and end == self.n):
            first = end if self.whole else 0
            out[:, first:] = self.attend("dense", "", layer, q[:, first:], k, v, scale)[1]
        plan, own = self.attend(self.run.method, self.params, layer, q[:, :end], k[:, :end], v[:, :end], scale)
        lo, hi = self.rows
        if self.whole:
            out[:, :end] = own
        else:
            out[self.heads, lo:hi] = own[self.heads, lo:hi]
        self.count(plan, self.heads)
        return self.engine.widen(out)

    def count(self, plan, heads):
        if heads is None:  # a dense layer: its share is that of the prompt
            dense = self.prompt * (self.prompt + 1) / 2 * self.engine.heads * 4 * self.engine.d
            self._add(1.0, dense, dense, dense, 0.0)
            self.kernel = self.kernel or plan.kernel
            return
        stats = plan.stats()
        self.kernel, self.resolved = plan.kernel, plan.params
        share = 1.0
        if stats.block:
            n_rows = -(-self.prompt // stats.block)
            kept = np.diff(stats.row_ptr).reshape(-1, n_rows)
            causal = np.broadcast_to(np.arange(1, n_rows + 1), kept.shape)
            start = np.arange(n_rows) * stats.block
            ours = np.ix_(heads, np.flatnonzero((start >= self.rows[0]) & (start < self.rows[1])))
            # Of token patterns the library's density knows more than the lists do.
            share = stats.density if self.whole else 1 - (causal[ours] - kept[ours]).sum() / causal.sum()
            self.block = stats.block
        if self.whole:
            self._add(share, stats.flops_dense, stats.flops_attend, stats.flops_tile, stats.flops_select)
        else:
            self._add(share, stats.flops_dense, stats.flops_dense * share, np.nan, stats.flops_select)

    def _add(self, density, *flops):
        self.densities.append(density)
        for name, value in zip(self.flops, flops):
            self.flops[name] += value

    @property
    def density(self):
        return float(np.mean(self.densities))


def density_of(engine, inputs, run, params):
    """Density of `run` with `params` on the dense model's [(q, k, v, scale)] by layer; 0 where it is unsupported."""
    mix = Mix(engine, inputs[0][0].shape[1], run, params)
    try:
        for layer, (q, k, v, scale) in enumerate(inputs):
            mix(layer, q, k, v, scale)
    except stembench.StembenchError as error:
        if error.code != "unsupported":
            raise
        return 0.0
    return mix.density


def solve(density, sparse, dense, target, start=None, tolerance=0.005, most=12):
    """The x between `sparse` and `dense` at which density(x), monotone from one to the other, is nearest to `target`.

    A density of 0 says that x is out of range on the sparse side. Searches log density over log x, or over logit x
    where both ends are below 1; whole ends give a whole x.
    """
    whole = isinstance(sparse, int) and isinstance(dense, int)
    inside = max(sparse, dense) < 1
    tried = {}

    def x_of(t):
        x = 1 / (1 + np.exp(-t)) if inside else np.exp(t)
        return round(float(x)) if whole else float(x)

    def error(t):
        x = x_of(t)
        if x not in tried:
            kept = density(x)
            tried[x] = float(np.log(kept / target)) if kept else -np.inf
        return tried[x]

    below, above, t = (None if x is None else float(np.log(x / (1 - x) if inside else x))
                       for x in (sparse, dense, start))
    known = {}  # errors at `below` and `above`, once these are points tried
    t = (below + above) / 2 if t is None else t
    for i in range(most):
        e = error(t)
        if abs(e) <= tolerance:
            break
        if e < 0:
            below = t
        else:
            above = t
        if np.isfinite(e):
            known["below" if e < 0 else "above"] = e
        if len(known) == 2 and i % 3 != 2:
            t = below - (above - below) * known["below"] / (known["above"] - known["below"])
        elif start is not None and i == 0:  # near what another text needed
            t += (above - t if e < 0 else below - t) * min(0.5, abs(e) / 2)
        else:
            t = (below + above) / 2
        if x_of(t) in tried and whole:
            break
    return min(tried, key=lambda x: abs(tried[x]))  # where all are out of range, one of these: its plan says why
