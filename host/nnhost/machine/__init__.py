"""Machine code, read on this computer: what the functions of a firmware take."""

from nnhost.errors import NnhostError


class UnknownCode(NnhostError):
    """Machine code that is not understood, or does not come to an end."""


__all__ = ["UnknownCode"]
