"""One row per public layer: how to make it, the shape of its input, its formula in NumPy float64.

test_layers.py compares the forward pass, the gradients and the way through a file. A layer without a row fails there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from references import group_norm, interp

import hawfinch as hf

Array = np.ndarray
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class LayerCase:
    """reference(x, arrays, training): the output, of the layer's arrays by name. kink: inputs keep this far from 0."""

    make: Callable[[], hf.Module]
    reference: Callable[[Array, Arrays, bool], Array]
    shape: tuple[int, ...] = (6,)  # of a row
    kink: float = 0.0
    draws: bool = False  # in training, its output is random
    last: bool = False  # belongs at the end of a model
    rtol: float = 1e-12  # of float64
    positions: bool = False  # needs (rows, positions, features)
    ids: int = 0  # takes whole numbers below it
    features: int = 6  # in a net


def of_x(function: Callable[[Array], Array]) -> Callable[[Array, Arrays, bool], Array]:
    return lambda x, p, training: function(x)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _batch_norm(x: Array, p: Arrays, training: bool) -> Array:
    axes = tuple(range(x.ndim - 1))
    mean, var = (x.mean(axes), x.var(axes)) if training else (p["running_mean"], p["running_var"])
    return (x - mean) / np.sqrt(var + 1e-3) * p["weight"] + p["bias"]


def _layer_norm(x: Array, p: Arrays, training: bool) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-2) * p["weight"] + p["bias"]


def _sequential(x: Array, p: Arrays, training: bool) -> Array:
    return np.tanh(x @ p["0.weight"] + p["0.bias"]) @ p["2.0.weight"]


class Positions(hf.Module):
    """A layer of channels at positions, in a net of rows of features: four positions."""

    def __init__(self, layer: hf.Module):
        self.layer = layer

    def forward(self, x: Any) -> Any:
        y = self.layer(hf.ops.reshape(x, (x.shape[0], 4, -1)))
        return hf.ops.reshape(y, (x.shape[0], -1))


def in_a_net(case: LayerCase, x: Array, out: int) -> tuple[hf.Sequential, Array]:
    """A net of rows of features with the layer in its middle, or as its first; and the net's inputs, made of x."""
    layer, x = case.make(), x[:, : case.features]
    behind = (hf.Flatten(), hf.Linear(out))
    if case.ids:
        return hf.Sequential(layer, *behind), np.int64(np.abs(x) * 10) % case.ids
    first = hf.Linear(8 if case.features == 6 else case.features)
    if case.last:
        return hf.Sequential(first, *behind, layer), x
    return hf.Sequential(first, Positions(layer) if case.positions else layer, *behind), x


BINS = ((-3.0, -1.0, 0.5, 1.0, 4.0), (-2.0, 2.0), (0.0, 1.0, 3.0))


def _piecewise_linear(x: Array, p: Arrays, training: bool) -> Array:
    y = []
    for c, edges in enumerate(BINS):
        e = np.zeros((len(x), 4))
        for t, (low, high) in enumerate(itertools.pairwise(edges)):
            e[:, t] = (x[:, c] - low) / (high - low)
            if t > 0:
                e[:, t] = np.maximum(e[:, t], 0)
            if t < len(edges) - 2:
                e[:, t] = np.minimum(e[:, t], 1)
        y.append(e @ p["linear.weight"][c] + p["linear.bias"][c])
    return np.stack(y, 1)


def _pbld(x: Array, p: Arrays, training: bool) -> Array:
    waves = np.cos(2 * np.pi * x[..., None] * p["frequency"] + np.pi * p["phase"])
    return np.concatenate([x[..., None], np.einsum("bci,cio->bco", waves, p["linear.weight"]) + p["linear.bias"]], -1)


def _embedding(ids: Array, p: Arrays, training: bool) -> Array:
    y = p["weight"][ids]
    length = np.linalg.norm(y, axis=-1, keepdims=True)
    return np.where(ids[..., None] == 2, 0, np.where(length > 1.5, y * 1.5 / length, y))


def _weight_norm(x: Array, p: Arrays, training: bool) -> Array:
    v = p["layer.weight"]
    return x @ (v * p["weight_g"] / np.linalg.norm(v, axis=0)) + p["layer.bias"]


def _spectral_norm(x: Array, p: Arrays, training: bool) -> Array:
    w = p["layer.weight"]
    return x @ w / (np.linalg.norm(w, 2) if training else p["weight_v"] @ w @ p["weight_u"])


def _maxout(x: Array, p: Arrays, training: bool) -> Array:
    return (np.einsum("...i,ikj->...kj", x, p["weight"]) + p["bias"]).max(-2)


def elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def hard_sigmoid(x: Array) -> Array:
    return np.clip((x + 3) / 6, 0, 1)


def softplus(x: Array) -> Array:
    return np.logaddexp(x, 0)


def _scaled(x: Array, p: Arrays, training: bool = False) -> Array:
    return (x - p["center"]) / p["scale"]


def _clipped(x: Array, p: Arrays, training: bool) -> Array:
    y = _scaled(x, p)
    return y / np.sqrt(1 + (y / 0.5) ** 2)


def _quantile(x: Array, p: Arrays, training: bool) -> Array:
    flat = x.reshape(len(x), -1)
    values = np.linspace(0, 1, p["quantiles"].shape[1])
    columns = [interp(flat[:, j], p["quantiles"][j], values)[0] for j in range(flat.shape[1])]
    return np.reshape(np.stack(columns, -1), x.shape)


erf = np.vectorize(math.erf)
LAYER_CASES: dict[str, LayerCase] = {
    "Linear": LayerCase(
        lambda: hf.Linear(4, init="kaiming_normal"), lambda x, p, training: x @ p["weight"] + p["bias"], (2, 6)
    ),
    "BatchNorm": LayerCase(lambda: hf.BatchNorm(eps=1e-3, momentum=0.2), _batch_norm, (2, 6), rtol=1e-11),
    "LayerNorm": LayerCase(lambda: hf.LayerNorm(eps=1e-2), _layer_norm, (2, 6), rtol=1e-11),
    "RMSNorm": LayerCase(
        lambda: hf.RMSNorm(eps=1e-2),
        lambda x, p, training: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-2) * p["weight"],
        (2, 6),
        rtol=1e-11,
    ),
    "Dropout": LayerCase(lambda: hf.Dropout(0.25), lambda x, p, training: x, draws=True),
    "Standardize": LayerCase(hf.Standardize, _scaled, (2, 6)),
    "MinMaxScale": LayerCase(
        lambda: hf.MinMaxScale(-2, 3, per="channel"), lambda x, p, t: _scaled(x, p) * 5 - 2, (2, 6)
    ),
    "RobustScale": LayerCase(lambda: hf.RobustScale(0.5), _clipped),
    "QuantileScale": LayerCase(lambda: hf.QuantileScale(4, output="uniform"), _quantile, (2, 3)),
    "Rescale": LayerCase(lambda: hf.Rescale(0.25, -3.0), lambda x, p, training: x / 4 - 3),
    "TargetScale": LayerCase(
        lambda: hf.TargetScale("log"),
        lambda x, p, training: np.expm1(x * p["scale"] + p["center"]),
        last=True,
        rtol=1e-11,
    ),
    "Flatten": LayerCase(hf.Flatten, lambda x, p, training: x.reshape(len(x), -1), (2, 3, 2)),
    "Sequential": LayerCase(
        lambda: hf.Sequential([hf.Linear(4), "tanh", hf.Sequential(hf.Linear(3, bias=False))]), _sequential
    ),
    "ReLU": LayerCase(hf.ReLU, of_x(lambda x: np.maximum(x, 0)), kink=0.01),
    "GELU": LayerCase(
        lambda: hf.GELU(approximate="tanh"),
        of_x(lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    ),
    "SiLU": LayerCase(hf.SiLU, of_x(lambda x: x * sigmoid(x))),
    "Softplus": LayerCase(lambda: hf.Softplus(beta=0.5, threshold=30.0), of_x(lambda x: 2 * softplus(x / 2))),
    "Tanh": LayerCase(hf.Tanh, of_x(np.tanh)),
    "Sigmoid": LayerCase(hf.Sigmoid, of_x(sigmoid)),
    "Softmax": LayerCase(
        lambda: hf.Softmax(axis=1), of_x(lambda x: softmax(x.swapaxes(1, -1)).swapaxes(1, -1)), (2, 6)
    ),
    "LogSoftmax": LayerCase(hf.LogSoftmax, of_x(lambda x: np.log(softmax(x))), (2, 6)),
    "LeakyReLU": LayerCase(
        lambda: hf.LeakyReLU(negative_slope=0.3), of_x(lambda x: np.where(x > 0, x, 0.3 * x)), kink=0.01
    ),
    "ELU": LayerCase(lambda: hf.ELU(0.5), of_x(lambda x: elu(x, 0.5)), kink=0.01),
    "SELU": LayerCase(hf.SELU, of_x(lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772)), kink=0.01),
    "Mish": LayerCase(hf.Mish, of_x(lambda x: x * np.tanh(softplus(x)))),
    "HardSigmoid": LayerCase(hf.HardSigmoid, of_x(hard_sigmoid)),
    "HardSwish": LayerCase(hf.HardSwish, of_x(lambda x: x * hard_sigmoid(x))),
    "PReLU": LayerCase(
        lambda: hf.PReLU(init=0.1), lambda x, p, training: np.where(x > 0, x, p["weight"] * x), (2, 6), kink=0.01
    ),
    "Parametric": LayerCase(
        lambda: hf.Parametric("tanh"), lambda x, p, training: x + (np.tanh(x) - x) * p["weight"], (2, 6)
    ),
    "GroupNorm": LayerCase(
        lambda: hf.GroupNorm(2, eps=1e-3),
        lambda x, p, training: group_norm(x, p["weight"], p["bias"], 2, 1e-3),
        (3, 4),
        rtol=1e-11,
    ),
    "InstanceNorm": LayerCase(
        lambda: hf.InstanceNorm(eps=1e-3, affine=True),
        lambda x, p, training: group_norm(x, p["weight"], p["bias"], x.shape[-1], 1e-3),
        (3, 2),
        rtol=1e-11,
        positions=True,
    ),
    "BatchRenorm": LayerCase(
        lambda: hf.BatchRenorm(rmax=1.0, dmax=0.0, eps=1e-3, momentum=0.2), _batch_norm, (2, 6), rtol=1e-11
    ),
    "WeightNorm": LayerCase(lambda: hf.WeightNorm(hf.Linear(4)), _weight_norm, (2, 6)),
    "SpectralNorm": LayerCase(
        lambda: hf.SpectralNorm(hf.Linear(4, bias=False), n_power_iterations=40), _spectral_norm, (2, 6), rtol=1e-11
    ),
    "AlphaDropout": LayerCase(lambda: hf.AlphaDropout(0.1), of_x(lambda x: x), draws=True),
    "GaussianDropout": LayerCase(lambda: hf.GaussianDropout(0.1), of_x(lambda x: x), draws=True),
    "GaussianNoise": LayerCase(lambda: hf.GaussianNoise(0.2), of_x(lambda x: x), draws=True),
    "Embedding": LayerCase(lambda: hf.Embedding(5, 3, padding_idx=2, max_norm=1.5), _embedding, (2, 3), ids=5),
    "FeatureLinear": LayerCase(
        lambda: hf.FeatureLinear(4),
        lambda x, p, training: np.einsum("bci,cio->bco", x, p["weight"]) + p["bias"],
        (2, 3),
        positions=True,
    ),
    "PeriodicEmbedding": LayerCase(
        lambda: hf.PeriodicEmbedding(4, 5, 0.1, kind="pbld"), _pbld, (3,), features=3, rtol=1e-11
    ),
    "PiecewiseLinearEmbedding": LayerCase(
        lambda: hf.PiecewiseLinearEmbedding(BINS, 4, activation=False), _piecewise_linear, (3,), features=3
    ),
    "Maxout": LayerCase(lambda: hf.Maxout(4, 3, init="he_normal"), _maxout, (2, 6)),
}
