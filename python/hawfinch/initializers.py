"""How parameters start. An initializer is a function (shape, fan_in, fan_out, draw) -> values; see ``Draw``.

All numbers come from the counter-based generator, keyed by (seed, number of the parameter): the same net and seed
give the same parameters on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from . import _core
from .errors import unknown_name
from .ir import Array


class Draw:
    """Random numbers of one parameter: float64 arrays of n elements."""

    __slots__ = ("seed", "stream")

    def __init__(self, seed: int, stream: int):
        self.seed, self.stream = seed, stream

    def uniform(self, n: int, bound: float) -> Array:
        return _core.random_uniform(n, self.seed, self.stream, -bound, bound)

    def normal(self, n: int, std: float) -> Array:
        return _core.random_normal(n, self.seed, self.stream, 0.0, std)


Initializer = Callable[[tuple[int, ...], int, int, Draw], Array]


def torch_default(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """Uniform in +-1/sqrt(fan_in): what PyTorch's Linear uses for weight and bias."""
    return draw.uniform(math.prod(shape), 1 / math.sqrt(fan_in) if fan_in else 0.0)


def kaiming_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """Uniform in +-sqrt(6/fan_in). He, Zhang, Ren, Sun, ICCV 2015."""
    return draw.uniform(math.prod(shape), math.sqrt(6 / max(fan_in, 1)))


def kaiming_normal(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """Normal with variance 2/fan_in. He, Zhang, Ren, Sun, ICCV 2015."""
    return draw.normal(math.prod(shape), math.sqrt(2 / max(fan_in, 1)))


def xavier_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """Uniform in +-sqrt(6/(fan_in + fan_out)). Glorot, Bengio, AISTATS 2010."""
    return draw.uniform(math.prod(shape), math.sqrt(6 / max(fan_in + fan_out, 1)))


def xavier_normal(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """Normal with variance 2/(fan_in + fan_out). Glorot, Bengio, AISTATS 2010."""
    return draw.normal(math.prod(shape), math.sqrt(2 / max(fan_in + fan_out, 1)))


def zeros(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """All 0."""
    return np.zeros(math.prod(shape))


def ones(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """All 1."""
    return np.ones(math.prod(shape))


INITIALIZERS: dict[str, Initializer] = {
    f.__name__: f for f in (torch_default, kaiming_uniform, kaiming_normal, xavier_uniform, xavier_normal, zeros, ones)
}


def get_initializer(name: str | Initializer) -> Initializer:
    """An initializer by name, or the function itself. Raises ArgumentError with near matches."""
    if callable(name):
        return name
    if name not in INITIALIZERS:
        raise unknown_name("initializer", name, INITIALIZERS)
    return INITIALIZERS[name]
