"""Linear: y = x @ weight + bias."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..initializers import Initializer, get_initializer
from ..ir import Tensor
from ..values import short
from .module import Module


class Linear(Module):
    """y = x @ weight + bias over the last axis; x (..., in), y (..., out).

    ``weight`` is (in, out), the layout that the kernel reads in place; ``in`` is taken from the first input.
    out: number of outputs. bias: default True. init: initializer of the weight (default PyTorch's, uniform in
    +-1/sqrt(in)); the bias starts uniform in +-1/sqrt(in), as PyTorch's does, or at 0 when init is given.
    Raises ShapeError for an input of fewer than two axes or another ``in``.

    >>> import hawfinch as hf
    >>> layer = hf.Linear(2, init="ones").build((3,))
    >>> layer.predict([[1.0, 2.0, 3.0]])
    array([[6., 6.]], dtype=float32)
    """

    def __init__(self, out: int, *, bias: bool = True, init: str | Initializer = "torch_default"):
        if isinstance(out, bool) or not isinstance(out, int | np.integer) or out < 1:
            raise ArgumentError(f"Linear: the number of outputs must be a whole number >= 1, got {short(out)}")
        if not isinstance(bias, bool | np.bool_):
            raise ArgumentError(f"Linear: bias must be True or False, not {short(bias)}")
        self.out, self.bias, self.init = int(out), bool(bias), get_initializer(init)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or not isinstance(x.shape[-1], int):
            raise ShapeError(f"expected (rows, ..., features), got {x.shape}; reshape a vector with x[:, None]")
        n_in = x.shape[-1]
        weight = self.param("weight", (n_in, self.out), self.init, (n_in, self.out))
        y = ops.matmul(x, weight)
        if self.bias:
            start = self.init if self.init.__name__ == "torch_default" else "zeros"
            y = y + self.param("bias", (self.out,), start, (n_in, self.out))
        return y
