"""What PlatformIO runs to upload to a virtual board: ``python -m nnhost.run.flash``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnhost.boards import get
from nnhost.errors import NnhostError
from nnhost.run.boards import flash_image


def main(arguments: list[str] | None = None) -> int:
    """Flash a project's virtual board with an image."""
    parser = argparse.ArgumentParser(prog="python -m nnhost.run.flash", description=main.__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("board")
    parser.add_argument("image", type=Path)
    options = parser.parse_args(arguments)
    try:
        flash_image(options.project, get(options.board), options.image)
    except NnhostError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.help:
            print(f"help: {error.help}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
