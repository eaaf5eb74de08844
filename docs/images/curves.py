"""Makes the curves in the examples' READMEs, from runs: python docs/images/curves.py [EXAMPLE ...]

Trains each of the examples below with the settings that its README compares, on this computer, and
draws the loss of every epoch.
"""

from __future__ import annotations

import math
import sys
from html import escape
from pathlib import Path

from nnhost import load_project, simulate

EXAMPLES = Path(__file__).parents[2] / "examples"
#: For each example what is drawn, the losses of "training" or of "validation", and the runs.
FIGURES = {
    "vanishing": (
        "training",
        {
            "sigmoid": [],
            "sigmoid, batch_norm": ["net.batch_norm=true"],
            "relu": ["net.activation=relu"],
        },
    ),
    "exploding": (
        "training",
        {
            "as it is": [],
            "clip_value = 0.1": ["train.clip_value=0.1"],
            "clip_norm = 2": ["train.clip_norm=2"],
        },
    ),
    "overfitting": (
        "validation",
        {
            "as it is": [],
            "early_stopping = 3": ["train.early_stopping=3"],
            "dropout = 0.7": ["net.dropout=0.7"],
            "l2 = 0.06": ["train.l2=0.06"],
        },
    ),
}
#: Those of the terminal in watch.svg.
PAPER, TEXT, DIM = "#292929", "#c5c8c6", "#868887"
COLOURS = ("#cc555a", "#68a0b3", "#98a84b", "#d0b344")
WIDTH, HEIGHT = 900, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 60, 60


def losses(example: str, part: str, settings: list[str]) -> list[float]:
    """The mean loss of each epoch."""
    result = simulate(load_project(EXAMPLES / example, settings), "native")
    if part == "validation":
        return [end.validation.loss for end in result.looked_at if end.validation]
    means: list[float] = result.losses.reshape(-1, result.rows).mean(axis=1).tolist()
    return means


def picture(title: str, part: str, runs: dict[str, list[float]]) -> str:
    """The curves as SVG: epochs to the right, losses upward from 0."""
    epochs = max(map(len, runs.values()))
    most = max(map(max, runs.values()))
    step = next(s * 10**e for e in range(-3, 9) for s in (1, 2, 5) if most / (s * 10**e) <= 5)
    top = step * math.ceil(most / step)

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (epoch - 1) / max(1, epochs - 1)

    def y(loss: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * loss / top

    def text(at: float, line: float, words: str, colour: str, anchor: str = "start") -> str:
        return (
            f'<text x="{at:.0f}" y="{line:.0f}" fill="{colour}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    lines = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg"'
        ' font-family="Fira Code, monospace" font-size="15">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{PAPER}"/>',
        text(LEFT, 34, title, TEXT),
    ]
    for i in range(round(top / step) + 1):
        at = y(i * step)
        lines += [
            f'<path stroke="{DIM}" stroke-opacity="0.3" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>',
            text(LEFT - 10, at + 5, f"{i * step:g}", DIM, "end"),
        ]
    for epoch in (1, epochs):
        lines.append(text(x(epoch), HEIGHT - BOTTOM + 24, str(epoch), DIM, "middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    axes = f"epoch; mean {part} loss of each"
    lines.append(text(middle, HEIGHT - BOTTOM + 44, axes, DIM, "middle"))
    for i, (name, values) in enumerate(runs.items()):
        colour = COLOURS[i]
        points = " ".join(f"{x(n):.1f},{y(loss):.1f}" for n, loss in enumerate(values, 1))
        legend = TOP + 10 + 26 * i
        lines += [
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>',
            f'<path stroke="{colour}" stroke-width="4" d="M{WIDTH - RIGHT + 16} {legend - 5}h20"/>',
            text(WIDTH - RIGHT + 46, legend, name, TEXT),
        ]
    return "\n".join([*lines, "</svg>", ""])


def main(names: list[str]) -> None:
    """Draw the curves of the examples named, or of all."""
    for name in names or FIGURES:
        part, settings = FIGURES[name]
        runs = {label: losses(name, part, keys) for label, keys in settings.items()}
        drawn = picture(f"nnhost simulate, examples/{name}", part, runs)
        (EXAMPLES / name / "curves.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
