"""Linear, ridge, LASSO and elastic-net regression."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from .. import _core
from ..errors import ArgumentError
from .base import Array, OneOf, Regressor, checked_targets, checked_weights, not_converged
from .minimise import minimise
from .objective import Problem, squared

GAP_EVERY = 10  # sweeps between looks at the duality gap


class _LeastSquares(Regressor):
    """Data of a regression, centred and weighted so that the intercept drops out."""

    fit_intercept: bool
    n_iter_: Any

    def _data(self, X: Any, y: Any, sample_weight: Any) -> tuple[Array, Array, Array]:
        """x (rows, features), y (rows, targets), weights (rows,)."""
        x = self._rows(X)
        targets = checked_targets(y, len(x))
        self._one_target = np.ndim(y) != 2
        return x, targets, checked_weights(sample_weight, len(x))

    def _centred(self, x: Array, y: Array, s: Array) -> tuple[Array, Array, Array, Array]:
        """sqrt(s) (x - mean), sqrt(s) (y - mean), and the two means; without an intercept these are 0."""
        root = np.sqrt(s)[:, None]
        if not self.fit_intercept:
            return x * root, y * root, np.zeros(x.shape[1]), np.zeros(y.shape[1])
        x_mean, y_mean = (s @ x) / s.sum(), (s @ y) / s.sum()
        return (x - x_mean) * root, (y - y_mean) * root, x_mean, y_mean

    def _finish(self, weight: Array, x_mean: Array, y_mean: Array) -> Self:
        self._keep(weight, y_mean - x_mean @ weight if self.fit_intercept else None)
        return self

    def _descend(self, x: Array, y: Array, s: Array, l2: float, max_iter: int, tol: float) -> Self:
        problem = Problem(squared, x, y, s, y.shape[1], l2=l2, intercept=self.fit_intercept)
        u, self.n_iter_, converged = minimise(problem, "gd", max_iter, tol)
        if not converged:
            not_converged(type(self).__name__, max_iter)
        weight, bias = problem.arrays(u)
        self._keep(weight, bias if self.fit_intercept else None)
        return self


class LinearRegression(_LeastSquares):
    """min over w, b of sum_i s_i (y_i - x_i w - b)^2, as scikit-learn's.

    fit_intercept: default True. solver: "lstsq" (default, closed form: singular values, so that features that depend on
    each other give the smallest w) or "gd" (gradient descent with momentum, each step one C call, in at most
    max_iter = 1000 steps, until what is to be gained is about tol^2, tol = 1e-5, of the objective).
    ``fit(X, y, sample_weight=None)``: y (rows,) or (rows, targets). After it: ``coef_``, ``intercept_``, ``n_iter_`` of
    "gd", and ``model_``, the net of one layer. Raises ShapeError, DTypeError, NonFiniteInputError, ArgumentError.
    Legendre, 1805.

    >>> model = hf.linear.LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> model.coef_.round(6), round(model.intercept_, 6), model.predict([[10.0]]).round(6)
    (array([2.]), 1.0, array([21.]))
    """

    options: ClassVar[dict[str, Any]] = {
        "fit_intercept": bool,
        "solver": OneOf(("lstsq", "gd")),
        "max_iter": int,
        "tol": "above 0",
    }
    solver: str
    max_iter: int
    tol: float

    def __init__(
        self, *, fit_intercept: bool = True, solver: str = "lstsq", max_iter: int = 1000, tol: float = 1e-5
    ) -> None:
        self._set(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Finds w and b; returns self."""
        x, targets, s = self._data(X, y, sample_weight)
        if self.solver == "gd":
            return self._descend(x, targets, s, 0.0, self.max_iter, self.tol)
        x, targets, *means = self._centred(x, targets, s)
        return self._finish(np.linalg.lstsq(x, targets)[0], *means)


class Ridge(_LeastSquares):
    """min over w, b of sum_i s_i (y_i - x_i w - b)^2 + alpha |w|^2, as scikit-learn's.

    alpha: >= 0, default 1. solver: "cholesky" (default; closed form, of features or of rows, whichever are fewer) or
    "gd", as in LinearRegression; so are fit_intercept, max_iter, tol, ``fit`` and what is there after it.
    Hoerl, Kennard, Technometrics 12, 1970.

    >>> hf.linear.Ridge(alpha=2.0).fit([[-1.0], [1.0]], [-1.0, 1.0]).coef_.round(6)  # 2 / (2 + alpha)
    array([0.5])
    """

    options: ClassVar[dict[str, Any]] = {
        "alpha": "from 0",
        **LinearRegression.options,
        "solver": OneOf(("cholesky", "gd")),
    }
    alpha: float
    solver: str
    max_iter: int
    tol: float

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        solver: str = "cholesky",
        max_iter: int = 1000,
        tol: float = 1e-5,
    ) -> None:
        self._set(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Finds w and b; returns self."""
        x, targets, s = self._data(X, y, sample_weight)
        alpha = float(self.alpha)
        if self.solver == "gd":
            return self._descend(x, targets, s, alpha, self.max_iter, self.tol)  # both halved
        x, targets, *means = self._centred(x, targets, s)
        return self._finish(ridge(x, targets, alpha), *means)


def ridge(x: Array, y: Array, alpha: float) -> Array:
    """argmin of |y - x w|^2 + alpha |w|^2: (x'x + alpha)^-1 x'y = x'(x x' + alpha)^-1 y."""
    rows, d = x.shape
    if alpha > 0:
        try:
            if d <= rows:
                return np.linalg.solve(x.T @ x + alpha * np.eye(d), x.T @ y)
            return np.asarray(x.T @ np.linalg.solve(x @ x.T + alpha * np.eye(rows), y))
        except np.linalg.LinAlgError:
            pass  # alpha is lost beside the products
    return np.linalg.lstsq(x, y)[0]


class ElasticNet(_LeastSquares):
    """min over w, b of 1/2 mean (y - x w - b)^2 + alpha (l1_ratio |w|_1 + (1 - l1_ratio) / 2 |w|^2), as scikit-learn's.

    The mean is weighted by ``sample_weight``. alpha: >= 0, default 1. l1_ratio: 0 to 1, default 0.5. positive: w >= 0,
    default False. fit_intercept: default True. By coordinate descent, whose zeros are exact, until the duality gap is
    at most tol (1e-4) of mean y^2 / 2, or for max_iter (1000) sweeps. ``fit(X, y, sample_weight=None)`` as in
    LinearRegression; ``n_iter_``: sweeps (a list for several targets).
    Zou, Hastie, J. R. Statist. Soc. B 67, 2005; Friedman, Hastie, Tibshirani, J. Stat. Softw. 33, 2010.

    >>> x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> hf.linear.ElasticNet(alpha=0.5, l1_ratio=0.5).fit(x, [4.0, -4.0, 0.1, -0.1]).coef_.round(6)
    array([2.333333, 0.      ])
    """

    options: ClassVar[dict[str, Any]] = {
        "alpha": "from 0",
        "l1_ratio": "share",
        "fit_intercept": bool,
        "positive": bool,
        "max_iter": int,
        "tol": "above 0",
    }
    alpha: float
    l1_ratio: float = 1.0
    positive: bool
    max_iter: int
    tol: float

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        positive: bool = False,
        max_iter: int = 1000,
        tol: float = 1e-4,
    ) -> None:
        self._set(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Finds w and b; returns self."""
        x, targets, s = self._data(X, y, sample_weight)
        x, targets, *means = self._centred(x, targets, s)
        columns, total = np.ascontiguousarray(x.T), s.sum()  # 1/2 |r|^2 + total alpha (...), r weighted
        l1, l2 = total * self.alpha * self.l1_ratio, total * self.alpha * (1 - self.l1_ratio)
        weight, sweeps = np.zeros((x.shape[1], targets.shape[1])), []
        for k in range(targets.shape[1]):
            weight[:, k], used = self._sweep(columns, targets[:, k].copy(), l1, l2)
            sweeps.append(used)
        self.n_iter_ = sweeps[0] if self._one_target else sweeps
        return self._finish(weight, *means)

    def _sweep(self, columns: Array, y: Array, l1: float, l2: float) -> tuple[Array, int]:
        """One target: its w and the number of sweeps."""
        w, r, norms = np.zeros(len(columns)), y.copy(), np.square(columns).sum(1)
        if not np.isfinite(norms).all():
            raise ArgumentError(f"{type(self).__name__}: the squares of X overflow; scale X (hf.data.StandardScaler)")
        enough = self.tol * float(y @ y) / 2
        for done in range(1, self.max_iter + 1):
            largest = _core.elastic_net_sweep(w, r, columns, norms, l1, l2, bool(self.positive))
            small = largest <= self.tol * np.abs(w).max()
            if (small or done % GAP_EVERY == 0) and self._gap(columns, w, r, y, l1, l2) <= enough:
                return w, done
            if largest == 0:
                return w, done
        not_converged(type(self).__name__, self.max_iter)
        return w, self.max_iter

    def _gap(self, columns: Array, w: Array, r: Array, y: Array, l1: float, l2: float) -> float:
        """Objective minus that of the dual at the residuals, scaled so that they are feasible (Kim et al., 2007)."""
        slopes = columns @ r - l2 * w
        steepest = float((slopes if self.positive else np.abs(slopes)).max())
        squares, penalty = float(r @ r) + l2 * float(w @ w), l1 * float(np.abs(w).sum())
        by = min(1.0, l1 / steepest) if steepest > 0 else 1.0
        return 0.5 * squares * (1 + by * by) + penalty - by * float(r @ y)


class Lasso(ElasticNet):
    """min over w, b of 1/2 mean (y - x w - b)^2 + alpha |w|_1: ElasticNet with l1_ratio = 1, as scikit-learn's.

    Options, errors and results are those of ElasticNet. Tibshirani, J. R. Statist. Soc. B 58, 1996.

    >>> x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> hf.linear.Lasso(alpha=0.5).fit(x, [4.0, -4.0, 0.1, -0.1]).coef_.round(6)
    array([3., 0.])
    """

    options: ClassVar[dict[str, Any]] = {k: v for k, v in ElasticNet.options.items() if k != "l1_ratio"}

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        positive: bool = False,
        max_iter: int = 1000,
        tol: float = 1e-4,
    ) -> None:
        self._set(locals())
