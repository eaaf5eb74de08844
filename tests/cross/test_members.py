"""Every member of the repertoire on every virtual board, in nets that take one of each family.

The first net on two boards by default, all on all with ``make verify`` (NNHOST_FULL_MATRIX=1).
"""

from __future__ import annotations

import os

import pytest

from nnhost import simulate
from nnhost.activations import ACTIVATIONS
from nnhost.errors import UsageError
from nnhost.generate import prepare
from nnhost.initializers import INITIALIZERS
from nnhost.losses import LOSSES
from nnhost.optimizers import OPTIMIZERS
from nnhost.paths import examples_dir
from nnhost.plan import PRESETS
from nnhost.project import load_project
from nnhost.schedules import SCHEDULES
from nnhost.verify import choose, verify

#: Two epochs and a bit of iris.
STEPS = 260
REGULARISERS = (
    ["train.clip_value=0.5"],
    ["train.l1=0.0005", "train.l2=0.002"],
    ["net.dropout=0.2"],
    ["net.batch_norm=true", "train.batch=5"],
    ["train.clip_norm=0.5", "train.batch=5"],
    ["net.batch_norm=true", "train.batch=5", "train.optimizer=adamw", "net.dropout=0.2"],
    ['train.class_weights="balanced"'],
)
FAMILIES = {
    "train.optimizer": list(OPTIMIZERS),
    "train.schedule": list(SCHEDULES),
    "net.loss": list(LOSSES),
    "net.init": list(INITIALIZERS),
    "net.preset": list(PRESETS),
    "train.batch": [1, 5],
}
BASE = ["net.hidden=[6, 5]", "train.epochs=3", "train.warmup=0.5", "train.kfac_every=50"]


def _nets() -> list[list[str]]:
    """Overrides of as many nets as the largest family has members, and as many as give every
    regulariser a net that takes it; each has two activations, and families wrap around at
    different places."""
    size = max(map(len, [*FAMILIES.values(), ACTIVATIONS, REGULARISERS]))
    names = list(ACTIVATIONS)
    waiting = list(REGULARISERS)
    nets: list[list[str]] = []
    while len(nets) < size or waiting:
        at = len(nets)
        first, second = names[at % len(names)], names[(at + 3) % len(names)]
        net = [*BASE, f'net.activation=["{first}", "{second}"]']
        net += [f"{key}={members[at % len(members)]}" for key, members in FAMILIES.items()]
        for more in list(waiting):
            try:
                prepare(load_project(examples_dir() / "iris", [*net, *more]))
            except UsageError:
                continue
            waiting.remove(more)
            net += more
            break
        nets.append(net)
    return nets


FULL = "NNHOST_FULL_MATRIX" in os.environ
NETS = _nets()
CHOSEN = choose(["all"] if FULL else ["simstc8", "qemu-m55"])


@pytest.mark.parametrize("number", range(len(NETS) if FULL else 1))
def test_all_boards_agree_on_every_member(number: int) -> None:
    project = load_project(examples_dir() / "iris", NETS[number])
    digests = {simulate(project, engine=e, steps=STEPS).digest for e in ("numpy", "native")}
    assert len(digests) == 1

    verdicts = {v.board: v for v in verify(project, CHOSEN, STEPS)}

    assert set(verdicts) == {b.name for b in CHOSEN}
    if FULL:
        assert verdicts.pop("sim89c52").outcome == "refused"
    wrong = [v for v in verdicts.values() if (v.outcome, v.digest) != ("exact", *digests)]
    assert not wrong, NETS[number]
