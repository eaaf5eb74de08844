"""CSV: separated by comma, semicolon or tab, with or without a header, labels in any column."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain

import numpy as np

from nnhost.data.samples import Samples, check_numbers, missing
from nnhost.errors import NnhostError, UsageError, nearest, quote

_MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}
_MISSING_LABEL = {"", "?", "nan"}


def read_csv(content: bytes, source: str, label: str | None) -> Samples:
    """The rows of a CSV file; the column named `label`, else the last, holds the labels.

    The first row is a header when none of its cells is a number, or when one of them is `label`.
    Raises NnhostError naming line and column.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NnhostError(f"{source} is not text", help="save it as CSV in UTF-8") from None
    rows = _rows(text, source)
    line, first = next(rows, (0, []))
    width = len(first)
    if width == 0:
        raise NnhostError(f"{source} is empty")
    if width == 1:
        raise NnhostError(
            f"{source}:{line}: one column only",
            help="a row is numbers and a label, separated by a comma, a semicolon or a tab",
        )
    if label in first or not any(_is_number(cell) for cell in first):
        names = [name or f"column {i}" for i, name in enumerate(first, 1)]
    elif label is None:
        names = [f"column {i}" for i in range(1, width + 1)]
        rows = chain([(line, first)], rows)
    else:
        raise UsageError(
            f"{source} has no header, so no column is called {quote(label)}",
            help="give it a first line with the columns' names",
        )
    if label is not None and label not in names:
        raise UsageError(f"{source} has no column {quote(label)}", help=nearest(label, names))
    label_column = width - 1 if label is None else names.index(label)
    label_name = names.pop(label_column)

    lines: list[int] = []
    values: list[list[float]] = []
    labels: list[str] = []
    for line, cells in rows:
        place = f"{source}:{line}"
        if len(cells) != width:
            raise NnhostError(
                f"{place}: {len(cells)} columns, but {width} in the first line",
                help="every row wants the same; text that holds the separator wants quotes",
            )
        name = cells.pop(label_column)
        if name.lower() in _MISSING_LABEL:
            raise missing(f"{place}: {quote(label_name)}")
        lines.append(line)
        labels.append(name)
        values.append(_numbers(cells, names, place))
    if not values:
        raise NnhostError(f"{source} holds no rows below its header")

    x = np.array(values)
    check_numbers(x, lambda row, column: f"{source}:{lines[row]}: {quote(names[column])}")
    y = np.array(labels)
    if all(_is_number(name) for name in labels):
        y = y.astype(np.float64)
        check_numbers(y[:, None], lambda row, _: f"{source}:{lines[row]}: {quote(label_name)}")
    return Samples(source, x, y, tuple(names))


def _rows(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank: the line it begins on, and its cells without outer blanks."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    line = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise NnhostError(f"{source}:{line}: {error}", help="are its quotes in pairs?") from None


def _delimiter(text: str) -> str:
    """The separator that cuts the first line into the most cells."""
    first = re.sub(r'"[^"]*"', "", text).lstrip().partition("\n")[0]
    return max("\t;,", key=first.count)


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    if "_" in cell:  # float() would take 1_000
        raise ValueError
    return float(cell)


def _numbers(cells: list[str], names: list[str], place: str) -> list[float]:
    try:
        if "_" not in "".join(cells):  # else `_number` says which
            return list(map(float, cells))
        return [_number(cell) for cell in cells]
    except ValueError:
        column = next(i for i, cell in enumerate(cells) if not _is_number(cell))
    place, cell = f"{place}: {quote(names[column])}", cells[column]
    if cell.lower() in _MISSING:
        raise missing(place)
    raise NnhostError(
        f"{place} is {quote(cell)}, not a number",
        help="write decimals with a point"
        if re.fullmatch(r"[+-]?\d+,\d+", cell)
        else "only the label may be text; label = in [data] names its column",
    )
