"""LayerNorm: each row normalised over its features."""

from __future__ import annotations

from .. import ops
from ..errors import ShapeError
from ..ir import Tensor
from ..values import check_real
from .module import Module


class LayerNorm(Module):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, mean and biased variance over the last axis; x (rows, ..., C).

    eps: default 1e-5. Ba, Kiros, Hinton, 2016.

    >>> import hawfinch as hf
    >>> hf.LayerNorm(eps=1e-12).predict([[1.0, 3.0], [10.0, 30.0]])
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    def __init__(self, *, eps: float = 1e-5):
        self.eps = check_real(eps, "LayerNorm: eps", "above 0", lambda v: 0 < v < float("inf"))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or not isinstance(x.shape[-1], int):
            raise ShapeError(f"expected (rows, ..., features), got {x.shape}")
        c = x.shape[-1]
        return ops.layer_norm(x, self.param("weight", (c,), "ones"), self.param("bias", (c,), "zeros"), self.eps)
