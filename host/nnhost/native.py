"""The emitted C compiled for this computer: the same training, without Python at each step."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnhost.errors import NnhostError
from nnhost.generate import Target, sources
from nnhost.ir import Program
from nnhost.paths import firmware_dir
from nnhost.plan import Plan, Samples

FLAGS = ("-O3", "-march=native", "-std=gnu99", "-fPIC", "-shared", "-fvisibility=hidden", "-w")


def cache_dir() -> Path:
    """Where compiled engines are kept: $XDG_CACHE_HOME/nnhost or ~/.cache/nnhost."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "nnhost"


def _machine(compiler: str) -> str:
    """What the compiled code depends on beside its text: the compiler and this CPU."""
    program = Path(compiler).resolve()
    about = program.stat()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    cpu = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU "))]
    return repr((str(program), about.st_size, about.st_mtime_ns, platform.machine(), set(cpu)))


def compile_engine(plan: Plan, program: Program) -> Path:
    """The shared library of a net, compiled once for each text of its sources on each machine."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NnhostError(
            "no C compiler for the native engine", help="sudo apt-get install gcc libc6-dev"
        )
    target = Target.native()
    files = sources(plan, program, target)
    folders = [firmware_dir() / "core", firmware_dir() / "kernels" / target.kernels]
    glue = Path(__file__).with_name("native.c")
    digest = hashlib.sha256(repr((sorted(files.items()), FLAGS, _machine(compiler))).encode())
    for path in (glue, *(file for folder in folders for file in sorted(folder.glob("*.[ch]")))):
        digest.update(path.read_bytes())
    folder = cache_dir() / digest.hexdigest()[:32]
    library = folder / "engine.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    built = folder / f"engine.{os.getpid()}.so"
    command = [
        compiler, *FLAGS, "-DNN_SCHEDULE=1", f"-I{folder}", *(f"-I{f}" for f in folders),
        "-o", str(built), str(glue),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NnhostError(
            f"{compiler} could not compile the native engine: {done.stderr.strip()[:500]}",
            help="sudo apt-get install gcc libc6-dev",
        )
    built.replace(library)
    return library


class NativeEngine:
    """Trains the emitted C. One engine a process and net: its state lives in the library."""

    def __init__(self, plan: Plan, program: Program) -> None:
        # Each engine needs buffers of its own, and the loader gives one copy a file.
        library = compile_engine(plan, program)
        self._copy = library.with_name(f"engine.{os.getpid()}.{id(self)}.so")
        shutil.copyfile(library, self._copy)
        try:
            self._lib = ctypes.CDLL(str(self._copy))
        finally:
            self._copy.unlink()
        self._lib.nn_native_train.restype = ctypes.c_uint32
        self._size = sum(b.bytes for b in program.state)
        self._packed: tuple[Samples | None, bytes] = None, b""

    def _block(self, samples: Samples) -> bytes:
        """The bytes of all samples, which mostly are those of the call before."""
        if self._packed[0] is not samples:
            self._packed = samples, samples.block()
        return self._packed[1]

    def reset(self, seed: int) -> None:
        """Draw new weights from `seed`."""
        self._lib.nn_native_reset(ctypes.c_uint16(seed))

    def train(self, samples: Samples, epochs: int, steps: int) -> NDArray[np.uint32]:
        """Train on until `epochs` epochs since the reset are done, at most `steps` steps.

        Returns the integer loss of each step, shape (steps done,), uint32.
        """
        losses = np.zeros(steps, np.uint32)
        done = self._lib.nn_native_train(
            self._block(samples),
            ctypes.c_uint16(epochs),
            ctypes.c_uint32(steps),
            losses.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32)),
        )
        return losses[:done]

    def follow(self, samples: Samples) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """Train on samples in their order; the loss and prediction of each before it, (N,)."""
        losses = np.zeros(len(samples), np.uint32)
        predictions = np.zeros(len(samples), np.uint16)
        self._lib.nn_native_follow(
            samples.block(),
            ctypes.c_uint32(len(samples)),
            losses.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32)),
            predictions.ctypes.data_as(ctypes.POINTER(ctypes.c_uint16)),
        )
        return losses, predictions

    def evaluate(self, samples: Samples) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """Loss and prediction of each sample, shapes (N,); the state does not change."""
        losses = np.zeros(len(samples), np.uint32)
        predictions = np.zeros(len(samples), np.uint16)
        self._lib.nn_native_evaluate(
            self._block(samples),
            ctypes.c_uint32(len(samples)),
            losses.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32)),
            predictions.ctypes.data_as(ctypes.POINTER(ctypes.c_uint16)),
        )
        return losses, predictions

    def state(self) -> bytes:
        """The training state, as a board keeps it."""
        out = ctypes.create_string_buffer(self._size)
        self._lib.nn_native_state(out)
        return out.raw

    def set_state(self, data: bytes) -> None:
        """Put back what `state` returned; which row comes next is not part of it."""
        self._lib.nn_native_set_state(data)
