"""Checks that a firmware fits its board, in every memory, and says how full each is.

    python size.py RECORD IMAGE

RECORD is the board's file in firmware/boards. The sizes go to sizes.json beside the image, as
{"flash": bytes, "iram": bytes, ...}. Exits with 1 if a memory overflows. Also reads what SDCC
leaves behind when it cannot link for want of memory.
"""

import json
import re
import sys
from pathlib import Path

STACK_LEAST = 32  # bytes that an 8051's stack must find free in iram
REGISTER_BANK = 8


def mcs51_sizes(image):
    """Sizes from the .mem file that SDCC writes."""
    text = image.with_suffix(".mem").read_text()

    def total(memory):
        return int(re.search(rf"^ *{memory} .*?(\d+) +\d+ *$", text, re.M)[1])

    iram = int(re.search(r"Stack starts at: 0x(\w+)", text)[1], 16)
    if "Couldn't get" in text:  # the linker found no place for some: add up what was asked for
        iram = REGISTER_BANK + sum(map(internal_bytes, image.parent.rglob("*.rel")))
    return {
        "flash": total("ROM/EPROM/FLASH"),
        "iram": iram + STACK_LEAST,
        "xram": total("EXTERNAL RAM"),
    }


def internal_bytes(module):
    """What a compiled module wants of iram."""
    areas = re.findall(r"^A (\w+) size (\w+)", module.read_text(), re.M)
    return sum(int(size, 16) for name, size in areas if name in ("DSEG", "ISEG", "OSEG"))


def elf_sizes(image):
    """Sizes of what an ELF file loads: initial values of variables count in both memories."""
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.elffile import ELFFile

    flash = ram = 0
    with image.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            if section["sh_flags"] & SH_FLAGS.SHF_ALLOC:
                if section["sh_type"] != "SHT_NOBITS":
                    flash += section["sh_size"]
                if section["sh_flags"] & SH_FLAGS.SHF_WRITE:
                    ram += section["sh_size"]
    return {"flash": flash, "ram": ram}


def main(record_path, image):
    record = json.loads(Path(record_path).read_text(encoding="utf-8"))["nnhost"]
    image = Path(image)
    sizes = mcs51_sizes(image) if record["family"] == "mcs51" else elf_sizes(image)
    image.with_name("sizes.json").write_text(json.dumps(sizes))
    limits = {memory: limit["size"] for memory, limit in record["memories"].items()}
    for memory, size in sizes.items():
        print(f"{memory:5} {size:7} of {limits[memory]:7} bytes, {size / limits[memory]:4.0%}")
    overflows = [memory for memory, size in sizes.items() if size > limits[memory]]
    for memory in overflows:
        print(
            f"error: {Path(record_path).stem}: the firmware needs {sizes[memory]} bytes of "
            f"{memory}, {sizes[memory] - limits[memory]} more than there are",
            file=sys.stderr,
        )
    if overflows:
        print("help: make the net smaller, or take a larger board (nnhost boards)", file=sys.stderr)
    return 1 if overflows else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
