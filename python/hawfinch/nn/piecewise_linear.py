"""PiecewiseLinearEmbedding: numeric features as vectors, linear between the quantiles of the training data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..ir import Tensor
from ..values import check_flag, check_whole, short
from .feature_linear import FeatureLinear
from .module import Module


class PiecewiseLinearEmbedding(Module):
    """(rows, C) to (rows, C, dim): relu(e @ weight[c] + bias[c]), where e says where x_c lies among the bins of c.

    With edges b_0 < ... < b_T, e_t = (x - b_(t-1)) / (b_t - b_(t-1)), 0 below its bin and 1 above, but for the first
    and the last bin, which go on: ordinal, continuous, and blind to the scale and skew of a feature. ``weight`` is
    (C, T, dim), ``bias`` (C, dim), as PyTorch's Linear begins them. bins: the edges of each feature, such as
    ``PiecewiseLinearEmbedding.bins_of(training_x)`` gives. dim: default 24. activation: default True; False without the
    ReLU. Flatten follows before a Linear. Costs C products of (rows, T) and (T, dim). Raises ArgumentError, ShapeError.
    PLR-LR of Gorishniy, Rubachev, Babenko, On embeddings for numerical features, NeurIPS 2022 (PLE with L and R).

    >>> import numpy as np, hawfinch as hf
    >>> x = np.random.default_rng(0).lognormal(size=(500, 2))
    >>> layer = hf.PiecewiseLinearEmbedding(hf.PiecewiseLinearEmbedding.bins_of(x, 16), dim=8)
    >>> hf.Sequential(layer, hf.Flatten(), hf.Linear(1)).predict(x).shape
    (500, 1)
    """

    def __init__(self, bins: Sequence[Sequence[float]], dim: int = 24, *, activation: bool = True):
        self.bins = _edges(bins)
        self.dim = check_whole(dim, "PiecewiseLinearEmbedding: dim", 1)
        self.activation = check_flag(activation, "PiecewiseLinearEmbedding: activation")
        self.linear = FeatureLinear(self.dim)

    @staticmethod
    def bins_of(x: Any, n: int = 48) -> tuple[tuple[float, ...], ...]:
        """Of each column of x (rows, C), of the training data: n + 1 quantiles, those that are equal once.

        n: default 48, less than the number of rows. Raises ShapeError, ArgumentError for a column of one value.
        """
        x, n = np.asarray(x, np.float64), check_whole(n, "bins_of: n", 1)
        if x.ndim != 2 or len(x) <= n or not np.isfinite(x).all():
            raise ShapeError(
                f"bins_of takes finite numbers (rows, features) with more than n = {n} rows, got {x.shape}"
            )
        edges = [np.unique(np.quantile(column, np.arange(n + 1) / n)) for column in x.T]
        return _edges([e.tolist() for e in edges])

    def forward(self, x: Tensor) -> Tensor:
        c, t = len(self.bins), max(len(edges) for edges in self.bins) - 1
        if x.ndim != 2 or x.shape[1] != c:
            raise ShapeError(f"expected (rows, {c}), for the bins of {c} features, got {x.shape}")
        first, scale, low, high = (np.zeros((c, t)) for _ in range(4))
        for i, edges in enumerate(self.bins):
            n, e = len(edges) - 1, np.array(edges)
            first[i, :n], scale[i, :n] = e[:-1], 1 / np.diff(e)
            low[i, 0], high[i, :n] = -np.inf, 1
            high[i, n - 1] = np.inf
        low, high = (np.clip(v, *LIMITS) for v in (low, high))
        where = (ops.reshape(x, (*x.shape, 1)) - first) * scale
        y = self.linear(ops.minimum(ops.maximum(where, low), high))
        return ops.relu(y) if self.activation else y


LIMITS = np.finfo(np.float32).min, np.finfo(np.float32).max


def _edges(bins: Any) -> tuple[tuple[float, ...], ...]:
    wanted = "PiecewiseLinearEmbedding: bins must be a list of each feature's edges, finite numbers that ascend"
    if isinstance(bins, np.ndarray) and (bins.ndim != 2 or not bins.size):  # of so many rows of nothing, say
        raise ArgumentError(f"{wanted}, not an array of shape {bins.shape}")
    try:
        found = tuple([tuple([float(v) for v in edges]) for edges in bins])
    except (TypeError, ValueError):
        raise ArgumentError(f"{wanted}, not {short(bins)}") from None
    for i, edges in enumerate(found):
        if len(edges) < 2 or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
            raise ArgumentError(f"{wanted}, at least two; those of feature {i} are {short(edges)}")
    if not found:
        raise ArgumentError(f"{wanted}; there is no feature")
    return found
