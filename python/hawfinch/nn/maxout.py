"""Maxout: the largest of several linear functions."""

from __future__ import annotations

from .. import ops
from ..errors import ShapeError
from ..initializers import InitLike, get_initializer
from ..ir import Tensor
from ..values import check_whole
from .module import Module
from .starts import bias_init


class Maxout(Module):
    """y_j = max over k of (x @ weight[:, k] + bias[k])_j over the last axis; x (..., in), y (..., out).

    A layer and its activation in one: each unit is a convex function of ``pieces`` straight parts that it learns.
    ``weight`` is (in, pieces, out), ``bias`` (pieces, out): a piece of zeros makes a unit a ReLU. Costs pieces times a
    Linear. out: number of outputs. pieces: default 2, at least 2. init: as in ``Linear``. Where pieces tie, they share
    the gradient evenly. Raises ShapeError, ArgumentError. Goodfellow et al., ICML 2013.

    >>> import hawfinch as hf
    >>> layer = hf.Maxout(1).build((1,))
    >>> layer.parameters()["weight"][...] = [[[1.0], [-1.0]]]
    >>> layer.parameters()["bias"][...] = 0
    >>> layer.predict([[-2.0], [3.0]])  # max(x, -x)
    array([[2.],
           [3.]], dtype=float32)
    """

    def __init__(self, out: int, pieces: int = 2, *, init: InitLike = None):
        self.out, self.pieces = check_whole(out, "Maxout: out", 1), check_whole(pieces, "Maxout: pieces", 2)
        if init is not None:
            get_initializer(init)
        self.init = init

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or not isinstance(x.shape[-1], int):
            raise ShapeError(f"expected (rows, ..., features), got {x.shape}; reshape a vector with x[:, None]")
        n_in, shape = x.shape[-1], (self.pieces, self.out)
        weight = self.param("weight", (n_in, *shape), self.init, (n_in, self.out))
        bias = self.param("bias", shape, bias_init(self.init), (n_in, self.out))
        y = x @ ops.reshape(weight, (n_in, -1)) + ops.reshape(bias, (-1,))
        return ops.max(ops.reshape(y, (*x.shape[:-1], *shape)), axis=-2)
