"""scripts/setup.py: what it installs, when, and what it says when it cannot."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from nnhost.boards import COMPILERS, SIMULATORS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETUP = Path(__file__).parents[2] / "scripts" / "setup.py"

# A program that is there once apt-get has "installed" it, two packages: one known to apt only after
# an update, one that no archive has.
RUN = """
import os, runpy, sys
setup = runpy.run_path({setup!r})
tools = [setup["_program"](name, package, "the test") for name, package in
         (("present", "p"), ("absent", "absent-package other"), ("nowhere", "nowhere-package"))]
os.geteuid = lambda: {user}
left = setup["install_tools"](tools[:{count}])
print([tool.name for tool in left])
"""
APT = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
    *update) touch {lists} ;;
    *nowhere-package*) echo "E: Unable to locate package nowhere-package" >&2; exit 100 ;;
    *) [ -e {lists} ] || exit 100; cp {here}/present {here}/absent ;;
esac
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A folder of programs to be the whole PATH: apt-get, sudo, and one tool of three."""
    here = tmp_path / "bin"
    here.mkdir()
    programs = {
        "present": "#!/bin/sh\n",
        "sudo": '#!/bin/sh\n[ "$1" = -n ] && shift\necho sudo >> {log}\nexec "$@"\n',
        "apt-get": APT,
    }
    for name, text in programs.items():
        path = here / name
        path.write_text(text.format(log=tmp_path / "log", lists=tmp_path / "lists", here=here))
        path.chmod(0o755)
    for name in ("env", "sh", "touch", "cp", "true"):
        (here / name).symlink_to(f"/usr/bin/{name}")
    return here


def install(system: Path, count: int, user: int = 0) -> tuple[str, str, list[str]]:
    code = RUN.format(setup=str(SETUP), user=user, count=count)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": str(system)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    log = system.parent / "log"
    return done.stdout.strip(), done.stderr, log.read_text().splitlines() if log.exists() else []


def test_what_is_there_is_left_alone(system: Path) -> None:
    assert install(system, 1) == ("[]", "", [])


def test_lists_are_fetched_only_when_the_first_try_fails(system: Path) -> None:
    left, said, calls = install(system, 2)
    assert left == "[]"
    assert said == "setup: installing absent-package other\n"
    words = [call.split()[5:] for call in calls]
    wanted = ["install", "-y", "--no-install-recommends", "absent-package", "other"]
    assert words == [wanted, ["update"], wanted]
    (system / "absent").unlink()
    _, _, calls = install(system, 2)
    assert len(calls) == 4, "a removed tool comes back, and the lists are not fetched again"


def test_one_package_that_does_not_exist_keeps_out_no_other(system: Path) -> None:
    left, said, _ = install(system, 3)
    assert left == "['nowhere']"
    assert "setup: missing: nowhere, for the test\n" in said
    assert "setup: install: apt-get install --no-install-recommends nowhere-package\n" in said


def test_sudo_is_used_when_it_needs_no_password(system: Path) -> None:
    left, _, calls = install(system, 2, user=1000)
    assert left == "[]"
    assert calls[0] == "sudo"
    assert calls.count("sudo") == 4  # the question whether it may, and three times apt-get


@pytest.mark.parametrize("sudo", ["#!/bin/sh\nexit 1\n", None])
def test_without_rights_the_command_is_named(system: Path, sudo: str | None) -> None:
    (system / "sudo").unlink()
    if sudo is not None:
        (system / "sudo").write_text(sudo)
        (system / "sudo").chmod(0o755)
    left, said, calls = install(system, 2, user=1000)
    assert (left, calls) == ("['absent']", [])
    assert "setup: missing: absent, for the test\n" in said
    assert "sudo apt-get install --no-install-recommends absent-package other\n" in said


def test_without_apt_the_command_is_named(system: Path) -> None:
    (system / "apt-get").unlink()
    left, said, _ = install(system, 2)
    assert left == "['absent']"
    assert "setup: install: apt-get install" in said


def test_a_compiler_without_its_library_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "some-gcc"
    library = runpy.run_path(str(SETUP))["_library"]("some-gcc", "libc.a", "newlib", "the test")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert not library.works()
    compiler.write_text("#!/bin/sh\necho libc.a\n")
    compiler.chmod(0o755)
    assert not library.works()
    compiler.write_text("#!/bin/sh\necho /usr/lib/libc.a\n")
    assert library.works()


def test_the_lock_has_what_pyproject_wants_by_digest() -> None:
    blocks = re.split(r"\n(?=\S)", (SETUP.parents[1] / "requirements.lock").read_text())
    locked: dict[str, list[str]] = {}
    for block in blocks:
        if found := re.match(r"([\w.-]+)==(\S+)", block):
            assert "--hash=sha256:" in block
            locked.setdefault(found[1], []).append(found[2])
    project = tomllib.loads((SETUP.parents[1] / "pyproject.toml").read_text())["project"]
    for wanted in (*project["dependencies"], *project["optional-dependencies"]["dev"]):
        need = Requirement(wanted)
        versions = locked.get(need.name, [])
        assert versions, f"make lock: {need.name} is not in requirements.lock"
        assert all(need.specifier.contains(version) for version in versions), need.name


def test_it_installs_what_the_boards_need() -> None:
    installed = {tool.name: tool.packages for tool in runpy.run_path(str(SETUP))["TOOLS"]}
    packages = {package for group in installed.values() for package in group}
    for need in (*COMPILERS.values(), *SIMULATORS.values()):
        assert need.name in installed
        assert set(need.cure.partition("install ")[2].split()) <= packages
