"""Each kernel of the 8051 against its meaning, in uCsim: every tail, every end, every page."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from nnhost.paths import firmware_dir

KERNELS = firmware_dir() / "kernels" / "mcs51"
LENGTHS = (*range(1, 18), 64, 96, 160)
#: External RAM: matrices move about in the first part, results are written behind it.
AREA, OUT = 2048, 32768

HARNESS = """
#include "nn_kernel.h"

#define AREA ((__xdata uint8_t *)0)

static const __code uint8_t cases[] = {%(cases)s};
static __idata uint8_t x[160];
static const __code uint8_t *in;
static uint8_t n, dither, decay;
static int16_t factor;
static uint16_t w, v, stride, start, count;
static int32_t result;

static uint8_t byte(void) { return *in++; }

static uint16_t word(void) {
    const uint8_t low = *in++;
    return low | ((uint16_t)*in++ << 8);
}

void finished(void) {}

void main(void) {
    __xdata uint8_t *to = (__xdata uint8_t *)%(out)dU;
    uint16_t i, k;
    in = cases;
    for (k = 0; k < %(many)dU; k++) {
        n = byte();
        dither = byte();
        decay = byte();
        factor = (int16_t)word();
        w = word();
        v = word();
        stride = word();
        start = word();
        count = word();
        for (i = 0; i < count; i++) {
            AREA[start + i] = byte();
        }
        for (i = 0; i < n; i++) {
            x[i] = byte();
        }
        result = 0;
        %(call)s;
        for (i = 0; i < count; i++) {
            *to++ = AREA[start + i];
        }
        *to++ = (uint8_t)result;
        *to++ = (uint8_t)(result >> 8);
        *to++ = (uint8_t)(result >> 16);
        *to++ = (uint8_t)(result >> 24);
    }
    finished();
    for (;;) {
    }
}
"""


@dataclass(frozen=True)
class Case:
    """Arguments of one call, of which a kernel uses some. `at` is where its matrices stand."""

    w: tuple[int, ...]
    v: tuple[int, ...]
    x: tuple[int, ...]
    factor: int
    dither: int
    decay: int
    at: int
    stride: int = 2

    def area(self, w: Sequence[int], v: Sequence[int]) -> bytes:
        """The matrices in memory, with bytes about them that no kernel may change."""
        filler = bytearray(b"\xa5" * (self.stride * len(w) + 2 * len(v) + 9))
        for i, value in enumerate(w):
            filler[3 + self.stride * i : 5 + self.stride * i] = _int16(value)
        for i, value in enumerate(v):
            place = self.second + 2 * i
            filler[place : place + 2] = _int16(value)
        return bytes(filler)

    @property
    def second(self) -> int:
        """Offset of the second matrix in the area."""
        return 6 + self.stride * len(self.w)

    def encoded(self) -> bytes:
        """As the harness reads it."""
        area = self.area(self.w, self.v)
        words = (self.factor, self.at + 3, self.at + self.second, self.stride, self.at, len(area))
        return (
            bytes([len(self.x), self.dither, self.decay])
            + b"".join((q & 0xFFFF).to_bytes(2, "little") for q in words)
            + area
            + bytes(q & 0xFF for q in self.x)
        )


def _int16(value: int) -> bytes:
    return value.to_bytes(2, "little", signed=True)


def cases(kind: str, *, strided: bool = False, seed: int = 1) -> list[Case]:
    """Drawn cases of every length, then every combination of ends."""
    rng = random.Random(seed)
    lo, hi = (0, 255) if kind == "u8" else (-128, 127)
    ends = (-32768, -32767, -256, -255, -129, -128, -1, 0, 1, 127, 128, 255, 256, 32767)

    def word(edge: float) -> int:
        if rng.random() < edge:
            return rng.choice(ends)
        return rng.randint(-32768, 32767) if rng.random() < 0.6 else rng.randint(-300, 300)

    def byte(edge: float) -> int:
        return rng.choice((0, 0, lo, hi, 1)) if rng.random() < edge else rng.randint(lo, hi)

    def case(n: int, edge: float, factor: int) -> Case:
        stride = 2 * rng.choice((1, 1, 3, 17)) if strided and n <= 17 else 2
        size = stride * n + 2 * n + 9
        return Case(
            tuple(word(edge) for _ in range(n)), tuple(word(edge) for _ in range(n)),
            tuple(byte(edge) for _ in range(n)), factor, rng.choice((0, 255, rng.randrange(256))),
            rng.choice((0, 255, 230, rng.randrange(256))), rng.randrange(AREA - size), stride,
        )  # fmt: skip

    drawn = [
        case(n, edge, word(edge))
        for n in LENGTHS
        for edge in ((0.1, 0.1, 0.5, 0.5, 1.0, 1.0) if n <= 17 else (0.1, 0.6))
    ]
    # All of one kind: the largest sums, and saturation from both sides, the first of it where a
    # weight lies across two pages.
    n = 16
    extreme = [
        Case((w,) * n, (v,) * n, (x,) * n, factor, dither, 255, 252)
        for w, v in ((-32768, -32768), (32767, 32767), (-32768, 32767), (255, -1), (-256, 0))
        for x in (lo, hi, 1)
        for factor in (-32768, -1, 32767, 255)
        for dither in (0, 255)
    ]
    return drawn + rng.sample(extreme, 60)


def run(folder: Path, kernel: str, call: str, given: list[Case]) -> list[tuple[bytes, int]]:
    """Call the kernel on the target for each case: the area and the result afterwards."""
    (folder / "nn_config.h").write_text(f"#define {kernel.upper()} 1\n")
    data = b"".join(case.encoded() for case in given)
    text = HARNESS % {
        "cases": ",".join(map(str, data)), "many": len(given), "call": call, "out": OUT,
    }  # fmt: skip
    (folder / "main.c").write_text(text)
    includes = [f"-I{folder}", f"-I{KERNELS}", f"-I{firmware_dir() / 'core'}"]
    files = ["main.c", *map(str, sorted(KERNELS.glob("*.c")))]
    for file in files:
        _tool(["sdcc", "-mmcs51", "--std-c99", "--Werror", *includes, "-c", file], folder)
    objects = [f"{Path(file).stem}.rel" for file in files]
    _tool(["sdcc", "-mmcs51", "--xram-loc", "0x7000", "--iram-size", "256", *objects,
           "-o", "main.ihx"], folder)  # fmt: skip
    found = re.search(r"C:\s+([0-9A-F]+)\s+_finished", (folder / "main.map").read_text())
    assert found is not None
    sizes = [len(case.area(case.w, case.v)) + 4 for case in given]
    # Rows of eight bytes, in hexadecimal and then as text.
    script = f"break 0x{found[1]}\nrun\ndump xram {OUT} {OUT + sum(sizes) + 7}\nquit\n"
    out = _tool(["s51", "-b", "-q", "-t", "C52", "main.ihx"], folder, script)
    # A row may be shorter: the simulator begins a new one where code has a symbol.
    rows = re.findall(r"^0x[0-9a-f]{4} +((?:[0-9a-f]{2} )+)", out, re.MULTILINE)
    memory = bytes.fromhex("".join(rows))
    assert len(memory) >= sum(sizes)
    results, place = [], 0
    for size in sizes:
        part = memory[place : place + size]
        results.append((part[:-4], int.from_bytes(part[-4:], "little", signed=True)))
        place += size
    return results


def _tool(command: list[str], folder: Path, text: str = "") -> str:
    done = subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-500:]}{done.stderr[-1000:]}"
    return done.stdout


#: Kernel -> how it is called.
CALLS = {
    "nn_kernel_dot_u8": "result = nn_kernel_dot_u8((int16_t __xdata *)w, x, n)",
    "nn_kernel_dot_s8":
        "result = nn_kernel_dot_s8((int16_t __xdata *)w, (int8_t __idata *)x, n, stride)",
    "nn_kernel_update_u8": "nn_kernel_update_u8((int16_t __xdata *)w, x, factor, dither, n)",
    "nn_kernel_update_s8":
        "nn_kernel_update_s8((int16_t __xdata *)w, (int8_t __idata *)x, factor, dither, n)",
    "nn_kernel_gather_u8":
        "nn_kernel_gather_u8((int16_t __xdata *)w, x, factor, dither, decay & 1, n)",
    "nn_kernel_gather_s8":
        "nn_kernel_gather_s8((int16_t __xdata *)w, (int8_t __idata *)x, factor, dither, decay & 1,"
        " n)",
    "nn_kernel_add": "nn_kernel_add((int16_t __xdata *)w, (int16_t __xdata *)v, n)",
}  # fmt: skip

Meaning = Callable[[Case], tuple[list[int], int]]


def _saturated(value: int) -> int:
    return max(-32768, min(32767, value))


def _noise(case: Case, i: int) -> int:
    return (case.dither + 157 * i) & 255


def _step(case: Case, i: int) -> int:
    return (case.factor * case.x[i] + _noise(case, i)) >> 8


def _dot(case: Case) -> tuple[list[int], int]:
    return list(case.w), sum((w >> 8) * x for w, x in zip(case.w, case.x, strict=True))


def _update(case: Case) -> tuple[list[int], int]:
    return [_saturated(w - _step(case, i)) for i, w in enumerate(case.w)], 0


def _gather(case: Case) -> tuple[list[int], int]:
    kept = 0 if case.decay & 1 else 1
    return [_saturated(kept * w - _step(case, i)) for i, w in enumerate(case.w)], 0


def _add(case: Case) -> tuple[list[int], int]:
    return [_saturated(w + v) for w, v in zip(case.w, case.v, strict=True)], 0


#: The first matrix afterwards, and the result.
MEANINGS: dict[str, Meaning] = {
    "dot": _dot, "update": _update, "gather": _gather, "add": _add,
}  # fmt: skip


@pytest.mark.parametrize("kernel", CALLS)
def test_a_kernel_computes_what_its_pattern_means(kernel: str, tmp_path: Path) -> None:
    name, _, kind = kernel.removeprefix("nn_kernel_").partition("_")
    given = cases(kind, strided=kernel == "nn_kernel_dot_s8")
    got = run(tmp_path, kernel, CALLS[kernel], given)
    for case, (area, result) in zip(given, got, strict=True):
        w, wanted = MEANINGS[name](case)
        assert (area, result) == (case.area(w, case.v), wanted), case
