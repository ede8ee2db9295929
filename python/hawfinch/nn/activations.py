"""Activations as layers, and by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError, unknown_name
from ..initializers import Constant, Initializer, KaimingNormal, LeCunNormal, XavierUniform
from ..ir import Tensor
from ..values import check_real, check_whole, is_word, short
from .module import Module

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # fixed point: mean 0, variance 1


class _Activation(Module):
    """An elementwise function as a layer. _start: how the weights before it begin with ``init="auto"``."""

    function: Callable[..., Any]
    _start: Initializer = KaimingNormal()

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x)


class ReLU(_Activation):
    """max(x, 0).

    >>> import hawfinch as hf
    >>> hf.ReLU().predict([[-2.0, 3.0]])
    array([[0., 3.]], dtype=float32)
    """

    function = staticmethod(ops.relu)


class SiLU(_Activation):
    """x * sigmoid(x).

    >>> import hawfinch as hf
    >>> hf.SiLU().predict([[0.0, 100.0]])
    array([[  0., 100.]], dtype=float32)
    """

    function = staticmethod(ops.silu)


class Tanh(_Activation):
    """tanh(x).

    >>> import hawfinch as hf
    >>> hf.Tanh().predict([[0.0, 100.0]])
    array([[0., 1.]], dtype=float32)
    """

    function, _start = staticmethod(ops.tanh), XavierUniform()


class Sigmoid(_Activation):
    """1 / (1 + e**-x).

    >>> import hawfinch as hf
    >>> hf.Sigmoid().predict([[-1000.0, 0.0]])
    array([[0. , 0.5]], dtype=float32)
    """

    function, _start = staticmethod(ops.sigmoid), XavierUniform()


class Mish(_Activation):
    """x * tanh(log(1 + e**x)). Misra, BMVC 2020.

    >>> import hawfinch as hf
    >>> hf.Mish().predict([[-1000.0, 0.0, 100.0]])
    array([[ -0.,   0., 100.]], dtype=float32)
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * ops.tanh(ops.softplus(x))


class HardSigmoid(_Activation):
    """(x + 3) / 6 within [0, 1]: the sigmoid in three straight pieces. Its gradient is half the slope at -3 and 3.

    >>> import hawfinch as hf
    >>> hf.HardSigmoid().predict([[-4.0, 0.0, 1.5, 4.0]])
    array([[0.  , 0.5 , 0.75, 1.  ]], dtype=float32)
    """

    _start = XavierUniform()

    def forward(self, x: Tensor) -> Tensor:
        return _hard_sigmoid(x)


class HardSwish(_Activation):
    """x * HardSigmoid(x): SiLU in three pieces. Howard et al., ICCV 2019.

    >>> import hawfinch as hf
    >>> hf.HardSwish().predict([[-4.0, 1.0, 4.0]])
    array([[-0.       ,  0.6666667,  4.       ]], dtype=float32)
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * _hard_sigmoid(x)


class SELU(_Activation):
    """1.0507 ELU(x, 1.6733): keeps mean 0 and variance 1 from layer to layer.

    That holds behind weights of mean 0 and variance 1/fan_in (``init="lecun_normal"``), with AlphaDropout for Dropout
    and without other norms. Klambauer, Unterthiner, Mayr, Hochreiter, NeurIPS 2017.

    >>> import hawfinch as hf
    >>> hf.SELU().predict([[-1000.0, 0.0, 1.0]])
    array([[-1.7580993,  0.       ,  1.050701 ]], dtype=float32)
    """

    _start = LeCunNormal()

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x, SELU_ALPHA) * SELU_SCALE


class GELU(Module):
    """x * Phi(x), Phi the normal distribution function. Hendrycks, Gimpel, 2016.

    approximate: "none" (default): exact, by erf; "tanh": x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3))), for weights
    that were trained with it. Raises ArgumentError for another.

    >>> import hawfinch as hf
    >>> hf.GELU().predict([[0.0, 1.0, 100.0]])
    array([[  0.       ,   0.8413447, 100.       ]], dtype=float32)
    >>> hf.GELU(approximate="tanh").predict([[0.0, 1.0, 100.0]])
    array([[  0.      ,   0.841192, 100.      ]], dtype=float32)
    """

    _start = KaimingNormal()

    def __init__(self, approximate: str = "none"):
        if not is_word(approximate, "none", "tanh"):
            raise unknown_name("approximation of GELU", approximate, ("none", "tanh"))
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        if self.approximate == "none":
            return ops.gelu(x)
        return x * (ops.tanh((x + ops.square(x) * x * 0.044715) * math.sqrt(2 / math.pi)) * 0.5 + 0.5)


class Softplus(Module):
    """log(1 + e**(beta x)) / beta, and x itself where beta x > threshold.

    beta: default 1, above 0. threshold: default 20, where the two differ by 2e-9; float("inf"): the logarithm
    everywhere. Neither overflows.

    >>> import hawfinch as hf
    >>> hf.Softplus().predict([[-1000.0, 0.0, 100.0]])
    array([[  0.       ,   0.6931472, 100.       ]], dtype=float32)
    >>> hf.Softplus(beta=2.0).predict([[0.0]])
    array([[0.3465736]], dtype=float32)
    """

    _start = KaimingNormal()

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        self.beta = check_real(beta, "Softplus: beta", "above 0", lambda v: 0 < v < math.inf)
        self.threshold = check_real(threshold, "Softplus: threshold", "that is not NaN", lambda v: v == v)

    def forward(self, x: Tensor) -> Tensor:
        z = x if self.beta == 1 else x * self.beta
        y = ops.softplus(z) if self.beta == 1 else ops.softplus(z) * (1 / self.beta)
        return y if self.threshold == math.inf else ops.where(z > self.threshold, x, y)


class Softmax(Module):
    """exp(x) / sum(exp(x)) over an axis (default the last). Not before SoftmaxCrossEntropy, which has it built in.

    axis: not that of the rows. Raises ShapeError.

    >>> import hawfinch as hf
    >>> hf.Softmax().predict([[1.0, 1.0, 1.0, 1.0]])
    array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """

    _start = XavierUniform()

    def __init__(self, axis: int = -1):
        self.axis = _whole(axis, "Softmax: axis")

    def forward(self, x: Tensor) -> Tensor:
        return _over_axis(ops.softmax, x, self.axis)


class LogSoftmax(Module):
    """log(softmax(x)) over an axis (default the last; not that of the rows).

    >>> import hawfinch as hf
    >>> hf.LogSoftmax().predict([[0.0, 1000.0]])
    array([[-1000.,     0.]], dtype=float32)
    """

    _start = XavierUniform()

    def __init__(self, axis: int = -1):
        self.axis = _whole(axis, "LogSoftmax: axis")

    def forward(self, x: Tensor) -> Tensor:
        return _over_axis(ops.log_softmax, x, self.axis)


class LeakyReLU(Module):
    """x where x >= 0, else negative_slope * x (default 0.01).

    >>> import hawfinch as hf
    >>> hf.LeakyReLU(0.1).predict([[-10.0, 3.0]])
    array([[-1.,  3.]], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = check_real(negative_slope, "LeakyReLU: negative_slope", "that is finite", math.isfinite)

    @property
    def _start(self) -> Initializer:
        return KaimingNormal(gain=math.sqrt(2 / (1 + self.negative_slope**2)))

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)


class ELU(Module):
    """x where x >= 0, else alpha * (e**x - 1) (alpha default 1). Clevert, Unterthiner, Hochreiter, ICLR 2016.

    >>> import hawfinch as hf
    >>> hf.ELU(2.0).predict([[-1000.0, 3.0]])
    array([[-2.,  3.]], dtype=float32)
    """

    _start = KaimingNormal()

    def __init__(self, alpha: float = 1.0):
        self.alpha = check_real(alpha, "ELU: alpha", "that is finite", math.isfinite)

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha)


class PReLU(Module):
    """x where x >= 0, else weight * x, with learnt weights. He, Zhang, Ren, Sun, ICCV 2015.

    num_parameters: 1 (default), for all features, or the number of features on the last axis. init: their first value,
    default 0.25. Weight decay would pull it to 0: ``groups={"*.weight": ...}`` tells it from others by its layer's
    name. Raises ShapeError where the input has another number of features.

    >>> import hawfinch as hf
    >>> hf.PReLU(2).predict([[-1.0, 3.0]])
    array([[-0.25,  3.  ]], dtype=float32)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        self.num_parameters = check_whole(num_parameters, "PReLU: num_parameters", 1)
        self.init = check_real(init, "PReLU: init", "that is finite", math.isfinite)

    @property
    def _start(self) -> Initializer:
        return KaimingNormal(gain=math.sqrt(2 / (1 + self.init**2)))

    def forward(self, x: Tensor) -> Tensor:
        n = self.num_parameters
        if n != 1 and x.shape[-1] != n:
            raise ShapeError(f"PReLU has {n} weights, the input has {x.shape[-1]} features: {x.shape}")
        weight = self.param("weight", (n,), Constant(self.init))
        return ops.where(x < 0.0, weight * x, x)


class Parametric(Module):
    """x + (f(x) - x) * weight, with a learnt weight for each feature of the last axis: between the identity and f.

    activation: f, a layer without arrays, or its name. They start at 1, so the layer as f. RealMLP has it with
    SELU and Mish and a rate of 0.1 times the others', ``groups={"1.weight": dict(lr=hf.schedules.Scaled(0.1))}``.
    Holzmüller, Grinsztajn, Steinwart, NeurIPS 2024.

    >>> import hawfinch as hf
    >>> layer = hf.Parametric("relu").build((2,))
    >>> layer.parameters()["weight"][1] = 0.5
    >>> layer.predict([[-2.0, -2.0]])
    array([[ 0., -1.]], dtype=float32)
    """

    def __init__(self, activation: str | Module):
        self.activation = get_activation(activation)

    @property
    def _start(self) -> Any:
        return getattr(self.activation, "_start", None)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or not isinstance(x.shape[-1], int):
            raise ShapeError(f"expected (rows, ..., features), got {x.shape}")
        y = self.activation(x)
        if y.shape != x.shape:
            raise ShapeError(f"Parametric: {type(self.activation).__name__} makes {y.shape} of {x.shape}")
        return x + (y - x) * self.param("weight", (x.shape[-1],), "ones")


ACTIVATIONS: dict[str, type[Module]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "prelu": PReLU,
    "elu": ELU,
    "selu": SELU,
    "gelu": GELU,
    "silu": SiLU,
    "mish": Mish,
    "softplus": Softplus,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "hard_sigmoid": HardSigmoid,
    "hard_swish": HardSwish,
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
}


def get_activation(name: str | Module) -> Module:
    """An activation layer by name. Raises ArgumentError with near matches."""
    if isinstance(name, Module):
        return name
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()


def _hard_sigmoid(x: Tensor) -> Tensor:
    return ops.clip(x * (1 / 6) + 0.5, 0.0, 1.0)


def _whole(axis: object, name: str) -> int:
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
        raise ArgumentError(f"{name} must be a whole number, not {short(axis)}")
    return int(axis)


def _over_axis(function: Callable[[Tensor], Tensor], x: Tensor, axis: int) -> Tensor:
    """function works over the last axis."""
    if not -x.ndim < axis < x.ndim or axis == 0:
        raise ShapeError(f"axis {axis} is none of the axes 1 to {x.ndim - 1} of {x.shape}; axis 0 is that of the rows")
    if axis in (-1, x.ndim - 1):
        return function(x)
    order = list(range(x.ndim))
    order[axis], order[-1] = order[-1], order[axis]
    return ops.transpose(function(ops.transpose(x, order)), order)
