"""PlatformIO development platform of the virtual boards: nothing to download.

The compilers come from PATH and SCons, PlatformIO's build engine, from pip.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

from platformio.dependencies import get_core_dependencies
from platformio.exception import UserSideException
from platformio.package.manager.core import get_core_package_dir
from platformio.platform.base import PlatformBase

COMPILERS = {
    "mcs51": ("sdcc", "sdcc sdcc-libraries"),
    "cortex-m": ("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi"),
    "host": ("gcc", "gcc libc6-dev"),
}

RUN_SCONS = """\
import sys

sys.path.pop(0)
from SCons.Script.Main import main

main()
"""


class NnhostPlatform(PlatformBase):
    def __init__(self, manifest_path):
        super().__init__(os.path.abspath(manifest_path))

    def is_embedded(self):
        return True

    def get_boards(self, id_=None):
        """Derives from a record of nnhost's what PlatformIO expects of a board manifest."""
        boards = super().get_boards(id_)
        for board in [boards] if id_ else boards.values():
            record = board.get("nnhost")
            sizes = {space: memory["size"] for space, memory in record["memories"].items()}
            board.update("build", {"mcu": record["cpu"], "f_cpu": f"{record['clock']}L"})
            flash = sizes.pop("flash")
            board.update("upload", {"maximum_size": flash, "maximum_ram_size": sum(sizes.values())})
        return boards

    def configure_default_packages(self, options, targets):
        provide_scons(Path(self.config.get("platformio", "packages_dir")))
        program, packages = COMPILERS[self.board_config(options["board"]).get("nnhost.family")]
        if not shutil.which(program):
            raise UserSideException(
                f"{program} is not on PATH; on Debian: sudo apt-get install {packages}"
            )
        return super().configure_default_packages(options, targets)


def provide_scons(packages_dir):
    """Offers the SCons that pip installed as the package that PlatformIO would download."""
    if get_core_package_dir("tool-scons", auto_install=False):
        return
    try:
        import SCons
    except ImportError:
        return
    version = get_core_dependencies()["tool-scons"].lstrip("~^=> ")
    package = {"name": "tool-scons", "version": version}
    spec = {"owner": "platformio", "id": None, "name": "tool-scons"}
    spec |= {"requirements": None, "uri": None}
    files = {
        "scons.py": RUN_SCONS,
        "package.json": json.dumps(package | {"description": f"SCons {SCons.__version__} of pip"}),
        ".piopm": json.dumps({"type": "tool", **package, "spec": spec}),
    }
    # Other builds may be doing the same at this moment: make it aside, then rename it.
    offered = packages_dir / "tool-scons"
    packages_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=packages_dir, prefix=".nnhost-") as temporary:
        made = Path(temporary) / "tool-scons"
        made.mkdir()
        for name, text in files.items():
            (made / name).write_text(text, encoding="utf-8")
        try:
            made.rename(offered)
        except OSError:  # one is there: of another version, or just made by another build
            if (offered / ".piopm").read_text(encoding="utf-8") != files[".piopm"]:
                shutil.rmtree(offered)
                made.rename(offered)
