"""How generated C fills planes, and the table that tells where they are."""

from __future__ import annotations

from nnhost.emit_c import Function
from nnhost.ir import Buffer, Expr
from nnhost.kernels.planes import BLOCK, Planes


def in_planes(planes: Planes) -> type[Function]:
    """A writer of Maps that puts numbers into planes by calls. None but passes read them."""
    spans: dict[Buffer, int] = {}
    for number, (buffer, _) in enumerate(planes.spans()):
        spans.setdefault(buffer, number)

    class PlanesFunction(Function):
        """Writes the body of one Map."""

        def place(self, buffer: Buffer, index: tuple[Expr, ...]) -> str:
            """Span, row and column of an element."""
            row, column = [*self.indices(index), "0"][:2]
            span = f"{spans[buffer]}U"
            if buffer.shape[0] > BLOCK:
                span = f"(uint8_t)({span} + ({row} >> 4))"
                row = f"(uint8_t)({row} & 15U)"
            return f"{span}, {row}, {column}"

        def assignment(self, value: str) -> str:
            """See `Function.assignment`."""
            if self.map.dst not in spans:
                return super().assignment(value)
            return f"nn_planes_put({self.place(self.map.dst, self.map.index)}, {value});"

    return PlanesFunction


def tables(planes: Planes) -> list[str]:
    """The table of spans."""
    rows = []
    for buffer, s in planes.spans():
        numbers = (s.page, s.low, s.first, s.each, s.stride, s.rows, s.columns)
        # A byte counts the columns, and no more than that many follow.
        rows.append(
            "    {" + ", ".join(f"{min(n, 255)}U" for n in numbers) + f"}}, /* {buffer.name} */"
        )
    return ["const NN_CODE nn_span_t nn_spans[] = {", *rows, "};", ""]
