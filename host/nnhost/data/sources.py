"""Finds the data that nn.toml names: a shipped set, a file or a folder."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from io import BufferedIOBase
from pathlib import Path

from nnhost.data.array_files import MOST_BYTES, join, read_idx, read_npz
from nnhost.data.csv_file import read_csv
from nnhost.data.samples import Samples
from nnhost.errors import NnhostError, UsageError, nearest, quote

_SETS = Path(__file__).parent / "sets"
SHIPPED = {
    "xor": "xor.csv",
    "iris": "iris.csv",
    "wine": "wine.csv",
    "breast_cancer": "breast_cancer.csv",
    "digits": "digits.csv.gz",
    "mnist_sample": "mnist_sample",
}
_TEXT = (".csv", ".tsv", ".txt")
SHAPES = {"digits": (8, 8)}
"""Of the images in shipped sets whose files do not tell."""
TRUTH_TABLES = {"xor"}
"""Sets whose rows are all there is: none can be held out."""


def read(source: str, label: str | None, root: Path) -> Samples:
    """The samples of a shipped set, or of what lies at `source`, relative to `root`.

    A folder holds images and labels for training and others for testing, as MNIST does.
    The last files stay in memory as long as they do not change: the arrays are shared.
    Raises UsageError for a name that leads nowhere, NnhostError for a file with faults.
    """
    path = _SETS / SHIPPED[source] if source in SHIPPED else root / Path(source).expanduser()
    if not path.exists():
        raise UsageError(
            f"[data] source: no file {path}, nor a shipped set {quote(source)}",
            help=nearest(source, SHIPPED),
        )
    name = path.name.lower().removesuffix(".gz")
    if label is not None and not (path.is_file() and name.endswith(_TEXT)):
        raise UsageError("[data] label names a column of a CSV file", help=f"{source} has none")
    images = [_images(path, part) for part in ("train", "t10k")] if path.is_dir() else [path]
    files = tuple(file for at in images for file in ((at, _labels(at)) if _is_idx(at) else (at,)))
    stamps = tuple((at.stat().st_mtime_ns, at.stat().st_size) for at in files if at.exists())
    return _read(source, label, files, stamps)


def _is_idx(path: Path) -> bool:
    return "images" in path.name.lower() and "idx" in path.name.lower()


def _labels(images: Path) -> Path:
    """train-images-idx3-ubyte -> train-labels-idx1-ubyte."""
    return images.with_name(re.sub(r"idx\d", "idx1", images.name.replace("images", "labels")))


def _images(folder: Path, part: str) -> Path:
    """The images of a part of MNIST or its kin: its name is written with a hyphen or a point."""
    names = [f"{part}-images{mark}idx3-ubyte{gz}" for mark in "-." for gz in ("", ".gz")]
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise UsageError(
            f"[data] source: {folder} holds no {names[0]}, nor {names[1]}",
            help="a folder wants the four files of MNIST: train and t10k, images and labels",
        )
    return found[0]


@lru_cache(maxsize=4)
def _read(
    source: str, label: str | None, files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]
) -> Samples:
    """`files` as they are at the time of `stamps`; labels follow their images, tests training."""
    path, name = files[0], files[0].name.lower().removesuffix(".gz")
    if name.endswith(_TEXT):
        samples = read_csv(_content(path), source, label)
        samples = replace(samples, shape=SHAPES.get(source, ()))
    elif name.endswith(".npz"):
        samples = read_npz(_content(path), source)
    elif len(files) == 2:
        samples = _read_idx(path, files[1], source)
    elif len(files) == 4:
        train, test = (_read_idx(files[at], files[at + 1], files[at].name) for at in (0, 2))
        samples = join(train, test, source)
    else:
        raise UsageError(
            f"[data] source: {source} is of no kind that can be read",
            help="CSV (.csv, .tsv, .txt), .npz, or IDX (...-images-idx3-ubyte), also with .gz",
        )
    for shared in (samples.x, samples.labels):
        shared.setflags(write=False)
    return samples


def _read_idx(images: Path, labels: Path, source: str) -> Samples:
    with _opened(images) as first, _opened(labels) as second:
        return read_idx(first, second, source, labels.name)


def _content(path: Path) -> bytes:
    with _opened(path) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise NnhostError(f"{path} has more than {MOST_BYTES:,} bytes, which are the most")
    return content


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    """A file, unpacked while it is read."""
    try:
        with path.open("rb") as file:
            packed = path.suffix.lower() == ".gz"
            yield gzip.GzipFile(fileobj=file) if packed else file
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise NnhostError(f"{path} is damaged", help="it is not a whole .gz file") from None
    except OSError as error:
        raise NnhostError(f"cannot read {path}: {error.strerror}") from None
