from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

HOST = Path(__file__).resolve().parents[2] / "host"


@pytest.fixture(scope="session", autouse=True)
def processes_find_nnhost() -> Iterator[None]:
    """Whether it is installed or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HOST), prepend=os.pathsep)
        yield
