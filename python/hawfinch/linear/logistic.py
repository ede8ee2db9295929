"""Logistic regression, of two classes and (softmax) of more."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from .. import ops
from ..errors import ArgumentError
from .base import Array, Classifier, OneOf, OrNone, not_converged
from .minimise import minimise
from .objective import Problem, logistic, softmax


class LogisticRegression(Classifier):
    """min over w, b of C sum_i s_i loss_i + penalty(w), as scikit-learn's.

    loss: log(1 + exp(-y (x w + b))) for two classes, y -1 or 1, one output; the cross-entropy of softmax for more, an
    output each. penalty: "l2" (default) |w|^2 / 2, "l1" |w|_1, "elasticnet" (1 - l1_ratio) |w|^2 / 2 + l1_ratio |w|_1,
    or None. C: above 0, default 1; large: little penalty. l1_ratio: 0 to 1, for "elasticnet" only. fit_intercept:
    default True; b is not penalised. class_weight: None, "balanced" (rows / (classes count)) or a dict by label.
    solver: "lbfgs" (default) or "gd" (gradient descent with momentum); both take proximal steps for L1, so that zeros
    are exact, and end where what is to be gained is about tol^2 (tol = 1e-4) of the objective, or after max_iter (1000)
    steps. Unlike scikit-learn's they are indifferent to the features' units. ``fit(X, y, sample_weight=None)``; after
    it ``coef_``, ``intercept_``, ``classes_``, ``n_iter_`` (1,), ``model_``. Raises LabelError for a single class,
    ShapeError, DTypeError, NonFiniteInputError, ArgumentError.

    >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), ["no", "no", "yes", "yes"]
    >>> model = hf.linear.LogisticRegression().fit(x, y)
    >>> model.predict([[0.5], [2.5]]).tolist(), model.predict_proba([[1.5]]).round(4)
    (['no', 'yes'], array([[0.5, 0.5]]))
    """

    options: ClassVar[dict[str, Any]] = {
        "C": "above 0",
        "penalty": OneOf(("l2", "l1", "elasticnet", None)),
        "l1_ratio": OrNone("share"),
        "fit_intercept": bool,
        "class_weight": "class_weight",
        "solver": OneOf(("lbfgs", "gd")),
        "max_iter": int,
        "tol": "above 0",
    }
    C: float
    penalty: str | None
    l1_ratio: float | None
    fit_intercept: bool
    solver: str
    max_iter: int
    tol: float
    n_iter_: Array

    def __init__(
        self,
        C: float = 1.0,
        *,
        penalty: str | None = "l2",
        l1_ratio: float | None = None,
        fit_intercept: bool = True,
        class_weight: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 1000,
        tol: float = 1e-4,
    ) -> None:
        self._set(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Finds w and b; returns self."""
        if (self.penalty == "elasticnet") != (self.l1_ratio is not None):
            raise ArgumentError(
                f"LogisticRegression: penalty={self.penalty!r} and l1_ratio={self.l1_ratio!r} do not fit: "
                'l1_ratio belongs to penalty="elasticnet", which needs it'
            )
        x = self._rows(X)
        numbers = self._labels(y, len(x))
        s = self._row_weights(numbers, sample_weight) * self.C
        share = {"l2": 0.0, "l1": 1.0, "elasticnet": self.l1_ratio, None: None}[self.penalty]
        two = len(self.classes_) == 2
        problem = Problem(
            logistic if two else softmax,
            x,
            numbers[:, None] * 2.0 - 1.0 if two else numbers,
            s,
            1 if two else len(self.classes_),
            l1=0.0 if share is None else share,
            l2=0.0 if share is None else 1.0 - share,
            intercept=bool(self.fit_intercept),
        )
        u, iterations, converged = minimise(problem, self.solver, self.max_iter, self.tol)
        self.n_iter_ = np.array([iterations])
        if not converged:
            not_converged("LogisticRegression", self.max_iter)
        weight, bias = problem.arrays(u)
        self._keep(weight, bias if self.fit_intercept else None)
        return self

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (rows, classes), in the order of ``classes_``."""
        scores = self._outputs(X)
        if scores.shape[1] == 1:
            return np.asarray(ops.sigmoid(np.hstack([-scores, scores])))
        return np.asarray(ops.softmax(scores))

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of ``predict_proba``, exact where these round to 0."""
        scores = self._outputs(X)
        if scores.shape[1] == 1:
            return np.asarray(-ops.softplus(np.hstack([scores, -scores])))
        return np.asarray(ops.log_softmax(scores))
