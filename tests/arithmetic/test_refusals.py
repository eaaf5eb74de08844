"""What cannot be computed exactly is refused when the net is planned, with the cure."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.drawn_nets import draw

from nnhost.boards import get
from nnhost.data import load
from nnhost.errors import CapacityError, UsageError
from nnhost.generate import board_sources, prepare
from nnhost.ir import BoundError
from nnhost.lower import lower
from nnhost.paths import examples_dir
from nnhost.plan import Plan, make_plan
from nnhost.project import load_project


def plan(example: str, *overrides: str) -> Plan:
    project = load_project(examples_dir() / example, overrides)
    return make_plan(project, load(project.data, project.train.seed, project.root))


@pytest.mark.parametrize(
    ("overrides", "message", "cure"),
    [
        (["train.lr=100.0"], "too large: factor2", "at most"),
        (["train.lr=1e-9"], "too small", "at least"),
        (["net.preset=q16", "net.hidden=[1024]"], "layer 2 sums 1024 inputs", "q8"),
        (["train.batch=2000"], "larger than the 1438 training rows", "full"),
        (["net.loss=mse", "train.label_smoothing=0.1"], "mse has no label smoothing", "softmax"),
        (["train.schedule=cosine", "train.lr_min=1"], "lr_min = 1 is above lr", "at most 0.03125"),
        (["train.schedule=cosine", "train.warmup=3"], "leaves nothing of the 3 epochs", "below 3"),
        (
            ["train.schedule=step", "train.decay_every=1", "train.decay=0.99", "train.epochs=400"],
            "step has 400 stages",
            "decay_every",
        ),
        (["train.clip_value=1e-9"], "clip_value = 1e-09 leaves nothing", "at least"),
        (["train.clip_norm=1e-9", "train.batch=16"], "clip_norm = 1e-09 leaves", "at least"),
        (["train.optimizer=adam", "train.lr=30.0"], "too large for the weights", "at most"),
        (["train.optimizer=adam", "train.lr=1e-9"], "too small: no update", "at least"),
        (["train.optimizer=adam", "train.l2=1e7"], "l2 = 1e.07 is too large", "set l2"),
        (["train.l2=100.0"], "l2 = 100 is too large beside", "set l2 to about"),
        (["train.l1=1e-12"], "l1 = 1e-12 is too small beside", "or leave it out"),
        (["train.schedule=cosine", "train.lr=1e-7"], "too small", "at least"),
        (["train.optimizer=kfac", "net.hidden=[300]"], "too large for kfac: 32 bits", "fewer"),
        (["train.optimizer=kfac", "data.delivery=flash"], "kfac needs a host", "another opt"),
    ],
)
def test_what_does_not_fit_32_bits_is_refused(
    overrides: list[str], message: str, cure: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plan("digits", *overrides)
    assert cure in caught.value.help


@pytest.mark.parametrize("overrides", [["train.lr=100.0"], ["train.lr=1e-9", "train.batch=16"]])
def test_the_learning_rate_that_an_error_proposes_is_accepted(overrides: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        plan("digits", *overrides)
    proposed = caught.value.help.split()[-1]
    batch = [o for o in overrides if "batch" in o]
    # A layer after the first may ask for a little more.
    for _ in range(3):
        try:
            lower(plan("digits", f"train.lr={float(proposed)}", *batch))
            return
        except UsageError as error:
            proposed = error.help.split()[-1]
    pytest.fail(f"still refused at {proposed}")


def test_a_bound_that_cannot_be_proven_names_the_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = plan("digits")

    def unprovable(_: Plan) -> None:
        raise BoundError("values from 0 to 4294967296 fit no 32-bit type", "forward1")

    monkeypatch.setattr("nnhost.lower._lower", unprovable)
    with pytest.raises(UsageError, match=r"forward1.*fit no 32-bit type"):
        lower(wide)


def test_rows_that_no_flash_holds_are_refused_before_they_are_packed() -> None:
    project = load_project(
        examples_dir() / "mnist",
        ["data.delivery=flash", "data.augment={}", "data.validation=0", "train.early_stopping=0"],
    )
    with pytest.raises(CapacityError, match="the training rows take 314,000 bytes, and its flash"):
        board_sources(prepare(project), get("qemu-m0"))


def test_every_drawn_net_keeps_its_samples_in_their_formats() -> None:
    for seed in range(40):
        network = draw(seed)
        lo, hi = network.plan.layers[0].input.interval
        assert lo <= network.train.x.min()
        assert network.train.x.max() <= hi
        assert np.array_equal(
            np.frombuffer(network.train.bytes(0), network.train.x_dtype, network.plan.n_inputs),
            network.train.x[0],
        )


@pytest.mark.parametrize(
    ("overrides", "error", "cure"),
    [
        (["train.batch=1"], "2 to 4096 rows at a time, not 1", "batch = 16"),
        (["net.hidden=[]"], "no hidden layer", "hidden layers"),
        (
            ["train.optimizer=kfac"],
            "batch_norm has no update by kfac",
            "sgd, momentum, nesterov",
        ),
    ],
)
def test_batch_norm_is_refused_where_it_means_nothing(
    overrides: list[str], error: str, cure: str
) -> None:
    with pytest.raises(UsageError, match=error) as refused:
        plan("iris", "net.batch_norm=true", "train.batch=8", *overrides)
    assert cure in refused.value.help
