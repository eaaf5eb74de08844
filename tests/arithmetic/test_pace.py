"""Learning-rate schedules: the curves of the textbook, the plateau, and a state that goes on."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from nnhost.data import load
from nnhost.generate import prepare
from nnhost.lower import lower
from nnhost.pace import Pace
from nnhost.paths import examples_dir
from nnhost.plan import Plan, make_plan
from nnhost.project import load_project
from nnhost.schedules import SCHEDULES
from nnhost.simulator import Simulator
from nnhost.train import visits

EPOCHS = 16


def plan(*overrides: str) -> Plan:
    project = load_project(examples_dir() / "iris", [f"train.epochs={EPOCHS}", *overrides])
    return make_plan(project, load(project.data, project.train.seed, project.root))


def pace(*overrides: str) -> tuple[Pace, int]:
    """A pace, and how many updates it makes an epoch."""
    made = plan(*overrides)
    assert made.pace is not None
    return made.pace, -(-made.rows // made.batch)


def share(p: Pace, update: int) -> float:
    """The rate of an update, as a share of lr; 2^-5 is 128 * 2^-12."""
    stage = sum(end <= update for end in p.until)
    return p.rates[stage] / (128 << 7)


def cosine(t: float) -> float:
    return (1 + math.cos(math.pi * t)) / 2


CURVES: dict[str, Callable[[float], float]] = {
    "cosine": cosine,
    "exponential": lambda t: 0.01**t,
    "step": lambda t: 0.1 ** (t * EPOCHS // 6),
    # 1 + 2 + 4 + 8 epochs, and the first of 16.
    "warm-restarts": lambda t: cosine(
        (t * EPOCHS + 1) / 2 ** math.floor(math.log2(t * EPOCHS + 1)) - 1
    ),
    "one-cycle": lambda t: (
        1 / 25 + 24 / 25 * cosine(1 - t / 0.3) if t < 0.3 else cosine((t - 0.3) / 0.7)
    ),
}


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("name", CURVES)
def test_rates_follow_their_curve(name: str, batch: int) -> None:
    p, updates = pace(f"train.schedule={name}", f"train.batch={batch}", f"train.lr={batch / 32}")
    total = EPOCHS * updates
    for update in range(total):
        # Within a stage the curve may take any of its values; cycles have as few as six stages.
        near = [
            CURVES[name](min(max(update / total + d / 2000, 0), 1 - 1e-9)) for d in range(-100, 101)
        ]
        assert min(near) - 0.01 <= share(p, update) <= max(near) + 0.01


def test_every_schedule_has_its_curve() -> None:
    assert {*CURVES, "constant", "plateau"} == set(SCHEDULES)


def test_the_warm_up_climbs_and_then_the_schedule_begins() -> None:
    p, updates = pace("train.schedule=cosine", "train.warmup=2")
    assert [share(p, u) for u in range(0, 2 * updates, updates // 4)] == pytest.approx(
        [(i + 0.5) / 8 for i in range(8)]
    )
    assert share(p, 2 * updates) == pytest.approx(1, abs=0.01)
    assert share(p, 9 * updates) == pytest.approx(0.5, abs=0.06)


def test_no_rate_is_below_the_lowest() -> None:
    for name in SCHEDULES:
        if name != "constant":
            p, _ = pace(f"train.schedule={name}", "train.lr_min=0.01")
            low = 0.01 * 32 * (128 << 7)
            assert low - 1 <= min(p.rates) <= 1.05 * low


def test_without_a_schedule_there_is_no_pace() -> None:
    assert plan().pace is None


def test_a_plateau_is_waited_on() -> None:
    """The loss falls, stands for three epochs, falls again: one drop of the rate."""
    made = plan("train.schedule=plateau", "train.patience=2")
    simulator = Simulator(lower(made))
    stages = []
    for loss in (0, 100000, 90000, 90000, 89999, 90001, 80000, 80000):
        if loss:
            simulator.memory["epoch_loss"] = loss
        simulator.epoch()
        stages.append(simulator.memory["stage"])
        assert simulator.memory["epoch_loss"] == 0
    assert stages == [0, 0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("schedule", ["one-cycle", "plateau"])
def test_a_state_put_back_goes_on_where_it_was(schedule: str) -> None:
    """Into another simulator in the middle of an epoch, as a board is restored by WRITE."""
    network = prepare(load_project(examples_dir() / "iris", [
        f"train.schedule={schedule}", "train.warmup=1", "train.epochs=4", "train.batch=4",
        "train.patience=0", "train.lr=0.5",
    ]))  # fmt: skip

    def train(swap: int) -> bytes:
        simulators = [Simulator(network.program), Simulator(network.program)]
        simulators[0].reset(3)

        def now() -> Simulator:
            return simulators[0]

        for v in visits(network.plan, lambda: now().epoch(), lambda p: now().pick(p), 4):
            if v.step == swap:
                simulators[1].set_state(now().state())
                simulators.reverse()
            now().step(network.train.x[v.row], network.train.target[v.row], v.first, v.last)
        return now().state()

    assert train(swap=0) == train(swap=203)
