"""Linear support vector machines, of labels and of numbers."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from .. import _core
from ..errors import ArgumentError
from .base import (
    Array,
    Classifier,
    Estimator,
    OneOf,
    OrNone,
    Regressor,
    checked_targets,
    checked_weights,
    not_converged,
)
from .minimise import minimise
from .objective import Problem, hinge, insensitive, squared_hinge, squared_insensitive

ALL_ROWS_EVERY = 10  # sweeps over the rows that still move, between two over all


class _Machine(Estimator):
    """What classifier and regressor share: one output at a time, the intercept penalised like a weight."""

    C: float
    loss: str
    solver: str
    fit_intercept: bool
    intercept_scaling: float
    max_iter: int
    tol: float
    random_state: int | None
    n_iter_: int

    def _machine(self, x: Array, y: Array, s: Array, epsilon: float | None) -> tuple[Array, float, int]:
        """(w (d,), b, iterations) for y (rows,), -1 or 1 where epsilon is None. s: weights times C."""
        square = self.loss.startswith("squared")
        if self.solver == "dual" or (self.solver == "auto" and not square):
            w, iterations = self._dual(x, y, s, epsilon, square)
            if not self.fit_intercept:
                return w, 0.0, iterations
            return w[:-1], float(w[-1]) * self.intercept_scaling, iterations
        of_labels, of_numbers = (squared_hinge, squared_insensitive) if square else (hinge, insensitive)
        problem = Problem(
            of_labels if epsilon is None else of_numbers,
            x,
            y[:, None],
            s,
            1,
            l2=1.0,
            l2_of_b=1.0 / self.intercept_scaling**2,
            intercept=bool(self.fit_intercept),
            numbers=() if epsilon is None else (epsilon,),
        )
        solver = "lbfgs" if self.solver == "auto" else self.solver
        u, iterations, converged = minimise(problem, solver, self.max_iter, self.tol, kinks=not square)
        if not converged:
            not_converged(type(self).__name__, self.max_iter)
        w, b = problem.arrays(u)
        return w[:, 0], float(b[0]), iterations

    def _dual(self, x: Array, t: Array, s: Array, epsilon: float | None, square: bool) -> tuple[Array, int]:
        """Coordinate descent on the dual until the gap is at most tol of the objective. The intercept is the weight of
        one more feature. csrc/solvers/coordinate.h has the problem."""
        if self.fit_intercept:
            x = np.ascontiguousarray(np.column_stack([x, np.full(len(x), float(self.intercept_scaling))]))
        rows = len(x)
        norms, beta, w = np.square(x).sum(1), np.zeros(rows), np.zeros(x.shape[1])
        if not np.isfinite(norms).all():
            raise ArgumentError(f"{type(self).__name__}: the squares of X overflow; scale X (hf.data.StandardScaler)")
        still, eps = np.zeros(rows, np.uint8), epsilon or 0.0
        damp = 0.5 / np.where(s > 0, s, 1.0) if square else np.zeros(rows)
        bound = np.where(s > 0, np.inf, 0.0) if square else s
        low = np.where(t < 0, -bound, 0.0) if epsilon is None else -bound
        high = np.where(t > 0, bound, 0.0) if epsilon is None else bound
        seed = int(self.random_state or 0)
        moved = 0.0
        for done in range(self.max_iter):
            order, every = _core.permutation(rows, seed, done), done % ALL_ROWS_EVERY == 0 or moved == 0
            if not every:
                order = order[still[order] == 0]
            moved = _core.dual_sweep(beta, w, still, x, norms, t, damp, low, high, order, eps)
            if every:
                value, gap = self._gap(x @ w, w, beta, t, s, damp, epsilon, square)
                if gap <= self.tol * abs(value) or moved == 0:
                    return w, done + 1
        not_converged(type(self).__name__, self.max_iter)
        return w, self.max_iter

    def _gap(
        self, scores: Array, w: Array, beta: Array, t: Array, s: Array, damp: Array, epsilon: float | None, square: bool
    ) -> tuple[float, float]:
        """The objective, and how far it can be above its least value."""
        excess = 1 - t * scores if epsilon is None else np.abs(scores - t) - epsilon
        excess = np.maximum(excess, 0.0)
        half = 0.5 * float(w @ w)
        value = half + float(s @ (excess * excess if square else excess))
        dual = float(beta @ t - (epsilon or 0.0) * np.abs(beta).sum() - 0.5 * (damp @ (beta * beta))) - half
        return value, value - dual


_OPTIONS: dict[str, Any] = {
    "C": "above 0",
    "solver": OneOf(("auto", "dual", "lbfgs", "gd")),
    "fit_intercept": bool,
    "intercept_scaling": "a usual number above 0",
    "random_state": OrNone("seed"),
    "max_iter": int,
    "tol": "above 0",
}


class LinearSVC(_Machine, Classifier):
    """min over w, b of 1/2 (|w|^2 + b^2) + C sum_i s_i loss(y_i (x_i w + b)), as scikit-learn's (liblinear's).

    loss: "squared_hinge" (default) max(0, 1 - z)^2, or "hinge" max(0, 1 - z). y: two labels, or more: one machine for
    each against the rest. C: above 0, default 1. b is penalised as b^2 / intercept_scaling^2 (default 1). class_weight:
    None, "balanced" or a dict by label. solver: "dual", coordinate descent on the dual until its gap is at most tol
    (1e-4) of the objective; "lbfgs"; "gd", gradient descent with momentum, both on the primal, where hinge's corner is
    rounded by 1e-4; "auto" (default): "dual" for hinge, "lbfgs" for squared_hinge. max_iter: default 10,000.
    random_state: of the order of rows in "dual". After ``fit(X, y, sample_weight=None)``: ``coef_``, ``intercept_``,
    ``classes_``, ``n_iter_``, ``model_``. Raises LabelError for a single class, ShapeError, DTypeError,
    NonFiniteInputError.
    Hsieh et al., ICML 2008.

    >>> x, y = [[-2.0], [-1.0], [1.0], [2.0]], ["left", "left", "right", "right"]
    >>> model = hf.linear.LinearSVC(loss="hinge").fit(x, y)
    >>> model.predict([[-9.0], [9.0]]).tolist(), model.coef_.round(3), model.intercept_.round(3)
    (['left', 'right'], array([[1.]]), array([0.]))
    """

    options: ClassVar[dict[str, Any]] = {
        "loss": OneOf(("squared_hinge", "hinge")),
        "class_weight": "class_weight",
        **_OPTIONS,
    }

    def __init__(
        self,
        *,
        C: float = 1.0,
        loss: str = "squared_hinge",
        solver: str = "auto",
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        class_weight: Any = None,
        random_state: int | None = None,
        max_iter: int = 10_000,
        tol: float = 1e-4,
    ) -> None:
        self._set(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Finds w and b; returns self."""
        x = self._rows(X)
        numbers = self._labels(y, len(x))
        s = self._row_weights(numbers, sample_weight) * self.C
        ones = [1] if len(self.classes_) == 2 else range(len(self.classes_))
        found = [self._machine(x, np.where(numbers == k, 1.0, -1.0), s, None) for k in ones]
        self.n_iter_ = max(iterations for _, _, iterations in found)
        weight, bias = np.column_stack([w for w, _, _ in found]), np.array([b for _, b, _ in found])
        self._keep(weight, bias if self.fit_intercept else None)
        return self


class LinearSVR(_Machine, Regressor):
    """min over w, b of 1/2 (|w|^2 + b^2) + C sum_i s_i loss(|y_i - x_i w - b|), as scikit-learn's (liblinear's).

    loss: "epsilon_insensitive" (default) max(0, z - epsilon), or "squared_epsilon_insensitive", its square. epsilon:
    >= 0, default 0. The other options, errors and results are those of LinearSVC. tol: default 1e-5. solver "auto":
    "dual" for epsilon_insensitive, "lbfgs" for its square. Ho, Lin, JMLR 13, 2012.

    >>> model = hf.linear.LinearSVR(C=100.0).fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 30.0])  # an outlier
    >>> model.predict([[1.0]]).round(2)
    array([1.])
    """

    options: ClassVar[dict[str, Any]] = {
        "epsilon": "from 0",
        "loss": OneOf(("epsilon_insensitive", "squared_epsilon_insensitive")),
        **_OPTIONS,
    }
    epsilon: float

    def __init__(
        self,
        *,
        epsilon: float = 0.0,
        C: float = 1.0,
        loss: str = "epsilon_insensitive",
        solver: str = "auto",
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        random_state: int | None = None,
        max_iter: int = 10_000,
        tol: float = 1e-5,
    ) -> None:
        self._set(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Finds w and b; returns self. y: (rows,)."""
        x = self._rows(X)
        targets = checked_targets(y, len(x))
        if targets.shape[1] > 1:
            raise ArgumentError(f"LinearSVR: one target, y ({len(x)},); got {targets.shape[1]}")
        self._one_target = True
        s = checked_weights(sample_weight, len(x)) * self.C
        w, b, self.n_iter_ = self._machine(x, targets[:, 0].copy(), s, float(self.epsilon))
        self._keep(w[:, None], np.array([b]) if self.fit_intercept else None)
        return self
