"""Arrays in files: NumPy's .npz and the IDX format of MNIST."""

from __future__ import annotations

import io
import math
import re
import tokenize
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.data.samples import Samples, check_numbers
from nnhost.errors import NnhostError

# What NumPy and zipfile raise when a file is not what it seems.
_BROKEN = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_npz(content: bytes, source: str) -> Samples:
    """Arrays x (N, ...) and y (N,), or targets y (N, K), as numpy.savez writes them."""
    cure = "make it with numpy.savez(file, x=..., y=...)"
    if not content.startswith(b"PK"):
        raise NnhostError(f"{source} is not an .npz file", help=cure)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("x", "y") if name in archive}
    except _BROKEN:
        raise NnhostError(
            f"{source} is damaged, or holds objects instead of numbers", help=cure
        ) from None
    for name in ("x", "y"):
        if name not in arrays:
            raise NnhostError(f"{source} holds no array {name}", help=cure)
    return _samples(arrays["x"], arrays["y"], source)


def read_idx(images: bytes, labels: bytes, source: str, labels_source: str) -> Samples:
    """An IDX file of images (N, ...) and one of labels (N,)."""
    return _samples(_idx(images, source), _idx(labels, labels_source), source)


def idx_labels_name(name: str) -> str:
    """train-images-idx3-ubyte -> train-labels-idx1-ubyte."""
    return re.sub(r"idx\d", "idx1", name.replace("images", "labels"))


def _idx(content: bytes, source: str) -> NDArray[Any]:
    kind = _IDX_TYPES.get(content[2]) if len(content) >= 4 and content[:2] == b"\0\0" else None
    if kind is None:
        raise NnhostError(f"{source} is not an IDX file", help="its first bytes are 00 00 08 03")
    dtype, data = np.dtype(kind), 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, data, 4))
    wanted = data + math.prod(shape) * dtype.itemsize
    if len(content) != wanted:
        raise NnhostError(
            f"{source} has {len(content)} bytes, and its header announces {wanted}",
            help="copy it again, it is damaged",
        )
    return np.frombuffer(content, dtype, offset=data).reshape(shape)


def _samples(x: NDArray[Any], y: NDArray[Any], source: str) -> Samples:
    if x.dtype.kind not in "biuf" or y.dtype.kind not in "biufU":
        raise NnhostError(f"{source}: x is {x.dtype} and y {y.dtype}", help="x wants numbers")
    if x.ndim == 0 or x.size == 0 or len(y.shape) not in (1, 2) or y.size == 0:
        raise NnhostError(
            f"{source}: the shapes are {x.shape} and {y.shape}",
            help="a row for each sample and a label for each row are wanted",
        )
    if len(x) != len(y):
        raise NnhostError(f"{source}: {len(x)} samples, but {len(y)} labels")
    with np.errstate(over="ignore"):  # a long double too large becomes infinite, then refused
        x = x.reshape(len(x), -1).astype(np.float64)
        y = y.ravel() if y.shape[1:] == (1,) else y
        if y.dtype.kind != "U":
            y = y.astype(np.float64)
            check_numbers(y.reshape(len(y), -1), lambda row, _: f"{source}: label {row}")
    check_numbers(x, lambda row, column: f"{source}: value {column} of sample {row}")
    return Samples(source, x, y, tuple(f"x{i}" for i in range(x.shape[1])))
