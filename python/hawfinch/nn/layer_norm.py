"""LayerNorm: each row normalised over its features."""

from __future__ import annotations

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..ir import Tensor
from .module import Module


class LayerNorm(Module):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, mean and biased variance over the last axis; x (rows, ..., C).

    eps: default 1e-5. Ba, Kiros, Hinton, 2016.
    """

    def __init__(self, *, eps: float = 1e-5):
        if not eps > 0:
            raise ArgumentError(f"LayerNorm: eps must be > 0, got {eps}")
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or not isinstance(x.shape[-1], int):
            raise ShapeError(f"expected (rows, ..., features), got {x.shape}")
        c = x.shape[-1]
        return ops.layer_norm(x, self.param("weight", (c,), "ones"), self.param("bias", (c,), "zeros"), self.eps)
