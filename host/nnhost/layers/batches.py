"""Maps for one sample, done for all samples of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from nnhost.ir import Buffer, Expr, Load, Map, Op, Reduce, Var, op, walk


class Batch:
    """A batch whose samples are at hand together.

    `row` is the index of a sample. A buffer of a sample has a counterpart ``batch_<name>`` with
    one row a sample.
    """

    def __init__(self, rows: int) -> None:
        self.row = Var("b", rows)
        self._buffers: dict[Buffer, Buffer] = {}

    def of(self, buffer: Buffer, role: str = "temp") -> Buffer:
        """The counterpart of a sample's buffer; what is asked for is there from then on."""
        if buffer not in self._buffers:
            shape = (self.row.extent, *buffer.shape)
            doc = f"of the batch: {buffer.doc}"
            name = f"batch_{buffer.name}"
            self._buffers[buffer] = Buffer(name, shape, buffer.interval, role, doc=doc)
        return self._buffers[buffer]

    def each(self, e: Expr) -> Expr:
        """An expression over a sample's buffers, for sample `row`."""
        match e:
            case Load(buffer, index):
                inner = tuple(self.each(i) for i in index)
                if buffer in self._buffers:
                    return Load(self._buffers[buffer], (self.row, *inner))
                return Load(buffer, inner)
            case Op(name, args):
                return op(name, *(self.each(a) for a in args))
            case Reduce(name, var, body, init):
                return Reduce(name, var, self.each(body), self.each(init))
        return e

    def maps(self, maps: Iterable[Map]) -> Iterator[Map]:
        """Maps for a sample, in order, for all of them."""
        for m in maps:
            expr = self.each(m.expr)
            yield replace(
                m, name=f"batch_{m.name}", dst=self.of(m.dst), index=(self.row, *m.index), expr=expr
            )


def needed(maps: list[Map], wanted: Buffer) -> list[Map]:
    """Those Maps on which what is `wanted` depends, in order."""
    found: list[Map] = []
    read = {wanted}
    for m in reversed(maps):
        if m.dst in read:
            found.insert(0, m)
            read |= {n.buffer for n in walk(m.expr) if isinstance(n, Load)}
    return found
