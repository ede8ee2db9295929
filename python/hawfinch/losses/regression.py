"""Losses of numbers: squared, absolute, Huber, log-cosh, quantile, Poisson, Gaussian likelihood."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, LabelError, ShapeError, unknown_name
from ..ir import Array, Shape, Tensor
from ..values import check_flag, check_real, is_several, is_word
from .base import ElementLoss, rows_text


class MSE(ElementLoss, name="mse"):
    """(prediction - target)**2, targets of exactly the output's shape.

    ignore_nan (default False): targets that are NaN are left out, and the mean is over the others of the batch.

    >>> hf.MSE()(np.array([[3.0], [1.0]]), np.array([[1.0], [1.0]]))
    array([[4.],
           [0.]])
    """

    def element(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.square(prediction - target)


class MAE(ElementLoss, name="mae"):
    """abs(prediction - target), targets of exactly the output's shape. ignore_nan: see ``MSE``.

    PyTorch's L1Loss. Its gradient is 0 at 0.

    >>> hf.MAE()(np.array([[3.0], [1.0]]), np.array([[1.0], [1.0]]))
    array([[2.],
           [0.]])
    """

    def element(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.abs(prediction - target)


class Huber(ElementLoss, name="huber"):
    """0.5 d**2 where abs(d) <= delta, else delta * (abs(d) - delta / 2); d = prediction - target. delta: default 1.

    PyTorch's SmoothL1Loss(beta) is Huber(delta=beta) / beta, so ``(1 / beta) * hf.Huber(beta)``. Targets have exactly
    the output's shape; ignore_nan: see ``MSE``. Raises ArgumentError unless delta is finite and > 0. Huber, Annals of
    Mathematical Statistics 35, 1964.

    >>> hf.Huber(delta=1.0)(np.array([[3.0], [0.5]]), np.array([[0.0], [0.0]]))
    array([[2.5  ],
           [0.125]])
    """

    def __init__(self, delta: float = 1.0, *, ignore_nan: bool = False):
        super().__init__(ignore_nan=ignore_nan)
        self.delta = check_real(delta, "Huber: delta", "above 0", lambda v: 0 < v < float("inf"))

    def element(self, prediction: Tensor, target: Tensor) -> Tensor:
        d = prediction - target
        a = ops.abs(d)
        return ops.where(ops.less_equal(a, self.delta), ops.square(d) * 0.5, (a - 0.5 * self.delta) * self.delta)


class LogCosh(ElementLoss, name="log_cosh"):
    """log(cosh(d)), d = prediction - target: d**2 / 2 near 0, abs(d) - log 2 far out, and smooth.

    Computed as softplus(2 d) - d - log 2, which does not overflow; its gradient is tanh(d). Targets have exactly the
    output's shape; ignore_nan: see ``MSE``.

    >>> hf.LogCosh()(np.array([1e4, 0.0]), np.array([0.0, 0.0]))
    array([9999.30685282,    0.        ])
    """

    def element(self, prediction: Tensor, target: Tensor) -> Tensor:
        d = prediction - target
        return ops.softplus(d * 2.0) - d - math.log(2.0)


class Quantile(ElementLoss, name="quantile"):
    """The pinball loss max(q e, (q - 1) e), e = target - prediction, whose minimum is the q-quantile of the targets.

    q (default 0.5, half of MAE): a number in (0, 1), targets of exactly the output's shape; or several numbers: then
    the output is (rows, ..., len(q)), a column for each, and the targets (rows, ...) or (rows, ..., 1). The mean is
    over the quantiles too. ignore_nan: see ``MSE``. Raises ArgumentError for a q outside (0, 1). Koenker, Bassett,
    Econometrica 46, 1978.

    >>> hf.Quantile(0.9)(np.array([0.0, 3.0]), np.array([1.0, 1.0]))  # too low costs nine times what too high does
    array([0.9, 0.2])
    >>> model = hf.Sequential(hf.Linear(3)).build((2,))
    >>> loss = hf.Trainer(model, hf.Quantile([0.1, 0.5, 0.9])).evaluate(np.ones((5, 2)), np.ones(5))["loss"]
    """

    same_shape = False  # of several quantiles

    def __init__(self, q: float | Sequence[float] = 0.5, *, ignore_nan: bool = False):
        super().__init__(ignore_nan=ignore_nan)
        self.q: Any = tuple([_share(v) for v in q]) if is_several(q) else _share(q)  # type: ignore[union-attr]
        if self.q == ():
            raise ArgumentError("Quantile: q must be a number or several, got none")

    def check(self, y: Array, output: Shape) -> Array:
        if not isinstance(self.q, tuple):
            return super().check(y, output)
        n = len(self.q)
        if output[1:][-1:] != (n,):
            raise ShapeError(f"Quantile: {n} quantiles need an output (rows, ..., {n}), got {rows_text(output[1:])}")
        if y.shape[1:] not in (output[1:-1], (*output[1:-1], 1)):
            raise ShapeError(
                f"Quantile: targets {rows_text(y.shape[1:])} do not match {n} quantiles of each; expected "
                f"{rows_text(output[1:-1])}"
            )
        return y

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        if isinstance(self.q, tuple) and len(target.shape) < len(prediction.shape):
            target = ops.reshape(target, (*target.shape, 1))
        return super().__call__(prediction, target)

    def element(self, prediction: Tensor, target: Tensor) -> Tensor:
        e = target - prediction
        q: Any = np.array(self.q) if isinstance(self.q, tuple) else self.q
        return ops.where(ops.less(e, 0.0), e * (q - 1.0), e * q)


def _share(q: Any) -> float:
    return check_real(q, "Quantile: q", "in (0, 1)", lambda v: 0 < v < 1)


class Poisson(ElementLoss, name="poisson"):
    """exp(x) - t x, the negative log-likelihood of counts t >= 0 at the rate exp(x); PyTorch's PoissonNLLLoss.

    log_input (default True): False: x is the rate itself, and the loss x - t log(x + eps). full (default False): with
    the term log(t!) that does not depend on x, by Stirling's formula, t log t - t + log(2 pi t) / 2, for t > 1. eps:
    default 1e-8. Targets have exactly the output's shape; ignore_nan: see ``MSE``. exp(x) overflows in float32 from
    x = 88 on: the run then stops with NonFiniteError. Metrics look at the rate. Raises LabelError for negative targets.

    >>> hf.Poisson()(np.array([0.0, 1.0]), np.array([1.0, 2.0])).round(4)
    array([1.    , 0.7183])
    """

    checks_values = True

    def __init__(self, *, log_input: bool = True, full: bool = False, eps: float = 1e-8, ignore_nan: bool = False):
        super().__init__(ignore_nan=ignore_nan)
        self.log_input, self.full = check_flag(log_input, "Poisson: log_input"), check_flag(full, "Poisson: full")
        self.eps = check_real(eps, "Poisson: eps", "above 0", lambda v: 0 < v < 1)

    def check(self, y: Array, output: Shape) -> Array:
        y = super().check(y, output)
        if y.size and (y < 0).any():
            raise LabelError(f"Poisson: targets are counts, >= 0; got {np.nanmin(y)}")
        return y

    def point(self, prediction: Tensor) -> Tensor:
        return ops.exp(prediction) if self.log_input else prediction

    def element(self, prediction: Tensor, target: Tensor) -> Tensor:
        if self.log_input:
            loss = ops.exp(prediction) - target * prediction
        else:
            loss = prediction - target * ops.log(prediction + self.eps)
        if self.full:
            some = ops.maximum(target, 1.0)
            stirling = some * ops.log(some) - some + ops.log(some * (2.0 * math.pi)) * 0.5
            loss = loss + ops.where(ops.greater(target, 1.0), stirling, 0.0)
        return loss


class GaussianNLL(ElementLoss, name="gaussian_nll"):
    """(log v + (m - t)**2 / v) / 2, the negative log-likelihood of a normal distribution; PyTorch's GaussianNLLLoss.

    The model gives the mean m and the variance v: as two outputs of the targets' shape, or as one (rows, 2 k), the
    means first. Two outputs are one fused pass; the halves of one are copied apart. variance (default "value"): what
    stands for v. "value": v itself, >= 0, for instance behind a Softplus; below eps (default 1e-6) it counts as eps,
    with the gradient at eps. "log": log v, any number; eps has no part in it. "softplus": v = softplus(s) + eps.
    full (default False): with log(2 pi) / 2. ignore_nan: see ``MSE``. Nix, Weigend, ICNN 1994.

    >>> loss = hf.GaussianNLL(variance="log")
    >>> loss((np.array([1.0]), np.array([0.0])), np.array([3.0]))
    array([2.])
    >>> model = hf.Sequential(hf.Linear(2)).build((4,))
    >>> value = hf.Trainer(model, loss).evaluate(np.ones((5, 4)), np.ones((5, 1)))["loss"]
    """

    takes = (1, 2)
    same_shape = False

    def __init__(self, *, full: bool = False, eps: float = 1e-6, variance: str = "value", ignore_nan: bool = False):
        super().__init__(ignore_nan=ignore_nan)
        self.full = check_flag(full, "GaussianNLL: full")
        self.eps = check_real(eps, "GaussianNLL: eps", "above 0", lambda v: 0 < v < float("inf"))
        kinds = ["value", "log", "softplus"]
        if not is_word(variance, *kinds):
            raise unknown_name("GaussianNLL: variance", variance, kinds)
        self.variance = variance

    def check(self, y: Array, output: Shape) -> Array:
        size = output[-1] if len(output) > 1 else None
        if not isinstance(size, int) or size % 2:
            raise ShapeError(
                "GaussianNLL: one output must be (rows, 2 k), k means and then k variances; got "
                f"{rows_text(output[1:])}. Or let the model give two outputs"
            )
        return super().check(y, (*output[:-1], size // 2))

    def check_all(self, y: Array, outputs: Sequence[Shape]) -> Array:
        if len(outputs) == 1:
            return self.check(y, outputs[0])
        if outputs[0] != outputs[1]:
            raise ShapeError(f"GaussianNLL: mean {outputs[0]} and variance {outputs[1]} must have one shape")
        return super().check(y, outputs[0])

    def point(self, prediction: Any) -> Tensor:
        return _mean_and_spread(prediction)[0]

    def __call__(self, prediction: Any, target: Tensor) -> Tensor:
        mean, spread = _mean_and_spread(prediction)
        if not self.ignore_nan:
            return self._element(mean, spread, target)
        seen = ops.equal(target, target)
        mean, spread, target = [ops.where(seen, v, 1.0) for v in (mean, spread, target)]
        return ops.where(seen, self._element(mean, spread, target), 0.0)

    def _element(self, mean: Tensor, spread: Tensor, target: Tensor) -> Tensor:
        square = ops.square(mean - target)
        if self.variance == "log":
            loss = (spread + square * ops.exp(-spread)) * 0.5
        else:
            if self.variance == "softplus":
                v = ops.softplus(spread) + self.eps
            else:
                low = self.eps + (spread - ops.stop_gradient(spread))  # the value eps, with a gradient of 1
                v = ops.where(ops.less(spread, self.eps), low, spread)
            loss = (ops.log(v) + square / v) * 0.5
        return loss + 0.5 * math.log(2.0 * math.pi) if self.full else loss


def _mean_and_spread(prediction: Any) -> tuple[Tensor, Tensor]:
    if isinstance(prediction, Mapping):
        prediction = tuple(prediction.values())
    if isinstance(prediction, tuple):
        return prediction[0], prediction[1]
    half = prediction.shape[-1] // 2
    return prediction[..., :half], prediction[..., half:]
