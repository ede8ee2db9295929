"""One row per public layer: how to make it, the shape of its input, its formula in NumPy float64 or PyTorch.

test_layers.py compares the forward pass, the gradients and the way through a file. A layer without a row fails there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

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


def of_torch(function: Callable[..., Any], **options: Any) -> Callable[[Array, Arrays, bool], Array]:
    return lambda x, p, training: function(torch.tensor(x), **options).numpy()


def _batch_norm(x: Array, p: Arrays, training: bool) -> Array:
    axes = tuple(range(x.ndim - 1))
    mean, var = (x.mean(axes), x.var(axes)) if training else (p["running_mean"], p["running_var"])
    return (x - mean) / np.sqrt(var + 1e-3) * p["weight"] + p["bias"]


def _layer_norm(x: Array, p: Arrays, training: bool) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-2) * p["weight"] + p["bias"]


def _sequential(x: Array, p: Arrays, training: bool) -> Array:
    return np.tanh(x @ p["0.weight"] + p["0.bias"]) @ p["2.0.weight"]


F = torch.nn.functional
LAYER_CASES: dict[str, LayerCase] = {
    "Linear": LayerCase(
        lambda: hf.Linear(4, init="kaiming_normal"), lambda x, p, training: x @ p["weight"] + p["bias"], (2, 6)
    ),
    "BatchNorm": LayerCase(lambda: hf.BatchNorm(eps=1e-3, momentum=0.2), _batch_norm, (2, 6), rtol=1e-11),
    "LayerNorm": LayerCase(lambda: hf.LayerNorm(eps=1e-2), _layer_norm, (2, 6), rtol=1e-11),
    "RMSNorm": LayerCase(
        lambda: hf.RMSNorm(eps=1e-2),
        lambda x, p, training: F.rms_norm(torch.tensor(x), (6,), torch.tensor(p["weight"]), 1e-2).numpy(),
        (2, 6),
        rtol=1e-11,
    ),
    "Dropout": LayerCase(lambda: hf.Dropout(0.25), lambda x, p, training: x, draws=True),
    "Flatten": LayerCase(hf.Flatten, lambda x, p, training: x.reshape(len(x), -1), (2, 3, 2)),
    "Sequential": LayerCase(
        lambda: hf.Sequential([hf.Linear(4), "tanh", hf.Sequential(hf.Linear(3, bias=False))]), _sequential
    ),
    "ReLU": LayerCase(hf.ReLU, of_torch(F.relu), kink=0.01),
    "GELU": LayerCase(hf.GELU, of_torch(F.gelu)),
    "SiLU": LayerCase(hf.SiLU, of_torch(F.silu)),
    "Softplus": LayerCase(hf.Softplus, of_torch(F.softplus), rtol=1e-8),  # PyTorch's is the line itself from 20 on
    "Tanh": LayerCase(hf.Tanh, of_torch(torch.tanh)),
    "Sigmoid": LayerCase(hf.Sigmoid, of_torch(torch.sigmoid)),
    "Softmax": LayerCase(hf.Softmax, of_torch(torch.softmax, dim=-1), (2, 6)),
    "LogSoftmax": LayerCase(hf.LogSoftmax, of_torch(torch.log_softmax, dim=-1), (2, 6)),
    "LeakyReLU": LayerCase(
        lambda: hf.LeakyReLU(negative_slope=0.3), of_torch(F.leaky_relu, negative_slope=0.3), kink=0.01
    ),
    "ELU": LayerCase(lambda: hf.ELU(0.5), of_torch(F.elu, alpha=0.5), kink=0.01),
}
