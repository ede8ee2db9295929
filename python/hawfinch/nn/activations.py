"""Activations as layers, and by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import ops
from ..errors import unknown_name
from ..ir import Tensor
from ..values import check_real
from .module import Module


class _Activation(Module):
    """An elementwise function as a layer."""

    function: Callable[..., Any]

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x)


class ReLU(_Activation):
    """max(x, 0).

    >>> import hawfinch as hf
    >>> hf.ReLU().predict([[-2.0, 3.0]])
    array([[0., 3.]], dtype=float32)
    """

    function = staticmethod(ops.relu)


class GELU(_Activation):
    """x * Phi(x), Phi the normal distribution function (exact). Hendrycks, Gimpel, 2016.

    >>> import hawfinch as hf
    >>> hf.GELU().predict([[0.0, 100.0]])
    array([[  0., 100.]], dtype=float32)
    """

    function = staticmethod(ops.gelu)


class SiLU(_Activation):
    """x * sigmoid(x).

    >>> import hawfinch as hf
    >>> hf.SiLU().predict([[0.0, 100.0]])
    array([[  0., 100.]], dtype=float32)
    """

    function = staticmethod(ops.silu)


class Softplus(_Activation):
    """log(1 + e**x).

    >>> import hawfinch as hf
    >>> hf.Softplus().predict([[-1000.0, 100.0]])
    array([[  0., 100.]], dtype=float32)
    """

    function = staticmethod(ops.softplus)


class Tanh(_Activation):
    """tanh(x).

    >>> import hawfinch as hf
    >>> hf.Tanh().predict([[0.0, 100.0]])
    array([[0., 1.]], dtype=float32)
    """

    function = staticmethod(ops.tanh)


class Sigmoid(_Activation):
    """1 / (1 + e**-x).

    >>> import hawfinch as hf
    >>> hf.Sigmoid().predict([[-1000.0, 0.0]])
    array([[0. , 0.5]], dtype=float32)
    """

    function = staticmethod(ops.sigmoid)


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) over the last axis. Not before SoftmaxCrossEntropy, which has it built in.

    >>> import hawfinch as hf
    >>> hf.Softmax().predict([[1.0, 1.0, 1.0, 1.0]])
    array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """

    function = staticmethod(ops.softmax)


class LogSoftmax(_Activation):
    """log(softmax(x)) over the last axis.

    >>> import hawfinch as hf
    >>> hf.LogSoftmax().predict([[0.0, 1000.0]])
    array([[-1000.,     0.]], dtype=float32)
    """

    function = staticmethod(ops.log_softmax)


class LeakyReLU(Module):
    """x where x >= 0, else negative_slope * x (default 0.01).

    >>> import hawfinch as hf
    >>> hf.LeakyReLU(0.1).predict([[-10.0, 3.0]])
    array([[-1.,  3.]], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = check_real(negative_slope, "LeakyReLU: negative_slope", "that is finite", math.isfinite)

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)


class ELU(Module):
    """x where x >= 0, else alpha * (e**x - 1) (alpha default 1). Clevert, Unterthiner, Hochreiter, ICLR 2016.

    >>> import hawfinch as hf
    >>> hf.ELU(2.0).predict([[-1000.0, 3.0]])
    array([[-2.,  3.]], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0):
        self.alpha = check_real(alpha, "ELU: alpha", "that is finite", math.isfinite)

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
