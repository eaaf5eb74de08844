"""Data files: what is read, and that every fault is named with its place."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnhost.data.array_files import MOST_BYTES, read_npz
from nnhost.data.array_files import read_idx as read_idx_files
from nnhost.data.csv_file import read_csv
from nnhost.data.samples import Samples
from nnhost.data.sources import read
from nnhost.errors import NnhostError, UsageError


def csv(text: str, label: str | None = None) -> Samples:
    return read_csv(text.encode(), "t.csv", label)


def refused(read: Any, *arguments: Any) -> NnhostError:
    with pytest.raises(NnhostError) as caught:
        read(*arguments)
    assert "\n" not in caught.value.message + caught.value.help
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "a,b,kind\n1,2.5,x\n-3,4e2,y\n",
        "1,2.5,x\n-3,4e2,y",  # no header, no newline at the end
        "\ufeffa;b;kind\r\n1;2.5;x\r\n-3;4e2;y\r\n",  # from a spreadsheet
        "a\tb\tkind\n1\t2.5\tx\n-3\t4e2\ty\n",
        '\n"a","b","kind"\n\n"1"," 2.5 ","x"\n\n"-3","4e2","y"\n\n',
        '"a, b; c; d; e",b,kind\n1,2.5,x\n-3,4e2,y\n',
        '"a\nb",b,kind\n1,2.5,x\n-3,4e2,y\n',
        ",b,kind\n1,2.5,x\n-3,4e2,y\n",
    ],
)
def test_csv_of_every_style(text: str) -> None:
    samples = csv(text)
    assert samples.x.tolist() == [[1, 2.5], [-3, 400]]
    assert samples.labels.tolist() == ["x", "y"]


def test_csv_columns() -> None:
    text = "kind,a,b\nx,1,2\ny,3,4\n"
    samples = csv(text, "kind")
    assert samples.features == ("a", "b")
    assert samples.labels.tolist() == ["x", "y"]
    assert samples.x.tolist() == [[1, 2], [3, 4]]
    assert csv("1,2,x\n3,4,y\n").features == ("column 1", "column 2")
    assert csv("1,0,y\n1,2,3\n4,5,6\n", "y").features == ("1", "0"), "a header of numbers"


def test_csv_numbers_as_labels() -> None:
    labels = csv("1,2\n3,4.0\n").labels
    assert labels.dtype == np.float64
    assert labels.tolist() == [2, 4]
    assert csv("1,2\n3,1_0\n").labels.tolist() == ["2", "1_0"]


@pytest.mark.parametrize(
    ("text", "message", "help"),
    [
        ("", "t.csv is empty", ""),
        ("\n \n\r\n,,\n", "t.csv is empty", ""),
        ("a,b\n", "t.csv holds no rows below its header", ""),
        ("1\n2\n", "t.csv:1: one column only", "comma"),
        ("a b c\n1 2 3\n", "t.csv:1: one column only", "comma"),
        ("a,b\n1,x\n\n1,2,y\n", "t.csv:4: 3 columns, but 2 in the first line", "same"),
        ("1,2,x\n3,y\n", "t.csv:2: 2 columns, but 3 in the first line", "same"),
        ("a,b\n,x\n", 't.csv:2: "a" is missing', "delete the row"),
        ("1,2,x\n3,NA,x\n", 't.csv:2: "column 2" is missing', "delete"),
        ("1,2,x\n3,nan,x\n", 't.csv:2: "column 2" is missing', "delete"),
        ("1,2,x\n3,?,x\n", 't.csv:2: "column 2" is missing', "delete"),
        ("a,b\n1,x\n2,\n", 't.csv:3: "b" is missing', "delete"),
        ("a,b\n1,0.5\n2,nan\n", 't.csv:3: "b" is missing', "delete"),
        ("a,b\n1,0.5\n2,inf\n", 't.csv:3: "b" is inf', "1e30"),
        ("a,b\n1e999,x\n", 't.csv:2: "a" is inf', "1e30"),
        ("a,b\n-1e31,x\n", 't.csv:2: "a" is -1e+31', "1e30"),
        ("a,b\n1,x\n12x,y\n", 't.csv:3: "a" is "12x", not a number', "label"),
        ("a,b\n1_000,x\n", 't.csv:2: "a" is "1_000", not a number', "label"),
        ("a;b\n1,5;x\n", 't.csv:2: "a" is "1,5", not a number', "point"),
        ('a,b\n"1\n2",x\n', r't.csv:2: "a" is "1\n2", not a number', "label"),
        ('a,b\n1,x\n"2,y\n', "t.csv:3: unexpected end of data", "quotes"),
        ('a,b\n"1"2,x\n', "t.csv:2: ',' expected after '\"'", "quotes"),
        ("name,a,b\nx,1,2\n", 't.csv:2: "name" is "x", not a number', "label"),
    ],
)
def test_csv_faults(text: str, message: str, help: str) -> None:
    error = refused(csv, text)
    assert error.message.startswith(message)
    assert help in error.help


def test_csv_label_not_found() -> None:
    error = refused(csv, "colour,size,species\n1,2,x\n", "specie")
    assert isinstance(error, UsageError)
    assert error.message == 't.csv has no column "specie"'
    assert error.help == 'did you mean "species"?'
    assert refused(csv, "a,b\n1,x\n", "zzz").help == "there are: a, b"
    assert refused(csv, "1,2\n3,4\n", "zzz").message.startswith("t.csv has no header")


def test_csv_that_is_no_text() -> None:
    assert "is not text" in refused(read_csv, "a,b\n".encode("utf-16"), "t.csv", None).message


_CELLS = st.sampled_from(
    [*"0123456789.,;\t\n\"'-+_ ?xyeE\0", "\r\n", "nan", "inf", "1e9", "\ufeff", "NA", "x,", "1,2\n"]
)


@given(text=st.text() | st.lists(_CELLS, max_size=60).map("".join), label=st.none() | st.text())
def test_csv_never_surprises(text: str, label: str | None) -> None:
    try:
        samples = csv(text, label)
    except NnhostError as error:
        assert len(error.message.splitlines()) == 1
    else:
        assert samples.x.shape == (len(samples.labels), len(samples.features))
        assert np.all(np.isfinite(samples.x))


@given(
    st.lists(
        st.tuples(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30), st.sampled_from("pqr")),
        min_size=1,
    )
)
def test_csv_keeps_every_number_exactly(rows: list[tuple[float, float, str]]) -> None:
    samples = csv("".join(f"{a!r},{b!r},{name}\n" for a, b, name in rows))
    assert samples.x.tolist() == [[a, b] for a, b, _ in rows]
    assert samples.labels.tolist() == [name for _, _, name in rows]


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_npz() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    samples = read_npz(npz(x=images, y=np.array([1, 0, 1, 0], np.int8)), "t.npz")
    assert samples.x.tolist() == images.reshape(4, 6).tolist()
    assert samples.labels.tolist() == [1, 0, 1, 0]
    assert samples.features == ("x0", "x1", "x2", "x3", "x4", "x5")
    assert read_npz(npz(x=[1.0, 2.0], y=["a", "b"]), "t.npz").labels.tolist() == ["a", "b"]
    assert read_npz(npz(x=[1.0, 2.0], y=[[1], [2]]), "t.npz").labels.shape == (2,)
    assert read_npz(npz(x=[1.0, 2.0], y=[[1, 0], [0, 1]]), "t.npz").labels.shape == (2, 2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": [[1]]}, "t.npz holds no array y"),
        ({"data": [[1]], "y": [1]}, "t.npz holds no array x"),
        ({"x": [[1], [2]], "y": [1]}, "t.npz: 2 samples, but 1 labels"),
        ({"x": [["a"]], "y": [1]}, "t.npz: x is <U1"),
        ({"x": [[1]], "y": [b"a"]}, "t.npz: x is int64 and y |S1"),
        ({"x": [[1j]], "y": [1]}, "t.npz: x is complex128"),
        ({"x": [[1]], "y": [object()]}, "t.npz is damaged, or holds objects"),
        ({"x": 1, "y": [1]}, "t.npz: the shapes are ()"),
        ({"x": [[1]], "y": 1}, "t.npz: the shapes are (1, 1) and ()"),
        ({"x": np.zeros((0, 3)), "y": []}, "t.npz: the shapes are (0, 3)"),
        ({"x": np.zeros((3, 0)), "y": [1, 2, 3]}, "t.npz: the shapes are (3, 0)"),
        ({"x": [[1, 2], [3, np.nan]], "y": [1, 2]}, "t.npz: value 1 of sample 1 is missing"),
        ({"x": [[1, 2], [3, np.inf]], "y": [1, 2]}, "t.npz: value 1 of sample 1 is inf"),
        ({"x": [[1], [2]], "y": [1, np.nan]}, "t.npz: label 1 is missing"),
        (
            {"x": np.array([["1e400"]], np.longdouble), "y": [1]},
            "t.npz: value 0 of sample 0 is inf",
        ),
    ],
)
def test_npz_faults(arrays: dict[str, Any], message: str) -> None:
    assert refused(read_npz, npz(**arrays), "t.npz").message.startswith(message)


def idx(kind: int, shape: tuple[int, ...], data: bytes) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + data


def read_idx(images: bytes, labels: bytes, source: str, labels_source: str) -> Samples:
    return read_idx_files(io.BytesIO(images), io.BytesIO(labels), source, labels_source)


def test_idx() -> None:
    images = idx(0x08, (2, 1, 2), bytes([0, 255, 7, 8]))
    samples = read_idx(images, idx(0x08, (2,), bytes([3, 9])), "i", "l")
    assert samples.x.tolist() == [[0, 255], [7, 8]]
    assert samples.labels.tolist() == [3, 9]
    shorts = idx(0x0B, (1, 2), struct.pack(">2h", -2, 300))
    assert read_idx(shorts, idx(0x08, (1,), b"\1"), "i", "l").x.tolist() == [[-2, 300]]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (b"", b"", "i is not an IDX file"),
        (b"\0\0\x07\1\0\0\0\1\0", b"", "i is not an IDX file"),
        (b"GIF89a", b"", "i is not an IDX file"),
        (idx(8, (2, 2), b"123"), b"", "i announces 4 bytes of numbers, and has only 3"),
        (idx(8, (2, 2), b"12345"), b"", "i announces 4 bytes of numbers, and has more"),
        (b"\0\0\x08\3\0\0", b"", "i ends within its header"),
        (idx(8, (1, 1), b"1"), idx(8, (1,), b""), "l announces 1 bytes of numbers, and has only 0"),
        (idx(8, (1,) * 100, b"1"), b"", "i has 100 dimensions"),
        (idx(8, (0xFFFFFFFF,) * 3, b""), b"", "i announces 79,228,162,458,924,105,385,300,197,375"),
        (idx(0x0E, (1 << 25, 2), b""), b"", "i announces 536,870,912 bytes of numbers, and 268,"),
        (idx(8, (1, 1), b"1"), idx(8, (2,), b"12"), "i: 1 samples, but 2 labels"),
        (idx(8, (0, 1), b""), idx(8, (0,), b""), "i: the shapes are (0, 1)"),
        (
            idx(0x0D, (1, 1), b"\x7f\xc0\0\0"),
            idx(8, (1,), b"1"),
            "i: value 0 of sample 0 is missing",
        ),
    ],
)
def test_idx_faults(images: bytes, labels: bytes, message: str) -> None:
    assert refused(read_idx, images, labels, "i", "l").message.startswith(message)


_GOOD_NPZ = npz(x=np.arange(8.0).reshape(4, 2), y=np.array([1, 2, 1, 2]))
_GOOD_IDX = idx(8, (4, 2), bytes(range(8)))


@given(place=st.integers(0, len(_GOOD_NPZ) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_npz_never_surprises(place: int, byte: int, cut: bool) -> None:
    content = bytearray(_GOOD_NPZ)
    content[place] = byte
    try:
        read_npz(bytes(content[:place] if cut else content), "t.npz")
    except NnhostError as error:
        assert len(error.message.splitlines()) == 1


@given(st.binary(max_size=40), st.integers(0, len(_GOOD_IDX)))
def test_damaged_idx_never_surprises(noise: bytes, place: int) -> None:
    for images in (noise, _GOOD_IDX[:place] + noise, noise[:4] + _GOOD_IDX[4:]):
        try:
            read_idx(images, idx(8, (4,), b"1212"), "i", "l")
        except NnhostError as error:
            assert len(error.message.splitlines()) == 1


def test_files_are_found_from_the_project(tmp_path: Path) -> None:
    (tmp_path / "my data").mkdir()
    (tmp_path / "my data" / "t.CSV").write_text("1,a\n2,b\n")
    assert len(read("my data/t.CSV", None, tmp_path).x) == 2
    assert len(read(str(tmp_path / "my data" / "t.CSV"), None, Path("/")).x) == 2


def test_packed_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"1,a\n2,b\n"))
    assert read("t.csv.gz", None, tmp_path).labels.tolist() == ["a", "b"]
    images, labels = idx(8, (2, 1), b"12"), idx(8, (2,), b"\0\1")
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    assert read("t10k-images-idx3-ubyte.gz", None, tmp_path).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"1,a\n2,b\n", mtime=0)[:-9], b"\x1f\x8b\x08\0" + b"\xff" * 20],
)
def test_packed_files_that_are_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv.gz").write_bytes(content)
    error = refused(read, "t.csv.gz", None, tmp_path)
    assert "damaged" in error.message or "is empty" in error.message


def mnist(folder: Path, **changed: bytes) -> None:
    """Three images of 1x2 and their labels, two of which are for training."""
    files = {
        "train-images-idx3-ubyte": idx(8, (2, 1, 2), bytes([0, 255, 7, 8])),
        "train-labels-idx1-ubyte": idx(8, (2,), bytes([3, 9])),
        "t10k-images-idx3-ubyte": idx(8, (1, 1, 2), bytes([1, 2])),
        "t10k-labels-idx1-ubyte": idx(8, (1,), bytes([9])),
    }
    folder.mkdir(exist_ok=True)
    for name, content in (files | {k.replace("_", "-"): v for k, v in changed.items()}).items():
        (folder / name).write_bytes(content)


def test_a_folder_like_mnist(tmp_path: Path) -> None:
    mnist(tmp_path / "kin")
    samples = read("kin", None, tmp_path)
    assert samples.x.tolist() == [[0, 255], [7, 8], [1, 2]]
    assert samples.x.dtype == np.uint8
    assert samples.labels.tolist() == [3, 9, 9]
    assert samples.held == 1
    for path in list((tmp_path / "kin").iterdir()):  # as others spell and pack them
        packed = path.with_name(path.name.replace("-idx", ".idx") + ".gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert read("kin", None, tmp_path).x.tolist() == samples.x.tolist()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"t10k_images_idx3_ubyte": idx(8, (1, 1, 1), b"1")},
            "t10k-images-idx3-ubyte: rows of 1 ",
        ),
        ({"t10k_labels_idx1_ubyte": idx(8, (2,), b"12")}, "t10k-images-idx3-ubyte: 1 samples, but"),
        ({"train_labels_idx1_ubyte": b"GIF89a"}, "train-labels-idx1-ubyte is not an IDX file"),
    ],
)
def test_a_folder_with_faults(tmp_path: Path, changed: dict[str, bytes], message: str) -> None:
    mnist(tmp_path, **changed)
    assert refused(read, ".", None, tmp_path).message.startswith(message)


def test_a_folder_that_lacks_files(tmp_path: Path) -> None:
    assert "holds no train-images-idx3-ubyte, nor" in refused(read, ".", None, tmp_path).message
    mnist(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    assert "holds no t10k-images-idx3-ubyte, nor" in refused(read, ".", None, tmp_path).message
    assert "label names a column" in refused(read, ".", "y", tmp_path).message


def test_what_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist(tmp_path)
    bomb = idx(8, (MOST_BYTES, 2), bytes(1 << 20))
    (tmp_path / "bomb-images-idx3-ubyte.gz").write_bytes(gzip.compress(bomb))
    (tmp_path / "bomb-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b""))
    message = refused(read, "bomb-images-idx3-ubyte.gz", None, tmp_path).message
    assert message.startswith("bomb-images-idx3-ubyte.gz announces 536,870,912 bytes")
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 1000))
    monkeypatch.setattr("nnhost.data.sources.MOST_BYTES", 3999)
    assert "more than 3,999 bytes" in refused(read, "bomb.csv.gz", None, tmp_path).message


def test_idx_without_labels(tmp_path: Path) -> None:
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx(8, (1, 1), b"1"))
    error = refused(read, "train-images.idx3-ubyte", None, tmp_path)
    assert "train-labels.idx1-ubyte: No such file" in error.message


def test_sources_that_lead_nowhere(tmp_path: Path) -> None:
    error = refused(read, "digit", None, tmp_path)
    assert isinstance(error, UsageError)
    assert error.help == 'did you mean "digits"?'
    assert "there are: xor, iris" in refused(read, "zzz.csv", None, tmp_path).help
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    assert "of no kind" in refused(read, "t.xlsx", None, tmp_path).message
    (tmp_path / "t.npz").write_bytes(_GOOD_NPZ)
    assert "label names a column" in refused(read, "t.npz", "y", tmp_path).message


def test_the_label_of_a_shipped_set(tmp_path: Path) -> None:
    samples = read("wine", "alcohol", tmp_path)
    assert samples.labels[0] == 14.23
    assert samples.features[-1] == "cultivar"
