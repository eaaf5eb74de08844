"""An 8051's machine code, read on this computer: what a function of a firmware takes, in machine
cycles of 12 clocks.

Each run of instructions up to a jump that is always taken becomes a Python function, so that a
million of them take about a second. Register bank 0 alone, no interrupts, no peripherals: a
training step needs none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from nnhost.machine import UnknownCode

#: Where a function returns to that was called from here: no firmware is so long.
_OUTSIDE = 0xFFFF
_ACC, _B, _PSW, _SP, _DPL, _DPH, _P2 = 0xE0, 0xF0, 0xD0, 0x81, 0x82, 0x83, 0xA0
_CARRY, _OVERFLOW = 0xD7, 0xD2
#: Instructions that are longest in a function made of them.
_LONGEST = 64
#: A function that takes longer does not come to an end.
_PATIENCE = 1 << 26
#: Opcodes that take two cycles: jumps, calls, returns; direct bytes written; DPTR and what it
#: reaches; the stack; most bits. MUL and DIV take four, all others one.
_TWO = {
    *range(0x01, 0x100, 0x10), *range(0x10, 0x90, 0x10), 0x02, 0x12, 0x22, 0x32, 0x73,
    0x43, 0x53, 0x63, 0x72, 0x75, 0x82, 0x83, 0x93, *range(0x85, 0x91), 0x92, 0xA0, 0xA3,
    *range(0xA6, 0xB1), *range(0xB4, 0xC1), 0xD0, 0xD5, *range(0xD8, 0xE1), 0xE2, 0xE3, 0xF0, 0xF2,
    0xF3,
}  # fmt: skip
_FOUR = {0x84, 0xA4}

#: Program counter, cycles, A, B, carry, overflow, DPTR.
_State = tuple[int, int, int, int, int, int, int]
_Run = Callable[[int, int, int, int, int], _State]


class Mcs51:
    """A firmware and the memories of the chip: `inside` is internal RAM with the special function
    registers behind it, `outside` external RAM."""

    def __init__(self, image: Path) -> None:
        self.code = _read_hex(image)
        self.inside = bytearray(384)
        self.outside = bytearray(0x10000)
        self.symbols = {
            name: int(address, 16)
            for address, name in re.findall(
                r"^\s*(?:\w:\s+)?([0-9A-F]{4,8})\s+_(\w+)",
                image.with_suffix(".map").read_text(),
                re.M,
            )
        }
        self.runs: dict[int, _Run] = {}
        self.stack = self.inside[_sfr(_SP)] = self._stack_start(image)

    @staticmethod
    def _stack_start(image: Path) -> int:
        found = re.search(
            r"^Stack starts at: 0x(\w\w)", image.with_suffix(".mem").read_text(), re.M
        )
        return int(found[1], 16) - 1 if found else 7

    def call(self, name: str, argument: int = 0) -> int:
        """The cycles from the call of a function, whose first argument lies in DPTR, to the
        return."""
        memory = self.inside
        memory[_sfr(_SP)] = self.stack + 2
        memory[self.stack + 1], memory[self.stack + 2] = _OUTSIDE & 255, _OUTSIDE >> 8
        pc, a, b, c, v, d = self.symbol(name), 0, 0, 0, 0, argument
        cycles = 0
        runs = self.runs
        while pc != _OUTSIDE:
            run = runs.get(pc) or self._translated(pc)
            pc, taken, a, b, c, v, d = run(a, b, c, v, d)
            cycles += taken
            if cycles > _PATIENCE:
                raise UnknownCode(f"{name} does not come to an end")
        return cycles

    def symbol(self, name: str) -> int:
        """The address of a C function or variable."""
        if name not in self.symbols:
            raise UnknownCode(f"the firmware has no {name}")
        return self.symbols[name]

    def _translated(self, start: int) -> _Run:
        """The Python function of the instructions from an address on."""
        writer = _Writer(self.code, start)
        names = {"m": self.inside, "x": self.outside, "code": self.code}
        exec(compile(writer.text(), f"<{start:04X}>", "exec"), names)
        run = names["run"]
        assert callable(run)
        self.runs[start] = run
        return run


def _sfr(address: int) -> int:
    """Where a directly addressed byte lies in `Mcs51.inside`."""
    return address if address < 0x80 else address + 0x80


def _read_hex(image: Path) -> bytes:
    """The program memory of an Intel HEX file."""
    code = bytearray(0x10000)
    for line in image.read_text().split():
        record = bytes.fromhex(line[1:])
        if record[3] == 0:
            at = record[1] << 8 | record[2]
            code[at : at + record[0]] = record[4 : 4 + record[0]]
    return bytes(code)


def _byte(at: int) -> str:
    """Python for a directly addressed byte."""
    if at == _PSW:
        return f"(c << 7 | v << 2 | m[{_sfr(_PSW)}])"
    known = {_ACC: "a", _B: "b", _DPL: "(d & 255)", _DPH: "(d >> 8)"}
    return known.get(at) or f"m[{_sfr(at)}]"


def _put(at: int, value: str) -> str:
    """Python that gives a directly addressed byte a value."""
    match at:
        case 0xE0:
            return f"a = {value}"
        case 0xF0:
            return f"b = {value}"
        case 0x82:
            return f"d = d & 0xFF00 | {value}"
        case 0x83:
            return f"d = d & 255 | ({value}) << 8"
        case 0xD0:
            return f"t = {value}; c = t >> 7; v = t >> 2 & 1; m[{_sfr(_PSW)}] = t & 0x7B"
    return f"m[{_sfr(at)}] = {value}"


def _bit(at: int) -> str:
    """Python for a bit."""
    if at in (_CARRY, _OVERFLOW):
        return "c" if at == _CARRY else "v"
    return f"({_bit_byte(at)} >> {at & 7} & 1)"


def _put_bit(at: int, value: str) -> str:
    if at in (_CARRY, _OVERFLOW):
        return f"{'c' if at == _CARRY else 'v'} = {value}"
    changed = f"{_bit_byte(at)} & {255 ^ 1 << (at & 7)} | ({value}) << {at & 7}"
    base = _bit_base(at)
    return f"m[{_sfr(base)}] = {changed}" if base == _PSW else _put(base, changed)


def _bit_base(at: int) -> int:
    return at & 0xF8 if at >= 0x80 else 0x20 + (at >> 3)


def _bit_byte(at: int) -> str:
    base = _bit_base(at)
    return f"m[{_sfr(_PSW)}]" if base == _PSW else _byte(base)


class _Writer:
    """Writes the Python function of a run of instructions."""

    def __init__(self, code: bytes, start: int) -> None:
        self.code, self.start, self.pc = code, start, start
        self.lines: list[str] = []
        self.cycles = 0

    def text(self) -> str:
        """The function's source."""
        for _ in range(_LONGEST):
            if self.instruction():
                break
        else:
            self.leave(self.pc)
        body = "\n  ".join(self.lines)
        return f"def run(a, b, c, v, d):\n n = 0\n while True:\n  {body}"

    def next(self) -> int:
        """The next byte of the code."""
        self.pc += 1
        return self.code[self.pc - 1]

    def branch(self) -> int:
        """Where a relative jump leads, whose offset is the next byte."""
        offset = self.next()
        return (self.pc + offset - 2 * (offset & 0x80)) & 0xFFFF

    def leave(self, target: int | str, condition: str = "") -> None:
        """Go on elsewhere, if a condition holds."""
        if target == self.start:
            ends = f"n += {self.cycles}; continue"
        else:
            ends = f"return {target}, n + {self.cycles}, a, b, c, v, d"
        self.lines.append(f"if {condition}: {ends}" if condition else ends)

    def do(self, *lines: str) -> None:
        """Statements."""
        self.lines += lines

    def pushed(self, value: str) -> str:
        sp = _sfr(_SP)
        return f"s = m[{sp}] + 1; m[s] = {value}; m[{sp}] = s"

    def operand(self, code: int) -> str:
        """A source or destination by the lower half of the opcode: from 5 on."""
        low = code & 15
        if low == 5:
            return _byte(self.next())
        return f"m[{low & 7}]" if low >= 8 else f"m[m[{low & 1}]]"

    def changed(self, code: int, value: str) -> tuple[str, str]:
        """The operand of `operand`, and the statement that gives it a value with it in it."""
        if code & 15 == 5:
            at = self.next()
            return _byte(at), _put(at, value.format(_byte(at)))
        old = self.operand(code)
        return old, f"{old} = {value.format(old)}"

    def instruction(self) -> bool:
        """Write one; whether nothing follows it."""
        code = self.next()
        low = code & 15
        self.cycles += 4 if code in _FOUR else 2 if code in _TWO else 1
        if low == 1:
            target = (self.pc + 1) & 0xF800 | (code & 0xE0) << 3 | self.next()
            self.call(target) if code & 16 else self.leave(target)
            return True
        if low >= 4 or code in (0x42, 0x43, 0x52, 0x53, 0x62, 0x63, 0xE2, 0xE3, 0xF2, 0xF3):
            return self.regular(code)
        return self.special(code)

    def call(self, target: int) -> None:
        """Push the return address and go on at a function."""
        self.do(self.pushed(str(self.pc & 255)), self.pushed(str(self.pc >> 8)))
        self.leave(target)

    def refuse(self, code: int) -> NoReturn:
        """Give up at an instruction that no training step needs."""
        raise UnknownCode(f"an instruction {code:02X} at {self.pc - 1:04X} is not understood")

    def special(self, code: int) -> bool:
        """Jumps, bits and what has the accumulator for its only operand."""
        sp = _sfr(_SP)
        match code:
            case 0x00:
                pass
            case 0x02 | 0x12:
                target = self.next() << 8 | self.next()
                self.call(target) if code == 0x12 else self.leave(target)
                return True
            case 0x22 | 0x32:
                self.do(f"s = m[{sp}]; m[{sp}] = s - 2")
                self.leave("m[s] << 8 | m[s - 1]")
                return True
            case 0x73:
                self.leave("(a + d) & 0xFFFF")
                return True
            case 0x80:
                self.leave(self.branch())
                return True
            case 0x10 | 0x20 | 0x30:
                bit = self.next()
                target = self.branch()
                if code == 0x10:
                    self.do(f"t = {_bit(bit)}", _put_bit(bit, "0"))
                condition = "t" if code == 0x10 else _bit(bit)
                self.leave(target, f"not {condition}" if code == 0x30 else condition)
            case 0x40 | 0x50 | 0x60 | 0x70:
                condition = {0x40: "c", 0x50: "not c", 0x60: "not a", 0x70: "a"}[code]
                self.leave(self.branch(), condition)
            case 0x03:
                self.do("a = a >> 1 | (a & 1) << 7")
            case 0x13:
                self.do("t = a & 1; a = a >> 1 | c << 7; c = t")
            case 0x23:
                self.do("a = (a << 1 | a >> 7) & 255")
            case 0x33:
                self.do("t = a << 1 | c; a = t & 255; c = t >> 8")
            case 0x72 | 0x82 | 0xA0 | 0xB0:
                symbol = "|" if code in (0x72, 0xA0) else "&"
                inverted = " ^ 1" if code >= 0xA0 else ""
                self.do(f"c = c {symbol} ({_bit(self.next())}{inverted})")
            case 0x83:
                self.do(f"a = code[a + {self.pc}]")
            case 0x93:
                self.do("a = code[(a + d) & 0xFFFF]")
            case 0x90:
                self.do(f"d = {self.next() << 8 | self.next()}")
            case 0x92:
                self.do(_put_bit(self.next(), "c"))
            case 0xA2:
                self.do(f"c = {_bit(self.next())}")
            case 0xB2:
                bit = self.next()
                self.do(_put_bit(bit, f"{_bit(bit)} ^ 1"))
            case 0xC2 | 0xD2:
                self.do(_put_bit(self.next(), str(code >> 4 & 1)))
            case 0xA3:
                self.do("d = (d + 1) & 0xFFFF")
            case 0xB3:
                self.do("c ^= 1")
            case 0xC3 | 0xD3:
                self.do(f"c = {code >> 4 & 1}")
            case 0xC0:
                self.do(self.pushed(_byte(self.next())))
            case 0xD0:
                self.do(f"s = m[{sp}]; m[{sp}] = s - 1", _put(self.next(), "m[s]"))
            case 0xE0:
                self.do("a = x[d]")
            case 0xF0:
                self.do("x[d] = a")
            case _:
                self.refuse(code)
        return False

    def regular(self, code: int) -> bool:
        """What the upper half of the opcode does with the operand that the lower half tells."""
        high, low = code >> 4, code & 15
        accumulator = {
            0x04: "a = (a + 1) & 255", 0x14: "a = (a - 1) & 255", 0x84: "v = not b; "
            "a, b = divmod(a, b or 1); c = 0", 0xA4: "t = a * b; a = t & 255; b = t >> 8; c = 0; "
            "v = b > 0", 0xC4: "a = (a << 4 | a >> 4) & 255", 0xE4: "a = 0", 0xF4: "a ^= 255",
            0xE2: f"a = x[m[{_sfr(_P2)}] << 8 | m[0]]", 0xE3: f"a = x[m[{_sfr(_P2)}] << 8 | m[1]]",
            0xF2: f"x[m[{_sfr(_P2)}] << 8 | m[0]] = a", 0xF3: f"x[m[{_sfr(_P2)}] << 8 | m[1]] = a",
        }  # fmt: skip
        if code in accumulator:
            self.do(accumulator[code])
            return False
        if high in (4, 5, 6):
            self.logic(code, {4: "|", 5: "&", 6: "^"}[high])
        elif high in (0, 1):
            sign = "-" if high else "+"
            self.do(self.changed(code, f"({{}} {sign} 1) & 255")[1])
        elif high in (2, 3, 9):
            value = str(self.next()) if low == 4 else self.operand(code)
            carry = " + c" if high == 3 else ""
            if high == 9:
                self.do(f"y = {value}; t = a - y - c; c = t < 0; t &= 255")
                self.do("v = ((a ^ y) & (a ^ t)) >> 7; a = t")
            else:
                self.do(f"y = {value}; t = a + y{carry}; c = t >> 8; t &= 255")
                self.do("v = ((a ^ t) & (y ^ t)) >> 7; a = t")
        elif high == 11:
            self.compare(code)
        elif high == 13:
            self.count_down(code)
        else:
            self.move(code)
        return False

    def logic(self, code: int, symbol: str) -> None:
        """ORL, ANL, XRL."""
        low = code & 15
        if low in (2, 3):
            at = self.next()
            value = str(self.next()) if low == 3 else "a"
            self.do(_put(at, f"{_byte(at)} {symbol} {value}"))
        else:
            value = str(self.next()) if low == 4 else self.operand(code)
            self.do(f"a = a {symbol} {value}")

    def compare(self, code: int) -> None:
        """CJNE."""
        low = code & 15
        first = "a" if low in (4, 5) else self.operand(code)
        second = _byte(self.next()) if low == 5 else str(self.next())
        target = self.branch()
        self.do(f"t = {first}; y = {second}; c = t < y")
        self.leave(target, "t != y")

    def count_down(self, code: int) -> None:
        """DJNZ, and XCHD and DA, which no compiler writes."""
        low = code & 15
        if low in (4, 6, 7):
            self.refuse(code)
        at = self.next() if low == 5 else low & 7
        target = self.branch()
        self.do(f"t = ({_byte(at)} - 1) & 255", _put(at, "t"))
        self.leave(target, "t")

    def move(self, code: int) -> None:
        """MOV and XCH."""
        high, low = code >> 4, code & 15
        match high:
            case 7:
                if low == 4:
                    self.do(f"a = {self.next()}")
                elif low == 5:
                    at = self.next()
                    self.do(_put(at, str(self.next())))
                else:
                    self.do(f"{self.operand(code)} = {self.next()}")
            case 8:
                value = self.operand(code)
                self.do(_put(self.next(), value))
            case 10:
                self.do(f"{self.operand(code)} = {_byte(self.next())}")
            case 12:
                old, new = self.changed(code, "a")
                self.do(f"t = {old}", new, "a = t")
            case 14:
                self.do(f"a = {self.operand(code)}")
            case 15:
                if low == 5:
                    self.do(_put(self.next(), "a"))
                else:
                    self.do(f"{self.operand(code)} = a")
