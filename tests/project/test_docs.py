"""docs/nn-toml.md describes every key, and its example is the digits project."""

from __future__ import annotations

import re
from pathlib import Path

from nnhost.data import SHIPPED
from nnhost.project import _KEYS, load_project

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "nn-toml.md").read_text()


def test_every_key_is_described() -> None:
    described: dict[str, set[str]] = {}
    for line in DOCS.splitlines():
        if heading := re.match(r"## \[(\w+)\]", line):
            described[heading[1]] = set()
        elif row := re.match(r"\| `(\w+)` \|", line):
            described[list(described)[-1]].add(row[1])
    assert described == {section: set(keys) for section, keys in _KEYS.items()}


def test_the_example_is_valid(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", DOCS, re.DOTALL)
    assert example
    (tmp_path / "nn.toml").write_text(example[1])
    shown, digits = load_project(tmp_path), load_project(ROOT)
    assert (shown.net, shown.train, shown.data) == (digits.net, digits.train, digits.data)


def test_every_shipped_set_is_named_with_its_source() -> None:
    sources = (ROOT / "host" / "nnhost" / "data" / "SOURCES.md").read_text()
    for name in SHIPPED:
        assert f"`{name}`" in DOCS
        assert f"| {name} |" in sources
