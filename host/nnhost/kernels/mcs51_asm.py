"""Assembly of an 8051's passes, written for the sizes of a net.

A pass is a function without arguments or result. It changes all registers, F0, and what lies in
the overlay segment, which it shares with the local variables of functions that call no others.

In the texts below `|` separates instructions. A comment counts the machine cycles of the loops in
which a pass spends most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from nnhost.ir import Buffer, Const, Load, type_bytes
from nnhost.kernels.mcs51_decays import COLUMNS, COPIED, KEPT, NUMBER, decay_start
from nnhost.kernels.mcs51_passes import Gradient, Pass, Step, Sums, Velocity
from nnhost.kernels.planes import PAGE, Block, Planes

#: Where a buffer lives: its C qualifier.
Space = Callable[[Buffer], str]


def pass_file(passes: Iterable[Pass], planes: Planes, space: Space, window: int) -> list[str]:
    """The lines of a C file that holds the passes of a net and nothing else, since the compiler
    takes no notice of the registers that they change. Through `window` bytes of internal RAM
    passes look at what lies in external RAM."""
    passes = list(passes)
    drawn = [p.drawn for p in passes if isinstance(p, Step | Velocity) and p.drawn]
    simple = all(d.rate == Const(128) and d.shift < 16 for d in drawn)
    factors = [p.clip // _largest(p) for p in passes if isinstance(p, Step) and p.clip]
    writer = _Writer(planes, space, window, _BY_128 if simple else _BY_RATE, min([255, *factors]))
    for p in passes:
        match p:
            case Sums():
                writer.sums(p)
            case Gradient():
                writer.gradient(p)
            case Step():
                writer.step(p)
            case Velocity():
                writer.velocity(p)
    return writer.file()


def _largest(p: Step | Velocity) -> int:
    """The largest magnitude of its inputs."""
    return max(-p.source.interval.lo, p.source.interval.hi, p.one)


def _symbol(buffer: Buffer) -> str:
    return f"_nn_{buffer.name}"


@dataclass
class _Writer:
    """`rate`: how factors are made; `narrow`: the largest factor whose products fit 16 bits and are
    not clipped; `shared`: subroutines by name, each written once."""

    planes: Planes
    space: Space
    window: int
    rate: _Rate
    narrow: int
    lines: list[str] = field(default_factory=list)
    shared: dict[str, list[str]] = field(default_factory=dict)
    labels: int = 0

    @property
    def rows(self) -> int:
        """Of the largest block."""
        return max(b.rows for blocks in self.planes.blocks.values() for b in blocks)

    def file(self) -> list[str]:
        """The C file."""
        return [
            "/* clang-format off */",
            "void nn_kernels(void) __naked {",
            "    __asm",
            "    .area OSEG (OVR, DATA)",
            "    ; the sum of a row, or what a step must know of it",
            f"rows:   .ds {4 * self.rows}",
            "left:   .ds 1 ; columns to come on this page",
            "next:   .ds 1 ; address of the next input",
            "stride: .ds 1 ; rows of the block",
            "plus:   .ds 1 ; rows to be subtracted from, the first of them at rows",
            "minus:  .ds 1 ; rows to be added to",
            "begin:  .ds 1 ; address of the first of these",
            "rate:   .ds 1 ; factor of the deltas",
            *(["    .area ISEG (DATA)", f"window: .ds {self.window}"] if self.window else []),
            "    .area CSEG (CODE)",
            *self.lines,
            *(line for routine in self.shared.values() for line in routine),
            "    __endasm;",
            "}",
        ]

    # -- text

    def label(self) -> str:
        """A new name."""
        self.labels += 1
        return f"l{self.labels}"

    def format(self, text: str) -> list[str]:
        """A line for each instruction; names of places end with a colon. `up` and `down` lead from
        lower byte to upper byte and back, `fall` and `rise` from slots to weights and back."""
        moves = {"up": ["inc dph"], "down": ["dec dph"], "fall": ["dec dph"] * 2,
                 "rise": ["inc dph"] * 2}  # fmt: skip
        if self.planes.size < PAGE:
            for move, far in ("up", 1), ("down", 1), ("fall", 2), ("rise", 2):
                moves[move] = [f"xrl dpl, #{far * self.planes.size}"]
        lines = []
        for row in text.splitlines():
            code, _, comment = row.partition(";")
            parts = [p.strip() for p in code.split("|") if p.strip()]
            note = f" ; {comment.strip()}" if comment.strip() else ""
            for number, part in enumerate(parts or [""]):
                name, colon, after = part.partition(": ")
                if part.endswith(":"):
                    lines.append(part)
                    continue
                if colon:
                    lines.append(f"{name}:")
                    part = after.strip()
                if part or note:
                    codes = moves.get(part, [part])
                    lines.append(f"    {codes[0]}{note if number == 0 else ''}".rstrip())
                    lines += [f"    {more}" for more in codes[1:]]
        return lines

    def put(self, text: str) -> None:
        """Add instructions."""
        self.lines += self.format(text)

    # -- what all passes do

    def internal(self, buffer: Buffer) -> bool:
        """Whether it lies in internal RAM."""
        return self.space(buffer) == "NN_IDATA"

    def runs(
        self, block: Block, plane: int, routine: str, source: Buffer | None, to: str = "next"
    ) -> str:
        """Calls of `routine` for the columns of all inputs: DPTR the first byte, R1 columns, and
        the first input in internal RAM at the address in `to`, where the routine leaves the next.
        """
        inputs = block.runs[-1].first + block.runs[-1].count - 1
        inside = source is None or self.internal(source)
        calls = f"mov {to}, #{_symbol(source)}\n" if source and inside else ""
        most = inputs if inside else self.window
        for run in block.runs:
            end = min(run.first + run.count, inputs)
            for first in range(run.first, end, most):
                count = min(most, end - first)
                if source and not inside:
                    calls += f"{self.fetch(source, first, count, 'window')}\nmov {to}, #window\n"
                at = self.planes.address(block.column(first), plane)
                calls += f"mov dptr, #0x{at:04x} | mov r1, #{count} | lcall {routine}\n"
        return calls

    def fetch(self, source: Buffer, first: int, count: int, to: str) -> str:
        """Copy bytes from external RAM to internal RAM."""
        self.shared.setdefault(
            "fetch",
            self.format("""
            ; R1 bytes from DPTR to R0
            fetch: movx a, @dptr | inc dptr | mov @r0, a | inc r0 | djnz r1, fetch
            ret
        """),
        )
        return (
            f"mov dptr, #({_symbol(source)} + {first}) | mov r0, #{to} | mov r1, #{count}"
            " | lcall fetch"
        )

    def bias(self, block: Block, plane: int) -> str:
        """DPTR to the column of the biases."""
        last = block.runs[-1].first + block.runs[-1].count - 1
        return f"mov dptr, #0x{self.planes.address(block.column(last), plane):04x}"

    def to(self, buffer: Buffer, index: int) -> str:
        """R1 or DPTR to an element."""
        at = f"#({_symbol(buffer)} + {index * type_bytes(buffer.c_type)})"
        return f"mov r1, {at}" if self.internal(buffer) else f"mov dptr, {at}"

    def store(self, buffer: Buffer) -> str:
        """A goes where R1 or DPTR points, which moves on."""
        return "mov @r1, a | inc r1" if self.internal(buffer) else "movx @dptr, a | inc dptr"

    # -- sums of a layer

    def sums(self, p: Sums) -> None:
        """Column by column: input times weight is added to the sums of a block's rows.

        Stored weights are 128 more than they stand for, so 128 times the sum of all inputs is
        taken away in the end. A negative input is multiplied, as a positive one, by the
        complement 127 - V of the weight; what that adds is 127 times the input.
        """
        signed = p.source.interval.lo < 0
        blocks = self.planes.blocks[p.matrix.weight]
        self.put(f"_{p.kernel}::")
        for block in blocks:
            scan = self.scan(block.rows, signed)
            self.shared.setdefault("begin_sums", self.format(BEGIN_SUMS))
            self.put(f"""
                {self.bias(block, 1)} | mov r1, #{block.rows} | mov r7, #{p.one} | lcall begin_sums
                {"mov r2, a | mov r3, a" if signed else ""}
                {self.runs(block, 1, scan, p.source, "r0")}
            """)
            self.correction(p, signed)
            self.put(f"mov r0, #rows | mov r7, #{block.rows} | {self.to(p.result, block.first)}")
            if block is not blocks[-1]:
                self.put(f"lcall {p.kernel}_end")
        self.put(f"{p.kernel}_end:")
        if p.shift is None:
            self.whole(p.result)
        else:
            self.rounded(p.result, p.shift, p.table)

    def scan(self, rows: int, signed: bool) -> str:
        """Subroutine: R1 columns from DPTR on times the inputs from R0 on, which may be 0."""
        name = f"scan{rows}{'s' if signed else ''}"
        if name in self.shared:
            return name
        text = f"""
            ; {rows} sums and R1 inputs from R0 on. R6:R5 their sum; R7 input{
            "; R4 mask of its sign; R3:R2 sum of negative inputs" if signed else ""
        }.
            {name}_0: mov a, dpl | add a, #{rows} | mov dpl, a
            {name}_n: inc r0 | djnz r1, {name} | ret
            {name}: mov a, @r0 | jz {name}_0
        """
        if signed:
            text += f"""
            mov r4, #0 | jnb acc.7, {name}_x
            cpl a | inc a | mov r4, #0xff
            mov r7, a | add a, r2 | mov r2, a | mov a, r7 | jnc {name}_x | inc r3
            """
        text += f"{name}_x: mov r7, a | add a, r5 | mov r5, a | jnc {name}_1 | inc r6\n{name}_1:\n"
        for row in range(rows):
            at = 3 * row
            # 16 cycles, one more with the mask of a sign, one more where the upper byte changes
            text += f"""
            movx a, @dptr {"| xrl a, r4" if signed else ""} | mov b, r7 | mul ab
            add a, rows + {at} | mov rows + {at}, a
            mov a, b | addc a, rows + {at + 1} | mov rows + {at + 1}, a
            jnc {name}_r{row} | inc rows + {at + 2}
            {name}_r{row}: inc dpl
            """
        self.shared[name] = self.format(text + f"ljmp {name}_n")
        return name

    def correction(self, p: Sums, signed: bool) -> None:
        """R6:R5:R4 = what is to be added to each sum: less the offset, plus half for rounding."""
        half = 0 if p.shift is None else 1 << p.shift >> 1
        self.put("""
            clr c ; 128 times the sum of the inputs
            mov a, r6 | rrc a | mov r6, a | mov a, r5 | rrc a | mov r5, a | clr a | rrc a
            mov r4, a
        """)
        if signed:
            self.put("""
                clr c ; 127 times that of negative inputs
                subb a, r2 | mov r4, a | mov a, r5 | subb a, r3 | mov r5, a
                mov a, r6 | subb a, #0 | mov r6, a
            """)
        self.put(f"""
            clr c
            mov a, #{half & 255} | subb a, r4 | mov r4, a
            mov a, #{half >> 8} | subb a, r5 | mov r5, a
            clr a | subb a, r6 | mov r6, a
        """)

    def whole(self, result: Buffer) -> None:
        """R7 sums as they are."""
        again = self.label()
        bytes_ = type_bytes(result.c_type)
        store = self.store(result)
        self.put(f"""
            {again}: mov a, @r0 | add a, r4 | {store} | inc r0
            mov a, @r0 | addc a, r5 | {store} | inc r0
            {f"mov a, @r0 | addc a, r6 | {store}" if bytes_ == 4 else ""}
            inc r0
            {f"rlc a | subb a, acc | {store} ; the sign" if bytes_ == 4 else ""}
            djnz r7, {again}
            ret
        """)

    def rounded(self, result: Buffer, shift: int, table: Buffer | None) -> None:
        """R7 sums shifted right and clamped to a byte, and perhaps looked up. The magnitude of a
        negative one is its complement, which rounds alike."""
        signed = table is not None or result.interval.lo < 0
        again, size, full, sign, end = (self.label() for _ in range(5))
        if table and self.internal(result):
            self.put(f"mov dptr, #{_symbol(table)}")
        self.put(f"""
            {again}: mov a, @r0 | add a, r4 {"| mov r3, a" if shift < 8 else ""} | inc r0
            mov a, @r0 | addc a, r5 | mov r2, a | inc r0
            mov a, @r0 | addc a, r6 | inc r0
        """)
        if signed:
            self.put(f"""
                clr psw.5 | jnb acc.7, {size}
                setb psw.5 | cpl a | xch a, r2 | cpl a | xch a, r2
                {"xch a, r3 | cpl a | xch a, r3" if shift < 8 else ""}
                {size}:
            """)
        else:
            self.put(f"jnb acc.7, {size} | clr a | sjmp {end}\n{size}:")
        for _ in range(shift - 8):
            self.put("clr c | rrc a | xch a, r2 | rrc a | xch a, r2")
        self.put(f"jnz {full}")
        if shift >= 8:
            self.put("mov a, r2")
        elif shift == 4:
            self.put(f"""
                mov a, r2 | anl a, #0xf0 | jnz {full}
                mov a, r2 | xch a, r3 | xrl a, r3 | anl a, #0xf0 | xrl a, r3 | swap a
            """)
        else:  # the upper byte of a product is a shift to the right
            self.put(f"""
                mov a, r2 | mov b, #{1 << 8 - shift} | mul ab | mov r2, a
                mov a, b | jnz {full}
                mov a, r3 | mov b, #{1 << 8 - shift} | mul ab | mov a, b | orl a, r2
            """)
        if signed:
            self.put(f"jb acc.7, {full} | {sign}: jnb psw.5, {end} | cpl a")
        self.put(f"""
            {end}:
            {self.looked_up(table, result) if table else ""}
            {self.store(result)}
            djnz r7, {again}
            ret
            {full}: mov a, #{127 if signed else 255} | sjmp {sign if signed else end}
        """)

    def looked_up(self, table: Buffer, result: Buffer) -> str:
        """A from a table that begins at -128. DPTR is there, unless it leads to the result."""
        if self.internal(result):
            return "add a, #128 | movc a, @a+dptr"
        look = f"mov dptr, #{_symbol(table)} | add a, #128 | movc a, @a+dptr"
        return f"mov r2, dpl | mov r3, dph | {look} | mov dpl, r2 | mov dph, r3"

    # -- gradients of the layer below

    def gradient(self, p: Gradient) -> None:
        """Column by column: the products of a block's weights and deltas are added up in R4:R3:R2,
        which begin at -128 times the sum of the deltas, for the offset of stored weights."""
        blocks = self.planes.blocks[p.matrix.weight]
        self.put(f"_{p.kernel}::")
        for block in blocks:
            n = f"{p.kernel}_{block.first}"
            if not self.internal(p.seen):
                self.put(self.fetch(p.seen, block.first, block.rows, "(rows + 5)"))
            self.put(f"""
                mov r0, {self.seen(p, block)} | mov r1, #{block.rows}
                clr a | mov r5, a | mov r6, a
                {n}_s: mov a, @r0 | jnb acc.7, {n}_p | dec r6
                {n}_p: add a, r5 | mov r5, a | jnc {n}_i | inc r6
                {n}_i: inc r0 | djnz r1, {n}_s
                mov a, r6 | mov c, acc.7 | rrc a | mov r6, a | mov a, r5 | rrc a | mov r5, a
                clr a | rrc a | cpl a | add a, #1 | mov rows, a
                mov a, r5 | cpl a | addc a, #0 | mov rows + 1, a
                mov a, r6 | cpl a | addc a, #0 | mov rows + 2, a
                mov rows + 3, #{_symbol(p.result)} ; where the next result goes
                mov rows + 4, #({_symbol(p.result)} >> 8)
                {self.runs(block, 1, f"{n}_run", p.gate)}
            """)
        self.put("ret")
        for block in blocks:
            self.gradient_columns(p, block)

    def seen(self, p: Gradient, block: Block) -> str:
        """Where in internal RAM the deltas of a block are."""
        return f"#({_symbol(p.seen)} + {block.first})" if self.internal(p.seen) else "#(rows + 5)"

    def gradient_columns(self, p: Gradient, block: Block) -> None:
        """Subroutine: R1 columns from DPTR on."""
        n = f"{p.kernel}_{block.first}"
        self.put(f"""
            {n}_minus: cpl a | inc a | mov b, a | movx a, @dptr | mul ab
            xch a, r2 | clr c | subb a, r2 | mov r2, a | mov a, r3 | subb a, b | mov r3, a
            jnc {n}_zero | dec r4 | sjmp {n}_zero
            {n}_run: mov left, r1
            {n}_next:
        """)
        if p.gate and not p.curve:
            self.put(f"""
                mov r0, next | inc next | mov a, @r0 | jnz {n}_column
                mov r2, a | mov r3, a
                mov a, dpl | add a, #{block.rows} | mov dpl, a | sjmp {n}_store
            """)
        self.put(f"""
            {n}_column: mov r0, {self.seen(p, block)} | mov r7, #{block.rows}
            mov r2, rows | mov r3, rows + 1 | mov r4, rows + 2
            {n}_row: mov a, @r0 | jz {n}_zero | jb acc.7, {n}_minus ; 23 cycles, negative 27
            mov b, a | movx a, @dptr | mul ab
            add a, r2 | mov r2, a | mov a, b | addc a, r3 | mov r3, a | jnc {n}_zero | inc r4
            {n}_zero: inc r0 | inc dpl | djnz r7, {n}_row
        """)
        if p.shift is not None:
            for _ in range(-p.shift):
                self.put("""
                    mov a, r2 | add a, r2 | mov r2, a | mov a, r3 | rlc a | mov r3, a
                    mov a, r4 | rlc a | mov r4, a
                """)
            self.put(f"""
                mov a, r3 | rlc a | clr a | addc a, r4 | jz {n}_fit ; it fits 16 bits
                mov a, r4 | mov r3, #0x7f | mov r2, #0xff | jnb acc.7, {n}_fit
                mov r3, #0x80 | mov r2, #0
                {n}_fit:
            """)
        if p.curve:
            self.slope(p, n)
        parts = ("r2", "r3", "r4", "r7")[: type_bytes(p.result.c_type)]
        self.put(f"{n}_store:")
        if len(parts) == 4:
            self.put("mov a, r4 | rlc a | subb a, acc | mov r7, a ; the sign")
        if block.first:
            self.put("clr c")
        if self.internal(p.result):
            move, step = "mov {}", "@r0"
            self.put("mov r0, rows + 3")
        else:
            move, step = "movx {}", "@dptr"
            self.put("mov r5, dpl | mov r6, dph | mov dpl, rows + 3 | mov dph, rows + 4")
        for part in parts:
            if block.first:  # earlier blocks have left their part
                self.put(f"{move.format('a')}, {step} | addc a, {part}")
            else:
                self.put(f"mov a, {part}")
            self.put(f"{move.format(step)}, a | inc {step[1:]}")
        if self.internal(p.result):
            self.put("mov rows + 3, r0")
        else:
            self.put("mov rows + 3, dpl | mov rows + 4, dph | mov dpl, r5 | mov dph, r6")
        self.put(f"""
            djnz left, {n}_more | ret
            {n}_more: ljmp {n}_next
        """)

    def slope(self, p: Gradient, n: str) -> None:
        """R3:R2 times the slope of a curve whose value is a 128th of a byte.

        R6:R7 = 2^16 times the slope: that of tanh is 2^16 - (2a)^2, that of the sigmoid
        2a * (256 - 2a). The product's magnitude is rounded, halves upwards, so that a negative one
        gets less; it is rounded as it was if 2^14 times the slope is multiplied and shifted by 14.
        """
        made = {
            "tanh": f"""
                jnz {n}_a | ljmp {n}_store
                {n}_a: jnb acc.7, {n}_b | cpl a | inc a
                {n}_b: add a, acc | mov b, a | mul ab
                mov r7, a | clr a | subb a, r7 | mov r7, a | clr a | subb a, b | mov r6, a
            """,
            "sigmoid": "add a, acc | mov b, a | cpl a | inc a | mul ab | mov r7, a | mov r6, b",
        }[p.curve]
        negate = "clr c | clr a | subb a, r2 | mov r2, a | clr a | subb a, r3 | mov r3, a"
        self.put(f"""
            mov r0, next | inc next | mov a, @r0
            {made}
            mov a, r3 | mov c, acc.7 | mov psw.5, c | jnc {n}_g
            {negate}
            {n}_g: mov a, r2 | mov b, r7 | mul ab | jnb psw.5, {n}_h
            add a, #0xfc | clr a | addc a, #0x7f | sjmp {n}_v
            {n}_h: mov a, #0x80
            {n}_v: add a, b | mov r4, a | clr a | rlc a | mov r5, a
            mov a, r3 | mov b, r7 | mul ab
            add a, r4 | mov r4, a | mov a, b | addc a, r5 | mov r5, a
            mov a, r2 | mov b, r6 | mul ab
            add a, r4 | mov a, b | addc a, r5 | mov r5, a | clr a | rlc a | mov r4, a
            mov a, r3 | mov b, r6 | mul ab
            add a, r5 | mov r2, a | mov a, b | addc a, r4 | mov r3, a
            jnb psw.5, {n}_store
            {negate}
        """)

    # -- steps of the weights

    def step(self, p: Step) -> None:
        """Column by column: an input changes the weights of the rows that have a factor."""
        signed = p.source.interval.lo < 0
        clip = None if p.clip is None else _Clip(p.clip, 255 * _largest(p))
        drive = ("steps" if signed else "step") + f"_{p.clip}" * (p.clip is not None)
        routine = "draw" if p.drawn else "list"
        text = _draw(self.rate, _listed(self.narrow)) if p.drawn else _list(self.narrow)
        self.shared.setdefault(routine, self.format(text))
        self.shared.setdefault(drive, self.format(_drive(drive, signed, clip)))
        if signed:
            self.shared.setdefault(f"{drive}_loop", self.format(_loops(f"{drive}_loop", clip)))
        self.put(f"_{p.kernel}::")
        self.decays(p)
        blocks = self.planes.blocks[p.matrix.weight]
        for block in blocks:
            self.put(f"""
                mov stride, #{block.rows} | mov r1, #(rows + {4 * block.rows})
                {self.factors(p, block.first)}
                lcall {routine}
                mov r6, #0
                {self.runs(block, 0, drive, p.source)}
                {self.bias(block, 0)} | mov r7, dpl | mov left, #1 | mov a, #{p.one}
                {"ljmp" if block is blocks[-1] else "lcall"} {drive}_p
            """)

    def decays(self, p: Step | Velocity) -> None:
        """What weights lose before a step, by the random numbers with which the step will round."""
        noise = ("kept", KEPT) if p.drawn else ("copied", COPIED)
        for decay in p.decays:
            self.shared.setdefault(noise[0], self.format(noise[1]))
            columns, plane = COLUMNS[decay.kind]
            routine = f"{decay.kind}_{decay.factor}_{decay.shift}"
            self.shared.setdefault(routine, self.format(columns(routine, decay)))
            start = decay_start(decay)
            if p.drawn:
                self.put("mov plus, _nn_prng_state | mov minus, _nn_prng_state + 1")
            for block in self.planes.blocks[p.matrix.weight]:
                drawn = f"mov dptr, #({_symbol(p.draws)} + {4 * block.first + 2})"
                self.put(f"""
                    {"" if p.drawn else drawn}
                    mov stride, #{block.rows} | lcall {noise[0]}
                    mov r6, #{start >> 8} | mov r4, #{start & 255}
                    {self.runs(block, plane, routine, None)}
                """)
            if p.drawn:
                self.put("mov _nn_prng_state, plus | mov _nn_prng_state + 1, minus")

    def velocity(self, p: Velocity) -> None:
        """Column by column: slots, all of which move, and then weights."""
        signed, batched = p.source.interval.lo < 0, p.first is not None
        clip = None if p.clip is None else _Clip(p.clip, 255 * _largest(p))
        drive = "slots" + "s" * signed + f"{p.extra}" * (p.extra > 0)
        drive += f"_{p.clip}" * (p.clip is not None)
        assert p.drawn is not None
        self.shared.setdefault("draw", self.format(_draw(self.rate, _ALL, every=True)))
        loops = _Slots(p.decay, p.extra, batched, signed, p.ahead, clip)
        self.shared.setdefault(drive, self.format(loops.drive(drive, self.rows)))
        self.put(f"_{p.kernel}::")
        if p.decays and p.last:
            self.put(f"{self.flag(p.last, 'psw.5')} | jb psw.5, {p.kernel}_d | ljmp {p.kernel}_m")
            self.put(f"{p.kernel}_d:")
        self.decays(p)
        self.put(f"{p.kernel}_m:")
        blocks = self.planes.blocks[p.matrix.weight]
        for block in blocks:
            self.put(f"""
                mov stride, #{block.rows} | mov r1, #(rows + {self.rows})
                {self.factors(p, block.first)}
                lcall draw
                {"clr psw.1" if p.ahead else self.flag(p.first, "psw.1")}
                {self.flag(p.last, "psw.5")}
                mov r6, #0
                {self.runs(block, 2, drive, p.source)}
                {self.bias(block, 2)} | mov left, #1 | mov a, #{p.one}
                {"mov minus, #0" if signed else ""}
                {"ljmp" if block is blocks[-1] else "lcall"} {drive}_p
            """)

    def flag(self, condition: Buffer | None, bit: str) -> str:
        """A bit that tells whether a byte is not 0."""
        if condition is None:
            return ""
        at = f"#{_symbol(condition)}"
        read = (
            f"mov r0, {at} | mov a, @r0"
            if self.internal(condition)
            else (f"mov dptr, {at} | movx a, @dptr")
        )
        return f"{read} | add a, #255 | mov {bit}, c"

    def factors(self, p: Step | Velocity, row: int) -> str:
        """What `list` or `draw` must know of the rows from `row` on."""
        if p.drawn is None:
            draws = f"({_symbol(p.draws)} + {4 * row + 3})"
            return f"""
                mov dptr, #({_symbol(p.factor)} + {2 * row})
                mov r4, #{draws} | mov b, #({draws} >> 8)
            """
        match p.drawn.rate:
            case Load(buffer, _) if self.internal(buffer):
                rate = f"mov r0, #{_symbol(buffer)} | mov rate, @r0"
            case Load(buffer, _):
                rate = f"mov dptr, #{_symbol(buffer)} | movx a, @dptr | mov rate, a"
            case Const(value):
                rate = f"mov rate, #{value}" if self.rate is _BY_RATE else ""
        bits = p.drawn.shift - self.rate.bits
        by = (1 << 8 - bits) & (2 ** (self.rate.bits) - 1)
        return f"""
            {rate}
            mov left, #{(1 << bits) - 1} | mov next, #{by}
            mov dptr, #({_symbol(p.drawn.delta)} + {2 * row})
        """


#: Begins the sums with the biases, which are weights of a constant input.
BEGIN_SUMS = """
    ; R1 biases from DPTR on times R7, which R6:R5 begins with. Leaves 0 in A.
    begin_sums: mov r0, #rows
    begin_next: movx a, @dptr | mov b, r7 | mul ab ; 8
    mov @r0, a | inc r0 | mov @r0, b | inc r0 | mov @r0, #0 | inc r0 ; 7
    inc dpl | djnz r1, begin_next ; 3
    mov a, r7 | mov r5, a | clr a | mov r6, a
    ret
"""


def _wide(lower: str, name: str, narrow: int) -> str:
    """Sets F0 if a factor, with its upper byte in A, is above `narrow`; at a place of that name."""
    if narrow == 255:
        return f"jz {name} | setb psw.5\n{name}:"
    return f"""
        jnz {name}_f | mov a, {lower} | add a, #{255 - narrow} | jnc {name}
        {name}_f: setb psw.5
        {name}:
    """


def _listed(narrow: int) -> str:
    """What `draw` does with a factor: lists the row as `list` does."""
    return f"""
    mov a, r5 | orl a, r4 | jz draw_next
    mov a, r5 | {_wide("r4", "draw_low", narrow)} | jb psw.1, draw_minus
    inc plus | mov a, r7 | mov @r0, a | inc r0 | mov @r0, _nn_prng_state + 1 | inc r0
    mov a, r5 | mov @r0, a | inc r0 | mov a, r4 | mov @r0, a | inc r0
    sjmp draw_next
    draw_minus: inc minus | dec r1 | mov a, r4 | mov @r1, a | dec r1 | mov a, r5 | mov @r1, a
    dec r1 | mov @r1, _nn_prng_state + 1 | dec r1 | mov a, r7 | mov @r1, a
    sjmp draw_next
    """


#: Keeps the dither of every row and, behind these, all factors: upper byte, with its highest bit
#: for the sign, and lower byte.
_ALL = """
    clr a | mov r4, a | mov r5, a
    draw_keep: mov @r0, _nn_prng_state + 1 | inc r0
    mov a, r5 | mov c, psw.1 | mov acc.7, c | mov @r1, a | inc r1
    mov a, r4 | mov @r1, a | inc r1
"""


@dataclass(frozen=True)
class _Rate:
    """How `draw` makes R5:R4 = (R3:R2 * rate + dither) >> shift of a delta's magnitude. `noise`
    takes what it needs of the number just drawn, `turned` makes it the complement, `factor` is the
    rest. So many `bits` of the shift, or of the dither, cost nothing: `left` masks the others of
    the dither, and `next` is 2^(8 - others), or 0 for an own way to shift by the fewest."""

    bits: int
    noise: str
    turned: str
    factor: str


_BY_RATE = _Rate(
    8,
    "mov r5, _nn_prng_state | mov a, _nn_prng_state + 1 | anl a, left | mov r6, a",
    "mov a, r5 | cpl a | mov r5, a | mov a, r6 | xrl a, left | mov r6, a",
    """
    mov a, r2 | mov b, rate | mul ab | add a, r5 | mov a, b | addc a, r6 | mov r4, a
    clr a | rlc a | mov r5, a
    mov a, r3 | mov b, rate | mul ab | add a, r4 | mov r4, a | mov a, b | addc a, r5 | mov r5, a
    mov a, next | jz draw_made
    mov b, r4 | mul ab | mov r4, b
    mov a, r5 | mov b, next | mul ab | orl a, r4 | mov r4, a | mov r5, b
    draw_made:
    """,
)
#: For the rate 128, whose seven zeros are left out, and a shift of at most 15.
_BY_128 = _Rate(
    7,
    """
    mov a, _nn_prng_state | rlc a | mov a, _nn_prng_state + 1 | rlc a
    anl a, left | mov r6, a
    """,
    "mov a, r6 | xrl a, left | mov r6, a",
    """
    mov a, r2 | add a, r6 | mov r2, a | clr a | addc a, r3 | mov r5, a
    mov a, next | jz draw_half
    mov b, r2 | mul ab | mov r4, b
    mov a, r5 | mov b, next | mul ab | orl a, r4 | mov r4, a | mov r5, b
    sjmp draw_made
    draw_half: mov a, r5 | rrc a | mov r5, a | mov a, r2 | rrc a | mov r4, a
    draw_made:
    """,
)


def _draw(rate: _Rate, use: str, every: bool = False) -> str:
    """The subroutine that draws two numbers a row, and finds the row's factor R5:R4, its sign in F1
    and the dither in the generator. The rows that have one, or `every` row, go through `use`.
    """
    return f"""
        ; DPTR deltas, R1 end of the list, left and next as they are for the rate. A negative delta
        ; is made positive, with the complement of the dither.
        draw: mov r0, #rows | clr a | mov plus, a | mov minus, a | mov r7, a | clr psw.5
        draw_row:
        {NUMBER}
        {rate.noise}
        {NUMBER}
        movx a, @dptr | mov r2, a | inc dptr | movx a, @dptr | mov r3, a | inc dptr
        clr psw.1 | orl a, r2 | jnz draw_some
        {use if every else ""}
        draw_next: inc r7 | mov a, r7 | cjne a, stride, draw_row
        mov begin, r1
        ret
        draw_some: mov a, r3 | jnb acc.7, draw_plus | setb psw.1
        xch a, r2 | cpl a | add a, #1 | xch a, r2 | cpl a | addc a, #0 | mov r3, a
        {rate.turned}
        draw_plus: {rate.factor}
        {"sjmp draw_keep" if every else use}
    """


def _list(narrow: int) -> str:
    """The subroutine that lists the rows that have a factor."""
    return f"""
    ; DPTR factors, R1 end of the list, B:R4 upper byte of the first dither. Rows with a positive
    ; factor are listed from rows upwards, the others from R1 downwards, four bytes each: row,
    ; dither, magnitude of the factor with its upper byte first. F0 tells whether one is wide.
    list: mov r0, #rows | clr a | mov plus, a | mov minus, a | mov r7, a | clr psw.5
    list_row: movx a, @dptr | mov r2, a | inc dptr | movx a, @dptr | mov r3, a | inc dptr
    orl a, r2 | jz list_next
    mov r5, dpl | mov r6, dph
    mov a, r7 | rl a | rl a | add a, r4 | mov dpl, a | clr a | addc a, b | mov dph, a
    mov a, r3 | jb acc.7, list_minus | {_wide("r2", "list_low", narrow)}
    inc plus | mov a, r7 | mov @r0, a | inc r0 | movx a, @dptr | mov @r0, a | inc r0
    mov a, r3 | mov @r0, a | inc r0 | mov a, r2 | mov @r0, a | inc r0
    list_back: mov dpl, r5 | mov dph, r6
    list_next: inc r7 | mov a, r7 | cjne a, stride, list_row
    mov begin, r1
    ret
    list_minus: xch a, r2 | cpl a | add a, #1 | xch a, r2 | cpl a | addc a, #0 | mov r3, a
    {_wide("r2", "list_small", narrow)}
    inc minus | dec r1 | mov a, r2 | mov @r1, a | dec r1 | mov a, r3 | mov @r1, a
    dec r1 | movx a, @dptr | mov @r1, a | dec r1 | mov a, r7 | mov @r1, a
    sjmp list_back
    """


@dataclass(frozen=True)
class _Clip:
    """`most`: the largest magnitude of a product, which is up to `largest` where the factor has one
    byte."""

    most: int
    largest: int

    def narrow(self, n: str) -> str:
        """Sends products of 16 bits, in B:A, which may be above, to `far`."""
        if self.largest <= self.most:
            return ""
        return f"xch a, b | cjne a, #{self.most >> 8}, {n}_t\n{n}_t: jnc {n}_v | xch a, b"

    def near(self, n: str) -> str:
        """What is within the reach of a loop's jumps."""
        entry = f"{n}_v: ljmp {n}_f" if self.largest > self.most else ""
        return f"{n}_w: ljmp {n}_q\n{entry}\n{n}_z:"

    def far(self, n: str) -> str:
        """The product of a wide factor, whose upper byte is in A, in B:R3:rate; it is clipped, and
        B:R3 is what the loop works with."""
        entry = f"{n}_f: mov rate, b | mov r3, a | mov b, #0 | sjmp {n}_l"
        lower, middle, upper = (self.most >> bits & 255 for bits in (0, 8, 16))
        return f"""
            {entry if self.largest > self.most else ""}
            {n}_q: mov r3, a | mov a, @r0 | inc r0 | mov b, r5 | mul ab | mov rate, a
            mov a, r3 | mov r3, b | mov b, r5 | mul ab | add a, r3 | jnc {n}_y | inc b
            {n}_y: mov r3, a
            {n}_l: clr c | mov a, #{lower} | subb a, rate | mov a, #{middle} | subb a, r3
            mov a, #{upper} | subb a, b | jnc {n}_i
            mov rate, #{lower} | mov r3, #{middle} | mov b, #{upper}
            {n}_i: mov a, rate | add a, r2 | clr a | addc a, r3 | mov r3, a
            clr a | addc a, b | mov b, a | ljmp {n}_z
        """


def _loop(
    name: str, sign: str, wide: bool, clip: _Clip | None, leave: str = ""
) -> tuple[str, str, str]:
    """The loop over R4 rows listed from R0 on that subtracts a step or adds it, for the column at
    R7 with input R5 and dither R6; what follows elsewhere: a carry into the upper byte, and
    factors that have an upper byte, which only a `wide` loop expects; and what may be anywhere.

    The step of a negative product is added, with the complement of the dither: (-p + d) >> 8 is
    -((p + 255 - d) >> 8).
    """
    minus = sign == "minus"
    first, then = ("subb", "subb") if minus else ("add", "addc")
    end = "clr a" if minus else "mov a, #255"
    factor = "mov a, @r0 | inc r0"
    loop = f"""
        {name}: mov a, @r0 | inc r0 | add a, r7 | mov dpl, a ; 4
        mov a, @r0 | inc r0 | add a, r6 {"" if minus else "| cpl a"} | mov r2, a ; 4
        {f"{factor} | jnz {name}_w ; 4" if wide else "inc r0 ; 1"}
        {factor} | mov b, r5 | mul ab ; 8
        {clip.narrow(name) if clip and wide else ""}
        add a, r2 | movx a, @dptr | {then} a, b | movx @dptr, a ; 6
        jc {name}_b ; 2
        {name}_n: djnz r4, {name} ; 2
    """
    tail = f"""
        {name}_b: up | movx a, @dptr {"" if minus else "| inc a"} | jz {name}_s
        {"dec a |" if minus else ""} movx @dptr, a | down | sjmp {name}_n
        {name}_s: down | {end} | movx @dptr, a | sjmp {name}_n
    """
    made = f"""
        {name}_w: mov r3, a | {factor} | mov b, r5 | mul ab | add a, r2 | clr a | addc a, b
        xch a, r3 | mov b, r5 | mul ab | add a, r3 | jnc {name}_y | inc b
        {name}_y: mov r3, a
    """
    if wide:
        tail += f"""
            {clip.near(name) if clip else made}
            {"clr c |" if minus else ""} movx a, @dptr | {first} a, r3
            movx @dptr, a | up | movx a, @dptr | {then} a, b | jc {name}_e
            movx @dptr, a | down | {leave or f"sjmp {name}_n"}
            {name}_e: {end} | movx @dptr, a | sjmp {name}_s
        """
    return loop, tail, clip.far(name) if clip and wide else ""


def _drive(name: str, signed: bool, clip: _Clip | None) -> str:
    """The subroutine that runs over the columns: those of an input that is not 0 go through the
    lists of rows. A negative input exchanges the lists. The name with _p takes a positive one in
    A."""
    return _signed_drive(name) if signed else _unsigned_drive(name, clip)


#: The next column of a drive.
_NEXT = "mov a, r7 | add a, stride | mov r7, a | mov a, r6 | add a, #157 | mov r6, a"


_DRIVE = """
    ; R1 columns from DPTR on for the inputs from next on, the dither of the first in R6.
    {name}: mov r7, dpl | mov left, r1 | mov r1, next
"""


def _unsigned_drive(name: str, clip: _Clip | None) -> str:
    text = f"""
        {_DRIVE.format(name=name)}
        jnb psw.5, {name}_x | ljmp {name}w_x
        {name}_p: jnb psw.5, {name}_c | ljmp {name}w_c
    """
    for variant, wide in (name, False), (f"{name}w", True):
        minus, minus_tail, minus_far = _loop(f"{variant}_minus", "minus", wide, clip)
        plus, plus_tail, plus_far = _loop(f"{variant}_plus", "plus", wide, clip)
        text += f"""
            {minus_tail}
            {variant}_x: mov a, @r1 | inc r1 | jz {variant}_n ; an input of 0 takes 12
            {variant}_c: mov r5, a
            mov a, plus | jz {variant}_minus_0 | mov r4, a | mov r0, #rows
            {minus}
            {variant}_minus_0: mov a, minus | jz {variant}_n | mov r4, a | mov r0, begin
            {plus}
            {variant}_n: {_NEXT}
            djnz left, {variant}_x
            mov next, r1
            ret
            {plus_tail}
            {minus_far}
            {plus_far}
        """
    return text


def _signed_drive(name: str) -> str:
    return f"""
        {_DRIVE.format(name=name)}
        sjmp {name}_x
        {name}_n: {_NEXT}
        djnz left, {name}_x
        mov next, r1
        ret
        {name}_x: mov a, @r1 | inc r1 | jz {name}_n ; an input of 0 takes 12
        jb acc.7, {name}_m
        {name}_p: mov r5, a
        mov a, plus | jz {name}_0 | mov r0, #rows | lcall {name}_loop_minus
        {name}_0: mov a, minus | jz {name}_n | mov r0, begin | lcall {name}_loop_plus
        sjmp {name}_n
        {name}_m: cpl a | inc a | mov r5, a
        mov a, plus | jz {name}_1 | mov r0, #rows | lcall {name}_loop_plus
        {name}_1: mov a, minus | jz {name}_n | mov r0, begin | lcall {name}_loop_minus
        sjmp {name}_n
    """


def _loops(loop: str, clip: _Clip | None) -> str:
    """The loops as subroutines, for A rows."""
    text = ""
    for sign in "minus", "plus":
        name = f"{loop}_{sign}"
        narrow, narrow_tail, _ = _loop(f"{name}_b", sign, False, clip)
        leave = f"djnz r4, {name}_f | ret"
        wide, wide_tail, far = _loop(f"{name}_f", sign, True, clip, leave)
        text += f"""
            {name}: mov r4, a | jb psw.5, {name}_f
            {narrow}
            ret
            {narrow_tail}
            {wide}
            ret
            {wide_tail}
            {far}
        """
    return text


@dataclass(frozen=True)
class _Slots:
    """The loops of a pass over slots; see `Velocity` for the fields. Of a batch F1 tells whether it
    begins and F0 whether it ends.

    With slot V and offset 32768, (v * m - p + n) >> 8 is (V * m + n + c - p) >> 8 with
    c = 256 * (32768 - 128 * m), where V * m + n + c fits 24 bits: a borrow or carry from p means
    saturation. v - ((p + n) >> 8) is (256 * V + 255 - n - p) >> 8.
    """

    decay: int | None
    extra: int
    batched: bool
    signed: bool
    ahead: bool
    clip: _Clip | None

    def drive(self, name: str, rows: int) -> str:
        """The subroutine that runs over R1 columns from DPTR on, for the inputs from next on with
        the dither of the first in R6. The name with _p takes a positive input in A."""
        sign = f"""
            mov minus, #0 | jnb acc.7, {name}_p | cpl a | inc a | mov minus, #128
        """
        idle = f"""
            mov c, psw.1 | orl c, psw.5 | jc {name}_0
            mov a, dpl | add a, stride | mov dpl, a | sjmp {name}_n ; 0 changes nothing
        """
        return f"""
            {name}: mov left, r1
            {name}_c: mov r0, next | inc next | mov a, @r0
            {sign if self.signed else ""}
            {name}_p: mov r5, a | mov r0, #rows | mov r1, #(rows + {rows}) | mov r7, stride
            jnz {name}_x | ljmp {name}_z
            {name}_x: {self.loop(f"{name}_x", moving=True)}
            {name}_n: mov a, r6 | add a, #157 | mov r6, a
            djnz left, {name}_m | ret
            {name}_m: ljmp {name}_c
            {name}_z:
            {idle if self.batched else ""}
            {name}_0: {self.loop(f"{name}_0", moving=False)}
            ljmp {name}_n
        """

    def loop(self, n: str, moving: bool) -> str:
        """The loop over R7 rows from DPTR on, with dithers from R0 on and factors from R1 on, which
        count if the input is `moving`. What is 0 and stays 0 takes 20 cycles."""
        still = "mov a, @r1 | inc r1 | orl a, @r1 | dec r1 | jz {n}_k" if moving else "sjmp {n}_k"
        skip = "inc r1 | inc r1" if moving else ""
        return f"""
            sjmp {n}_r
            {n}_k: {skip}
            {n}_i: inc r0 | inc dpl | djnz r7, {n}_r | ljmp {n}_e
            {n}_r: movx a, @dptr | jnz {n}_v
            up | movx a, @dptr | down | cjne a, #128, {n}_o
            {still.format(n=n)}
            {n}_o: clr a
            {n}_v: {self.begin(n)}
            {self.move(n) if moving else ""}
            {n}_s: {f"jb psw.1, {n}_2" if self.ahead else ""}
            mov a, r4 | movx @dptr, a | down | mov a, r3 | movx @dptr, a ; 7
            {self.once_more(n, moving) if self.ahead else ""}
            {f"jnb psw.5, {n}_t" if self.batched else ""}
            {self.apply(n)}
            {n}_t: {"inc r1 |" if moving else ""} ljmp {n}_i
            {self.saturate(n)}
            {self.limit(n) if self.batched and self.clip else ""}
            {(self.clipped(n) if self.clip and not self.batched else self.outside(n)) * moving}
            {n}_e:
        """

    @staticmethod
    def once_more(n: str, moving: bool) -> str:
        """Move the slot again, for the weight alone; F1 tells that it has been moved."""
        return f"setb psw.1 {'| dec r1' if moving else ''} | ljmp {n}_v\n{n}_2: clr psw.1 | down"

    def begin(self, n: str) -> str:
        """R4:R3:R2 = the slot's part of the sum, which p is to be subtracted from. A is the slot's
        lower byte, and DPTR goes on to the upper one."""
        noise = "mov a, @r0 | add a, r6"
        kept = f"mov r3, a | {noise} | cpl a | mov r2, a | up | movx a, @dptr | mov r4, a"
        if self.decay is None:
            return f"{kept} | jnb psw.1, {n}_p | mov r3, #0 | mov r4, #128\n{n}_p:"
        offset = 32768 - 128 * self.decay
        half = "mov a, r3 | add a, #128 | mov r3, a | clr a | addc a, r4 | mov r4, a"
        decayed = f"""
            mov r3, a | {noise} | mov r2, a ; 4
            mov a, r3 | mov b, #{self.decay} | mul ab ; 7
            add a, r2 | mov r2, a | clr a | addc a, b | mov r3, a ; 5
            up | movx a, @dptr | mov b, #{self.decay} | mul ab ; 9
            add a, r3 | mov r3, a | mov a, b | addc a, #{offset >> 8} | mov r4, a ; 5
            {half if offset & 255 else ""}
        """
        if not self.batched:
            return decayed
        return f"jnb psw.1, {n}_l\n{decayed}\nsjmp {n}_p\n{n}_l: {kept}\n{n}_p:"

    def move(self, n: str) -> str:
        """Subtract p, the product of input and factor; what is rarer is `outside`."""
        sign = "| xrl a, minus" if self.signed else ""
        narrow = self.clip.narrow(f"{n}_p") if self.clip and not self.batched else ""
        return f"""
            mov a, @r1 {sign} | jz {n}_y | ljmp {n}_q
            {f"{n}_p_v: ljmp {n}_p_f" if narrow else ""}
            {n}_y: inc r1 | mov a, @r1 | jz {n}_s ; 7
            mov b, r5 | mul ab
            {narrow}
            xch a, r2 | clr c | subb a, r2 ; 9, with the product
            mov a, r3 | subb a, b | mov r3, a | jnc {n}_s ; 5
            mov a, r4 | jnz {n}_on | ljmp {n}_b
            {n}_on: dec r4
        """

    @staticmethod
    def outside(n: str) -> str:
        """The upper byte of a factor, negative products, and the ends."""
        return f"""
            {n}_q: jb acc.7, {n}_m
            mov b, r5 | mul ab | xch a, r3 | clr c | subb a, r3 | mov r3, a
            mov a, r4 | subb a, b | mov r4, a | jc {n}_under | ljmp {n}_y
            {n}_under: inc r1
            {n}_b: clr a | mov r3, a | mov r4, a | ljmp {n}_s
            {n}_m: anl a, #127 | jz {n}_g
            mov b, r5 | mul ab | add a, r3 | mov r3, a | mov a, b | addc a, r4 | mov r4, a
            jc {n}_w
            {n}_g: inc r1 | mov a, @r1 | jz {n}_a
            mov b, r5 | mul ab | add a, r2 | mov a, b | addc a, r3 | mov r3, a | jnc {n}_a
            inc r4 | cjne r4, #0, {n}_a | sjmp {n}_f
            {n}_w: inc r1
            {n}_f: mov r3, #255 | mov r4, #255
            {n}_a: ljmp {n}_s
        """

    def clipped(self, n: str) -> str:
        """The same with clipped products: negative ones and those of wide factors. A product is in
        begin:rate:plus, and F0 its sign."""
        assert self.clip is not None
        lower, middle, upper = (self.clip.most >> bits & 255 for bits in (0, 8, 16))
        return f"""
            {n}_p_f: mov rate, a | mov plus, b | mov begin, #0 | clr psw.5 | sjmp {n}_p_l
            {n}_q: mov c, acc.7 | mov psw.5, c | anl a, #127 | mov b, r5 | mul ab
            mov rate, a | mov begin, b | inc r1 | mov a, @r1 | mov b, r5 | mul ab
            mov plus, a | mov a, b | add a, rate | mov rate, a
            clr a | addc a, begin | mov begin, a
            {n}_p_l: clr c | mov a, #{lower} | subb a, plus | mov a, #{middle} | subb a, rate
            mov a, #{upper} | subb a, begin | jnc {n}_p_i
            mov plus, #{lower} | mov rate, #{middle} | mov begin, #{upper}
            {n}_p_i: jb psw.5, {n}_m
            clr c | mov a, r2 | subb a, plus | mov a, r3 | subb a, rate | mov r3, a
            mov a, r4 | subb a, begin | mov r4, a | jnc {n}_a
            {n}_b: clr a | mov r3, a | mov r4, a | sjmp {n}_a
            {n}_m: mov a, r2 | add a, plus | mov a, r3 | addc a, rate | mov r3, a
            mov a, r4 | addc a, begin | mov r4, a | jnc {n}_a
            mov r3, #255 | mov r4, #255
            {n}_a: ljmp {n}_s
        """

    def limit(self, n: str) -> str:
        """Clips R4:R3, a slot with its offset."""
        assert self.clip is not None
        least, most = 32768 - self.clip.most, 32768 + self.clip.most
        return f"""
            {n}_g_1: clr c | mov a, r3 | subb a, #{least & 255} | mov a, r4 | subb a, #{least >> 8}
            jnc {n}_g_2 | mov r3, #{least & 255} | mov r4, #{least >> 8} | ljmp {n}_g_3
            {n}_g_2: clr c | mov a, #{most & 255} | subb a, r3 | mov a, #{most >> 8} | subb a, r4
            jnc {n}_g_4 | mov r3, #{most & 255} | mov r4, #{most >> 8}
            {n}_g_4: ljmp {n}_g_3
        """

    def apply(self, n: str) -> str:
        """Add the slot to the weight: R4 is made the upper byte of what is added, with its sign."""
        if self.extra:
            narrow = 1 << 8 - self.extra  # times this, the upper byte of a product is a shift
            value = f"""
                mov a, @r0 | add a, r6 | mov b, #{1 << self.extra} | mul ab | mov a, b ; 9
                add a, r3 | mov r3, a | clr a | addc a, r4 | jc {n}_z ; 6
                mov b, #{narrow} | mul ab | mov r2, a | mov a, b | add a, #{256 - narrow // 2} ; 9
                mov r4, a | mov a, r3 | mov b, #{narrow} | mul ab | mov a, b | orl a, r2 ; 10
                mov r3, a
                {n}_x:
            """
        else:
            value = "mov a, r4 | xrl a, #128 | mov r4, a ; 3"
        limited = f"ljmp {n}_g_1\n{n}_g_3:" if self.batched and self.clip else ""
        return f"""
            {limited}
            {value}
            fall | movx a, @dptr | add a, r3 | movx @dptr, a ; 7
            mov a, r4 | jnz {n}_h | jnc {n}_d ; 5
            {n}_u: up | movx a, @dptr | xrl a, #128 | addc a, r4 | jb ov, {n}_c
            xrl a, #128 | movx @dptr, a | down
            {n}_d: rise
        """

    def saturate(self, n: str) -> str:
        """Upper bytes that change, and the ends of the weights and of the slots."""
        text = f"""
            {n}_h: inc a | jnz {n}_u | jc {n}_d | sjmp {n}_u
            {n}_c: mov a, r4 | rlc a | subb a, acc | cpl a
            movx @dptr, a | down | movx @dptr, a | sjmp {n}_d
        """
        if self.extra:
            text += f"{n}_z: mov r3, #0 | mov r4, #{1 << 7 - self.extra} | sjmp {n}_x"
        return text
