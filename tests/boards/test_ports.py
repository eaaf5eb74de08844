"""Each port on its virtual board: every byte value both ways, bursts, resets, fresh memory."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from nnhost.boards import BOARDS, Board
from nnhost.build import Built
from nnhost.link.messages import Cause
from nnhost.run.line import Line
from nnhost.run.virtual import clock_units, power_on

from .conftest import VIRTUAL, counted, greeting, receive

EVERY_BYTE = bytes(i & 0xFF for i in range(1000))


@pytest.mark.parametrize("name", VIRTUAL)
def test_port(name: str, echo: Callable[[Board], Built]) -> None:
    board = BOARDS[name]
    line = power_on(board, echo(board).image)
    assert receive(line, len(greeting(board))) == greeting(board)

    # Variables are what C says: they are used up, and fresh again only after a reset.
    line.write(b"MM")
    assert receive(line, 2) == b"yn"

    line.write(counted(b"E", 1000) + EVERY_BYTE)
    assert receive(line, 1000) == EVERY_BYTE

    # One at a time, with nn_port_ready deciding.
    for i in range(256):
        line.write(b"P" + bytes([i]))
        assert receive(line, 1) == bytes([i])

    # A burst, faster than the board reads.
    burst = os.urandom(5000)
    line.write(counted(b"B", 5000) + burst)
    weighed = 0
    for byte in burst:
        weighed = weighed * 31 + byte & 0xFFFF
    assert receive(line, 2) == weighed.to_bytes(2, "little")

    # What comes while the receiver is off, as during a training step, waits.
    line.write(counted(b"W", 3000) + counted(b"E", 100) + EVERY_BYTE[:100])
    assert receive(line, 100) == EVERY_BYTE[:100]

    # The last byte before a reset still arrives; then the board starts anew and listens.
    line.write(b"?R")
    assert receive(line, 1 + len(greeting(board))) == b"?" + greeting(board)
    line.write(b"M" + counted(b"E", 1000) + EVERY_BYTE)
    assert receive(line, 1001) == b"y" + EVERY_BYTE
    line.close()


def test_a_sleeping_cortex_m_misses_no_wake_up(echo: Callable[[Board], Built]) -> None:
    """Each byte comes alone, at a moment that may fall between the check and the sleep."""
    board = BOARDS["qemu-m3"]
    line = power_on(board, echo(board).image)
    receive(line, len(greeting(board)))
    line.write(counted(b"E", 5000))
    for i in range(5000):
        line.write(bytes([i & 0xFF]))
        assert receive(line, 1) == bytes([i & 0xFF])
    line.close()


@pytest.mark.parametrize("name", [name for name in VIRTUAL if BOARDS[name].unit])
def test_the_stopwatch_counts_every_cycle(name: str, echo: Callable[[Board], Built]) -> None:
    """So many rounds more take so many times longer, also beyond 16 bits (an 8051's timer) and
    beyond 24 (a SysTick)."""
    board = BOARDS[name]
    line = power_on(board, echo(board).image, counting=True)
    receive(line, len(greeting(board)))

    def units(rounds: int) -> float:
        line.write(counted(b"C", rounds))
        return clock_units(board, int.from_bytes(receive(line, 4), "little"))

    idle, some = units(0), units(10)
    assert 0 < idle < 100
    for rounds in (1, 100, 1000, *([6000] if board.unit == "instructions" else [])):
        expected = idle + (some - idle) / 10 * rounds
        # The 8051's loop takes a cycle more where a counter's lower byte goes round, and QEMU's
        # clock has a resolution of a quarter of an instruction.
        assert abs(units(rounds) - expected) <= 0.5 + 0.05 * rounds
    assert some - idle > 1000
    line.close()


@pytest.mark.parametrize("name", [name for name in VIRTUAL if BOARDS[name].unit])
def test_the_stack_shows_how_far_it_has_grown(name: str, echo: Callable[[Board], Built]) -> None:
    board = BOARDS[name]
    line = power_on(board, echo(board).image)
    receive(line, len(greeting(board)))

    def most(depth: int) -> int:
        line.write(b"D" + bytes([depth]))
        return int.from_bytes(receive(line, 2), "little")

    # A Cortex-M's interrupts take some of it, too.
    shallow, deep = most(2), most(12 if board.family == "mcs51" else 60)
    assert 4 <= shallow < deep - 20
    assert most(2) == deep
    line.close()


def _restarted(board: Board, line: Line) -> tuple[int, int]:
    """Why a board says that it has started, and where it was before."""
    assert receive(line, len(greeting(board))) == greeting(board)
    line.write(b"S")
    told = receive(line, 5)
    return told[0], int.from_bytes(told[1:], "little")


@pytest.mark.parametrize("name", [name for name in VIRTUAL if BOARDS[name].unit])
def test_a_chip_tells_why_it_started(name: str, echo: Callable[[Board], Built]) -> None:
    board = BOARDS[name]
    line = power_on(board, echo(board).image, counting=True)  # time goes by instructions
    # uCsim and QEMU's STM32 do not tell power-on from other resets; QEMU's nRF51 says what a
    # micro:bit says, whose other chip resets it.
    told = {"qemu-m0": Cause.PIN}.get(name, Cause.POWER if "cmsdk" in board.ports else 0)
    assert _restarted(board, line) == (told, 0)
    line.write(b"R")
    assert _restarted(board, line) == (Cause.SOFTWARE, 0)
    if board.family == "cortex-m":
        line.write(b"F")
        cause, at = _restarted(board, line)
        assert cause == Cause.FAULT
        assert board.flash.origin < at < board.flash.origin + board.flash.size
    if "cmsdk" in board.ports:
        line.write(b"H")
        cause, at = _restarted(board, line)
        assert cause == Cause.WATCHDOG
        assert board.flash.origin < at < board.flash.origin + board.flash.size
        line.write(b"R")
        assert _restarted(board, line) == (Cause.SOFTWARE, 0)
    line.close()


@pytest.mark.parametrize("name", [name for name in VIRTUAL if BOARDS[name].unit])
def test_a_stack_that_runs_out_is_seen(name: str, echo: Callable[[Board], Built]) -> None:
    """It grows until the last of it is in use, or until it runs out of memory."""
    board = BOARDS[name]
    line = power_on(board, echo(board).image)
    assert _restarted(board, line)[1] == 0
    for depth in range(256):
        line.write(b"OD" + bytes([depth]))
        if receive(line, 1) != b"\0":
            break
        receive(line, 2)
    else:
        pytest.fail("it never runs out")
    line.close()
