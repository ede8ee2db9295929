"""BatchNorm: each feature normalised over the batch."""

from __future__ import annotations

from .. import ops
from ..errors import ShapeError
from ..ir import Tensor, numel
from ..ops.joint import n_trainers
from ..ops.shape import size
from ..values import check_real
from .module import Module


def check_features(x: Tensor) -> int:
    """The number of features on the last axis; ShapeError unless x is (rows, ..., features)."""
    if x.ndim < 2 or not isinstance(x.shape[-1], int):
        raise ShapeError(f"expected (rows, ..., features), got {x.shape}; reshape a vector with x[:, None]")
    return x.shape[-1]


class BatchNorm(Module):
    """y = (x - mean) / sqrt(var + eps) * weight + bias for each feature of the last axis; x (rows, ..., C).

    In training: mean and (biased) variance of the batch, with ``Trainer(reduce=)`` that of all trainers; the running
    averages move by ``momentum`` (the variance with n/(n - 1), as in PyTorch), once for each call. In inference, or
    when they are frozen (``Module.freeze``): the running averages. A batch of one row is not an error: its variance
    is 0. eps: default 1e-5. momentum: default 0.1.
    Ioffe, Szegedy, ICML 2015.

    >>> import numpy as np, hawfinch as hf
    >>> model, x = hf.Sequential(hf.BatchNorm()), np.array([[1.0], [3.0]])
    >>> _ = hf.Trainer(model, "mse", hf.SGD(lr=0.0)).fit(x, x, epochs=200)
    >>> {name: array.round(2).tolist() for name, array in model.buffers().items()}
    {'0.running_mean': [2.0], '0.running_var': [2.0]}
    """

    def __init__(self, *, eps: float = 1e-5, momentum: float = 0.1):
        self.eps = check_real(eps, "BatchNorm: eps", "above 0", lambda v: 0 < v < float("inf"))
        self.momentum = check_real(momentum, "BatchNorm: momentum", "from 0 to 1", lambda v: 0 <= v <= 1)

    def forward(self, x: Tensor) -> Tensor:
        c = check_features(x)
        weight, bias = self.param("weight", (c,), "ones"), self.param("bias", (c,), "zeros")
        mean, var = self.state("running_mean", (c,), "zeros"), self.state("running_var", (c,), "ones")
        if not self.training or self.is_frozen("running_mean") or self.is_frozen("running_var"):
            scale = weight / ops.sqrt(var + self.eps)
            return (x - mean) * scale + bias
        y, batch_mean, batch_var = self._normalize(x, weight, bias, mean, var)
        n = size(numel(x.shape[:-1]))
        if n_trainers() > 1:
            n = n * n_trainers()
        unbiased = batch_var * (n / ops.maximum(n - 1.0, 1.0))
        self.update_state("running_mean", mean * (1 - self.momentum) + batch_mean * self.momentum)
        self.update_state("running_var", var * (1 - self.momentum) + unbiased * self.momentum)
        return y

    def _normalize(
        self, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """In training: the output, mean and biased variance of the batch. mean, var: the running averages."""
        return ops.batch_norm(x, weight, bias, self.eps)
