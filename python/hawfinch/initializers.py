"""How parameters start. An initializer is a function (shape, fan_in, fan_out, draw) -> values; see ``Draw``.

All numbers come from the counter-based generator, keyed by (seed, number of the parameter): the same net and seed
give the same parameters on every machine, in whatever order layers are made or used. No library sums here: orthogonal
matrices are products of Householder reflections, elementwise.

Which is used: what the layer names (``hf.Linear(64, init="he_normal")``), else what the model is built with
(``hf.Trainer(model, ..., init="auto")``, ``model.build(shape, init="auto")``), else "torch_default", as PyTorch.
"auto" chooses by the activation that follows the layer, behind norms and dropout: see ``Auto``. A bias starts at 0,
but for "torch_default".

Design: an initializer is a value with the names that PyTorch and Keras have for it; a name stands for the defaults.
Rejected: functions with partial application, which neither compare nor can be written to a model's file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from . import _core
from .errors import ArgumentError, unknown_name
from .ir import Array
from .values import CheckedCall, Value, check_real, names_of

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("normal", "uniform", "truncated_normal")
# by which weights of a layer are multiplied that keep the variance behind a linear one: PyTorch's calculate_gain
GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2.0),
    "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),
    "selu": 0.75,
}
CUT = 2.0  # of a truncated normal, in deviations
CUT_DEVIATION = 0.8796256610342398  # its deviation: sqrt(1 - 2 CUT phi(CUT) / (2 Phi(CUT) - 1))


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

    def truncated_normal(self, n: int, low: float, high: float) -> Array:
        """n numbers from the normal distribution of mean 0 and deviation 1, drawn again while outside [low, high]."""
        values, again = self.normal(n, 1.0), 0
        while True:
            outside = np.flatnonzero((values < low) | (values > high))
            if not outside.size:
                return values
            again += 1  # from streams that no parameter has
            values[outside] = _core.random_normal(outside.size, self.seed, self.stream + (again << 40), 0.0, 1.0)


class Initializer(Value):
    """Base of initializers: immutable, compared by content. A subclass defines ``__call__``, which gives the values.

    A function of the same arguments is an initializer too, but a model that has one can't be rebuilt from its file.

    >>> import numpy as np, hawfinch as hf
    >>> class Diagonal(hf.initializers.Initializer):
    ...     def __call__(self, shape, fan_in, fan_out, draw):
    ...         return np.eye(*shape)
    >>> hf.Linear(2, init=Diagonal()).build((2,)).parameters()["weight"].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        raise ArgumentError(f"{type(self).__name__} defines no __call__(shape, fan_in, fan_out, draw)")


Function = Callable[[tuple[int, ...], int, int, Draw], Array]
InitLike = str | Function | None


class TorchDefault(Initializer):
    """Uniform in +-1/sqrt(fan_in): what PyTorch's Linear uses for weight and bias. "torch_default".

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="torch_default").build((400,)).parameters()["weight"]
    >>> bool(abs(w).max() <= 1 / 400**0.5)
    True
    """

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        return draw.uniform(math.prod(shape), 1 / math.sqrt(fan_in) if fan_in else 0.0)


class VarianceScaling(Initializer):
    """Mean 0 and variance scale / fan: ``VarianceScaling(C)`` has variance C / fan_in. "variance_scaling".

    scale: default 1, at least 0. mode: fan is "fan_in" (default; the inputs of a unit), "fan_out" or "fan_avg", their
    mean. distribution: "normal" (default), "uniform", or "truncated_normal", cut at two deviations and widened so that
    the variance is as said (Keras draws its normal ones so). Raises ArgumentError.

    >>> import hawfinch as hf
    >>> init = hf.initializers.VarianceScaling(3.0, mode="fan_out", distribution="uniform")
    >>> w = hf.Linear(300, init=init).build((400,)).parameters()["weight"]
    >>> round(float(w.var()), 3)
    0.01
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "normal"):
        self.scale = check_real(scale, f"{type(self).__name__}: scale", "from 0", lambda v: 0 <= v < math.inf)
        self.mode, self.distribution = (
            _one_of("mode", mode, MODES),
            _one_of("distribution", distribution, DISTRIBUTIONS),
        )

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        return _scaled(self.scale, self.mode, self.distribution, shape, fan_in, fan_out, draw)


class _OfGain(Initializer):
    """Variance gain**2 / fan, of a distribution that the class has."""

    distribution: ClassVar[str]
    mode: str
    gain: float | str = 1.0

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        scale = 2.0 if self.gain == "relu" else _gain(self.gain) ** 2  # 2 is no square of a float
        return _scaled(scale, self.mode, self.distribution, shape, fan_in, fan_out, draw)


class KaimingUniform(_OfGain):
    """Uniform in +-gain sqrt(3/fan): the variance of the signal stays through layers of ReLU. "he_uniform".

    gain: default "relu", sqrt(2); a number or the name of an activation: linear, sigmoid 1, tanh 5/3, leaky_relu
    sqrt(2/(1 + slope**2)) at slope 0.01, selu 3/4 (PyTorch's ``calculate_gain``). mode: default "fan_in"; "fan_out"
    keeps the variance of gradients. PyTorch's function has the gain of leaky_relu with a = 0 as its default, which is
    that of ReLU. He, Zhang, Ren, Sun, ICCV 2015. Raises ArgumentError.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="kaiming_uniform").build((400,)).parameters()["weight"]
    >>> round(float(w.std() * (400 / 2) ** 0.5), 2)
    1.0
    """

    distribution = "uniform"

    def __init__(self, gain: float | str = "relu", mode: str = "fan_in"):
        self.gain, self.mode = gain, _one_of("mode", mode, MODES)
        _gain(gain)


class KaimingNormal(KaimingUniform):
    """Normal with variance gain**2 / fan; the options are those of ``KaimingUniform``. "he_normal".

    Keras's he_normal is a truncated normal: ``VarianceScaling(2.0, distribution="truncated_normal")``.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="he_normal").build((400,)).parameters()["weight"]
    >>> round(float(w.std() * (400 / 2) ** 0.5), 2)
    1.0
    """

    distribution = "normal"


class LeCunUniform(_OfGain):
    """Uniform with variance 1 / fan_in, for layers without activation and for SELU. "lecun_uniform".

    LeCun, Bottou, Orr, Müller, Neural Networks: Tricks of the Trade, 1998.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="lecun_uniform").build((400,)).parameters()["weight"]
    >>> round(float(w.std() * 400**0.5), 2)
    1.0
    """

    distribution, mode = "uniform", "fan_in"


class LeCunNormal(LeCunUniform):
    """Normal with variance 1 / fan_in. "lecun_normal".

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="lecun_normal").build((400,)).parameters()["weight"]
    >>> round(float(w.std() * 400**0.5), 2)
    1.0
    """

    distribution = "normal"


class XavierUniform(_OfGain):
    """Uniform with variance gain**2 / mean(fan_in, fan_out). "glorot_uniform".

    gain: default 1; a number or the name of an activation, see ``KaimingUniform``. Glorot, Bengio, AISTATS 2010.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init="xavier_uniform").build((400,)).parameters()["weight"]
    >>> round(float(w.std() * (700 / 2) ** 0.5), 2)
    1.0
    """

    distribution, mode = "uniform", "fan_avg"

    def __init__(self, gain: float | str = 1.0):
        self.gain = gain
        _gain(gain)


class XavierNormal(XavierUniform):
    """Normal with variance gain**2 / mean(fan_in, fan_out). "glorot_normal".

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init=hf.initializers.XavierNormal(gain="tanh")).build((400,)).parameters()["weight"]
    >>> round(float(w.std() * (700 / 2) ** 0.5), 1)
    1.7
    """

    distribution = "normal"


class Normal(Initializer):
    """Normal with this standard deviation and mean. "normal".

    std: default 1. mean: default 0.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init=hf.initializers.Normal(0.02)).build((400,)).parameters()["weight"]
    >>> round(float(w.std()), 3)
    0.02
    """

    def __init__(self, std: float = 1.0, mean: float = 0.0):
        self.std = check_real(std, "Normal: std", "from 0", lambda v: 0 <= v < math.inf)
        self.mean = check_real(mean, "Normal: mean", "that is finite", math.isfinite)

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        return draw.normal(math.prod(shape), self.std) + self.mean


class Uniform(Initializer):
    """Uniform in [low, high). "uniform".

    low, high: default 0 and 1, as PyTorch's. Raises ArgumentError unless low <= high.

    >>> import hawfinch as hf
    >>> w = hf.Linear(300, init=hf.initializers.Uniform(-0.1, 0.1)).build((400,)).parameters()["weight"]
    >>> bool(-0.1 <= w.min() < -0.09 and 0.09 < w.max() <= 0.1)
    True
    """

    def __init__(self, low: float = 0.0, high: float = 1.0):
        self.low = check_real(low, "Uniform: low", "that is finite", math.isfinite)
        self.high = check_real(high, "Uniform: high", f"from low = {self.low}", lambda v: self.low <= v < math.inf)

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        half = (self.high - self.low) / 2
        return draw.uniform(math.prod(shape), half) + (self.low + half)


class TruncatedNormal(Initializer):
    """Normal, drawn again while outside [low, high]. "truncated_normal".

    std: default 1, of the normal that is cut (what is left varies less). mean: default 0. low, high: default -2 and 2,
    bounds as they are, as PyTorch's ``trunc_normal_``, not in deviations. Raises ArgumentError where less than 1 % of
    the distribution lies between them.

    >>> import hawfinch as hf
    >>> init = hf.initializers.TruncatedNormal(std=0.02, low=-0.04, high=0.04)
    >>> w = hf.Linear(300, init=init).build((400,)).parameters()["weight"]
    >>> round(float(w.std()), 4), bool(abs(w).max() <= 0.04)
    (0.0176, True)
    """

    def __init__(self, std: float = 1.0, mean: float = 0.0, low: float = -2.0, high: float = 2.0):
        self.std = check_real(std, "TruncatedNormal: std", "above 0", lambda v: 0 < v < math.inf)
        self.mean = check_real(mean, "TruncatedNormal: mean", "that is finite", math.isfinite)
        self.low = check_real(low, "TruncatedNormal: low", "that is not NaN", lambda v: v == v)
        self.high = check_real(high, "TruncatedNormal: high", "that is not NaN", lambda v: v == v)
        inside = [math.erf((bound - self.mean) / self.std / math.sqrt(2)) / 2 for bound in (self.low, self.high)]
        if inside[1] - inside[0] < 0.01:
            raise ArgumentError(
                f"TruncatedNormal: less than 1 % of the numbers with mean {self.mean:g} and deviation {self.std:g} lie "
                f"between low = {self.low:g} and high = {self.high:g}"
            )

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        low, high = (self.low - self.mean) / self.std, (self.high - self.mean) / self.std
        return draw.truncated_normal(math.prod(shape), low, high) * self.std + self.mean


class Constant(Initializer):
    """All one number. "zeros" and "ones" are 0 and 1.

    >>> import hawfinch as hf
    >>> hf.Linear(2, init=hf.initializers.Constant(0.5)).build((1,)).parameters()["weight"].tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, value: float):
        self.value = check_real(value, "Constant: value", "that is finite", math.isfinite)

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        return np.full(math.prod(shape), self.value)


class Orthogonal(Initializer):
    """A random matrix with orthonormal columns (or rows, if these are fewer), times gain. "orthogonal".

    gain: default 1; a number or the name of an activation, see ``KaimingUniform``. A weight of more than two axes is
    the matrix (all but the last, last). Uniform over such matrices: a product of reflections of normal vectors,
    Stewart, SIAM Journal on Numerical Analysis 17, 1980. Costs n**2 max(m, n) multiplications in NumPy: 1 s at
    1000x1000. Saxe, McClelland, Ganguli, ICLR 2014.

    >>> import hawfinch as hf
    >>> w = hf.Linear(3, init="orthogonal").build((4,)).parameters()["weight"]
    >>> (w.T @ w).round(3) + 0.0
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """

    def __init__(self, gain: float | str = 1.0):
        self.gain = gain
        _gain(gain)

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        n = shape[-1] if shape else 1
        m = math.prod(shape[:-1])
        q = _orthonormal_columns(max(m, n), min(m, n), draw)
        return ((q if m >= n else q.T) * _gain(self.gain)).reshape(shape)


class Auto(Initializer):
    """Chosen by the activation that follows the layer, behind norms, dropout and sums. "auto".

    ReLU, LeakyReLU (by its slope), PReLU, ELU, GELU, SiLU, Mish, Softplus, HardSwish: kaiming_normal; SELU:
    lecun_normal; everything else, and none: xavier_uniform. By the traced ``forward``, so for layers and for functions
    of ``hf.ops``. Not the default, which is PyTorch's.

    >>> import hawfinch as hf
    >>> model = hf.Sequential(hf.Linear(300), hf.BatchNorm(), "relu", hf.Linear(100)).build((400,), init="auto")
    >>> w = model.parameters()
    >>> round(float(w["0.weight"].var() * 400), 1), round(float(w["3.weight"].var() * (300 + 100) / 2), 1)
    (2.0, 1.0)
    """


class Data(Initializer):
    """Each layer's output begins with variance 1 on the rows that the training begins with. "data", for Trainer alone.

    ``hf.Trainer(model, ..., init="data")``: weights whose layers name none start orthogonal, and are divided, layer
    after layer in the order of the forward pass, by the standard deviation of the layer's output over 1,024 rows at
    most, spread evenly over those of the first call of fit or step. One pass in inference mode. Mishkin, Matas, ICLR
    2016 (theirs repeats until the variance is within 0.1; here it is exact, for biases start at 0). A layer within
    WeightNorm or SpectralNorm, whose output does not follow the size of its weights, stays orthogonal. By itself, as a
    function, it is ``Orthogonal``.

    >>> import numpy as np, hawfinch as hf
    >>> x = np.random.default_rng(0).normal(5, 20, size=(500, 8))
    >>> model = hf.Sequential(hf.Linear(64), "relu", hf.Linear(1))
    >>> loss = hf.Trainer(model, "mse", hf.SGD(lr=0.0), init="data").step(x, x[:, :1])
    >>> round(float(model.predict(x).std()), 3)
    1.0
    """

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        return Orthogonal()(shape, fan_in, fan_out, draw)


def get_initializer(name: str | Function) -> Function:
    """An initializer by name, or the initializer itself. Raises ArgumentError with near matches.

    >>> import hawfinch as hf
    >>> hf.initializers.get_initializer("he_normal")
    KaimingNormal(gain='relu', mode='fan_in')
    """
    if callable(name) and not isinstance(name, type):
        return name
    if not isinstance(name, str) or name not in INITIALIZERS:
        hint = f"{name.__name__}()" if isinstance(name, type) else name
        raise unknown_name("initializer", hint, INITIALIZERS)
    return INITIALIZERS[name]


def _orthonormal_columns(m: int, n: int, draw: Draw) -> Array:
    """(m, n), m >= n: the first n columns of H_0 H_1 ... D, H_k a reflection of the axes from k on that takes a normal
    vector to the axis k, D the signs that make that the right way round."""
    q = np.zeros((m, n))
    q[np.arange(n), np.arange(n)] = 1.0
    drawn = draw.normal(n * m, 1.0).reshape(n, m)
    for k in range(n - 1, -1, -1):
        v = drawn[k, k:].copy()
        norm = math.sqrt(math.fsum((v * v).tolist()))
        sign = 1.0 if v[0] >= 0 else -1.0
        v[0] += sign * norm
        half = norm * abs(v[0])  # |v|^2 / 2
        if half > 0:
            part = q[k:, k:]
            part -= v[:, None] * ((part * v[:, None]).sum(0) / half)
        q[k:, k] *= -sign
    return q


def _scaled(
    scale: float, mode: str, distribution: str, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw
) -> Array:
    """Values of mean 0 and variance scale / fan."""
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    count, variance = math.prod(shape), scale / max(fan, 1)
    if distribution == "uniform":
        return draw.uniform(count, math.sqrt(3 * variance))
    if distribution == "normal":
        return draw.normal(count, math.sqrt(variance))
    return draw.truncated_normal(count, -CUT, CUT) * (math.sqrt(variance) / CUT_DEVIATION)


def _gain(gain: Any) -> float:
    if isinstance(gain, str):
        if gain not in GAINS:
            raise unknown_name("gain", gain, GAINS)
        return GAINS[gain]
    return check_real(gain, "gain", "that is finite, or the name of an activation", math.isfinite)


def _one_of(what: str, name: object, known: tuple[str, ...]) -> str:
    if not isinstance(name, str) or name not in known:
        raise unknown_name(what, name, known)
    return name


INITIALIZERS: dict[str, Initializer] = {
    "torch_default": TorchDefault(),
    "variance_scaling": VarianceScaling(),
    "kaiming_uniform": KaimingUniform(),
    "kaiming_normal": KaimingNormal(),
    "he_uniform": KaimingUniform(),
    "he_normal": KaimingNormal(),
    "xavier_uniform": XavierUniform(),
    "xavier_normal": XavierNormal(),
    "glorot_uniform": XavierUniform(),
    "glorot_normal": XavierNormal(),
    "lecun_uniform": LeCunUniform(),
    "lecun_normal": LeCunNormal(),
    "orthogonal": Orthogonal(),
    "normal": Normal(),
    "uniform": Uniform(),
    "truncated_normal": TruncatedNormal(),
    "zeros": Constant(0.0),
    "ones": Constant(1.0),
    "auto": Auto(),
    "data": Data(),
}


def __dir__() -> list[str]:
    return names_of(globals())
