"""The host's parsers, fed with files and frames that are nearly right.

Each has a corpus, tests/fuzz/corpus/<parser>/, whose files are cut, joined and spoilt by seed. A
parser may refuse what it gets with the error that it documents; nothing else, and no hang. `make
fuzz` sets NNHOST_FUZZ_FILES; a failure names the seed and keeps the input.
"""

from __future__ import annotations

import io
import os
import random
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from nnhost.bisect import replay
from nnhost.data.array_files import read_idx, read_npz
from nnhost.data.csv_file import read_csv
from nnhost.errors import DeviceError, NnhostError
from nnhost.link.frames import FrameError, _checksum, decode, encode
from nnhost.link.messages import ANSWERS, REQUESTS
from nnhost.link.text import read_text
from nnhost.paths import examples_dir
from nnhost.project import FILE_NAME, load_project
from nnhost.saved import _checksum as _checksum_of_file
from nnhost.saved import parsed

CORPUS = Path(__file__).parent / "corpus"
FILES = int(os.environ.get("NNHOST_FUZZ_FILES", 1000))
SEED = int(os.environ.get("NNHOST_FUZZ_SEED", 1))
LONGEST = 4096

_LABELS = bytes.fromhex("00000801 00000002 0001")
_IRIS = load_project(examples_dir() / "iris")


def frame(data: bytes) -> None:
    """What a board sends between delimiters; its checksum is put right half of the time."""
    blocks = [data, data[:-3] + _checksum(data[:-3])] if len(data) > 6 else [data]
    for block in blocks:
        try:
            found = decode(block)
        except FrameError:
            continue
        assert encode(found).strip(b"\0") == block
        for kind in (*REQUESTS, *ANSWERS):
            if found.type == kind.NUMBER:
                with suppress(struct.error):
                    kind.unpack(found.payload)


class _Saying:
    """A line on which a board says this, in pieces, and then nothing."""

    def __init__(self, data: bytes) -> None:
        self.left = [data[at : at + 7] for at in range(0, len(data), 7)]

    def read(self, timeout: float) -> bytes:
        return self.left.pop(0) if self.left else b""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


def text(data: bytes) -> None:
    for _ in read_text(_Saying(data), 0):
        pass


def nn_toml(data: bytes) -> None:
    _FILES.joinpath(FILE_NAME).write_bytes(data)
    load_project(_FILES)


def overrides(data: bytes) -> None:
    load_project(examples_dir() / "iris", data.decode("latin-1").splitlines()[:4])


def csv(data: bytes) -> None:
    read_csv(data, "f.csv", None)
    read_csv(data, "f.csv", "class")


def npz(data: bytes) -> None:
    read_npz(data, "f.npz")


def idx(data: bytes) -> None:
    read_idx(io.BytesIO(data), io.BytesIO(_LABELS), "images", "labels")


def report(data: bytes) -> None:
    _FILES.joinpath("report.npz").write_bytes(data)
    replay(_IRIS, _FILES / "report.npz")


def ram(data: bytes) -> None:
    parsed(_checksum_of_file(data) + data)


_SCRATCH = tempfile.TemporaryDirectory()
_FILES = Path(_SCRATCH.name)

PARSERS: dict[str, Callable[[bytes], None]] = {
    parser.__name__: parser
    for parser in (frame, text, nn_toml, overrides, csv, npz, idx, report, ram)
}
SPARE = {"report": 10, "ram": 10, "overrides": 10, "npz": 4, "nn_toml": 4}
"""So many times fewer of these, which are slow, in `make test`."""


def spoilt(rng: random.Random, corpus: list[bytes]) -> bytes:
    """A file of the corpus, changed in one to four places."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 4, 16)))
        match rng.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at:end] = rng.randbytes(end - at)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * rng.choice((1, 2, 50))
            case 4:
                other = rng.choice(corpus)
                cut = rng.randrange(len(other) + 1)
                data[at:] = other[cut:]
            case 5:
                token = rng.choice((b"\0", b"\xff" * 4, b"-", b"nan", b"1e999", b"[[", b'"', b"\n"))
                data[at:at] = token
            case _:
                del data[at:]
    return bytes(data[:LONGEST])


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_takes_or_refuses(name: str, tmp_path: Path) -> None:
    corpus = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    rng = random.Random(f"{name} {SEED}")
    spare = 1 if "NNHOST_FUZZ_FILES" in os.environ else SPARE.get(name, 1)
    for number in range(FILES // spare):
        data = corpus[number] if number < len(corpus) else spoilt(rng, corpus)
        try:
            PARSERS[name](data)
        except (NnhostError, DeviceError) as error:
            assert error.message.isprintable()
        except Exception:
            (tmp_path / "input").write_bytes(data)
            print(f"seed {SEED}, input {number}, kept in {tmp_path / 'input'}")
            raise
