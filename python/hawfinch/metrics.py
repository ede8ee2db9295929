"""Metrics: computed inside the training step, from sums over rows that C adds up over an epoch.

A metric is (sums of a batch, a function of the total sums), so that F1 and R2 of an epoch are exact, not means over
batches. A plain function ``f(prediction, target)`` of traced values that gives one value per row is taken as its mean.

Design: as losses, metrics are immutable values with the name where the class is. Rejected: metrics that see all
predictions at the end of an epoch: their memory grows with the rows, and they would cost another pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from . import ops
from .errors import ArgumentError, unknown_name
from .ir import Array, Tensor, numel
from .losses import Loss, per_row
from .values import Value

METRICS: dict[str, type[Metric]] = {}  # name -> class, filled by the classes


class Metric(Value):
    """Base of metrics. A subclass defines ``sums`` and ``finalise``, or is a ``MeanMetric``.

    ``class Mine(Metric, name="mine")`` makes ``metrics=["mine"]`` work; without a name it goes by that of its class.

    >>> import hawfinch as hf
    >>> class RMSE(hf.metrics.Metric):
    ...     def sums(self, prediction, target, weight):
    ...         square = hf.ops.square(prediction - target)
    ...         return [self.total(square, weight), self.total(square * 0.0 + 1.0, weight)]
    ...
    ...     def finalise(self, sums):
    ...         return float((sums[0] / sums[1]) ** 0.5)
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "mse", metrics=[RMSE()])
    >>> trainer.evaluate([[0.0], [0.0]], [[3.0], [3.0]])["RMSE"]
    3.0
    """

    name: ClassVar[str] = "Metric"
    larger_is_better: ClassVar[bool | None] = None  # what EarlyStopping and Checkpoint take it for; None: they ask

    def __init_subclass__(cls, name: str | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.name = name or cls.__name__
        if name is not None:
            METRICS[name] = cls

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        """Sums over the rows of a batch: a traced vector, or a list of traced vectors and numbers.

        weight: (rows,), or None where every row counts 1.
        """
        raise ArgumentError(f"{type(self).__name__} defines no sums(prediction, target, weight)")

    def finalise(self, sums: Array) -> float:
        """The metric from the sums of all batches, a float64 vector."""
        raise ArgumentError(f"{type(self).__name__} defines no finalise(sums)")

    def for_loss(self, loss: Loss) -> Metric:
        """The metric beside this loss: what is a hit, say, follows from it."""
        return self

    @staticmethod
    def total(values: Tensor, weight: Tensor | None) -> Tensor:
        """The weighted sum over the rows of values (rows, ...): one number, or one per column of (rows, columns)."""
        if weight is not None:
            values = values * (weight if values.ndim == 1 else weight[:, None])
        return ops.sum(values, 0)


class MeanMetric(Metric):
    """A metric that is the (weighted) mean over rows: a subclass defines ``rows``.

    >>> class Near(hf.metrics.MeanMetric):
    ...     def rows(self, prediction, target):
    ...         return hf.ops.less(hf.ops.abs(prediction - target), 0.5)
    >>> model = hf.Sequential(hf.Flatten()).build((1,))
    >>> hf.Trainer(model, "mse", metrics=[Near()]).evaluate([[1.0], [2.0]], [[1.2], [3.0]])["Near"]
    0.5
    """

    def rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        """One value per row: (rows,) or (rows, ...)."""
        raise ArgumentError(f"{type(self).__name__} defines no rows(prediction, target)")


class Accuracy(MeanMetric, name="accuracy"):
    """The share of rows whose class is right. Of equal outputs the first is the answer.

    With ``SoftmaxCrossEntropy`` the largest output is the class; with ``BCEWithLogits`` an output > 0 means 1, and the
    share is over all outputs. Raises ArgumentError beside other losses and for targets that are probabilities.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["accuracy"])
    >>> trainer.evaluate(np.zeros((4, 3)), [0, 0, 0, 1])["accuracy"]
    0.75
    """

    larger_is_better = True

    def __init__(self, loss: Loss | None = None):
        self.loss = loss

    def for_loss(self, loss: Loss) -> Metric:
        return Accuracy(loss)

    def rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        assert self.loss is not None
        return self.loss.accuracy(prediction, target)


class MeanSquaredError(MeanMetric, name="mse"):
    """The mean of (prediction - target)**2.

    >>> import hawfinch as hf
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "mae", metrics=["mse"])
    >>> trainer.evaluate([[0.0], [0.0]], [[3.0], [1.0]])["mse"]
    5.0
    """

    larger_is_better = False

    def rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_row(ops.square(prediction - target))


class MeanAbsoluteError(MeanMetric, name="mae"):
    """The mean of abs(prediction - target).

    >>> import hawfinch as hf
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "mse", metrics=["mae"])
    >>> trainer.evaluate([[0.0], [0.0]], [[3.0], [1.0]])["mae"]
    2.0
    """

    larger_is_better = False

    def rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_row(ops.abs(prediction - target))


class F1(Metric, name="f1"):
    """2 TP / (2 TP + FP + FN) per class, and the mean over the classes that occur, predicted or true ("macro").

    Beside ``SoftmaxCrossEntropy`` the largest output is the prediction; beside ``BCEWithLogits`` each output is a class
    of its own, predicted where it is > 0. Exact over an epoch, with any weights. Raises ArgumentError beside other
    losses and for targets that are probabilities. van Rijsbergen, Information Retrieval, 1979.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["f1"])
    >>> round(trainer.evaluate(np.eye(3)[[0, 0, 1, 2]], [0, 1, 1, 2])["f1"], 4)  # of the classes: 2/3, 2/3, 1
    0.7778
    """

    larger_is_better = True

    def __init__(self, loss: Loss | None = None):
        self.loss = loss

    def for_loss(self, loss: Loss) -> Metric:
        return F1(loss)

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        assert self.loss is not None
        predicted, actual = self.loss.decisions(prediction, target)
        return [self.total(predicted * actual, weight), self.total(predicted, weight), self.total(actual, weight)]

    def finalise(self, sums: Array) -> float:
        hits, predicted, actual = sums.reshape(3, -1)
        occurs = predicted + actual > 0
        return float((2 * hits[occurs] / (predicted + actual)[occurs]).mean()) if occurs.any() else float("nan")


class R2(Metric, name="r2"):
    """1 - sum (prediction - target)**2 / sum (target - mean)**2 per output, and the mean over the outputs.

    Exact over an epoch, with any weights; a target that does not vary counts 1 where all is right, else 0. The sums
    are float32 within a batch of a float32 model: targets whose mean is far larger than their spread lose digits.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "mse", metrics=["r2"])
    >>> round(trainer.evaluate([[1.0], [2.0], [3.0]], [[1.0], [2.0], [6.0]])["r2"], 4)
    0.3571
    """

    larger_is_better = True

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        if prediction.shape != target.shape:
            raise ArgumentError(f"r2 needs targets of the output's shape {prediction.shape}, got {target.shape}")
        p, t = _columns(prediction), _columns(target)
        ones = t * 0.0 + 1.0
        return [self.total(v, weight) for v in (ones, t, ops.square(t), ops.square(p - t))]

    def finalise(self, sums: Array) -> float:
        weight, total, squares, residual = sums.reshape(4, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = squares - total**2 / weight
            scores = np.where(spread > 0, 1 - residual / spread, np.where(residual > 0, 0.0, 1.0))
        return float(scores.mean())


def _columns(values: Tensor) -> Tensor:
    """(rows, outputs)."""
    return values if values.ndim == 2 else ops.reshape(values, (values.shape[0], numel(values.shape[1:])))


class FunctionMetric(MeanMetric):
    """A function of traced (prediction, target) that gives one value per row, as a metric: what a plain function in
    ``metrics=[...]`` becomes.

    >>> hf.metrics.FunctionMetric(lambda prediction, target: hf.ops.abs(prediction - target)).name
    'FunctionMetric'
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]):
        self.function = function

    def rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.function(prediction, target)


def get_metrics(metrics: Any) -> dict[str, Metric]:
    """Name -> metric, of names, metrics and functions. Raises ArgumentError with near matches for unknown names.

    >>> list(hf.metrics.get_metrics(["accuracy", hf.metrics.R2()]))
    ['accuracy', 'r2']
    """
    if isinstance(metrics, str | Metric | type):
        metrics = [metrics]
    if not isinstance(metrics, Iterable):
        raise ArgumentError(f"metrics: expected a list of names or functions, got {type(metrics).__name__}")
    found: dict[str, Metric] = {}
    for given in metrics:
        metric, name = _metric(given)
        if name == "loss" or name in found:
            raise ArgumentError(f"metrics: the name {name!r} is taken; give the function another __name__")
        found[name] = metric
    return found


def _metric(given: Any) -> tuple[Metric, str]:
    if isinstance(given, str):
        if given not in METRICS:
            raise unknown_name("metric", given, METRICS)
        return METRICS[given](), given
    if isinstance(given, type) and issubclass(given, Metric):
        given = given()
    if isinstance(given, Metric):
        return given, given.name
    if callable(given):
        return FunctionMetric(given), getattr(given, "__name__", type(given).__name__)
    raise ArgumentError(f"metrics: expected names or functions, got {type(given).__name__}")
