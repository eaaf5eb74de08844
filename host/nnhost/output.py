"""What programs read of nnhost: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TextIO


def emit(event: Mapping[str, object], out: TextIO) -> None:
    """Print an object at once, so that a reader sees it when it is true."""
    out.write(json.dumps(event, allow_nan=False) + "\n")
    out.flush()
