"""What checkpoints take, on which boards; drawn nets that go on from theirs; a virtual 8051's
store."""

from __future__ import annotations

import os
import random
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import bare_boards
from helpers.drawn_nets import describe, draw

from nnhost.boards import BOARDS, Board, Store
from nnhost.checkpoints import checkpoints
from nnhost.errors import CapacityError, UsageError
from nnhost.generate import Network, board_sources
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import load_project
from nnhost.run.store import STORE, bring_up, changes_of, drop_store, ucsim_memory

HERE = Path(__file__).parent
#: One board for each kind of store.
STORES = {board.store.ports: name for name, board in BOARDS.items() if board.store}


def keeping(network: Network, every: int) -> Network:
    """The same net on a board that makes checkpoints."""
    train = replace(network.project.train, checkpoint_every=every)
    return replace(network, project=replace(network.project, train=train))


@pytest.mark.parametrize("seed", range(int(os.environ.get("NNHOST_DRAWN_NETS", "5"))))
def test_a_drawn_net_goes_on_as_if_nothing_had_happened(seed: int, tmp_path: Path) -> None:
    """Power fails in the middle of writes and erasures, wherever in a batch or an epoch."""
    rng = random.Random(seed)
    network = keeping(draw(seed), rng.randint(1, 5))
    wanted = bare_boards.expected(network)
    store = HERE.parent / "helpers" / "failing_store"
    firmware = bare_boards.compile_host(network, tmp_path, lambda text: text, store)
    losses: dict[int, int] = {}
    resumed = []
    for start in range(12):
        failing = {"POWER_FAILS_AT": str(rng.randint(1, 99 * (1 + start)))} if start < 11 else {}
        done = subprocess.run(
            [firmware], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env=os.environ | failing, check=False,
        )  # fmt: skip
        for step, whole, part in re.findall(r"(?m)^step:(\d+)\tloss:(\d+)\.(\d+)$", done.stdout):
            assert losses.setdefault(int(step), int(whole + part)) == int(whole + part)
        resumed += [int(step) for step in re.findall(r"(?m)^resumed:(\d+)$", done.stdout)]
        if "done:" in done.stdout and done.returncode == 0:
            break
        assert done.returncode == 9, done.stderr
    about = describe(network)
    assert [losses[step] for step in sorted(losses)] == list(wanted.losses), about
    assert done.stdout.endswith(f"digest:{wanted.digest:04X}\n"), about
    assert resumed == sorted(resumed)


# ---- what they take ----


def test_what_checkpoints_take() -> None:
    board = BOARDS["qemu-m3"]
    assert checkpoints(board, 0, 1000, 100) is None
    found = checkpoints(board, 100, 1001, 100)
    assert found is not None
    assert (found.number, found.bytes, found.erasures) == (11, 120, 6)
    assert str(found) == (
        "11 checkpoints a training, 120 of 8,192 bytes;"
        " they erase a page 6 times, and it lasts for 10,000"
    )
    assert found.event()["endurance"] == 10_000
    lasting = checkpoints(BOARDS["host"], 100, 1001, 100)
    assert lasting is not None
    assert str(lasting) == "11 checkpoints a training, 120 of 262,144 bytes"


@pytest.mark.parametrize(
    ("board", "every", "steps", "state", "error", "cure"),
    [
        ("sim8052", 10, 100, 10, "sim8052 has no memory for checkpoints", "simstc8, "),
        ("qemu-m3", 10, 100, 8173, "takes 8,193 bytes, and a slot of its store has 8,192", "small"),
        ("qemu-m3", 2, 40_001, 9, "20,001 checkpoints erase .* 10,001 times, .* 10,000", "= 3 in"),
    ],
)
def test_what_is_refused(
    board: str, every: int, steps: int, state: int, error: str, cure: str
) -> None:
    with pytest.raises(CapacityError, match=error) as refused:
        checkpoints(BOARDS[board], every, steps, state)
    assert cure in refused.value.help
    assert "checkpoint_every" in refused.value.help


def test_the_cure_for_wear_is_accepted() -> None:
    assert checkpoints(BOARDS["qemu-m3"], 3, 40_001, 9) is not None


def test_a_host_that_streams_keeps_the_state_itself() -> None:
    with pytest.raises(UsageError, match="checkpoint_every is for a board that trains alone"):
        load_project(examples_dir() / "iris", ["train.checkpoint_every=10"])


def test_nothing_is_generated_for_those_who_keep_nothing() -> None:
    network = draw(1)
    for board in (BOARDS["host"], BOARDS["qemu-m3"]):
        assert "CHECKPOINT" not in "".join(board_sources(network, board).values())
        assert "NN_CHECKPOINT 9U" in board_sources(keeping(network, 9), board)["nn_config.h"]


@pytest.mark.parametrize("name", STORES.values())
def test_the_code_of_a_store_compiles(name: str, tmp_path: Path) -> None:
    """That of real chips, too, which nothing here can run."""
    board: Board = BOARDS[name]
    assert board.store
    text = board_sources(keeping(draw(1), 9), board)["nn_config.h"]
    (tmp_path / "nn_config.h").write_text(text)
    firmware = firmware_dir()
    folders = [tmp_path, firmware / "core", *(firmware / "ports" / p for p in board.ports)]
    command = {
        "mcs51": ["sdcc", "-mmcs51", "--std-c99", "--Werror"],
        "cortex-m": ["arm-none-eabi-gcc", "-mthumb", f"-mcpu={board.cpu}"],
        "host": ["gcc", "-D_POSIX_C_SOURCE=200809L"],
    }[board.family]
    if board.family != "mcs51":
        command += ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    command += [f"-I{folder}" for folder in folders]
    for port in board.store.ports:
        for file in (firmware / "ports" / port).glob("*.c"):
            made = tmp_path / f"{file.stem}.o"
            subprocess.run([*command, "-c", file, "-o", made], check=True)


# ---- the files of virtual boards ----

SMALL = Store(("store-ucsim",), page=16, pages=2, origin=0x8000)


def change(at: int, word: bytes) -> bytes:
    return at.to_bytes(2, "little") + word


def test_changes_are_played_into_the_store(tmp_path: Path) -> None:
    file = tmp_path / STORE
    assert bring_up(SMALL, file) == b"\xff" * 64
    noted = [
        change(4, b"abcd"),
        change(20, b"efgh"),
        change(0x8000 | 16, b"\xff" * 4),
        change(24, b"ijkl"),
    ]
    expected = bytearray(b"\xff" * 64)
    expected[4:8], expected[24:28] = b"abcd", b"ijkl"
    for torn in range(6):
        file.unlink(missing_ok=True)
        changes_of(file).write_bytes(b"".join(noted) + change(8, b"mnop")[:torn])
        assert bring_up(SMALL, file) == expected
        assert not changes_of(file).exists()
        assert bring_up(SMALL, file) == expected
        # Killed between the two files: the changes are there again.
        changes_of(file).write_bytes(b"".join(noted))
        assert bring_up(SMALL, file) == expected
    drop_store(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_of_any_content_are_taken(tmp_path: Path) -> None:
    """Whatever they hold: the firmware checks what it finds."""
    draw = random.Random(1)
    file = tmp_path / STORE
    for _ in range(50):
        file.write_bytes(draw.randbytes(draw.randint(0, 100)))
        changes_of(file).write_bytes(draw.randbytes(draw.randint(0, 100)))
        content = bring_up(SMALL, file)
        assert len(content) == 64
        commands = ucsim_memory(SMALL, content)
        assert commands.startswith(b"fill xram 0x8000 0x803f 0xff\n")
