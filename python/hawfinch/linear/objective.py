"""The objectives as traced functions, and the change of variables in which they are minimised.

sum_i s_i loss(x_i w + b, y_i) + 1/2 sum_j l2_j w_j^2 (+ 1/2 b^2), and an L1 penalty, which the solver handles
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..function import Function, value_and_grad
from .base import Array


def _excess(z: Any, smooth: Any) -> Any:
    """max(z, 0), its kink rounded to a parabola of width ``smooth``: at most smooth / 2 below it (Nesterov, 2005)."""
    inside = ops.minimum(ops.maximum(z, 0.0), smooth)
    return (inside * z - 0.5 * inside * inside) / smooth


def squared(scores: Any, y: Any, smooth: Any) -> Any:
    """1/2 (score - y)^2."""
    return 0.5 * ops.square(scores - y)


def logistic(scores: Any, y: Any, smooth: Any) -> Any:
    """log(1 + exp(-y score)), y -1 or 1."""
    return ops.softplus(-scores * y)


def softmax(scores: Any, y: Any, smooth: Any) -> Any:
    """-log softmax(score) of the class y (rows,)."""
    return ops.softmax_cross_entropy(scores, y)


def hinge(scores: Any, y: Any, smooth: Any) -> Any:
    """max(0, 1 - y score), y -1 or 1, rounded."""
    return _excess(1.0 - scores * y, smooth)


def squared_hinge(scores: Any, y: Any, smooth: Any) -> Any:
    """max(0, 1 - y score)^2."""
    return ops.square(ops.relu(1.0 - scores * y))


def insensitive(scores: Any, y: Any, smooth: Any, epsilon: Any) -> Any:
    """max(0, |score - y| - epsilon), rounded."""
    return _excess(ops.abs(scores - y) - epsilon, smooth)


def squared_insensitive(scores: Any, y: Any, smooth: Any, epsilon: Any) -> Any:
    """max(0, |score - y| - epsilon)^2."""
    return ops.square(ops.relu(ops.abs(scores - y) - epsilon))


def _objective(loss: Callable[..., Any]) -> Function:
    """value and gradient by (w (d, k), b (k,)), given x, y, weights of the rows, strengths of the penalties, and the
    loss's own numbers."""

    def value(w: Any, b: Any, x: Any, y: Any, s: Any, l2: Any, l2_of_b: Any, *numbers: Any) -> Any:
        rows = loss(x @ w + b, y, *numbers)
        weights = s if rows.ndim == 1 else ops.reshape(s, (s.shape[0], 1))
        return ops.sum(rows * weights) + 0.5 * (l2 * ops.sum(w * w) + l2_of_b * ops.sum(b * b))

    return value_and_grad(value, argnums=(0, 1))


OBJECTIVES = {
    loss: _objective(loss)
    for loss in (squared, logistic, softmax, hinge, squared_hinge, insensitive, squared_insensitive)
}
CURVATURE = {logistic: 0.25, softmax: 0.25, squared_hinge: 2.0, squared_insensitive: 2.0}  # at most; of others about 1


class Problem:
    """One objective on one set of data, as a function of variables u in which it is about equally curved.

    w_j = scale_j u_j and b = scale_b u_b - mean w, with scale_j = 1 / sqrt(curvature sum(s) var_j + l2): features of
    any units and offsets are met by gradient methods as if they had been standardised, while objective and penalties
    stay those of the data. Rejected: scaling the data, which changes what a penalty means.
    """

    def __init__(
        self,
        loss: Callable[..., Any],
        x: Array,
        y: Array,
        s: Array,
        outputs: int,
        *,
        l2: float,
        l1: float = 0.0,
        intercept: bool = True,
        l2_of_b: float = 0.0,
        numbers: tuple[float, ...] = (),
    ):
        self.objective, self.intercept, self.shape = OBJECTIVES[loss], intercept, (x.shape[1], outputs)
        self.data = (x, y, s, np.array(l2), np.array(l2_of_b))
        self.smooth, self.numbers = np.array(1.0), tuple([np.array(v) for v in numbers])
        total = s.sum()
        mean = (s @ x) / total if intercept else np.zeros(x.shape[1])
        var = (s @ np.square(x - mean)) / total
        c = CURVATURE.get(loss, 1.0) * total
        curved = c * var + l2
        self.scale = 1 / np.sqrt(np.where(curved > 0, curved, 1.0))
        self.scale_b, self.mean = 1 / np.sqrt(c + l2_of_b), mean
        self.l1 = np.zeros((x.shape[1] + intercept, outputs))
        self.l1[: x.shape[1]] = l1 * self.scale[:, None]

    def arrays(self, u: Array) -> tuple[Array, Array]:
        """(w, b) of the variables (d + 1 or d, outputs)."""
        w = u[: self.shape[0]] * self.scale[:, None]
        b = u[-1] * self.scale_b - self.mean @ w if self.intercept else np.zeros(self.shape[1])
        return w, b

    def __call__(self, u: Array) -> tuple[float, Array]:
        """Value and gradient, both without the L1 penalty."""
        w, b = self.arrays(u)
        value, (dw, db) = self.objective(w, b, *self.data, self.smooth, *self.numbers)
        gradient = np.empty_like(u)
        gradient[: self.shape[0]] = (dw - self.mean[:, None] * db if self.intercept else dw) * self.scale[:, None]
        if self.intercept:
            gradient[-1] = db * self.scale_b
        return float(value), gradient

    def start(self) -> Array:
        return np.zeros_like(self.l1)
