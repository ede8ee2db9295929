"""Dropout."""

from __future__ import annotations

from .. import ops
from ..ir import Tensor
from ..values import check_real
from .module import Module


class Dropout(Module):
    """In training, each element is 0 with probability p and the rest is divided by 1 - p; in inference, x itself.

    The mask is a function of (seed, step, position): the same for any number of threads, and never stored.
    p: default 0.5, in [0, 1). Srivastava et al., JMLR 15, 2014.

    >>> import numpy as np, hawfinch as hf
    >>> model, x = hf.Sequential(hf.Dropout(0.5)), np.ones((4, 1000))
    >>> bool((model.predict(x) == 1).all())
    True
    >>> bool(0.9 < hf.Trainer(model, "mae").step(x, 0 * x) < 1.1)  # half of them are 2, the others 0
    True
    """

    def __init__(self, p: float = 0.5):
        self.p = check_real(p, "Dropout: p", "from 0 to below 1", lambda v: 0 <= v < 1)

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p) if self.training and self.p > 0 else x
