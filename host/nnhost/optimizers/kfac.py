"""K-FAC: W = W - lr * G^-1 g A^-1, with the Kronecker factors of the layer's curvature.

A is the mean of a a^T over a layer's inputs, the constant 1 of the bias among them, G that of
delta delta^T (Martens and Grosse, 2015). The gradient of a sample is the outer product of delta and
a, so the layer takes the steps of SGD with G^-1 delta and A^-1 a in their place: two products of a
matrix and a vector, and no slot. The inverses come from the host: see `nnhost.curvature`.
"""

from __future__ import annotations

from nnhost.optimizers.base import Optimizer
from nnhost.optimizers.sgd import SGD

KFAC = Optimizer("kfac", SGD.slots, momentum=False, update=SGD.update, curved=True)
