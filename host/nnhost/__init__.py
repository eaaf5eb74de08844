"""Small fixed-point neural networks that train on microcontrollers, proven bit for bit."""

from __future__ import annotations

__version__ = "0.1.0"
