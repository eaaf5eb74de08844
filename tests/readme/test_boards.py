"""The README's table of boards says what `nnhost boards` says."""

from __future__ import annotations

import re

from nnhost.boards import BOARDS, Board

from .conftest import read

HEAD = "| board | chip | flash | RAM | xor, steps/s | digits, steps/s | status |"


def _size(size: int) -> str:
    for unit, name in ((1 << 20, "MB"), (1 << 10, "KB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def _facts(board: Board) -> list[str]:
    """What the table says of a board, but for the measured rates."""
    ram = ", ".join(
        f"{_size(m.size)} {space}".removesuffix(" ram") for space, m in board.ram.items()
    )
    return [board.name, board.cpu, _size(board.flash.size), ram, board.status]


def _rows() -> list[list[str]]:
    text = read("README.md")
    table = text[text.index(HEAD) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_the_table_is_that_of_the_records() -> None:
    assert [[*row[:4], row[6]] for row in _rows()] == [_facts(board) for board in BOARDS.values()]


def test_only_what_was_measured_has_a_rate() -> None:
    for row in _rows():
        real = BOARDS[row[0]].kind == "real"
        for rate in row[4:6]:
            assert rate == "" if real else re.fullmatch(r"[\d,]+|refused", rate)
