"""[train] class_weights, from nn.toml to the plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnhost.errors import UsageError
from nnhost.generate import prepare
from nnhost.project import load_project

NET = """
[net]
hidden = [3]
[data]
source = "rows.csv"
test = 0
[board]
name = "host"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nn.toml").write_text(NET)
    (tmp_path / "rows.csv").write_text("a,b,kind\n" + "1,2,x\n2,1,y\n3,1,y\n0,3,y\n" * 3)
    return tmp_path


def test_balanced_weights_are_those_of_scikit_learn(folder: Path) -> None:
    plan = prepare(load_project(folder, ["train.class_weights=balanced"])).plan
    assert plan.top_weight == 12 / (2 * 3)
    assert plan.class_weights == (32768, round(32768 / 3))
    plain = prepare(load_project(folder)).plan
    assert plan.loss_scale == 2 * plain.loss_scale
    m, s = plan.layers[0].rate
    assert m * 2.0**-s == 2 * 0.03125


@pytest.mark.parametrize("weights", ["unfair", "[0, 0]", "[-1, 1]", "3"])
def test_what_is_no_weight_is_refused(folder: Path, weights: str) -> None:
    with pytest.raises(UsageError, match='class_weights must be "balanced", or'):
        load_project(folder, [f"train.class_weights={weights}"])


def test_weights_are_counted(folder: Path) -> None:
    with pytest.raises(UsageError, match="3 weights for 2 classes") as caught:
        prepare(load_project(folder, ["train.class_weights=[1, 2, 3]"]))
    assert caught.value.help.endswith("x, y")


def test_targets_have_no_classes(folder: Path) -> None:
    (folder / "rows.csv").write_text("a,b\n1,0.5\n2,1.5\n3,2.5\n")
    with pytest.raises(UsageError, match="no classes to weigh"):
        prepare(load_project(folder, ["net.loss=mse", "train.class_weights=balanced"]))
