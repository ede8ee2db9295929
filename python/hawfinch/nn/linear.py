"""Linear: y = x @ weight + bias."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..initializers import InitLike, get_initializer
from ..ir import Tensor
from ..values import check_flag, short
from .module import Module
from .starts import bias_init


class Linear(Module):
    """y = x @ weight + bias over the last axis; x (..., in), y (..., out).

    ``weight`` is (in, out), the layout that the kernel reads in place; ``in`` is taken from the first input.
    out: number of outputs. bias: default True. init: initializer of the weight, or its name; default None: that of the
    whole model, which is PyTorch's unless ``Trainer(init=)`` or ``build(init=)`` names another. PyTorch's is uniform in
    +-1/sqrt(in), the bias too; with any other the bias starts at 0. Raises ShapeError for an input of fewer than two
    axes or another ``in``.

    >>> import hawfinch as hf
    >>> layer = hf.Linear(2, init="ones").build((3,))
    >>> layer.predict([[1.0, 2.0, 3.0]])
    array([[6., 6.]], dtype=float32)
    """

    def __init__(self, out: int, *, bias: bool = True, init: InitLike = None):
        if isinstance(out, bool) or not isinstance(out, int | np.integer) or out < 1:
            raise ArgumentError(f"Linear: the number of outputs must be a whole number >= 1, got {short(out)}")
        if init is not None:
            get_initializer(init)
        self.out, self.bias, self.init = int(out), check_flag(bias, "Linear: bias"), init

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or not isinstance(x.shape[-1], int):
            raise ShapeError(f"expected (rows, ..., features), got {x.shape}; reshape a vector with x[:, None]")
        n_in = x.shape[-1]
        weight = self.param("weight", (n_in, self.out), self.init, (n_in, self.out))
        y = ops.matmul(x, weight)
        if self.bias:
            y = y + self.param("bias", (self.out,), bias_init(self.init), (n_in, self.out))
        return y
