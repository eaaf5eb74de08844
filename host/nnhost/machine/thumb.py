"""A Cortex-M's machine code, read on this computer: how many instructions a function takes.

Only what decides where a function goes is computed: integers, addresses, flags. What is left out,
such as vectors, leaves its registers as they were. The numbers of the net come from outside: stores
to the bytes that are `kept` are left out, so that they stay what the simulator says they are.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from nnhost.boards import Memory
from nnhost.link.digest import crc16
from nnhost.machine import UnknownCode

_OUTSIDE = 0xFFFF_FFFE
_WORD = 0xFFFF_FFFF
#: Instructions that are longest in a function made of them.
_LONGEST = 64
#: A function that takes longer does not come to an end.
_PATIENCE = 1 << 24
_NAMES = {"sb": 9, "sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": 15}
#: Behind the registers: the last result, carry, overflow, which of the last two vectors that were
#: loaded have anything but zeros, and the elements that a round of a loop over vectors takes.
_RESULT, _CARRY, _OVERFLOW, _VECTOR, _TAKEN = "R[16]", "R[17]", "R[18]", "R[19]", "R[20]"
_CONDITIONS = {
    "eq": "not R[16]", "ne": "R[16]", "cs": "R[17]", "cc": "not R[17]", "mi": "R[16] >> 31",
    "pl": "not R[16] >> 31", "vs": "R[18]", "vc": "not R[18]", "hi": "R[17] and R[16]",
    "ls": "not (R[17] and R[16])", "ge": "R[16] >> 31 == R[18]", "lt": "R[16] >> 31 != R[18]",
    "gt": "R[16] and R[16] >> 31 == R[18]", "le": "not (R[16] and R[16] >> 31 == R[18])",
}  # fmt: skip
_LOGIC = {
    "and": "x & y", "orr": "x | y", "eor": "x ^ y", "bic": "x & ~y", "orn": "x | ~y",
    "pkhbt": "x & 0xFFFF | y & 0xFFFF0000", "pkhtb": "x & 0xFFFF0000 | y & 0xFFFF",
    "uadd16": "(x & 0xFFFF) + y & 0xFFFF | (x >> 16) + (y >> 16) << 16",
}  # fmt: skip
_SUMS = {
    "add": ("x", "y", "0"), "adc": ("x", "y", "R[17]"), "sub": ("x", "~y & 0xFFFFFFFF", "1"),
    "sbc": ("x", "~y & 0xFFFFFFFF", "R[17]"), "rsb": ("~x & 0xFFFFFFFF", "y", "1"),
    "cmp": ("x", "~y & 0xFFFFFFFF", "1"), "cmn": ("x", "y", "0"),
}  # fmt: skip
_SHIFTS = {
    "lsl": ("x << y", "x >> 32 - y & 1 if 0 < y < 33 else R[17]"),
    "lsr": ("x >> y", "x >> y - 1 & 1 if y else R[17]"),
    "asr": ("signed(x) >> y", "signed(x) >> y - 1 & 1 if y else R[17]"),
    "ror": ("x >> (y & 31) | x << 32 - (y & 31)", "R[17]"),
}
_PRODUCTS = {
    "mul": "x * y", "mla": "x * y + z", "mls": "z - x * y",
    **{
        f"sm{kind}{a}{b}": f"half(x >> {16 * (a == 't')}) * half(y >> {16 * (b == 't')}) + z"
        for kind in ("ul", "la") for a in "bt" for b in "bt"
    },
    "smuad": "half(x) * half(y) + half(x >> 16) * half(y >> 16)",
    "smlad": "half(x) * half(y) + half(x >> 16) * half(y >> 16) + z",
    "smlsd": "half(x) * half(y) - half(x >> 16) * half(y >> 16) + z", "udiv": "x // y if y else 0",
    "sdiv": "int(signed(x) / signed(y)) if y else 0",
}  # fmt: skip
_ONE = {
    "mov": "x", "movw": "x", "mvn": "~x", "sxth": "half(x)", "sxtb": "(x & 255 ^ 128) - 128",
    "uxth": "x & 0xFFFF", "uxtb": "x & 255", "clz": "32 - x.bit_length()", "neg": "-x",
    "uxtb16": "x & 0xFF00FF",
    "sxtb16": "half((x & 255 ^ 128) - 128) & 0xFFFF | ((x >> 16 & 255 ^ 128) - 128) << 16",
    "rev": "int.from_bytes(x.to_bytes(4, 'little'), 'big')",
}  # fmt: skip
_FIELDS = {
    "ubfx": "x >> {0} & {2}", "sbfx": "(x >> {0} & {2} ^ {3}) - {3}",
    "bfi": "d & ~({2} << {0}) | (x & {2}) << {0}", "bfc": "d & ~({2} << {0})",
}  # fmt: skip
_LOADS = {"ldr": (4, 0), "ldrh": (2, 0), "ldrb": (1, 0), "ldrsh": (2, 1), "ldrsb": (1, 1)}
_STORES = {"str": 4, "strh": 2, "strb": 1}
_BASES = sorted(
    [*_LOGIC, *_SUMS, *_SHIFTS, *_PRODUCTS, *_ONE, *_FIELDS, *_LOADS, *_STORES, "tst", "teq", "b",
     "bl", "blx", "bx", "cbz", "cbnz", "tbb", "tbh", "push", "pop", "ldmia", "stmia", "ldmdb",
     "stmdb", "ldrd", "strd", "le", "letp", "dls", "movt", "addw", "subw", "ssat", "usat"],
    key=len, reverse=True,
)  # fmt: skip
#: The sum of a vector's elements, which tells whether all are 0.
_VECTOR_SUM = re.compile(r"vaddv\.u16 (\w+)")
#: The start of a loop over vectors.
_VECTOR_LOOP = re.compile(r"dlstp\.(\d+)")
#: What objdump has to be told, lest it takes vectors for the registers of a coprocessor.
_VECTORS = ("-m", "armv8.1-m.main")
_MEMORY = re.compile(r"\[(\w+)(?:, (#?[-\w]+)(?:, lsl #(\d))?)?\](!)?(?:, #(-?\w+))?")

#: The address that follows and the instructions that it took.
_Run = Callable[[list[int]], tuple[int, int]]


def image_digest(elf: bytes) -> int:
    """The digest that a board tells of its flash: of what an ELF file loads, by address."""
    parts = sorted((physical, data) for _, physical, data in _segments(elf) if data)
    return crc16(b"".join(data for _, data in parts))


def _segments(elf: bytes) -> Iterator[tuple[int, int, bytes]]:
    """What an ELF file loads: where it is used, where it is flashed, and its bytes."""
    (at,) = struct.unpack_from("<I", elf, 28)
    each, number = struct.unpack_from("<HH", elf, 42)
    for header in range(at, at + each * number, each):
        kind, offset, virtual, physical, size = struct.unpack_from("<5I", elf, header)
        if kind == 1:
            yield virtual, physical, elf[offset : offset + size]


class Thumb:
    """A firmware: `memory` is RAM from `origin` on, `flash` what lies there."""

    def __init__(self, image: Path, ram: Memory, objdump: str, vectors: bool = False) -> None:
        self.origin = ram.origin
        self.memory, self.kept = bytearray(ram.size), bytearray(ram.size)
        self.flash_origin, self.flash = 0, b""
        self._load(image.read_bytes())
        text = _listing(objdump, image, _VECTORS if vectors else ())
        self.symbols = {
            name: int(at, 16)
            for at, name in re.findall(r"^([0-9a-f]{8}) .{7} \S+\t[0-9a-f]{8} (\w+)$", text, re.M)
        }
        self.lines = {
            int(at, 16): (name, operands.split("@")[0].strip(), operands)
            for at, name, operands in re.findall(r"^ *([0-9a-f]+):\t(\S+)\t?(.*)$", text, re.M)
        }
        self.order = sorted(self.lines)
        self.after = dict(zip(self.order, self.order[1:], strict=False))
        self.runs: dict[int, _Run] = {}

    def _load(self, elf: bytes) -> None:
        """The segments of an ELF file."""
        for address, _, data in _segments(elf):
            if self.origin <= address < self.origin + len(self.memory):
                begin = address - self.origin
                self.memory[begin : begin + len(data)] = data
            elif data:
                self.flash_origin, self.flash = address, data

    def call(self, name: str, *arguments: int) -> int:
        """The instructions from the start of a function to its return."""
        registers = [0] * 21
        registers[: len(arguments)] = arguments
        registers[13] = self.origin + len(self.memory) - 64
        registers[14] = _OUTSIDE
        if name not in self.symbols:
            raise UnknownCode(f"the firmware has no {name}")
        pc, number = self.symbols[name] & ~1, 0
        runs = self.runs
        while pc != _OUTSIDE:
            run = runs.get(pc) or self._translated(pc)
            pc, taken = run(registers)
            number += taken
            if number > _PATIENCE:
                raise UnknownCode(f"{name} does not come to an end")
        return number

    def place(self, name: str) -> int:
        """Where a C variable lies in `memory`."""
        return self.symbols[name] - self.origin

    def _translated(self, start: int) -> _Run:
        """The Python function of the instructions from an address on."""
        names = {
            "load": self._read, "store": self._write, "signed": _signed, "half": _half, "W": _WORD,
        }  # fmt: skip
        exec(compile(_Writer(self, start).text(), f"<{start:X}>", "exec"), names)
        run = names["run"]
        assert callable(run)
        self.runs[start] = run
        return run

    def _read(self, address: int, size: int, signed: bool = False) -> int:
        at = (address & _WORD) - self.origin
        if 0 <= at <= len(self.memory) - size:
            return int.from_bytes(self.memory[at : at + size], "little", signed=signed)
        at = (address & _WORD) - self.flash_origin
        return int.from_bytes(self.flash[at : at + size], "little", signed=signed) if at >= 0 else 0

    def _write(self, address: int, size: int, value: int) -> None:
        at = (address & _WORD) - self.origin
        if 0 <= at <= len(self.memory) - size and not self.kept[at]:
            self.memory[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def _listing(objdump: str, image: Path, options: tuple[str, ...]) -> str:
    if not objdump:
        raise UnknownCode("there is no objdump")
    command = [objdump, *options, "-d", "-t", "--no-show-raw-insn", str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnknownCode(f"{objdump}: {done.stderr.strip()}")
    return done.stdout


def _signed(x: int) -> int:
    return (x & _WORD ^ 0x8000_0000) - 0x8000_0000


def _half(x: int) -> int:
    return (x & 0xFFFF ^ 0x8000) - 0x8000


def _register(name: str) -> int:
    return _NAMES[name] if name in _NAMES else int(name[1:])


def _value(operand: str) -> str:
    """Python for a register or a number."""
    return str(int(operand[1:], 0)) if operand[0] == "#" else f"R[{_register(operand)}]"


def _split(operands: str) -> list[str]:
    """At the commas outside brackets."""
    return [part.strip() for part in re.findall(r"(?:\[[^]]*\]!?|\{[^}]*\}|[^,])+", operands)]


def _list(text: str) -> list[int]:
    """The registers within braces."""
    found: list[int] = []
    for part in text.strip("{}").split(","):
        first, _, last = part.strip().partition("-")
        found += range(_register(first), _register(last or first) + 1)
    return found


class _Writer:
    """Writes the Python function of a run of instructions."""

    def __init__(self, machine: Thumb, start: int) -> None:
        self.machine, self.start, self.pc = machine, start, start
        self.lines: list[str] = []
        self.number = 0
        self.condition = ""

    def text(self) -> str:
        """The function's source."""
        for _ in range(_LONGEST):
            if self.pc not in self.machine.lines:
                raise UnknownCode(f"the firmware has no instruction at {self.pc:X}")
            name, operands, comment = self.machine.lines[self.pc]
            self.number += 1
            self.next = self.machine.after.get(self.pc, 0)
            if self.instruction(name, operands, comment):
                break
            self.pc = self.next
        else:
            self.condition = ""
            self.leave(str(self.pc))
        body = "\n  ".join(self.lines)
        return f"def run(R):\n n = 0\n while True:\n  {body}"

    def do(self, *lines: str) -> None:
        """Statements, under the instruction's condition."""
        if self.condition:
            self.lines.append(f"if {self.condition}:")
            self.lines += [f" {line}" for line in lines]
        else:
            self.lines += lines

    def leave(self, target: str, condition: str = "") -> None:
        """Go on elsewhere, if a condition holds."""
        if target == str(self.start):
            ends = f"n += {self.number}; continue"
        else:
            ends = f"return {target}, n + {self.number}"
        condition = condition or self.condition
        self.lines.append(f"if {condition}: {ends}" if condition else ends)

    def instruction(self, full: str, operands: str, comment: str) -> bool:
        """Write one; whether nothing follows it."""
        name, sets, self.condition = _parted(full)
        parts = _split(operands)
        if found := _VECTOR_LOOP.match(full):
            self.do(f"R[14] = {_value(parts[1])}; {_TAKEN} = {128 // int(found[1])}")
            return False
        if full.startswith("vmov"):
            return False
        if name in ("b", "bl", "blx", "bx", "cbz", "cbnz", "tbb", "tbh", "le", "letp", "dls"):
            return self.jump(name, parts)
        if name in ("push", "pop", "ldmia", "stmia", "ldmdb", "stmdb"):
            return self.several(name, parts)
        if "[" in operands:
            return self.memory(name or full, parts, operands, comment)
        if name in _FIELDS:
            low, width = (int(p[1:], 0) for p in parts[-2:])
            mask = (1 << width) - 1
            shape = _FIELDS[name].format(low, width, mask, (mask + 1) >> 1)
            d = _value(parts[0])
            x = _value(parts[1]) if name != "bfc" else "0"
            self.do(f"d = {d}; x = {x}; {d} = {shape} & W")
        elif name in ("ssat", "usat"):
            bits = int(parts[1][1:], 0)
            low = -(1 << bits - 1) if name == "ssat" else 0
            high = low + (1 << bits) - 1
            x = self.flexible(parts[2:])
            self.do(f"{_value(parts[0])} = min(max(signed({x}), {low}), {high}) & W")
        elif name == "movt":
            d = _value(parts[0])
            self.do(f"{d} = {d} & 0xFFFF | {int(parts[1][1:], 0) << 16}")
        elif name:
            return self.arithmetic(name, sets, parts)
        elif found := _VECTOR_SUM.match(f"{full} {operands}"):
            self.do(f"R[{_register(found[1])}] = {_VECTOR} & 1")
        elif full == "vorr":
            self.do(f"{_VECTOR} = {_VECTOR} > 0")
        return False

    def arithmetic(self, name: str, sets: bool, parts: list[str]) -> bool:
        """What puts a value into a register, or only sets the flags."""
        d = _value(parts[0])
        if name in _ONE:
            y, carry, shape = "0", "", _ONE[name]
            self.do(f"x = {self.flexible(parts[1:])}; t = {shape} & W")
        elif name in _PRODUCTS:
            x, y, z = (*map(_value, (parts + parts[:1])[1:3] if len(parts) < 3 else parts[1:3]),
                       _value(parts[3]) if len(parts) > 3 else "0")  # fmt: skip
            carry = ""
            self.do(f"x = {x}; y = {y}; z = {z}; t = {_PRODUCTS[name]} & W")
        else:
            name = {"addw": "add", "subw": "sub"}.get(name, name)
            flags = name in ("cmp", "cmn", "tst", "teq")
            full = not flags and len(parts) > 2 and not re.match(r"(lsl|lsr|asr|ror) #", parts[2])
            first = parts[1] if full else parts[0]
            rest = parts[2:] if full else parts[1:]
            self.do(f"x = {self.place(first)}; y = {self.flexible(rest)}")
            if name in _SUMS:
                x, y, more = _SUMS[name]
                self.do(f"x = {x}; y = {y}; t = x + y + {more}; c = t >> 32; t &= W")
                carry = "c"
            elif name in _SHIFTS:
                shape, carry = _SHIFTS[name]
                self.do("y &= 255", f"t = {shape} & W")
            else:
                name = {"tst": "and", "teq": "eor"}.get(name, name)
                self.do(f"t = {_LOGIC[name]} & W")
                carry = ""
            if name in _SUMS and (sets or flags):
                self.do(f"{_OVERFLOW} = (x ^ t & W) & (y ^ t & W) & 0x80000000 and 1")
            if flags:
                self.do(f"{_RESULT} = t" + (f"; {_CARRY} = {carry}" if carry else ""))
                return False
        if sets:
            self.do(f"{_RESULT} = t" + (f"; {_CARRY} = {carry}" if carry else ""))
        if d == "R[15]":
            self.leave("t & ~1")
            return not self.condition
        self.do(f"{d} = t")
        return False

    def place(self, register: str) -> str:
        """A register that is read; the program counter is ahead."""
        return str(self.pc + 4) if register == "pc" else _value(register)

    def flexible(self, parts: list[str]) -> str:
        """The last operand: a number, or a register that may be shifted."""
        value = self.place(parts[0]) if parts[0][0] != "#" else _value(parts[0])
        if len(parts) == 1 or not re.match(r"(lsl|lsr|asr|ror) ", parts[1]):
            return f"({int(value) & _WORD})" if value.lstrip("-").isdigit() else value
        kind, by = parts[1].split(" #")
        shape = _SHIFTS[kind][0].replace("x", value).replace("y", by)
        return f"({shape} & W)"

    def memory(self, name: str, parts: list[str], operands: str, comment: str) -> bool:
        """Loads and stores; what is unknown only moves its address register."""
        found = _MEMORY.search(operands)
        if found is None:  # elements that a vector picks
            return False
        base, offset, shift, before, after = found.groups()
        if base == "pc":
            literal = re.search(r"@ \(?([0-9a-f]+)", comment)
            address = str(int(literal[1], 16)) if literal else "0"
        else:
            address = f"R[{_register(base)}]"
        if offset and base != "pc":
            address += f" + ({_value(offset)} << {shift or 0})"
        lines = [f"at = {address}"]
        jumps = False
        if name in _LOADS:
            size, sign = _LOADS[name]
            loaded = f"load(at, {size}, True) & W" if sign else f"load(at, {size})"
            jumps = parts[0] == "pc"
            lines.append(f"{'t' if jumps else _value(parts[0])} = {loaded}")
        elif name in _STORES:
            lines.append(f"store(at, {_STORES[name]}, {_value(parts[0])})")
        elif name == "ldrd":
            lines.append(f"x = load(at, 4); {_value(parts[1])} = load(at + 4, 4)")
            lines.append(f"{_value(parts[0])} = x")
        elif name == "strd":
            lines += [f"store(at + {4 * i}, 4, {_value(parts[i])})" for i in (0, 1)]
        elif name == "vldrh.u16":
            lines.append(f"{_VECTOR} = {_VECTOR} << 1 & 2 | (load(at, 16) > 0)")
        if before:
            lines.append(f"R[{_register(base)}] = at & W")
        if after:
            lines.append(f"R[{_register(base)}] = at + {int(after, 0)} & W")
        self.do(*lines)
        if jumps:
            self.leave("t & ~1")
        return jumps and not self.condition

    def several(self, name: str, parts: list[str]) -> bool:
        """LDM and STM with their names for the stack."""
        base = "R[13]" if name in ("push", "pop") else _value(parts[0].rstrip("!"))
        registers = _list(parts[-1])
        stores, down = name in ("push", "stmia", "stmdb"), name in ("push", "stmdb", "ldmdb")
        lines = [f"at = {base}" + (f" - {4 * len(registers)}" if down else "")]
        if name in ("push", "pop") or parts[0].endswith("!"):
            lines.append(f"{base} = at" + ("" if down else f" + {4 * len(registers)}"))
        for i, r in enumerate(registers):
            target = "t" if r == 15 else f"R[{r}]"
            place = f"at + {4 * i}"
            loaded = f"{target} = load({place}, 4)"
            lines.append(f"store({place}, 4, {target})" if stores else loaded)
        self.do(*lines)
        if not stores and 15 in registers:
            self.leave("t & ~1")
            return not self.condition
        return False

    def jump(self, name: str, parts: list[str]) -> bool:
        """Branches, calls, tables and loops."""
        if name in ("tbb", "tbh"):
            index = _register(parts[0].strip("[]").split(", ")[1].split(" ")[0])
            size = 2 if name == "tbh" else 1
            self.leave(f"{self.pc + 4} + 2 * load({self.pc + 4} + {size} * R[{index}], {size})")
            return True
        if name == "dls":
            self.do(f"R[14] = {_value(parts[1])}")
            return False
        if name in ("bx", "blx") and re.fullmatch(r"\w\w+", parts[0]):
            target = f"{_value(parts[0])} & ~1"
        else:
            target = str(int(parts[-1].split(" ")[0], 16))
        if name in ("bl", "blx"):
            self.do(f"t = {target}", f"R[14] = {self.next | 1}")
            self.leave(target if name == "bl" else "t")
            return True
        if name in ("cbz", "cbnz"):
            self.leave(target, f"{'not ' if name == 'cbz' else ''}{_value(parts[0])}")
            return False
        if name in ("le", "letp"):
            self.do(f"R[14] -= {'1' if name == 'le' else _TAKEN}")
            self.leave(target, "R[14] > 0")
            return False
        self.leave(target)
        return not self.condition


def _parted(full: str) -> tuple[str, bool, str]:
    """A mnemonic's name ("" if it is of no concern here), whether it sets the flags, and its
    condition in Python."""
    plain = full.removesuffix(".n").removesuffix(".w")
    for base in _BASES:
        if plain.startswith(base):
            rest = plain.removeprefix(base)
            sets = rest[:1] == "s" and base not in ("b", "bl") and rest[1:] in ("", *_CONDITIONS)
            condition = rest[1:] if sets else rest
            if condition in ("", *_CONDITIONS):
                return base, sets, _CONDITIONS.get(condition, "")
    return "", False, ""
