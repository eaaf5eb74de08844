"""The link between host and board: messages, frames, sessions and digests (docs/protocol.md)."""

from __future__ import annotations

from nnhost.link.digest import (
    STEPS_A_SLICE,
    crc16,
    slice_bounds,
    slice_digest,
    state_digest,
    trace_digest,
)
from nnhost.link.messages import Audit, Cause, Evaluation, Flag, Report, State, Welcome
from nnhost.link.session import Counters, Session, wrong_program
from nnhost.link.text import Text, TextDone, TextProgram, TextResumed, TextStep, read_text
from nnhost.link.transport import Transport

__all__ = [
    "STEPS_A_SLICE",
    "Audit",
    "Cause",
    "Counters",
    "Evaluation",
    "Flag",
    "Report",
    "Session",
    "State",
    "Text",
    "TextDone",
    "TextProgram",
    "TextResumed",
    "TextStep",
    "Transport",
    "Welcome",
    "crc16",
    "read_text",
    "slice_bounds",
    "slice_digest",
    "state_digest",
    "trace_digest",
    "wrong_program",
]
