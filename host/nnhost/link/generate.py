"""Writes the firmware's copy of the message dictionary: ``nn_messages.h``."""

from __future__ import annotations

import re

from nnhost.link.messages import (
    ANSWERS,
    HEADER_BYTES,
    PAYLOAD_LEAST,
    PAYLOAD_MOST,
    REQUESTS,
    WINDOW_MOST,
    Cause,
    Flag,
    Message,
    Objection,
    Reason,
    abi,
)

_C_TYPES = {"B": "uint8_t", "H": "uint16_t", "I": "uint32_t"}


def messages_header() -> str:
    """The text of ``nn_messages.h``.

    For each message ``NN_MSG_<NAME>`` is its number, ``NN_MSG_<NAME>_<FIELD>`` a field's offset
    in the payload, and ``NN_MSG_<NAME>_SIZE`` the payload's length without its ``Rest``.
    """
    sizes = ", ".join(f"{kind.LAYOUT.size}U" for kind in REQUESTS)
    lines = [
        "/*",
        " * The messages of the link: numbers, and offsets of the fields in their payloads.",
        " * Written by python -m nnhost.link.generate from nnhost/link/messages.py.",
        " */",
        "#ifndef NN_MESSAGES_H",
        "#define NN_MESSAGES_H",
        "",
        "/* The hash of this dictionary; seeds all checksums but those of HELLO and WELCOME. */",
        _define("ABI", f"0x{abi():04X}U"),
        "",
        _define("HEADER_BYTES", f"{HEADER_BYTES}U"),
        _define("PAYLOAD_LEAST", str(PAYLOAD_LEAST)),
        _define("PAYLOAD_MOST", str(PAYLOAD_MOST)),
        _define("WINDOW_MOST", str(WINDOW_MOST)),
    ]
    for kind in (*REQUESTS, *ANSWERS):
        lines += ["", *_message(kind)]
    lines += [
        "",
        "/* Requests are numbered from 1; the least payload of each, in that order. */",
        _define("MSG_REQUESTS", f"{len(REQUESTS)}U"),
        _define("MSG_LEAST_SIZES", f"{{{sizes}}}"),
    ]
    for values in (Flag, Reason, Cause, Objection):
        lines.append("")
        lines += [_define(f"{values.__name__}_{value.name}", f"{int(value)}U") for value in values]
    return "\n".join([*lines, "", "#endif", ""])


def _message(kind: type[Message]) -> list[str]:
    name = f"MSG_{kind.__name__}"
    layout = kind.LAYOUT
    lines = [f"/* {(kind.__doc__ or '').strip()} */", _define(name, f"0x{kind.NUMBER:02X}U")]
    for field, at in layout.offsets.items():
        lines.append(_define(f"{name}_{field}", f"{at}U /* {_C_TYPES[layout.numbers[field]]} */"))
    rest = f" /* then {layout.rest}, to the end */" if layout.rest else ""
    return [*lines, _define(f"{name}_SIZE", f"{layout.size}U{rest}")]


def _define(name: str, value: str) -> str:
    return f"#define NN_{re.sub(r'[^A-Z0-9]+', '_', name.upper())} {value}"


if __name__ == "__main__":
    print(messages_header(), end="")
