"""The blocks of a page of documentation, and folders to run them in with nnhost on the path."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text and the line of the page it begins in."""

    language: str
    text: str
    line: int


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    text = read(page)
    return [
        Block(m["language"], m["text"], text.count("\n", 0, m.start()) + 2)
        for m in re.finditer(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", text, re.M | re.S)
    ]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose `nnhost` is this interpreter's, in this repository."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "nnhost"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nnhost "$@"\n')
    program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "host")}
