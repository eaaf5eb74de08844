"""Every command in the README and the tutorial works, and prints what they say it does.

Blocks marked `sh` are run; in those marked `console` the lines after `$` are run and the others
compared with what comes out, where `...` stands for any lines. Times, rates and program numbers
may differ, sizes and cycles a little: digests and results of training may not. `text` is not run.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from .conftest import ROOT, Block, blocks, read

PAGES = ("README.md", "docs/tutorial.md")
#: Their pages are read in the folder of a project made from them.
EXAMPLES = ("mnist", "vanishing", "exploding", "overfitting")
LANGUAGES = {"c", "console", "python", "sh", "text"}
#: How much of a size or an estimate may change before the page has to.
TOLERANCE = 0.05
LEAST_TOLERANCE = 32  # bytes
_VOLATILE = re.compile(
    r"\d+(\.\d+)? m?s\b|\d+:\d\d min|[\d,.]+ steps/s"  # times
    r"|\b[0-9A-F]{8}\b"  # programs
    r"|\d+ bytes of \w+, \d+ more"  # how far a net is too large
)
_SIZES = re.compile(r"(flash|iram|xram|ram) +\d|about \d")
_NUMBER = re.compile(r"\d[\d,]*")


def _run(script: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        check=False,
    )
    return done.returncode, done.stdout


def _same(shown: str, real: str) -> bool:
    """Whether two lines say the same."""
    shown, real = (_VOLATILE.sub("#", " ".join(line.split())) for line in (shown, real))
    if shown == real:
        return True
    if not _SIZES.match(shown) or _NUMBER.sub("#", shown) != _NUMBER.sub("#", real):
        return False
    before, now = ([int(n.replace(",", "")) for n in _NUMBER.findall(s)] for s in (shown, real))
    return all(
        abs(b - a) <= max(LEAST_TOLERANCE, TOLERANCE * a) for a, b in zip(before, now, strict=True)
    )


def _differs(shown: list[str], real: list[str]) -> str | None:
    """The first line of either that the other does not have in its place."""
    at = 0
    anywhere = False
    for line in shown:
        if line == "...":
            anywhere = True
            continue
        while anywhere and at < len(real) and not _same(line, real[at]):
            at += 1
        if at == len(real) or not _same(line, real[at]):
            return line
        anywhere = False
        at += 1
    return None if anywhere or at == len(real) else real[at]


def _lines(text: str) -> list[str]:
    return text.rstrip().splitlines()


def _play(block: Block, folder: Path, environment: Mapping[str, str]) -> None:
    for step in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
        command, _, shown = step.partition("\n")
        if command.startswith("cd "):
            folder = folder / command.removeprefix("cd ")
            continue
        code, real = _run(command, folder, environment)
        line = _differs(_lines(shown), _lines(real))
        assert line is None, f"line {block.line}: $ {command}\n{line!r} differs:\n{real}"
        assert (code != 0) == ("error: " in shown), f"line {block.line}: $ {command}: exit {code}"


def _play_all(page: str, folder: Path, environment: Mapping[str, str]) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"line {block.line}"
        if block.language == "console":
            _play(block, folder, environment)
        elif block.language == "sh":
            code, output = _run(block.text, folder, environment)
            assert code == 0, f"line {block.line}: {output}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_work_and_print_what_is_shown(
    page: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    _play_all(page, tmp_path, environment)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_do_what_their_pages_say(
    example: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    new = f"nnhost new {example} --template {example}"
    assert _run(new, tmp_path, environment)[0] == 0
    _play_all(f"examples/{example}/README.md", tmp_path / example, environment)


def test_the_example_of_a_test_passes(tmp_path: Path, environment: dict[str, str]) -> None:
    (example,) = [block.text for block in blocks("README.md") if block.language == "python"]
    pytest_ = f"{shlex.quote(sys.executable)} -m pytest -q -p no:cacheprovider test_net.py"
    assert _run("nnhost new flowers --template iris", tmp_path, environment)[0] == 0
    folder = tmp_path / "flowers"
    (folder / "test_net.py").write_text(example)
    code, output = _run(pytest_, folder, environment)
    assert code == 0, output
    assert "1 passed" in output


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.M))
    pages = "".join(map(read, ("README.md", "CONTRIBUTING.md", "docs/architecture.md")))
    named = set(re.findall(r"(?:^|`)make ([\w-]+)", pages, re.M))
    assert {"demo", "test", "setup"} <= named <= targets


def _pages() -> list[str]:
    return sorted(
        str(page.relative_to(ROOT))
        for pattern in ("*.md", "docs/*.md", "examples/*/*.md")
        for page in ROOT.glob(pattern)
    )


def _anchor(heading: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", _pages())
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / file if file else ROOT / page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.M)
            assert anchor in map(_anchor, headings), target


@pytest.mark.parametrize("page", _pages())
def test_nothing_is_left_to_fill_in(page: str) -> None:
    assert not re.search(r"^[A-Z]{4,}$|\bTODO\b|\bXXX\b|\bFIXME\b", read(page), re.M)
