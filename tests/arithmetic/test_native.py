"""The native engine arranges the same C for SIMD: it must still end in the simulator's bits."""

from __future__ import annotations

import ctypes
import re
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
#define FOR_KIND(X) X(u8, NN_UINT8) X(s8, NN_INT8)
#define WRAP(name, kind)                                                                          \\
    int32_t dot_##name(const int16_t *w, const void *x, uint32_t n) {                             \\
        return nn_kernel_dot(w, x, kind, n);                                                      \\
    }                                                                                             \\
    void update_##name(int16_t *w, const void *x, int16_t f, uint16_t d, uint32_t n) {            \\
        nn_kernel_update(w, x, kind, f, d, n);                                                    \\
    }                                                                                             \\
    void gather_##name(int16_t *v, const void *x, int16_t f, uint16_t d, uint8_t first,           \\
                       uint32_t n) {                                                              \\
        nn_kernel_gather(v, x, kind, f, d, first, n);                                             \\
    }                                                                                             \\
    void velocity_##name(int16_t *v, const void *x, int16_t f, uint16_t d, uint8_t m,             \\
                         uint32_t n) {                                                            \\
        nn_kernel_velocity(v, x, kind, f, d, m, n);                                               \\
    }                                                                                             \\
    void batch_##name(int16_t *v, const void *x, int16_t f, uint16_t d, uint8_t m, uint8_t first, \\
                      uint32_t n) {                                                               \\
        nn_kernel_velocity_of_batch(v, x, kind, f, d, m, first, n);                               \\
    }
FOR_KIND(WRAP)
void add(int16_t *w, const int16_t *v, uint32_t n) { nn_kernel_add(w, v, n); }
void add_narrow(int16_t *w, const int16_t *v, uint16_t d, uint32_t n, uint32_t extra) {
    nn_kernel_add_narrow(w, v, d, n, extra);
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


def saturated(values: np.ndarray) -> list[int]:
    return np.clip(values, -32768, 32767).tolist()


@pytest.mark.parametrize("kind", ["u8", "s8"])
def test_the_kernels_compute_their_patterns(kernels: ctypes.CDLL, kind: str) -> None:
    """Random values and edges, every length up to 70, every dither, momentum and narrowing."""
    rng = np.random.default_rng(1)
    dtype, least, most = (np.uint8, 0, 255) if kind == "u8" else (np.int8, -128, 127)
    for case in range(512):
        n = case % 71
        v, w = rng.integers(-32768, 32768, (2, n))
        x = rng.integers(least, most + 1, n)
        if case % 3 == 0:  # ends of the ranges, which saturate
            v, w = rng.choice([-32768, 32767], (2, n))
            x = rng.choice([least, most], n)
        factor = int(rng.choice([-32768, 32767, -1, 1, rng.integers(-32768, 32768)]))
        draw, momentum, first, extra = case % 256 << 8 | 77, case % 256, case % 2, 1 + case % 6
        noise = ((draw >> 8) + 157 * np.arange(n)) & 255
        step = (factor * x + noise) >> 8
        decayed = (v * momentum - factor * x + noise) >> 8
        inputs = x.astype(dtype)

        def called(
            name: str, values: np.ndarray, other: np.ndarray, *numbers: object
        ) -> tuple[int, list[int]]:
            """What a kernel returns, and what it makes of `values`."""
            changed = values.astype(np.int16)
            pointers = (a.ctypes.data_as(ctypes.c_void_p) for a in (changed, other))
            returned = getattr(kernels, name)(*pointers, *numbers)
            return returned, changed.tolist()

        size, f, d = ctypes.c_uint32(n), ctypes.c_int16(factor), ctypes.c_uint16(draw)
        m, one = ctypes.c_uint8(momentum), ctypes.c_uint8(first)
        slots = v.astype(np.int16)
        assert called(f"dot_{kind}", w, inputs, size)[0] == int(((w >> 8) * x).sum())
        assert called(f"update_{kind}", w, inputs, f, d, size)[1] == saturated(w - step)
        assert called(f"gather_{kind}", v, inputs, f, d, one, size)[1] == saturated(
            (0 if first else v) - step
        )
        assert called(f"velocity_{kind}", v, inputs, f, d, m, size)[1] == saturated(decayed)
        assert called(f"batch_{kind}", v, inputs, f, d, m, one, size)[1] == saturated(
            decayed if first else v - step
        )
        assert called("add", w, slots, size)[1] == saturated(w + v)
        narrow = (v + (noise >> (8 - extra))) >> extra
        numbers = (d, size, ctypes.c_uint32(extra))
        assert called("add_narrow", w, slots, *numbers)[1] == saturated(w + narrow)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([], {"dot", "update"}),
        (["train.optimizer=momentum"], {"dot", "velocity", "add", "add_narrow"}),
        (["train.batch=8"], {"dot", "gather", "add_narrow"}),
        (["train.optimizer=momentum", "train.batch=8"],
         {"dot", "velocity_of_batch", "add_narrow"}),
        (["net.preset=q16"], set()),
    ],
)  # fmt: skip
def test_which_kernels_are_used(settings: list[str], names: set[str]) -> None:
    settings = ["net.hidden=[32]", "train.lr=0.01", *settings]
    network = prepare(load_project(examples_dir() / "digits", settings))
    text = sources(network.plan, network.program, Target.native())["nn_net.c"]
    assert set(re.findall(r"nn_kernel_(\w+)\(", text)) == names


def test_rows_are_all_that_is_passed_over() -> None:
    network = prepare(load_project(examples_dir() / "digits", ["net.hidden=[32]"]))
    text = sources(network.plan, network.program, Target.native())["nn_net.c"]
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
