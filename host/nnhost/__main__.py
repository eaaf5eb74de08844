"""`python -m nnhost`."""

from __future__ import annotations

from nnhost.cli import main

if __name__ == "__main__":
    main()
