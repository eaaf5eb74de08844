"""Every virtual board trains xor, iris and digits as both engines of the simulator do.

One combination by default, each of the twelve with ``make verify`` (NNHOST_FULL_MATRIX=1).
"""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest

from nnhost import simulate
from nnhost.boards import BOARDS
from nnhost.paths import examples_dir
from nnhost.project import load_project
from nnhost.verify import choose, verify

STEPS = 200
#: 8 KB of flash and 256 bytes of each RAM hold xor in q8, and nothing larger.
SMALLEST = "sim89c52"
QUICK = [("digits", "momentum", "q8")]
FULL = list(product(("xor", "iris", "digits"), ("sgd", "momentum"), ("q8", "q16")))


@pytest.mark.parametrize(
    ("example", "optimizer", "preset"), FULL if os.environ.get("NNHOST_FULL_MATRIX") else QUICK
)
def test_all_boards_agree_with_both_engines(example: str, optimizer: str, preset: str) -> None:
    lr = {"sgd": 0.03125, "momentum": 0.00390625}[optimizer]
    overrides = [f"train.optimizer={optimizer}", f"net.preset={preset}", f"train.lr={lr}"]
    project = load_project(examples_dir() / example, overrides)
    digests = {simulate(project, engine=e, steps=STEPS).digest for e in ("numpy", "native")}
    assert len(digests) == 1

    verdicts = {v.board: v for v in verify(project, choose(["all"]), STEPS)}

    assert set(verdicts) == {b.name for b in BOARDS.values() if b.kind == "virtual"}
    refused = {name for name, v in verdicts.items() if v.outcome == "refused"}
    fits = (example, preset) == ("xor", "q8")
    assert refused == (set() if fits else {SMALLEST})
    for name, verdict in verdicts.items():
        if name in refused:
            assert "more than there are" in verdict.message, name
        else:
            assert (verdict.outcome, verdict.steps) == ("exact", STEPS), f"{name}: {verdict}"
            assert {verdict.digest} == digests, name


def test_xor_learns_without_a_mistake_on_the_smallest_board() -> None:
    from nnhost import virtual_board

    with virtual_board(load_project(examples_dir() / "xor"), "sim89c52") as board:
        result = board.train()
    assert result.exact
    assert result.train_accuracy == 1.0


def test_a_board_that_trains_from_its_flash_agrees_too() -> None:
    project = load_project(examples_dir() / "iris", ["data.delivery=flash", "train.epochs=2"])
    rows = 120
    verdicts = verify(project, choose(["simstc8", "qemu-m0", "host"]), 2 * rows)
    assert {(v.outcome, v.steps) for v in verdicts} == {("exact", 2 * rows)}
    streamed = load_project(examples_dir() / "iris", ["train.epochs=2"])
    assert {v.digest for v in verdicts} == {simulate(streamed, engine="native").digest}


def test_a_sample_may_be_longer_than_any_frame(tmp_path: Path) -> None:
    """300 inputs travel in several messages."""
    rows = ["".join(f"{(7 * i * k) % 11}," for k in range(300)) + str(i % 2) for i in range(12)]
    head = "".join(f"x{k}," for k in range(300)) + "y"
    (tmp_path / "data.csv").write_text("\n".join([head, *rows]) + "\n")
    (tmp_path / "nn.toml").write_text(
        '[net]\nhidden = [3]\n[data]\nsource = "data.csv"\ntest = 0\n[board]\nname = "host"\n'
    )
    project = load_project(tmp_path)
    verdicts = verify(project, choose(["simstc8", "qemu-m0"]), 12)
    assert {(v.outcome, v.steps) for v in verdicts} == {("exact", 12)}, verdicts
    assert {v.digest for v in verdicts} == {simulate(project, engine="native", steps=12).digest}


@pytest.mark.parametrize("board", ["simstc8", "qemu-m0"])
def test_boards_take_the_curvature_from_the_host(board: str) -> None:
    overrides = ["train.optimizer=kfac", "train.kfac_every=50", "train.epochs=2"]
    project = load_project(examples_dir() / "iris", overrides)
    (verdict,) = verify(project, choose([board]), 240)
    assert verdict.outcome == "exact", verdict
    assert verdict.digest == simulate(project, engine="native").digest


@pytest.mark.parametrize("board", ["simstc8", "qemu-m0"])
def test_boards_regularise_as_simulated(board: str) -> None:
    """Training and evaluation alternate, which dropout tells apart."""
    from nnhost import virtual_board

    overrides = ["net.dropout=0.25", "train.epochs=4", "train.early_stopping=1"]
    overrides += ["data.validation=0.2", "train.lr=0.3", "train.class_weights=[1, 0.5, 2]"]
    overrides += ["data.augment={noise=0.1, scale=0.1}"]
    project = load_project(examples_dir() / "iris", overrides)
    wanted = simulate(project, engine="native")
    with virtual_board(project, board) as trained:
        result = trained.train()
    assert result.exact
    assert (result.digest, result.train, result.test) == (wanted.digest, wanted.train, wanted.test)
    assert (result.ended_by, result.best) == ("early_stopping", wanted.best)
    assert result.kept_step < result.steps


def test_boards_learn_online_as_simulated(tmp_path: Path) -> None:
    (tmp_path / "nn.toml").write_text(
        '[net]\nhidden = [4]\n[train]\nonline = true\nbatch = 4\n[data]\nsource = "wine"\n'
        '[board]\nname = "host"\n'
    )
    project = load_project(tmp_path)
    verdicts = verify(project, choose(["simstc8", "qemu-m0"]), 100)
    assert {(v.outcome, v.steps) for v in verdicts} == {("exact", 100)}
    assert {v.digest for v in verdicts} == {simulate(project, engine="native", steps=100).digest}
