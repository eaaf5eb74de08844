"""Data sets as training sees them: shipped sets, split, scales, labels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nnhost.data import SHIPPED, Dataset, load
from nnhost.data.scaling import fit_inputs
from nnhost.data.split import split
from nnhost.errors import NnhostError
from nnhost.project import SCALES, DataSpec

HERE = Path()


def spec(source: str, test: float = 0.2, scale: str = "auto", label: str | None = None) -> DataSpec:
    return DataSpec(source, test, scale, "stream", label)


def load_csv(folder: Path, text: str, test: float = 0.0, scale: str = "none") -> Dataset:
    (folder / "t.csv").write_text(text)
    return load(spec("t.csv", test, scale), 1, folder)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "kind"),
    [
        ("xor", (4, 2), "0 1", "range"),
        ("iris", (150, 4), "setosa versicolor virginica", "z-score"),
        ("wine", (178, 13), "1 2 3", "z-score"),
        ("breast_cancer", (569, 30), "benign malignant", "z-score"),
        ("digits", (1797, 64), "0 1 2 3 4 5 6 7 8 9", "range"),
    ],
)
def test_shipped_sets(name: str, shape: tuple[int, int], classes: str, kind: str) -> None:
    data = load(spec(name, test=0), 1, HERE)
    assert (data.name, data.task, data.kind) == (name, "classification", kind)
    assert data.x_train.shape == shape
    assert data.x_train.dtype == np.float64
    assert data.y_train.dtype == np.int64
    assert data.classes == tuple(classes.split())
    assert len(data.features) == shape[1]
    assert data.target_scaling is None
    assert data.x_test.shape == (0, shape[1])
    assert data.y_test.shape == (0,)


def test_every_shipped_set_is_tested() -> None:
    assert set(SHIPPED) == {"xor", "iris", "wine", "breast_cancer", "digits", "mnist_sample"}


def test_a_source_with_its_own_split_keeps_it() -> None:
    data = load(spec("mnist_sample", test=0.5), 1, HERE)
    assert (data.x_train.shape, data.x_test.shape) == ((400, 784), (100, 784))
    assert np.bincount(data.y_train).tolist() == [40] * 10
    assert np.bincount(data.y_test).tolist() == [10] * 10
    # The first of MNIST's test images, as everyone knows them; the order of the others is drawn.
    assert data.y_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert (data.kind, data.input_scaling.factor.tolist()) == ("range", [1 / 255] * 784)
    other = load(spec("mnist_sample"), 2, HERE)
    assert np.array_equal(other.x_test, data.x_test)
    assert not np.array_equal(other.y_train, data.y_train)


def test_shipped_numbers_are_those_of_the_sources() -> None:
    iris = load(spec("iris", 0, "none"), 1, HERE)
    assert iris.features[2] == "petal length (cm)"
    # The means of Fisher's table, as his paper and every textbook give them.
    assert iris.x_train.mean(axis=0) == pytest.approx([5.843333, 3.057333, 3.758, 1.199333])
    assert np.bincount(iris.y_train).tolist() == [50, 50, 50]
    cancer = load(spec("breast_cancer", 0, "none"), 1, HERE)
    assert np.bincount(cancer.y_train).tolist() == [357, 212]
    assert np.bincount(load(spec("wine", 0), 1, HERE).y_train).tolist() == [59, 71, 48]
    digits = load(spec("digits", 0, "none"), 1, HERE)
    assert digits.x_train.max() == 16
    assert np.bincount(digits.y_train).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]


def test_the_split_never_changes() -> None:
    """The rows held out, and their order, are part of what a seed means: results depend on it."""
    rows = load(spec("digits"), 1, HERE)
    held = hashlib.sha256((rows.x_test * 16).astype(np.uint8).tobytes()).hexdigest()[:16]
    kept = hashlib.sha256((rows.x_train * 16).astype(np.uint8).tobytes()).hexdigest()[:16]
    assert (held, kept) == ("619663c7ee07b4f5", "4d6ad16235ee5f5b")


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    share=st.floats(0, 0.999),
    seed=st.integers(1, 65535),
)
def test_split_is_a_stratified_partition(counts: list[int], share: float, seed: int) -> None:
    strata = np.repeat(np.arange(len(counts)), counts)
    train, test = split(strata, share, seed)
    assert sorted(train + test) == list(range(len(strata)))
    held = np.bincount(strata[test], minlength=len(counts))
    for count, out in zip(counts, held.tolist(), strict=True):
        assert out == min(int(count * share + 0.5), count - 1)
    assert split(strata, share, seed) == (train, test)


def test_training_rows_come_in_no_particular_order() -> None:
    """Each class is as likely in each place: over 600 seeds, within five standard deviations."""
    strata = np.repeat([0, 1, 2], [20, 50, 80])
    places = np.zeros((120, 3))
    for seed in range(1, 601):
        train, _ = split(strata, 0.2, seed)
        places[np.arange(120), strata[train]] += 1
    share = np.array([16, 40, 64]) / 120
    assert np.all(np.abs(places - 600 * share) < 5 * np.sqrt(600 * share * (1 - share)))


def test_seeds_differ() -> None:
    strata = np.zeros(100, np.int64)
    assert len({tuple(split(strata, 0.2, seed)[1]) for seed in range(1, 101)}) == 100


def test_a_truth_table_is_not_taken_apart() -> None:
    data = load(spec("xor", 0.5), 1, HERE)
    assert data.x_train.shape == (4, 2)
    assert np.array_equal(data.x_test, data.x_train)
    assert np.array_equal(data.y_test, data.y_train)
    assert np.array_equal(data.y_train, data.x_train.sum(axis=1) == 1)


def test_range_scales_images_as_a_whole() -> None:
    data = load(spec("digits", 0), 1, HERE)
    raw = load(spec("digits", 0, "none"), 1, HERE)
    assert np.array_equal(data.x_train, raw.x_train / 16)
    assert data.input_scaling.factor.tolist() == [1 / 16] * 64


def test_range_scales_columns_by_themselves() -> None:
    data = load(spec("iris", 0.2, "range"), 1, HERE)
    assert data.kind == "range"
    assert data.x_train.min(axis=0).tolist() == [0] * 4
    assert data.x_train.max(axis=0) == pytest.approx(np.ones(4))
    assert data.x_test.min() >= 0
    assert data.x_test.max() <= 1


def test_z_scores() -> None:
    data = load(spec("wine", 0.2), 3, HERE)
    assert data.x_train.mean(axis=0) == pytest.approx(np.zeros(13), abs=1e-12)
    assert data.x_train.std(axis=0) == pytest.approx(np.ones(13))


def test_scales_are_fitted_on_the_training_rows_alone() -> None:
    data = load(spec("iris", 0.5), 1, HERE)
    raw = load(spec("iris", 0.5, "none"), 1, HERE)
    mean, deviation = raw.x_train.mean(axis=0), raw.x_train.std(axis=0)
    assert data.x_test == pytest.approx((raw.x_test - mean) / deviation)
    assert abs(data.x_test.mean()) > 1e-6


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ("0,200,a\n255,3,b", "range"),
        ("0,200,a\n256,3,b", "z-score"),  # beyond a byte
        ("0,200.5,a\n255,3,b", "z-score"),  # no whole numbers
        ("-1,200,a\n255,3,b", "z-score"),  # negative
        ("0,2,a\n255,3,b", "z-score"),  # columns of different scales
        ("0,0,200,a\n0,0,3,b", "range"),  # constant pixels say nothing
        ("7,7,a\n7,7,b", "z-score"),  # nothing varies
    ],
)
def test_auto_tells_images_from_tables(tmp_path: Path, rows: str, kind: str) -> None:
    assert load_csv(tmp_path, rows, scale="auto").kind == kind


@pytest.mark.parametrize("scale", ["auto", "range", "z-score"])
def test_constant_columns_become_zero(tmp_path: Path, scale: str) -> None:
    data = load_csv(tmp_path, "0.1,1,a\n0.1,2,b\n0.1,4,a\n", scale=scale)
    assert data.x_train[:, 0].tolist() == [0, 0, 0]


def test_none_leaves_the_numbers_alone(tmp_path: Path) -> None:
    assert load_csv(tmp_path, "0,1,a\n0.5,0.25,b\n").kind == "range"
    data = load_csv(tmp_path, "0,1,a\n-0.5,0.25,b\n")
    assert data.kind == "z-score"
    assert sorted(data.x_train[:, 0].tolist()) == [-0.5, 0]


@given(
    x=arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 20), st.integers(1, 4)),
        elements=st.floats(-1e30, 1e30),
    ),
    scale=st.sampled_from(SCALES),
)
def test_scaled_numbers_are_finite_and_in_range(
    x: np.ndarray[tuple[int, int], np.dtype[np.float64]], scale: str
) -> None:
    scaling = fit_inputs(x, scale)
    scaled = scaling.apply(x)
    assert np.all(np.isfinite(scaled))
    if scaling.kind == "range":
        assert scaled.min() >= 0
        assert scaled.max() <= 1
    elif scale != "none":
        assert np.all(np.abs(scaled) <= np.sqrt(len(x)) + 1e-6)


def test_whole_numbers_are_classes_in_numeric_order(tmp_path: Path) -> None:
    data = load_csv(tmp_path, "1,10\n2,9\n3,-1\n4,9.0\n")
    assert data.classes == ("-1", "9", "10")
    assert sorted(data.y_train.tolist()) == [0, 1, 1, 2]


def test_text_labels_are_classes_in_alphabetic_order(tmp_path: Path) -> None:
    data = load_csv(tmp_path, "1,b\n2,a\n3,10\n4,b\n")
    assert data.classes == ("10", "a", "b")


def test_fractions_are_targets(tmp_path: Path) -> None:
    data = load_csv(tmp_path, "1,10\n2,9.5\n3,-1\n4,9\n", test=0.25)
    assert (data.task, data.classes) == ("regression", ())
    assert data.y_train.shape == (3, 1)
    assert data.y_test.shape == (1, 1)
    assert data.y_train.mean() == pytest.approx(0)
    assert data.y_train.std() == pytest.approx(1)
    assert data.target_scaling is not None
    back = np.vstack([data.y_train, data.y_test]) / data.target_scaling.factor
    assert sorted((back + data.target_scaling.offset).ravel()) == pytest.approx([-1, 9, 9.5, 10])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,a\n2,a\n", 't.csv: every row is of class "a"'),
        ("1,7\n2,7.0\n", 't.csv: every row is of class "7"'),
        ("1,0.5\n2,0.5\n", "t.csv: all training targets are the same"),
        ("".join(f"{i},{i}\n" for i in range(257)), "t.csv: 257 classes, and 256 are the most"),
    ],
)
def test_labels_that_teach_nothing(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(NnhostError) as caught:
        load_csv(tmp_path, text)
    assert caught.value.message.startswith(message)
    assert "label" in caught.value.help


def test_256_classes_are_not_too_many(tmp_path: Path) -> None:
    data = load_csv(tmp_path, "".join(f"{i},{i}\n" for i in range(256)))
    assert len(data.classes) == 256
