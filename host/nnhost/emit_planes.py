"""How generated C fills planes, and the table that tells where they are."""

from __future__ import annotations

from nnhost.emit_c import Function
from nnhost.ir import Buffer
from nnhost.kernels.planes import Planes


def in_planes(planes: Planes) -> type[Function]:
    """A writer of Maps that puts numbers into planes by calls. None but passes read them."""
    offsets: dict[Buffer, int] = {}
    for buffer, _ in planes.spans():
        offsets.setdefault(buffer, sum(b.bytes for b in offsets))

    class PlanesFunction(Function):
        """Writes the body of one Map. The points of one that fills a buffer in planes come in the
        order of the state."""

        def body(self) -> list[str]:
            """See `Function.body`."""
            begin = offsets.get(self.map.dst)
            opened = [] if begin is None else [f"nn_planes_open({begin}U);"]
            return [*opened, *super().body()]

        def assignment(self, value: str) -> str:
            """See `Function.assignment`."""
            if self.map.dst not in offsets:
                return super().assignment(value)
            return f"nn_planes_put({value});"

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
