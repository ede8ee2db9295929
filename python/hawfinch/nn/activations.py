"""Activations as layers, and by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..errors import unknown_name
from ..ir import Tensor
from .module import Module


class _Activation(Module):
    """An elementwise function as a layer."""

    function: Callable[..., Any]

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x)


class ReLU(_Activation):
    """max(x, 0)."""

    function = staticmethod(ops.relu)


class GELU(_Activation):
    """x * Phi(x), Phi the normal distribution function (exact). Hendrycks, Gimpel, 2016."""

    function = staticmethod(ops.gelu)


class SiLU(_Activation):
    """x * sigmoid(x)."""

    function = staticmethod(ops.silu)


class Softplus(_Activation):
    """log(1 + e**x)."""

    function = staticmethod(ops.softplus)


class Tanh(_Activation):
    """tanh(x)."""

    function = staticmethod(ops.tanh)


class Sigmoid(_Activation):
    """1 / (1 + e**-x)."""

    function = staticmethod(ops.sigmoid)


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) over the last axis. Not before SoftmaxCrossEntropy, which has it built in."""

    function = staticmethod(ops.softmax)


class LogSoftmax(_Activation):
    """log(softmax(x)) over the last axis."""

    function = staticmethod(ops.log_softmax)


class LeakyReLU(Module):
    """x where x >= 0, else negative_slope * x (default 0.01)."""

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = float(negative_slope)

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)


class ELU(Module):
    """x where x >= 0, else alpha * (e**x - 1) (alpha default 1). Clevert, Unterthiner, Hochreiter, ICLR 2016."""

    def __init__(self, alpha: float = 1.0):
        self.alpha = float(alpha)

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha)


ACTIVATIONS: dict[str, type[Module]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "gelu": GELU,
    "silu": SiLU,
    "softplus": Softplus,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
}


def get_activation(name: str | Module) -> Module:
    """An activation layer by name. Raises ArgumentError with near matches."""
    if isinstance(name, Module):
        return name
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()
