"""The C interface, declared once: harness/stembench.h."""
import ctypes
import ctypes.util
import os
import pathlib

MESSAGE = 512
VERSION = 1
CODES = {2: "usage", 4: "unavailable", 5: "internal", 6: "out of memory", 7: "unsupported"}


class StembenchError(RuntimeError):
    """What the library refused; `code` is one of CODES' values."""

    def __init__(self, number, message):
        super().__init__(message)
        self.code = CODES.get(number, str(number))


class Strides(ctypes.Structure):
    _fields_ = [("batch", ctypes.c_int64), ("head", ctypes.c_int64), ("token", ctypes.c_int64)]


class Spec(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t)] + [
        (name, ctypes.c_int64) for name in ("n_batch", "n_heads", "n_kv_heads", "q_len", "kv_len", "dim", "dim_v",
                                            "prompt_len", "layer")] + [
        ("scale", ctypes.c_double), ("dtype", ctypes.c_int32), ("backend", ctypes.c_int32),
        ("n_threads", ctypes.c_int32), ("stream", ctypes.c_void_p),
        ("q", Strides), ("k", Strides), ("v", Strides), ("o", Strides)]


class Tensors(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("q", "k", "v", "o", "lse")]


class RawStats(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t)] + [
        (name, ctypes.c_double) for name in ("density", "pair_density", "flops_dense", "flops_attend", "flops_tile",
                                             "flops_select")] + [
        ("mask_hash", ctypes.c_uint64), ("block", ctypes.c_int64), ("n_rows", ctypes.c_int64),
        ("row_ptr", ctypes.POINTER(ctypes.c_int64)), ("col", ctypes.POINTER(ctypes.c_int32)),
        ("tokens", ctypes.POINTER(ctypes.c_uint64))]


def _candidates():
    named = os.environ.get("STEMBENCH_LIBRARY")
    if named:
        return [named]
    built = pathlib.Path(__file__).resolve().parents[3] / "build" / "libstembench.so"
    found = ctypes.util.find_library("stembench")
    return [str(built)] * built.exists() + [found] * bool(found)


def _load():
    candidates = _candidates()
    if not candidates:
        raise OSError("libstembench.so not found: build the project, or name the library in STEMBENCH_LIBRARY")
    lib = ctypes.CDLL(candidates[0])
    lib.sb_attention_version.restype = ctypes.c_int32
    if lib.sb_attention_version() != VERSION:
        raise OSError(f"{candidates[0]}: interface version {lib.sb_attention_version()}; expected {VERSION}")
    plan, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in [
            ("create", ctypes.c_int32, [ctypes.POINTER(Spec), text, text, ctypes.POINTER(plan), text]),
            ("run", ctypes.c_int32, [plan, ctypes.POINTER(Tensors), text]),
            ("read_stats", ctypes.c_int32, [plan, ctypes.POINTER(RawStats), text]),
            ("kernel", text, [plan]),
            ("params", text, [plan]),
            ("destroy", None, [plan])]:
        function = getattr(lib, "sb_attention_" + name)
        function.restype, function.argtypes = result, arguments
    return lib


_lib = None


def library():
    """The library, loaded at first use."""
    global _lib
    if _lib is None:
        _lib = _load()
    return _lib


def version():
    """Version of the C interface that the library has."""
    return library().sb_attention_version()


def call(name, *arguments):
    """sb_attention_NAME with a message; StembenchError where it fails."""
    message = ctypes.create_string_buffer(MESSAGE)
    code = getattr(library(), "sb_attention_" + name)(*arguments, message)
    if code != 0:
        raise StembenchError(code, message.value.decode())
