"""Checkpoints that a board makes in its own store while it trains by itself."""

from __future__ import annotations

from dataclasses import dataclass

from nnhost.boards import BOARDS, Board, Store
from nnhost.errors import CapacityError

#: Bytes of a slot before the state; firmware/core/nn_store.c lays them out.
HEADER = 20
#: A slot is written when the other one holds the newest checkpoint.
SLOTS = 2


@dataclass(frozen=True)
class Checkpoints:
    """What the checkpoints of a training take. `every`: steps between two of them; `number` of
    them in a run; `bytes` of one, with its header."""

    every: int
    number: int
    bytes: int
    store: Store

    @property
    def erasures(self) -> int:
        """How often a run erases a page."""
        return -(-self.number // SLOTS)

    def event(self) -> dict[str, int | None]:
        """What `--json` says of them."""
        return {
            "number": self.number,
            "bytes": self.bytes,
            "slot": self.store.slot,
            "erasures": self.erasures,
            "endurance": self.store.endurance or None,
        }

    def __str__(self) -> str:
        text = (
            f"{self.number:,} checkpoints a training, {self.bytes:,} of {self.store.slot:,} bytes"
        )
        if self.store.endurance:
            text += f"; they erase a page {self.erasures:,} times, and it lasts for"
            text += f" {self.store.endurance:,}"
        return text


def checkpoints(board: Board, every: int, steps: int, state: int) -> Checkpoints | None:
    """What keeping a state of so many bytes every so many of `steps` takes; None for `every` 0.

    Raises `CapacityError` if the board has no store, or one that cannot hold them.
    """
    if not every:
        return None
    leave = "leave checkpoint_every out of [train]"
    if board.store is None:
        others = ", ".join(name for name, other in BOARDS.items() if other.store)
        raise CapacityError(
            f"{board.name} has no memory for checkpoints",
            help=f"{leave}, or take a board that has: {others}",
        )
    found = Checkpoints(every, -(-steps // every), HEADER + state, board.store)
    if found.bytes > board.store.slot:
        raise CapacityError(
            f"{board.name}: a checkpoint takes {found.bytes:,} bytes, and a slot of its store has"
            f" {board.store.slot:,}",
            help=f"make the net smaller, or {leave}",
        )
    if 0 < board.store.endurance < found.erasures:
        least = -(-steps // (SLOTS * board.store.endurance))
        raise CapacityError(
            f"{board.name}: {found.number:,} checkpoints erase a page of its store"
            f" {found.erasures:,} times, and it lasts for {board.store.endurance:,}",
            help=f"set checkpoint_every = {least} in [train], or more",
        )
    return found
