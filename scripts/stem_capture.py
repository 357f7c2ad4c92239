#!/usr/bin/env python3
"""Write, read and compare stem-capture files (version 1).

As a program:
    stem_capture.py FILE          print attributes, shapes and the digest of the values
    stem_capture.py FILE OTHER    compare value by value; exit 0 if all values are equal, else 1
"""
import argparse
import gzip
import hashlib
import os
import sys

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

CHUNK_TOKENS = 1024
MAX_LOSS = 5.0  # nats: prose gives 2 to 4 on a working forward, a broken RoPE gives 6 and more


class CaptureError(Exception):
    """A one-line message and the exit code: 1 check failed, 2 usage, 3 bad input data, 5 I/O."""

    def __init__(self, message, code=3):
        super().__init__(message)
        self.code = code


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def run_main(main):
    """Run main(); print an expected error as one line and exit with its code."""
    prog = os.path.basename(sys.argv[0])
    try:
        sys.exit(main())
    except CaptureError as error:
        sys.stderr.write(f"{prog}: error: {error}\n")
        sys.exit(error.code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        message = " ".join(str(error).split())
        sys.stderr.write(f"{prog}: error: {message}\n")
        sys.exit(5)
    except KeyboardInterrupt:
        sys.stderr.write(f"{prog}: interrupted, nothing written\n")
        sys.exit(130)


# ---- arguments and text shared by the capture programs ----

def positive(kind):
    def parse(text):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value
    parse.__name__ = f"positive {kind.__name__}"
    return parse


def character_offset(text):
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def non_empty(text):
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def layer_list(text):
    """Return None for all, else the layers in ascending order."""
    if text == "all":
        return None
    items = text.split(",")
    if not all(item.isascii() and item.isdigit() for item in items):
        raise argparse.ArgumentTypeError(f"{text!r}; numbers like 2,15 or the word all were expected")
    return sorted(set(map(int, items)))


def add_arguments(parser):
    add = parser.add_argument
    add("--text", required=True, metavar="FILE", help="UTF-8 text, plain or .gz")
    add("--tokens", type=positive(int), default=8192, metavar="N",
        help="tokens to capture (default %(default)s)")
    add("--offset", type=character_offset, default=0, metavar="CHARS",
        help="first character of the text to use (default 0)")
    add("--layers", type=layer_list, default=None, metavar="LIST",
        help="layers to write, counted from 0: 2,15 or all (default all)")
    add("--dtype", choices=("bf16", "f16", "f32"), default="bf16",
        help="element type of the file (default %(default)s)")
    add("--rope-theta", type=positive(float), metavar="X",
        help="RoPE base in place of the model's; a larger one stretches the context")
    add("--out", required=True, metavar="FILE", help="capture to write (.h5)")
    add("--source", required=True, type=non_empty, metavar="TEXT",
        help="what the text is and its licence: the file's `source` attribute")
    add("--model-name", type=non_empty, metavar="NAME",
        help="the file's `model` attribute (default: from the path)")
    add("--max-loss", type=positive(float), default=MAX_LOSS, metavar="NATS",
        help="refuse to write above this mean next-token loss (default %(default)s)")
    add("--force", action="store_true", help="write even if the loss is above --max-loss")


def read_text(path, offset):
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            text = file.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise CaptureError(f"{path}: not UTF-8 at byte {error.start}")
    except (EOFError, gzip.BadGzipFile) as error:
        raise CaptureError(f"{path}: {error}")
    if offset >= len(text):
        raise CaptureError(f"{path}: --offset {offset} is past its {len(text)} characters", 2)
    return text[offset:]


def choose_layers(wanted, n_layers):
    if wanted is None:
        return list(range(n_layers))
    if wanted[-1] >= n_layers:
        raise CaptureError(f"--layers: {wanted[-1]} is not in the model's 0..{n_layers - 1}", 2)
    return wanted


def check_loss(losses, args):
    """Print the mean next-token loss and that of each quarter; refuse a loss no working forward has."""
    mean = float(np.mean(losses))
    quarters = " ".join(f"{part.mean():.3f}" for part in np.array_split(losses, 4) if part.size)
    print(f"loss {mean:.4f} nats/token over {losses.size} predictions (by quarter: {quarters})")
    if not mean <= args.max_loss and not args.force:
        raise CaptureError(f"loss {mean:.3f} exceeds {args.max_loss:g}: the forward or the text is "
                           "wrong; nothing written (--force writes anyway)", 1)


# ---- the format ----

def bfloat16_type():
    # The fields go first: binary16 has room for them, and HDF5 checks each change against the last.
    bf16 = h5t.IEEE_F16LE.copy()
    bf16.set_fields(15, 7, 8, 0, 7)
    bf16.set_ebias(127)
    return bf16


def to_bfloat16(x):
    """Round to bfloat16, nearest even; return the bits as uint16."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype("<u2")


def encode(x, dtype):
    """Return (HDF5 type, contiguous array of its raw elements); refuse what is not finite."""
    if dtype == "bf16":
        raw = to_bfloat16(x)
        finite = (raw & 0x7F80) != 0x7F80
        kind = bfloat16_type()
    else:
        with np.errstate(over="ignore"):
            raw = np.ascontiguousarray(x, "<f2" if dtype == "f16" else "<f4")
        finite = np.isfinite(raw)
        kind = h5t.IEEE_F16LE if dtype == "f16" else h5t.IEEE_F32LE
    if not (finite.all() and np.isfinite(x).all()):
        raise CaptureError(f"values are not finite in {dtype}")
    return kind, raw


class CaptureWriter:
    """Write a capture into a temporary file beside `path`; commit() renames it into place.

    A context manager: leaving it without commit() removes the temporary file. The bytes written
    depend only on the values, the attributes and the h5py build (no times are stored).
    """

    def __init__(self, path, model, source, tokens, softmax_scale, rope, dtype="bf16"):
        self.path, self.tokens, self.dtype = path, tokens, dtype
        self.softmax_scale = softmax_scale  # may be set until commit()
        folder, name = os.path.split(os.path.abspath(path))
        self.temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
        if not os.path.isdir(folder):
            raise CaptureError(f"--out: no folder {folder}", 2)
        self.file = h5py.File(self.temporary, "w", libver="earliest")
        attributes = (("format", "stem-capture"), ("version", np.int32(1)), ("model", model),
                      ("source", source), ("tokens", np.int64(tokens)),
                      ("rope", rope),
                      ("block_order", "head,token,dim"))
        for name, value in attributes:
            if isinstance(value, str):
                value = np.bytes_(value.encode("utf-8"))
                kind = h5py.string_dtype("utf-8", len(value))
                self.file.attrs.create(name, value, dtype=kind)
            else:
                self.file.attrs[name] = value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.file:
            self.file.close()
        if os.path.exists(self.temporary):
            os.remove(self.temporary)

    def layer(self, index, q, k, v):
        """Write q [H, N, d], k [H_kv, N, d] and v [H_kv, N, dv]: what the attention function gets."""
        if (any(x.ndim != 3 or x.shape[1] != self.tokens for x in (q, k, v)) or q.shape[2] != k.shape[2]
                or k.shape[0] != v.shape[0] or q.shape[0] % k.shape[0]):
            raise CaptureError(f"/layers/{index}: shapes {q.shape}, {k.shape}, {v.shape} do not fit")
        for name, x in (("q", q), ("k", k), ("v", v)):
            try:
                self._write(f"/layers/{index}/{name}", x)
            except CaptureError as error:
                raise CaptureError(f"/layers/{index}/{name}: {error}")

    def _write(self, path, x):
        plist = h5p.create(h5p.DATASET_CREATE)
        plist.set_chunk((1, min(CHUNK_TOKENS, x.shape[1]), x.shape[2]))
        plist.set_shuffle()
        plist.set_deflate(9)
        plist.set_obj_track_times(False)
        link = h5p.create(h5p.LINK_CREATE)
        link.set_create_intermediate_group(True)
        kind = encode(x[:1, :1], self.dtype)[0]
        space = h5s.create_simple(x.shape)
        dataset = h5d.create(self.file.id, path.encode(), kind, space, plist, link)
        for head in range(x.shape[0]):
            raw = encode(x[head], self.dtype)[1]
            space.select_hyperslab((head, 0, 0), (1,) + raw.shape)
            dataset.write(h5s.create_simple((1,) + raw.shape), space, raw[None], mtype=kind)

    def token_ids(self, ids):
        self.file.create_dataset("token_ids", data=np.asarray(ids, "<i4"), track_times=False)

    def commit(self):
        self.file.attrs["softmax_scale"] = np.float64(self.softmax_scale)
        self.file.close()
        os.replace(self.temporary, self.path)


# ---- reading back ----

def read_raw(dataset):
    """Return the stored elements: uint16 bit patterns for bfloat16, else the values."""
    if not dataset.id.get_type().equal(bfloat16_type()):
        return dataset[...]
    raw = np.empty(dataset.shape, "<u2")
    dataset.id.read(h5s.ALL, h5s.ALL, raw, mtype=dataset.id.get_type())
    return raw


def datasets(file):
    found = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found.append(name)

    file.visititems(visit)
    return sorted(found)


def open_capture(path):
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise CaptureError(f"{path}: no such file", 5)
    except OSError:
        raise CaptureError(f"{path}: not a readable HDF5 file")
    found = file.attrs.get("format", b"")
    if (found.decode() if isinstance(found, bytes) else found) != "stem-capture":
        raise CaptureError(f"{path}: not a stem-capture file")
    return file


def describe(path):
    total = hashlib.sha256()
    with open_capture(path) as file:
        for name, value in file.attrs.items():
            print(f"{name}: {value.decode() if isinstance(value, bytes) else value}")
        for name in datasets(file):
            raw = read_raw(file[name])
            digest = hashlib.sha256(raw.tobytes()).hexdigest()
            total.update(f"{name} {raw.shape} {raw.dtype.str} {digest}\n".encode())
            kind = "bf16" if raw.dtype == "<u2" else raw.dtype.name
            print(f"/{name}  {'x'.join(map(str, raw.shape))} {kind}  {digest[:16]}")
    print(f"values sha256: {total.hexdigest()}")
    return 0


def compare(path, other):
    n_total = n_differ = 0
    with open_capture(path) as a, open_capture(other) as b:
        if datasets(a) != datasets(b):
            raise CaptureError(f"datasets differ: {datasets(a)} and {datasets(b)}", 1)
        for name in datasets(a):
            x, y = read_raw(a[name]), read_raw(b[name])
            if x.shape != y.shape or x.dtype != y.dtype:
                raise CaptureError(f"/{name}: shapes or types differ", 1)
            n_bad = int((x.view(f"u{x.itemsize}") != y.view(f"u{y.itemsize}")).sum())
            worst = float(np.abs(a[name][...].astype("f8") - b[name][...].astype("f8")).max())
            n_total, n_differ = n_total + x.size, n_differ + n_bad
            print(f"/{name}: {n_bad} of {x.size} values differ, largest difference {worst:g}")
    print(f"{'EQUAL' if n_differ == 0 else 'DIFFERENT'}: {n_differ} of {n_total} values differ")
    return int(n_differ > 0)


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("other", nargs="?")
    args = parser.parse_args()
    return compare(args.file, args.other) if args.other else describe(args.file)


if __name__ == "__main__":
    run_main(main)
