"""Where an array lies: pointer, shape, strides and dtype of numpy arrays and device tensors."""
import ctypes
from dataclasses import dataclass

import numpy as np

F32, BF16, F16 = 0, 1, 2
CPU, CUDA = 0, 1
NAMES = {F32: "float32", BF16: "bfloat16", F16: "float16"}


@dataclass
class View:
    pointer: int
    shape: tuple
    strides: tuple  # in elements
    dtype: int
    backend: int
    owner: object  # keeps the memory alive

    def four(self, name):
        """As [B, H, T, D]."""
        if len(self.shape) not in (3, 4):
            raise ValueError(f"{name} has {len(self.shape)} dimensions; expected [H, T, D] or [B, H, T, D]")
        if self.shape[-1] > 1 and self.strides[-1] != 1:
            raise ValueError(f"channels of {name} lie {self.strides[-1]} elements apart; expected adjacent ones")
        pad = 4 - len(self.shape)
        return (1,) * pad + self.shape, (self.shape[0] * self.strides[0],) * pad + self.strides


def _of_numpy(x):
    dtype = {"float32": F32, "float16": F16, "uint16": BF16, "bfloat16": BF16}.get(x.dtype.name)
    if dtype is None:
        raise TypeError(f"dtype {x.dtype}; expected float32, float16, bfloat16 (or uint16 for it)")
    return View(x.ctypes.data, x.shape, tuple(s // x.itemsize for s in x.strides), dtype, CPU, x)


def _of_cuda(x):
    what = x.__cuda_array_interface__
    dtype = {"<f4": F32, "<f2": F16, "<u2": BF16}.get(what["typestr"])
    if dtype is None:
        raise TypeError(f"dtype {what['typestr']}; expected float32, float16 or (as uint16) bfloat16")
    shape, bytes_ = tuple(what["shape"]), int(what["typestr"][2:])
    strides = what.get("strides")
    if strides is None:
        strides = tuple(bytes_ * int(np.prod(shape[i + 1:])) for i in range(len(shape)))
    return View(what["data"][0], shape, tuple(s // bytes_ for s in strides), dtype, CUDA, x)


class _DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64)]


_DL_FLOAT, _DL_BFLOAT = 2, 4
_DL_CPU, _DL_CUDA = 1, 2


def _of_dlpack(x):
    capsule = x.__dlpack__()
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    # The capsule is not consumed: its deleter runs when `owner` goes.
    t = ctypes.cast(get(capsule, b"dltensor"), ctypes.POINTER(_DLTensor)).contents
    dtype = {(_DL_FLOAT, 32): F32, (_DL_FLOAT, 16): F16, (_DL_BFLOAT, 16): BF16}.get((t.code, t.bits))
    backend = {_DL_CPU: CPU, _DL_CUDA: CUDA}.get(t.device_type)
    if dtype is None or t.lanes != 1:
        raise TypeError(f"DLPack dtype {t.code}, {t.bits} bits; expected float32, float16 or bfloat16")
    if backend is None:
        raise TypeError(f"DLPack device {t.device_type}; expected the CPU or CUDA")
    shape = tuple(t.shape[i] for i in range(t.ndim))
    strides = tuple(t.strides[i] for i in range(t.ndim)) if t.strides else tuple(
        int(np.prod(shape[i + 1:])) for i in range(len(shape)))
    return View(t.data + t.byte_offset, shape, strides, dtype, backend, (x, capsule))


def view(x):
    """A View of an array of any kind. Tensors that require gradients must be detached."""
    if isinstance(x, np.ndarray):
        return _of_numpy(x)
    if hasattr(x, "__dlpack__"):
        return _of_dlpack(x)
    if hasattr(x, "__cuda_array_interface__"):
        return _of_cuda(x)
    raise TypeError(f"{type(x).__name__}; expected a numpy array, or one with DLPack or __cuda_array_interface__")


def empty_like(x, shape, float32=False):
    """A new array of x's kind and dtype (or float32), where x's kind can make one."""
    if isinstance(x, np.ndarray):
        return np.empty(shape, np.float32 if float32 else x.dtype)
    if hasattr(x, "new_empty"):  # torch
        import torch
        return x.new_empty(shape, dtype=torch.float32 if float32 else x.dtype)
    raise TypeError(f"cannot make a {type(x).__name__}; pass out= and lse=")
