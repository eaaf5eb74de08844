"""What to say, and what to keep, when a board and its simulator differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnhost.errors import DifferenceError, NnhostError
from nnhost.files import write_atomically
from nnhost.generate import Network
from nnhost.ir import Program
from nnhost.simulator import unpack

#: What a board reports, by the names of the link's messages.
Facts = Mapping[str, int]

_DIGESTS = {
    "trace": "digest of activations and logits",
    "slice": "digest of a slice of the state",
    "crc": "digest of the state",
    "digest": "digest of the state",
}
_NAMES = {**_DIGESTS, "loss_milli": "loss"}
_MOST_ELEMENTS = 1000  # the states are kept whole


@dataclass(frozen=True)
class Moment:
    """What a comparison was about: `where`, in words, and the sample that was seen last.

    `reached`: the step after which the states were taken, if the board had been sent more steps.
    """

    step: int
    where: str
    row: int | None = None
    sample: bytes = b""
    reached: int | None = None


@dataclass(frozen=True)
class Element:
    """One number of the training state that differs."""

    tensor: str
    index: tuple[int, ...]
    board: int
    simulator: int

    def __str__(self) -> str:
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return f"{self.tensor}{place} is {self.board}, not {self.simulator}"


def differing(program: Program, board: bytes, simulator: bytes) -> list[Element]:
    """The numbers in which two states differ, in the order of the state."""
    here, there = unpack(program.state, simulator), unpack(program.state, board)
    found = []
    for buffer in program.state:
        ours, theirs = np.asarray(here[buffer.name]), np.asarray(there[buffer.name])
        for at in np.argwhere(ours != theirs):
            index = tuple(int(i) for i in at)
            found.append(Element(buffer.name, index, int(theirs[index]), int(ours[index])))
    return found


def difference(
    network: Network,
    board_name: str,
    moment: Moment,
    board: Facts,
    simulator: Facts,
    board_state: bytes | None,
    simulator_state: bytes,
    folder: Path,
) -> DifferenceError:
    """The error to raise, once the evidence lies in `folder`/difference-STEP.json.

    `board` and `simulator` hold what each reports, by the same names; `board_state` is None where
    it cannot be read.
    """
    elements = differing(network.program, board_state or simulator_state, simulator_state)
    evidence = {
        "board": board_name,
        "program": f"{network.fingerprint:08X}",
        "where": moment.where,
        "step": moment.step,
        "row": moment.row,
        "sample": moment.sample.hex(),
        "reported": dict(board),
        "expected": dict(simulator),
        "reached": moment.step if moment.reached is None else moment.reached,
        "differing": [vars(element) for element in elements[:_MOST_ELEMENTS]],
        "board_state": board_state.hex() if board_state is not None else None,
        "simulator_state": simulator_state.hex(),
        "formats": network.plan.describe(),
    }
    kept = _kept(folder / f"difference-{moment.step}.json", evidence)

    facts = [
        f"{_NAMES.get(name, name)} {_shown(network, name, board[name])} on the board, "
        f"{_shown(network, name, simulator[name])} in the simulator"
        for name in simulator
        if board[name] != simulator[name]
    ]
    later = "" if moment.reached is None else f"after step {moment.reached} "
    if elements:
        others = f" ({len(elements)} numbers differ)" if len(elements) > 1 else ""
        facts.append(f"{later}{elements[0]}{others}")
    elif board_state is not None:
        facts.append(f"the state {later or 'afterwards '}is the same")
    return DifferenceError(
        f"{board_name} and the simulator differ {moment.where}: {'; '.join(facts)}",
        help=f"{kept}; nnhost verify --board all --steps {moment.step} shows which boards differ",
    )


def _kept(path: Path, evidence: Mapping[str, object]) -> str:
    """Writes the evidence; tells where it is."""
    try:
        write_atomically(path, json.dumps(evidence, indent=1).encode())
    except NnhostError as error:  # the difference is what matters
        return error.message
    return f"all that is known is in {path}"


def _shown(network: Network, name: str, value: int) -> str:
    """A value as the user reads it."""
    if name == "loss":
        return f"{value * network.plan.loss_scale:.6g} ({value})"
    if name == "loss_milli":
        return f"{value / 1000:.3f}"
    return f"{value:04X}" if name in _DIGESTS else str(value)
