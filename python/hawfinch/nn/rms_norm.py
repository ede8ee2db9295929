"""RMSNorm: each row divided by its root mean square."""

from __future__ import annotations

from .. import ops
from ..errors import ShapeError
from ..ir import Tensor
from ..values import check_real
from .module import Module


class RMSNorm(Module):
    """y = x / sqrt(mean(x**2) + eps) * weight, the mean over the last axis; x (rows, ..., C). Raises ShapeError else.

    eps: default 1e-6, in both dtypes (PyTorch takes the spacing of the dtype's numbers at 1). Zhang, Sennrich, NeurIPS
    2019.

    >>> import numpy as np, hawfinch as hf
    >>> y = hf.RMSNorm().predict([[3.0, 4.0]])
    >>> (y * np.sqrt(12.5)).round(4)
    array([[3., 4.]])
    """

    def __init__(self, *, eps: float = 1e-6):
        self.eps = check_real(eps, "RMSNorm: eps", "above 0", lambda v: 0 < v < float("inf"))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or not isinstance(x.shape[-1], int):
            raise ShapeError(f"expected (rows, ..., features), got {x.shape}")
        return ops.rms_norm(x, self.param("weight", (x.shape[-1],), "ones"), self.eps)
