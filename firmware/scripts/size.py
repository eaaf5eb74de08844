"""Checks that a firmware fits its board, in every memory, and says how full each is.

    python size.py RECORD IMAGE TAKEN

RECORD is the board's file in firmware/boards, TAKEN the bytes of its flash that are not for the
firmware. The sizes go to sizes.json beside the image, as
{"flash": bytes, "iram": bytes, ...}. Exits with 1 if a memory overflows. Also reads what SDCC
leaves behind when it cannot link for want of memory.
"""

import json
import re
import sys
from pathlib import Path

STACK_LEAST = 32  # bytes that an 8051's stack must find free in iram


def mcs51_sizes(image):
    """Sizes from the .mem file that SDCC writes."""
    text = image.with_suffix(".mem").read_text()

    def total(memory):
        return int(re.search(rf"^ *{memory} .*?(\d+) +\d+ *$", text, re.M)[1])

    # Parameters in planes lie before the variables of the linker.
    begin = re.search(r"^ *EXTERNAL RAM +0x(\w+)", text, re.M)
    iram = int(re.search(r"Stack starts at: 0x(\w+)", text)[1], 16)
    homeless = re.findall(r"Couldn't get (\d+) bytes", text)
    if homeless:  # add to them what did find a place in the map of iram
        cells = "".join(re.findall(r"^0x..:\|(.*)$", text, re.M)).replace("|", "")
        iram = sum(cell not in " S" for cell in cells) + sum(map(int, homeless))
    return {
        "flash": total("ROM/EPROM/FLASH"),
        "iram": iram + STACK_LEAST,
        "xram": total("EXTERNAL RAM") + (int(begin[1], 16) if begin else 0),
    }


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


def main(record_path, image, taken):
    record = json.loads(Path(record_path).read_text(encoding="utf-8"))["nnhost"]
    image = Path(image)
    if record["family"] == "mcs51" and not image.with_suffix(".mem").exists():
        print("error: SDCC has linked nothing, and does not say so", file=sys.stderr)
        return 1
    sizes = mcs51_sizes(image) if record["family"] == "mcs51" else elf_sizes(image)
    image.with_name("sizes.json").write_text(json.dumps(sizes))
    limits = {memory: limit["size"] for memory, limit in record["memories"].items()}
    limits["flash"] -= int(taken)
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
