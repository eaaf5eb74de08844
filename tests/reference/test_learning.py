"""Whole trainings: what bench/accuracy.py measures at length, for a few seeds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nnhost.generate import prepare
from nnhost.native import NativeEngine
from nnhost.paths import examples_dir
from nnhost.plan import PRESETS
from nnhost.project import load_project


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "bench" / "accuracy.py"
    spec = importlib.util.spec_from_file_location("accuracy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["accuracy"] = module  # where its dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("overrides", [(), ("train.optimizer=momentum", "train.lr=0.015625")])
def test_xor_is_learned_from_each_of_40_seeds(overrides: tuple[str, ...], preset: str) -> None:
    project = load_project(examples_dir() / "xor", [f"net.preset={preset}", *overrides])
    network = prepare(project)
    engine, epochs = NativeEngine(network.plan, network.program), project.train.epochs
    wrong = {}
    for seed in range(1, 41):
        engine.reset(seed)
        engine.train(network.train, epochs, epochs * len(network.train))
        answers = engine.evaluate(network.train)[1]
        wrong[seed] = int(np.sum(answers != network.train.target))
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize("preset", PRESETS)
def test_iris_is_learned_as_in_float32(bench: ModuleType, preset: str) -> None:
    case = bench.Case(bench.NETS, "iris", "", 3, "iris", ())
    result = bench.measure(case, preset)
    assert result.float32 > 90
    assert abs(result.difference) < 100 / 30  # fewer than one of 30 rows


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
@pytest.mark.parametrize("batch", [1, 16])
def test_small_steps_are_not_lost(
    bench: ModuleType, batch: int, optimizer: str, preset: str
) -> None:
    """Steps far below a weight's last bit move it on the average: loss falls as in float32."""
    lr = 2.0**-13 * batch / (10 if optimizer == "momentum" else 1)
    project = load_project(examples_dir() / "iris", [
        f"net.preset={preset}", f"train.optimizer={optimizer}", f"train.batch={batch}",
        f"train.lr={lr}", "train.epochs=30",
    ])  # fmt: skip
    twins = bench.Twins(project)
    falls = []
    for seed in (1, 2):
        data = twins.train(seed, lambda: None)
        samples = twins.plan.samples(data.x_train, data.y_train)
        after = twins.engine.evaluate(samples)[0].mean() * twins.plan.loss_scale
        rows = zip(data.x_train, data.y_train, strict=True)
        real = np.mean([twins.reference.backward(x, y).loss for x, y in rows])
        twins.engine.reset(seed)
        before = twins.engine.evaluate(samples)[0].mean() * twins.plan.loss_scale
        falls.append((before - after, before - real))
    fall, wanted = np.mean(falls, axis=0)
    assert wanted > 0.1, "float32 learns too little to compare"
    assert fall == pytest.approx(wanted, rel=0.1)


def test_the_page_shows_every_result(bench: ModuleType, tmp_path: Path) -> None:
    results = [
        bench.Result(case.table, case.net, case.training, preset, case.seeds, 90.0, 90.25, 0.25,
                     0.1)
        for case in bench.cases(tmp_path) for preset in PRESETS
    ]  # fmt: skip
    page = bench.page(results)
    for case in bench.cases(tmp_path):
        assert any(case.training in line and case.net in line for line in page.splitlines())


@pytest.mark.parametrize(
    ("difference", "error", "faulty"),
    [(-0.6, 0.1, True), (0.6, 0.1, True), (-0.4, 0.1, False), (-0.6, 0.4, False)],
)
def test_what_is_a_fault(bench: ModuleType, difference: float, error: float, faulty: bool) -> None:
    result = bench.Result(bench.NETS, "", "", "q8", 9, 90.0, 90.0 + difference, difference, error)
    assert result.faulty is faulty
