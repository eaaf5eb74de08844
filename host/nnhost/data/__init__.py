"""Training data: read, split and scaled, ready to be quantised.

`load` takes the name of a shipped set or a path to a CSV, .npz or IDX file. Whatever is wrong with
the data ends in one NnhostError that names the file, the line and the column.
"""

from __future__ import annotations

from nnhost.data.dataset import Dataset, load
from nnhost.data.scaling import Scaling
from nnhost.data.sources import SHIPPED
from nnhost.data.split import splitmix64

__all__ = ["SHIPPED", "Dataset", "Scaling", "load", "splitmix64"]
