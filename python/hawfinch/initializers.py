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
from .values import CheckedCall


class Draw(metaclass=CheckedCall):
    """Random numbers of one parameter, from (seed, number of the parameter): float64 arrays of n elements.

    >>> import numpy as np, hawfinch as hf
    >>> def sparse(shape, fan_in, fan_out, draw):
    ...     values = draw.normal(int(np.prod(shape)), 1.0)
    ...     return np.where(np.abs(values) > 1, values, 0)
    >>> w = hf.Linear(50, init=sparse).build((20,)).parameters()["weight"]
    >>> bool(0.6 < (w == 0).mean() < 0.75)
    True
    """

    __slots__ = ("seed", "stream")

    def __init__(self, seed: int, stream: int):
        self.seed, self.stream = seed, stream

    def uniform(self, n: int, bound: float) -> Array:
        """n numbers uniform in +-bound."""
        return _core.random_uniform(n, self.seed, self.stream, -bound, bound)

    def normal(self, n: int, std: float) -> Array:
        """n numbers from the normal distribution of mean 0 and this standard deviation."""
        return _core.random_normal(n, self.seed, self.stream, 0.0, std)


Initializer = Callable[[tuple[int, ...], int, int, Draw], Array]


def torch_default(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """Uniform in +-1/sqrt(fan_in): what PyTorch's Linear uses for weight and bias.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="torch_default").build((400,)).parameters()["weight"]
    >>> bool(abs(w).max() <= 1 / 400**0.5)
    True
    """
    return draw.uniform(math.prod(shape), 1 / math.sqrt(fan_in) if fan_in else 0.0)


def kaiming_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """Uniform in +-sqrt(6/fan_in). He, Zhang, Ren, Sun, ICCV 2015.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="kaiming_uniform").build((400,)).parameters()["weight"]
    >>> round(float(w.std() * (400 / 2) ** 0.5), 2)
    1.0
    """
    return draw.uniform(math.prod(shape), math.sqrt(6 / max(fan_in, 1)))


def kaiming_normal(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """Normal with variance 2/fan_in. He, Zhang, Ren, Sun, ICCV 2015.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="kaiming_normal").build((400,)).parameters()["weight"]
    >>> round(float(w.std() * (400 / 2) ** 0.5), 2)
    1.0
    """
    return draw.normal(math.prod(shape), math.sqrt(2 / max(fan_in, 1)))


def xavier_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """Uniform in +-sqrt(6/(fan_in + fan_out)). Glorot, Bengio, AISTATS 2010.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="xavier_uniform").build((400,)).parameters()["weight"]
    >>> round(float(w.std() * (700 / 2) ** 0.5), 2)
    1.0
    """
    return draw.uniform(math.prod(shape), math.sqrt(6 / max(fan_in + fan_out, 1)))


def xavier_normal(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """Normal with variance 2/(fan_in + fan_out). Glorot, Bengio, AISTATS 2010.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="xavier_normal").build((400,)).parameters()["weight"]
    >>> round(float(w.std() * (700 / 2) ** 0.5), 2)
    1.0
    """
    return draw.normal(math.prod(shape), math.sqrt(2 / max(fan_in + fan_out, 1)))


def zeros(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """All 0.

    >>> import hawfinch as hf
    >>> hf.Linear(2, init="zeros").build((1,)).parameters()["weight"].tolist()
    [[0.0, 0.0]]
    """
    return np.zeros(math.prod(shape))


def ones(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
    """All 1.

    >>> import hawfinch as hf
    >>> hf.Linear(2, init="ones").build((1,)).parameters()["weight"].tolist()
    [[1.0, 1.0]]
    """
    return np.ones(math.prod(shape))


INITIALIZERS: dict[str, Initializer] = {
    f.__name__: f for f in (torch_default, kaiming_uniform, kaiming_normal, xavier_uniform, xavier_normal, zeros, ones)
}


def get_initializer(name: str | Initializer) -> Initializer:
    """An initializer by name, or the function itself. Raises ArgumentError with near matches.

    >>> import hawfinch as hf
    >>> hf.initializers.get_initializer("zeros") is hf.initializers.zeros
    True
    """
    if callable(name):
        return name
    if name not in INITIALIZERS:
        raise unknown_name("initializer", name, INITIALIZERS)
    return INITIALIZERS[name]
