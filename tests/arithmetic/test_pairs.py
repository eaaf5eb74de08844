"""Every two members of the repertoire work together, or are refused for one of these reasons."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import pytest

from nnhost.activations import ACTIVATIONS
from nnhost.data import Dataset, load
from nnhost.errors import UsageError
from nnhost.initializers import INITIALIZERS
from nnhost.losses import LOSSES
from nnhost.lower import lower
from nnhost.optimizers import OPTIMIZERS
from nnhost.plan import PRESETS, make_plan
from nnhost.project import DELIVERIES, Project, load_project
from nnhost.schedules import SCHEDULES

#: The members of each family, as overrides of nn.toml. Batch normalisation brings its batch.
FAMILIES: dict[str, list[list[str]]] = {
    "optimizer": [[f"train.optimizer={name}"] for name in OPTIMIZERS],
    "activation": [[f"net.activation={name}"] for name in ACTIVATIONS],
    "loss": [[f"net.loss={name}"] for name in LOSSES],
    "schedule": [[f"train.schedule={name}"] for name in SCHEDULES],
    "warmup": [["train.warmup=0.5"]],
    "init": [[f"net.init={name}"] for name in INITIALIZERS],
    "preset": [[f"net.preset={name}"] for name in PRESETS],
    "batch": [["train.batch=8"], ['train.batch="full"']],
    "delivery": [[f"data.delivery={name}"] for name in DELIVERIES],
    "batch_norm": [["net.batch_norm=true"]],
    "dropout": [["net.dropout=0.3"]],
    "clip_value": [["train.clip_value=0.5"]],
    "clip_norm": [["train.clip_norm=0.5"]],
    "l1": [["train.l1=0.001"]],
    "l2": [["train.l2=0.001"]],
    "label_smoothing": [["train.label_smoothing=0.1"]],
    "class_weights": [["train.class_weights=balanced"]],
    "online": [["train.online=true"]],
    "augment": [["data.augment={noise = 0.1}"]],
    "early_stopping": [["train.early_stopping=3", "data.validation=0.2"]],
    "stop_loss": [["train.stop_loss=0.1"]],
    "max_steps": [["train.max_steps=100"]],
    "max_time": [["train.max_time=10"]],
}
HOST = 'and a board with delivery = "flash" trains alone'
#: What each pair is refused for: words of the error.
REASONS = {
    ("loss", "label_smoothing"): "has no label smoothing",
    ("optimizer", "batch_norm"): "batch_norm has no update by kfac",
    ("optimizer", "delivery"): HOST,
    **{("delivery", key): HOST for key in (
        "online", "augment", "early_stopping", "stop_loss", "max_steps", "max_time")},
    ("schedule", "online"): "plateau compares epochs",
    ("online", "early_stopping"): "validation holds samples out",
}  # fmt: skip
NET = """
[net]
hidden = [5, 4]
[data]
source = "iris"
[board]
name = "sim8052"
"""
_DATA: dict[tuple[bool, bool], Dataset] = {}


def read(project: Project) -> Dataset:
    """Iris, once for each way to take it apart."""
    key = project.train.online, project.data.validation > 0
    if key not in _DATA:
        _DATA[key] = load(project.data, 1, project.root, in_order=key[0])
    return _DATA[key]


@pytest.mark.parametrize("first", FAMILIES)
def test_every_pair_is_planned_or_refused_for_a_reason(first: str, tmp_path: Path) -> None:
    (tmp_path / "nn.toml").write_text(NET)
    others = list(FAMILIES)[list(FAMILIES).index(first) + 1 :]
    refused: set[tuple[str, str]] = set()
    for second in others:
        for one, other in product(FAMILIES[first], FAMILIES[second]):
            keys = [*one, *other]
            if "batch_norm" in (first, second) and "batch" not in (first, second):
                keys.append("train.batch=8")
            try:
                project = load_project(tmp_path, keys)
                make_plan(project, read(project))
            except UsageError as error:
                reason = REASONS.get((first, second))
                assert reason, (keys, error.message)
                assert reason in error.message, keys
                assert error.help, keys
                refused.add((first, second))
    assert refused == {pair for pair in REASONS if pair[0] == first}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_that_changes_an_update_at_once(optimizer: str, tmp_path: Path) -> None:
    """Whatever may be in one net is in it, and is proven."""
    (tmp_path / "nn.toml").write_text(NET)
    extras = ["train.clip_value=0.5", "train.clip_norm=0.5", "train.l1=0.001", "train.l2=0.001",
              "net.dropout=0.3", "train.schedule=one-cycle", "train.warmup=0.5"]  # fmt: skip
    if optimizer != "kfac":
        extras.append("net.batch_norm=true")
    for preset, batch in product(PRESETS, ("8", '"full"')):
        keys = [f"train.optimizer={optimizer}", f"net.preset={preset}", f"train.batch={batch}"]
        project = load_project(tmp_path, [*keys, *extras])
        program = lower(make_plan(project, read(project)))
        assert any(m.name == "norm" for m in program.sections["update"])


def test_families_are_all_there() -> None:
    """Members of one family exclude each other, and no other pair is left out."""
    pairs = list(combinations(FAMILIES, 2))
    assert len(pairs) == len(set(pairs))
    assert set(REASONS) <= set(pairs)
