"""One row per public layer: how to make it, the shape of its input, its formula in NumPy float64.

test_layers.py compares the forward pass, the gradients and the way through a file. A layer without a row fails there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

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
    rtol: float = 1e-12  # of float64


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
    "Flatten": LayerCase(hf.Flatten, lambda x, p, training: x.reshape(len(x), -1), (2, 3, 2)),
    "Sequential": LayerCase(
        lambda: hf.Sequential([hf.Linear(4), "tanh", hf.Sequential(hf.Linear(3, bias=False))]), _sequential
    ),
    "ReLU": LayerCase(hf.ReLU, of_x(lambda x: np.maximum(x, 0)), kink=0.01),
    "GELU": LayerCase(hf.GELU, of_x(lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))))),
    "SiLU": LayerCase(hf.SiLU, of_x(lambda x: x * sigmoid(x))),
    "Softplus": LayerCase(hf.Softplus, of_x(lambda x: np.logaddexp(x, 0))),
    "Tanh": LayerCase(hf.Tanh, of_x(np.tanh)),
    "Sigmoid": LayerCase(hf.Sigmoid, of_x(sigmoid)),
    "Softmax": LayerCase(hf.Softmax, of_x(softmax), (2, 6)),
    "LogSoftmax": LayerCase(hf.LogSoftmax, of_x(lambda x: np.log(softmax(x))), (2, 6)),
    "LeakyReLU": LayerCase(
        lambda: hf.LeakyReLU(negative_slope=0.3), of_x(lambda x: np.where(x > 0, x, 0.3 * x)), kink=0.01
    ),
    "ELU": LayerCase(lambda: hf.ELU(0.5), of_x(lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))), kink=0.01),
}
