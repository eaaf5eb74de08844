"""The native engine arranges the same C for SIMD: it must still end in the simulator's bits."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest
from helpers.drawn_nets import describe, draw

from nnhost.generate import Network, Target, prepare, sources
from nnhost.native import NativeEngine, compile_engine
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import load_project
from nnhost.simulation import rehearse
from nnhost.simulator import Simulator


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def assert_alike(network: Network, steps: int) -> None:
    """Losses, state and evaluation of the native engine are those of the numpy reading."""
    simulator = Simulator(network.program)
    losses = [step.loss for _, step in rehearse(simulator, network, steps)]
    engine = NativeEngine(network.plan, network.program)
    engine.reset(network.project.train.seed)
    epochs = -(-steps // network.plan.rows)
    assert engine.train(network.train, epochs, steps).tolist() == losses, describe(network)
    assert engine.state() == simulator.state(), describe(network)
    found, predictions = engine.evaluate(network.train)
    for row in range(min(20, len(network.train))):
        step = simulator.evaluate(network.train.x[row], network.train.target[row])
        assert (int(found[row]), int(predictions[row])) == (step.loss, step.prediction)


@pytest.mark.parametrize("seed", range(16))
def test_drawn_nets_train_alike(seed: int) -> None:
    network = draw(seed)
    assert_alike(network, network.plan.rows * network.project.train.epochs)


@pytest.mark.parametrize(
    ("hidden", "activation", "training"),
    [
        ("[32]", "relu", ()),
        ("[17, 15, 40]", "tanh", ()),
        ("[]", "relu", ("train.batch=7",)),
        ("[40, 16]", "leaky-relu", ("train.optimizer=momentum", "train.batch=7")),
        ("[32]", "relu", ("train.optimizer=momentum",)),
        ("[33, 18]", "tanh", ("net.preset=q16",)),
        ("[32]", "relu", ("net.preset=q16", "train.optimizer=momentum")),
    ],
)
def test_rows_longer_than_a_vector_train_alike(
    hidden: str, activation: str, training: tuple[str, ...]
) -> None:
    """At a learning rate that saturates weights and activations."""
    settings = [f"net.hidden={hidden}", f"net.activation={activation}", "train.lr=0.4", *training]
    assert_alike(prepare(load_project(examples_dir() / "digits", settings)), 60)


# ---- kernels ------------------------------------------------------------------------------------

_WRAPPERS = """
#include "nn_kernel.h"
int32_t dot_u8(const int16_t *w, const uint8_t *x, uint32_t n) { return nn_kernel_dot_u8(w, x, n); }
int32_t dot_s8(const int16_t *w, const int8_t *x, uint32_t n) { return nn_kernel_dot_s8(w, x, n); }
void update_u8(int16_t *w, const uint8_t *x, int16_t f, uint8_t d, uint32_t n) {
    nn_kernel_update_u8(w, x, f, d, n);
}
void update_s8(int16_t *w, const int8_t *x, int16_t f, uint8_t d, uint32_t n) {
    nn_kernel_update_s8(w, x, f, d, n);
}
"""


@pytest.fixture(scope="module", params=["-march=native", "-mno-avx2"])
def kernels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    """The kernels, as this computer's instructions allow and without any SIMD of their own."""
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "kernels.c").write_text(_WRAPPERS)
    subprocess.run(
        ["gcc", "-O2", request.param, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
         f"-I{firmware_dir() / 'kernels' / 'native'}", "kernels.c", "-o", "kernels.so"],
        cwd=folder, check=True,
    )  # fmt: skip
    return ctypes.CDLL(str(folder / "kernels.so"))


@pytest.mark.parametrize("kind", ["u8", "s8"])
def test_the_kernels_compute_their_patterns(kernels: ctypes.CDLL, kind: str) -> None:
    """Random values and edges, every length up to 70, every dither."""
    rng = np.random.default_rng(1)
    dtype, least, most = (np.uint8, 0, 255) if kind == "u8" else (np.int8, -128, 127)
    for case in range(512):
        n = case % 71
        w = rng.integers(-32768, 32768, n)
        x = rng.integers(least, most + 1, n)
        if case % 3 == 0:  # ends of the ranges, which saturate
            w, x = rng.choice([-32768, 32767], n), rng.choice([least, most], n)
        factor = int(rng.choice([-32768, 32767, -1, 1, rng.integers(-32768, 32768)]))
        dither = case % 256
        weights, inputs = w.astype(np.int16), x.astype(dtype)
        given = weights.ctypes.data_as(ctypes.c_void_p), inputs.ctypes.data_as(ctypes.c_void_p)
        dot = getattr(kernels, f"dot_{kind}")(*given, ctypes.c_uint32(n))
        assert dot == int(((w >> 8) * x).sum())
        numbers = ctypes.c_int16(factor), ctypes.c_uint8(dither), ctypes.c_uint32(n)
        getattr(kernels, f"update_{kind}")(*given, *numbers)
        step = (factor * x + ((dither + 157 * np.arange(n)) & 255)) >> 8
        assert weights.tolist() == np.clip(w - step, -32768, 32767).tolist()


def test_the_kernels_are_used_and_rows_are_all_that_is_passed_over() -> None:
    network = prepare(load_project(examples_dir() / "digits", ["net.hidden=[32]"]))
    text = sources(network.plan, network.program, Target.native())["nn_net.c"]
    for kernel in (
        "dot_u8(nn_weight1[o], nn_x, 64U)",
        "dot_u8(nn_weight2[o], nn_activation1, 32U)",
        "update_u8(nn_weight1[o], nn_x,",
        "update_u8(nn_weight2[o], nn_activation1,",
    ):
        assert f"nn_kernel_{kernel}" in text
    assert text.count("continue;") == 2  # a row of each matrix


# ---- the cache ----------------------------------------------------------------------------------


def test_an_engine_is_compiled_once_for_each_compiler_and_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = prepare(load_project(examples_dir() / "xor", []))
    library = compile_engine(network.plan, network.program)
    built = library.stat().st_mtime_ns
    assert compile_engine(network.plan, network.program) == library
    assert library.stat().st_mtime_ns == built
    monkeypatch.setattr("nnhost.native.FLAGS", ("-O1", "-shared", "-fPIC"))
    other = compile_engine(network.plan, network.program)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(library.parents[2]))
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    assert len({library, other, compile_engine(network.plan, network.program)}) == 3
