"""FeatureLinear: a linear layer for each feature."""

from __future__ import annotations

from .. import ops
from ..errors import ShapeError
from ..initializers import InitLike, get_initializer
from ..ir import Tensor
from ..values import check_whole
from .module import Module
from .starts import bias_init


class FeatureLinear(Module):
    """y[:, c] = x[:, c] @ weight[c] + bias[c]: each feature has weights of its own; x (rows, C, in), y (rows, C, out).

    ``weight`` is (C, in, out), ``bias`` (C, out). out: number of outputs. init: as in ``Linear``. C products, each with
    a copy of its feature. Raises ShapeError.

    >>> import numpy as np, hawfinch as hf
    >>> layer = hf.FeatureLinear(2).build((3, 4))
    >>> layer.predict(np.zeros((5, 3, 4))).shape
    (5, 3, 2)
    """

    def __init__(self, out: int, *, init: InitLike = None):
        self.out, self.init = check_whole(out, "FeatureLinear: out", 1), init
        if init is not None:
            get_initializer(init)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ShapeError(f"expected (rows, features, in), got {x.shape}")
        _, c, n_in = x.shape
        assert isinstance(c, int) and isinstance(n_in, int)
        weight = self.param("weight", (c, n_in, self.out), self.init, (n_in, self.out))
        bias = self.param("bias", (c, self.out), bias_init(self.init), (n_in, self.out))
        parts = [x[:, i] @ weight[i] + bias[i] for i in range(c)]
        return ops.reshape(ops.concat(parts, axis=1), (x.shape[0], c, self.out))
