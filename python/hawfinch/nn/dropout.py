"""Dropout."""

from __future__ import annotations

from .. import ops
from ..errors import ArgumentError
from ..ir import Tensor
from .module import Module


class Dropout(Module):
    """In training, each element is 0 with probability p and the rest is divided by 1 - p; in inference, x itself.

    The mask is a function of (seed, step, position): the same for any number of threads, and never stored.
    p: default 0.5, in [0, 1). Srivastava et al., JMLR 15, 2014.
    """

    def __init__(self, p: float = 0.5):
        if not 0 <= p < 1:
            raise ArgumentError(f"Dropout: p must be in [0, 1), got {p}")
        self.p = float(p)

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p) if self.training and self.p > 0 else x
