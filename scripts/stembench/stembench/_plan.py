"""Plans: a method for a shape, run on arrays."""
import ctypes
from dataclasses import dataclass

import numpy as np

from ._arrays import NAMES, empty_like, view
from ._library import RawStats, Spec, Strides, Tensors, call, library


@dataclass
class Stats:
    """What a run kept and spent, as in results.csv. For dense there is no pattern: None."""
    density: float
    pair_density: float
    flops_dense: float
    flops_attend: float
    flops_tile: float
    flops_select: float
    mask_hash: str
    block: int
    row_ptr: object  # [B H n_rows + 1] int64: where the list of (b, h, row) starts
    col: object      # int32: kept key blocks, ascending in each list
    tokens: object   # uint64 masks of kept tokens, where single tokens are kept


def _text(params):
    if isinstance(params, str):
        return params
    return " ".join(f"{name}={value}" for name, value in (params or {}).items())


class Plan:
    """Attention by `method` for arrays shaped and placed as q, k, v (and out).

    params: "mu=0.7 block=64" or a dict. scale: of the softmax (1 / sqrt(D)). prompt_len: of the whole
    prompt where q, k, v are a chunk of it. layer: for methods that treat layers apart. stream: a CUDA
    stream's address (int) that runs are enqueued on. Not for two threads at the same time.
    """

    def __init__(self, q, k, v, method="dense", params="", *, out=None, scale=0.0, prompt_len=0, layer=0,
                 threads=0, stream=None):
        self._plan = None
        self._like = q
        views = {"q": view(q), "k": view(k), "v": view(v)}
        shapes = {name: x.four(name) for name, x in views.items()}
        (b, h, t, d), (_, hkv, s, dk), (_, _, sv, dv) = (shapes[name][0] for name in "qkv")
        if (dk, sv) != (d, s) or shapes["v"][0][:2] != shapes["k"][0][:2] or shapes["k"][0][0] != b:
            raise ValueError(f"q {shapes['q'][0]}, k {shapes['k'][0]}, v {shapes['v'][0]}; expected [B, H, T, D], "
                             "[B, Hkv, S, D], [B, Hkv, S, Dv]")
        self._out_shape = views["q"].shape[:-1] + (dv,)
        views["o"] = view(out) if out is not None else view(self._new())
        self._layout = {name: (x.shape, x.strides, x.dtype, x.backend) for name, x in views.items()}
        if len({(x.dtype, x.backend) for x in views.values()}) > 1:
            raise TypeError("q, k, v and out differ in dtype or device: " +
                            ", ".join(f"{name} {NAMES[x.dtype]}" for name, x in views.items()))
        spec = Spec(ctypes.sizeof(Spec), b, h, hkv, t, s, d, dv, prompt_len, layer, scale, views["q"].dtype,
                    views["q"].backend, threads, stream)
        for name, x in views.items():
            setattr(spec, name, Strides(*x.four(name)[1][:3]))
        plan = ctypes.c_void_p()
        call("create", ctypes.byref(spec), method.encode(), _text(params).encode(), ctypes.byref(plan))
        self._plan = plan

    def _new(self):
        return empty_like(self._like, self._out_shape)

    def __call__(self, q, k, v, out=None, lse=None):
        """Return (o, lse): o like q with v's channels, lse [.., H, T] float32, natural logarithm."""
        out = self._new() if out is None else out
        lse = empty_like(q, self._out_shape[:-1], float32=True) if lse is None else lse
        views = {"q": view(q), "k": view(k), "v": view(v), "o": view(out)}
        for name, x in views.items():
            if (x.shape, x.strides, x.dtype, x.backend) != self._layout[name]:
                raise ValueError(f"{name} is {NAMES[x.dtype]} {x.shape} with strides {x.strides}; the plan is for "
                                 f"{NAMES[self._layout[name][2]]} {self._layout[name][0]} with {self._layout[name][1]}")
        lse_view = view(lse)
        if lse_view.shape != self._out_shape[:-1] or lse_view.dtype != 0 or lse_view.backend != views["q"].backend:
            raise ValueError(f"lse is {NAMES[lse_view.dtype]} {lse_view.shape}; expected float32 "
                             f"{self._out_shape[:-1]} beside q")
        tensors = Tensors(*(views[name].pointer for name in "qkvo"), lse_view.pointer)
        call("run", self._plan, ctypes.byref(tensors))
        return out, lse

    def stats(self):
        """Describe the last run; waits for it on a GPU."""
        raw = RawStats(ctypes.sizeof(RawStats))
        call("read_stats", self._plan, ctypes.byref(raw))
        pattern = [None, None, None]
        if raw.block:
            shape = self._layout["q"][0]
            n_lists = int(np.prod(shape[:-2])) * raw.n_rows
            row_ptr = np.ctypeslib.as_array(raw.row_ptr, (n_lists + 1,)).copy()
            n = int(row_ptr[-1])
            pattern = [row_ptr, np.ctypeslib.as_array(raw.col, (n,)).copy(),
                       np.ctypeslib.as_array(raw.tokens, (n,)).copy() if raw.tokens else None]
        return Stats(raw.density, raw.pair_density, raw.flops_dense, raw.flops_attend, raw.flops_tile,
                     raw.flops_select, f"{raw.mask_hash:016x}" if raw.block else "", raw.block, *pattern)

    @property
    def kernel(self):
        """Name of what attends."""
        return library().sb_attention_kernel(self._plan).decode()

    @property
    def params(self):
        """All parameters of the method as resolved, "name=value name=value", as in results.csv; "" for dense."""
        return library().sb_attention_params(self._plan).decode()

    def __del__(self):
        if self._plan:
            library().sb_attention_destroy(self._plan)
            self._plan = None


def attend(q, k, v, method="dense", params="", **options):
    """Plan and run once: (o, lse)."""
    return Plan(q, k, v, method, params, **options)(q, k, v)
