"""The linear models: how to make each here and in scikit-learn, and what it minimises, in NumPy at given coefficients.

Used by linear/test_linear.py with coefficients that were recorded (fixtures/make_linear_fixture.py), and by
bench/linear.py, beside scikit-learn itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

import hawfinch as hf

Array = np.ndarray


def sklearn(name: str, **options: Any) -> Callable[[], Any]:
    """A model of scikit-learn's by name, which is imported when it is made."""
    room = "svm" if name.startswith("LinearSV") else "linear_model"
    return lambda: getattr(import_module(f"sklearn.{room}"), name)(**options)


def data_sets() -> dict[str, tuple[Array, Array]]:
    """By name: numbers; two labels that are texts; three; ten digits."""
    random = np.random.RandomState(0)
    x = random.normal(size=(200, 8)) @ random.normal(size=(8, 8))
    signal = x @ [1.0, -2.0, 0.0, 0.5, 0.0, 3.0, 0.0, -1.0]
    noisy = signal + 3 * random.normal(size=200)
    images, labels = hf.data.load_digits()
    return {
        "numbers": (x, 10 + noisy),
        "two": (x, np.where(noisy > 1, "up", "down")),
        "three": (x, np.digitize(noisy, [-4.0, 4.0])),
        "digits": (images[:500].astype(np.float64), labels[:500]),
    }


def row_weights(rows: int) -> Array:
    return np.random.RandomState(1).uniform(0.1, 3.0, rows)


def scores(model: Any, x: Array) -> Array:
    return x @ np.atleast_2d(model.coef_).T + model.intercept_


def least_squares(l1: float, l2: float, mean: bool) -> Callable[..., float]:
    """sum or 1/2 mean of squares, with l1 |w|_1 + l2 |w|^2."""

    def value(model: Any, x: Array, y: Array, s: Array) -> float:
        squares = s @ np.square(scores(model, x)[:, 0] - y)
        penalty = l1 * abs(model.coef_).sum() + l2 * (model.coef_**2).sum()
        return (squares / (2 * s.sum()) if mean else squares) + penalty

    return value


def cross_entropy(C: float, l1: float, l2: float) -> Callable[..., float]:
    def value(model: Any, x: Array, y: Array, s: Array) -> float:
        z = scores(model, x)
        z = np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z
        top = z.max(1, keepdims=True)
        rows = top[:, 0] + np.log(np.exp(z - top).sum(1)) - z[np.arange(len(y)), y]
        return C * (s @ rows) + l1 * abs(model.coef_).sum() + l2 * (model.coef_**2).sum() / 2

    return value


def machine(C: float, power: int) -> Callable[..., float]:
    def value(model: Any, x: Array, y: Array, s: Array) -> float:
        z = scores(model, x)
        signs = y[:, None] * 2 - 1 if z.shape[1] == 1 else np.where(y[:, None] == np.arange(z.shape[1]), 1, -1)
        penalty = ((model.coef_**2).sum() + (model.intercept_**2).sum()) / 2
        return penalty + C * (s @ np.maximum(1 - signs * z, 0) ** power).sum()

    return value


def regression_machine(C: float, epsilon: float, power: int) -> Callable[..., float]:
    def value(model: Any, x: Array, y: Array, s: Array) -> float:
        excess = np.maximum(abs(scores(model, x)[:, 0] - y) - epsilon, 0)
        return ((model.coef_**2).sum() + np.square(model.intercept_).sum()) / 2 + C * (s @ excess**power)

    return value


def error_rate(model: Any, x: Array, y: Array, s: Array) -> float:
    z = scores(model, x)
    return float(s @ ((z[:, 0] > 0 if z.shape[1] == 1 else z.argmax(1)) != y) / s.sum())


@dataclass(frozen=True)
class Case:
    """ours, theirs: make the model. value(model, x, y, s): its objective, rows weighted by s; labels are 0, 1, ..."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    value: Callable[..., float]
    labels: bool


def _case(name: str, value: Callable[..., float], ours: dict[str, Any], theirs: dict[str, Any]) -> Case:
    labels = name not in ("LinearRegression", "Ridge", "Lasso", "ElasticNet", "LinearSVR")
    return Case(lambda: getattr(hf.linear, name)(**ours), sklearn(name, **theirs), value, labels)


_MANY = dict(max_iter=100_000)
_LONG = dict(max_iter=10_000)
_LBFGS = dict(tol=1e-6, **_MANY)
_SAGA = dict(solver="saga", tol=1e-5, max_iter=3000)
_PRIMAL = dict(dual=False, tol=1e-6, **_MANY)
_SVR, _SQUARED_SVR = "LinearSVR", "squared_epsilon_insensitive"
CASES: dict[str, Case] = {
    "LinearRegression": _case("LinearRegression", least_squares(0, 0, False), {}, {}),
    "LinearRegression, gd": _case("LinearRegression", least_squares(0, 0, False), dict(solver="gd", **_LONG), {}),
    "Ridge": _case("Ridge", least_squares(0, 1, False), {}, {}),
    "Ridge, gd": _case("Ridge", least_squares(0, 1, False), dict(solver="gd", **_LONG), {}),
    "Lasso, 0.1": _case("Lasso", least_squares(0.1, 0, True), dict(alpha=0.1), dict(alpha=0.1)),
    "Lasso": _case("Lasso", least_squares(1, 0, True), {}, {}),
    "ElasticNet": _case("ElasticNet", least_squares(0.05, 0.025, True), dict(alpha=0.1), dict(alpha=0.1)),
    "Logistic": _case("LogisticRegression", cross_entropy(1, 0, 1), {}, _LBFGS),
    "Logistic, gd": _case("LogisticRegression", cross_entropy(1, 0, 1), dict(solver="gd", **_LONG), _LBFGS),
    "Logistic, C=100": _case("LogisticRegression", cross_entropy(100, 0, 1), dict(C=100.0), dict(C=100.0, **_LBFGS)),
    "Logistic, l1": _case(
        "LogisticRegression", cross_entropy(1, 1, 0), dict(penalty="l1"), dict(l1_ratio=1.0, **_SAGA)
    ),
    "Logistic, elasticnet": _case(
        "LogisticRegression",
        cross_entropy(1, 0.5, 0.5),
        dict(penalty="elasticnet", l1_ratio=0.5),
        dict(l1_ratio=0.5, **_SAGA),
    ),
    "LinearSVC": _case("LinearSVC", machine(1, 2), {}, _PRIMAL),
    "LinearSVC, dual": _case("LinearSVC", machine(1, 2), dict(solver="dual", **_LONG), _PRIMAL),
    "LinearSVC, gd": _case("LinearSVC", machine(1, 2), dict(solver="gd", **_LONG), _PRIMAL),
    "LinearSVC, hinge": _case(
        "LinearSVC", machine(1, 1), dict(loss="hinge", **_LONG), dict(loss="hinge", tol=1e-5, **_MANY)
    ),
    "LinearSVC, hinge, gd": _case(
        "LinearSVC", machine(1, 1), dict(loss="hinge", solver="gd", **_LONG), dict(loss="hinge", tol=1e-5, **_MANY)
    ),
    "LinearSVR": _case(
        _SVR, regression_machine(1, 0.5, 1), dict(epsilon=0.5, **_LONG), dict(epsilon=0.5, tol=1e-6, **_MANY)
    ),
    "LinearSVR, squared": _case(
        _SVR, regression_machine(1, 0, 2), dict(loss=_SQUARED_SVR), dict(loss=_SQUARED_SVR, **_PRIMAL)
    ),
    "Perceptron": _case("Perceptron", error_rate, {}, {}),
}
