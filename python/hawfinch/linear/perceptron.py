"""The perceptron."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from .. import ops
from ..nn import Linear, Sequential
from ..optim import SGD
from ..train.trainer import Trainer
from .base import Classifier, OrNone, not_converged


class Perceptron(Classifier):
    """Rosenblatt's rule: a row that is on the wrong side, y (x w + b) <= 0, adds y x to w and y to b, one at a time.

    That is gradient descent with batches of one row and the loss max(0, -y score), and runs as such: a net of one layer
    and ``Trainer``, one C call per epoch. y: two labels, or more: one perceptron for each against the rest. eta0: the
    factor of the steps, default 1; it scales w and b and changes no prediction. shuffle: a new order in each epoch,
    default True; random_state: of the order, default 0. It ends when the loss of an epoch has not been tol (1e-3) below
    the best for n_iter_no_change (5) epochs, or after max_iter (1000). tol=None: only then. class_weight: None,
    "balanced" or a dict by label. As scikit-learn's, which shuffles otherwise: weights differ, as they do over seeds.
    ``fit(X, y, sample_weight=None)``; after it ``coef_``, ``intercept_``, ``classes_``, ``n_iter_``, ``model_``.
    Raises LabelError for a single class, ShapeError, DTypeError, NonFiniteInputError, ArgumentError.
    Rosenblatt, Psychological Review 65, 1958.

    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 1]
    >>> hf.linear.Perceptron().fit(x, y).predict(x)
    array([0, 0, 0, 1])
    """

    options: ClassVar[dict[str, Any]] = {
        "eta0": "above 0",
        "fit_intercept": bool,
        "shuffle": bool,
        "random_state": OrNone("seed"),
        "class_weight": "class_weight",
        "n_iter_no_change": int,
        "max_iter": int,
        "tol": OrNone("above 0"),
    }
    eta0: float
    fit_intercept: bool
    shuffle: bool
    random_state: int | None
    n_iter_no_change: int
    max_iter: int
    tol: float | None
    n_iter_: int

    def __init__(
        self,
        *,
        eta0: float = 1.0,
        fit_intercept: bool = True,
        shuffle: bool = True,
        random_state: int | None = 0,
        class_weight: Any = None,
        n_iter_no_change: int = 5,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
    ) -> None:
        self._set(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Finds w and b; returns self."""
        x = self._rows(X)
        numbers = self._labels(y, len(x))
        weights = self._row_weights(numbers, sample_weight)
        two = len(self.classes_) == 2
        signs = np.where(numbers[:, None] == ([1] if two else np.arange(len(self.classes_))), 1.0, -1.0)
        layer = Linear(signs.shape[1], bias=bool(self.fit_intercept), init="zeros")
        net = Sequential(layer).astype("float64").build(x.shape[1:])

        def rule(score: Any, y: Any) -> Any:
            z = score * y  # y carries the row's weight; the gradient at z = 0 must be that of the wrong side
            return ops.sum(ops.where(ops.less_equal(z, 0.0), -z, 0.0), 1)

        trainer = Trainer(net, rule, SGD(lr=float(self.eta0)), seed=int(self.random_state or 0))
        ended = _NoGain(self.n_iter_no_change, self.tol)
        trainer.fit(
            x,
            signs * weights[:, None],
            epochs=self.max_iter,
            batch_size=1,
            shuffle=bool(self.shuffle),
            callbacks=[ended],
        )
        self.n_iter_ = trainer.epochs
        if self.tol is not None and not trainer.stop:
            not_converged("Perceptron", self.max_iter)
        arrays = net.parameters()
        self._keep(arrays["0.weight"], arrays.get("0.bias"))
        return self


class _NoGain:
    """Ends a fit whose loss has not been tol below its best for n epochs."""

    def __init__(self, n: int, tol: float | None):
        self.n, self.tol, self.best, self.waited = n, tol, np.inf, 0

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        if self.tol is None:
            return
        self.waited = self.waited + 1 if logs["loss"] > self.best - self.tol else 0
        self.best = min(self.best, logs["loss"])
        trainer.stop = self.waited >= self.n
