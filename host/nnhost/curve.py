"""The loss of a whole run as a curve of characters, in memory that does not grow with the run."""

from __future__ import annotations

from collections.abc import Sequence

_BLANK = 0x2800
#: The bits of a Braille character's two columns of dots, each from the bottom up.
_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))


class Curve:
    """Means of equal stretches of a run of `total` steps; at most `most` stretches."""

    def __init__(self, total: int, most: int = 512) -> None:
        self._stretch = -(-total // most)
        self._stretches = -(-total // self._stretch)
        self._sums: list[float] = []
        self._left = 0

    def add(self, loss: float) -> None:
        """The next step's loss."""
        self.extend((loss,))

    def extend(self, losses: Sequence[float]) -> None:
        """The next steps' losses."""
        at = 0
        while at < len(losses):
            if self._left == 0:
                self._sums.append(0.0)
                self._left = self._stretch
            part = losses[at : at + self._left]
            self._sums[-1] += sum(part)
            self._left -= len(part)
            at += len(part)

    def means(self, columns: int) -> list[float]:
        """The curve so far, of a run that is to fill `columns` columns."""
        sums: list[float] = []
        steps: list[int] = []
        for at, total in enumerate(self._sums):
            open_steps = self._left if at == len(self._sums) - 1 else 0
            column = at * columns // self._stretches
            while len(sums) <= column:
                sums.append(0.0)
                steps.append(0)
            sums[column] += total
            steps[column] += self._stretch - open_steps
        # A short run has fewer stretches than columns: the ones between repeat the one before.
        found: list[float] = []
        for total, count in zip(sums, steps, strict=True):
            found.append(total / count if count else found[-1])
        return found

    def draw(self, width: int, height: int) -> tuple[list[str], float]:
        """`height` lines of `width` Braille characters from 0 up, and the loss at their top."""
        means = self.means(2 * width)
        top = max(means, default=0.0) or 1.0
        rows = 4 * height - 1
        cells = [[_BLANK] * width for _ in range(height)]
        before: int | None = None
        for column, mean in enumerate(means):
            level = round(mean / top * rows)
            near = level if before is None else before
            for row in range(min(level, near), max(level, near) + 1):
                # A steep piece belongs to the column it leads to.
                if row != before or row == level:
                    cells[height - 1 - row // 4][column // 2] |= _DOTS[column % 2][row % 4]
            before = level
        return ["".join(chr(c) if c != _BLANK else " " for c in line) for line in cells], top
