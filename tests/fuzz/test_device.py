"""The firmware's frame parser and handlers under sanitizers, fed with anything.

`make fuzz` sends NNHOST_FUZZ_FRAMES frames in all; the drawing is that of device/fuzz_link.c. With
a clang that has libFuzzer, the same file is its target: see there.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from nnhost.boards import get
from nnhost.generate import board_sources, prepare
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import load_project

HERE = Path(__file__).parent / "device"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
FRAMES = int(os.environ.get("NNHOST_FUZZ_FRAMES", 300_000))
SEED = int(os.environ.get("NNHOST_FUZZ_SEED", 1))

NETS = {
    "xor": ['train.schedule="warm-restarts"', 'net.preset="q16"'],
    "iris": [
        'train.schedule="plateau"', 'train.optimizer="nesterov"', "train.lr=0.01",
        "train.clip_value=0.5", "train.l1=0.01", "train.batch=4",
    ],
}  # fmt: skip


def build(folder: Path, name: str) -> Path:
    """The fuzzer around the link and the net; only these count the edges they take."""
    network = prepare(load_project(examples_dir() / name, NETS[name]))
    for file, text in board_sources(network, get("host")).items():
        (folder / file).write_text(text)
    core, kernels = firmware_dir() / "core", firmware_dir() / "kernels" / "native"
    parts = ("crc", "digest", "frame", "link", "map", "prng", "train")
    sources = [*(core / f"nn_{part}.c" for part in parts), folder / "nn_net.c"]
    include = [f"-I{folder}", f"-I{core}", f"-I{kernels}"]
    common = ["gcc", "-O2", "-g", *SANITIZERS, *STRICT, *include]
    objects = []
    for source in sources:
        objects.append(folder / f"{source.stem}.o")
        command = [*common, "-std=c99", "-fsanitize-coverage=trace-pc", "-c", source]
        subprocess.run([*command, "-o", objects[-1]], check=True)
    program = folder / "fuzz"
    command = [*common, "-std=gnu11", HERE / "fuzz_link.c", *objects, "-o", program]
    subprocess.run(command, check=True)
    return program


@pytest.mark.parametrize("name", NETS)
def test_nothing_that_arrives_breaks_the_firmware(name: str, tmp_path: Path) -> None:
    program = build(tmp_path, name)
    frames = FRAMES // len(NETS)
    corpus = sorted((HERE / "corpus").glob("*.bin"))
    assert corpus

    done = subprocess.run(
        [program, str(SEED), str(frames), *corpus],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, (
        f"seed {SEED}; the input is {tmp_path / 'crash.bin'}: {done.stderr[-2000:]}"
    )
    told = re.match(r"(\d+) frames, (\d+) inputs, (\d+) edges", done.stdout)
    assert told
    assert int(told[1]) >= frames
    assert int(told[3]) > 150  # else the handlers were hardly reached
