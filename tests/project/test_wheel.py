"""The wheel: an installed nnhost finds all it needs without the repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USE = """
from pathlib import Path
from nnhost.data import SHIPPED, load
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import TEMPLATES, create_project, load_project

print(firmware_dir())
print(examples_dir())
for template in TEMPLATES:
    root = Path(template)
    create_project(root, template, None, "")
    project = load_project(root)
    load(project.data, project.train.seed, root)
print(len(SHIPPED))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_it_holds_every_file_of_the_repository(site: Path) -> None:
    for there, here in (("host/nnhost", ""), ("firmware", "firmware"), ("examples", "examples")):
        listed = subprocess.run(
            ["git", "ls-files", "-z", "."],
            cwd=ROOT / there,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        for name in filter(None, listed):
            packed = site / "nnhost" / here / name
            assert packed.read_bytes() == (ROOT / there / name).read_bytes()


def test_it_works_away_from_the_repository(site: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    firmware, examples, shipped = done.stdout.splitlines()
    assert Path(firmware) == site / "nnhost" / "firmware"
    assert Path(examples) == site / "nnhost" / "examples"
    assert int(shipped) >= 5
