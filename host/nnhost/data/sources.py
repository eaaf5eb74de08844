"""Finds the data that nn.toml names: a shipped set or a file, by its name."""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache
from pathlib import Path

from nnhost.data.array_files import idx_labels_name, read_idx, read_npz
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
}
_TEXT = (".csv", ".tsv", ".txt")
TRUTH_TABLES = {"xor"}
"""Sets whose rows are all there is: none can be held out."""


def read(source: str, label: str | None, root: Path) -> Samples:
    """The samples of a shipped set, or of a file at `source`, relative to `root`.

    The last files stay in memory as long as they do not change: the arrays are shared.
    Raises UsageError for a name that leads nowhere, NnhostError for a file with faults.
    """
    path = _SETS / SHIPPED[source] if source in SHIPPED else root / Path(source).expanduser()
    if not path.is_file():
        raise UsageError(
            f"[data] source: no file {path}, nor a shipped set {quote(source)}",
            help=nearest(source, SHIPPED),
        )
    name = path.name.lower().removesuffix(".gz")
    if label is not None and not name.endswith(_TEXT):
        raise UsageError("[data] label names a column of a CSV file", help=f"{source} has none")
    files = (path, path.with_name(idx_labels_name(path.name))) if _is_idx(name) else (path,)
    stamps = tuple((at.stat().st_mtime_ns, at.stat().st_size) for at in files if at.exists())
    return _read(source, label, files, stamps)


def _is_idx(name: str) -> bool:
    return "images" in name and "idx" in name


@lru_cache(maxsize=4)
def _read(
    source: str, label: str | None, files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]
) -> Samples:
    """`files` as they are at the time of `stamps`; the second holds the labels of the first."""
    path, name = files[0], files[0].name.lower().removesuffix(".gz")
    if name.endswith(_TEXT):
        samples = read_csv(_content(path), source, label)
    elif name.endswith(".npz"):
        samples = read_npz(_content(path), source)
    elif _is_idx(name):
        samples = read_idx(_content(path), _content(files[1]), source, files[1].name)
    else:
        raise UsageError(
            f"[data] source: {source} is of no kind that can be read",
            help="CSV (.csv, .tsv, .txt), .npz, or IDX (...-images-idx3-ubyte), also with .gz",
        )
    for shared in (samples.x, samples.labels):
        shared.setflags(write=False)
    return samples


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise NnhostError(f"{path} is damaged", help="it is not a whole .gz file") from None
    except OSError as error:
        raise NnhostError(f"cannot read {path}: {error.strerror}") from None
