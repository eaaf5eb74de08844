"""The generated C of a few tiny nets, kept to be read: a change of one line shows in a review.

``NNHOST_UPDATE_GOLDEN=1 pytest tests/arithmetic/test_golden.py`` writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nnhost import boards
from nnhost.generate import board_sources, prepare
from nnhost.paths import examples_dir
from nnhost.project import load_project

GOLDEN = Path(__file__).parent / "golden"
NETS = {
    "xor_q8_8051": ("xor", "sim89c52", []),
    "iris_q16_momentum_cortex_m": (
        "iris", "qemu-m4", ["net.preset=q16", "net.hidden=[3]", "train.optimizer=momentum"]
    ),
    "iris_mse_batch_host": (
        "iris", "host", ["net.loss=mse", "net.hidden=[]", "train.batch=8"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_the_generated_c_is_as_reviewed(name: str) -> None:
    example, board, overrides = NETS[name]
    network = prepare(load_project(examples_dir() / example, overrides))
    text = board_sources(network, boards.get(board))["nn_net.c"]
    kept = GOLDEN / f"{name}.c"
    if os.environ.get("NNHOST_UPDATE_GOLDEN"):
        kept.write_text(text)
    assert text == kept.read_text()


def test_generation_is_reproducible() -> None:
    def files() -> dict[str, str]:
        network = prepare(load_project(examples_dir() / "iris", ["data.delivery=flash"]))
        return board_sources(network, boards.get("simstc8"))

    first = files()
    assert first == files()
    everything = "".join(first.values())
    assert str(Path.cwd()) not in everything
    assert "nnhost build --board simstc8" in everything
