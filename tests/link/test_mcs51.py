"""The same firmware on the 8051, built by SDCC for the smallest board and run in uCsim."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from nnhost import boards
from nnhost.link import Flag, Session, crc16, read_text, slice_digest, state_digest
from nnhost.link.generate import messages_header
from nnhost.run.virtual import power_on

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
CORE = FIRMWARE / "core"
BOARD = Path(__file__).parent / "board"
SMALLEST = boards.get("sim89c52")


def build(folder, *sources, options=()):
    """Compiles and links for the smallest board, within its memories; the image."""
    (folder / "nn_messages.h").write_text(messages_header())
    ports = [FIRMWARE / "ports" / port for port in SMALLEST.ports]
    flags = ["-mmcs51", "--std-c99", "--Werror", "--opt-code-size", *options]
    flags += [f"-I{path}" for path in (folder, BOARD, CORE, *ports)]
    objects = []
    for source in (*sources, *(path for port in ports for path in port.glob("*.c"))):
        objects.append(folder / f"{source.stem}.rel")
        subprocess.run(["sdcc", *flags, "-c", source, "-o", objects[-1]], check=True)
    image = folder / "firmware.ihx"
    limits = ["--iram-size", "256", "--code-size", "8192", "--xram-loc", "0"]
    subprocess.run(["sdcc", "-mmcs51", *limits, *objects, "-o", image], check=True)
    return image


def segment_sizes(objects):
    """Bytes of each segment, over all objects."""
    sizes = {}
    for path in objects:
        for name, size in re.findall(r"^A (\w+) size ([0-9A-F]+) ", path.read_text(), re.MULTILINE):
            sizes[name] = sizes.get(name, 0) + int(size, 16)
    return sizes


def build_board(folder, *options):
    main = CORE / "nn_main.c"  # first, for the linker takes the start-up code from there
    others = sorted({*CORE.glob("*.c")} - {main})
    return build(folder, main, *others, BOARD / "nn_net.c", options=options)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    return build_board(tmp_path_factory.mktemp("mcs51"))


@pytest.fixture
def power():
    lines = []

    def on(image):
        lines.append(power_on(SMALLEST, image))
        return lines[-1]

    yield on
    for line in lines:
        line.close()


def test_the_core_leaves_room_for_a_net(firmware):
    core = [firmware.parent / f"{path.stem}.rel" for path in CORE.glob("*.c")]
    sizes = segment_sizes(core)
    assert sizes["CSEG"] + sizes["CONST"] + sizes["GSINIT"] <= 2900
    assert sizes["XSEG"] <= 104
    assert sizes["DSEG"] <= 24


def train(session, model, count, chance):
    for _ in range(count):
        sample, flags = chance.randbytes(41), chance.randrange(8) | Flag.DIGEST
        report = session.step(model.steps + 1, flags, sample)
        assert (report.loss, report.prediction, report.trace) == model.step(flags, sample)
        assert report.slice == slice_digest(model.state(), model.steps)


def test_it_computes_what_the_host_computes(firmware, power, model):
    session = Session(power(firmware))
    welcome = session.hello()
    assert (welcome.board, welcome.crc) == (b"test-board", state_digest(model.state()))
    train(session, model, 35, random.Random(1))
    state = session.read_state()
    assert state == model.state()
    session.reset(5)
    assert session.read_state() == type(model)(5).state()
    session.write_state(state, 35)
    train(session, model, 2, random.Random(2))
    assert session.counters.retries == 0


def test_it_survives_a_bad_line(firmware, power, model, faulty_line):
    line = faulty_line(power(firmware), 3, 0.003)
    session = Session(line, reply_timeout=0.3, quiet=0.02)
    session.hello()
    session.reset(7)
    train(session, model, 40, random.Random(3))
    assert session.read_state() == model.state()
    assert line.faults > 5


def test_restart_starts_anew(firmware, power, model):
    session = Session(power(firmware))
    session.hello()
    session.reset(99)
    session.restart()
    welcome = session.hello()
    assert (welcome.step, welcome.crc) == (0, state_digest(model.state()))
    assert session.verify().executed == 2  # HELLO, VERIFY


def test_it_trains_by_itself(tmp_path, power, standalone_program, process_line):
    line = power(build_board(tmp_path, "-DNN_STANDALONE=1"))
    heard = list(read_text(line, 10))
    assert heard == list(read_text(process_line(standalone_program), 10))
    assert Session(line).hello().crc == heard[-1].digest


def test_the_checksum_in_every_memory_space(tmp_path, power):
    image = build(tmp_path, Path(__file__).parent / "mcs51" / "crc_spaces.c", CORE / "nn_crc.c")
    line = power(image)
    data = bytes(i * 37 & 0xFF for i in range(1030))
    blocks = [data[:n] for n in (0, 1, 2, 3, 255, 256, 257, 384, 511, 512, 768, 1030)]
    blocks += 3 * [data[:24]]
    heard = b""
    while len(heard) < 2 * len(blocks) and (more := line.read(5)):
        heard += more
    assert heard.hex() == b"".join(crc16(b).to_bytes(2, "little") for b in blocks).hex()
