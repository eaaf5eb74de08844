"""[data] augment: what it changes, and that everyone sees the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnhost.augment import Augmentation
from nnhost.errors import UsageError
from nnhost.fixed import Format, unsigned
from nnhost.generate import prepare
from nnhost.ir import Interval
from nnhost.paths import examples_dir
from nnhost.plan import Samples
from nnhost.project import AugmentSpec, load_project
from nnhost.simulation import simulate

WIDE = Format(Interval(-32768, 32767), 10)


def some(x: np.ndarray) -> Samples:
    return Samples(x, np.zeros(len(x), np.int64), "<i2", "u1")


def shown(x: np.ndarray, epoch: int = 1, *, form: Format = WIDE, **spec: object) -> np.ndarray:
    """What an epoch shows of samples (N, ...)."""
    augmentation = Augmentation.of(
        AugmentSpec(**spec), x.shape[1:] if x.ndim > 2 else (), x[0].size, form, seed=7
    )
    assert augmentation is not None
    return augmentation.all(some(x.reshape(len(x), -1)), epoch).x.reshape(x.shape)


def test_the_samples_never_change() -> None:
    x = np.arange(12).reshape(2, 2, 3) * 10
    found = shown(x, shift=1, flip=True, noise=0.002, scale=0.1)
    assert found.tolist() == [[[-2, 33, 44], [-3, 1, 3]], [[90, 84, -3], [1, -1, -2]]]


def moves(image: np.ndarray, by: int) -> dict[bytes, tuple[int, int]]:
    """All places that an image can move to, by their bytes."""
    height, width = image.shape
    large = np.zeros((height + 2 * by, width + 2 * by), np.int64)
    large[by : by + height, by : by + width] = image
    return {
        large[by - down : by - down + height, by - right : by - right + width].tobytes():
            (down, right)
        for down in range(-by, by + 1)
        for right in range(-by, by + 1)
    }  # fmt: skip


def test_images_move_everywhere_alike() -> None:
    image = np.arange(1, 21).reshape(4, 5)
    places = moves(image, 2)
    counts = dict.fromkeys(places.values(), 0)
    for found in shown(np.array([image] * 5000), shift=2):
        counts[places[np.ascontiguousarray(found).tobytes()]] += 1
    assert len(counts) == 25
    assert 130 < min(counts.values()) <= max(counts.values()) < 270  # of 200: five deviations


def test_half_of_the_images_are_mirrored_and_channels_stay_together() -> None:
    image = np.arange(1, 19).reshape(2, 3, 3)
    found = shown(np.array([image] * 2000), flip=True)
    mirrored = (found == image[:, ::-1]).all(axis=(1, 2, 3))
    assert ((found == image).all(axis=(1, 2, 3)) | mirrored).all()
    assert 880 < mirrored.sum() < 1120


def test_a_mirrored_image_moves_as_others_do() -> None:
    image = np.arange(1, 13).reshape(3, 4)
    places = moves(image, 1) | moves(image[:, ::-1], 1)
    found = {np.ascontiguousarray(x).tobytes() for x in shown(np.array([image] * 500),
                                                              shift=1, flip=True)}  # fmt: skip
    assert found == set(places)


def test_noise_has_its_deviation_and_no_mean() -> None:
    for deviation in (0.0002, 0.1):  # a fifth of the last bit, and a hundred of it
        found = shown(np.zeros((4000, 16), np.int64), noise=deviation)
        bits = deviation * 1024
        # What is below 1 becomes 1 as often as it is large: its variance is the mean magnitude.
        wanted = bits if bits > 1 else np.sqrt(bits * np.sqrt(2 / np.pi))
        assert found.std() == pytest.approx(wanted, rel=0.03)
        assert abs(found.mean()) < 5 * found.std() / np.sqrt(found.size)


def test_a_sample_is_scaled_as_a_whole() -> None:
    found = shown(np.array([[1000, -2000, 0]] * 3000), scale=0.25)
    assert found[:, 0].min() == pytest.approx(750, abs=2)
    assert found[:, 0].max() == pytest.approx(1250, abs=2)
    assert np.abs(found[:, 1] + 2 * found[:, 0]).max() <= 2
    assert not found[:, 2].any()


def test_what_leaves_the_format_is_clipped() -> None:
    form = Format(unsigned(8), 7)
    found = shown(np.array([[0, 255]] * 200), form=form, noise=0.5)
    assert found.min() >= 0
    assert found.max() <= 255


def test_epochs_rows_and_seeds_differ_and_a_row_is_as_among_all() -> None:
    x = np.full((2100, 6), 500)
    spec = AugmentSpec(noise=0.1)
    one, other = (Augmentation(spec, (), WIDE, seed) for seed in (1, 2))
    first = one.all(some(x), 1).x
    assert (first == one.all(some(x), 1).x).all()
    assert len(np.unique(first, axis=0)) == 2100
    for different in (one.all(some(x), 2).x, other.all(some(x), 1).x):
        assert (first != different).any(axis=1).all()
    for row in (0, 1, 1023, 1024, 2099):
        assert (one.row(some(x), row, 1).x[0] == first[row]).all()


def test_both_engines_train_on_the_same_samples() -> None:
    keys = "data.augment={shift=1, flip=true, noise=0.1, scale=0.2}"
    project = load_project(examples_dir() / "digits", [keys])
    results = [simulate(project, engine=e, steps=2000) for e in ("numpy", "native")]
    plain = simulate(load_project(examples_dir() / "digits"), engine="native", steps=2000)
    assert results[0].digest == results[1].digest != plain.digest


def test_shapes_come_from_the_data_or_from_nn_toml(tmp_path: Path) -> None:
    digits = prepare(load_project(examples_dir() / "digits", ["data.augment={shift=1}"]))
    assert digits.augmentation is not None
    assert digits.augmentation.shape == (8, 8)
    np.savez(tmp_path / "set.npz", x=np.eye(12).reshape(12, 3, 4), y=np.arange(12) % 2)
    (tmp_path / "nn.toml").write_text(
        '[net]\nhidden = []\n[data]\nsource = "set.npz"\naugment = { shift = 1 }\n'
        '[board]\nname = "host"\n'
    )
    found = prepare(load_project(tmp_path)).augmentation
    assert found is not None
    assert found.shape == (3, 4)
    assert prepare(load_project(tmp_path, ["data.shape=[4, 3]"])).augmentation.shape == (4, 3)
    with pytest.raises(UsageError, match="has 16 numbers, a sample 12"):
        prepare(load_project(tmp_path, ["data.shape=[4, 4]"]))
    np.savez(tmp_path / "set.npz", x=np.eye(12), y=np.arange(12) % 2)
    with pytest.raises(UsageError, match="the shape of these is not known"):
        prepare(load_project(tmp_path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.augment={shft=1}", "must be a table of shift, flip, noise, scale"),
        ("data.augment=3", "must be a table of"),
        ("data.augment={shift=-1}", "a table whose shift is a whole number from 0"),
        ("data.augment={flip=1}", "a table whose flip is true or false"),
        ("data.shape=[8]", "must be rows, columns"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_project(examples_dir() / "digits", [override])


def test_a_board_that_trains_alone_is_refused() -> None:
    with pytest.raises(UsageError, match="augment is the host's part"):
        load_project(examples_dir() / "digits", ["data.delivery=flash", "data.augment={noise=0.1}"])
