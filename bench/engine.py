"""The native engine against the numpy reading, a float32 loop in C, and PyTorch: bench/engine.md.

All train digits 64-32-10 for one epoch at batch 1, in turns, so that a busy machine slows all
alike; the best of the turns counts. PyTorch is left out where it is not installed
(``pip install -e .[bench]``).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from nnhost.data import load
from nnhost.generate import prepare
from nnhost.native import FLAGS, NativeEngine
from nnhost.project import load_project
from nnhost.reference import Reference
from nnhost.simulation import rehearse
from nnhost.simulator import Simulator
from nnhost.train import visits

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "bench" / "engine.md"
SETTINGS = ["net.hidden=[32]"]
#: How often each is timed; the numpy reading and PyTorch are steadier, and slow.
TURNS, SLOW_TURNS = 60, 3
FAST_MATH = ("-O3", "-march=native", "-ffast-math")

Training = Callable[[], float]


class Bench:
    """The net, its data and the order of its first epoch."""

    def __init__(self) -> None:
        project = load_project(ROOT / "examples" / "digits", SETTINGS)
        self.network = prepare(project)
        self.seed, self.lr = project.train.seed, project.train.lr
        data = load(project.data, self.seed, project.root)
        self.x = np.ascontiguousarray(data.x_train, np.float32)
        self.y = data.y_train.astype(np.int32)
        simulator = Simulator(self.network.program)
        simulator.reset(self.seed)
        reference = Reference(self.network.plan, np.float32)
        reference.load(simulator.memory)
        layers = zip(reference.weights, reference.biases, strict=True)
        self.start = [np.ascontiguousarray(a) for layer in layers for a in layer]
        steps = visits(self.network.plan, simulator.epoch, simulator.pick, 1)
        self.order = np.array([visit.row for visit in steps], np.int32)

    def numpy(self) -> Training:
        """The reading that is the oracle."""
        simulator = Simulator(self.network.program)

        def train() -> float:
            began = perf_counter()
            for _ in rehearse(simulator, self.network, self.network.plan.rows):
                pass
            return perf_counter() - began

        return train

    def native(self) -> Training:
        """The engine."""
        engine = NativeEngine(self.network.plan, self.network.program)

        def train() -> float:
            engine.reset(self.seed)
            began = perf_counter()
            engine.train(self.network.train, 1, self.network.plan.rows)
            return perf_counter() - began

        return train

    def float32(self, folder: Path, flags: tuple[str, ...]) -> Training:
        """bench/float32.c."""
        library = folder / f"float32{''.join(flags)}.so"
        source = str(Path(__file__).with_name("float32.c"))
        command = ["gcc", *flags, "-shared", "-fPIC", "-o", str(library), source, "-lmvec", "-lm"]
        subprocess.run(command, check=True)
        compiled = ctypes.CDLL(str(library))
        compiled.train.restype = ctypes.c_float
        start = [a.ctypes.data_as(ctypes.c_void_p) for a in self.start]
        given = [a.ctypes.data_as(ctypes.c_void_p) for a in (self.x, self.y, self.order)]
        numbers = ctypes.c_int32(len(self.order)), ctypes.c_float(self.lr)

        def train() -> float:
            compiled.load(*start)
            began = perf_counter()
            loss = compiled.train(*given, *numbers)
            seconds = perf_counter() - began
            assert 0.3 < loss < 1.5, f"{loss} is no loss of a first epoch: it does not learn"
            return seconds

        return train

    def torch(self) -> Training:
        """A plain training loop on one thread, which is its fastest here. Raises ImportError."""
        import torch

        torch.set_num_threads(1)
        net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
        optimizer = torch.optim.SGD(net.parameters(), lr=self.lr)
        measure = torch.nn.CrossEntropyLoss()
        x, y = torch.from_numpy(self.x), torch.from_numpy(self.y.astype(np.int64))
        start = [torch.from_numpy(a.copy()) for a in self.start]

        def train() -> float:
            with torch.no_grad():
                for parameter, value in zip(net.parameters(), start, strict=True):
                    parameter.copy_(value)
            began = perf_counter()
            for row in self.order.tolist():
                optimizer.zero_grad()
                measure(net(x[row : row + 1]), y[row : row + 1]).backward()
                optimizer.step()
            return perf_counter() - began

        return train


def measure() -> dict[str, float]:
    """Seconds an epoch of each, by name."""
    bench = Bench()
    with TemporaryDirectory() as folder:
        fast: dict[str, Training] = {
            "native engine": bench.native(),
            f"float32 in C, {' '.join(FAST_MATH)}": bench.float32(Path(folder), FAST_MATH),
            "float32 in C, -O2": bench.float32(Path(folder), ("-O2",)),
        }
        slow: dict[str, Training] = {"numpy reading": bench.numpy()}
        try:
            slow["PyTorch"] = bench.torch()
        except ImportError:
            print("PyTorch is not installed: pip install -e .[bench]", file=sys.stderr)
        best: dict[str, float] = {}
        for turn in range(TURNS):
            some = fast | slow if turn % (TURNS // SLOW_TURNS) == 0 else fast
            for name, train in some.items():
                best[name] = min(best.get(name, 1e9), train())
    return best


def page(seconds: dict[str, float], steps: int) -> str:
    """bench/engine.md."""
    native = seconds["native engine"]
    rows = [
        f"| {name} | {1e6 * value / steps:.2f} | {1e3 * value:.2f} ms | {value / native:.2f} |"
        for name, value in seconds.items()
    ]
    compiler = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True)
    return "\n".join([
        "# The native engine",
        "",
        "`make engine` measures this table and writes this page: digits 64-32-10, q8, plain",
        f"SGD at batch 1, the first epoch of {steps:,} steps, the best of {TURNS} turns.",
        f"{platform.machine()}, {compiler.stdout.splitlines()[0]}; the engine is compiled with",
        f"`{' '.join(FLAGS[:2])}`, the float32 loop is [float32.c](float32.c).",
        "",
        "| | us a step | an epoch | times the engine's |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        NOTE,
    ])  # fmt: skip


NOTE = """\
## Why it is not faster than float32 with SIMD

Both are bound by the number of vector instructions. With AVX2, for sixteen weights in q8:

- Forward, engine: load, shift to the seen byte, multiply and add pairs, add: 4. float32: two times
  load and multiply-add: 2 to 4.
- Update, engine: lower byte of the factor times x, add noise, shift, upper byte times x, add, load,
  saturated subtraction, store, noise of the next columns: 9. float32: two times load, multiply-add
  and store: 4 to 6.

Sixteen bits hold twice as many weights a vector as float32 does; exact rounding costs twice as many
instructions a vector. What remains is gained by tables (exponentials, random numbers) and by rows
whose factor is zero, which both pass over. `-O2`, where GCC 12 makes no SIMD of sums in floating
point, is how C is mostly compiled.
"""


def main() -> int:
    """Measure, write the page, and print it or the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--json", action="store_true", help="print seconds by name")
    options = parser.parse_args()
    seconds = measure()
    text = page(seconds, len(Bench().order))
    PAGE.write_text(text)
    print(json.dumps(seconds) if options.json else text, end="\n" if options.json else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
