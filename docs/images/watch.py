"""Makes watch.svg, the picture in the README, from a run: python docs/images/watch.py [STEPS]

Trains the project in the repository's root on its board and draws the live view's last picture.
"""

from __future__ import annotations

import html
import io
import re
import sys
from pathlib import Path

from rich.console import Console, Group
from rich.text import Text

from nnhost import load_project
from nnhost.boards import get
from nnhost.build import flash
from nnhost.outcome import Result
from nnhost.view import LiveView, summary
from nnhost.watch import watch

ROOT = Path(__file__).parents[2]
HEIGHT = 30
CELL = 12.2  # width of a character in the picture
LINE = 24.4
BRAILLE = re.compile(
    r'<text class="(?P<name>[^"]*)" x="(?P<x>[^"]*)" y="(?P<y>[^"]*)"[^>]*>'
    r"(?P<text>[^<]*[\u2801-\u28ff][^<]*)</text>"
)


class Picture(LiveView):
    """Keeps what a terminal would show at the end of a run."""

    drawn: Group

    def end(self, result: Result) -> None:
        """Draw it."""
        self.drawn = Group(
            Text.assemble(("$ ", "dim"), "nnhost watch"),
            self._picture(),
            summary(self._meter, result),
        )
        super().end(result)


def dots(match: re.Match[str]) -> str:
    """Braille as dots: not every reader's fonts have these characters."""
    name, left, base, text = match["name"], float(match["x"]), float(match["y"]), match["text"]
    squares = []
    for at, cell in enumerate(html.unescape(text)):
        bits = ord(cell) - 0x2800 if cell != "\xa0" else 0
        for bit in range(8):
            if bits >> bit & 1:
                column, row = (bit // 3, bit % 3) if bit < 6 else (bit - 6, 3)
                x, y = left + (at + column / 2) * CELL, base - 18.5 + row * LINE / 4
                squares.append(f"M{x:.1f} {y:.1f}h5v5h-5z")
    return f'<path class="{name}" d="{"".join(squares)}"/>'


def main(steps: int | None) -> None:
    """Train for `steps`, or as nn.toml says, and write the picture."""
    project = load_project(ROOT)
    board = get(project.board.name)
    flash(project, board, None)
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100, height=HEIGHT)
    view = Picture(terminal)
    watch(project, board, view, steps=steps)
    paper = Console(file=io.StringIO(), record=True, width=100, highlight=False)
    paper.print(view.drawn)
    svg = paper.export_svg(title="nnhost", unique_id="nnhost")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)  # nothing is fetched to see it
    svg = BRAILLE.sub(dots, svg)
    Path(__file__).with_suffix(".svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
