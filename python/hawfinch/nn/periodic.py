"""PeriodicEmbedding: numeric features as waves of learnt frequencies."""

from __future__ import annotations

from .. import ops
from ..errors import ShapeError, unknown_name
from ..initializers import Normal, Uniform
from ..ir import Tensor
from ..values import check_real, check_whole, is_word
from .feature_linear import FeatureLinear
from .module import Module


class PeriodicEmbedding(Module):
    """(rows, C) to (rows, C, dim): waves of each feature, with frequencies that it learns, and a linear layer on them.

    kind "plr" (default): relu(linear_c([cos(2 pi f x_c), sin(2 pi f x_c)])), Gorishniy, Rubachev, Babenko, NeurIPS
    2022. kind "pbld": [x_c, linear_c(cos(2 pi f x_c + pi b))], with phases and the feature itself, no ReLU, RealMLP's;
    Holzmüller, Grinsztajn, Steinwart, NeurIPS 2024. Each feature has frequencies f ("frequency", (C, frequencies)),
    phases b ("phase"), and a ``FeatureLinear`` of its own. dim: of the result, default 24 ("pbld": the feature is one
    of them; RealMLP has 4). frequencies: default 48 (RealMLP 16). sigma: the deviation with which frequencies begin,
    default 0.01 (RealMLP 0.1); what matters most: too large, and neighbours look unlike. Features should be of
    deviation about 1. Flatten follows before a Linear. Raises ArgumentError, ShapeError.

    >>> import numpy as np, hawfinch as hf
    >>> model = hf.Sequential(hf.PeriodicEmbedding(4, 16, 0.1, kind="pbld"), hf.Flatten(), hf.Linear(1)).build((3,))
    >>> x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    >>> y = model.outputs(x, "0")
    >>> y.shape, bool((y[:, :, 0] == x).all())
    ((5, 3, 4), True)
    """

    def __init__(self, dim: int = 24, frequencies: int = 48, sigma: float = 0.01, *, kind: str = "plr"):
        if not is_word(kind, "plr", "pbld"):
            raise unknown_name("kind of PeriodicEmbedding", kind, ("plr", "pbld"))
        self.kind = kind
        self.dim = check_whole(dim, "PeriodicEmbedding: dim", 1 if kind == "plr" else 2)
        self.frequencies = check_whole(frequencies, "PeriodicEmbedding: frequencies", 1)
        self.sigma = check_real(sigma, "PeriodicEmbedding: sigma", "above 0", lambda v: 0 < v < float("inf"))
        self.linear = FeatureLinear(self.dim if kind == "plr" else self.dim - 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            raise ShapeError(f"expected (rows, features), got {x.shape}")
        _, c = x.shape
        assert isinstance(c, int)
        shape, each = (c, self.frequencies), ops.reshape(x, (*x.shape, 1))
        half_turns = each * (self.param("frequency", shape, Normal(self.sigma)) * 2.0)
        if self.kind == "plr":
            return ops.relu(self.linear(ops.concat([ops.cospi(half_turns), ops.sinpi(half_turns)], axis=2)))
        phase = self.param("phase", shape, Uniform(-1.0, 1.0))
        return ops.concat([each, self.linear(ops.cospi(half_turns + phase))], axis=2)
