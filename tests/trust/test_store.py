"""The store of a board that trains by itself, in a memory whose power fails: at every write and
erasure, before it, after it and in the middle."""

from __future__ import annotations

import ctypes
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from nnhost.paths import firmware_dir

Number = TypeVar("Number", ctypes.c_uint8, ctypes.c_uint32)
HERE = Path(__file__).parent / "store"
STATE = 75
SLOT = 192
#: The void, two pages, 19 words of the state and 5 of the header.
OPERATIONS = 27
#: How an operation is cut: not begun, done, or bits of it at random from a seed.
TEARS = (0, 1, *range(1000, 1012))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    made = tmp_path_factory.mktemp("store") / "store.so"
    core = firmware_dir() / "core"
    names = ("nn_store", "nn_map", "nn_crc", "nn_digest")
    flags = ["-std=gnu99", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run(
        ["gcc", *flags, f"-I{HERE}", f"-I{core}", *(core / f"{name}.c" for name in names),
         HERE / "memory.c", "-o", made],
        check=True,
    )  # fmt: skip
    return ctypes.CDLL(str(made))


class Chip:
    """A chip with a fresh store; what it holds is its own once power is back."""

    def __init__(self, library: ctypes.CDLL, program: int = 7) -> None:
        self._lib = library
        self.memory = (ctypes.c_uint8 * (2 * SLOT)).in_dll(library, "store_memory")
        self.state = (ctypes.c_uint8 * STATE).in_dll(library, "store_state")
        self._cell("store_stuck", ctypes.c_uint8).value = 0
        library.store_clear()
        self.start(program)

    def _cell(self, name: str, kind: type[Number]) -> Number:
        return kind.in_dll(self._lib, name)

    def start(self, program: int = 7) -> int:
        """Power on: the step of the checkpoint that is loaded, whose state is that of the step."""
        self._cell("store_program", ctypes.c_uint32).value = program
        self.state[:] = random.Random("at power-on").randbytes(STATE)
        step = int(self._lib.nn_store_load())
        assert bytes(self.state) == (state_of(step) if step else state_of("at power-on"))
        return step

    def save(self, step: int, operation: int = 0, tear: int = 0) -> bool:
        """Whether the checkpoint of a step is made; the power may fail at an operation."""
        self.state[:] = state_of(step)
        return bool(self._lib.store_save(step, operation, tear))

    def save_all(self, *steps: int) -> None:
        for step in steps:
            assert self.save(step)

    def forget(self, operation: int = 0, tear: int = 0) -> bool:
        return bool(self._lib.store_forget(operation, tear))

    def wear_out(self, bit: int) -> None:
        """A bit of the second slot stays 0."""
        self._cell("store_stuck", ctypes.c_uint8).value = bit

    @property
    def violations(self) -> int:
        return int(self._cell("store_violations", ctypes.c_uint32).value)

    @property
    def operations(self) -> int:
        return int(self._cell("store_operations", ctypes.c_uint32).value)


def state_of(step: int | str) -> bytes:
    return random.Random(step).randbytes(STATE)


@pytest.fixture
def chip(library: ctypes.CDLL) -> Iterator[Chip]:
    made = Chip(library)
    yield made
    assert made.violations == 0


def test_the_newest_checkpoint_is_loaded(chip: Chip) -> None:
    assert chip.start() == 0
    for step in range(10, 200, 10):
        before = chip.operations
        assert chip.save(step)
        fresh = step <= 20  # nothing to void
        assert chip.operations - before == OPERATIONS - fresh
        assert chip.start() == step


@pytest.mark.parametrize("saved", [0, 1, 2, 3])
def test_a_power_cut_at_every_operation(chip: Chip, library: ctypes.CDLL, saved: int) -> None:
    """Never is more lost than the checkpoint under way, and training goes on."""
    for operation in range(1, OPERATIONS + 1):
        for tear in TEARS:
            chip = Chip(library)
            chip.save_all(*range(1, saved + 1))
            done = chip.save(saved + 1, operation, tear)
            step = chip.start()
            assert step in (saved, saved + 1)
            assert step == saved or tear != 0 or done
            for further in range(step + 1, step + 4):
                assert chip.save(further)
                assert chip.start() == further


def test_power_cuts_in_a_row(chip: Chip, library: ctypes.CDLL) -> None:
    """Also while the slot is written anew that the cut before has left in pieces."""
    draw = random.Random(1)
    for first in range(1, OPERATIONS + 1):
        for second in range(1, OPERATIONS + 1):
            chip = Chip(library)
            chip.save_all(1, 2)
            kept = 2
            for operation in (first, second, draw.randint(1, OPERATIONS), first):
                chip.save(kept + 1, operation, draw.choice(TEARS))
                step = chip.start()
                assert step in (kept, kept + 1)
                kept = step


def test_the_seal_comes_last(chip: Chip, library: ctypes.CDLL) -> None:
    for operation in range(2, OPERATIONS):
        chip = Chip(library)
        chip.save_all(1, 2)
        assert not chip.save(3, operation, tear=1)
        assert bytes(chip.memory[:4]) in (bytes(4), b"\xff" * 4)


def test_cuts_at_random_over_a_long_life(chip: Chip) -> None:
    draw = random.Random(2)
    kept = step = 0
    for _ in range(5_000):
        step += 1
        operation = draw.randint(1, OPERATIONS) if draw.random() < 0.5 else 0
        done = chip.save(step, operation, draw.randint(0, 1 << 30))
        if done:
            kept = step
        if not done or draw.random() < 0.1:
            found = chip.start()
            assert found in (kept, step)
            kept = step = found


def test_another_program_begins_anew_and_the_wear_counts_on(chip: Chip) -> None:
    def sequences() -> list[int]:
        return sorted(int.from_bytes(chip.memory[at + 8 : at + 12], "little") for at in (0, SLOT))

    chip.save_all(1, 2, 3)
    assert chip.start(program=8) == 0
    assert chip.save(5)
    assert sequences() in ([2, 4], [3, 4])
    assert chip.start(program=8) == 5


def test_a_worn_slot_does_not_displace_the_other(chip: Chip) -> None:
    chip.save_all(1, 2, 3)
    chip.wear_out(0x10)
    held, refused = 3, 0
    for step in range(4, 40):
        assert chip.save(step)
        found = chip.start()
        assert found in (held, step)  # the bit may happen to be 0 anyway
        refused += found != step
        held = found
    assert refused > 5


def test_a_worn_slot_and_a_power_cut(chip: Chip, library: ctypes.CDLL) -> None:
    for operation in range(1, OPERATIONS + 1):
        chip = Chip(library)
        chip.save_all(1, 2, 3)
        chip.wear_out(0xFF)
        assert chip.save(4)
        chip.save(5, operation, 1)
        assert chip.start() == 3


def test_what_is_forgotten_is_not_found_again(chip: Chip, library: ctypes.CDLL) -> None:
    for saved in range(4):
        for operation in range(3):
            for tear in TEARS:
                chip = Chip(library)
                chip.save_all(*range(1, saved + 1))
                if chip.forget(operation, tear):
                    assert chip.start() == 0
                else:
                    assert chip.start() <= saved
                    assert chip.forget()
                    assert chip.start() == 0
                assert chip.save(9)
                assert chip.start() == 9


def test_bits_that_fall_over_the_years_are_noticed(chip: Chip) -> None:
    chip.save_all(1, 2)
    whole = bytes(chip.memory)
    for bit in range(8 * SLOT, 8 * (SLOT + 20 + STATE)):
        chip.memory[:] = whole
        chip.memory[bit // 8] ^= 1 << bit % 8
        assert chip.start() == 1
