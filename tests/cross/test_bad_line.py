"""Whatever happens on the line to a virtual board: the weights are right, nothing is done twice,
the run ends."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from helpers.bad_wire import CLOCK, BadWire
from helpers.damage import Chance, train_undisturbed

from nnhost.apart import flashed_apart
from nnhost.boards import get
from nnhost.generate import prepare
from nnhost.project import load_project
from nnhost.run.boards import open_board
from nnhost.simulation import simulate
from nnhost.twin import Twin

BOARDS = ("simstc8", "qemu-m3")
#: Seeded faults, all boards together; `make soak` asks for more.
FAULTS = int(os.environ.get("NNHOST_BOARD_FAULTS", "500"))
#: The first seed of all boards, to have a failure again.
SEED = int(os.environ.get("NNHOST_SEED", "0"))
#: Faults a frame.
RATES = (0.1, 0.25, 0.35)
#: Faults of a run, after which the line is quiet.
QUOTA = 50

#: A sample is two frames, the state ten; an epoch is 52 steps.
NET = """
[net]
hidden = [2]
preset = "q16"
[train]
lr = 0.05
epochs = 1
batch = 4
[data]
source = "digits"
test = 0.97
"""


@pytest.mark.parametrize("name", BOARDS)
def test_training_is_exact_and_ends(name: str, tmp_path: Path) -> None:
    """Damaged, lost, late, doubled and old frames, restarts and cut cables."""
    (tmp_path / "nn.toml").write_text(f'{NET}[board]\nname = "{name}"\n')
    project, board = load_project(tmp_path), get(name)
    network = prepare(project)
    reference = simulate(project)
    faults = restarts = 0
    with flashed_apart(project, board) as (moved, _):
        for number in count(SEED // len(BOARDS)):
            seed = number * len(BOARDS) + BOARDS.index(name)
            chance = Chance(seed, RATES[number % len(RATES)], QUOTA)
            wire = BadWire(lambda: open_board(moved.root, board), chance)
            with closing(wire), Twin(network, name, wire.connect, tmp_path, clock=CLOCK) as twin:
                result, position = train_undisturbed(twin, reference, f"{name}, seed {seed}")
            if result.link is not None and result.link.lost == 0:
                # Each request, however often it was sent; the counters go on after the training.
                assert position.executed == result.link.received, f"{name}, seed {seed}"
            faults += chance.faults
            restarts += wire.restarts
            if number % 10 == 9:
                told = f"{name}: {faults:,} faults, {restarts} restarts, seeds to {seed}"
                print(told, file=sys.stderr, flush=True)
            if faults >= FAULTS // len(BOARDS):
                break
