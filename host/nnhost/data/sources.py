"""Finds the data that nn.toml names: a shipped set or a file, by its name."""

from __future__ import annotations

import gzip
import zlib
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
TRUTH_TABLES = {"xor"}
"""Sets whose rows are all there is: none can be held out."""


def read(source: str, label: str | None, root: Path) -> Samples:
    """The samples of a shipped set, or of a file at `source`, relative to `root`.

    Raises UsageError for a name that leads nowhere, NnhostError for a file with faults.
    """
    if source in SHIPPED:
        return read_csv(_content(_SETS / SHIPPED[source]), source, label)
    path = root / Path(source).expanduser()
    if not path.is_file():
        raise UsageError(
            f"[data] source: no file {path}, nor a shipped set {quote(source)}",
            help=nearest(source, SHIPPED),
        )
    name = path.name.lower().removesuffix(".gz")
    if label is not None and not name.endswith((".csv", ".tsv", ".txt")):
        raise UsageError("[data] label names a column of a CSV file", help=f"{source} has none")
    if name.endswith((".csv", ".tsv", ".txt")):
        return read_csv(_content(path), source, label)
    if name.endswith(".npz"):
        return read_npz(_content(path), source)
    if "images" in name and "idx" in name:
        labels = path.with_name(idx_labels_name(path.name))
        return read_idx(_content(path), _content(labels), source, labels.name)
    raise UsageError(
        f"[data] source: {source} is of no kind that can be read",
        help="CSV (.csv, .tsv, .txt), .npz, or IDX (...-images-idx3-ubyte), also with .gz",
    )


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise NnhostError(f"{path} is damaged", help="it is not a whole .gz file") from None
    except OSError as error:
        raise NnhostError(f"cannot read {path}: {error.strerror}") from None
