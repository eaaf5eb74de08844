"""Weights in planes: how an 8051 keeps the parameters of dense layers.

A 16-bit number is two bytes at the same place of two planes; the lower byte is in the first. A
plane is a row of pages of 256 bytes. The upper byte is kept with its sign bit turned round, so
that numbers are 0..65535 with 32768 for zero: the chip multiplies unsigned bytes only, and a
borrow then means saturation. Page p of plane q is page p * planes + q of the external RAM: INC
DPH leads from lower byte to upper byte. Where the external RAM has a single page, a plane is a
smaller power of two of bytes, and XRL DPL leads there.

A layer is cut into blocks of at most 16 rows, whose sums a pass keeps in internal RAM. A block is
stored column after column, the bias being the last column, and no column crosses a page: one INC
DPL leads from row to row, and at its end to the next column of the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nnhost.ir import Buffer

#: Rows of a block.
BLOCK = 16
PAGE = 256
#: The longest row: a sum of so many products of bytes fits 24 bits, and a byte counts them.
LONGEST = 255


@dataclass(frozen=True)
class Matrix:
    """A layer's parameters: weight (rows, columns) and bias (rows,) and, with an optimizer that
    has one, a slot of the shape of each."""

    weight: Buffer
    bias: Buffer
    slots: tuple[Buffer, Buffer] | None = None

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """All of them."""
        return (self.weight, self.bias, *(self.slots or ()))


@dataclass(frozen=True)
class Run:
    """Columns `first`..`first + count - 1` of a block, which lie on one page of a plane."""

    page: int
    low: int
    first: int
    count: int


@dataclass(frozen=True)
class Block:
    """Rows `first`..`first + rows - 1` of a matrix; the last column of the runs is the bias."""

    first: int
    rows: int
    runs: tuple[Run, ...]

    def column(self, number: int) -> Run:
        """The columns from `number` to the end of its page."""
        run = next(r for r in self.runs if r.first <= number < r.first + r.count)
        skipped = number - run.first
        return Run(run.page, run.low + skipped * self.rows, number, run.count - skipped)


@dataclass(frozen=True)
class Span:
    """Consecutive elements of a buffer in its own order, row after row.

    Row r begins at `low` + r of `page` (of the external RAM). The next column is `stride` bytes
    on; after `first` columns of a row, and every `each` from there, the next page of the plane
    goes on at r.
    """

    page: int
    low: int
    first: int
    each: int
    stride: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Planes:
    """Where the elements of some matrices are. `planes`: 2, or 4 with slots; `size`: bytes of a
    page of theirs."""

    matrices: tuple[Matrix, ...]
    blocks: dict[Buffer, tuple[Block, ...]]
    planes: int
    bytes: int
    size: int = PAGE

    @property
    def holes(self) -> list[tuple[int, int]]:
        """Address and size of what is left of the last page of all planes but the last, behind
        which memory goes on."""
        last, used = divmod(self.bytes - 1, self.size)
        first = last - self.planes + 1
        return [(page * self.size + used + 1, self.size - used - 1) for page in range(first, last)]

    @property
    def scratch(self) -> int:
        """Bytes of internal RAM with which passes work: four a row of the largest block, and
        seven others."""
        return 4 * max(b.rows for blocks in self.blocks.values() for b in blocks) + 7

    @property
    def buffers(self) -> frozenset[Buffer]:
        """All that is kept in planes."""
        return frozenset(b for m in self.matrices for b in m.buffers)

    def address(self, run: Run, plane: int) -> int:
        """The external address at which a run begins."""
        return (run.page * self.planes + plane) * self.size + run.low

    def spans(self) -> Iterator[tuple[Buffer, Span]]:
        """All elements in the order of the state: parameters, then slots."""
        slots = [(m, m.slots) for m in self.matrices if m.slots]
        pairs = [(m, (m.weight, m.bias), 0) for m in self.matrices]
        for matrix, buffers, plane in [*pairs, *((m, pair, 2) for m, pair in slots)]:
            blocks = self.blocks[matrix.weight]
            inputs = matrix.weight.shape[1]
            for buffer, begin, columns in zip(buffers, (0, inputs), (inputs, 1), strict=True):
                for block in blocks:
                    run = block.column(begin)
                    page, low = divmod(self.address(run, plane), PAGE)
                    each = PAGE // block.rows
                    yield (
                        buffer,
                        Span(page, low, run.count, each, block.rows, block.rows, columns),
                    )


def place(matrices: tuple[Matrix, ...]) -> Planes:
    """Put the matrices one after the other, from external address 0."""
    page, low = 0, 0
    blocks: dict[Buffer, tuple[Block, ...]] = {}
    for matrix in matrices:
        outputs, inputs = matrix.weight.shape
        placed = []
        for first in range(0, outputs, BLOCK):
            rows = min(BLOCK, outputs - first)
            runs: list[Run] = []
            for column in range(inputs + 1):
                if low + rows > PAGE:
                    page, low = page + 1, 0
                if runs and runs[-1].page == page:
                    runs[-1] = Run(page, runs[-1].low, runs[-1].first, runs[-1].count + 1)
                else:
                    runs.append(Run(page, low, column, 1))
                low += rows
            placed.append(Block(first, rows, tuple(runs)))
        blocks[matrix.weight] = tuple(placed)
    planes = 4 if any(m.slots for m in matrices) else 2
    return Planes(matrices, blocks, planes, (page * planes + planes - 1) * PAGE + low)


def narrow(planes: Planes) -> Planes:
    """The same in as little room as there may be, if it fits one page."""
    used = (planes.bytes - 1) % PAGE + 1
    size = 1 << (used - 1).bit_length()
    if planes.bytes > (planes.planes - 1) * PAGE + used or planes.planes * size > PAGE:
        return planes
    return replace(planes, bytes=(planes.planes - 1) * size + used, size=size)
