"""Whatever happens on the line: the weights are right, nothing is done twice, the run ends."""

from __future__ import annotations

import os
import sys
from itertools import count

import pytest
from helpers.damage import Chance, train_undisturbed

from nnhost.twin import Twin

#: Seeded faults of a test run; `make soak` asks for more.
FAULTS = int(os.environ.get("NNHOST_FAULTS", "10000"))
PARTS = 10
#: The first seed of all parts, to have a failure again.
SEED = int(os.environ.get("NNHOST_SEED", "0"))
#: Faults a frame. At the last, three of five exchanges fail.
RATES = (0.1, 0.25, 0.35)
#: Faults of a run, after which the line is quiet.
QUOTA = 200
#: Runs between two lines of `make soak`.
TOLD = 50


def run(wide, folder, seed, window):
    """Train with the faults of a seed; how many there were."""
    number = seed // (2 * PARTS)
    chance = Chance(seed, RATES[number % len(RATES)], QUOTA, bool(seed % 2))
    world = wide.world(chance, window)
    with Twin(wide.network, "host", world.connect, folder, clock=world.clock) as twin:
        reference = wide.reference(None)
        result, _ = train_undisturbed(twin, reference, f"seed {seed}", score=number % 8 == 0)
    if result.link is not None and result.link.lost == 0:
        assert world.board.steps_made == result.steps, f"seed {seed}"
    return chance.faults


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("accidents", [True, False])
@pytest.mark.parametrize("window", [1, 2])
def test_training_is_exact_and_ends(wide, tmp_path, part, accidents, window):
    """Damaged, lost, late, doubled and old frames; with `accidents`, restarts and cut cables."""
    faults = 0
    for number in count(SEED // (2 * PARTS)):
        seed = (number * PARTS + part) * 2 + accidents
        faults += run(wide, tmp_path, seed, window)
        if number % TOLD == TOLD - 1:
            told = f"part {part}, accidents {accidents}: {faults:,} faults, seeds to {seed:,}"
            print(told, file=sys.stderr, flush=True)
        if faults >= FAULTS // PARTS // 4:
            break


@pytest.mark.parametrize("seed", [1119, 2861])
def test_what_a_long_run_has_found(wide, tmp_path, seed):
    """A WELCOME of before a restart was believed; a lost report, of a step that was lost too."""
    run(wide, tmp_path, seed, 2)
