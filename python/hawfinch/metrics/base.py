"""What a metric is: the base classes, functions as metrics, metrics by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from .. import ops
from ..errors import ArgumentError, ShapeError, unknown_name
from ..ir import Array, Tensor
from ..losses import Loss
from ..losses.classes import ClassLoss, columns
from ..ops.shape import size
from ..values import Value, items_of

Self = TypeVar("Self", bound="Metric")

METRICS: dict[str, type[Metric]] = {}  # name -> class, filled by the classes
ELSEWHERE = {  # names that other libraries use
    "acc": "accuracy",
    "auc": "roc_auc",
    "ap": "average_precision",
    "ece": "calibration_error",
    "f1_score": "f1",
    "r2_score": "r2",
    "mean_absolute_error": "mae",
    "mean_squared_error": "mse",
    "root_mean_squared_error": "rmse",
    "cross_entropy": "log_loss",
}


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

    name: str = "Metric"  # in the history
    larger_is_better: ClassVar[bool | None] = None  # what EarlyStopping and Checkpoint take it for; None: they ask

    def __init_subclass__(cls, name: str | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.name = name or cls.__name__
        if name is not None:
            METRICS[name] = cls

    @classmethod
    def from_name(cls, name: str) -> Metric | None:
        """The metric that goes by this name in the history, where it has options in it; None: none of this class."""
        return None

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        """Sums over the rows of a batch: a traced vector, or a list of traced vectors and numbers.

        weight: (rows,), or None where every row counts 1. Where each position of a row has a weight, it is the row's
        mean; metrics of hawfinch's own see each position.
        """
        raise ArgumentError(f"{type(self).__name__} defines no sums(prediction, target, weight)")

    def finalise(self, sums: Array) -> float | Array:
        """The metric, a number or an array, from the sums of all batches, a float64 vector."""
        raise ArgumentError(f"{type(self).__name__} defines no finalise(sums)")

    def for_loss(self: Self, loss: Loss) -> Self:
        """The metric beside this loss: what is a hit, say, follows from it."""
        return self

    @staticmethod
    def total(values: Tensor, weight: Tensor | None) -> Tensor:
        """The weighted sum over the rows of values (rows, ...): one number, or one per column of (rows, columns).
        weight: (rows,), or of the shape of values."""
        if weight is not None:
            values = values * (weight if values.ndim == weight.ndim else weight[:, None])
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


class RowMetric(Metric):
    """A metric of all rows at once: a subclass defines ``keep`` and ``finalise_rows``.

    What it keeps is stored by C, in an array of the rows of an epoch: (rows, k) numbers of the model's dtype.

    >>> class Median(hf.metrics.RowMetric):
    ...     def keep(self, prediction, target):
    ...         return hf.ops.abs(prediction - target)
    ...
    ...     def finalise_rows(self, rows, weight):
    ...         return float(np.median(rows))
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "mse", metrics=[Median()])
    >>> trainer.evaluate([[1.0], [2.0], [9.0]], [[1.0], [1.0], [1.0]])["Median"]
    1.0
    """

    def keep(self, prediction: Tensor, target: Tensor) -> Tensor:
        """What is kept of each row of a batch: (rows, k)."""
        raise ArgumentError(f"{type(self).__name__} defines no keep(prediction, target)")

    def finalise_rows(self, rows: Array, weight: Array | None) -> float | Array:
        """The metric from what was kept, (n, k), and the weights of these rows, (n,), or None; in no certain order."""
        raise ArgumentError(f"{type(self).__name__} defines no finalise_rows(rows, weight)")


class BoundMetric(Metric):
    """Base of metrics that ask the loss what a class, a probability or a missing target is."""

    loss: Loss | None = None

    def for_loss(self: Self, loss: Loss) -> Self:
        bound = type(self).__new__(type(self))
        bound.__dict__.update(self.__getstate__(), loss=loss)
        return bound

    @property
    def classes(self) -> ClassLoss:
        """The loss of classes that this metric is beside. Raises ArgumentError where it is none."""
        found = None if self.loss is None else self.loss.of_classes
        if found is None:
            raise ArgumentError("it needs a loss of classes, such as SoftmaxCrossEntropy, BCEWithLogits or Hinge")
        return found

    @property
    def masked(self) -> bool:
        """Whether targets may be missing."""
        return self.loss is not None and self.loss.ignore_nan

    def seen(self, target: Tensor) -> Tensor | None:
        """(rows, outputs), where a target is not missing, a mask; None: everywhere."""
        if not self.masked or target.dtype == "int":
            return None
        return columns(ops.where(ops.equal(target, target), 1.0, 0.0))

    def mean_sums(self, values: Tensor, target: Tensor, weight: Tensor | None) -> list[Tensor]:
        """Of values (rows, k): the k sums over rows, and the k sums of weights, of what is not missing."""
        seen = self.seen(target)
        if seen is not None:
            return [self.total(ops.where(seen, values, 0.0), weight), self.total(seen, weight)]
        count: Any = size(values.shape[0]) if weight is None else ops.sum(weight, 0)
        return [self.total(values, weight), ops.broadcast_to(count, values.shape[1:])]


def mean_of(sums: Array) -> float:
    """The mean over all that ``mean_sums`` has summed up."""
    total, weight = sums.reshape(2, -1).sum(1)
    return float(total / weight) if weight else float("nan")


def same_shape(prediction: Any, target: Any) -> None:
    """Raises ShapeError unless the targets have the prediction's shape."""
    given = getattr(prediction, "shape", None)
    if given != getattr(target, "shape", ()):
        raise ShapeError(f"it needs targets of the output's shape {given}, got {getattr(target, 'shape', None)}")


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
    found: dict[str, Metric] = {}
    for given in items_of(metrics, "metrics: expected a list of names or functions"):
        metric, name = _metric(given)
        if name == "loss" or name in found:
            raise ArgumentError(f"metrics: the name {name!r} is taken; give the function another __name__")
        found[name] = metric
    return found


def _metric(given: Any) -> tuple[Metric, str]:
    if isinstance(given, str):
        if given in METRICS:
            return METRICS[given](), given
        for kind in METRICS.values():
            metric = kind.from_name(given)
            if metric is not None:
                return metric, given
        raise unknown_name("metric", given, METRICS, ELSEWHERE)
    if isinstance(given, type) and issubclass(given, Metric):
        given = given()
    if isinstance(given, Metric):
        return given, given.name
    if callable(given):
        return FunctionMetric(given), getattr(given, "__name__", type(given).__name__)
    raise ArgumentError(f"metrics: expected names or functions, got {type(given).__name__}")
