"""The files behind the stores of virtual boards, in which they keep checkpoints without power.

A process and a board in QEMU write theirs themselves. An 8051 in uCsim cannot read a file at will:
it finds the store in its memory when it is powered on, and uCsim notes its changes in a second
file. Both outlive whatever is killed, as the operating system has what was written.
"""

from __future__ import annotations

from pathlib import Path

from nnhost.boards import Store
from nnhost.checkpoints import SLOTS
from nnhost.files import write_atomically

#: The file's name, in the board's folder; the firmware knows it.
STORE = "store"
#: Where the firmware writes to uCsim's interface (firmware/ports/store-ucsim).
INTERFACE = 0xFFF0
#: Bytes of a change: where, low byte first, and a word of four bytes.
_CHANGE = 6
#: Set in the place of a page that was erased.
_ERASED = 0x8000


def changes_of(store: Path) -> Path:
    """The file in which uCsim notes the changes of a store."""
    return store.with_name(f"{store.name}.changes")


def drop_store(folder: Path) -> None:
    """Erase the store of the board in this folder."""
    for path in (folder / STORE, changes_of(folder / STORE)):
        path.unlink(missing_ok=True)


def bring_up(store: Store, file: Path) -> bytes:
    """The content of an 8051's store with the changes noted since, which the file then has too.

    A change that was cut short was not made. Noting them twice changes nothing, should this
    program be killed in between.
    """
    content = bytearray(b"\xff" * store.slot * SLOTS)
    if file.exists():
        content[:] = file.read_bytes()[: len(content)].ljust(len(content), b"\xff")
    changes = changes_of(file)
    noted = changes.read_bytes() if changes.exists() else b""
    for begin in range(0, len(noted) - _CHANGE + 1, _CHANGE):
        change = noted[begin : begin + _CHANGE]
        place = int.from_bytes(change[:2], "little")
        at = place % _ERASED
        new = b"\xff" * store.page if place & _ERASED else change[2:]
        if at + len(new) <= len(content):
            content[at : at + len(new)] = new
    if noted:
        write_atomically(file, bytes(content))
        changes.unlink()
    return bytes(content)


def ucsim_memory(store: Store, content: bytes) -> bytes:
    """The commands of uCsim that put this content into an 8051's external RAM."""
    end = store.origin + len(content) - 1
    lines = [f"fill xram {store.origin:#x} {end:#x} 0xff"]
    for at in range(0, len(content), 16):
        row = content[at : at + 16]
        if row.count(0xFF) < len(row):
            lines.append(f"set memory xram {store.origin + at:#x} {' '.join(map(str, row))}")
    return "".join(f"{line}\n" for line in lines).encode()
