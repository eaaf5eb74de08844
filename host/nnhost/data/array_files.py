"""Arrays in files: NumPy's .npz and the IDX format of MNIST."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from io import BufferedIOBase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.data.samples import Samples, check_numbers
from nnhost.errors import NnhostError

#: What NumPy and zipfile raise when a file is not what it seems.
BROKEN = (
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
_AGAIN = "copy it again, it is damaged"

MOST_BYTES = 1 << 28
"""Of numbers in a file: as many as any net can be trained on, as bytes."""
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_npz(content: bytes, source: str) -> Samples:
    """Arrays x (N, ...) and y (N,), or targets y (N, K), as numpy.savez writes them."""
    cure = "make it with numpy.savez(file, x=..., y=...)"
    if not content.startswith(b"PK"):
        raise NnhostError(f"{source} is not an .npz file", help=cure)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            names = [name for name in ("x", "y") if name in archive]
            for name in names:
                _check_size(archive.zip, f"{name}.npy", source)
            arrays = {name: archive[name] for name in names}
    except BROKEN:
        raise NnhostError(
            f"{source} is damaged, or holds objects instead of numbers", help=cure
        ) from None
    for name in ("x", "y"):
        if name not in arrays:
            raise NnhostError(f"{source} holds no array {name}", help=cure)
    return _samples(arrays["x"], arrays["y"], source)


def _check_size(archive: zipfile.ZipFile, name: str, source: str) -> None:
    """Refuse an array that is larger than can be used, before there is memory for it."""
    wanted = archive.getinfo(name).file_size
    if wanted <= MOST_BYTES:
        with archive.open(name) as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
        wanted = math.prod(shape) * dtype.itemsize
    if wanted > MOST_BYTES:
        raise NnhostError(
            f"{source} announces {wanted:,} bytes of numbers, and {MOST_BYTES:,} are the most"
        )


def read_idx(
    images: BufferedIOBase, labels: BufferedIOBase, source: str, labels_source: str
) -> Samples:
    """An IDX file of images (N, ...) and one of labels (N,)."""
    return _samples(_idx(images, source), _idx(labels, labels_source), source)


def join(train: Samples, test: Samples, source: str) -> Samples:
    """Two sets as one, of which the second is for testing."""
    for numbers, wanted in ((test.x, train.x), (test.labels, train.labels)):
        if numbers[0].size != wanted[0].size:
            raise NnhostError(
                f"{test.source}: rows of {numbers[0].size} numbers,"
                f" but {wanted[0].size} in {train.source}"
            )
    x = np.concatenate([train.x, test.x])
    labels = np.concatenate([train.labels, test.labels])
    return Samples(source, x, labels, train.features, held=len(test.x), shape=train.shape)


def _idx(file: BufferedIOBase, source: str) -> NDArray[Any]:
    """The array of an IDX file: two zeros, a type, a rank, 32-bit extents, numbers, big endian."""
    head = file.read(4)
    kind = _IDX_TYPES.get(head[2]) if len(head) == 4 and head[:2] == b"\0\0" else None
    if kind is None:
        raise NnhostError(f"{source} is not an IDX file", help="its first bytes are 00 00 08 03")
    dtype, extents = np.dtype(kind), file.read(4 * head[3])
    if len(extents) < 4 * head[3]:
        raise NnhostError(f"{source} ends within its header", help=_AGAIN)
    shape = tuple(int.from_bytes(extents[at : at + 4], "big") for at in range(0, len(extents), 4))
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > MOST_BYTES:
        raise NnhostError(
            f"{source} announces {wanted:,} bytes of numbers, and {MOST_BYTES:,} are the most",
            help="is it damaged? 65,535 samples of 4,095 bytes can be trained",
        )
    content = file.read(wanted)
    if len(content) < wanted or file.read(1):
        found = f"only {len(content):,}" if len(content) < wanted else "more"
        raise NnhostError(
            f"{source} announces {wanted:,} bytes of numbers, and has {found}", help=_AGAIN
        )
    try:
        return np.frombuffer(content, dtype).reshape(shape)
    except ValueError:  # a rank that numpy does not know
        raise NnhostError(f"{source} has {len(shape)} dimensions", help=_AGAIN) from None


def _samples(x: NDArray[Any], y: NDArray[Any], source: str) -> Samples:
    if x.dtype.kind not in "biuf" or y.dtype.kind not in "biufU":
        raise NnhostError(
            f"{source}: x is {x.dtype} and y {y.dtype}", help="x wants numbers, y numbers or text"
        )
    if x.ndim == 0 or x.size == 0 or len(y.shape) not in (1, 2) or y.size == 0:
        raise NnhostError(
            f"{source}: the shapes are {x.shape} and {y.shape}",
            help="a row for each sample and a label for each row are wanted",
        )
    if len(x) != len(y):
        raise NnhostError(f"{source}: {len(x)} samples, but {len(y)} labels")
    shape = x.shape[1:] if x.ndim in (3, 4) else ()
    # A long double too large becomes infinite, and so refused, as is what is no number.
    with np.errstate(over="ignore", invalid="ignore"):
        x = x.reshape(len(x), -1)
        x = x if x.dtype == np.uint8 else x.astype(np.float64)
        y = y.ravel() if y.shape[1:] == (1,) else y
        if y.dtype.kind != "U":
            y = y.astype(np.float64)
            check_numbers(y.reshape(len(y), -1), lambda row, _: f"{source}: label {row}")
    if x.dtype != np.uint8:
        check_numbers(x, lambda row, column: f"{source}: value {column} of sample {row}")
    return Samples(source, x, y, tuple(f"x{i}" for i in range(x.shape[1])), shape=shape)
